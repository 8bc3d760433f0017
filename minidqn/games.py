"""Games: any coroutine that draws frames and takes actions, and what an agent must know of it."""

import functools
import importlib
import inspect
import runpy
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidqn.checks import generator, one_line, whole

OWN = {"fruit": "Fruit", "snake": "Snake"}
"""Games of this package: a module each, and the `Game` in it."""


MOST_REWARD = 3e38
"""What float32 holds."""


class GameError(ValueError):
    """A game does what no game may do; the message names the game and the step."""


class Turn(NamedTuple):
    """What a game answers to an action.

    Attributes
    ----------
    frame : ndarray [shape=(C, H, W)]
        What there is to see.
    reward : int or float
        What the action has earned; what comes with the first frame is no action's.
    terminated : bool
        Whether the game has ended. No reward will follow.
    truncated : bool
        Whether it is broken off here, though it would have gone on.
    """

    frame: np.ndarray
    reward: float
    terminated: bool
    truncated: bool

    @property
    def done(self):
        """Whether this is the last turn."""
        return self.terminated or self.truncated


class Game:
    """How an episode of a game begins, what may be sent to it, and the shape of its frames.

    Parameters
    ----------
    episode : callable
        ``episode(rng=rng)`` begins a game and draws all its chances from the Generator. It
        returns a coroutine: ``next`` gives the first turn, and ``send(action)`` each later
        one. A turn is (frame, reward), (frame, reward, terminated) or (frame, reward,
        terminated, truncated). With two, the game ends with the first reward that is not 0.
    actions : iterable of int
        What may be sent; the columns of a network's Q-values are in this order.
    shape : (int, int, int)
        (C, H, W) of every frame.
    name : str, optional
        For messages; the name of `episode` by default.
    max_steps : int
        Actions after which a game that still goes on is an error.
    picture : callable, optional
        From a frame to what is drawn of it, as ``pictures.frame_pixels`` takes it; the frame
        itself by default.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of this kind.

    Examples
    --------
    >>> def count_down(rng=None):
    ...     for left in (2, 1, 0):
    ...         action = yield np.full((1, 1, 1), left), 1, left == 0
    >>> game = Game(count_down, actions=[0], shape=(1, 1, 1))
    >>> ep = game.start()
    >>> next(ep).done, ep.send(0).done, ep.send(0).done
    (False, False, True)
    """

    def __init__(self, episode, actions, shape, name=None, max_steps=100_000, picture=None):
        if not callable(episode):
            raise TypeError(f"episode is {episode!r}; expected a function that begins a game")
        try:
            inspect.signature(episode).bind(rng=None)
        except TypeError as error:
            name, wanted = (
                getattr(episode, "__name__", episode),
                "one that takes rng, as in def game(rng)",
            )
            raise TypeError(f"episode is {name}; expected {wanted}: {error}") from None
        self.episode = episode
        self.name = str(name or getattr(episode, "__name__", type(episode).__name__))
        # The memory keeps them in 32 bits.
        self.actions = tuple(whole("an action", a, -(2**31), most=2**31 - 1) for a in actions)
        if not self.actions or len(set(self.actions)) < len(self.actions):
            raise ValueError(f"actions is {self.actions}; expected different numbers, one or more")
        self.shape = tuple(whole("a length of shape", length) for length in shape)
        if len(self.shape) != 3:
            raise ValueError(f"shape is {self.shape}; expected (C, H, W)")
        self.max_steps = whole("max_steps", max_steps)
        self.picture = picture or np.asarray

    def start(self, rng=None):
        """Begin a game, whose every turn is looked at.

        Parameters
        ----------
        rng : numpy.random.Generator, optional
            What the game draws from; fresh entropy by default.

        Yields
        ------
        Turn
            The first for ``next``, then one for each ``send(action)``.

        Raises
        ------
        GameError
            If the coroutine does what no game may do.
        ValueError
            If an action is none of the game's.
        """
        return self._play(self.episode(rng=generator(rng)))

    def _play(self, episode):
        """The coroutine that `start` returns."""
        if not hasattr(episode, "send"):
            kind = type(episode).__name__
            raise GameError(f"{self.name}: episode returned {kind}; expected yield in it")
        action = None
        for step in range(self.max_steps + 1):
            try:
                turn = self._turn(step, episode.send(action))
            except GameError:
                raise
            except StopIteration:
                raise self._error(step, "it has returned; expected a turn that ends it") from None
            except Exception as error:  # of the game's own code
                path = getattr(getattr(episode, "gi_code", None), "co_filename", "")
                raise self._error(step, _fault(error, path)) from error
            if turn.done and step == 0:
                words = "it ends before any action; with pairs, by a reward that is not 0"
                raise self._error(step, words)
            if turn.done:
                episode.close()
                yield turn
                return
            action = yield turn
            if action not in self.actions:
                raise ValueError(f"action is {action!r}; expected one of {self.actions}")
        raise self._error(step, "it still goes on; expected its end, or a larger max_steps")

    def _turn(self, step, told):
        """What the coroutine yielded as a `Turn`, if it is one."""
        if not isinstance(told, tuple) or not 2 <= len(told) <= 4:
            raise self._error(step, f"it yields {told!r:.80}; expected (frame, reward, terminated)")
        frame, reward, *ends = np.array(told[0]), *told[1:]  # the coroutine may reuse its array
        if frame.shape != self.shape:
            raise self._error(step, f"its frame has shape {frame.shape}; expected {self.shape}")
        with np.errstate(over="ignore"):  # networks compute in float32
            finite = frame.dtype.kind in "fiub" and np.isfinite(frame.astype(np.float32)).all()
        if not finite:
            raise self._error(step, f"its frame holds {frame.dtype}; expected finite float32")
        if isinstance(reward, (bool, np.bool_, np.number)):
            reward = np.add(reward, 0).item()
        if not isinstance(reward, (int, float)) or not abs(reward) <= MOST_REWARD:
            raise self._error(step, f"its reward is {reward!r:.80}; expected a finite number")
        for name, end in zip(("terminated", "truncated"), ends, strict=False):
            if not isinstance(end, (bool, np.bool_)):
                raise self._error(step, f"its {name} is {end!r:.80}; expected a bool")
        terminated, truncated = map(bool, [*ends, False][:2] if ends else [reward != 0, False])
        return Turn(frame, reward, terminated, truncated)

    def _error(self, step, words):
        """What is wrong with the coroutine."""
        return GameError(one_line(f"{self.name}, step {step}: {words}"))


class GridGame(Game):
    """A game of this package on a square grid.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, at least 3.
    episode : callable
        ``episode(grid_size, rng)`` begins a game.
    actions, name, picture
        As for `Game`.
    channels : int
        Of a frame.
    """

    def __init__(self, grid_size, episode, actions, channels, name, picture=None):
        self.grid_size = whole("grid_size", grid_size, 3)
        begin = functools.partial(episode, self.grid_size)
        shape = channels, self.grid_size, self.grid_size
        super().__init__(begin, actions, shape, name, picture=picture)


def _fault(error, path):
    """An exception, and the line of a file that it comes from, as words."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    where = f" in line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{where}: {error}"


def load(name, grid_size=10):
    """The game that a command line names.

    Parameters
    ----------
    name : str
        One of `OWN`; "gym:ID" for a Gymnasium environment; or "my_game.py:game" for a `Game`
        of that name in a file, which is run.
    grid_size : int
        Rows and columns of the grid, for the package's own.

    Returns
    -------
    Game
        The game.

    Raises
    ------
    ValueError
        If there is none of this name, or the file cannot be run.
    ImportError
        If Gymnasium is needed, and not installed.
    """
    if name in OWN:
        return getattr(importlib.import_module(f"minidqn.{name}"), OWN[name])(grid_size)
    kind, colon, rest = name.partition(":")
    if kind == "gym" and colon:
        try:
            return importlib.import_module("minidqn.gym").game(rest)
        except ImportError as error:
            raise ImportError(f"game is {name}; {error}") from error
    path, _, attribute = name.rpartition(":")
    if not Path(path).is_file():
        missing = f"there is no file {path}; " if path else ""
        wanted = f"{', '.join(OWN)}, gym:ID, or a file and a name in it, such as my_game.py:game"
        raise ValueError(f"game is {name}; {missing}expected {wanted}")
    sys.path.insert(0, str(Path(path).resolve().parent))  # as Python does for a script
    try:
        names = runpy.run_path(path)
    except (Exception, SystemExit) as error:  # the file may raise anything
        raise ValueError(f"game is {name}; {_fault(error, path)}") from error
    if not isinstance(names.get(attribute), Game):
        found = [key for key, value in names.items() if isinstance(value, Game)]
        raise ValueError(f"game is {name}; expected a Game of {path}, which has {found}")
    return names[attribute]
