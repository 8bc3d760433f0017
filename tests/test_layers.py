"""Every layer forward and backward: against loops, differences, and bad use."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.nn import SGD, Conv2D, Dense, Flatten, Layer, Sequential, check_gradients, kernels
from tests import naive
from tests.test_convolution import assert_close


def network(*layers, rng=0, noise=0.0):
    """Layers with first weights from a seed or generator, and noise, so that no bias is 0."""
    model = Sequential(layers, rng=np.random.default_rng(rng))
    weights = [w + noise * model._rng.standard_normal(w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    return model


FRAMES = ["empty", "one pixel", "sparse", "all on", "any numbers"]


def frames(kind, shape, rng):
    """Images of this shape, (N, C, H, W), with few or many numbers that are not 0."""
    images = np.zeros(shape, np.float32)
    if kind == "one pixel":
        for image in images:
            image[tuple(rng.integers(image.shape))] = 1
    elif kind == "sparse":
        images[rng.random(shape) < 0.1] = 1
    elif kind == "all on":
        images[...] = 1
    elif kind == "any numbers":  # all channels of a pixel, or none
        on = rng.random((len(images), 1, *shape[2:])) < rng.random()
        images[...] = on * rng.standard_normal(shape)
    return images


@st.composite
def networks(draw, most=12, widths=(1, 2, 3)):
    """A network of convolutions and dense layers, with biases of both signs, and states."""
    size, width = st.integers(1, 3), st.sampled_from(widths)
    activation = st.sampled_from([None, "linear", "relu"])
    kernels = [(draw(size), draw(size)) for _ in range(draw(st.integers(0, 3)))]
    height, breadth = (
        sum(kernel[side] - 1 for kernel in kernels) + draw(st.integers(1, 5)) for side in (0, 1)
    )
    layers = [Conv2D(draw(width), kernel, draw(activation)) for kernel in kernels]
    layers += [Flatten(), *(Dense(draw(width), draw(activation)) for _ in range(draw(size)))]
    layers[0].input_shape = (draw(size), height, breadth)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    model, count = network(*layers, rng=rng, noise=0.2), draw(st.integers(1, most))
    return model, frames(draw(st.sampled_from(FRAMES)), (count, *model.input_shape), rng)


@given(networks(most=3), st.integers(0, 2**32 - 1))
def test_gradients_of_any_network(drawn, seed):
    model, states = drawn
    rng = np.random.default_rng(seed)
    model.set_weights([rng.standard_normal(w.shape) for w in model.get_weights()])
    for name, check in check_gradients(model, states, rng).items():
        if " in float32" in name:  # a gradient that cancels out may be no more than rounding
            continue
        assert check.ok or check.checked == 0, name
        # A kink needs a ReLU whose input is 0 to within the step. Random numbers have few; where
        # all pixels are alike, all inputs of a filter are, too.
        assert check.kinks <= check.checked + 2 or np.ptp(states) == 0, name


def three_layers(middle, rng):
    """A compiled network with `middle` as its second layer, and states for it."""
    first = Conv2D(3, 2, "relu", input_shape=(2, 5, 5))
    model = network(first, middle, Flatten(), Dense(2), rng=rng, noise=0.3)
    model.compile(SGD())
    return model, rng.standard_normal((3, 2, 5, 5))


MISTAKES = {
    "sign": lambda dx, dw, db: np.negative(dx, out=dx),
    "mirrored": lambda dx, dw, db: np.copyto(dx, dx[:, ::-1].copy()),
    "scaled": lambda dx, dw, db: np.multiply(dx, 1.001, out=dx),
    "kernel scaled": lambda dx, dw, db: np.multiply(dw, 1.01, out=dw),
    "kernel flipped": lambda dx, dw, db: np.copyto(dw, dw[::-1, ::-1].copy()),
    "bias missing": lambda dx, dw, db: db.fill(0),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_gradient_is_seen(mistake, rng, monkeypatch):
    backward = Conv2D.backward
    model, states = three_layers(Conv2D(2, 2, "relu"), rng)

    def mistaken(layer, g):
        dx = backward(layer, g).copy()
        mistake(dx, layer.kernel_gradient, layer.bias_gradient)
        return dx

    monkeypatch.setattr(Conv2D, "backward", mistaken)
    report = check_gradients(model, states, rng, samples=None)
    assert max(report[name].error for name in ["states", *model.named_weights()]) > 5e-4


@pytest.mark.parametrize("wrong", [lambda g: g[:, ::-1], lambda g: g * np.nan])
def test_swapped_outputs_and_nan_are_seen(wrong, rng, monkeypatch):
    """A sum of outputs, unweighted, would be the same with its outputs swapped."""
    backward = Dense.backward
    monkeypatch.setattr(Dense, "backward", lambda layer, g: backward(layer, wrong(g)))
    report = check_gradients(network(Dense(3, input_shape=(4,))), rng.random((5, 4)), rng)
    assert not any(report[name].ok for name in ("states", "dense/kernel", "dense/bias"))


def test_gradient_check_leaves_out_kinks_only():
    """|x| by two ReLUs has one kink, at 0."""
    model = network(Dense(2, "relu", input_shape=(1,)), Dense(1))
    model.set_weights([[[1, -1]], [0, 0], [[1], [1]], [0]])
    at_kink = check_gradients(model, [[0.0]], samples=None)["states"]
    assert (at_kink.checked, at_kink.kinks, at_kink.ok) == (0, 1, False)
    assert np.isnan(at_kink.error)
    beside = check_gradients(model, [[0.5]], samples=None)["states"]
    assert (beside.checked, beside.kinks) == (1, 0)
    assert beside.error < 1e-9


class Rounded(Layer):
    """The same numbers, but for float32's: these keep only three digits."""

    def forward(self, x):
        return np.round(x, 3) if x.dtype == np.float32 else x

    def backward(self, g):
        return g


def differs(model, states, rng):
    """The layers and arrays that ``check_gradients`` finds wrong; it leaves weights alone."""
    before = model.parameters.copy()
    report = check_gradients(model, states, rng)
    np.testing.assert_array_equal(model.parameters, before)
    return [name for name, check in report.items() if not check.ok]


def test_a_layer_that_differs_is_named(rng, monkeypatch):
    assert differs(*three_layers(Rounded(), rng), rng) == ["rounded in float32"]
    model, states = three_layers(Conv2D(2, 2, "relu"), rng)
    assert differs(model, states, rng) == []
    backward = kernels.backward

    def wrong_backward(layers, parameters, gradients, *rest):
        backward(layers, parameters, gradients, *rest)
        gradients[layers[2, kernels.KERNEL] : layers[2, kernels.BIAS]] *= 1.01

    with monkeypatch.context() as patch:
        patch.setattr(kernels, "backward", wrong_backward)
        assert differs(model, states, rng) == ["conv2d_1 in the engine"]
    model._engine.table[2, kernels.RELU] = 0  # forward is wrong: all that follows is, too
    assert differs(model, states, rng)[-2:] == ["conv2d_1 in the engine", "dense in the engine"]


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_dense_is_the_loops(samples, inputs, units, seed):
    rng = np.random.default_rng(seed)
    model = network(Dense(units, input_shape=(inputs,)), rng=rng, noise=1).astype(np.float64)
    x, g = rng.standard_normal((samples, inputs)), rng.standard_normal((samples, units))
    w, b = model.get_weights()
    assert_close(model.forward(x), naive.dense(x, w, b), 1e-13)
    found = model.backward(g), *model.named_gradients().values()
    for gradient, expected in zip(found, naive.dense_gradients(x, w, g), strict=True):
        assert_close(gradient, expected, 1e-13)


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


def after_images(layer):
    return network(Conv2D(2, 2, input_shape=(1, 4, 4)), layer)


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
        (lambda: network(Conv2D(2, 3)), ValueError, "no input_shape"),
        (lambda: network(Conv2D(2, 3, input_shape=(1, 2, 5))), ValueError, "2 x 5 pixels"),
        (lambda: network(Conv2D(2, 3, input_shape=(9,))), ValueError, "expected images"),
        (lambda: network(Dense(2, input_shape=(1, 5, 5))), ValueError, "Flatten"),
        (lambda: after_images(Dense(2, input_shape=(3,))), ValueError, r"d \(2, 3, 3\)"),
        (lambda: network("dense"), TypeError, "layer is 'dense'"),
        (lambda: network(*[Dense(2, input_shape=(2,))] * 2), ValueError, "already"),
        (lambda: Sequential(rng=3), TypeError, "rng is 3"),
        (
            lambda: check_gradients(after_images(Flatten()), np.zeros((0, 1, 4, 4))),
            ValueError,
            "at least one sam",
        ),
    ],
)
def test_layers_that_do_not_fit(make, error, words):
    with pytest.raises(error, match=words):
        make()
