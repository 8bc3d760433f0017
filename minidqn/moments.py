"""Moments of a training: the weights as they were, in eight bits, to be looked at later.

A run keeps its weights at the end of epochs 0 (before the training), 1, 2, 3, 4, 6,
8, 12, 16, 24, ...: the powers of two, and one and a half times them. More of
them lie where more happens, and none depends on how many epochs there will be. The
last moment of all is weights.npz itself. Epochs before the first update are not kept,
but for 0: their weights are the same.

A kernel's numbers that belong to one output share a scale, the greatest of them over
127, and are rounded to whole multiples of it, from -127 to 127; so each is at most half
a scale, 1/254 of the greatest, from what it was. Biases are few, and stay float32.
"""

from pathlib import Path

import numpy as np

from minidqn import runs, storage
from minidqn.checks import finite
from minidqn.nn import Sequential

MOST = 127
"""The greatest number that a weight is rounded to; an int8 holds it and its negative."""


def is_moment(epoch: int) -> bool:
    """Whether the weights at the end of an epoch are kept.

    Parameters
    ----------
    epoch : int
        Which one, from 1; 0 is before the training.

    Returns
    -------
    bool
        True for 0, powers of two, and three times powers of two.

    Examples
    --------
    >>> [epoch for epoch in range(100) if is_moment(epoch)]
    [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96]
    """
    odd_part = epoch // (epoch & -epoch) if epoch else 1
    return odd_part in (1, 3)


def quantized(weights: dict[str, np.ndarray], most: int = MOST) -> dict[str, np.ndarray]:
    """Weights in eight bits, or in sixteen.

    Parameters
    ----------
    weights : dict of str to ndarray
        As ``Sequential.named_weights`` has them, finite.
    most : int
        The greatest number that a weight is rounded to, at most 32,767: each is at most
        1 / (2 * most) of its output's greatest from what it was.

    Returns
    -------
    dict of str to ndarray
        Under the same names kernels as int8, or as int16 if `most` is above 127, and biases
        as they are; under the name of a kernel with "/scale" behind it, float32
        [shape=(outputs,)].

    Examples
    --------
    >>> rounded = quantized({"dense/kernel": np.array([[1.0, 0.0], [-0.3, 0.0]], np.float32)})
    >>> rounded["dense/kernel"]
    array([[127,   0],
           [-38,   0]], dtype=int8)
    """
    arrays, kind = {}, np.int8 if most <= MOST else np.int16
    # `most` times as much is finite for certain, however it was rounded.
    greatest = np.nextafter(np.finfo(np.float32).max / np.float32(most), np.float32(0))
    for name, array in weights.items():
        arrays[name] = array
        if array.ndim > 1:
            inputs = tuple(range(array.ndim - 1))  # an output is an index of the last axis
            scale = (np.abs(array).max(axis=inputs) / most).astype(np.float32)
            scale = np.minimum(scale, greatest)
            multiples = np.divide(array, scale, out=np.zeros_like(array), where=scale > 0)
            arrays[name] = np.rint(multiples).clip(-most, most).astype(kind)
            arrays[f"{name}/scale"] = scale
    return arrays


def dequantized(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What eight or sixteen bits say that the weights were.

    Parameters
    ----------
    arrays : dict of str to ndarray
        From ``quantized``.

    Returns
    -------
    dict of str to ndarray
        float32, under the names that the weights have.
    """
    return {
        name: array * arrays[f"{name}/scale"] if f"{name}/scale" in arrays else array
        for name, array in arrays.items()
        if not name.endswith("/scale")
    }


def save(folder: Path, epoch: int, model: Sequential) -> None:
    """Keep a network's weights of the end of an epoch.

    Parameters
    ----------
    folder : Path
        The run's folder.
    epoch : int
        The epoch.
    model : Sequential
        The network.
    """
    path = runs.moment_path(folder, epoch)
    path.parent.mkdir(exist_ok=True)
    storage.write_arrays(path, quantized(model.named_weights()))


def saved_epochs(folder: Path, epochs: int) -> list[int]:
    """The moments that a run has kept.

    Parameters
    ----------
    folder : Path
        The run's folder.
    epochs : int
        How many epochs the run has.

    Returns
    -------
    list of int
        Their epochs, from 0 to `epochs` at most, in order.
    """
    names = (path.stem for path in runs.numbered(folder, runs.MOMENTS))
    kept = [int(name) for name in names if name == f"{int(name):06d}"]
    return sorted(epoch for epoch in kept if epoch <= epochs and is_moment(epoch))


def load(folder: Path, epoch: int, model: Sequential) -> dict[str, np.ndarray]:
    """The weights of a moment, in eight bits.

    Parameters
    ----------
    folder : Path
        The run's folder; nothing in it is trusted.
    epoch : int
        The moment's.
    model : Sequential
        Its weights say what must be there; it is not changed.

    Returns
    -------
    dict of str to ndarray
        As ``quantized`` makes them.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, or does not fit the network.
    """
    path = runs.moment_path(folder, epoch)
    arrays = storage.read_arrays(path, quantized(model.named_weights()))
    with storage.untrusted(path), np.errstate(over="raise"):
        for name, array in dequantized(arrays).items():
            finite(name, array)
    return arrays


def discard_after(folder: Path, epoch: int) -> None:
    """Remove the moments later than an epoch, which a run that goes on from there makes anew.

    Parameters
    ----------
    folder : Path
        The run's folder.
    epoch : int
        The last whose moment stays.
    """
    for path in runs.numbered(folder, runs.MOMENTS):
        if int(path.stem) > epoch:
            path.unlink()
