"""The kernels called as the functions that define them: jobs that are done at once."""

import numpy as np

from minidqn.nn import kernels
from minidqn.nn.programs import run


def convolve(x, kernel, bias, relu=False, out=None):
    """As ``convolution.convolve``, with a ReLU or without."""
    if out is None:
        shape = len(x), x.shape[1] - kernel.shape[0] + 1, x.shape[2] - kernel.shape[1] + 1
        out = np.full((*shape, kernel.shape[3]), np.nan, np.float32)
    run(*kernels.convolve(x, kernel, bias, relu, out))
    return out


def input_gradient(g, kernel, out=None):
    """As ``convolution.input_gradient``."""
    if out is None:
        shape = len(g), g.shape[1] + kernel.shape[0] - 1, g.shape[2] + kernel.shape[1] - 1
        out = np.full((*shape, kernel.shape[2]), np.nan, np.float32)
    run(*kernels.input_gradient(g, kernel, out))
    return out


def kernel_gradient(x, g, out=None):
    """As ``convolution.kernel_gradient``."""
    if out is None:
        shape = x.shape[1] - g.shape[1] + 1, x.shape[2] - g.shape[2] + 1, x.shape[3], g.shape[3]
        out = np.full(shape, np.nan, np.float32), np.full(shape[3], np.nan, np.float32)
    run(*kernels.kernel_gradient(x, g, *out))
    return out


def dense(x, kernel, bias, relu=False):
    """``x @ kernel + bias``, with a ReLU or without."""
    y = np.full((len(x), len(bias)), np.nan, np.float32)
    run(*kernels.dense(x, kernel, bias, relu, y))
    return y


def dense_gradients(x, g, kernel):
    """``x.T @ g``, the sum of g and ``g @ kernel.T``."""
    out = (np.full(shape, np.nan, np.float32) for shape in (kernel.shape, g.shape[1:], x.shape))
    dkernel, dbias, dx = out
    run(*kernels.dense_gradients(x, g, kernel, dkernel, dbias, dx))
    return dkernel, dbias, dx
