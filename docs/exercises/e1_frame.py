"""Exercise 1: a frame of the game.

Chapter 1, The game is a coroutine (docs/1-game.md). About 5 minutes.

What the network sees is a frame: a grid of G rows and G columns, of zeros with
ones for the fruit (one pixel, anywhere) and the basket (three pixels next to
each other on the last row). Write the function that draws it.

A frame is an image of one channel, with the channels first, so that its shape is
(1, G, G) and not (G, G); its dtype is float32.

To check your answer, in its folder: python -m minidqn.exercises check 1
"""

import numpy as np


def draw(grid_size, fruit_row, fruit_column, basket):
    """One frame.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, G, at least 3.
    fruit_row, fruit_column : int
        Where the fruit is, from 0 to G - 1.
    basket : int
        Column of the basket's centre, from 1 to G - 2.

    Returns
    -------
    ndarray [shape=(1, G, G)]
        A new frame, float32 zeros and ones.

    Examples
    --------
    >>> print(draw(grid_size=5, fruit_row=1, fruit_column=0, basket=3)[0].astype(int))
    [[0 0 0 0 0]
     [1 0 0 0 0]
     [0 0 0 0 0]
     [0 0 0 0 0]
     [0 0 1 1 1]]
    """
    raise NotImplementedError
