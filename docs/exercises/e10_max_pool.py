"""Exercise 10: a layer of your own, max-pooling.

Chapter 3, Backwards (docs/3-backward.md). About 30 minutes.

Max-pooling makes images smaller: of each window of size x size pixels it keeps the
largest number, in every sample and every channel for itself. Images are channels
last, (N, H, W, C), as they are between layers. The windows lie side by side and do
not overlap. Rows and columns that do not fill a window, at the lower and the right
edge, are dropped, as Keras's MaxPooling2D does with padding "valid":

    y[n,i,j,c] = max over u,v of x[n, i*size+u, j*size+v, c]

for u and v from 0 to size - 1.

Backwards, only the largest pixel of a window had a part in its y, and gets all of
its gradient; the others get 0, and so do those that were dropped. Where several are
equal (behind a ReLU many are 0) the first of the window gets it, in the order in
which one reads: row by row, from the left.

The check ends with your layer in a small network, under check_gradients. To train
a network that has it, write two things more: derive the class from minidqn.nn's
Layer, and define build(self, shape), where shape is (H, W, C) and
self.output_shape becomes that of y, without N. (See "A layer of your own" in the
chapter.)

To check your answer, in its folder: python -m minidqn.exercises check 10
"""

import numpy as np


class MaxPool2D:
    """The largest number of each window.

    Parameters
    ----------
    size : int
        Rows and columns of a window, at least 1.

    Examples
    --------
    >>> pool = MaxPool2D(2)
    >>> x = np.array([[1.0, 2.0, 5.0, 9.0], [3.0, 0.0, 5.0, 4.0]]).reshape(1, 2, 4, 1)
    >>> pool.forward(x)[0, :, :, 0]
    array([[3., 9.]])
    >>> pool.backward(np.array([[10.0, 20.0]]).reshape(1, 1, 2, 1))[0, :, :, 0]
    array([[ 0.,  0.,  0., 20.],
           [10.,  0.,  0.,  0.]])
    """

    def __init__(self, size):
        raise NotImplementedError

    def forward(self, x):
        """The way forward; keep what the way back will need.

        Parameters
        ----------
        x : ndarray [shape=(N, H, W, C)]
            Images, float64.

        Returns
        -------
        ndarray [shape=(N, H // size, W // size, C)]
            The largest numbers, float64.
        """
        raise NotImplementedError

    def backward(self, g):
        """The way back.

        Parameters
        ----------
        g : ndarray [shape=(N, H // size, W // size, C)]
            Gradient of the loss with respect to what the last forward returned, float64.

        Returns
        -------
        ndarray [shape=(N, H, W, C)]
            Gradient of the loss with respect to x, float64.
        """
        raise NotImplementedError
