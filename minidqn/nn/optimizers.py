"""Rules that turn a gradient into a step: SGD and RMSprop.

An optimizer sees a network as one flat array of parameters and one flat array
of their gradients, so an update is a single pass over memory, which the threads
of a network share. The arithmetic is done in the dtype of the parameters; all
hyperparameters are rounded to it first.
"""

import numpy as np

from minidqn.checks import number
from minidqn.nn.kernels import aligned
from minidqn.nn.programs import Job, Program, address_of, compiled
from minidqn.nn.simd import Tile
from minidqn.nn.threads import Crew

__all__ = ["SGD", "RMSprop"]


CHUNK = 8192
"""Parameters in a part of an update."""


class _Optimizer:
    """What both rules share: they are built for the parameters of one network."""

    def __init__(self, learning_rate):
        self.learning_rate = number("learning_rate", learning_rate, "(0, inf)")
        self._parameters = None

    def build(self, parameters, crew=None):
        """Start afresh, for the parameters of a network.

        Parameters
        ----------
        parameters : ndarray [shape=(P,)]
            The array that will be updated, and no other will be.
        crew : Crew, optional
            Threads that share the updates; the calling one alone by default.

        Raises
        ------
        ValueError
            If a hyperparameter becomes 0 or infinite in its dtype.
        """
        kind = parameters.dtype.type
        for name in ("learning_rate", "epsilon"):
            value = getattr(self, name, 1.0)
            with np.errstate(over="ignore"):
                if not 0 < kind(value) < np.inf:
                    raise ValueError(f"{name} is {value}; expected one that {kind.__name__} holds")
        self._parameters, self._gradients = parameters, None
        self._rates = np.zeros(len(self._hyperparameters()), parameters.dtype)
        self._crew = Crew(1) if crew is None else crew

    def update(self, parameters, gradients):
        """Change `parameters` in place, one step against `gradients`.

        Parameters
        ----------
        parameters, gradients : ndarray [shape=(P,)]
            All of a network's weights, and the gradient of the loss by each.

        Raises
        ------
        ValueError
            If it was not built for these parameters.
        """
        self._check(parameters, gradients)
        if gradients is not self._gradients:
            self._gradients, self._program = gradients, Program()
            self._program.do(self._job(parameters, gradients))
        self._rates[:] = self._hyperparameters()
        self._crew.run(self._program, len(parameters))

    def state(self):
        """What the rule remembers from one update to the next; not copies.

        Returns
        -------
        dict of str to ndarray [shape=(P,)]
            By name; none for a rule without memory.
        """
        return {}

    def _job(self, parameters, gradients):
        """A pass over all parameters, with hyperparameters from ``_rates``."""
        raise NotImplementedError

    def _hyperparameters(self):
        """What the rule's formula needs, in the order of its kernel."""
        raise NotImplementedError

    def _check(self, parameters, gradients):
        if parameters is not self._parameters:
            raise ValueError(f"this {type(self).__name__} was built for another network's weights")
        if gradients.shape != parameters.shape or gradients.dtype != parameters.dtype:
            raise ValueError(
                f"gradients has shape {gradients.shape}, {gradients.dtype}; "
                f"expected {parameters.shape}, {parameters.dtype}"
            )


class SGD(_Optimizer):
    """Stochastic gradient descent: ``w -= learning_rate * g``.

    Parameters
    ----------
    learning_rate : float
        Length of a step, in units of the gradient.

    Raises
    ------
    TypeError, ValueError
        If learning_rate is not a finite number above 0.

    References
    ----------
    https://keras.io/api/optimizers/sgd/ (without momentum)
    """

    def __init__(self, learning_rate=0.01):
        super().__init__(learning_rate)

    def _hyperparameters(self):
        return (self.learning_rate,)

    def _job(self, parameters, gradients):
        arguments = Tile(), parameters, gradients, self._rates
        return Job(_sgd, _find_sgd, arguments, 0, CHUNK, count=len(parameters))


def _sgd(span, tile, w, g, rates):
    learning_rate = rates[0]
    part = slice(span.first, span.last)
    w, g = w[part], g[part]
    for p in range(len(w)):
        w[p] -= learning_rate * g[p]


_sgd_address = address_of(_sgd)


@compiled(nogil=False)
def _find_sgd(kinds):
    return _sgd_address(kinds)


class RMSprop(_Optimizer):
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
    TypeError, ValueError
        If learning_rate or epsilon is not a finite number above 0, or rho is
        outside [0, 1).

    References
    ----------
    Tieleman & Hinton (2012), *Neural Networks for Machine Learning*, lecture 6.5.
    https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html
    """

    def __init__(self, learning_rate=0.001, rho=0.9, epsilon=1e-8):
        super().__init__(learning_rate)
        self.rho = number("rho", rho, "[0, 1)")
        self.epsilon = number("epsilon", epsilon, "(0, inf)")
        self.mean_square = None

    def build(self, parameters, crew=None):
        super().build(parameters, crew)
        self.mean_square = aligned(parameters.size, parameters.dtype)

    def state(self):
        return {"mean_square": self.mean_square}

    def _hyperparameters(self):
        return self.learning_rate, self.rho, 1 - self.rho, self.epsilon

    def _job(self, parameters, gradients):
        arguments = Tile(), parameters, self.mean_square, gradients, self._rates
        return Job(_rmsprop, _find_rmsprop, arguments, 0, CHUNK, count=len(parameters))


def _rmsprop(span, tile, w, v, g, rates):
    learning_rate, rho, one_minus_rho, epsilon = rates[0], rates[1], rates[2], rates[3]
    part = slice(span.first, span.last)
    w, v, g = w[part], v[part], g[part]
    for p in range(len(w)):
        v[p] = rho * v[p] + one_minus_rho * g[p] * g[p]
        w[p] -= learning_rate * g[p] / (np.sqrt(v[p]) + epsilon)


_rmsprop_address = address_of(_rmsprop)


@compiled(nogil=False)
def _find_rmsprop(kinds):
    return _rmsprop_address(kinds)
