"""Rules that turn a gradient into a step: SGD and RMSprop.

An optimizer sees a network as one flat array of parameters and one of their gradients,
and has arrays of the same shape for what it remembers. A rule is one loop over them. The
arithmetic is done in the dtype of the parameters, to which hyperparameters are rounded
first. Between the weights lie zeros that fill up rows; their gradients are 0.
"""

import numpy as np

from minidqn.checks import number
from minidqn.nn.cache import compiled
from minidqn.nn.kernels import aligned


class Optimizer:
    """What every rule has. One of your own defines ``update``.

    Parameters
    ----------
    learning_rate : float
        Length of a step.

    Attributes
    ----------
    remembers : tuple of str
        Names of the arrays that the rule keeps from one update to the next.
    state : dict of str to ndarray [shape=(P,)]
        These arrays; zeros after ``build``.

    Raises
    ------
    TypeError, ValueError
        If learning_rate is not a finite number above 0.
    """

    remembers = ()

    def __init__(self, learning_rate=0.01):
        self.learning_rate = number("learning_rate", learning_rate, "(0, inf)")
        self.state = {}
        self._parameters = None

    def build(self, parameters):
        """Start afresh, for the parameters of a network.

        Parameters
        ----------
        parameters : ndarray [shape=(P,)]
            The array that will be updated, and no other will be.

        Raises
        ------
        ValueError
            If learning_rate or epsilon becomes 0 or infinite in its dtype.
        """
        kind = parameters.dtype.type
        for name in ("learning_rate", "epsilon"):
            value = getattr(self, name, 1.0)
            with np.errstate(over="ignore"):
                if not 0 < kind(value) < np.inf:
                    raise ValueError(f"{name} is {value}; expected one that {kind.__name__} holds")
        self._parameters = parameters
        self.state = {name: aligned(parameters.size, kind) for name in self.remembers}

    def update(self, parameters, gradients):
        """Change `parameters` in place, one step against `gradients`; at no other time.

        Parameters
        ----------
        parameters, gradients : ndarray [shape=(P,)]
            All of a network's weights, and the gradient of the loss by each.

        Returns
        -------
        bool or None
            Whether all parameters and all of ``state`` are finite; None if the rule does
            not look.
        """
        raise NotImplementedError

    def _step(self, rule, parameters, gradients, *hyperparameters):
        """Do a rule's loop over checked arrays."""
        if parameters is not self._parameters:
            raise ValueError(f"this {type(self).__name__} was built for another network's weights")
        kind, wanted = parameters.dtype.type, (parameters.shape, parameters.dtype)
        for name, array in {"gradients": gradients, **self.state}.items():
            have = array.shape, array.dtype
            if have != wanted or not array.flags.carray:
                raise ValueError(f"{name} is of {have}; expected {wanted}, as the parameters are")
        return rule[kind](parameters, gradients, *self.state.values(), *map(kind, hyperparameters))


def _rule(loop):
    """A loop for both dtypes. Only float32's is cached: one entry of the cache for a kernel."""
    return {np.float32: compiled(loop), np.float64: compiled(loop, cache=False)}


class SGD(Optimizer):
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

    def update(self, parameters, gradients):
        return self._step(_sgd, parameters, gradients, self.learning_rate)


@_rule
def _sgd(w, g, learning_rate):
    finite = True
    for p in range(len(w)):
        w[p] -= learning_rate * g[p]
        finite &= np.isfinite(w[p])
    return finite


class RMSprop(Optimizer):
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

    remembers = ("mean_square",)

    def __init__(self, learning_rate=0.001, rho=0.9, epsilon=1e-8):
        super().__init__(learning_rate)
        self.rho = number("rho", rho, "[0, 1)")
        self.epsilon = number("epsilon", epsilon, "(0, inf)")

    def update(self, parameters, gradients):
        rates = self.learning_rate, self.rho, 1 - self.rho, self.epsilon
        return self._step(_rmsprop, parameters, gradients, *rates)


@_rule
def _rmsprop(w, g, v, learning_rate, rho, one_minus_rho, epsilon):
    finite = True
    for p in range(len(w)):
        v[p] = rho * v[p] + one_minus_rho * g[p] * g[p]
        w[p] -= learning_rate * g[p] / (np.sqrt(v[p]) + epsilon)
        finite &= np.isfinite(v[p] + w[p])  # one of the two that is not makes the sum so
    return finite
