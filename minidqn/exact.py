"""The exact action values of the game, by backward induction."""

import numpy as np

from minidqn.checks import number
from minidqn.fruit import ACTIONS, starts


def q_star(grid_size: int = 10, gamma: float = 0.8) -> np.ndarray:
    """Q*, the return of each action in each state when all later actions are the best.

    The game is deterministic and every step takes the fruit one row down, so one
    sweep from the last row up solves Bellman's optimality equation:

    ``Q*(row, fruit, basket, a) = reward`` where the step ends the game, else
    ``gamma * max over a' of Q*(row + 1, fruit, basket', a')``

    with ``basket'`` the basket after action a.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, G, at least 3.
    gamma : float
        Discount factor, in [0, 1).

    Returns
    -------
    ndarray [shape=(G - 2, G, G - 2, 3)], float64
        Axes: the fruit's row (0 to G - 3, the rows where a game goes on), the
        fruit's column (0 to G - 1), the basket's centre less one (centres 1 to
        G - 2), and the action plus one (-1, 0, 1).

    References
    ----------
    Sutton & Barto (2018), equation 3.20.

    Examples
    --------
    >>> q = q_star(grid_size=10)
    >>> q[7, 4, 4]  # one row to go, the fruit in column 4, the basket's centre in column 5
    array([ 1.,  1., -1.])
    """
    number("gamma", gamma, "[0, 1)")
    # The last column of every pair is the basket's centre; starts checks grid_size.
    fruit, basket = np.array(starts(grid_size)).T.reshape(2, grid_size, grid_size - 2)
    moved = [np.clip(basket + action, 1, grid_size - 2) for action in ACTIONS]
    q = np.empty((grid_size - 2, grid_size, grid_size - 2, len(ACTIONS)))
    for action, basket_after in enumerate(moved):
        q[-1, ..., action] = np.where(abs(fruit - basket_after) <= 1, 1, -1)
    for row in reversed(range(grid_size - 3)):
        value = q[row + 1].max(axis=-1)
        for action, basket_after in enumerate(moved):
            q[row, ..., action] = gamma * value[fruit, basket_after - 1]
    return q
