"""Oracles: every formula written out, loop by loop, number by number.

Nothing here is fast and nothing is clever; each function says one formula in
the words of its definition. tests/test_naive.py checks them by hand-computed
examples.
"""

import numpy as np


def convolve(x, kernel, bias):
    """y[n,i,j,o] = bias[o] + sum over u,v,c of x[n,i+u,j+v,c] * kernel[u,v,c,o]"""
    samples, height, width, channels = x.shape
    kh, kw, _, filters = kernel.shape
    y = np.zeros((samples, height - kh + 1, width - kw + 1, filters), x.dtype) + bias
    for n, i, j, o, u, v, c in np.ndindex(*y.shape, kh, kw, channels):
        y[n, i, j, o] += x[n, i + u, j + v, c] * kernel[u, v, c, o]
    return y


def input_gradient(g, kernel):
    """Each y[n,i,j,o] moves by kernel[u,v,c,o] for a unit of x[n,i+u,j+v,c]."""
    samples, rows, columns, _ = g.shape
    kh, kw, channels, _ = kernel.shape
    dx = np.zeros((samples, rows + kh - 1, columns + kw - 1, channels), g.dtype)
    for n, i, j, o, u, v, c in np.ndindex(*g.shape, kh, kw, channels):
        dx[n, i + u, j + v, c] += g[n, i, j, o] * kernel[u, v, c, o]
    return dx


def kernel_gradient(x, g):
    """Each y[n,i,j,o] moves by x[n,i+u,j+v,c] for a unit of kernel[u,v,c,o], by 1 for bias[o]."""
    kh, kw, channels = x.shape[1] - g.shape[1] + 1, x.shape[2] - g.shape[2] + 1, x.shape[3]
    dkernel = np.zeros((kh, kw, channels, g.shape[3]), g.dtype)
    for n, i, j, o, u, v, c in np.ndindex(*g.shape, kh, kw, channels):
        dkernel[u, v, c, o] += x[n, i + u, j + v, c] * g[n, i, j, o]
    return dkernel, sum(g[n, i, j] for n, i, j in np.ndindex(g.shape[:3]))


def dense(x, w, b):
    """y[n,k] = b[k] + sum over d of x[n,d] * w[d,k]"""
    y = np.zeros((len(x), len(b)), x.dtype) + b
    for n, k, d in np.ndindex(*y.shape, len(w)):
        y[n, k] += x[n, d] * w[d, k]
    return y


def dense_gradients(x, w, g):
    """dx[n,d], dw[d,k], db[k] by the chain rule."""
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for n, k, d in np.ndindex(*g.shape, len(w)):
        dx[n, d] += g[n, k] * w[d, k]
        dw[d, k] += x[n, d] * g[n, k]
    return dx, dw, sum(g[n] for n in range(len(g)))


def sgd(w, g, learning_rate):
    """w[p] - learning_rate * g[p]"""
    return [w[p] - learning_rate * g[p] for p in range(len(w))]


def rmsprop(w, g, v, learning_rate, rho, epsilon):
    """New w and v: v is a running mean of g**2, and epsilon stands outside the root."""
    v = [rho * v[p] + (1 - rho) * g[p] ** 2 for p in range(len(v))]
    return [w[p] - learning_rate * g[p] / (v[p] ** 0.5 + epsilon) for p in range(len(w))], v


def q_value(grid_size, gamma, fruit_row, fruit_column, basket, action):
    """The best return after `action`: every sequence of later actions is played."""
    after = min(max(basket + action, 1), grid_size - 2)
    if fruit_row + 1 == grid_size - 2:
        return 1.0 if after - 1 <= fruit_column <= after + 1 else -1.0
    later = (
        q_value(grid_size, gamma, fruit_row + 1, fruit_column, after, later_action)
        for later_action in (-1, 0, 1)
    )
    return gamma * max(later)
