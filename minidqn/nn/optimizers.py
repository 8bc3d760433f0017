"""Rules that turn a gradient into a step: SGD and RMSprop.

An optimizer sees a network as one flat array of parameters and one flat array
of their gradients, so an update is a single pass over memory. The arithmetic is
done in the dtype of the parameters; all hyperparameters are rounded to it
first.
"""

import math

import numpy as np

from minidqn.nn.kernels import compiled

__all__ = ["SGD", "RMSprop"]


def _positive(name, value):
    """`value` as a float, if it is a finite number above 0."""
    if not (isinstance(value, (int, float, np.number)) and 0 < value < math.inf):
        raise ValueError(f"{name} is {value!r}; expected a finite number above 0")
    return float(value)


class SGD:
    """Stochastic gradient descent: ``w -= learning_rate * g``.

    Parameters
    ----------
    learning_rate : float
        Length of a step, in units of the gradient.

    Raises
    ------
    ValueError
        If learning_rate is not a finite number above 0.

    References
    ----------
    https://keras.io/api/optimizers/sgd/ (without momentum)
    """

    def __init__(self, learning_rate=0.01):
        self.learning_rate = _positive("learning_rate", learning_rate)

    def build(self, parameters):
        """Make the state for a network's `parameters`; SGD needs none."""

    def update(self, parameters, gradients):
        """Change `parameters` in place, one step against `gradients`.

        Parameters
        ----------
        parameters, gradients : ndarray [shape=(P,)]
            All of a network's weights, and the gradient of the loss by each.
        """
        _sgd(parameters, gradients, parameters.dtype.type(self.learning_rate))


@compiled
def _sgd(w, g, learning_rate):
    for p in range(len(w)):
        w[p] -= learning_rate * g[p]


class RMSprop:
    """Steps divided by a running root mean square of each weight's gradient.

    ``v = rho * v + (1 - rho) * g**2``

    ``w -= learning_rate * g / (sqrt(v) + epsilon)``

    The mean square v starts at 0. Epsilon stands outside the root, as in the
    Keras of 2016 and in PyTorch; Keras 3 and Optax put it inside, which is
    another rule wherever v is small.

    Parameters
    ----------
    learning_rate : float
        Length of a step, roughly in units of the weights.
    rho : float
        Share of the mean square that is kept at each update, in [0, 1).
    epsilon : float
        Added to the root so that it is never 0.

    Raises
    ------
    ValueError
        If learning_rate or epsilon is not a finite number above 0, or rho is
        outside [0, 1).

    References
    ----------
    Tieleman & Hinton (2012), *Neural Networks for Machine Learning*, lecture 6.5.
    https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html
    """

    def __init__(self, learning_rate=0.001, rho=0.9, epsilon=1e-8):
        self.learning_rate = _positive("learning_rate", learning_rate)
        if not (isinstance(rho, (int, float, np.number)) and 0 <= rho < 1):
            raise ValueError(f"rho is {rho!r}; expected a number in [0, 1)")
        self.rho = float(rho)
        self.epsilon = _positive("epsilon", epsilon)
        self.mean_square = None

    def build(self, parameters):
        """Start the mean square at 0 for a network's `parameters` [shape=(P,)]."""
        self.mean_square = np.zeros_like(parameters)

    def update(self, parameters, gradients):
        """Change `parameters` in place, one step against `gradients`.

        Parameters
        ----------
        parameters, gradients : ndarray [shape=(P,)]
            All of a network's weights, and the gradient of the loss by each.
        """
        number = parameters.dtype.type
        _rmsprop(
            parameters,
            self.mean_square,
            gradients,
            number(self.learning_rate),
            number(self.rho),
            number(1 - self.rho),
            number(self.epsilon),
        )


@compiled
def _rmsprop(w, v, g, learning_rate, rho, one_minus_rho, epsilon):
    for p in range(len(w)):
        v[p] = rho * v[p] + one_minus_rho * g[p] * g[p]
        w[p] -= learning_rate * g[p] / (np.sqrt(v[p]) + epsilon)
