"""Networks in other libraries, and their weights back: safetensors, ONNX, PyTorch, Keras.

Images are channels last here, as in Keras, and so are weights: the kernel of a Conv2D is
(kh, kw, in, out), that of a Dense (in, out), and Flatten counts in the order (h, w, c).
PyTorch and ONNX have images channels first, kernels (out, in, kh, kw) and (out, in), and
count (c, h, w). So axes change places, and with them the rows of the first Dense after a
Flatten. No number changes.

Each format needs its library. The extra ``python -m pip install "minidqn[export]"`` has
safetensors and onnx.
"""

import importlib
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minidqn import storage
from minidqn.nn import Conv2D, Dense, Flatten, Sequential
from minidqn.nn.engine import why_not

ONNX_VERSIONS = {"operators": 17, "file": 8}
"""Of 2022: old enough for most runtimes."""


def _library(name: str, package: str) -> Any:
    """The library of this `name`, or one line that says how to install its `package`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.split(".")[0]
        words = f"{top} cannot be imported: {error}"
        if name == "keras":
            words += "; KERAS_BACKEND names the library it computes with, such as torch"
        if error.name == top:
            words = f"{top} is missing: python -m pip install {package}"
        raise ImportError(words) from None


def _layers(model: Sequential) -> list[tuple[Any, tuple[int, ...]]]:
    """Every layer, and the (H, W, C) of its input, or of the image that Flatten made it from."""
    if not isinstance(model, Sequential):
        raise TypeError(f"model is a {type(model).__name__}; expected a minidqn.nn.Sequential")
    reason = why_not(model.layers, np.float32) if model.layers else "the network has no layers"
    if reason is not None:
        wanted = "expected Conv2D, Flatten and Dense alone, the last of them a Dense"
        raise ValueError(f"model cannot be exported: {reason}; {wanted}")
    channels, height, width = (*model.input_shape, 1, 1)[:3]
    shape: tuple[int, ...] = (height, width, channels)
    found = []
    for layer in model.layers:
        found.append((layer, shape))
        if not isinstance(layer, Flatten):
            shape = (1, 1, *layer.output_shape)[-3:]
    return found


def to_torch(model: Sequential) -> dict[str, np.ndarray]:
    """The weights as the state_dict of the network that `torch_code` writes.

    Parameters
    ----------
    model : Sequential
        The network.

    Returns
    -------
    dict of str to ndarray
        New arrays, float32: "0.weight" (out, in, kh, kw) or (out, in), "0.bias" (out,), and so on.

    Raises
    ------
    ValueError
        If a layer is not of this package.
    """
    state, number = {}, 0
    for layer, shape in _layers(model):
        if isinstance(layer, Conv2D):
            state[f"{number}.weight"] = layer.kernel.transpose(3, 2, 0, 1)
        elif isinstance(layer, Dense):
            rows = layer.kernel.reshape(*shape, layer.units)  # (h, w, c), out
            state[f"{number}.weight"] = rows.transpose(3, 2, 0, 1).reshape(layer.units, -1)
        if layer.weight_shapes:
            state[f"{number}.bias"] = layer.bias
        number += 1 + getattr(layer, "relu", False)  # a ReLU is a module of its own there
    return {name: np.array(weight, np.float32, order="C") for name, weight in state.items()}


def from_torch(state_dict: Mapping[str, Any], model: Sequential) -> None:
    """Give a network the weights of one in PyTorch: `to_torch` backwards.

    Parameters
    ----------
    state_dict : dict of str to tensor or ndarray
        Of the network that `torch_code` writes, on any device. Its modules may have other names.
    model : Sequential
        The network that takes them.

    Raises
    ------
    ValueError
        If they do not fit `model`; then no weight of it has changed.
    """
    if not isinstance(state_dict, Mapping):
        kind = type(state_dict).__name__
        raise TypeError(f"state_dict is a {kind}; expected what its state_dict() returns")
    given = [a.detach().cpu().float() if hasattr(a, "detach") else a for a in state_dict.values()]
    found = [tuple(np.shape(array)) for array in given]
    wanted = [array.shape for array in to_torch(model).values()]
    if found != wanted:
        raise ValueError(f"state_dict has shapes {found}; expected {wanted}")
    arrays, weights = map(np.asarray, given), []
    for layer, (height, width, channels) in _layers(model):
        if layer.weight_shapes:
            kernel, bias = next(arrays), next(arrays)
            if isinstance(layer, Dense):
                kernel = kernel.reshape(layer.units, channels, height, width)
            weights += [kernel.transpose(2, 3, 1, 0).reshape(layer.kernel.shape), bias]
    model.set_weights(weights)


def torch_code(model: Sequential) -> str:
    """The same network in PyTorch, as source.

    Parameters
    ----------
    model : Sequential
        The network.

    Returns
    -------
    str
        An expression. The network takes states as the game draws them, (N, C, H, W).

    Raises
    ------
    ValueError
        If a layer is not of this package.

    Examples
    --------
    >>> print(torch_code(Sequential([Flatten(input_shape=(1, 5, 5)), Dense(3)])))
    torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(25, 3),
    )
    """
    lines = []
    for layer, (_, _, channels) in _layers(model):
        if isinstance(layer, Conv2D):
            lines.append(f"torch.nn.Conv2d({channels}, {layer.filters}, {layer.kernel_size}),")
        elif isinstance(layer, Dense):
            lines.append(f"torch.nn.Linear({len(layer.kernel)}, {layer.units}),")
        else:
            lines.append("torch.nn.Flatten(),")
        lines += ["torch.nn.ReLU(),"] * getattr(layer, "relu", False)
    return "\n".join(["torch.nn.Sequential(", *(f"    {line}" for line in lines), ")"])


def to_onnx(model: Sequential) -> Any:
    """The network as a graph of ONNX, which ``onnx.checker`` has looked at.

    Parameters
    ----------
    model : Sequential
        The network.

    Returns
    -------
    onnx.ModelProto
        From "states" (N, C, H, W) or (N, D) to "q_values" (N, A), float32, for any N.

    Raises
    ------
    ValueError
        If a layer is not of this package.

    References
    ----------
    https://onnx.ai/onnx/operators/
    """
    onnx = _library("onnx", '"minidqn[export]"')
    state, nodes = to_torch(model), []
    arrays = iter(state)

    def node(operator, *weights, **attributes):
        given = nodes[-1].output[0] if nodes else "states"
        named = f"{operator.lower()}_{len(nodes)}"
        nodes.append(onnx.helper.make_node(operator, [given, *weights], [named], **attributes))

    for layer in model.layers:
        if isinstance(layer, Conv2D):
            node("Conv", next(arrays), next(arrays))
        elif isinstance(layer, Dense):
            node("Gemm", next(arrays), next(arrays), transB=1)
        else:
            node("Flatten")
        if getattr(layer, "relu", False):
            node("Relu")
    nodes[-1].output[0] = "q_values"
    shapes = {"states": model.input_shape, "q_values": model.output_shape}
    graph = onnx.helper.make_graph(
        nodes,
        "minidqn",
        *(
            [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *shape])]
            for name, shape in shapes.items()
        ),
        [onnx.numpy_helper.from_array(array, name) for name, array in state.items()],
    )
    operators = [onnx.helper.make_opsetid("", ONNX_VERSIONS["operators"])]
    made = onnx.helper.make_model(
        graph, opset_imports=operators, ir_version=ONNX_VERSIONS["file"], producer_name="minidqn"
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def to_keras(model: Sequential) -> Any:
    """The same network in Keras, with its weights: those of ``get_weights``, as they are.

    Parameters
    ----------
    model : Sequential
        The network.

    Returns
    -------
    keras.Sequential
        It takes states channels last, (N, H, W, C), computes in float32, and is not compiled.

    Raises
    ------
    ValueError
        If a layer is not of this package.
    """
    keras, layers = _library("keras", "keras"), _layers(model)
    channels, *sides = model.input_shape
    made = keras.Sequential([keras.Input((*sides, channels))])
    for layer, _ in layers:
        activation = "relu" if getattr(layer, "relu", False) else None
        if isinstance(layer, Conv2D):
            made.add(keras.layers.Conv2D(layer.filters, layer.kernel_size, activation=activation))
        elif isinstance(layer, Dense):
            made.add(keras.layers.Dense(layer.units, activation=activation))
        else:
            made.add(keras.layers.Flatten())
    made.set_weights(model.get_weights())
    return made


def from_keras(weights: Sequence[npt.ArrayLike], model: Sequential) -> None:
    """Give a network the weights of one in Keras: `to_keras` backwards.

    Parameters
    ----------
    weights : list of array_like
        What ``get_weights`` of a Keras network of the same layers returns.
    model : Sequential
        The network that takes them.

    Raises
    ------
    ValueError
        If they do not fit `model`; then no weight of it has changed.
    """
    if not isinstance(weights, Sequence):
        kind = type(weights).__name__
        raise TypeError(f"weights is a {kind}; expected what its get_weights() returns")
    model.set_weights([np.asarray(weight) for weight in weights])


def load_safetensors(path: str | Path, model: Sequential) -> None:
    """Give a network the weights in a safetensors file of `save`, trusting nothing it says.

    Parameters
    ----------
    path : path-like
        The file.
    model : Sequential
        The network that takes them.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, or does not fit `model`; then no weight of it has changed.
    """
    library, wanted = _library("safetensors.numpy", '"minidqn[export]"'), model.named_weights()
    most = sum(weight.nbytes for weight in wanted.values()) + storage.MOST_JSON
    with storage.open_regular(path) as file:
        data = file.read(most + 1)
    with storage.untrusted(path):
        if len(data) > most:
            raise ValueError(f"longer than {most:,} bytes, which this network never needs")
        try:
            arrays = library.load(data)
        except KeyError as error:
            raise ValueError(f"holds numbers of type {error}; expected float32") from error
        model.set_weights(list(storage.require_like(arrays, wanted).values()))


def save(model: Sequential, path: str | Path, to: str) -> None:
    """Write a network for another library.

    Parameters
    ----------
    model : Sequential
        The network.
    path : path-like
        The file to make or to replace, atomically.
    to : {"safetensors", "onnx", "torch", "keras"}
        "safetensors" are the weights, of any layers, under their names here; "onnx" is
        `to_onnx`; "torch" is `to_torch`, for ``torch.load``; "keras" is `to_keras`, for
        ``keras.saving.load_model`` if `path` ends in .keras.

    Raises
    ------
    ImportError
        If the library is missing.
    OSError
        If the file cannot be written.
    ValueError
        If a layer is not of this package, or there is no such format.
    """
    if to not in FORMATS:
        raise ValueError(f"to is {to!r}; expected one of {', '.join(FORMATS)}")
    data = FORMATS[to](model)
    with storage.atomic_write(path) as file:
        file.write(data)


def _safetensors_file(model):
    library = _library("safetensors.numpy", '"minidqn[export]"')
    arrays = {name: np.ascontiguousarray(w) for name, w in model.named_weights().items()}
    return library.save(arrays)


def _torch_file(model):
    torch, file = _library("torch", "torch"), io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in to_torch(model).items()}, file)
    return file.getvalue()


def _keras_file(model):
    with tempfile.TemporaryDirectory() as folder:  # Keras writes to a name with this ending only
        path = Path(folder) / "model.keras"
        to_keras(model).save(path)
        return path.read_bytes()


FORMATS = {
    "safetensors": _safetensors_file,
    "onnx": lambda model: to_onnx(model).SerializeToString(),
    "torch": _torch_file,
    "keras": _keras_file,
}
"""From a network to the bytes of a file."""
