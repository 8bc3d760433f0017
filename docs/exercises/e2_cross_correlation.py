"""Exercise 2: cross-correlation, which deep learning calls convolution.

Chapter 2, A network, forward (docs/2-forward.md). About 10 minutes.

Lay the kernel on the image, multiply each pixel by the number of the kernel that
lies on it, and add up: that is one pixel of the output. Then move the kernel to
the next place. With one image, one channel and one filter,

    y[i,j] = sum over u,v of x[i+u,j+v] * kernel[u,v]

for u from 0 to kh - 1 and v from 0 to kw - 1. Padding is "valid": the kernel never
leaves the image, so the output is smaller than the image. The kernel is not
flipped.

Loops are welcome; be right first.

To check your answer, in its folder: python -m minidqn.exercises check 2
"""

import numpy as np


def convolve(x, kernel):
    """Slide one kernel over one image.

    Parameters
    ----------
    x : ndarray [shape=(H, W)]
        The image, float64, with H >= kh and W >= kw.
    kernel : ndarray [shape=(kh, kw)]
        The filter, float64.

    Returns
    -------
    ndarray [shape=(H - kh + 1, W - kw + 1)]
        The feature map, float64.

    Examples
    --------
    >>> x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> convolve(x, np.array([[1.0, 10.0]]))  # 1*1 + 2*10 = 21 at the top left
    array([[21., 32.],
           [54., 65.]])
    """
    raise NotImplementedError
