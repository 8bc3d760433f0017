"""A solution of exercise 5."""

import numpy as np


def mean_squared_error(predictions, targets):
    """The mean over all N*A numbers, and so a gradient divided by N*A."""
    errors = predictions - targets
    return np.mean(errors**2), 2 * errors / errors.size
