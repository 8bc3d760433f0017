"""The network of `minidqn.train` in JAX, and its learning step, as its users write them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import Contestant
from minidqn.fruit import ACTIONS

__all__ = ["JaxDQN"]


class JaxDQN(Contestant):
    """Deep Q-learning in plain JAX, RMSprop by hand with epsilon outside the root.

    A learning step is one compiled function from a batch, the parameters and the
    optimizer's state to the new ones; it is given the memory of the old ones
    (donation). Compiled functions have fixed shapes, so it forwards all next
    states and masks those that ended a game; minidqn forwards only those that go
    on. The first call with each batch size compiles. JAX uses the cores that this
    process may run on; the environment decides that, not this class.

    Parameters
    ----------
    weights : list of ndarray
        First weights, as ``minidqn.nn.Sequential.get_weights`` returns them; copied.
    grid_size : int
        Rows and columns of the grid, G.
    learning_rate : float
        RMSprop's.
    gamma : float
        Discount factor.
    dtype : dtype
        Of the weights and all arithmetic; float64, to compare updates closely,
        needs ``JAX_ENABLE_X64=1`` in the environment.

    Raises
    ------
    ValueError
        If JAX does not compute in this dtype, or the weights are not of this grid.
    """

    name = "JAX"

    def __init__(self, weights, grid_size, learning_rate=1e-3, gamma=0.8, dtype=np.float32):
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise ValueError(f"dtype is {np.dtype(dtype)}; it needs JAX_ENABLE_X64=1")
        if len(weights[4]) != (grid_size - 4) ** 2 * 16:
            raise ValueError(f"grid_size is {grid_size}; the weights are another grid's")
        # Copies, since what is donated is overwritten.
        self.parameters = [jnp.array(weight, dtype) for weight in weights]
        self.mean_squares = [jnp.zeros_like(parameter) for parameter in self.parameters]
        rates = {"learning_rate": learning_rate}
        self._learn = jax.jit(
            functools.partial(_learn, gamma=gamma, **rates), donate_argnums=(0, 1)
        )
        self._train = jax.jit(functools.partial(_train, **rates), donate_argnums=(0, 1))
        self._forward, self._greedy = jax.jit(_forward), jax.jit(_greedy)

    def learn(self, batch):
        self.parameters, self.mean_squares, loss = self._learn(
            self.parameters,
            self.mean_squares,
            np.asarray(batch.states),
            batch.actions,
            batch.rewards,
            np.asarray(batch.next_states),
        )
        return float(loss)

    def predict(self, states):
        return np.array(self._forward(self.parameters, states))

    def act(self, state):
        return int(self._greedy(self.parameters, state))

    def train_on_batch(self, states, targets):
        self.parameters, self.mean_squares, loss = self._train(
            self.parameters, self.mean_squares, states, targets
        )
        return float(loss)

    def get_weights(self):
        return [np.array(parameter) for parameter in self.parameters]


def _forward(parameters, states):
    """Q(S, a), images channels last as XLA has them on a CPU."""
    k1, b1, k2, b2, w3, b3, w4, b4 = parameters
    count, _, *grid = states.shape
    # With one channel, channels first and channels last are the same numbers in a row.
    x = states.reshape(count, *grid, 1).astype(k1.dtype)
    x = jax.nn.relu(_convolve(x, k1) + b1)
    x = jax.nn.relu(_convolve(x, k2) + b2)
    x = jax.nn.relu(x.reshape(count, len(w3)) @ w3 + b3)
    return x @ w4 + b4


def _convolve(x, kernel):
    """A "valid" convolution."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layout)


def _greedy(parameters, state):
    """The best action in one state."""
    return jnp.argmax(_forward(parameters, state[None])[0]) + ACTIONS[0]


def _learn(
    parameters, mean_squares, states, actions, rewards, next_states, *, gamma, learning_rate
):
    """One learning step; the new parameters, the new mean squares and the loss."""
    bootstrapped = gamma * _forward(parameters, next_states).max(axis=1)
    targets = jnp.where(rewards != 0, rewards, bootstrapped)
    chosen = actions.astype(jnp.int32)[:, None] - ACTIONS[0]

    def loss(parameters):
        q_values = jnp.take_along_axis(_forward(parameters, states), chosen, axis=1)[:, 0]
        # The mean over all actions; the errors of those not chosen are 0.
        return jnp.mean((q_values - targets) ** 2) / len(ACTIONS)

    return _descend(loss, parameters, mean_squares, learning_rate)


def _train(parameters, mean_squares, states, targets, *, learning_rate):
    """One update towards given targets; as `_learn`."""

    def loss(parameters):
        return jnp.mean((_forward(parameters, states) - targets) ** 2)

    return _descend(loss, parameters, mean_squares, learning_rate)


def _descend(loss, parameters, mean_squares, learning_rate, rho=0.9, epsilon=1e-8):
    """One step of RMSprop."""
    value, gradients = jax.value_and_grad(loss)(parameters)
    mean_squares = jax.tree.map(lambda v, g: rho * v + (1 - rho) * g**2, mean_squares, gradients)
    parameters = jax.tree.map(
        lambda w, v, g: w - learning_rate * g / (jnp.sqrt(v) + epsilon),
        parameters,
        mean_squares,
        gradients,
    )
    return parameters, mean_squares, value
