"""Exercise 9: the exact values of the game, by backward induction.

Chapter 6, Is it right? (docs/6-is-it-right.md). About 30 minutes.

Catching fruit is small enough to be solved exactly, and what a network has learned
can be held against the solution. Q*(row, fruit, basket, a) is the return of action
a when all later actions are the best:

    Q*(row, fruit, basket, a) = reward                            where the step ends the game
    Q*(row, fruit, basket, a) = gamma * max over a' of Q*(row + 1, fruit, basket', a')    else

with basket' the basket after action a. In one step the basket's centre moves to
basket + a, but never below column 1 or above column G - 2, and the fruit falls to
row + 1. The game ends when the fruit reaches row G - 2, the row above the basket:
the reward is 1 if the fruit is then in one of the basket's three columns, else -1.

Every step goes one row down, so one sweep from the last row up is enough.

To check your answer, in its folder: python -m minidqn.exercises check 9
"""

import numpy as np


def q_star(grid_size, gamma):
    """Q* of every state and action.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, G, at least 3.
    gamma : float
        Discount factor, in [0, 1).

    Returns
    -------
    ndarray [shape=(G - 2, G, G - 2, 3)]
        float64. Axes: the fruit's row (0 to G - 3, the rows where a game goes on),
        the fruit's column (0 to G - 1), the basket's centre less one (centres 1 to
        G - 2), and the action plus one (-1, 0, 1).

    Examples
    --------
    >>> q = q_star(grid_size=10, gamma=0.5)
    >>> q[7, 4, 4]  # one row to go, the fruit in column 4, the basket's centre in column 5
    array([ 1.,  1., -1.])
    >>> q[6, 4, 6]  # two rows to go, the basket's centre in column 7: left twice, or lost
    array([ 0.5, -0.5, -0.5])
    """
    raise NotImplementedError
