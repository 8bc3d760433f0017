"""The cliff, as exercise 12 is checked: the game, and one turn of a learner's."""

import copy
import inspect
import itertools
import types
from collections.abc import Callable, Generator, Sequence

import numpy as np

from minidqn.exercises.answers import Fault, FaultError, are_numbers, close, what_is

ROWS, COLUMNS, LIMIT = 5, 6, 30

MOVES = (-1, 0), (0, 1), (1, 0), (0, -1)
"""Rows and columns that an action leads on by: up, right, down, left."""


def start(rng: np.random.Generator) -> tuple[int, int]:
    """The cell where a walker begins: neither cliff nor goal.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where it is drawn from.

    Returns
    -------
    row, column : int
        From 0.
    """
    return divmod(int(rng.integers(ROWS * COLUMNS - COLUMNS + 1)), COLUMNS)


def stop(place: int, length: int) -> int:
    """Where a step leads if there are walls.

    Parameters
    ----------
    place : int
        The row, or column, that it would lead to without them.
    length : int
        How many rows, or columns, there are.

    Returns
    -------
    int
        From 0 to length - 1.
    """
    return min(max(place, 0), length - 1)


def cliff(
    rng: np.random.Generator,
    start: Callable = start,
    moves: Sequence = MOVES,
    stop: Callable = stop,
    trail: bool = False,
) -> Generator[tuple, int, None]:
    """The game, or one that is wrong in a way of its own.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the start is drawn from.
    start, moves, stop : callable, tuple, callable
        Where the walker begins, and where steps lead.
    trail : bool
        Whether it is still seen where it was.

    Yields
    ------
    frame, reward, done : ndarray [shape=(3, ROWS, COLUMNS)], float, bool
        A turn, for each action that is sent.
    """
    place, reward, done = start(rng), 0.0, False
    frame = np.zeros((3, ROWS, COLUMNS), np.float32)
    for steps in itertools.count(1):
        frame = frame * trail
        frame[(0, *place)] = frame[1, -1, 1:-1] = frame[2, -1, -1] = 1
        action = yield frame, reward, done
        place = tuple(map(stop, np.add(place, moves[action]).tolist(), (ROWS, COLUMNS)))
        reward, done = -0.01, steps == LIMIT
        if place[0] == ROWS - 1 and place[1] > 0:
            reward, done = 1.0 if place[1] == COLUMNS - 1 else -1.0, True


def play(episode: Callable, rng: np.random.Generator, actions: np.ndarray) -> tuple:
    """The last turn of a game in which some actions are taken.

    Parameters
    ----------
    episode : callable
        A learner's coroutine, or ``cliff``.
    rng : numpy.random.Generator
        What the game draws from a copy of.
    actions : ndarray of int [shape=(T,)]
        What is sent to it.

    Returns
    -------
    frame, reward, done : object
        The turn; a reward that is a number of any kind is a float.

    Raises
    ------
    FaultError
        If there is no such turn, or an earlier one says that the coroutine is wrong.
    """
    *_, (frame, reward, done) = _turns(episode, rng, actions)
    if len(actions) == 0 and are_numbers(frame):
        again = [turn[0] for _ in range(5) for turn in _turns(episode, rng, actions)]
        if not all(close(other, frame) for other in again):
            _refuse(
                "The same rng in the same state gave two different first frames.",
                "something else than rng is drawn from: rng has methods of its own that draw.",
            )
    if type(done) not in (bool, np.bool_):
        _refuse(f"done is {what_is(done)}; expected True or False.")
    if are_numbers(reward) and np.ndim(reward) == 0:
        reward = float(reward)
    return frame, reward, done


def _turns(episode, rng, actions):
    """All turns of a game, each looked at before the next action is sent."""
    ep = episode(rng=copy.deepcopy(rng))
    if inspect.iscoroutine(ep):
        ep.close()  # else Python warns that nobody awaited it
    if type(ep) is not types.GeneratorType:
        _refuse(
            f"episode(rng) is {what_is(ep)}; expected a coroutine that takes actions.",
            "with a yield in it, and no async before the def, a function is such a coroutine.",
        )
    frame = before = None
    for number, action in enumerate([None, *actions.tolist()]):
        try:
            turn = ep.send(action)
        except StopIteration:
            _refuse(
                f"The coroutine returned after {number} turns; expected one more.",
                "every action is answered by a yield, up to the one that says done.",
            )
        if type(turn) is not tuple or len(turn) != 3:
            _refuse(f"It yielded {what_is(turn)}; expected 3 things: frame, reward and done.")
        if before is not None and not np.array_equal(frame, before):
            _refuse(
                f"The frame of turn {number - 1} is another one after turn {number}.",
                "each turn needs an array of its own, made inside the loop.",
            )
        frame = turn[0]
        before = np.array(frame) if are_numbers(frame) else None
        yield turn
    ep.close()


def _refuse(words, hint=""):
    raise FaultError(Fault(words, hint=hint))
