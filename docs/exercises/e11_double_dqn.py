"""Exercise 11: the targets of Double DQN.

Chapter 9, After 2013 (docs/9-after-2013.md). About 15 minutes.

The targets of exercise 7 ask one network for the best of the next state's values,
and the largest of several noisy guesses is too large on average. In Double DQN (van
Hasselt, Guez & Silver, 2016, equation 4) there are two networks: the online
network, which learns, chooses the next action, and the target network, an older
copy of it, says what that action is worth.

- The chosen action's target is the reward where the game ended, and elsewhere

      gamma * Q_target(S', a*)    with a* = argmax over a of Q_online(S', a)

  Of several actions that are equal a* is the first. A reward that is not 0 marks
  the end of a game, and nothing else does.
- For the actions that were not chosen the targets are what the online network
  said, so that their errors are 0. Actions -1, 0, 1 have the columns 0, 1, 2.

Return a new array and leave those that you were given as they are.

To check your answer, in its folder: python -m minidqn.exercises check 11
"""

import numpy as np


def double_td_targets(q_values, actions, rewards, next_q_values, next_target_values, gamma):
    """What the online network should have said.

    Parameters
    ----------
    q_values : ndarray [shape=(N, 3)]
        Q(S, a) of the online network for a = -1, 0, 1, float64.
    actions : ndarray [shape=(N,)]
        The actions chosen: -1, 0 or 1.
    rewards : ndarray [shape=(N,)]
        What they earned, float64; not 0 exactly where the game ended.
    next_q_values : ndarray [shape=(N, 3)]
        Q(S', a) of the online network, float64.
    next_target_values : ndarray [shape=(N, 3)]
        Q(S', a) of the target network, float64.
    gamma : float
        Discount factor, in [0, 1).

    Returns
    -------
    ndarray [shape=(N, 3)]
        The targets, float64.

    Examples
    --------
    >>> q_values, next_q_values = np.full((2, 3), 9.0), np.array([[1, 2, 3], [7, 7, 7]])
    >>> next_target_values = np.array([[8, 6, 4], [7, 7, 7]])
    >>> actions, rewards = np.array([-1, 1]), np.array([0.0, 1.0])
    >>> double_td_targets(q_values, actions, rewards, next_q_values, next_target_values, 0.5)
    array([[2., 9., 9.],
           [9., 9., 1.]])
    """
    raise NotImplementedError
