"""The game of Snake: eat, grow, and run into neither a wall nor yourself.

A frame has three channels: the body, the head and the food. Food is worth 1. A crash costs
1 and ends the game, and so does a full grid, which costs nothing. A snake that goes round
without eating for as many steps as the grid has cells is taken off: the game is truncated.
"""

import functools
import itertools

import numpy as np

from minidqn.checks import generator, whole
from minidqn.games import Episode, Game

ACTIONS = (0, 1, 2, 3)
"""Up, right, down, left."""

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""What each action adds to the row and the column of the head."""


class Snake(Game):
    """This game as a `Game`.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, at least 3.
    """

    def __init__(self, grid_size: int = 10):
        grid_size = whole("grid_size", grid_size, 3)
        begin, shape = functools.partial(episode, grid_size), (3, grid_size, grid_size)
        super().__init__(begin, ACTIONS, shape, "snake")


def episode(grid_size: int = 10, rng: np.random.Generator | None = None) -> Episode:
    """One game, as a coroutine.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, G.
    rng : numpy.random.Generator, optional
        Draws where the snake starts, one cell long, and where food appears.

    Yields
    ------
    S : ndarray [shape=(3, G, G)]
        A new frame, float32 zeros and ones.
    reward : int
        1 for food, -1 for a crash, else 0.
    terminated, truncated : bool
        Whether the game has ended, and whether it is broken off.
    """
    rng = generator(rng)
    cells = set(itertools.product(range(grid_size), repeat=2))
    snake, food = map(tuple, rng.permutation(sorted(cells))[:2].tolist())
    snake, reward, crashed, hungry = [snake], 0, False, 0
    while True:
        frame = np.zeros((3, grid_size, grid_size), np.float32)
        for channel, places in enumerate((snake[1:], snake[:1], [food] if food else [])):
            for row, column in places:
                frame[channel, row, column] = 1
        action = yield frame, reward, crashed or not food, hungry == grid_size**2
        head = tuple(np.add(snake[0], MOVES[action]).tolist())
        crashed = head not in cells or head in snake[:-1]
        reward, hungry = -crashed, hungry + 1
        if head == food:
            reward, hungry, snake = 1, 0, [head, *snake]
            free = sorted(cells.difference(snake))
            food = free[rng.integers(len(free))] if free else None
        elif not crashed:
            snake = [head, *snake[:-1]]
