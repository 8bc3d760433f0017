"""A solution of exercise 6."""

import numpy as np


def rmsprop(w, v, g, learning_rate, rho, epsilon):
    """The two lines of the formula, which make new arrays."""
    v = rho * v + (1 - rho) * g**2
    w = w - learning_rate * g / (np.sqrt(v) + epsilon)
    return w, v
