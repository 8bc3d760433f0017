"""The compiled engine against the layers as they are written, and layers that it does not know."""

import copy
import types

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidqn.nn import SGD, Conv2D, Dense, Flatten, Layer, Pixels, RMSprop, kernels
from minidqn.recipe import q_network
from tests import naive
from tests.test_convolution import assert_close
from tests.test_layers import frames, network, networks
from tests.test_models import compiled

WIDTHS = (1, 2, 3, 16, 17)  # filters and units: fewer than a vector holds, as many, and more


class Given:
    """A loss with a slope that does not depend on the predictions, so that none cancels."""

    def value(self, predictions, targets):
        return 0.0

    def gradient(self, predictions, targets):
        return targets


def distance_to_kinks(exact, states):
    """The smallest absolute value that any ReLU of a float64 network gets."""
    x, smallest = np.moveaxis(states.astype(np.float64), 1, -1), np.inf
    for layer in exact.layers:
        if getattr(layer, "relu", False):
            layer.relu = False
            smallest = min(smallest, np.abs(layer.forward(x)).min())
            layer.relu = True
        x = layer.forward(x)
    return smallest


def check_engine(model, exact, states, g, next_states):
    """Outputs, what every layer makes, and gradients, of `model` and of its layers in float64."""
    model.compile(SGD(1e-30), Given(), engine="compiled")
    every, seen = np.concatenate([states, next_states]), []
    model.train_on_batch(every, exact.predict(every) + 1)  # leaves its numbers in the memory
    model.bootstrap_on_batch(states, next_states, lambda *outputs: seen.extend(outputs) or g)
    for name, outputs in model._engine.layer_outputs().items():
        assert_close(outputs, exact.layer_outputs(every)[name], 1e-5)
    assert_close(np.concatenate(seen), exact.predict(every), 1e-5)
    assert_close(model.predict(every), exact.predict(every), 1e-5)
    exact.forward(states)
    exact.backward(g)
    # A sum that cancels out is no more than the rounding of what went into it.
    rounding = 1e-6 * np.abs(g).sum()
    for name, gradient in exact.named_gradients().items():
        error = np.abs(model.named_gradients()[name] - gradient).max()
        assert error <= 1e-4 * np.abs(gradient).max() + rounding, name
    for flat, views in (
        (model.parameters, model.named_weights()), (model.gradients, model.named_gradients()),
    ):  # fmt: skip
        between = np.count_nonzero(flat) - sum(np.count_nonzero(view) for view in views.values())
        assert between == 0, "what fills up rows is not 0 any more"


@given(
    networks(most=40, widths=WIDTHS), st.sampled_from([0, 1, 15, 16, 17]), st.booleans(),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_engine_is_the_layers(drawn, more, joined, seed):
    """Also beside states that only serve as targets, which leave no gradient."""
    model, states = drawn
    exact, rng = model.astype(np.float64), np.random.default_rng(seed)
    assume(distance_to_kinks(exact, states) > 1e-5)  # else rounding may put it on either side
    g = rng.standard_normal((len(states), *model.output_shape))
    next_states = states[np.arange(more)[::-1] % len(states)]
    if joined:  # two parts of the same pixels, as a memory gives them
        both = Pixels.of(np.concatenate([states, next_states]))
        states, next_states = both[: len(states)], both[len(states) :]
    check_engine(model, exact, states, g, next_states)


@pytest.mark.uncompiled
@pytest.mark.parametrize("kind", ["empty", "sparse", "all on", "any numbers"])
def test_kernels_in_plain_python(kind, rng):
    layers = Conv2D(3, (2, 1), "relu", input_shape=(2, 4, 3)), Conv2D(2, 2), Flatten()
    model = network(*layers, Dense(5, "relu"), Dense(2), rng=rng, noise=0.3)
    count = kernels.SAMPLES + 1  # a chunk, and one that is not full
    states, g = frames(kind, (count, 2, 4, 3), rng), rng.standard_normal((count, 2))
    check_engine(model, model.astype(np.float64), states, g, states[:2])


def test_memory_grows(rng):
    """For more states, for more active positions, and for both; fewer use what is there."""
    model, other = (q_network(8, np.random.default_rng(1), engine=e) for e in ("compiled", "numpy"))
    for count, kind in [(1, "empty"), (3, "one pixel"), (1, "all on"), (70, "sparse"), (2, "empty"),
                        (70, "all on"), (5, "any numbers"), (300, "one pixel")]:  # fmt: skip
        states = frames(kind, (count, 1, 8, 8), rng)
        model.set_weights(other.get_weights())  # so that rounding does not add up
        outputs = other.predict(states)
        np.testing.assert_allclose(model.predict(states, 300), outputs, atol=1e-5)
        losses = [m.train_on_batch(states, outputs + 1) for m in (model, other)]
        assert np.isclose(*losses, rtol=1e-5)
        np.testing.assert_allclose(model.gradients, other.gradients, atol=2e-5)


@pytest.mark.parametrize("filters", [16, 17])
def test_the_bits_do_not_depend_on_company(filters, rng):
    """A state has the same outputs, and leads to the same weights, whatever else there is."""
    states = frames("sparse", (70, 1, 10, 10), rng)
    layers = [Conv2D(filters, 3, "relu", input_shape=(1, 10, 10)), Conv2D(filters, 3, "relu")]
    one = network(*layers, Flatten(), Dense(2))
    one.compile(RMSprop())
    other = copy.deepcopy(one)
    outputs = one.predict(states)
    for n in (0, 1, 31, 68, 69):
        np.testing.assert_array_equal(other.predict(states[n : n + 1])[0], outputs[n])
    for model in (one, other):
        model.train_on_batch(states[:1], [[1, 2]])
    np.testing.assert_array_equal(one.parameters, other.parameters)


def test_new_weights_are_seen(rng, tmp_path):
    """However they come: the engine keeps what it can work out from the weights alone."""
    model, states = compiled(noise=0.1), frames("sparse", (5, 1, 6, 6), rng)
    model.save_weights(tmp_path / "w.npz")
    for change in (
        lambda: model.set_weights([2 * w for w in model.get_weights()]),
        lambda: model.load_weights(tmp_path / "w.npz"),
        lambda: model.train_on_batch(states, np.ones((5, 3))),
    ):
        before = model.predict(states)
        change()
        assert np.abs(model.predict(states) - before).min() > 1e-5
        np.testing.assert_allclose(model.predict(states), model.forward(states), atol=1e-5)


@pytest.mark.parametrize("where", range(8))
def test_what_is_not_a_number_is_not_hidden(where, rng):
    """A NaN in any weight reaches the outputs, ReLU or not."""
    model = q_network(6, rng)
    list(model._weights.values())[where][...] = np.nan
    assert np.isnan(model.predict(rng.random((2, 1, 6, 6)))).all()


class Tanh(Layer):
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, g):
        return g * (1 - self.y**2)


class Scale(Layer):
    """A factor for each channel, which is learned."""

    def build(self, shape):
        self.output_shape, self.weight_shapes = shape, {"factor": shape[-1:]}

    def initial_weights(self, rng):
        return {"factor": 2 * np.ones(self.output_shape[-1:])}

    def forward(self, x):
        self.x = x
        return x * self.factor

    def backward(self, g):
        self.factor_gradient[...] = (g * self.x).sum(axis=0)
        return g * self.factor


class Softplus(Dense):
    """A Dense with another activation, by another forward and backward."""

    def forward(self, x):
        self.z = super().forward(x)
        return np.log1p(np.exp(self.z))

    def backward(self, g):
        return super().backward(g / (1 + np.exp(-self.z)))


def lifted(layer):
    """A Dense whose forward is replaced in this one object."""
    layer.forward = types.MethodType(lambda self, x: Dense.forward(self, x) + 1, layer)
    return layer


# Layers between a convolution with a ReLU and the last Dense; and what they make of the
# convolution's output, flat, and their weights, in NumPy.
FOREIGN = {
    "tanh": ([Dense(6), Tanh()], lambda x, w, b: np.tanh(x @ w + b)),
    "softplus": ([Softplus(6)], lambda x, w, b: np.log1p(np.exp(x @ w + b))),
    "dense": ([lifted(Dense(6))], lambda x, w, b: x @ w + b + 1),
    "scale": ([Scale()], lambda x, factor: x * factor),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_layers_of_one_s_own(name, rng):
    """In the middle of a network they do what they say, at every prediction, and it learns."""
    middle, by_hand = copy.deepcopy(FOREIGN[name])
    first = Conv2D(3, 3, "relu", input_shape=(2, 6, 8))
    model = network(first, Flatten(), *middle, Dense(2))
    with pytest.raises(ValueError, match=f"^engine is 'compiled', but .*{name}.*expected") as error:
        model.compile(SGD(), engine="compiled")
    assert "\n" not in str(error.value)
    model.compile(RMSprop(0.003))
    assert model.engine == "numpy"
    targets, losses = rng.random((20, 2)), []
    states = frames("any numbers", (20, 2, 6, 8), rng)
    for n in range(60):
        losses.append(model.train_on_batch(states, targets))
        if n % 20 == 0:
            some = frames("any numbers", (2, 2, 6, 8), rng)
            w, b, *between, last_w, last_b = model.get_weights()
            x = np.maximum(naive.convolve(np.moveaxis(some, 1, -1), w, b), 0)
            expected = by_hand(x.reshape(2, -1), *between) @ last_w + last_b
            np.testing.assert_allclose(model.predict(some), expected, atol=1e-5)
            assert np.ptp(model.predict(some), axis=0).min() > 0
    assert losses[-1] < 0.5 * losses[0]


def test_the_engine_that_was_chosen():
    model = network(Conv2D(2, 2, input_shape=(1, 4, 4)), Flatten(), Dense(2))
    assert model.engine == "numpy"
    for engine, expected in (("auto", "compiled"), ("compiled", "compiled"), ("numpy", "numpy")):
        model.compile(SGD(), engine=engine)
        assert model.engine == expected
    exact = model.astype(np.float64)
    model.compile(SGD())
    model.add(Flatten())
    with pytest.raises(ValueError, match="compile"):  # again, since it is another network
        model.train_on_batch(np.zeros((5, 1, 4, 4)), np.zeros((5, 2)))
    changed = network(Dense(2, input_shape=(4,)))
    changed.layers[0]._activate = np.tanh
    for other, words in (
        (model, "the last layer is not a Dense"),
        (exact, "the weights are float64"),
        (changed, "the kernels do not know"),
    ):
        with pytest.raises(ValueError, match=words):
            other.compile(SGD(), engine="compiled")
        other.compile(SGD())
        assert other.engine == "numpy"


# A learner's layer with one mistake: its base, and the method that is wrong.
SLIPS = [
    (Tanh, "forward", lambda self, x: None, ValueError, r"gave shape NoneType; expected \(5, 7\)"),
    (Tanh, "forward", lambda self, x: x[:, :1], ValueError, r"gave shape \(5, 1\); expected \(5,"),
    (Tanh, "backward", lambda self, g: g[:, :1], ValueError, r"gave back shape \(5, 1\); expected"),
    (Scale, "backward", lambda self, g: setattr(self, "factor_gradient", g) or g, TypeError,
     "careless replaced factor_gradient; expected self"),
    (Scale, "forward", lambda self, x: self.factor.fill(1), ValueError, "read-only"),
    (Scale, "initial_weights", lambda self, rng: {"factor": [1, 2]}, ValueError, "broadcast"),
    (Scale, "build", Layer.build, ValueError, r"weight_shapes is \{\}; expected .*factor"),
    (Layer, "build", Layer.build, NotImplementedError, None),
]  # fmt: skip


@pytest.mark.parametrize(("base", "method", "slip", "error", "words"), SLIPS)
def test_slips_in_layers_of_one_s_own(base, method, slip, error, words, rng):
    """They are told, and what was right before stays so."""
    model = network(Dense(7, "relu", input_shape=(4,)))
    before, outputs = model.get_weights()[0], model.predict(np.ones((1, 4)))

    def learn():
        model.add(type("Careless", (base,), {method: slip})())
        model.compile(SGD())
        model.train_on_batch(rng.random((5, 4)), np.zeros((5, 7)))

    with pytest.raises(error, match=words):
        learn()
    if base is Scale and method not in ("forward", "backward"):
        assert len(model.get_weights()) == 2
        np.testing.assert_array_equal(model.predict(np.ones((1, 4))), outputs)
    np.testing.assert_array_equal(model.get_weights()[0], before)
    with pytest.raises(TypeError):
        Layer.weight_shapes["factor"] = (7,)  # all layers without weights share it
