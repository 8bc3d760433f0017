"""Sequential: the public lines of a Keras script, and how they fail."""

import copy
import os
import pickle
import signal
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minidqn import nn
from minidqn.nn import SGD, Dense, MeanSquaredError, RMSprop, Sequential, optimizers
from minidqn.recipe import q_network
from tests import naive
from tests.test_kernels import Fenced


def compiled(rule=None, loss="mse", engine="auto", noise=0.0):
    """A network of the recipe with the same weights each time, and perhaps another rule or loss."""
    model = q_network(6, rng := np.random.default_rng(0), engine=engine)
    model.set_weights([w + noise * rng.standard_normal(w.shape) for w in model.get_weights()])
    if rule is not None:
        model.compile(rule, loss, engine)
    return model


@pytest.fixture
def model():
    return compiled()


@pytest.fixture
def states(rng):
    return rng.random((5, 1, 6, 6)).astype(np.float32)


BIG = 1e300  # more than float32 holds


def has(model, weights):
    """Whether a network has these weights, to the bit."""
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))


def test_the_recipe():
    model = q_network(10)
    assert model.count_params() == 60_483
    assert [array.shape for array in model.get_weights()] == [
        (3, 3, 1, 16), (16,), (3, 3, 16, 16), (16,), (576, 100), (100,), (100, 3), (3,)
    ]  # fmt: skip
    assert isinstance(model.optimizer, RMSprop)
    assert model.output_shape == (3,)


def test_predict_is_the_same_in_pieces(model, rng):
    states = rng.random((300, 1, 6, 6))
    whole = model.predict(states)
    assert whole.dtype == np.float32
    assert whole.shape == (300, 3)
    np.testing.assert_allclose(model.predict(states, batch_size=7), whole, atol=1e-6)
    assert model.predict(states[:0]).shape == (0, 3)


def test_train_on_batch_is_one_step_of_the_formulas(model, states, rng):
    """Against the float64 network, whose gradients are checked, and the update by hand."""
    targets = rng.random((5, 3))
    exact = model.astype(np.float64)
    outputs = exact.forward(states)
    exact.backward(2 * (outputs - targets) / outputs.size)
    gradient = exact.gradients
    expected = exact.parameters - 1e-3 * gradient / (np.sqrt(0.1 * gradient**2) + 1e-8)
    loss = model.train_on_batch(states, targets)
    assert type(loss) is float
    assert np.isclose(loss, np.mean((outputs - targets) ** 2), rtol=1e-5)
    clear = np.abs(gradient) > 1e-5  # where rounding cannot turn the sign of the step
    np.testing.assert_allclose(model.parameters[clear], expected[clear], atol=1e-6)


def test_targets_may_be_made_in_place(model, states):
    """The outputs that make_targets gets are its own; the prediction stays as it is."""
    other, goal = compiled(), np.zeros((5, 3), np.float32)

    def in_place(outputs, next_outputs):
        np.testing.assert_allclose(outputs[:3], next_outputs, atol=1e-6)
        outputs[:] = goal
        return outputs

    loss = model.bootstrap_on_batch(states, states[:3], in_place)
    assert loss == other.train_on_batch(states, goal) > 0
    assert has(model, other.get_weights())


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", [SGD(0.25), RMSprop(0.25, 0.75, 0.5)], ids=["SGD", "RMSprop"])
def test_rules_are_the_loops(rule, dtype, rng):
    """Five updates inside of the arrays; where all gradients are 0, nothing moves."""
    fenced = [Fenced([array], 12345.0) for array in np.zeros((3, 50), dtype)]
    w, g, state = (each.arrays[0] for each in fenced)
    w[:], v = rng.standard_normal(50), [0.0] * 50
    rule.build(w)
    rule.state = dict.fromkeys(rule.remembers, state)
    expected = w.tolist()
    for _ in range(5):
        g[9:] = rng.standard_normal(41)
        assert rule.update(w, g)
        if type(rule) is SGD:
            expected = naive.sgd(expected, g.tolist(), 0.25)
        else:
            expected, v = naive.rmsprop(expected, g.tolist(), v, 0.25, 0.75, 0.5)
            np.testing.assert_allclose(state, v, rtol=1e-5)
        np.testing.assert_allclose(w, expected, atol=1e-5 if dtype == np.float32 else 1e-14)
        for each in fenced:
            each.assert_intact()
    w[3] = np.inf
    assert not rule.update(w, g)  # some number is not finite


class Momentum:
    """A rule of one's own, in plain NumPy, that is no Optimizer."""

    def build(self, parameters):
        self.state = {"velocity": np.zeros_like(parameters)}

    def update(self, parameters, gradients):
        velocity = self.state["velocity"]
        velocity *= 0.9
        velocity -= 0.01 * gradients
        parameters += velocity


class Descent(nn.Optimizer):
    """Another, that remembers nothing."""

    def update(self, parameters, gradients):
        parameters -= self.learning_rate * gradients


@pytest.mark.parametrize("rule", [Momentum(), Descent(0.05)], ids=["momentum", "descent"])
@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_rules_of_one_s_own(rule, engine, states, rng):
    model, targets = compiled(rule, engine=engine), rng.random((5, 3))
    losses = [model.train_on_batch(states, targets) for _ in range(100)]
    assert losses[-1] < 0.1 * losses[0]
    assert model.first_not_finite(losses[-1]) is None
    np.testing.assert_allclose(model.predict(states), model.forward(states), atol=1e-5)
    state = model.named_state()
    assert len(state) == 8 * (type(rule) is Momentum)
    assert all(array.any() for array in state.values())
    model._weights["dense/kernel"][3, 1] = np.nan  # the rule does not look for it
    assert model.first_not_finite() == "dense/kernel"


def test_state_by_name_is_the_state_itself(model, states):
    model.optimizer.state["steps"] = np.ones(1)  # no weight's, as what Adam counts
    assert model.named_state()["steps"] == 1
    del model.optimizer.state["steps"]
    model.train_on_batch(states, np.ones((5, 3)))
    state = model.named_state()
    assert list(state) == [f"mean_square/{name}" for name in model.named_weights()]
    for name, gradient in model.named_gradients().items():
        np.testing.assert_allclose(state[f"mean_square/{name}"], 0.1 * gradient**2, rtol=1e-5)
    state["mean_square/dense/kernel"][...] = 1e30  # so that no step of it can be seen
    before = model.get_weights()
    model.train_on_batch(states, np.ones((5, 3)))
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert moved == [True] * 4 + [False] + [True] * 3


class SparingLoss(MeanSquaredError):  # noqa: N818, it is an error that is squared
    """It works in place; its value is that of the predictions all the same."""

    def gradient(self, predictions, targets):
        predictions -= targets
        predictions *= 2 / predictions.size
        return predictions


def test_losses(states):
    predictions, targets = np.array([[1, 2, 3], [4, 5, 6.0]]), np.zeros((2, 3))
    loss = MeanSquaredError()
    assert np.isclose(loss.value(predictions, targets), (1 + 4 + 9 + 16 + 25 + 36) / 6, rtol=1e-14)
    np.testing.assert_allclose(loss.gradient(predictions, targets), predictions / 3)
    models = compiled(SGD()), compiled(SGD(), SparingLoss())
    losses = [model.train_on_batch(states, np.ones((5, 3))) for model in models]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_belong_to_the_caller(dtype, model, states, rng):
    """Results are copies, arguments are left alone; changed after forward, backward is the same."""
    targets, states = rng.random((5, 3)).astype(dtype), states.astype(dtype)
    q_values, before = model.predict(states), model.get_weights()
    kept = [array.copy() for array in (states, targets, q_values)]
    before[0][:] = 9
    assert not has(model, before)
    model.train_on_batch(states, targets)
    model.predict(states + 1)
    assert all(map(np.array_equal, (states, targets, q_values), kept))
    assert (before[0] == 9).all()
    model, g = model.astype(dtype), rng.random((5, 3)).astype(dtype)
    model.forward(states)
    expected, gradients = model.backward(g), model.gradients.copy()
    model.forward(states)
    states[...] = 7
    np.testing.assert_array_equal(model.backward(g), expected)
    np.testing.assert_array_equal(model.gradients, gradients)


def test_an_update_that_returns_weights(model, states):
    """They would go nowhere, and nothing be learned."""

    class Returned(optimizers.Optimizer):
        def update(self, parameters, gradients):
            return parameters - self.learning_rate * gradients

    model.compile(Returned())
    with pytest.raises(TypeError, match="update returned a ndarray; expected it to change param"):
        model.train_on_batch(states, model.predict(states))


def test_an_optimizer_belongs_to_one_network(model, states):
    """It must not write past the weights or the state, whoever has changed them."""
    for wrong in (np.zeros(3, np.float32), np.zeros(len(model.parameters))):
        model.optimizer.state["mean_square"] = wrong
        with pytest.raises(ValueError, match="mean_square is of"):
            model.train_on_batch(states, np.zeros((5, 3)))
    small = Sequential([Dense(1, input_shape=(1,))])
    small.compile(model.optimizer)
    with pytest.raises(ValueError, match="another network"):
        model.train_on_batch(states, np.zeros((5, 3)))
    small.train_on_batch([[1]], [[1]])


@pytest.mark.parametrize("words", ["rmsprop", "rmsprop centered=true momentum=0.9", "adam"])
def test_means_fade_to_zero(words):
    """Numbers without all their digits, with which arithmetic is slow, are 0; NaN stays NaN."""
    w, optimizer = np.zeros(1, np.float32), optimizers.get(words)
    optimizer.build(w)
    optimizer.update(w, np.full(1, 1e-15, np.float32))
    means = [optimizer.state[name] for name in optimizer.remembers]
    assert all(means)
    for _ in range(15_000):
        optimizer.update(w, np.zeros(1, np.float32))
        numbers = [mean[0] for mean in means]
        if "centered" in words:
            numbers.append(optimizer.state["mean_gradient"][0] ** 2)
        assert not any(0 < abs(number) < np.finfo(np.float32).tiny for number in numbers)
    assert not any(means)
    optimizer.update(w, np.full(1, np.nan, np.float32))
    assert np.isnan(means).all()


def test_a_deep_copy_learns_on_its_own(model, states, rng):
    targets = rng.random((5, 3))
    model.train_on_batch(states, targets)
    other, rule = copy.deepcopy(model), copy.deepcopy(model.optimizer)
    assert other.engine == model.engine == "compiled"
    assert has(model, other.get_weights())
    before = model.get_weights()
    losses = [other.train_on_batch(states, targets) for _ in range(3)]
    assert has(model, before)
    assert [model.train_on_batch(states, targets) for _ in range(3)] == losses
    assert has(model, other.get_weights())
    assert rule.state["mean_square"].any()
    exact = model.astype(np.float64)  # another copy
    exact.set_weights([0 * weight for weight in before])
    assert has(model, other.get_weights())


def test_weights_to_a_file_and_back(model, states, tmp_path, monkeypatch):
    path = tmp_path / "w.npz"
    model.save_weights(path)
    other = q_network(6, np.random.default_rng(1))
    other.load_weights(path)
    assert has(model, other.get_weights())
    np.testing.assert_array_equal(model.predict(states), other.predict(states))
    with np.load(path, allow_pickle=False) as file:
        assert list(file)[:2] == ["conv2d/kernel", "conv2d/bias"]
    with pytest.raises(FileNotFoundError):
        model.load_weights(tmp_path / "none.npz")
    before = path.read_bytes()
    other.save_weights(path)  # the same bytes again
    assert path.read_bytes() == before
    model.train_on_batch(states, np.ones((5, 3)))
    monkeypatch.setattr("os.fsync", lambda _: os.stat(tmp_path / "missing"))
    with pytest.raises(OSError, match="missing"):  # the old file stays whole
        model.save_weights(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.npz"]


def saved(**arrays):
    """A damage: a file with these arrays beside or instead of the network's own."""
    return lambda path, model: np.savez(path, **model.named_weights() | arrays)


def forged(shape, ending=None):
    """A damage: headers of a `shape`, or each weight's own; then its numbers and more, or none."""

    def damage(path, model):
        with zipfile.ZipFile(path, "w") as archive:
            for name, weight in model.named_weights().items():
                header = {"descr": "<f4", "fortran_order": False, "shape": shape or weight.shape}
                with archive.open(f"{name}.npy", "w") as stream:
                    np.lib.format.write_array_header_1_0(stream, header)
                    stream.write(b"" if ending is None else weight.tobytes() + ending)

    return damage


DAMAGES = {
    "truncated": lambda path, _: path.write_bytes(path.read_bytes()[:-500]),
    "no archive": lambda path, _: path.write_bytes(b"no archive at all"),
    "compressed": lambda path, model: np.savez_compressed(path, **model.named_weights()),
    "pickled": saved(**{"conv2d/bias": np.array([{"a": 1}] * 16, object)}),
    "not finite": saved(**{"conv2d/bias": np.full(16, np.nan, np.float32)}),
    "turned": saved(**{"dense/kernel": np.zeros((100, 64), np.float32)}),
    "other keys": saved(more=np.zeros(3, np.float32)),
    "other network": lambda path, _: q_network(7).save_weights(path),
    "other dtype": lambda path, model: model.astype(np.float64).save_weights(path),
    "a hundred gigabytes promised": forged((25_000_000_000,)),
    "too short": forged(None),
    "too long": forged(None, b"more"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_bad_weights_files_are_refused(damage, model, tmp_path):
    path = tmp_path / "w.npz"
    model.save_weights(path)
    damage(path, model)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"w\.npz: ") as refused:
        model.load_weights(path)
    assert "\n" not in str(refused.value)
    assert has(model, before)


def x(*shape, value=0.0):
    """An array of one value."""
    return np.full(shape, value)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.predict(x(2, 6, 6)), ValueError, r"\(2, 6, 6\); expected \(N, 1, 6"),
        (lambda m: m.predict(3.0), ValueError, "states has shape"),
        (lambda m: m.predict(x(1, 1, 6, 6, value=np.nan)), ValueError, "NaN"),
        (lambda m: m.predict(x(1, 1, 6, 6, value=BIG)), ValueError, "infinity"),
        (lambda m: m.predict(x(1, 1, 6, 6, value="a")), TypeError, "states has dtype"),
        (lambda m: m.predict([[1], [1, 2]]), ValueError, "states is ragged"),
        (lambda m: m.predict(x(1, 1, 6, 6), 0), ValueError, "batch_size is 0"),
        (lambda m: Sequential().predict(x(1, 2)), ValueError, "no layers"),
        (lambda m: Sequential().compile(SGD()), ValueError, "no layers"),
        (lambda m: Sequential().summary(), ValueError, "no layers"),
        (lambda m: Sequential().layer_outputs(x(1, 2)), ValueError, "no layers"),
        (lambda m: m.compile("lion"), ValueError, "optimizer is 'lion'; expected one of sgd, rms"),
        (
            lambda m: m.compile("adam rho=1"),
            ValueError,
            "rho is none of its parameters: learn",
        ),
        (
            lambda m: m.compile("sgd learning_rate=x"),
            ValueError,
            "learning_rate=x: expected a number",
        ),
        (lambda m: m.compile("rmsprop centered=1"), TypeError, "centered is 1"),
        (lambda m: m.compile(3), TypeError, "optimizer is 3"),
        (lambda m: m.compile(RMSprop), TypeError, "optimizer is"),
        (lambda m: m.compile(SGD(), "mae"), ValueError, "loss is 'mae'"),
        (lambda m: m.compile(SGD(), MeanSquaredError), ValueError, "loss is"),
        (lambda m: m.compile(SGD(), engine="fast"), ValueError, "engine is 'fast'; expected"),
        (lambda m: m.compile(RMSprop(epsilon=1e-50)), ValueError, "epsilon is 1e-50"),
        (lambda m: m.train_on_batch(x(2, 1, 6, 6), [[0, 0, 0]]), ValueError, "targets has shape"),
        (lambda m: m.train_on_batch(x(0, 1, 6, 6), []), ValueError, "at least one"),
        (lambda m: m.backward(x(5, 3)), ValueError, "gradient has shape"),
        (lambda m: m.backward(m.forward(x(5, 1, 6, 6))[:4]), ValueError, r"\(4, 3\); .*\(5, 3\)"),
        (lambda m: m.backward(x(1, 3, value=None)), TypeError, "gradient has dtype object"),
        (lambda m: m.set_weights(5), TypeError, "weights is int"),
        (lambda m: m.set_weights(m.get_weights()[:-1]), ValueError, "7 arrays; expected 8"),
        (lambda m: m.set_weights([0] * 8), ValueError, r"conv2d/kernel has shape \(\)"),
        (lambda m: m.set_weights([w * np.nan for w in m.get_weights()]), ValueError, "^conv2d/ker"),
        (
            lambda m: m.set_weights([x(*w.shape, value=BIG) for w in m.get_weights()]),
            ValueError,
            "inf",
        ),
        (lambda m: m.astype(np.float16), TypeError, "dtype is float16"),
        (lambda m: pickle.dumps(m), TypeError, "save_weights"),
        (lambda m: SGD(-1), ValueError, "learning_rate is -1"),
        (lambda m: SGD("a"), TypeError, "learning_rate is 'a'"),
        (lambda m: RMSprop(rho=1), ValueError, "rho is 1"),
    ],
)
def test_mistakes_are_named(model, call, error, words):
    with pytest.raises(error, match=words):
        call(model)


def test_no_samples_have_no_gradient(model, states, rng):
    for _ in range(2):  # the first batch may be empty, too
        assert model.forward(states[:0]).shape == (0, 3)
        assert model.backward(np.zeros((0, 3))).shape == (0, 1, 6, 6)
        assert not model.gradients.any()
        model.train_on_batch(states, rng.random((5, 3)))
        assert model.gradients.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layer_outputs(dtype, states, rng):
    """Each layer's own definition, one after the other; backward's needs are left as they are."""
    model, g = compiled(noise=0.1).astype(dtype), rng.random((5, 3))
    model.forward(states)
    model.backward(g)
    expected = model.gradients.copy()
    model.forward(states)
    outputs, x = model.layer_outputs(states), np.moveaxis(states, 1, -1)
    assert [len(y) for y in model.layer_outputs(states[:0]).values()] == [0] * 5
    model.backward(g)
    np.testing.assert_array_equal(model.gradients, expected)
    for layer in model.layers:
        x = layer.forward(x)
        assert outputs[layer.name].dtype == dtype
        np.testing.assert_allclose(outputs[layer.name], x, atol=1e-5)


def test_threads_wait_for_each_other(rng):
    """One network, two callers that predict and one that learns: each gets what is its own."""
    model = q_network(6, rng)
    model.compile(SGD(1e-30))  # so that predictions stay
    inputs = rng.random((3, 100, 1, 6, 6))
    expected = [model.predict(states) for states in inputs]

    def call(who):
        for _ in range(200):
            outputs = model.predict(inputs[who])
            np.testing.assert_array_equal(outputs, expected[who])
            if who == 2:
                assert np.isclose(model.train_on_batch(inputs[who], outputs + who), 4)

    with ThreadPoolExecutor(3) as callers:
        list(callers.map(call, range(3)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python's, and JAX's, of forks
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning")  # of processes with threads
def test_a_child_of_a_process_that_trains_does_not_hang(model, states):
    """It is forked while another thread is in the middle of a learning step."""
    inside, go_on = threading.Event(), threading.Event()

    def make_targets(outputs, _):
        inside.set()
        go_on.wait(60)
        return outputs

    learner = threading.Thread(target=model.bootstrap_on_batch, args=(states, states, make_targets))
    learner.start()
    assert inside.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a child that hangs
        try:
            os._exit(not np.isfinite(model.train_on_batch(states, np.zeros((5, 3)))))
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    go_on.set()
    learner.join()
    assert status == 0


class Interrupted(SGD):
    """Ctrl-C arrives when the weights have changed."""

    def update(self, parameters, gradients):
        super().update(parameters, gradients)
        raise KeyboardInterrupt


def test_an_interrupted_update_leaves_no_old_backgrounds(states):
    model = compiled(Interrupted(0.5))
    model.predict(states)
    with pytest.raises(KeyboardInterrupt):
        model.train_on_batch(states, np.ones((5, 3)))
    np.testing.assert_allclose(model.predict(states), model.forward(states), rtol=1e-4)
