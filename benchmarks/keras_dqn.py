"""The network of `minidqn.train` in Keras 3, and its learning step, as its users write them."""

import keras
import numpy as np

from benchmarks.harness import Contestant
from minidqn.qlearning import columns, greedy, td_targets

__all__ = ["KerasDQN"]


class KerasDQN(Contestant):
    """Deep Q-learning in Keras 3, on the backend that KERAS_BACKEND names (torch or jax).

    The network is compiled as Keras does by default: JAX compiles its steps, and
    PyTorch runs eagerly. RMSprop is Keras's own, with epsilon inside the root,
    ``sqrt(v + epsilon)``; minidqn has it outside, ``sqrt(v) + epsilon``. With the
    same epsilon these are different rules wherever v is small.

    Targets come from one prediction of the states and all next states together:
    one call costs less than two, and its shape is always the same, as JAX wants
    it. The backend chooses how many threads it uses.

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
    """

    name = "Keras"

    def __init__(self, weights, grid_size, learning_rate=1e-3, gamma=0.8):
        self.gamma = gamma
        layers = keras.layers
        options = {"activation": "relu", "data_format": "channels_last"}
        self.model = keras.Sequential(
            [
                keras.Input((grid_size, grid_size, 1)),
                layers.Conv2D(16, 3, **options),
                layers.Conv2D(16, 3, **options),
                layers.Flatten(data_format="channels_last"),
                layers.Dense(100, activation="relu"),
                layers.Dense(3),
            ]
        )
        self.model.compile(
            keras.optimizers.RMSprop(learning_rate, rho=0.9, epsilon=1e-8), loss="mse"
        )
        # Copies, since a backend may share memory with arrays.
        self.model.set_weights([weight.copy() for weight in weights])

    def learn(self, batch):
        states = np.asarray(batch.states)
        both = np.concatenate([states, np.asarray(batch.next_states)])
        both = self.model.predict_on_batch(_channels_last(both))
        q_values, next_q_values = np.split(both, 2)
        chosen, next_values = columns(batch.actions), next_q_values.max(axis=1)
        targets = td_targets(q_values, chosen, batch.rewards, next_values, batch.dones, self.gamma)
        return self.train_on_batch(states, targets)

    def predict(self, states):
        return np.array(self.model.predict_on_batch(_channels_last(states)))

    def act(self, state):
        return int(greedy(self.model.predict_on_batch(_channels_last(state[np.newaxis])))[0])

    def train_on_batch(self, states, targets):
        return float(self.model.train_on_batch(_channels_last(states), targets))

    def get_weights(self):
        return [np.array(weight) for weight in self.model.get_weights()]


def _channels_last(states):
    """(N, 1, G, G) to (N, G, G, 1): the same numbers in a row."""
    return np.moveaxis(states, 1, -1)
