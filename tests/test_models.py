"""Sequential: the public lines of a Keras script, and how they fail."""

import copy
import gc
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from minidqn.nn import SGD, Conv2D, Dense, Flatten, MeanSquaredError, RMSprop, Sequential
from minidqn.train import q_network


@pytest.fixture
def model():
    return q_network(6, np.random.default_rng(0))


@pytest.fixture
def states(rng):
    return rng.random((5, 1, 6, 6)).astype(np.float32)


def weights_equal(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_the_recipe():
    lines = []
    model = q_network(10)
    model.summary(print_fn=lines.append)
    assert model.count_params() == 60_483
    assert [array.shape for array in model.get_weights()] == [
        (3, 3, 1, 16), (16,), (3, 3, 16, 16), (16,), (576, 100), (100,), (100, 3), (3,)
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:-1]] == [
        "conv2d", "conv2d_1", "flatten", "dense", "dense_1"
    ]  # fmt: skip
    assert "60,483" in lines[-1]
    assert isinstance(model.optimizer, RMSprop)
    assert model.output_shape == (3,)


def test_predict_by_hand():
    """One filter that adds up a window, one unit: numbers to check on paper."""
    model = Sequential([Conv2D(1, 2, "relu", input_shape=(1, 2, 3)), Flatten(), Dense(1)])
    model.set_weights([np.ones((2, 2, 1, 1)), [-13], [[10], [100]], [0.5]])
    state = np.array([[[[1, 2, 3], [4, 5, 6]]]])
    # Windows: 1+2+4+5-13 = -1, cut to 0; 2+3+5+6-13 = 3.
    np.testing.assert_array_equal(model.predict(state), [[0 * 10 + 3 * 100 + 0.5]])


def test_channels_come_first(rng):
    model = Sequential([Conv2D(1, 1, input_shape=(2, 3, 3))])
    model.set_weights([np.reshape([1, 10], (1, 1, 2, 1)), [0]])
    states = rng.random((2, 2, 3, 3)).astype(np.float32)
    expected = states[:, 0] + 10 * states[:, 1]
    np.testing.assert_allclose(model.predict(states)[..., 0], expected, rtol=1e-6)


def test_predict_is_the_same_in_pieces(model, rng):
    states = rng.random((300, 1, 6, 6))
    whole = model.predict(states)
    assert whole.dtype == np.float32
    assert whole.shape == (300, 3)
    np.testing.assert_allclose(model.predict(states, batch_size=7), whole, atol=1e-6)
    assert model.predict(states[:0]).shape == (0, 3)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool, np.float64])
def test_states_of_any_number_type(model, kind):
    states = np.eye(6)[None, None].astype(kind)
    np.testing.assert_array_equal(model.predict(states), model.predict(states.astype(np.float32)))


def test_read_only_states(model, states, rng):
    targets = rng.random((5, 3))
    other = q_network(6, np.random.default_rng(0))
    expected = other.predict(states), other.train_on_batch(states, targets)
    states.setflags(write=False)
    np.testing.assert_array_equal(model.predict(states), expected[0])
    assert model.train_on_batch(states, targets) == expected[1]


def test_large_states_are_no_cause_for_warnings(model):
    assert np.isfinite(model.predict(np.full((1, 1, 6, 6), 1e25))).all()


def test_backward_belongs_to_the_last_forward(model, states):
    with pytest.raises(ValueError, match="5 samples; expected None"):
        model.backward(np.zeros((5, 3)))
    model.forward(states)
    with pytest.raises(ValueError, match="4 samples; expected 5"):
        model.backward(np.zeros((4, 3)))


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
    """What make_targets does to the outputs it is given does not change the prediction."""
    other = q_network(6, np.random.default_rng(0))
    goal = np.zeros((5, 3), np.float32)

    def in_place(outputs, next_outputs):
        np.testing.assert_allclose(outputs[:3], next_outputs, atol=1e-6)
        outputs[:] = goal
        return outputs

    loss = model.bootstrap_on_batch(states, states[:3], in_place)
    assert loss == other.train_on_batch(states, goal) > 0
    assert weights_equal(model, other)


def test_sgd_learns_a_line(rng):
    model = Sequential([Dense(1, input_shape=(2,))], rng=rng)
    model.compile(SGD(0.1), "mse")
    x = rng.standard_normal((200, 2))
    for _ in range(300):
        loss = model.train_on_batch(x, x @ [[3], [-2]] + 1)
    assert loss < 1e-10
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel.ravel(), [3, -2], atol=1e-4)
    np.testing.assert_allclose(bias, [1], atol=1e-4)


def test_rmsprop_by_hand():
    w, g = np.array([1.0, -2, 0]), np.array([0.5, -1, 0])
    rule = RMSprop(learning_rate=0.1, rho=0.5, epsilon=0.25)
    rule.build(w)
    rule.update(w, g)
    # v = 0.5 * g * g; w - 0.1 * g / (sqrt(v) + 0.25): epsilon outside the root.
    first = [1 - 0.05 / (0.125**0.5 + 0.25), -2 + 0.1 / (0.5**0.5 + 0.25), 0]
    np.testing.assert_allclose(w, first, rtol=1e-14)
    rule.update(w, g)
    second = 0.05 / ((0.5 * 0.125 + 0.125) ** 0.5 + 0.25)
    np.testing.assert_allclose(w[0], first[0] - second, rtol=1e-14)


def test_losses_reduction():
    predictions, targets = np.array([[1, 2, 3], [4, 5, 6.0]]), np.zeros((2, 3))
    loss = MeanSquaredError()
    by_sample = [(1 + 4 + 9) / 3, (16 + 25 + 36) / 3]
    assert np.isclose(loss.value(predictions, targets), np.mean(by_sample), rtol=1e-14)
    np.testing.assert_allclose(loss.gradient(predictions, targets), predictions / 3)


def test_the_same_generator_gives_the_same_network(states, rng):
    targets = rng.random((5, 3))
    one, other = (q_network(6, np.random.default_rng(7)) for _ in range(2))
    for model in (one, other):
        for _ in range(5):
            model.train_on_batch(states, targets)
    assert weights_equal(one, other)
    assert not weights_equal(one, q_network(6, np.random.default_rng(8)))


def test_results_are_copies(model, states, rng):
    q_values, weights = model.predict(states), model.get_weights()
    kept = q_values.copy(), [array.copy() for array in weights]
    model.train_on_batch(states, rng.random((5, 3)))
    model.predict(states + 1)
    np.testing.assert_array_equal(q_values, kept[0])
    assert all(np.array_equal(a, b) for a, b in zip(weights, kept[1], strict=True))
    weights[0][:] = 9
    assert not np.array_equal(weights[0], model.get_weights()[0])


def test_a_learning_step_allocates_next_to_nothing(rng):
    """In the steady state: what is left after a step, and the layers' share of its peak.

    The rest of the peak is the batch itself: frames that go on are copied out of it.
    """
    model = q_network(10, rng, threads=1)
    states = rng.integers(0, 2, (128, 1, 10, 10)).astype(np.float32)
    targets = rng.random((128, 3)).astype(np.float32)
    for _ in range(3):
        model.train_on_batch(states, targets)
    gc.collect()
    tracemalloc.start()
    model.train_on_batch(states, targets)
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    for _ in range(50):
        model.train_on_batch(states, targets)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 50 < 200
    assert peak - before < 20_000  # outputs, targets and errors of 1.5 kB each; no activations


def test_the_caller_s_arrays_are_left_alone(model, states, rng):
    targets = rng.random((5, 3)).astype(np.float32)
    kept = states.copy(), targets.copy()
    model.train_on_batch(states, targets)
    np.testing.assert_array_equal(states, kept[0])
    np.testing.assert_array_equal(targets, kept[1])


def test_astype_is_a_copy(model, states):
    exact = model.astype(np.float64)
    before = model.get_weights()
    exact.parameters[:] = 0
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.astype(np.float64).predict(states).dtype == np.float64


def test_an_optimizer_belongs_to_one_network(model, states):
    """A second network takes it away; the first must not write past the second's state."""
    optimizer = RMSprop()
    model.compile(optimizer)
    small = Sequential([Dense(1, input_shape=(1,))])
    small.compile(optimizer)
    with pytest.raises(ValueError, match="another network"):
        model.train_on_batch(states, np.zeros((5, 3)))
    small.train_on_batch([[1]], [[1]])


def test_a_deep_copy_learns_on_its_own(model, states, rng):
    targets = rng.random((5, 3))
    model.train_on_batch(states, targets)
    other = copy.deepcopy(model)
    assert weights_equal(model, other)
    before = model.get_weights()
    losses = [other.train_on_batch(states, targets) for _ in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert [model.train_on_batch(states, targets) for _ in range(3)] == losses
    assert weights_equal(model, other)


def test_networks_are_not_pickled(model):
    with pytest.raises(TypeError, match="save_weights"):
        pickle.dumps(model)


def test_weights_to_a_file_and_back(model, states, tmp_path):
    path = tmp_path / "w.npz"
    model.save_weights(path)
    other = q_network(6, np.random.default_rng(1))
    other.load_weights(path)
    assert weights_equal(model, other)
    np.testing.assert_array_equal(model.predict(states), other.predict(states))
    with np.load(path, allow_pickle=False) as file:
        assert list(file)[:2] == ["conv2d/kernel", "conv2d/bias"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.npz"]


def test_the_same_weights_give_the_same_file(model, tmp_path):
    model.save_weights(tmp_path / "a")
    model.save_weights(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_save_that_fails_leaves_the_old_file(model, tmp_path, monkeypatch):
    path = tmp_path / "w.npz"
    model.save_weights(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        model.save_weights(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.npz"]


def _truncate(path, model):
    path.write_bytes(path.read_bytes()[:-500])


def _cut_in_the_middle(path, model):
    data = path.read_bytes()
    path.write_bytes(data[:3000] + data[4000:])


def _flip_a_bit(path, model):
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)


def _pickled(path, model):
    arrays = dict(zip(model.named_weights(), model.get_weights(), strict=True))
    arrays["conv2d/bias"] = np.array([{"a": 1}] * 16, object)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _other_shape(path, model):
    q_network(7).save_weights(path)


def _other_dtype(path, model):
    model.astype(np.float64).save_weights(path)


def _other_keys(path, model):
    with open(path, "wb") as file:
        np.savez(file, weights=np.zeros(3))


def _forged_size(path, model):
    """Headers that promise a hundred gigabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in model.named_weights():
            header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (25000000000,), }"
            header = header.ljust(117) + b"\n"
            magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
            archive.writestr(f"{name}.npy", magic + header)


def _too_short(path, model):
    """Right headers, no numbers."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, weight in model.named_weights().items():
            header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {weight.shape}, }}"
            header = header.encode().ljust(117) + b"\n"
            magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
            archive.writestr(f"{name}.npy", magic + header)


def _too_long(path, model):
    """Bytes behind the last number of an array."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, weight in model.named_weights().items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, weight)
                stream.write(b"more")


def _turned(path, model):
    """As many numbers as there should be, in another shape."""
    arrays = model.named_weights()
    arrays["dense/kernel"] = arrays["dense/kernel"].T
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _text(path, model):
    path.write_text("no archive at all")


@pytest.mark.parametrize(
    "damage",
    [
        _truncate, _cut_in_the_middle, _flip_a_bit, _pickled, _other_shape, _other_dtype,
        _other_keys, _forged_size, _too_short, _too_long, _turned, _text,
    ],
)  # fmt: skip
def test_bad_weights_files_are_refused(damage, model, tmp_path):
    path = tmp_path / "w.npz"
    model.save_weights(path)
    damage(path, model)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"w\.npz: ") as refused:
        model.load_weights(path)
    assert "\n" not in str(refused.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_missing_weights_file(model, tmp_path):
    with pytest.raises(FileNotFoundError):
        model.load_weights(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.predict(np.zeros((2, 6, 6))), ValueError, r"\(2, 6, 6\); expected \(N, 1, 6"),
        (lambda m: m.predict(np.zeros((1, 6, 6))), ValueError, "states has shape"),
        (lambda m: m.predict(3.0), ValueError, "states has shape"),
        (lambda m: m.predict(np.full((1, 1, 6, 6), np.nan)), ValueError, "NaN"),
        (lambda m: m.predict(np.full((1, 1, 6, 6), np.inf)), ValueError, "infinity"),
        (lambda m: m.predict(np.full((1, 1, 6, 6), "a")), TypeError, "states has dtype"),
        (lambda m: Sequential().predict(np.zeros((1, 2))), ValueError, "no layers"),
        (lambda m: Sequential().compile(SGD()), ValueError, "no layers"),
        (lambda m: Sequential().summary(), ValueError, "no layers"),
        (lambda m: m.compile("adam"), TypeError, "optimizer is 'adam'"),
        (lambda m: m.compile(SGD(), "mae"), ValueError, "loss is 'mae'"),
        (lambda m: m.train_on_batch(np.zeros((2, 1, 6, 6)), [[0, 0, 0]]), ValueError, "targets"),
        (
            lambda m: m.train_on_batch(np.zeros((0, 1, 6, 6)), np.zeros((0, 3))),
            ValueError,
            "at least one",
        ),
        (lambda m: m.train_on_batch(np.zeros((1, 1, 6, 6)), [["a"] * 3]), TypeError, "targets"),
        (lambda m: m.set_weights(m.get_weights()[:-1]), ValueError, "7 arrays; expected 8"),
        (lambda m: m.set_weights([0] * 8), ValueError, r"conv2d/kernel has shape \(\)"),
        (lambda m: m.astype(int), TypeError, "dtype is int64"),
        (lambda m: SGD(-1), ValueError, "learning_rate is -1"),
        (lambda m: SGD("a"), TypeError, "learning_rate is 'a'"),
        (lambda m: m.predict(np.zeros((1, 1, 6, 6)), 0), ValueError, "batch_size is 0"),
        (lambda m: m.predict(np.zeros((1, 1, 6, 6)), -1), ValueError, "batch_size is -1"),
        (lambda m: m.predict(np.full((1, 1, 6, 6), 1e300)), ValueError, "infinity"),
        (lambda m: m.predict([[1], [1, 2]]), ValueError, "ragged"),
        (lambda m: m.train_on_batch([[1], [1, 2]], [[0]]), ValueError, "states is ragged"),
        (lambda m: m.train_on_batch(np.zeros((1, 1, 6, 6)), [[1], [1, 2]]), ValueError, "targets"),
        (lambda m: m.compile(RMSprop), TypeError, "optimizer is"),
        (lambda m: m.compile(SGD(), MeanSquaredError), ValueError, "loss is"),
        (lambda m: m.compile(RMSprop(epsilon=1e-50)), ValueError, "epsilon is 1e-50"),
        (lambda m: m.compile(SGD(1e39)), ValueError, r"learning_rate is 1e\+39"),
        (lambda m: m.set_weights(5), TypeError, "weights is int"),
        (lambda m: m.backward(np.zeros((1, 4))), ValueError, "gradient has shape"),
        (lambda m: m.astype(np.float16), TypeError, "dtype is float16"),
        (lambda m: RMSprop().update(np.zeros(3), np.zeros(3)), ValueError, "built for another"),
        (lambda m: Sequential(threads=0), ValueError, "threads is 0"),
        (lambda m: RMSprop(rho=1), ValueError, "rho is 1"),
        (lambda m: RMSprop(epsilon=np.nan), ValueError, "epsilon is nan"),
    ],
)
def test_mistakes_are_named(model, call, error, words):
    with pytest.raises(error, match=words):
        call(model)


def test_training_before_compile():
    model = Sequential([Dense(1, input_shape=(1,))])
    with pytest.raises(ValueError, match="compile"):
        model.train_on_batch([[0]], [[0]])


def test_a_layer_more_uncompiles(model, states):
    model.add(Dense(2))
    assert model.predict(states).shape == (5, 2)
    with pytest.raises(ValueError, match="compile"):
        model.train_on_batch(states, np.zeros((5, 2)))
    model.compile(SGD())
    model.train_on_batch(states, np.zeros((5, 2)))


def test_no_samples_have_no_gradient(model, states, rng):
    model.train_on_batch(states, rng.random((5, 3)))
    assert model.gradients.any()
    model.forward(states[:0])
    assert model.backward(np.zeros((0, 3))).shape == (0, 1, 6, 6)
    assert not model.gradients.any()


def test_a_plan_that_fails_leaves_no_trace(model, states, rng, monkeypatch):
    """Whatever ends a larger forward pass, the next ones compute what they should."""
    other = q_network(6, np.random.default_rng(0))
    g = rng.random((5, 3)).astype(np.float32)
    other.forward(states)
    expected = other.backward(g)
    model.predict(states)
    forward = model.layers[-1].forward

    def fail(x):
        raise MemoryError

    monkeypatch.setattr(model.layers[-1], "forward", fail)
    with pytest.raises(MemoryError):
        model.predict(rng.random((100, 1, 6, 6)))
    monkeypatch.setattr(model.layers[-1], "forward", forward)
    model.forward(states)
    np.testing.assert_array_equal(model.backward(g), expected)
    np.testing.assert_array_equal(model.gradients, other.gradients)


def test_a_layer_used_by_itself_changes_nothing(model, states, rng):
    other = q_network(6, np.random.default_rng(0))
    targets = rng.random((5, 3))
    model.predict(states)
    x = np.ones((3, 6, 6, 1), np.float32)
    y = model.layers[0].forward(x).copy()
    np.testing.assert_array_equal(y[0], y[2])
    assert model.train_on_batch(states, targets) == other.train_on_batch(states, targets)
    np.testing.assert_array_equal(model.parameters, other.parameters)


@pytest.mark.parametrize("filters", [16, 17])
def test_the_bits_do_not_depend_on_earlier_batches(filters, rng):
    """A step with one sample, in a network that has seen only that, and many others."""

    def weights_after(earlier):
        layers = [Conv2D(filters, 3, "relu", input_shape=(1, 10, 10)), Conv2D(filters, 3, "relu")]
        model = Sequential([*layers, Flatten(), Dense(2)], rng=np.random.default_rng(1))
        model.compile(RMSprop())
        model.predict(np.zeros((earlier, 1, 10, 10)))
        model.train_on_batch(np.eye(10)[None, None], [[1, 2]])
        return model.parameters.tobytes()

    assert weights_after(1) == weights_after(80)


def test_the_first_batch_may_be_empty(rng):
    model = q_network(6, rng)
    assert model.forward(np.zeros((0, 1, 6, 6))).shape == (0, 3)
    assert model.backward(np.zeros((0, 3))).shape == (0, 1, 6, 6)


def test_layer_outputs(rng):
    """Each layer's own definition, one after the other, in float64."""
    model = q_network(6, rng)
    model.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in model.get_weights()])
    exact, states = model.astype(np.float64), rng.random((5, 1, 6, 6))
    outputs, x = exact.layer_outputs(states), np.moveaxis(states, 1, -1)
    assert list(outputs) == ["conv2d", "conv2d_1", "flatten", "dense", "dense_1"]
    for layer in exact.layers:
        x = layer.forward(x)
        assert outputs[layer.name].dtype == np.float64
        np.testing.assert_array_equal(outputs[layer.name], x)
    in_float32 = model.layer_outputs(states)
    for name, y in outputs.items():
        assert in_float32[name].dtype == np.float32
        np.testing.assert_allclose(in_float32[name], y, atol=1e-4)
    np.testing.assert_array_equal(in_float32["dense_1"], model.predict(states))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layer_outputs_leave_the_network_as_it_is(dtype, rng):
    """What backward needs is still there, and the arrays are nobody else's."""
    model = q_network(6, rng).astype(dtype)
    states, g = rng.random((4, 1, 6, 6)), rng.random((4, 3))
    model.forward(states)
    model.backward(g)
    expected = model.gradients.copy()
    model.forward(states)
    first = model.layer_outputs(states[:1])
    kept = {name: y.copy() for name, y in first.items()}
    for y in model.layer_outputs(states[1:]).values():
        y[...] = 7
    model.backward(g)
    np.testing.assert_array_equal(model.gradients, expected)
    for name, y in first.items():
        np.testing.assert_array_equal(y, kept[name])


def test_layer_outputs_of_nothing_and_of_no_states(rng):
    model = q_network(6, rng)
    shapes = {name: y.shape for name, y in model.layer_outputs(np.zeros((0, 1, 6, 6))).items()}
    assert shapes["conv2d"] == (0, 4, 4, 16)
    assert shapes["dense_1"] == (0, 3)
    with pytest.raises(ValueError, match="states has shape"):
        model.layer_outputs(np.zeros((1, 6, 6)))
    with pytest.raises(ValueError, match="no layers"):
        Sequential().layer_outputs(np.zeros((1, 6)))
