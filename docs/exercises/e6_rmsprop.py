"""Exercise 6: one step of RMSprop.

Chapter 4, Learning rules (docs/4-learning-rules.md). About 10 minutes.

RMSprop divides each weight's step by a running root mean square of that weight's
own gradients, so that all weights move at about the same speed however long or
short their gradients are:

    v = rho * v + (1 - rho) * g**2

    w = w - learning_rate * g / (sqrt(v) + epsilon)

in this order: the second line takes the v that the first has made. Epsilon stands
outside the root.

Return new arrays and leave those that you were given as they are.

To check your answer, in its folder: python -m minidqn.exercises check 6
"""

import numpy as np


def rmsprop(w, v, g, learning_rate, rho, epsilon):
    """One update.

    Parameters
    ----------
    w : ndarray [shape=(P,)]
        Weights, float64.
    v : ndarray [shape=(P,)]
        The mean square of each weight's gradients so far, float64.
    g : ndarray [shape=(P,)]
        Gradient of the loss with respect to the weights, float64.
    learning_rate : float
        Length of a step, roughly in units of the weights.
    rho : float
        Share of the mean square that is kept, in [0, 1).
    epsilon : float
        Added to the root so that it is never 0.

    Returns
    -------
    w, v : ndarray [shape=(P,)]
        The weights and the mean squares after the update.

    Examples
    --------
    >>> w, v, g = np.array([1.0]), np.array([0.0]), np.array([4.0])
    >>> w, v = rmsprop(w, v, g, learning_rate=0.5, rho=0.75, epsilon=2.0)
    >>> w, v
    (array([0.5]), array([4.]))
    """
    raise NotImplementedError
