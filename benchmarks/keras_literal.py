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
        """One learning step on a batch of experiences, sample by sample.

        Parameters
        ----------
        batch : minidqn.replay.Batch
            Experiences, at least one.

        Returns
        -------
        float
            The loss before the update.
        """
        states, targets = literal_targets(self, batch, self.gamma)
        return self.train_on_batch(states, targets)

    def predict(self, states):
        """Q(S, a) of any number of states, by ``predict`` as in the script.

        Parameters
        ----------
        states : ndarray [shape=(N, 1, G, G)]
            Frames, at least one: Keras's ``predict`` fails on none.

        Returns
        -------
        ndarray [shape=(N, 3)]
            A new array, float32.
        """
        return self.model.predict(np.moveaxis(states, 1, -1), verbose=0)

    def act(self, state):
        """The best known action, by ``predict`` as in the script.

        Parameters
        ----------
        state : ndarray [shape=(1, G, G)]
            One frame.

        Returns
        -------
        int
            -1, 0 or 1.
        """
        return int(np.argmax(self.predict(state[np.newaxis]), axis=-1)[0]) - 1
