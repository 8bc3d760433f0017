"""Exercise 3: the dense layer, backwards.

Chapter 3, Backwards (docs/3-backward.md). About 15 minutes.

Forward, every output of a dense layer is a weighted sum of every input:

    y[n,k] = b[k] + sum over d of x[n,d] * w[d,k]

with n counting samples, d inputs and k outputs. Somebody hands you g, the
gradient of the loss with respect to y: g[n,k] says how fast the loss grows when
y[n,k] does. By the chain rule, say how fast it grows when a number of x, of w or
of b does. For each of the three ask: which y does this number take part in, and by
what is it multiplied there? A number that takes part in several y collects from
all of them.

Every gradient has the shape of the array that it belongs to.

To check your answer, in its folder: python -m minidqn.exercises check 3
"""

import numpy as np


def dense_backward(x, w, g):
    """Gradients of the loss with respect to a dense layer's input and weights.

    Parameters
    ----------
    x : ndarray [shape=(N, D)]
        The layer's input, a row a sample, float64.
    w : ndarray [shape=(D, K)]
        Its weights, float64.
    g : ndarray [shape=(N, K)]
        Gradient of the loss with respect to the layer's output, float64.

    Returns
    -------
    dx : ndarray [shape=(N, D)]
        Gradient of the loss with respect to x.
    dw : ndarray [shape=(D, K)]
        Gradient of the loss with respect to w.
    db : ndarray [shape=(K,)]
        Gradient of the loss with respect to the biases b.

    Examples
    --------
    >>> x, w, g = np.array([[1.0, 2.0]]), np.array([[10.0], [20.0]]), np.array([[3.0]])
    >>> dx, dw, db = dense_backward(x, w, g)
    >>> dx
    array([[30., 60.]])
    >>> dw
    array([[3.],
           [6.]])
    >>> db
    array([3.])
    """
    raise NotImplementedError
