"""Keras 3 used as the script of 2016 used Keras: one prediction for every sample.

Run it where `tests` can be imported: in the root of the repository.
"""

import numpy as np

from benchmarks.keras_dqn import KerasDQN
from tests.literal import literal_targets

__all__ = ["KerasLiteral"]


class KerasLiteral(KerasDQN):
    """The network of `KerasDQN`; its targets are made by the loop of `tests/literal.py`.

    A learning step calls ``predict(..., verbose=0)`` for every state and for every
    next state that goes on, one at a time, then ``train_on_batch`` once.

    The parameters are those of `KerasDQN`.
    """

    name = "Keras, literal"

    def learn(self, batch):
        states, targets = literal_targets(self, batch, self.gamma)
        return self.train_on_batch(states, targets)

    def predict(self, states):
        return self.model.predict(np.moveaxis(states, 1, -1), verbose=0)

    def act(self, state):
        return int(np.argmax(self.predict(state[np.newaxis]), axis=-1)[0]) - 1
