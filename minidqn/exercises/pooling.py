"""Max-pooling, as exercise 10 is checked: window by window, then as a layer of a network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from minidqn.exercises.answers import Fault, are_numbers, call
from minidqn.nn import Conv2D, Dense, Flatten, Layer, Sequential, check_gradients


def _first(window):
    """One for the largest number of a window, the first of several, and zeros."""
    return np.arange(window.size).reshape(window.shape) == window.argmax()


def max_pool(size: int, x: np.ndarray, g: np.ndarray, share: Callable = _first) -> tuple:
    """Both ways through max-pooling, or one that is wrong in a way of its own.

    Parameters
    ----------
    size : int
        Rows and columns of a window.
    x : ndarray [shape=(N, H, W, C)]
        The layer's input.
    g : ndarray [shape=(N, H // size, W // size, C)]
        Gradient of the loss with respect to its output.
    share : callable
        From a window to each pixel's share of the gradient.

    Returns
    -------
    y, dx : ndarray [shape=(N, H // size, W // size, C) and (N, H, W, C)]
        The output, and the gradient of the loss with respect to x.
    """
    y, dx = np.zeros_like(g), np.zeros_like(x)
    for n, i, j, c in np.ndindex(g.shape):
        part = n, slice(i * size, (i + 1) * size), slice(j * size, (j + 1) * size), c
        y[n, i, j, c] = x[part].max()
        dx[part] += share(x[part]) * g[n, i, j, c]  # with = a 0 may be -0
    return y, dx


def both_ways(layer: Callable, size: int, x: np.ndarray, g: np.ndarray) -> tuple:
    """Forward and backward through a learner's layer.

    Parameters
    ----------
    layer : callable
        The class.
    size, x, g : int, ndarray, ndarray
        As for ``max_pool``.

    Returns
    -------
    tuple
        What the two methods return; backward is not asked if y has another shape than g.
    """
    pool = layer(size)
    y = pool.forward(x)
    fits = are_numbers(y) and np.shape(y) == g.shape
    return y, pool.backward(g) if fits else None


class _Pool(Layer):
    """A learner's layer, with what else a network asks of one."""

    def __init__(self, pool, size):
        super().__init__()
        self.pool, self.size = pool, size

    def build(self, shape):
        height, width, channels = shape
        self.output_shape = (height // self.size, width // self.size, channels)

    def forward(self, x):
        return self.pool.forward(x)

    def backward(self, g):
        return self.pool.backward(g)


def check_in_network(layer: Callable, path: Path, _: object) -> Fault | None:
    """Look for a fault that shows only in a network.

    Parameters
    ----------
    layer : callable
        The learner's class, right in a first forward and backward.
    path : Path
        Its file.

    Returns
    -------
    Fault or None
        What ``check_gradients`` finds, or an exception on the way.
    """

    def found():
        rng = np.random.default_rng(10)
        around = [Conv2D(2, 2, input_shape=(1, 6, 6)), _Pool(layer(2), 2), Flatten(), Dense(2)]
        model, (earlier, states) = Sequential(around, rng), rng.random((2, 3, 1, 6, 6))
        model.backward(np.ones_like(model.forward(earlier)))
        report = check_gradients(model, states, rng)
        return " and ".join(name for name, check in report.items() if not check.ok)

    outcome = call(found, path, ("report",), {})
    if outcome.fault or outcome.results == ("",):
        return outcome.fault
    words = f"In a network, check_gradients finds a mistake in {outcome.results[0]}."
    return Fault(words, hint="a first forward and backward is right: does something stay of it?")
