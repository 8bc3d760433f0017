"""The layers' arithmetic, as fast as the processor: float32, in Numba.

The three functions of ``minidqn.nn.convolution``, which defines them, and those of
a dense layer. Each is a kernel, which computes a part of the result, and a
function that describes the call as a `Job`: it checks shapes, chooses tiles, and
makes what memory the kernel needs for itself. A kernel reads like the textbook's
loops, but for its innermost step, which works on a tile of results that stays in
registers (``minidqn.nn.simd``). It indexes without checking bounds, so nothing
may call it but through a job.

Vectors run over the last axis: the filters of an output, the channels of an
input's gradient, the units of a dense layer. The last vector of a tile may be a
part of one, so that any number of them will do.

Numerics: float32 throughout, sums accumulated in float32 in a fixed order; a
product and the addition after it are one rounding where the processor has the
instruction, and no other liberty is taken, so NaN and infinities behave as in
the definition.
"""

import dataclasses
import functools
import math

import numpy as np

from minidqn.nn import simd
from minidqn.nn.programs import Job, address_of, compiled, inner
from minidqn.nn.simd import Tile

__all__ = [
    "Buffers",
    "aligned",
    "all_finite",
    "convolve",
    "dense",
    "dense_gradients",
    "input_gradient",
    "kernel_gradient",
    "relu_gradient",
]

SAMPLES = 8
"""Samples in a part of a job, unless it is said otherwise: enough to be worth a part's
while, and few enough for many threads to share a batch."""


class Buffers:
    """Float32 arrays that are made once, and again only if a larger one is asked for.

    They hold zeros at first.
    """

    def __init__(self):
        self._memory, self._arrays = {}, {}

    def get(self, name, shape):
        """The array of a name, in the shape that is needed now.

        Parameters
        ----------
        name : str
            What it is for.
        shape : tuple of int
            Its shape this time.

        Returns
        -------
        ndarray [shape=shape], float32, C-contiguous
            With whatever is in it, and the same memory the next time.
        """
        array = self._arrays.get(name)
        if array is None or array.shape != shape:
            size = math.prod(shape)
            memory = self._memory.get(name)
            if memory is None or memory.size < size:
                memory = self._memory[name] = aligned(size)
            array = self._arrays[name] = memory[:size].reshape(shape)
        return array


def aligned(size, dtype=np.float32):
    """Zeros whose memory begins at a multiple of 64 bytes, a line of the cache.

    Parameters
    ----------
    size : int
        How many numbers.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray [shape=(size,)]
        A new array.
    """
    spare = np.zeros(size + 16, dtype)
    first = -spare.ctypes.data % 64 // spare.itemsize
    return spare[first : first + size]


@compiled(nogil=False)
def all_finite(numbers):
    """Whether none of them is NaN or infinite.

    Parameters
    ----------
    numbers : ndarray [shape=(P,)], float32 or float64
        What to look at.

    Returns
    -------
    bool
    """
    # A comparison is one instruction for many numbers at once; to stop early would not be.
    wrong = 0
    for p in range(len(numbers)):
        wrong |= not abs(numbers[p]) < np.inf
    return wrong == 0


def _require(name, array, shape):
    """Refuse what is not C-contiguous float32 of `shape`; None in `shape` fits any length."""
    fits = isinstance(array, np.ndarray) and array.ndim == len(shape)
    if not fits or any(w not in (None, n) for w, n in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} has shape {np.shape(array)}; expected ({wanted})")
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        raise TypeError(
            f"{name} is {array.dtype}, C-contiguous: {array.flags.c_contiguous}; "
            "expected C-contiguous float32"
        )


def _require_output(name, array, shape):
    """Refuse what a kernel cannot write to."""
    _require(name, array, shape)
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only; expected an array that can be written to")


def _readable(name, array, shape):
    """`array`, or a copy if it is read-only: kernels are compiled for one kind of array."""
    _require(name, array, shape)
    return array if array.flags.writeable else array.copy()


# Choosing tiles


def _cycles(tile, loads):
    """Clock cycles of one step of a tile, on a core as they are today.

    Two multiply-adds and two loads a cycle, whichever takes longer; but a sum
    that needs the sum before it waits four cycles for it, and a tile has its
    taps added to the same results one after the other.
    """
    multiply_adds = tile.size * tile.taps
    return max(multiply_adds / 2, loads / 2, 4 * tile.taps) + (multiply_adds + loads) / 100


def _divisors(number, most):
    """What divides `number` and is at most `most`."""
    return [divisor for divisor in range(1, min(number, most) + 1) if number % divisor == 0]


def _widths(results):
    """Ways to cut so many results into equal tiles, as pairs (vectors, tail) of a tile."""
    ways = []
    for width in _divisors(results, results):
        vectors = -(-width // simd.LANES)
        ways.append((vectors, width - (vectors - 1) * simd.LANES))
    return ways


def _cheapest(tiles, cost, results=lambda tile: tile):
    """The tile of least cost; results, weights and one pixel should fit into registers."""

    def registers(tile):
        return results(tile).size + tile.taps * tile.vectors + 1

    def whole_cost(tile):
        # What does not fit is read from memory and written back each time: three for one.
        return cost(tile) * (1 if registers(tile) <= simd.REGISTERS else 3)

    tiles = list(tiles)
    most = max(32 * simd.REGISTERS, min(map(registers, tiles)))  # or the code would be endless
    return min((tile for tile in tiles if registers(tile) <= most), key=whole_cost)


@functools.cache
def _convolve_tile(height, width, kw, channels, filters):
    """The fastest tile for results of height x width; its taps divide a kernel's row."""

    def cost(tile):
        loads = tile.taps * tile.vectors + tile.rows * (tile.columns + tile.taps - 1)
        tiles = -(-height // tile.rows) * -(-width // tile.columns) * filters / tile.width
        return tiles * _cycles(tile, loads) / tile.taps

    return _cheapest(
        (
            Tile(rows, columns, vectors, taps, channels, tail)
            for rows in range(1, min(height, 4) + 1)
            for columns in range(1, min(width, simd.REGISTERS) + 1)
            for vectors, tail in _widths(filters)
            for taps in _divisors(kw, 5)
        ),
        cost,
    )


@functools.cache
def _kernel_gradient_tile(kh, places, filters):
    """The fastest tile for a kernel's gradient; it divides kh x places, a row's numbers."""

    def cost(tile):
        loads = tile.vectors + tile.rows * tile.columns
        return _cycles(tile, loads) / (tile.rows * tile.columns * tile.width)

    return _cheapest(
        (
            Tile(rows, columns, vectors, tail=tail)
            for rows in _divisors(kh, 8)
            for columns in _divisors(places, simd.REGISTERS)
            for vectors, tail in _widths(filters)
        ),
        cost,
    )


@functools.cache
def _input_gradient_tile(samples, width, kw, filters, channels):
    """The fastest tile for gradients of `width` columns; its rows are samples."""

    def cost(tile):
        loads = tile.taps * tile.vectors + tile.rows * tile.columns
        tiles = -(-width // tile.columns) / (tile.rows * tile.width)
        return tiles * _cycles(tile, loads) / tile.taps

    return _cheapest(
        (
            Tile(samples, columns, vectors, taps, filters, tail)
            for columns in range(1, min(width, simd.REGISTERS) + 1)
            for vectors, tail in _widths(channels)
            for taps in _divisors(kw, 5)
        ),
        cost,
        results=lambda tile: tile.spread,
    )


@functools.cache
def _dense_tile(results):
    """The fastest tile for a product of matrices with so many columns; it divides them."""

    def cost(tile):
        return _cycles(tile, tile.vectors + tile.rows) / (tile.rows * tile.width)

    return _cheapest(
        (
            Tile(rows, vectors=vectors, tail=tail)
            for rows in range(1, simd.REGISTERS)
            for vectors, tail in _widths(results)
        ),
        cost,
    )


# The convolution


def convolve(x, kernel, bias, relu, y, chunk=SAMPLES):
    """Slide every filter over every image; see ``convolution.convolve``.

    Parameters
    ----------
    x : ndarray [shape=(N, H, W, C)], float32, C-contiguous
        Images, with H >= kh and W >= kw.
    kernel : ndarray [shape=(kh, kw, C, F)], float32, C-contiguous
        Filters.
    bias : ndarray [shape=(F,)], float32, C-contiguous
        One number a filter.
    relu : bool
        Whether negative results become 0 in the same pass.
    y : ndarray [shape=(N, H - kh + 1, W - kw + 1, F)], float32, C-contiguous
        Where to put the feature maps; must not overlap the inputs.
    chunk : int
        Samples in a part of the job.

    Returns
    -------
    list of Job
        The work, over the samples.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or y is read-only.
    TypeError
        If an array is not C-contiguous float32.
    """
    x = _readable("x", x, (None, None, None, None))
    kernel = _readable("kernel", kernel, (None, None, x.shape[3], None))
    bias = _readable("bias", bias, kernel.shape[3:])
    height, width = _result("kernel", x.shape, kernel.shape)
    kw, channels, filters = kernel.shape[1:]
    _require_output("y", y, (len(x), height, width, filters))
    tile = _convolve_tile(height, width, kw, channels, filters)
    arguments = tile, x, kernel, bias, int(relu), y
    return [Job(_convolve, _find_convolve, arguments, len(x), chunk)]


def _result(name, image, kernel):
    """Rows and columns of the feature maps of images (N, H, W, C) under kernels (kh, kw, C, F)."""
    height, width = image[1] - kernel[0] + 1, image[2] - kernel[1] + 1
    if min(*image[1:], *kernel) < 1 or height < 1 or width < 1:
        raise ValueError(f"{name} has shape {kernel}; expected one that fits images {image[1:]}")
    return height, width


def _convolve(span, tile, x, kernel, bias, relu, y):
    kh, kw, channels, filters = kernel.shape
    height, width = y.shape[1], y.shape[2]
    for n in range(span.first, span.last):
        for i0 in range(0, height, tile.rows):
            i = min(i0, height - tile.rows)  # the last tile slides back to end at the edge
            for j0 in range(0, width, tile.columns):
                j = min(j0, width - tile.columns)
                for o in range(0, filters, tile.width):
                    values = simd.fill(tile, bias, (o,))
                    for u in range(kh):
                        for v in range(0, kw, tile.taps):
                            for c in range(channels):
                                values = simd.correlate(
                                    values,
                                    tile,
                                    x,
                                    (n, i + u, j + v, c),
                                    x.shape[2] * channels,
                                    kernel,
                                    (u, v, c, o),
                                    channels * filters,
                                )
                    if relu:
                        values = simd.relu(values, tile)
                    simd.store(values, tile, y, (n, i, j, o), width * filters, filters)


_convolve_address = address_of(_convolve)


@compiled(nogil=False)
def _find_convolve(kinds):
    return _convolve_address(kinds)


def input_gradient(g, kernel, dx, chunk=SAMPLES):
    """Gradient with respect to the images; see ``convolution.input_gradient``.

    Parameters
    ----------
    g : ndarray [shape=(N, H', W', F)], float32, C-contiguous
        Gradient with respect to the feature maps.
    kernel : ndarray [shape=(kh, kw, C, F)], float32, C-contiguous
        Filters.
    dx : ndarray [shape=(N, H' + kh - 1, W' + kw - 1, C)], float32, C-contiguous
        Where to put the gradient; must not overlap the inputs.
    chunk : int
        Samples in a part of the job.

    Returns
    -------
    list of Job
        A copy of the kernel, before all else, and the work, over the samples.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or dx is read-only.
    TypeError
        If an array is not C-contiguous float32.
    """
    g = _readable("g", g, (None, None, None, None))
    kernel = _readable("kernel", kernel, (None, None, None, g.shape[3]))
    kh, kw, channels, filters = kernel.shape
    _require_output("dx", dx, (len(g), g.shape[1] + kh - 1, g.shape[2] + kw - 1, channels))
    _result("kernel", dx.shape, kernel.shape)
    # Channels last in the kernel too: vectors run over the channels here.
    swapped = aligned(kernel.size).reshape(kh, kw, filters, channels)
    tile = _input_gradient_tile(min(2, chunk), g.shape[2], kw, filters, channels)
    # Samples go through in pairs. Where one is left over, it takes along the next, which is
    # not in use; where there is none, there are no pairs. The sums are the same either way.
    if len(g) % chunk == 1:
        tile = tile.single
    left = g.shape[2] % tile.columns
    rest = dataclasses.replace(tile, columns=left) if left else tile
    copied = Tile(), kernel, swapped
    swap = Job(_swap, _find_swap, copied, len(g), chunk=1, count=1, turn=-1)
    arguments = tile, rest, g, swapped, dx
    return [swap, Job(_input_gradient, _find_input_gradient, arguments, len(g), chunk)]


def _swap(span, tile, kernel, swapped):
    kh, kw, channels, filters = kernel.shape
    for u in range(kh):
        for v in range(kw):
            for o in range(filters):
                for c in range(channels):
                    swapped[u, v, o, c] = kernel[u, v, c, o]


_swap_address = address_of(_swap)


@compiled(nogil=False)
def _find_swap(kinds):
    return _swap_address(kinds)


def _rest(tile, g):
    """A tile for the columns of g that are left over by whole tiles."""
    return dataclasses.replace(tile, columns=g.shape[2] % tile.columns)


def _input_gradient(span, tile, rest, g, swapped, dx):
    _, height, width, channels = dx.shape
    whole = g.shape[2] - g.shape[2] % tile.columns
    for n0 in range(span.first, span.last, tile.rows):
        n = max(min(n0, span.last - tile.rows), span.first)
        for h in range(height):
            for c in range(0, channels, tile.width):
                for w in range(width):
                    nothing = simd.zeros(tile.column)
                    simd.store(
                        nothing, tile.column, dx, (n, h, w, c), height * width * channels, channels
                    )
                for j in range(0, whole, tile.columns):
                    _spread_row(tile, g, swapped, dx, n, h, j, c)
                if whole < g.shape[2]:
                    _spread_row(rest, g, swapped, dx, n, h, whole, c)


@inner
def _spread_row(tile, g, swapped, dx, n, h, j, c):
    """Add to row h of dx what comes from a tile of g's columns from j on, in every row of g."""
    kh, kw, filters, channels = swapped.shape
    height, width = dx.shape[1], dx.shape[2]
    dx_step, g_step = height * width * channels, g.shape[1] * g.shape[2] * filters
    for v in range(0, kw, tile.taps):
        values = simd.load(tile.spread, dx, (n, h, j + v, c), dx_step, channels)
        for u in range(max(0, h - g.shape[1] + 1), min(kh, h + 1)):
            for o in range(filters):
                values = simd.scatter(
                    values,
                    tile,
                    g,
                    (n, h - u, j, o),
                    g_step,
                    swapped,
                    (u, v, o, c),
                    filters * channels,
                )
        simd.store(values, tile.spread, dx, (n, h, j + v, c), dx_step, channels)


_input_gradient_address = address_of(_input_gradient)


@compiled(nogil=False)
def _find_input_gradient(kinds):
    return _input_gradient_address(kinds)


def kernel_gradient(x, g, dkernel, dbias, chunk=SAMPLES):
    """Gradient with respect to filters and biases; see ``convolution.kernel_gradient``.

    Parameters
    ----------
    x : ndarray [shape=(N, H, W, C)], float32, C-contiguous
        Images.
    g : ndarray [shape=(N, H', W', F)], float32, C-contiguous
        Gradient with respect to the feature maps, with H' <= H and W' <= W.
    dkernel : ndarray [shape=(H - H' + 1, W - W' + 1, C, F)], float32, C-contiguous
        Where to put the gradient with respect to the filters.
    dbias : ndarray [shape=(F,)], float32, C-contiguous
        Where to put the gradient with respect to the biases.
    chunk : int
        Samples whose gradients are added up first. The bits of the result depend
        on it.

    Returns
    -------
    list of Job
        Over the samples, the sum of each chunk; and over the filters, to close
        the program, the sum of those.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or an output is read-only.
    TypeError
        If an array is not C-contiguous float32.
    """
    x = _readable("x", x, (None, None, None, None))
    g = _readable("g", g, (len(x), None, None, None))
    kh, kw = x.shape[1] - g.shape[1] + 1, x.shape[2] - g.shape[2] + 1
    channels, filters = x.shape[3], g.shape[3]
    _result("g", x.shape, (kh, kw, channels, filters))
    _require_output("dkernel", dkernel, (kh, kw, channels, filters))
    _require_output("dbias", dbias, (filters,))
    parts, size = -(-len(x) // chunk), dkernel.size
    kernels = aligned(parts * size).reshape(parts, size)
    biases = np.empty((parts, filters), np.float32)
    tile = _kernel_gradient_tile(kh, kw * channels, filters)
    each = tile, x, g, kernels.reshape(parts, *dkernel.shape), biases
    total = Tile(), chunk, kernels, biases, dkernel.reshape(-1), dbias
    return [
        Job(_kernel_gradient, _find_kernel_gradient, each, len(x), chunk),
        Job(_sum_parts, _find_sum_parts, total, len(x), chunk=1, count=1, turn=1),
    ]


def _kernel_gradient(span, tile, x, g, kernels, biases):
    _, kh, kw, channels, filters = kernels.shape
    _, height, width, _ = g.shape
    part = span.part
    for first in range(span.first, span.last, 4):  # as many as stay in the nearest cache
        last = min(first + 4, span.last)
        for u in range(0, kh, tile.rows):
            # A row of the kernel meets neighbours in memory, kw * channels of them.
            for place in range(0, kw * channels, tile.columns):
                v, c = place // channels, place % channels
                for o in range(0, filters, tile.width):
                    if first == span.first:
                        values = simd.zeros(tile)
                    else:
                        values = simd.load(
                            tile, kernels, (part, u, v, c, o), kw * channels * filters, filters
                        )
                    for n in range(first, last):
                        for i in range(height):
                            for j in range(width):
                                values = simd.correlate(
                                    values,
                                    tile,
                                    x,
                                    (n, i + u, j + v, c),
                                    x.shape[2] * channels,
                                    g,
                                    (n, i, j, o),
                                    0,
                                )
                    simd.store(
                        values, tile, kernels, (part, u, v, c, o), kw * channels * filters, filters
                    )
    for o in range(0, filters, tile.width):
        total = simd.zeros(tile.pixel)
        for n in range(span.first, span.last):
            for i in range(height):
                for j in range(width):
                    total = simd.add(total, tile.pixel, g, (n, i, j, o))
        simd.store(total, tile.pixel, biases, (part, o), 0, 0)


_kernel_gradient_address = address_of(_kernel_gradient)


@compiled(nogil=False)
def _find_kernel_gradient(kinds):
    return _kernel_gradient_address(kinds)


def _sum_parts(span, tile, chunk, kernels, biases, dkernel, dbias):
    parts = (span.samples + chunk - 1) // chunk
    _sum_rows(kernels, parts, dkernel)
    _sum_rows(biases, parts, dbias)


@inner
def _sum_rows(rows, count, total):
    """The sum of so many rows."""
    total[:] = 0
    for row in range(count):
        for place in range(total.shape[0]):
            total[place] += rows[row, place]


_sum_parts_address = address_of(_sum_parts)


@compiled(nogil=False)
def _find_sum_parts(kinds):
    return _sum_parts_address(kinds)


# The dense layer


INPUTS = 64
"""Inputs of a dense layer at a time: their rows of the kernel stay in the nearest cache."""

SAMPLES_OF_G = 64
"""Samples of a dense layer's gradient at a time, likewise."""

DENSE_SAMPLES = 60
"""Samples in a part of a dense layer's job."""

PACKED = 2**18
"""Numbers in a matrix up to which it is copied to be read faster: a megabyte's."""

WORTH_PACKING = 6
"""Samples from which on that is worth it."""


def dense(x, kernel, bias, relu, y):
    """A dense layer: ``y = x @ kernel + bias``.

    Parameters
    ----------
    x : ndarray [shape=(N, D)], float32, C-contiguous
        Input.
    kernel : ndarray [shape=(D, K)], float32, C-contiguous
        Weights.
    bias : ndarray [shape=(K,)], float32, C-contiguous
        One number a unit.
    relu : bool
        Whether negative results become 0.
    y : ndarray [shape=(N, K)], float32, C-contiguous
        Where to put the result; must not overlap the inputs.

    Returns
    -------
    list of Job
        The work, over the samples, and before all else what makes it faster.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or y is read-only.
    TypeError
        If an array is not C-contiguous float32.
    """
    x = _readable("x", x, (None, None))
    kernel = _readable("kernel", kernel, (x.shape[1], None))
    bias = _readable("bias", bias, kernel.shape[1:])
    _require_output("y", y, (len(x), len(bias)))
    tile = _dense_tile(len(bias))
    jobs, weights, reading = _packed(
        kernel, tile, len(x), WORTH_PACKING, chunk=INPUTS, count=len(kernel), turn=-1
    )
    arguments = tile, reading, x, kernel, weights, bias, int(relu), y
    return [*jobs, Job(_dense, _find_dense, arguments, len(x), chunk=DENSE_SAMPLES)]


def _packed(matrix, tile, samples, least=0, **when):
    """A job that copies a matrix to rows of whole vectors, if that is worth it.

    Vectors that lie across two lines of the cache take twice as long to load. The
    copy is only made for `least` samples and more.

    Returns
    -------
    jobs : list of Job
        None or one, over the rows.
    weights : ndarray
        The copy, or `matrix` itself.
    reading : Tile
        How to read it.
    """
    length = tile.vectors * simd.LANES
    one = matrix.shape[1] == tile.width > simd.LANES
    if not one or tile.full == tile or matrix.size > PACKED:
        return [], matrix, tile
    copy = aligned(len(matrix) * length).reshape(len(matrix), length)
    arguments = tile.pixel, least, matrix, copy
    return [Job(_pack, _find_pack, arguments, samples, **when)], copy, tile.full


def _pack(span, tile, least, matrix, copy):
    if span.samples >= least:
        for row in range(span.first, span.last):
            simd.store(simd.load(tile, matrix, (row, 0), 0, 0), tile.full, copy, (row, 0), 0, 0)


_pack_address = address_of(_pack)


@compiled(nogil=False)
def _find_pack(kinds):
    return _pack_address(kinds)


def _dense(span, tile, reading, x, kernel, weights, bias, relu, y):
    inputs, units = kernel.shape
    whole = span.first
    if span.samples >= WORTH_PACKING:
        whole = span.last - (span.last - span.first) % tile.rows
    for d in range(0, inputs, INPUTS):
        for k in range(0, units, tile.width):
            for n in range(span.first, whole, tile.rows):
                _dense_samples(tile, reading, x, weights, bias, relu, y, n, d, k)
            for n in range(whole, span.last):
                _dense_samples(tile.single, tile.single, x, kernel, bias, relu, y, n, d, k)


@inner
def _dense_samples(tile, reading, x, kernel, bias, relu, y, n, d, k):
    """Add what comes from some inputs, d and after, to a tile of y, samples n and after."""
    inputs, units = kernel.shape[0], bias.shape[0]
    last = min(d + INPUTS, inputs)
    values = simd.fill(tile, bias, (k,)) if d == 0 else simd.load(tile, y, (n, k), units, 0)
    for p in range(d, last):
        values = simd.correlate(values, reading, x, (n, p), inputs, kernel, (p, k), 0)
    if relu and last == inputs:
        values = simd.relu(values, tile)
    simd.store(values, tile, y, (n, k), units, 0)


_dense_address = address_of(_dense)


@compiled(nogil=False)
def _find_dense(kinds):
    return _dense_address(kinds)


def dense_gradients(x, g, kernel, dkernel, dbias, dx, workers=1):
    """The gradients of a dense layer: ``x.T @ g``, the sum of g, and ``g @ kernel.T``.

    Parameters
    ----------
    x : ndarray [shape=(N, D)], float32, C-contiguous
        Input.
    g : ndarray [shape=(N, K)], float32, C-contiguous
        Gradient with respect to the output.
    kernel : ndarray [shape=(D, K)], float32, C-contiguous
        Weights.
    dkernel, dbias : ndarray [shapes=(D, K) and (K,)], float32, C-contiguous
        Where to put the gradients with respect to the weights.
    dx : ndarray [shape=(N, D)] or None, float32, C-contiguous
        Where to put the gradient with respect to the input; None if nobody needs
        it.
    workers : int
        How many threads will share the job, at most.

    Returns
    -------
    list of Job
        The work, over the inputs: a part of it does some rows of `dkernel`, for
        all samples; and before it what makes it faster.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or an output is read-only.
    TypeError
        If an array is not C-contiguous float32.
    """
    x = _readable("x", x, (None, None))
    g = _readable("g", g, (len(x), None))
    inputs, units = x.shape[1], g.shape[1]
    kernel = _readable("kernel", kernel, (inputs, units))
    _require_output("dkernel", dkernel, (inputs, units))
    _require_output("dbias", dbias, (units,))
    wanted = dx is not None
    if wanted:
        _require_output("dx", dx, x.shape)
    weights = _dense_tile(units)
    jobs, packed, reading = _packed(g, weights, len(g), chunk=SAMPLES)
    weights, reading = (
        dataclasses.replace(tile, rows=1, columns=tile.rows) for tile in (weights, reading)
    )
    back = _dense_tile(min(inputs, 3 * simd.LANES))
    rest = Tile(tail=units % simd.LANES or simd.LANES)
    transposed = aligned(workers * units * back.width).reshape(workers, units, back.width)
    arguments = (
        weights,
        reading,
        back,
        rest,
        x,
        g,
        packed,
        kernel,
        dkernel,
        dbias,
        int(wanted),
        dx if wanted else np.empty((0, inputs), np.float32),
        transposed,
    )
    job = Job(
        _dense_gradients,
        _find_dense_gradients,
        arguments,
        len(x),
        chunk=back.width,
        count=inputs,
    )
    return [*jobs, job]


def _dense_gradients(
    span,
    weights,
    reading,
    back,
    rest,
    x,
    g,
    packed,
    kernel,
    dkernel,
    dbias,
    wanted,
    dx,
    transposed,
):
    if span.part == 0:
        _sum_rows(g, span.samples, dbias)
    whole = span.last - (span.last - span.first) % weights.columns
    for n in range(0, max(span.samples, 1), SAMPLES_OF_G):
        for k in range(0, kernel.shape[1], weights.width):
            for d in range(span.first, whole, weights.columns):
                _dense_weights(weights, reading, span, x, packed, dkernel, n, d, k)
            for d in range(whole, span.last):
                _dense_weights(weights.column, reading.column, span, x, packed, dkernel, n, d, k)
    if wanted:
        whole = span.samples - span.samples % back.rows
        for d0 in range(span.first, span.last, back.width):
            # The last tile slides back, over what the part before does with the same result.
            d = min(d0, span.last - back.width)
            _transpose(rest, kernel, d, back.width, transposed, span.worker)
            for n in range(0, whole, back.rows):
                _dense_inputs(back, span.worker, g, transposed, dx, n, d)
            for n in range(whole, span.samples):
                _dense_inputs(back.single, span.worker, g, transposed, dx, n, d)


@inner
def _dense_weights(tile, reading, span, x, g, dkernel, first, d, k):
    """Add what comes from some samples to a tile of dkernel."""
    units = dkernel.shape[1]
    values = simd.zeros(tile) if first == 0 else simd.load(tile, dkernel, (d, k), 0, units)
    for n in range(first, min(first + SAMPLES_OF_G, span.samples)):
        values = simd.correlate(values, reading, x, (n, d), 0, g, (n, k), 0)
    simd.store(values, tile, dkernel, (d, k), 0, units)


@inner
def _transpose(rest, matrix, first, rows, transposed, worker):
    """Make columns of so many rows, a block at a time where there are enough of them."""
    columns = matrix.shape[1]
    if rows < simd.LANES:
        for r in range(rows):
            for k in range(columns):
                transposed[worker, k, r] = matrix[first + r, k]
        return
    whole = columns - columns % simd.LANES
    for r0 in range(0, rows, simd.LANES):
        r = min(r0, rows - simd.LANES)  # the last block slides back
        for k in range(0, whole, simd.LANES):
            simd.transpose(
                rest.full, matrix, (first + r, k), columns, transposed, (worker, k, r), rows
            )
        if whole < columns:
            simd.transpose(
                rest, matrix, (first + r, whole), columns, transposed, (worker, whole, r), rows
            )


@inner
def _dense_inputs(tile, worker, g, transposed, dx, n, d):
    """A tile of dx, samples n and after, inputs d and after."""
    inputs, units = dx.shape[1], g.shape[1]
    values = simd.zeros(tile)
    for k in range(units):
        values = simd.correlate(values, tile, g, (n, k), units, transposed, (worker, k, 0), 0)
    simd.store(values, tile, dx, (n, d), inputs, 0)


_dense_gradients_address = address_of(_dense_gradients)


@compiled(nogil=False)
def _find_dense_gradients(kinds):
    return _dense_gradients_address(kinds)


# Both


def relu_gradient(g, y, chunk=SAMPLES):
    """Gradient before a ReLU, in place: g where y > 0, else 0 (also at the kink).

    Parameters
    ----------
    g : ndarray [shape=(N, ...)], float32, C-contiguous
        Gradient with respect to the output; changed.
    y : ndarray, of g's shape, float32, C-contiguous
        The output.
    chunk : int
        Samples in a part of the job.

    Returns
    -------
    list of Job
        The work, over the samples.

    Raises
    ------
    ValueError
        If the shapes differ, or g is read-only.
    TypeError
        If an array is not C-contiguous float32.
    """
    y = _readable("y", y, (None,) * np.ndim(y))
    _require_output("g", g, y.shape)
    flat = len(g), math.prod(g.shape[1:])
    arguments = Tile(), g.reshape(flat), y.reshape(flat)
    return [Job(_relu_gradient, _find_relu_gradient, arguments, len(g), chunk)]


def _relu_gradient(span, tile, g, y):
    for n in range(span.first, span.last):
        for p in range(g.shape[1]):
            g[n, p] = g[n, p] if y[n, p] > 0 else np.float32(0)


_relu_gradient_address = address_of(_relu_gradient)


@compiled(nogil=False)
def _find_relu_gradient(kinds):
    return _relu_gradient_address(kinds)
