"""Exercise 12: a game of your own, the cliff.

Chapter 1, The game is a coroutine (docs/1-game.md). About 25 minutes.

A walker crosses a grid of 5 rows and 6 columns, above a cliff (after Sutton & Barto,
2018, example 6.6). In row 4, the lowest, are the cliff, columns 1 to 4, and the
goal, column 5; row 0 is the highest.

    . . . . . .
    . . W . . .        W: the walker
    . . . . . .        C: the cliff
    . . . . . .        G: the goal
    . C C C C G

Write the game as a coroutine. Every turn yields (frame, reward, done), and the value
of that yield is the next action.

- frame: a new float32 array of shape (3, 5, 6), zeros but for ones at the walker in
  channel 0, at the cliff in channel 1, at the goal in channel 2. A frame that was
  yielded belongs to the player: never change it again.
- The start is any of the 25 cells that are neither cliff nor goal. Count them row
  by row from the upper left, 0 to 24: rng.integers(25) draws one. Draw this single
  number and nothing else.
- Actions are 0 (up), 1 (right), 2 (down) and 3 (left), by one cell; at a wall a
  step leads nowhere.
- A step onto the cliff earns -1, onto the goal 1, and both end the game; any other
  step earns -0.01, also one that leads nowhere. The first turn, before any step,
  has the reward 0.
- The 30th step ends the game wherever it leads.
- done is True in the turn that ends the game, which shows where the walker has come
  to, and False before.

To train a network on it, add these lines at the end of the file,

    from minidqn.games import Game

    game = Game(episode, actions=range(4), shape=(3, 5, 6))

and say, in its folder:

    python -m minidqn.train --game e12_cliff.py:game --epochs 300 --out runs/cliff
    python -m minidqn.play runs/cliff --game e12_cliff.py:game --watch

To check your answer, in its folder: python -m minidqn.exercises check 12
"""

import numpy as np


def episode(rng):
    """One game.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the start is drawn from.

    Yields
    ------
    frame : ndarray [shape=(3, 5, 6)]
        Walker, cliff and goal, float32.
    reward : float
        What the last action has earned.
    done : bool
        Whether the game is over.

    Examples
    --------
    >>> ep = episode(np.random.default_rng(2))  # begins in cell 20: row 3, column 2
    >>> frame, reward, done = next(ep)
    >>> print(frame[0].astype(int), reward, done)
    [[0 0 0 0 0 0]
     [0 0 0 0 0 0]
     [0 0 0 0 0 0]
     [0 0 1 0 0 0]
     [0 0 0 0 0 0]] 0 False
    >>> frame, reward, done = ep.send(2)  # down
    >>> print(frame[0, 4].astype(int), reward, done)
    [0 0 1 0 0 0] -1 True
    """
    raise NotImplementedError
