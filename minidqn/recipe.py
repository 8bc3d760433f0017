"""The recipe of the network."""

from collections.abc import Sequence

import numpy as np

from minidqn.fruit import Fruit
from minidqn.games import Game
from minidqn.nn import Conv2D, Dense, Flatten, Sequential, optimizers

MOST_WEIGHTS = 2**40
"""Weights of a network, at most: 4 TB."""


def q_network(
    grid_size: int = 10, rng: np.random.Generator | None = None, learning_rate: float = 0.001,
    engine: str = "auto", game: Game | None = None, filters: Sequence[int] = (16, 16),
    kernel_size: int = 3, units: int = 100, optimizer: str = "rmsprop", loss: str = "mse",
) -> Sequential:  # fmt: skip
    """The recipe: convolutions, two dense layers, RMSprop, mean squared error.

    Parameters
    ----------
    grid_size : int
        Of Fruit, if no `game` is given: rows and columns of the grid.
    rng : numpy.random.Generator, optional
        Draws the first weights; fresh entropy by default.
    learning_rate : float
        The optimizer's.
    engine : str
        What computes; see ``Sequential.compile``.
    game : Game, optional
        What it plays; Fruit by default.
    filters : sequence of int
        Of each convolution.
    kernel_size : int
        Rows and columns of their filters, in pixels.
    units : int
        Of the first dense layer.
    optimizer, loss : str
        As ``optimizers.get`` and ``losses.get`` take them.

    Returns
    -------
    Sequential
        Compiled; from (N, C, H, W) to Q(S, a) [shape=(N, A)] for the actions of the game.
        60,483 weights for Fruit with its grid size of 10.
    """
    game = game or Fruit(grid_size)
    model, shape, least = Sequential(rng=rng), game.shape, len(filters) * (kernel_size - 1) + 1
    if min(shape[1:]) < least:
        why = f"for {len(filters)} convolutions of {kernel_size} x {kernel_size}"
        wanted = f"expected at least {least} x {least} {why}"
        raise ValueError(f"frames of {game.name} are {shape[1]} x {shape[2]}; {wanted}")
    if count_weights(game, filters, kernel_size, units) > MOST_WEIGHTS:
        raise MemoryError(f"a network for frames of {shape} is too large")
    for count in filters:
        model.add(Conv2D(count, kernel_size, activation="relu", input_shape=shape))
        shape = None
    model.add(Flatten(input_shape=shape))
    model.add(Dense(units, activation="relu"))
    model.add(Dense(len(game.actions)))
    model.compile(optimizers.get(optimizer, learning_rate), loss, engine)
    return model


def count_weights(
    game: Game, filters: Sequence[int] = (16, 16), kernel_size: int = 3, units: int = 100
) -> int:
    """How many weights such a network has, without making it.

    Parameters
    ----------
    game, filters, kernel_size, units
        As for `q_network`.

    Returns
    -------
    int
        60,483 for Fruit with its grid size of 10.
    """
    channels, height, width = game.shape
    weights = 0
    for count in filters:
        weights += (kernel_size**2 * channels + 1) * count
        channels, height, width = count, height - kernel_size + 1, width - kernel_size + 1
    inputs = channels * max(height, 0) * max(width, 0)
    return weights + (inputs + 1) * units + (units + 1) * len(game.actions)
