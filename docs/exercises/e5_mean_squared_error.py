"""Exercise 5: the mean squared error and its gradient.

Chapter 4, Learning rules (docs/4-learning-rules.md). About 10 minutes.

How far the predictions are from the targets, as one number: the mean of the
squared errors over all N samples and all A outputs,

    loss = 1/(N*A) * sum over n,a of (predictions[n,a] - targets[n,a])**2

Return it together with its gradient with respect to the predictions, which you
find by taking the derivative of that line. Mind what it is divided by: for plain
SGD, a gradient that is A times too long is a learning rate that is A times too high.

To check your answer, in its folder: python -m minidqn.exercises check 5
"""

import numpy as np


def mean_squared_error(predictions, targets):
    """The loss, and its slope at the predictions.

    Parameters
    ----------
    predictions, targets : ndarray [shape=(N, A)]
        What the network said and what it should have said, float64.

    Returns
    -------
    loss : float
        The mean squared error.
    gradient : ndarray [shape=(N, A)]
        Gradient of the loss with respect to the predictions.

    Examples
    --------
    >>> loss, gradient = mean_squared_error(np.array([[1.0, 5.0]]), np.array([[1.0, 2.0]]))
    >>> float(loss)
    4.5
    >>> gradient
    array([[0., 3.]])
    """
    raise NotImplementedError
