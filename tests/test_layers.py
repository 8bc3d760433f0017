"""Every layer forward and backward: against loops, differences, and bad use."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.nn import Conv2D, Dense, Flatten, Sequential, check_gradients
from tests import naive
from tests.test_convolution import assert_close, few_if_compiled

pytestmark = pytest.mark.uncompiled


def network(*layers, seed=0):
    return Sequential(layers, rng=np.random.default_rng(seed))


@st.composite
def networks(draw):
    """A network of convolutions and dense layers of any shape, and states for it."""
    size = st.integers(1, 3)
    activation = st.sampled_from([None, "linear", "relu"])
    kernels = [(draw(size), draw(size)) for _ in range(draw(st.integers(0, 2)))]
    height = sum(kh - 1 for kh, _ in kernels) + draw(size)
    width = sum(kw - 1 for _, kw in kernels) + draw(size)
    shape = (draw(size), height, width)
    layers = [Conv2D(draw(size), kernel, draw(activation)) for kernel in kernels]
    layers += [Flatten(), *(Dense(draw(size), draw(activation)) for _ in range(draw(size)))]
    layers[0].input_shape = shape
    seed = draw(st.integers(0, 2**32 - 1))
    model = network(*layers, seed=seed)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.standard_normal(w.shape) for w in model.get_weights()])
    return model, rng.standard_normal((draw(size), *shape))


@given(networks())
def test_gradients_of_any_network(drawn):
    model, states = drawn
    for name, check in check_gradients(model, states, np.random.default_rng(1)).items():
        assert check.error < 1e-6 or check.checked == 0, name
        # A kink needs a ReLU whose input is 0 to within the step; random numbers have few.
        assert check.kinks <= check.checked + 2, name


@few_if_compiled
@given(networks())
def test_float32_runs_as_float64_does(drawn):
    """The kernels' network, forward and backward, against the definition's."""
    model, states = drawn
    exact = model.astype(np.float64)
    y = exact.forward(states)
    assert_close(model.forward(states), y, 1e-4)
    g = np.random.default_rng(2).standard_normal(y.shape)
    dx = exact.backward(g)
    assert_close(model.backward(g.astype(np.float32)), dx, 2e-3)
    for name, gradient in exact.named_gradients().items():
        assert_close(model.named_gradients()[name], gradient, 2e-3)


def test_gradients_of_the_recipe(rng):
    from minidqn.fruit import draw
    from minidqn.train import q_network

    states = np.stack([draw(10, row, row, 8 - row) for row in (0, 3, 7)])
    model = q_network(rng=rng)
    # With its biases at 0, every unit that sees only background sits on its kink.
    model.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in model.get_weights()])
    report = check_gradients(model, states, rng, samples=8)
    assert len(report) == 9
    for name, check in report.items():
        assert check.error < 1e-6, name
        assert check.checked >= 3, name


def _sign(layer, dx):
    return -dx


def _mirrored(layer, dx):
    return dx[:, ::-1]


def _scaled(layer, dx):
    return dx * 1.001


def _kernel_scaled(layer, dx):
    layer.kernel_gradient *= 1.01
    return dx


def _kernel_flipped(layer, dx):
    layer.kernel_gradient[...] = layer.kernel_gradient[::-1, ::-1].copy()
    return dx


def _bias_missing(layer, dx):
    layer.bias_gradient[...] = 0
    return dx


@pytest.mark.parametrize(
    "mistake", [_sign, _mirrored, _scaled, _kernel_scaled, _kernel_flipped, _bias_missing]
)
def test_a_wrong_gradient_is_seen(mistake, rng, monkeypatch):
    backward = Conv2D.backward

    def wrong_backward(layer, g, wants_input_gradient=True):
        return mistake(layer, backward(layer, g))

    monkeypatch.setattr(Conv2D, "backward", wrong_backward)
    model = network(
        Conv2D(3, 2, "relu", input_shape=(2, 5, 5)), Conv2D(2, 2, "relu"), Flatten(), Dense(2)
    )
    report = check_gradients(model, rng.standard_normal((3, 2, 5, 5)), rng, samples=None)
    assert max(check.error for check in report.values()) > 5e-4


def test_swapped_outputs_are_seen(rng, monkeypatch):
    """A sum of outputs, unweighted, would be the same with its outputs swapped."""
    backward = Dense.backward
    monkeypatch.setattr(
        Dense, "backward", lambda layer, g, wanted=True: backward(layer, g[:, ::-1], wanted)
    )
    report = check_gradients(network(Dense(3, input_shape=(4,))), rng.random((5, 4)), rng)
    assert max(check.error for check in report.values()) > 0.1


def test_gradient_check_leaves_out_kinks_only():
    """|x| by two ReLUs has one kink, at 0."""
    model = network(Dense(2, "relu", input_shape=(1,)), Dense(1))
    model.set_weights([[[1, -1]], [0, 0], [[1], [1]], [0]])
    at_kink = check_gradients(model, [[0.0]], samples=None)["states"]
    assert (at_kink.checked, at_kink.kinks) == (0, 1)
    beside = check_gradients(model, [[0.5]], samples=None)["states"]
    assert (beside.checked, beside.kinks) == (1, 0)
    assert beside.error < 1e-9


def test_gradient_check_judges_nothing_that_it_cannot(rng, monkeypatch):
    model = network(Dense(2, "relu", input_shape=(1,)), Dense(1))
    model.set_weights([[[1, -1]], [0, 0], [[1], [1]], [0]])
    assert np.isnan(check_gradients(model, [[0.0]], samples=None)["states"].error)
    backward = Dense.backward
    monkeypatch.setattr(
        Dense, "backward", lambda layer, g, wanted=True: backward(layer, g * np.nan, wanted)
    )
    report = check_gradients(network(Dense(2, input_shape=(3,))), rng.random((2, 3)), rng)
    assert all(np.isnan(check.error) for check in report.values())


def test_gradient_check_leaves_the_network_alone(rng):
    model = network(Dense(2, input_shape=(3,)))
    before = model.get_weights()
    check_gradients(model, rng.random((2, 3)), rng)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_dense_is_the_loops(samples, inputs, units, seed):
    rng = np.random.default_rng(seed)
    model = network(Dense(units, input_shape=(inputs,)), seed=seed).astype(np.float64)
    model.set_weights([rng.standard_normal((inputs, units)), rng.standard_normal(units)])
    x, g = rng.standard_normal((samples, inputs)), rng.standard_normal((samples, units))
    w, b = model.get_weights()
    assert_close(model.forward(x), naive.dense(x, w, b), 1e-13)
    dx, dw, db = naive.dense_gradients(x, w, g)
    assert_close(model.backward(g), dx, 1e-13)
    assert_close(model.named_gradients()["dense/kernel"], dw, 1e-13)
    assert_close(model.named_gradients()["dense/bias"], db, 1e-13)


def test_flatten_runs_h_w_c():
    x = np.arange(2 * 3 * 4 * 5.0).reshape(2, 5, 3, 4)  # channels first
    y = network(Flatten(input_shape=(5, 3, 4))).forward(x)
    for n, c, h, w in np.ndindex(x.shape):
        assert y[n, (h * 4 + w) * 5 + c] == x[n, c, h, w]


def test_relu_has_no_slope_at_zero():
    model = network(Dense(1, "relu", input_shape=(1,))).astype(np.float64)
    model.set_weights([[[1]], [0]])
    model.forward([[0.0]])
    assert model.backward(np.ones((1, 1))) == 0


def test_glorot_limits_and_zero_bias():
    model = network(Conv2D(16, (3, 5), input_shape=(4, 20, 20)), Flatten(), Dense(30))
    kernel, bias, dense, _ = model.get_weights()
    limit = np.sqrt(6 / (3 * 5 * (4 + 16)))
    assert 0.97 * limit < np.abs(kernel).max() <= limit
    assert abs(kernel.mean()) < 0.1 * limit
    assert np.isclose(kernel.std(), limit / np.sqrt(3), rtol=0.1)
    assert not bias.any()
    assert np.abs(dense).max() <= np.sqrt(6 / sum(dense.shape))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Conv2D(0, 3), ValueError, "filters is 0"),
        (lambda: Conv2D(2.5, 3), TypeError, "filters is 2.5"),
        (lambda: Conv2D(2, (3, 0)), ValueError, "kernel_size is 0"),
        (lambda: Conv2D(2, (3, 3, 3)), ValueError, "kernel_size is"),
        (lambda: Conv2D(2, 3, "tanh"), ValueError, "activation is 'tanh'"),
        (lambda: Conv2D(2, 3, input_shape=(3, 3)), ValueError, "input_shape is"),
        (lambda: Conv2D(2, 3, input_shape=5), ValueError, "input_shape is 5"),
        (lambda: Dense(-1), ValueError, "units is -1"),
        (lambda: network(Conv2D(2, 3)), ValueError, "no input_shape"),
        (lambda: network(Conv2D(2, 3, input_shape=(1, 2, 5))), ValueError, "2 x 5 pixels"),
        (lambda: network(Conv2D(2, 3, input_shape=(9,))), ValueError, "expected images"),
        (lambda: network(Dense(2, input_shape=(1, 5, 5))), ValueError, "Flatten"),
        (lambda: network(Flatten(input_shape=(1, 2, 2)), Conv2D(1, 1)), ValueError, "images"),
        (
            lambda: network(Conv2D(2, 3, input_shape=(1, 4, 4)), Conv2D(2, 3)),
            ValueError,
            "2 x 2 pixels",
        ),
        (
            lambda: network(Dense(2, input_shape=(3,)), Dense(2, input_shape=(3,))),
            ValueError,
            r"expected \(2,\)",
        ),
        (
            lambda: network(Conv2D(2, 2, input_shape=(1, 4, 4)), Flatten(input_shape=(1, 3, 3))),
            ValueError,
            r"expected \(2, 3, 3\)",
        ),
        (lambda: network("dense"), TypeError, "layer is 'dense'"),
        (lambda: network(*[Dense(2, input_shape=(2,))] * 2), ValueError, "already"),
        (lambda: Sequential(rng=3), TypeError, "rng is 3"),
    ],
)
def test_layers_that_do_not_fit(make, error, words):
    with pytest.raises(error, match=words):
        make()
