"""Rules that turn a gradient into a step: SGD, RMSprop and Adam.

An optimizer sees a network as one flat array of parameters and one of their gradients,
and has arrays of the same shape for what it remembers. A rule is one loop over them. The
arithmetic is done in the dtype of the parameters, to which hyperparameters are rounded
first. Between the weights lie zeros that fill up rows; their gradients are 0.
"""

import inspect

import numpy as np

from minidqn.checks import number
from minidqn.nn.cache import compiled
from minidqn.nn.kernels import aligned, inner


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

    remembers: tuple[str, ...] = ()

    def __init__(self, learning_rate: float = 0.01):
        self.learning_rate = number("learning_rate", learning_rate, "(0, inf)")
        self.state: dict[str, np.ndarray] = {}
        self._parameters: np.ndarray | None = None

    def build(self, parameters: np.ndarray) -> None:
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

    def update(self, parameters: np.ndarray, gradients: np.ndarray) -> bool | None:
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

    def _step(self, rule, parameters, gradients, state, *hyperparameters):
        """Do a rule's loop over checked arrays; `state` names its own, in order."""
        if parameters is not self._parameters:
            raise ValueError(f"this {type(self).__name__} was built for another network's weights")
        kind, wanted = parameters.dtype.type, (parameters.shape, parameters.dtype)
        arrays = {"gradients": gradients, **{n: self.state[n] for n in state if n in self.state}}
        for name, array in arrays.items():
            have = array.shape, array.dtype
            if have != wanted or not array.flags.carray:
                raise ValueError(f"{name} is of {have}; expected {wanted}, as the parameters are")
        own = (self.state.get(name, parameters[:0]) for name in state)  # empty if not in use
        return rule[kind](parameters, gradients, *own, *map(kind, hyperparameters))


def _rule(loop):
    """A loop for both dtypes. Only float32's is cached: one entry of the cache for a kernel."""
    return {np.float32: compiled(loop), np.float64: compiled(loop, cache=False)}


SMALLEST = np.finfo(np.float32).tiny
"""The smallest float32 that has all its digits, 1.2e-38."""

SMALL = np.sqrt(SMALLEST)
"""The smallest whose square has them, 1.1e-19."""


@inner
def flush(x: float, least: float) -> float:
    """x, or 0 if it is smaller than `least`.

    The means of a weight whose gradient stays 0 come down to numbers below `SMALLEST`, and many
    processors are tens of times slower with those.
    """
    return x if abs(x) >= least else x - x  # NaN stays NaN


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

    def update(self, parameters: np.ndarray, gradients: np.ndarray) -> bool | None:
        return self._step(_sgd, parameters, gradients, (), self.learning_rate)


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

    Centered, with ``m = rho * m + (1 - rho) * g``, the root is that of ``v - m**2``. With momentum,
    ``u = momentum * u + step`` is subtracted in the place of this step.

    Parameters
    ----------
    learning_rate : float
        Length of a step, roughly in units of the weights.
    rho : float
        Share of the mean square that is kept at each update, in [0, 1).
    epsilon : float
        Added to the root so that it is never 0.
    momentum : float
        Share of the last step that the next one repeats, in [0, 1).
    centered : bool
        Whether the variance stands under the root.

    Raises
    ------
    TypeError, ValueError
        If learning_rate or epsilon is not a finite number above 0, rho or momentum is
        outside [0, 1), or centered is not a bool.

    References
    ----------
    Tieleman & Hinton (2012), *Neural Networks for Machine Learning*, lecture 6.5; Graves
    (2013), *Generating Sequences With Recurrent Neural Networks*, for the variance.
    https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        epsilon: float = 1e-8,
        *,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        super().__init__(learning_rate)
        self.rho = number("rho", rho, "[0, 1)")
        self.momentum = number("momentum", momentum, "[0, 1)")
        self.epsilon = number("epsilon", epsilon, "(0, inf)")
        if not isinstance(centered, bool):
            raise TypeError(f"centered is {centered!r}; expected a bool")
        self.centered = centered
        self.remembers = ("mean_square",) + ("mean_gradient",) * centered
        self.remembers += ("velocity",) * (momentum > 0)

    def update(self, parameters: np.ndarray, gradients: np.ndarray) -> bool | None:
        rates = self.learning_rate, self.rho, 1 - self.rho, self.epsilon
        if self.remembers == ("mean_square",):
            return self._step(_rmsprop, parameters, gradients, self.remembers, *rates)
        state = "mean_square", "mean_gradient", "velocity"
        return self._step(_rmsprop_graves, parameters, gradients, state, *rates, self.momentum)


@_rule
def _rmsprop(w, g, v, learning_rate, rho, one_minus_rho, epsilon):
    finite = True
    for p in range(len(w)):
        v[p] = flush(rho * v[p] + one_minus_rho * g[p] * g[p], SMALLEST)
        w[p] -= learning_rate * g[p] / (np.sqrt(v[p]) + epsilon)
        finite &= np.isfinite(v[p] + w[p])  # one of the two that is not makes the sum so
    return finite


@_rule
def _rmsprop_graves(w, g, v, mean, velocity, learning_rate, rho, one_minus_rho, epsilon, momentum):
    """Centered if `mean` is not empty, with momentum if `velocity` is not."""
    finite = True
    for p in range(len(w)):
        v[p] = flush(rho * v[p] + one_minus_rho * g[p] * g[p], SMALLEST)
        variance = v[p]
        if len(mean):
            mean[p] = flush(rho * mean[p] + one_minus_rho * g[p], SMALL)
            variance = max(v[p] - mean[p] * mean[p], np.float32(0))  # below it by rounding only
        step = learning_rate * g[p] / (np.sqrt(variance) + epsilon)
        if len(velocity):
            velocity[p] = flush(momentum * velocity[p] + step, SMALLEST)
            step = velocity[p]
        w[p] -= step
        finite &= np.isfinite(v[p] + w[p])
    return finite


class Adam(Optimizer):
    """Steps along a running mean of the gradient, divided by its root mean square.

    ``m = beta_1 * m + (1 - beta_1) * g`` and ``v = beta_2 * v + (1 - beta_2) * g**2``

    ``w -= learning_rate * m_hat / (sqrt(v_hat) + epsilon)``

    m and v start at 0, which makes them too small at first; ``m_hat = m / (1 - beta_1**t)``
    and ``v_hat = v / (1 - beta_2**t)`` at update t, from 1, are not.

    Parameters
    ----------
    learning_rate : float
        Length of a step, roughly in units of the weights.
    beta_1, beta_2 : float
        Shares of the two means that are kept at each update, in [0, 1).
    epsilon : float
        Added to the root so that it is never 0, as in the paper and in PyTorch.

    Raises
    ------
    TypeError, ValueError
        If learning_rate or epsilon is not a finite number above 0, or a beta is outside
        [0, 1).

    References
    ----------
    Kingma & Ba (2015), *Adam: A Method for Stochastic Optimization*, algorithm 1.
    """

    remembers = ("mean_gradient", "mean_square")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ):
        super().__init__(learning_rate)
        self.beta_1 = number("beta_1", beta_1, "[0, 1)")
        self.beta_2 = number("beta_2", beta_2, "[0, 1)")
        self.epsilon = number("epsilon", epsilon, "(0, inf)")

    def build(self, parameters: np.ndarray) -> None:
        super().build(parameters)
        self.state["updates"] = np.zeros(1, np.int64)  # t, kept and saved like the means

    def update(self, parameters: np.ndarray, gradients: np.ndarray) -> bool | None:
        self.state["updates"] += 1
        t, beta_1, beta_2 = int(self.state["updates"][0]), self.beta_1, self.beta_2
        rates = beta_1, 1 - beta_1, beta_2, 1 - beta_2, self.learning_rate / (1 - beta_1**t)
        rates += (1 - beta_2**t) ** -0.5, self.epsilon
        return self._step(_adam, parameters, gradients, self.remembers, *rates)


@_rule
def _adam(w, g, m, v, beta_1, one_minus_1, beta_2, one_minus_2, rate, root, epsilon):
    finite = True
    for p in range(len(w)):
        m[p] = flush(beta_1 * m[p] + one_minus_1 * g[p], SMALLEST)
        v[p] = flush(beta_2 * v[p] + one_minus_2 * g[p] * g[p], SMALLEST)
        w[p] -= rate * m[p] / (root * np.sqrt(v[p]) + epsilon)
        finite &= np.isfinite(v[p] + w[p])
    return finite


OPTIMIZERS = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam}


def get(optimizer: str | Optimizer, learning_rate: float | None = None) -> Optimizer:
    """The optimizer that some words stand for.

    Parameters
    ----------
    optimizer : str or Optimizer
        "sgd", "rmsprop" or "adam", and parameters that are numbers, true or false, such as
        "rmsprop rho=0.95 centered=true"; or the optimizer itself.
    learning_rate : float, optional
        Length of a step; by default that of the words, or the rule's own.

    Returns
    -------
    Optimizer
        The optimizer.

    Raises
    ------
    TypeError, ValueError
        If there is no such optimizer, or it has no such parameter or value.
    """
    if not isinstance(optimizer, str):
        if isinstance(optimizer, type) or not {"build", "update"} <= set(dir(optimizer)):
            raise TypeError(f"optimizer is {optimizer!r}; expected one such as RMSprop()")
        return optimizer
    name, *words = optimizer.split() or [""]
    rule = OPTIMIZERS.get(name.lower())
    given = {} if learning_rate is None else {"learning_rate": learning_rate}
    try:
        if rule is None:
            raise ValueError(f"expected one of {', '.join(OPTIMIZERS)}")
        known = [each for each in inspect.signature(rule).parameters if each not in given]
        for word in words:
            key, _, value = word.partition("=")
            if key not in known:
                raise ValueError(f"{key} is none of its parameters: {', '.join(known) or 'none'}")
            if key in given:
                raise ValueError(f"{key} is there twice")
            try:
                given[key] = value == "true" if value in ("true", "false") else float(value)
            except ValueError:
                raise ValueError(f"{word}: expected a number, true or false") from None
        return rule(**given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"optimizer is {optimizer!r:.80}; {error}") from error
