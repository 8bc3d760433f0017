"""Exercise 7: the targets of Q-learning.

Chapter 5, Q-learning (docs/5-q-learning.md). About 15 minutes.

A network says Q(S, a), the return that it expects after action a in state S, for
all three actions at once: actions -1, 0, 1 have the columns 0, 1, 2. For a batch of
experiences (S, action, reward, S_prime), make the targets that it should have said.

- The chosen action's target is the reward where the game ended, and elsewhere

      gamma * max over a of Q(S', a)

  A reward that is not 0 marks the end of a game, and nothing else does. After the
  end there is no next state, whatever the network says of it.
- For the actions that were not chosen nothing is known: their targets are what the
  network said, so that their errors are 0.

Return a new array and leave those that you were given as they are.

To check your answer, in its folder: python -m minidqn.exercises check 7
"""

import numpy as np


def td_targets(q_values, actions, rewards, next_q_values, gamma):
    """What a network should have said.

    Parameters
    ----------
    q_values : ndarray [shape=(N, 3)]
        Q(S, a) for a = -1, 0, 1, float64.
    actions : ndarray [shape=(N,)]
        The actions chosen: -1, 0 or 1.
    rewards : ndarray [shape=(N,)]
        What they earned, float64; not 0 exactly where the game ended.
    next_q_values : ndarray [shape=(N, 3)]
        Q(S', a), float64.
    gamma : float
        Discount factor, in [0, 1).

    Returns
    -------
    ndarray [shape=(N, 3)]
        The targets, float64.

    Examples
    --------
    >>> q_values, next_q_values = np.full((2, 3), 9.0), np.array([[0, 0.5, 0], [7, 7, 7]])
    >>> actions, rewards = np.array([-1, 1]), np.array([0.0, 1.0])
    >>> td_targets(q_values, actions, rewards, next_q_values, gamma=0.5)
    array([[0.25, 9.  , 9.  ],
           [9.  , 9.  , 1.  ]])
    """
    raise NotImplementedError
