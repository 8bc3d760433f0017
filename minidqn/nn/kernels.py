"""The convolution and its gradients in Numba: float32, compiled on first use.

The same three functions as ``minidqn.nn.convolution``, which defines them.
Each is a wrapper and a kernel: the wrapper checks shapes and allocates what the
caller did not bring, the kernel only fills. A kernel indexes without checking
bounds, so nothing may call it but its wrapper.

Numerics: float32 throughout, sums accumulated in float32 in the order of the
loops; a product and the addition after it may be fused into one rounding
("contract") and no other liberty is taken, so NaN and infinities behave as in
the definition. The kernels release the interpreter lock, and Numba keeps the
compiled code on disk for the next start.
"""

import numba
import numpy as np

__all__ = ["compiled", "convolve", "input_gradient", "kernel_gradient"]


def compiled(function):
    """Compile `function` with Numba, lazily, cached on disk where a folder allows it.

    Numba caches beside the source, or in the user's cache folder if that place
    is read-only. Where neither can be written to, the function is compiled
    afresh by each process instead of failing to import.

    Parameters
    ----------
    function : callable
        Plain Python over arrays and numbers.

    Returns
    -------
    callable
        The compiled function; the plain one is its ``py_func``. Under
        ``NUMBA_DISABLE_JIT=1`` it is `function` itself.

    References
    ----------
    https://numba.readthedocs.io/en/stable/developer/caching.html
    """
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "cannot cache function: no locator available"
        return numba.njit(**options)(function)


def _require(name, array, shape):
    """`array`, if it is C-contiguous float32 of `shape`; None in `shape` fits any length."""
    fits = (
        isinstance(array, np.ndarray)
        and array.ndim == len(shape)
        and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    )
    if not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} has shape {np.shape(array)}; expected ({wanted})")
    if array.dtype != np.float32 or not array.flags.c_contiguous:
        raise TypeError(
            f"{name} is {array.dtype}, C-contiguous: {array.flags.c_contiguous}; "
            "expected C-contiguous float32"
        )
    return array


def _output(name, out, shape):
    """`out` if it can hold a result of `shape`, a new array if it is None."""
    return np.empty(shape, np.float32) if out is None else _require(name, out, shape)


def _output_size(x, kh, kw):
    """Rows and columns of the feature maps of images `x`."""
    height, width = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    if height < 1 or width < 1:
        raise ValueError(f"x has {x.shape[1:3]} pixels; expected at least the kernel's {(kh, kw)}")
    return height, width


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
    kh, kw, _, filters = kernel.shape
    _require("bias", bias, (filters,))
    out = _output("out", out, (len(x), *_output_size(x, kh, kw), filters))
    _convolve(x, kernel, bias, relu, out)
    return out


@compiled
def _convolve(x, kernel, bias, relu, y):
    kh, kw, channels, filters = kernel.shape
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for o in range(filters):
                    y[n, i, j, o] = bias[o]
                for u in range(kh):
                    for v in range(kw):
                        for c in range(channels):
                            pixel = x[n, i + u, j + v, c]
                            for o in range(filters):
                                y[n, i, j, o] += pixel * kernel[u, v, c, o]
                if relu:
                    for o in range(filters):
                        # "0 where negative", not max(y, 0): NaN must stay NaN.
                        y[n, i, j, o] = np.float32(0) if y[n, i, j, o] < 0 else y[n, i, j, o]


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
    out = _output("out", out, (len(g), g.shape[1] + kh - 1, g.shape[2] + kw - 1, channels))
    # Channels last here too, so that the innermost loop runs over neighbours in memory.
    swapped = np.ascontiguousarray(kernel.swapaxes(2, 3))  # (kh, kw, F, C)
    _input_gradient(g, swapped, out)
    return out


@compiled
def _input_gradient(g, swapped, dx):
    kh, kw, filters, channels = swapped.shape
    dx[:] = 0
    for n in range(g.shape[0]):
        for i in range(g.shape[1]):
            for j in range(g.shape[2]):
                for u in range(kh):
                    for v in range(kw):
                        for o in range(filters):
                            slope = g[n, i, j, o]
                            for c in range(channels):
                                dx[n, i + u, j + v, c] += slope * swapped[u, v, o, c]


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
    if kh < 1 or kw < 1:
        raise ValueError(f"g has {g.shape[1:3]} pixels; expected at most x's {x.shape[1:3]}")
    dkernel, dbias = (None, None) if out is None else out
    dkernel = _output("dkernel", dkernel, (kh, kw, x.shape[3], g.shape[3]))
    dbias = _output("dbias", dbias, (g.shape[3],))
    _kernel_gradient(x, g, dkernel, dbias)
    return dkernel, dbias


@compiled
def _kernel_gradient(x, g, dkernel, dbias):
    kh, kw, channels, filters = dkernel.shape
    dkernel[:] = 0
    dbias[:] = 0
    for n in range(g.shape[0]):
        for i in range(g.shape[1]):
            for j in range(g.shape[2]):
                for o in range(filters):
                    dbias[o] += g[n, i, j, o]
                for u in range(kh):
                    for v in range(kw):
                        for c in range(channels):
                            pixel = x[n, i + u, j + v, c]
                            for o in range(filters):
                                dkernel[u, v, c, o] += pixel * g[n, i, j, o]
