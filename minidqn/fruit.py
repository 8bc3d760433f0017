"""The game: catch a falling fruit with a basket.

A frame is a grid of zeros with ones for the fruit (one pixel) and the basket
(three pixels on the last row). Each step the basket moves one column or stays,
and the fruit falls one row. The game ends when the fruit reaches the row above
the basket: reward +1 if the fruit is over the basket, else -1. Every earlier
reward is 0, so a reward that is not 0 marks the last frame and nothing else
does.
"""

import functools
import itertools
from collections.abc import Callable

import numpy as np

from minidqn.checks import generator, whole
from minidqn.games import Episode, Game

ACTIONS = (-1, 0, 1)
"""Left, stay, right: columns that the basket moves in one step."""

LEAST_GRID = 3
"""Rows and columns of the smallest grid: the basket's width."""


class Fruit(Game):
    """This game as a `Game`, of which everything is known: wins and Q* are exact.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, at least 3.
    """

    def __init__(self, grid_size: int = 10):
        self.grid_size = whole("grid_size", grid_size, LEAST_GRID)
        begin, shape = functools.partial(episode, grid_size), (1, grid_size, grid_size)
        super().__init__(begin, ACTIONS, shape, "fruit", picture=_picture)


def _picture(frame):
    """A frame with the basket in a channel of its own, and so in a colour of its own."""
    layers = np.concatenate([frame, frame])
    layers[0, -1] = layers[1, :-1] = 0
    return layers


def starts(grid_size: int = 10) -> list[tuple[int, int]]:
    """Every way in which a game can start.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, at least 3.

    Returns
    -------
    list of (int, int)
        All G * (G - 2) pairs (fruit_column, basket), the basket given by the
        column of its centre: 80 at G = 10. All can be won.
    """
    grid_size = whole("grid_size", grid_size, LEAST_GRID)
    return list(itertools.product(range(grid_size), range(1, grid_size - 1)))


def draw(grid_size: int, fruit_row: int, fruit_column: int, basket: int) -> np.ndarray:
    """One frame.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, G.
    fruit_row, fruit_column : int
        Where the fruit is.
    basket : int
        Column of the basket's centre, from 1 to G - 2.

    Returns
    -------
    ndarray [shape=(1, G, G)]
        A new frame, float32 zeros and ones.
    """
    frame = np.zeros((1, grid_size, grid_size), np.float32)
    frame[0, fruit_row, fruit_column] = 1
    frame[0, -1, basket - 1 : basket + 2] = 1
    return frame


def episode(
    grid_size: int = 10,
    rng: np.random.Generator | None = None,
    start: tuple[int, int] | None = None,
    draw: Callable[..., np.ndarray] = draw,
) -> Episode:
    """One game, as a coroutine.

    ``S, reward = next(ep)`` draws the first frame, ``S, reward = ep.send(action)``
    plays one step, and after the last frame ``send`` raises StopIteration.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, G, at least 3.
    rng : numpy.random.Generator, optional
        Draws the start: fruit column uniform in [0, G), basket centre uniform in
        [1, G - 1). Fresh entropy by default.
    start : (int, int), optional
        The start itself, (fruit_column, basket); then nothing is drawn at random.
    draw : callable
        Makes a frame; called as `draw` of this module is.

    Yields
    ------
    S : ndarray [shape=(1, G, G)]
        A new frame, float32 zeros and ones. A game has G - 1 frames.
    reward : int
        0 while the fruit falls; +1 (caught) or -1 (missed) with the last frame.

    Examples
    --------
    >>> ep = episode(grid_size=5, start=(0, 3))
    >>> S, reward = next(ep)
    >>> while reward == 0:
    ...     S, reward = ep.send(-1)
    >>> print(S[0].astype(int), reward)
    [[0 0 0 0 0]
     [0 0 0 0 0]
     [0 0 0 0 0]
     [1 0 0 0 0]
     [1 1 1 0 0]] 1
    """
    grid_size = whole("grid_size", grid_size, LEAST_GRID)
    if start is None:
        rng = generator(rng)
        start = int(rng.integers(0, grid_size)), int(rng.integers(1, grid_size - 1))
    wanted = f"(fruit_column, basket) in [0, {grid_size - 1}] and [1, {grid_size - 2}]"
    if np.shape(start) != (2,):
        raise ValueError(f"start is {start!r}; expected {wanted}")
    fruit_column, basket = (whole("start", place, least=0) for place in start)
    if fruit_column >= grid_size or not 1 <= basket <= grid_size - 2:
        raise ValueError(f"start is {start!r}; expected {wanted}")
    return _fall(grid_size, fruit_column, basket, draw)


def _fall(grid_size, fruit_column, basket, draw):
    """The coroutine that `episode` returns."""
    for fruit_row in range(grid_size - 1):
        reward = 0
        if fruit_row == grid_size - 2:
            reward = 1 if abs(fruit_column - basket) <= 1 else -1
        action = yield draw(grid_size, fruit_row, fruit_column, basket), reward
        basket = min(max(basket + whole("action", action, -1, most=1), 1), grid_size - 2)
