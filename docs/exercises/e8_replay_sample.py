"""Exercise 8: a batch from the replay memory.

Chapter 5, Q-learning (docs/5-q-learning.md). About 15 minutes.

Experiences that follow each other are nearly the same, and a network that learns
from them in their order forgets what it knew before. So they are kept, and each
learning step takes some of them at random.

Draw batch_size different experiences from the memory: none of them twice, and
every one equally likely, the oldest as well as the newest. Row n of each of the
four arrays belongs to the same experience.

All randomness comes from rng, a numpy.random.Generator: the same rng in the same
state draws the same batch, so that an experiment can be repeated.

To check your answer, in its folder: python -m minidqn.exercises check 8
"""

import numpy as np


def replay_sample(memory, batch_size, rng):
    """A random batch.

    Parameters
    ----------
    memory : list of (S, action, reward, S_prime)
        Experiences, the oldest first. S and S_prime are frames, float32 arrays of
        shape (1, G, G); action is -1, 0 or 1; reward is a float.
    batch_size : int
        Experiences in the batch, N; at most as many as there are.
    rng : numpy.random.Generator
        Where to draw from.

    Returns
    -------
    states : ndarray [shape=(N, 1, G, G)]
        The frames S, float32.
    actions : ndarray [shape=(N,)]
        Whole numbers.
    rewards : ndarray [shape=(N,)]
        Floats.
    next_states : ndarray [shape=(N, 1, G, G)]
        The frames S_prime, float32.

    Examples
    --------
    >>> S, S_prime = np.zeros((1, 2, 2), np.float32), np.ones((1, 2, 2), np.float32)
    >>> memory = [(S, -1, 0.0, S_prime), (S_prime, 1, -1.0, S)]
    >>> batch = replay_sample(memory, batch_size=2, rng=np.random.default_rng(0))
    >>> states, actions, rewards, next_states = batch
    >>> states.shape, sorted(actions.tolist()), sorted(rewards.tolist())
    ((2, 1, 2, 2), [-1, 1], [-1.0, 0.0])
    """
    raise NotImplementedError
