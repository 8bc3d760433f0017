"""The convolution and its gradients, as fast as the processor: float32, in Numba.

The same three functions as ``minidqn.nn.convolution``, which defines them.
Each is a wrapper and a kernel. The wrapper checks shapes, chooses a tile, and
allocates what the caller did not bring; the kernel only fills. A kernel reads
like the textbook's loops, but for its innermost step, which works on a tile of
results that stays in registers (``minidqn.nn.simd``). It indexes without
checking bounds, so nothing may call it but its wrapper.

`Convolution` is the wrapper that a layer keeps: its shape is checked and its
tiles are chosen once. ``convolve``, ``input_gradient`` and ``kernel_gradient``
make one for a single call.

Vectors run over the last axis: the filters of an output, the channels of an
input's gradient. Where that is no whole number of vectors, the wrapper works on
copies that are padded with zeros; with a multiple of ``simd.LANES`` nothing is
copied.

Numerics: float32 throughout, sums accumulated in float32 in a fixed order; a
product and the addition after it are one rounding where the processor has the
instruction, and no other liberty is taken, so NaN and infinities behave as in
the definition. The long ones release the interpreter lock, and Numba keeps the
compiled code on disk for the next start.
"""

import functools
import itertools
import math

import numba
import numpy as np

from minidqn.nn import simd
from minidqn.nn.simd import Tile

__all__ = [
    "Buffers",
    "Convolution",
    "add_bias",
    "aligned",
    "compiled",
    "convolve",
    "dense_rows",
    "input_gradient",
    "kernel_gradient",
    "relu_gradient",
    "sum_rows",
]

_IMAGES = numba.float32[:, :, :, ::1]
_VECTOR = numba.float32[::1]


def compiled(function=None, *, arguments=None, nogil=True):
    """Compile a function with Numba, cached on disk where a folder allows it.

    Numba caches beside the source, or in the user's cache folder if that place
    is read-only. Where neither can be written to, the function is compiled
    afresh by each process instead of failing to import.

    Parameters
    ----------
    function : callable
        Plain Python over arrays and numbers.
    arguments : tuple of numba types, optional
        What it takes, and then nothing else; it is compiled at once. By default
        it is compiled when it is called, for whatever it is called with.
    nogil : bool
        Whether other threads may run Python meanwhile. For a few microseconds it
        is not worth it: to get the lock back takes longer than that.

    Returns
    -------
    callable
        The compiled function; the plain one is its ``py_func``. Under
        ``NUMBA_DISABLE_JIT=1`` it is `function` itself.

    References
    ----------
    https://numba.readthedocs.io/en/stable/developer/caching.html
    """
    if function is None:
        return functools.partial(compiled, arguments=arguments, nogil=nogil)
    signature = () if arguments is None else (numba.void(*arguments),)
    options = {"nogil": nogil, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return numba.njit(*signature, cache=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):  # "... no locator available"
            raise
        return numba.njit(*signature, **options)(function)


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


def _require(name, array, shape):
    """Refuse what is not C-contiguous float32 of `shape`; None in `shape` fits any length."""
    if not isinstance(array, np.ndarray) or array.ndim != len(shape):
        fits = False
    else:
        fits = all(w is None or w == have for w, have in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} has shape {np.shape(array)}; expected ({wanted})")
    _require_floats(name, array)


def _require_floats(name, array):
    """Refuse what is not C-contiguous float32."""
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        raise TypeError(
            f"{name} is {array.dtype}, C-contiguous: {array.flags.c_contiguous}; "
            "expected C-contiguous float32"
        )


def _writable(array):
    """`array`, or a copy if it is read-only: kernels are compiled for one kind of array."""
    return array if array.flags.writeable else array.copy()


def _output(name, out, shape):
    """`out` if it can hold a result of `shape`, a new array if it is None."""
    if out is None:
        return np.empty(shape, np.float32)
    _require(name, out, shape)
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only; expected an array that can be written to")
    return out


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


@functools.cache
def _convolve_tile(height, width, kw, channels, filters):
    """The fastest tile for results of height x width; its taps divide a kernel's row."""

    def cost(tile):
        loads = tile.taps * tile.vectors + tile.rows * (tile.columns + tile.taps - 1)
        tiles = -(-height // tile.rows) * -(-width // tile.columns)
        return tiles * _cycles(tile, loads) / (tile.vectors * tile.taps)

    vectors = filters // simd.LANES
    choices = itertools.product(
        range(1, min(height, 4) + 1),
        range(1, min(width, simd.REGISTERS) + 1),
        _divisors(vectors, 4),
        _divisors(kw, 5),
    )
    tiles = (Tile(*choice, stride=channels) for choice in choices)
    return min((tile for tile in tiles if _fits(tile, tile.size)), key=cost)


@functools.cache
def _kernel_gradient_tile(kh, places, filters):
    """The fastest tile for a kernel's gradient; it divides kh x places, a row's numbers."""

    def cost(tile):
        return _cycles(tile, tile.vectors + tile.rows * tile.columns) / tile.size

    vectors = filters // simd.LANES
    choices = itertools.product(
        _divisors(kh, 8), _divisors(places, simd.REGISTERS), _divisors(vectors, 4)
    )
    tiles = (Tile(*choice) for choice in choices)
    return min((tile for tile in tiles if _fits(tile, tile.size)), key=cost)


@functools.cache
def _input_gradient_tile(samples, width, kw, filters, channels):
    """The fastest tile for gradients of `width` columns; its rows are samples."""

    def cost(tile):
        loads = tile.taps * tile.vectors + tile.rows * tile.columns
        tiles = -(-width // tile.columns)
        return tiles * _cycles(tile, loads) / (tile.rows * tile.vectors * tile.taps)

    vectors = channels // simd.LANES
    choices = itertools.product(
        range(1, min(samples, 2) + 1),
        range(1, min(width, simd.REGISTERS) + 1),
        _divisors(vectors, 4),
        _divisors(kw, 5),
    )
    tiles = (Tile(*choice, stride=filters) for choice in choices)
    return min((tile for tile in tiles if _fits(tile, tile.spread.size)), key=cost)


def _fits(tile, size):
    """Whether `size` vectors of results, a kernel's row and one pixel fit into registers."""
    return size + tile.taps * tile.vectors + 1 <= simd.REGISTERS or size == tile.vectors == 1


# The wrappers


class Convolution:
    """Convolutions of images and kernels of one shape, any number of samples.

    Its methods take C-contiguous float32 arrays and put results where they are
    told. Shapes are checked at every call, dtype and layout by what the kernels
    were compiled for.

    Parameters
    ----------
    image : tuple of int
        (H, W, C).
    kernel : tuple of int
        (kh, kw, C, F), with kh <= H and kw <= W.

    Raises
    ------
    ValueError
        If they do not fit each other.
    """

    def __init__(self, image, kernel):
        height, width, channels = image
        kh, kw, inputs, filters = kernel
        if min(*image, *kernel) < 1 or inputs != channels or kh > height or kw > width:
            raise ValueError(f"kernel has shape {kernel}; expected one that fits images {image}")
        self.image = image
        self.result = (height - kh + 1, width - kw + 1, filters)
        self._wide_filters = filters + -filters % simd.LANES
        self._wide_channels = channels + -channels % simd.LANES
        self._kernel = kernel
        self._buffers = Buffers()

    @functools.cached_property
    def _convolve(self):
        (height, width, _), (_, kw, channels, _) = self.result, self._kernel
        return _convolve(_convolve_tile(height, width, kw, channels, self._wide_filters))

    @functools.cached_property
    def _kernel_gradient(self):
        kh, kw, channels, _ = self._kernel
        return _kernel_gradient(_kernel_gradient_tile(kh, kw * channels, self._wide_filters))

    @functools.cached_property
    def _input_gradients(self):
        """One kernel for a single sample, one for more; made when they are needed."""
        return {}

    def _input_gradient(self, samples):
        pair = min(samples, 2)
        if pair not in self._input_gradients:
            _, kw, _, filters = self._kernel
            width = self.result[1]
            tile = _input_gradient_tile(pair, width, kw, filters, self._wide_channels)
            rest = tile._replace(columns=width % tile.columns)
            self._input_gradients[pair] = _input_gradient(tile, rest)
        return self._input_gradients[pair]

    def convolve(self, x, kernel, bias, relu, out):
        """Fill `out` with feature maps; as the function ``convolve``.

        Parameters
        ----------
        x : ndarray [shape=(N, H, W, C)]
            Images.
        kernel, bias : ndarray [shapes=(kh, kw, C, F) and (F,)]
            Filters.
        relu : bool
            Whether negative results become 0.
        out : ndarray [shape=(N, H - kh + 1, W - kw + 1, F)]
            Where to.
        """
        self._check("x", x, len(x), self.image)
        self._check("out", out, len(x), self.result)
        self._check_weights(kernel, bias)
        y = self._wide("y", out)
        kernel, bias = self._padded("kernel", kernel), self._padded("bias", bias)
        self._convolve(x, kernel, bias, relu, y)
        _cut(y, out)

    def input_gradient(self, g, kernel, out):
        """Fill `out` with the gradient by the images; as the function ``input_gradient``.

        Parameters
        ----------
        g : ndarray [shape=(N, H', W', F)]
            Gradient with respect to the feature maps.
        kernel : ndarray [shape=(kh, kw, C, F)]
            Filters.
        out : ndarray [shape=(N, H, W, C)]
            Where to.
        """
        self._check("g", g, len(g), self.result)
        self._check("out", out, len(g), self.image)
        self._check_weights(kernel)
        if len(g) == 0:
            return
        kh, kw, channels, filters = kernel.shape
        # Channels last in the kernel too: vectors run over the channels here.
        swapped = self._buffers.get("swapped", (kh, kw, filters, self._wide_channels))
        swapped[..., :channels] = kernel.swapaxes(2, 3)
        dx = self._wide("dx", out)
        self._input_gradient(len(g))(g, swapped, dx)
        _cut(dx, out)

    def kernel_gradient(self, x, g, dkernel, dbias):
        """Fill the gradients by filters and biases; as the function ``kernel_gradient``.

        Parameters
        ----------
        x : ndarray [shape=(N, H, W, C)]
            Images.
        g : ndarray [shape=(N, H', W', F)]
            Gradient with respect to the feature maps.
        dkernel, dbias : ndarray [shapes=(kh, kw, C, F) and (F,)]
            Where to.
        """
        self._check("x", x, len(x), self.image)
        self._check("g", g, len(x), self.result)
        self._check_weights(dkernel, dbias)
        wide_dkernel, wide_dbias = self._wide("dkernel", dkernel), self._wide("dbias", dbias)
        self._kernel_gradient(x, self._padded("g", g), wide_dkernel, wide_dbias)
        _cut(wide_dkernel, dkernel)
        _cut(wide_dbias, dbias)

    def _check(self, name, array, samples, shape):
        if array.shape != (samples, *shape):
            raise ValueError(f"{name} has shape {array.shape}; expected {(samples, *shape)}")

    def _check_weights(self, kernel, bias=None):
        if kernel.shape != self._kernel or (bias is not None and bias.shape != self._kernel[3:]):
            raise ValueError(f"kernel has shape {kernel.shape}; expected {self._kernel}")

    def _wide(self, name, array):
        """Room for `array` with its last axis a whole number of vectors; itself if it is one."""
        length = array.shape[-1]
        if length % simd.LANES == 0:
            return array
        return self._buffers.get(name, (*array.shape[:-1], length + -length % simd.LANES))

    def _padded(self, name, array):
        """`array` with zeros behind its last axis up to a whole number of vectors."""
        wide = self._wide(name, array)
        if wide is not array:
            wide[..., : array.shape[-1]] = array
        return wide


def _cut(wide, out):
    """Copy a padded result to where it belongs."""
    if wide is not out:
        out[...] = wide[..., : out.shape[-1]]


def convolve(x, kernel, bias, relu=False, out=None):
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
    out : ndarray [shape=(N, H - kh + 1, W - kw + 1, F)], float32, optional
        Where to put the result; must not overlap the inputs.

    Returns
    -------
    ndarray [shape=(N, H - kh + 1, W - kw + 1, F)]
        Feature maps: `out`, or a new array.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    TypeError
        If an array is not C-contiguous float32.
    """
    _require("x", x, (None, None, None, None))
    _require("kernel", kernel, (None, None, x.shape[3], None))
    _require("bias", bias, kernel.shape[3:])
    plan = Convolution(x.shape[1:], kernel.shape)
    out = _output("out", out, (len(x), *plan.result))
    plan.convolve(_writable(x), _writable(kernel), _writable(bias), bool(relu), out)
    return out


def input_gradient(g, kernel, out=None):
    """Gradient with respect to the images; see ``convolution.input_gradient``.

    Parameters
    ----------
    g : ndarray [shape=(N, H', W', F)], float32, C-contiguous
        Gradient with respect to the feature maps.
    kernel : ndarray [shape=(kh, kw, C, F)], float32, C-contiguous
        Filters.
    out : ndarray [shape=(N, H' + kh - 1, W' + kw - 1, C)], float32, optional
        Where to put the result; must not overlap the inputs.

    Returns
    -------
    ndarray [shape=(N, H' + kh - 1, W' + kw - 1, C)]
        Gradient with respect to the images: `out`, or a new array.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    TypeError
        If an array is not C-contiguous float32.
    """
    _require("g", g, (None, None, None, None))
    _require("kernel", kernel, (None, None, None, g.shape[3]))
    kh, kw, channels, _ = kernel.shape
    plan = Convolution((g.shape[1] + kh - 1, g.shape[2] + kw - 1, channels), kernel.shape)
    out = _output("out", out, (len(g), *plan.image))
    plan.input_gradient(_writable(g), kernel, out)
    return out


def kernel_gradient(x, g, out=None):
    """Gradient with respect to filters and biases; see ``convolution.kernel_gradient``.

    Parameters
    ----------
    x : ndarray [shape=(N, H, W, C)], float32, C-contiguous
        Images.
    g : ndarray [shape=(N, H', W', F)], float32, C-contiguous
        Gradient with respect to the feature maps, with H' <= H and W' <= W.
    out : pair of ndarray [shapes=(H - H' + 1, W - W' + 1, C, F) and (F,)], optional
        Where to put the results; must not overlap the inputs.

    Returns
    -------
    dkernel : ndarray [shape=(H - H' + 1, W - W' + 1, C, F)]
        Gradient with respect to the filters.
    dbias : ndarray [shape=(F,)]
        Gradient with respect to the biases.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    TypeError
        If an array is not C-contiguous float32.
    """
    _require("x", x, (None, None, None, None))
    _require("g", g, (len(x), None, None, None))
    kh, kw = x.shape[1] - g.shape[1] + 1, x.shape[2] - g.shape[2] + 1
    plan = Convolution(x.shape[1:], (kh, kw, x.shape[3], g.shape[3]))
    dkernel, dbias = (None, None) if out is None else out
    dkernel = _output("dkernel", dkernel, plan._kernel)
    dbias = _output("dbias", dbias, g.shape[3:])
    plan.kernel_gradient(_writable(x), _writable(g), dkernel, dbias)
    return dkernel, dbias


# The kernels


@functools.cache
def _convolve(tile):
    @compiled(arguments=(_IMAGES, _IMAGES, _VECTOR, numba.boolean, _IMAGES))
    def convolve_kernel(x, kernel, bias, relu, y):
        kh, kw, channels, filters = kernel.shape
        samples, height, width, _ = y.shape
        for n in range(samples):
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

    return convolve_kernel


@functools.cache
def _input_gradient(tile, rest):
    blank = Tile(rows=tile.rows, vectors=tile.vectors)
    tile_spread, rest_spread = tile.spread, rest.spread

    @compiled(arguments=(_IMAGES, _IMAGES, _IMAGES))
    def input_gradient_kernel(g, swapped, dx):
        channels = swapped.shape[3]
        samples, height, width, _ = dx.shape
        whole = g.shape[2] - rest.columns
        for n0 in range(0, samples, tile.rows):
            n = min(n0, samples - tile.rows)
            for h in range(height):
                for c in range(0, channels, tile.width):
                    for w in range(width):
                        nothing = simd.zeros(blank)
                        simd.store(
                            nothing, blank, dx, (n, h, w, c), height * width * channels, channels
                        )
                    for j in range(0, whole, tile.columns):
                        _spread_row(tile, tile_spread, g, swapped, dx, n, h, j, c)
                    if rest.columns > 0:
                        _spread_row(rest, rest_spread, g, swapped, dx, n, h, whole, c)

    return input_gradient_kernel


@compiled
def _spread_row(tile, spread, g, swapped, dx, n, h, j, c):
    """Add to row h of dx what comes from a tile of g's columns from j on, in every row of g."""
    kh, kw, filters, channels = swapped.shape
    height, width = dx.shape[1], dx.shape[2]
    dx_step, g_step = height * width * channels, g.shape[1] * g.shape[2] * filters
    for v in range(0, kw, tile.taps):
        values = simd.load(spread, dx, (n, h, j + v, c), dx_step, channels)
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
        simd.store(values, spread, dx, (n, h, j + v, c), dx_step, channels)


@functools.cache
def _kernel_gradient(tile):
    vector = Tile()

    @compiled(arguments=(_IMAGES, _IMAGES, _IMAGES, _VECTOR))
    def kernel_gradient_kernel(x, g, dkernel, dbias):
        kh, kw, channels, filters = dkernel.shape
        samples, height, width, _ = g.shape
        dkernel[:] = 0
        dbias[:] = 0
        for first in range(0, samples, 4):  # as many samples as stay in the nearest cache
            last = min(first + 4, samples)
            for u in range(0, kh, tile.rows):
                # A row of the kernel meets neighbours in memory, kw * channels of them.
                for place in range(0, kw * channels, tile.columns):
                    v, c = place // channels, place % channels
                    for o in range(0, filters, tile.width):
                        values = simd.load(
                            tile, dkernel, (u, v, c, o), kw * channels * filters, filters
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
                            values, tile, dkernel, (u, v, c, o), kw * channels * filters, filters
                        )
        for o in range(0, filters, simd.LANES):
            total = simd.zeros(vector)
            for n in range(samples):
                for i in range(height):
                    for j in range(width):
                        total = simd.add(total, vector, g, (n, i, j, o))
            simd.store(total, vector, dbias, (o,), 0, 0)

    return kernel_gradient_kernel


# Dense layers: BLAS multiplies, these do the rest


def relu_gradient(g, y):
    """Gradient before a ReLU, in place: g where y > 0, else 0 (also at the kink).

    Parameters
    ----------
    g : ndarray, float32, C-contiguous
        Gradient with respect to the output; changed.
    y : ndarray, of g's shape, float32, C-contiguous
        The output.

    Returns
    -------
    ndarray
        `g`.

    Raises
    ------
    ValueError
        If the shapes differ.
    TypeError
        If an array is not C-contiguous float32.
    """
    if g.shape != y.shape:
        raise ValueError(f"y has shape {y.shape}; expected g's, {g.shape}")
    _require_floats("g", g)
    _require_floats("y", y)
    _relu_gradient(g.reshape(-1), y.reshape(-1))
    return g


@compiled(nogil=False)
def _relu_gradient(g, y):
    for p in range(len(g)):
        g[p] = g[p] if y[p] > 0 else np.float32(0)


def dense_rows(x, kernel, bias, relu, out):
    """A dense layer for a few samples: ``x @ kernel + bias`` in one call.

    BLAS and a second pass for the bias cost more than the arithmetic of a single
    frame; from a handful of samples on they are faster.

    Parameters
    ----------
    x : ndarray [shape=(N, D)], float32, C-contiguous
        Input.
    kernel, bias : ndarray [shapes=(D, K) and (K,)], float32, C-contiguous
        Weights.
    relu : bool
        Whether negative results become 0.
    out : ndarray [shape=(N, K)], float32, C-contiguous
        Where to put the result.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    if kernel.shape != x.shape[1:] + bias.shape or out.shape != (len(x), *bias.shape):
        raise ValueError(
            f"x, kernel, bias and out have shapes {x.shape}, {kernel.shape}, {bias.shape} "
            f"and {out.shape}; expected (N, D), (D, K), (K,) and (N, K)"
        )
    _dense_rows(x, kernel, bias, relu, out)


@compiled(nogil=False)
def _dense_rows(x, kernel, bias, relu, y):
    inputs, units = kernel.shape
    for n in range(y.shape[0]):
        y[n, :] = bias
        whole = inputs - inputs % 4
        for d in range(0, whole, 4):  # four at a time: y is read and written once for them
            x0, x1, x2, x3 = x[n, d], x[n, d + 1], x[n, d + 2], x[n, d + 3]
            for k in range(units):
                y[n, k] += (
                    x0 * kernel[d, k]
                    + x1 * kernel[d + 1, k]
                    + x2 * kernel[d + 2, k]
                    + x3 * kernel[d + 3, k]
                )
        for d in range(whole, inputs):
            for k in range(units):
                y[n, k] += x[n, d] * kernel[d, k]
        if relu:
            for k in range(units):
                y[n, k] = np.float32(0) if y[n, k] < 0 else y[n, k]


def add_bias(y, bias, relu):
    """Add the bias to every row and apply the ReLU, in place.

    Parameters
    ----------
    y : ndarray [shape=(N, K)], float32, C-contiguous
        Products of inputs and weights; changed.
    bias : ndarray [shape=(K,)], float32, C-contiguous
        One number a unit.
    relu : bool
        Whether negative results become 0.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    if y.shape[1:] != bias.shape:
        raise ValueError(f"bias has shape {bias.shape}; expected {y.shape[1:]}")
    _add_bias(y, bias, relu)


@compiled(nogil=False)
def _add_bias(y, bias, relu):
    for n in range(y.shape[0]):
        if relu:
            for k in range(y.shape[1]):
                value = y[n, k] + bias[k]
                # "0 where negative", not max(value, 0): NaN must stay NaN.
                y[n, k] = np.float32(0) if value < 0 else value
        else:
            for k in range(y.shape[1]):
                y[n, k] += bias[k]


def sum_rows(g, out):
    """The sum over all rows: what a bias's gradient is.

    Parameters
    ----------
    g : ndarray [shape=(N, K)], float32, C-contiguous
        Gradient with respect to the output.
    out : ndarray [shape=(K,)], float32, C-contiguous
        Where to put the sums.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    if g.shape[1:] != out.shape:
        raise ValueError(f"out has shape {out.shape}; expected {g.shape[1:]}")
    _sum_rows(g, out)


@compiled(nogil=False)
def _sum_rows(g, total):
    total[:] = 0
    for n in range(g.shape[0]):
        for k in range(g.shape[1]):
            total[k] += g[n, k]
