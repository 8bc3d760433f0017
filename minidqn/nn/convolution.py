"""What a convolution and its gradients are: plain NumPy, any dtype.

These three functions are the definition that every faster version is held
against. Layout: images are channels last, (N, H, W, C); kernels are
(kh, kw, C, F), for F filters. Padding is "valid" and the stride is 1, so an
output has H' = H - kh + 1 rows and W' = W - kw + 1 columns. As in every deep
learning library, "convolution" here means cross-correlation: the kernel is not
flipped.

In the formulas, n counts samples, (h, w) input pixels, (i, j) output pixels,
(u, v) places in the kernel, c channels and o filters; g is the gradient of the
loss with respect to y.

References
----------
Goodfellow, Bengio & Courville, *Deep Learning* (2016), section 9.1 for
cross-correlation and 9.5 for its gradients.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _same(name, one, other):
    """Refuse shapes that differ; NumPy would stretch a length of 1."""
    if one != other:
        raise ValueError(f"{name} differ: {one} and {other}; expected two that are the same")


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Slide every filter over every image.

    ``y[n,i,j,o] = bias[o] + sum over u,v,c of x[n,i+u,j+v,c] * kernel[u,v,c,o]``

    Parameters
    ----------
    x : ndarray [shape=(N, H, W, C)]
        Images, with H >= kh and W >= kw.
    kernel : ndarray [shape=(kh, kw, C, F)]
        Filters.
    bias : ndarray [shape=(F,)]
        One number a filter.

    Returns
    -------
    ndarray [shape=(N, H - kh + 1, W - kw + 1, F)]
        Feature maps, in the dtype that x, kernel and bias promote to.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.

    Examples
    --------
    >>> x = np.arange(9.0).reshape(1, 3, 3, 1)
    >>> kernel = np.array([[1.0, 0.0], [0.0, -1.0]]).reshape(2, 2, 1, 1)
    >>> convolve(x, kernel, np.zeros(1))[0, :, :, 0]
    array([[-4., -4.],
           [-4., -4.]])
    """
    _same("channels", x.shape[3:], kernel.shape[2:3])
    _same("filters", kernel.shape[3:], np.shape(bias))
    kh, kw = kernel.shape[:2]
    windows = sliding_window_view(x, (kh, kw), axis=(1, 2))  # (N, H', W', C, kh, kw)
    return np.einsum("nijcuv,uvco->nijo", windows, kernel, optimize=True) + bias


def input_gradient(g: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Spread the gradient of every output pixel over the window it came from.

    ``dx[n,h,w,c] = sum over u,v,o of g[n,h-u,w-v,o] * kernel[u,v,c,o]``

    with g taken as zero outside its bounds: a convolution of the padded g with
    the kernel turned by 180 degrees and its channels swapped with its filters.

    Parameters
    ----------
    g : ndarray [shape=(N, H', W', F)]
        Gradient of the loss with respect to the feature maps.
    kernel : ndarray [shape=(kh, kw, C, F)]
        Filters.

    Returns
    -------
    ndarray [shape=(N, H' + kh - 1, W' + kw - 1, C)]
        Gradient of the loss with respect to the images.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    kh, kw, channels, filters = kernel.shape
    _same("filters", g.shape[3:], (filters,))
    padding = (0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1), (0, 0)
    turned = kernel[::-1, ::-1].swapaxes(2, 3)  # (kh, kw, F, C)
    return convolve(np.pad(g, padding), turned, np.zeros(channels, kernel.dtype))


def kernel_gradient(x: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlate every image with the gradient of its feature maps.

    ``dkernel[u,v,c,o] = sum over n,i,j of x[n,i+u,j+v,c] * g[n,i,j,o]``

    ``dbias[o] = sum over n,i,j of g[n,i,j,o]``

    Parameters
    ----------
    x : ndarray [shape=(N, H, W, C)]
        Images.
    g : ndarray [shape=(N, H', W', F)]
        Gradient of the loss with respect to the feature maps.

    Returns
    -------
    dkernel : ndarray [shape=(H - H' + 1, W - W' + 1, C, F)]
        Gradient of the loss with respect to the filters.
    dbias : ndarray [shape=(F,)]
        Gradient of the loss with respect to the biases.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    _same("samples", len(x), len(g))
    windows = sliding_window_view(x, g.shape[1:3], axis=(1, 2))  # (N, kh, kw, C, H', W')
    return np.einsum("nuvcij,nijo->uvco", windows, g, optimize=True), g.sum(axis=(0, 1, 2))
