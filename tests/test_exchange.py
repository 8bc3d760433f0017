"""Networks in other libraries and back; what is not installed is skipped."""

import os
import sys

import numpy as np
import pytest

from minidqn import exchange, export, runs
from minidqn.nn import Conv2D, Dense, Flatten, Layer, Sequential
from tests.commands import SMALL, refusal, run, trained

os.environ.setdefault("KERAS_BACKEND", "torch")

NETWORKS = {
    "recipe": lambda: [
        Conv2D(16, 3, "relu", (1, 10, 10)), Conv2D(16, 3, "relu"), Flatten(), Dense(100, "relu"),
        Dense(3),
    ],
    # All lengths differ, the last image is wide and has channels, and one layer has no ReLU.
    "oblong": lambda: [
        Conv2D(5, (2, 3), None, (3, 7, 8)), Conv2D(4, (3, 1), "relu"), Flatten(), Flatten(),
        Dense(6),
    ],
    "no convolution": lambda: [Flatten(input_shape=(2, 4, 3)), Dense(6, "relu"), Dense(5)],
    "vectors": lambda: [Dense(6, "relu", (7,)), Dense(2)],
}  # fmt: skip


class Case:
    """A network, another of the same layers, states, and the Q-values of the first for them."""

    def __init__(self, layers, rng):
        self.model, self.other = Sequential(layers(), rng), Sequential(layers(), rng)
        for model in (self.model, self.other):
            model.set_weights([rng.normal(size=w.shape) * 0.1 for w in model.get_weights()])
        self.states = rng.normal(size=(9, *self.model.input_shape)).astype(np.float32)
        self.q_values = self.model.predict(self.states)

    def agrees(self, q_values):
        assert q_values.dtype == np.float32
        np.testing.assert_allclose(q_values, self.q_values[: len(q_values)], rtol=0, atol=1e-5)

    def came_back(self):
        assert self.other.parameters.tobytes() == self.model.parameters.tobytes()


@pytest.fixture(params=NETWORKS)
def case(request, rng):
    return Case(NETWORKS[request.param], rng)


def test_torch(case, tmp_path):
    torch = pytest.importorskip("torch")
    network = eval(exchange.torch_code(case.model), {"torch": torch})
    exchange.save(case.model, tmp_path / "weights.pt", "torch")
    network.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    case.agrees(network(torch.from_numpy(case.states)).detach().numpy())
    exchange.from_torch(network.state_dict(), case.other)
    case.came_back()


def test_onnx(case, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    exchange.save(case.model, path, "onnx")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path)
    for batch in (case.states, case.states[:1]):  # of any length
        [q_values] = session.run(["q_values"], {"states": batch})
        assert len(q_values) == len(batch)
        case.agrees(q_values)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own, with NumPy 2
def test_keras(case, tmp_path):
    pytest.importorskip(os.environ["KERAS_BACKEND"])
    keras = pytest.importorskip("keras")
    exchange.save(case.model, tmp_path / "model.keras", "keras")
    network = keras.saving.load_model(tmp_path / "model.keras")
    case.agrees(network.predict(np.moveaxis(case.states, 1, -1), verbose=0))
    exchange.from_keras(network.get_weights(), case.other)
    case.came_back()


def test_safetensors(case, tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "weights.safetensors"
    exchange.save(case.model, path, "safetensors")
    for name, array in library.load_file(path).items():
        np.testing.assert_array_equal(array, case.model.named_weights()[name])
    exchange.load_safetensors(path, case.other)
    case.came_back()


def test_safetensors_that_nobody_vouches_for(rng, tmp_path):
    """Whatever is in a file, it is refused in one line, or the weights are all its own."""
    library = pytest.importorskip("safetensors.numpy")
    case = Case(NETWORKS["vectors"], rng)
    path, before = tmp_path / "weights.safetensors", case.other.parameters.tobytes()
    exchange.save(case.model, path, "safetensors")
    data, weights = path.read_bytes(), dict(case.model.named_weights())
    nan = weights | {"dense/bias": np.full(6, np.nan, np.float32)}
    wide = weights | {"dense/bias": np.zeros(6)}
    files = [b"", data[:-1], data + bytes(2_000_000), *map(library.save, (nan, wide, {}))]
    files += [bytes([*data[:n], rng.integers(256), *data[n + 1 :]]) for n in range(200)]
    refused = []
    for file in files:
        path.write_bytes(file)
        try:
            exchange.load_safetensors(path, case.other)
        except ValueError as error:
            refused.append((str(error), case.other.parameters.tobytes() == before))
        case.other.set_weights([np.zeros(w.shape) for w in weights.values()])
        before = case.other.parameters.tobytes()
    assert len(refused) > 150
    assert all(words.startswith(f"{path}: ") and unchanged for words, unchanged in refused)
    assert not any("\n" in words for words, _ in refused)
    os.mkfifo(path.with_name("pipe")) if hasattr(os, "mkfifo") else path.with_name("pipe").mkdir()
    with pytest.raises(OSError, match="pipe"):
        exchange.load_safetensors(path.with_name("pipe"), case.other)


def test_weights_of_another_network(rng):
    case = Case(NETWORKS["vectors"], rng)
    state, weights = exchange.to_torch(case.model), case.model.get_weights()
    before = case.other.parameters.tobytes()
    for wrong in (state | {"2.bias": np.zeros(3)}, dict(list(state.items())[:2])):
        with pytest.raises(ValueError, match=r"state_dict has shapes .*; expected \[\(6, 7\), "):
            exchange.from_torch(wrong, case.other)
    with pytest.raises(ValueError, match="dense_1/kernel holds NaN"):
        exchange.from_torch(state | {"2.weight": np.full((2, 6), np.nan)}, case.other)
    with pytest.raises(ValueError, match="holds 3 arrays; expected 4"):
        exchange.from_keras(weights[:3], case.other)
    for wrong in (exchange.from_torch, exchange.from_keras):
        with pytest.raises(TypeError, match="is a Sequential; expected what its"):
            wrong(case.model, case.other)
    assert case.other.parameters.tobytes() == before


def test_other_kinds_of_numbers(rng):
    """Networks in float64 leave in float32; tensors of any kind come back."""
    case = Case(NETWORKS["oblong"], rng)
    wide = case.model.astype(np.float64)
    assert {array.dtype for array in exchange.to_torch(wide).values()} == {np.dtype(np.float32)}
    torch = pytest.importorskip("torch")
    state = {n: torch.from_numpy(a) for n, a in exchange.to_torch(wide).items()}
    exchange.from_torch({n: torch.nn.Parameter(a.double()) for n, a in state.items()}, case.other)
    case.came_back()
    exchange.from_torch({n: a.bfloat16() for n, a in state.items()}, case.other)
    np.testing.assert_allclose(case.other.parameters, case.model.parameters, rtol=0.01)
    pytest.importorskip("onnx")
    assert exchange.to_onnx(wide) == exchange.to_onnx(case.model)


class Double(Layer):
    def forward(self, x):
        return 2 * x

    def backward(self, g):
        return 2 * g


def test_layers_of_ones_own(rng, tmp_path):
    """They are never taken for another, and their weights go where names are enough."""
    model = Sequential([Dense(2, input_shape=(3,)), Double(), Dense(1)], rng)
    for away in (exchange.to_torch, exchange.to_onnx, exchange.to_keras, exchange.torch_code):
        if away is exchange.to_onnx:
            pytest.importorskip("onnx")
        if away is exchange.to_keras:
            pytest.importorskip(os.environ["KERAS_BACKEND"])
            pytest.importorskip("keras")
        with pytest.raises(ValueError, match="layer double is a Double that the kernels do not"):
            away(model)
    with pytest.raises(ValueError, match="the network has no layers"):
        exchange.to_torch(Sequential())
    with pytest.raises(ValueError, match="to is 'hdf5'; expected one of safetensors, onnx"):
        exchange.save(model, tmp_path / "model", "hdf5")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("to", "library"), [("onnx", "onnx"), ("torch", "torch")])
def test_a_library_that_is_missing(to, library, tmp_path, monkeypatch, capsys):
    assert trained(*SMALL, "--no-images", "--out", tmp_path / "run") == 0
    monkeypatch.setitem(sys.modules, library, None)
    said = refusal(capsys, export.main, tmp_path / "run", "--to", to)
    assert f"{library} is missing: python -m pip install " in said
    assert not (tmp_path / "run" / runs.EXPORTS[to]).exists()


def test_the_command(tmp_path, capsys):
    """It says how to use what it wrote, and that can be pasted; an overwritten run loses it."""
    torch = pytest.importorskip("torch")
    folder = tmp_path / "a 'run'"
    assert trained(*SMALL, "--no-images", "--out", folder) == 0
    capsys.readouterr()
    assert run(export.main, folder, "--to", "torch") == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{folder / 'weights.pt'}: ")
    assert "# states: float32 (N, 1, 5, 5), as the game draws them" in lines[1]
    _, model, _ = runs.load_run(folder)
    states = np.eye(5, dtype=np.float32).reshape(1, 1, 5, 5)
    names = {"states": states}
    exec("\n".join(line.removeprefix("    ") for line in lines), names)
    np.testing.assert_allclose(names["q_values"].detach(), model.predict(states), atol=1e-5)
    assert torch is names["torch"]
    assert runs.EXPORTS.keys() == exchange.FORMATS.keys()
    for arguments, words in [
        ((folder, "--to", "torch", "--out", "weights.npz"), "another ending; expected .pt"),
        ((folder, "--to", "torch", "--out", "/dev/null/w.pt"), "w.pt cannot be written to: "),
        ((tmp_path / "none", "--to", "torch"), "there is no such folder"),
        ((folder,), "--to"),
        ((folder, "--to", "hdf5"), "invalid choice: 'hdf5'"),
    ]:
        assert words in refusal(capsys, export.main, *arguments)
    assert trained(*SMALL, "--no-images", "--out", folder, "--overwrite") == 0
    assert not (folder / "weights.pt").exists()
