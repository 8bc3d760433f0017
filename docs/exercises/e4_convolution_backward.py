"""Exercise 4: convolution, backwards.

Chapter 3, Backwards (docs/3-backward.md). About 25 minutes.

Forward, with one image, one channel and one filter, as in exercise 2:

    y[i,j] = sum over u,v of x[i+u,j+v] * kernel[u,v]

Somebody hands you g, the gradient of the loss with respect to y. By the chain
rule, find the gradients with respect to x and to the kernel. One way to think of
it: go through the products x[i+u,j+v] * kernel[u,v] of the forward pass, one by
one. When y[i,j] grows by 1, the loss grows by g[i,j]; what does this one product
add to the gradient of its pixel, and what to the gradient of its kernel number?

To check your answer, in its folder: python -m minidqn.exercises check 4
"""

import numpy as np


def convolution_backward(x, kernel, g):
    """Gradients of the loss with respect to an image and a kernel.

    Parameters
    ----------
    x : ndarray [shape=(H, W)]
        The image, float64.
    kernel : ndarray [shape=(kh, kw)]
        The filter, float64.
    g : ndarray [shape=(H - kh + 1, W - kw + 1)]
        Gradient of the loss with respect to the feature map, float64.

    Returns
    -------
    dx : ndarray [shape=(H, W)]
        Gradient of the loss with respect to x.
    dkernel : ndarray [shape=(kh, kw)]
        Gradient of the loss with respect to the kernel.

    Examples
    --------
    >>> x, kernel = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 10.0]])
    >>> dx, dkernel = convolution_backward(x, kernel, g=np.array([[1.0, 2.0]]))
    >>> dx  # the pixel in the middle is part of both windows
    array([[ 1., 12., 20.]])
    >>> dkernel
    array([[5., 8.]])
    """
    raise NotImplementedError
