"""The compiled engine: a stack of Conv2D, Flatten and Dense, run through the kernels.

It draws up a table of the layers, keeps the memory that they work in, and calls the
kernels once for a batch. The time and the memory that an image takes grow with the number
of its active positions.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from minidqn.nn import kernels as k
from minidqn.nn.layers import Conv2D, Dense, Flatten, Layer
from minidqn.nn.pixels import Pixels

KNOWN: dict = {kind: (kind.forward, kind.backward) for kind in (Conv2D, Dense, Flatten)}
"""What the kernels compute. A layer that defines something else is run as it is written."""


def why_not(layers: list[Layer], dtype: npt.DTypeLike) -> str | None:
    """Why the kernels cannot run these layers.

    Parameters
    ----------
    layers : list of Layer
        Of a network.
    dtype : dtype
        Of its weights.

    Returns
    -------
    str or None
        The reason; None if they can.
    """
    if dtype != np.float32:
        return f"the weights are {dtype}"
    for layer in layers:
        kind = type(layer)
        changed = any(map(callable, vars(layer).values()))  # methods of this one layer
        if changed or KNOWN.get(kind) != (kind.forward, kind.backward):
            return f"layer {layer.name} is a {kind.__name__} that the kernels do not know"
    if not isinstance(layers[-1], Dense):
        return "the last layer is not a Dense"
    return None


class Engine:
    """Forward and backward passes of one network, for any `Pixels`.

    Parameters
    ----------
    layers : list of Layer
        The network's, which ``why_not`` has nothing against.
    input_shape : tuple of int
        (C, H, W) or (D,) of a state.
    parameters, gradients : ndarray [shape=(P,)], float32
        The network's, each weight's rows filled up to whole vectors.
    layout : dict of str to tuple
        Where each weight begins in them, and its shape, by names such as "dense/kernel".

    Attributes
    ----------
    fresh : bool
        Whether the backgrounds are those of the weights; False has the next ``forward``
        compute them again.
    """

    fresh: bool

    def __init__(
        self,
        layers: list[Layer],
        input_shape: tuple[int, ...],
        parameters: np.ndarray,
        gradients: np.ndarray,
        layout: dict[str, tuple],
    ):
        self.parameters, self.gradients = parameters, gradients
        self._weighted: list[Any] = [layer for layer in layers if layer.weight_shapes]
        channels, height, width = (*input_shape, 1, 1)[:3]
        self.table = np.zeros((len(self._weighted) + 1, len(k.COLUMNS)), np.int64)
        self.table[0, k.ROW] = channels
        self._seen_by = []
        for layer, line in zip(self._weighted, self.table[1:], strict=True):
            convolution = isinstance(layer, Conv2D)
            kernel = layer.kernel_size if convolution else (height, width)
            self._seen_by.append(_seen_by(height, width, *kernel) if convolution else np.empty(0))
            begins = (layout[f"{layer.name}/{name}"][0] for name in ("kernel", "bias"))
            line[[k.KERNEL, k.BIAS]], line[k.GROUPS] = list(begins), math.prod(kernel)
            line[[k.CONVOLUTION, k.RELU, k.CHANNELS]] = convolution, layer.relu, channels
            *sides, channels = layer.output_shape
            height, width = sides or (1, 1)
            row = k.whole_vectors(channels)
            line[[k.AREA, k.OUTPUTS, k.ROW]] = height * width, channels, row
        self._frame = self._pixels = Pixels.of(np.ones((1, *input_shape)))  # for one state
        self._room = 0, 0  # samples and active positions
        self._make_room(1, 1)

    def forward(self, states: Pixels | np.ndarray, learned: int = 0) -> np.ndarray:
        """Outputs of the network.

        Parameters
        ----------
        states : Pixels or ndarray [shape=(N, C, H, W) or (N, D)]
            Input.
        learned : int
            For how many of them, from the first on, ``backward`` will follow.

        Returns
        -------
        ndarray [shape=(N, units)], float32
            A new array.
        """
        pixels = Pixels.of(states, self._frame)
        samples = len(pixels.first)
        if samples > self._room[0] or pixels.active > self._room[1]:
            self._make_room(samples, pixels.active)
        self._pixels = pixels
        outputs = np.empty((samples, self._weighted[-1].units), np.float32)
        memory = self.table, self.parameters, self.numbers, self.places
        batch = pixels.first, pixels.last, pixels.positions, pixels.values
        k.forward(*memory, *batch, learned, self.fresh, outputs)
        self.fresh = True
        return outputs

    def backward(self, gradient: npt.ArrayLike) -> None:
        """Write the gradient by every weight, for the states that are learned from.

        Parameters
        ----------
        gradient : ndarray [shape=(learned, units)]
            Of the loss, by the outputs.
        """
        arrays = self.parameters, self.gradients, self.numbers, self.places, self._pixels.values
        k.backward(self.table, *arrays, np.array(gradient, np.float32, order="C"))

    def layer_outputs(self) -> dict[str, np.ndarray]:
        """What each layer with weights made of the states of the last ``forward``.

        Returns
        -------
        dict of str to ndarray
            By the layer's name, past the activation: [shape=(N, H, W, C) or (N, units)].
        """
        outputs, n = {}, len(self._pixels)
        for layer, line in zip(self._weighted, self.table[1:], strict=True):
            row, (*sides, channels) = line[k.ROW], layer.output_shape
            first, last = (self.places[line[column] :][:n] for column in (k.FIRST, k.LAST))
            rows = self.places[line[k.POSITIONS] :], self.numbers[line[k.D] : line[k.G]]
            background = self.numbers[line[k.B] : line[k.B] + row]
            images = Pixels((row, *sides), first, last, *rows, background=background)
            outputs[layer.name] = np.moveaxis(np.asarray(images), 1, -1)[..., :channels]
        return outputs

    def _make_room(self, samples, active):
        """Lay out memory for so many states with so many active positions together."""
        needs = zip(self._room, (samples, active), strict=True)  # twice as much: it grows seldom
        samples, active = room = tuple(max(had, 1 << need.bit_length()) for had, need in needs)
        table = self.table.copy()
        numbers = places = 0
        for line, seen_by in zip(table[1:], self._seen_by, strict=True):
            taps, row, channels, outputs = line[[k.GROUPS, k.ROW, k.CHANNELS, k.OUTPUTS]]
            pairs = active * taps if line[k.CONVOLUTION] else active
            rows = min(pairs, samples * line[k.AREA]) if line[k.CONVOLUTION] else samples
            groups = (samples // k.SAMPLES + 2) * taps + 1
            turned = row * k.whole_vectors(channels)
            sizes = [rows * row, rows * row, channels * row, row, row, row, row, turned]
            line[k.D : k.FIRST], numbers = _side_by_side(numbers, sizes)
            sizes = [samples, samples, rows, seen_by.size, line[k.AREA] + 1, pairs, pairs]
            sizes += [groups, groups, *[max(channels, outputs)] * 3]
            line[k.FIRST : k.ROWS], places = _side_by_side(places, sizes)
            active = int(rows)
        if max(numbers, places) > np.iinfo(np.int32).max:
            raise MemoryError(f"{samples} states at once are too many; expected a smaller batch")
        self.numbers, self.places = k.aligned(numbers), k.aligned(places, np.int32)
        self.table, self._room = table, room
        self.fresh = False
        for line, row_in, seen_by in zip(table[1:], table[:-1, k.ROW], self._seen_by, strict=True):
            self.places[line[k.SEEN_BY] :][: seen_by.size] = seen_by.ravel()
            for column, step in ((k.ONES, 1), (k.LINES, line[k.ROW]), (k.TURNED_LINES, row_in)):
                count = np.arange(max(line[k.CHANNELS], line[k.OUTPUTS]))
                self.places[line[column] :][: count.size] = count * step
            if not line[k.CONVOLUTION]:  # one row for each state, at position 0
                self.places[line[k.FIRST] :][:samples] = np.arange(samples)
                self.places[line[k.LAST] :][:samples] = np.arange(1, samples + 1)


def _seen_by(height, width, kernel_height, kernel_width):
    """The output position that sees each input position at each tap; how many there are if none.

    The output position (i, j) sees the position (i + u, j + v) at tap (u, v).
    """
    rows, columns = height - kernel_height + 1, width - kernel_width + 1
    seen_by = np.full((height, width, kernel_height, kernel_width), rows * columns, np.int32)
    for u, v in np.ndindex(kernel_height, kernel_width):
        seen_by[u : u + rows, v : v + columns, u, v] = np.arange(rows * columns).reshape(rows, -1)
    return seen_by


def _side_by_side(begin, sizes):
    """Where blocks of these sizes begin, one after the other from `begin`; and where they end."""
    *begins, end = begin + np.cumsum([0, *map(k.whole_vectors, sizes)])
    return begins, end
