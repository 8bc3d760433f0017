"""Games: any coroutine that draws frames and takes actions, and what an agent must know of it."""

import importlib
import inspect
import runpy
import sys
import traceback
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidqn.checks import generator, one_line, whole

OWN = {"fruit": "Fruit", "snake": "Snake"}
"""Games of this package: a module each, and the `Game` in it."""

MOST = 3e38
"""The greatest number of a frame, and the greatest reward: networks compute in float32."""

Episode = Generator[tuple, int, None]
"""A game as it is played, a coroutine: it yields turns, each a tuple, and is sent actions."""


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
    def done(self) -> bool:
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

    def __init__(
        self,
        episode: Callable[..., Episode],
        actions: Iterable[int],
        shape: tuple[int, int, int],
        name: str | None = None,
        max_steps: int = 100_000,
        picture: Callable | None = None,
    ):
        self.name = str(name or getattr(episode, "__name__", type(episode).__name__))
        try:
            inspect.signature(episode).bind(rng=None)
        except TypeError as error:  # it is no function, or one of other parameters
            wanted = "one that takes rng, as in def game(rng)"
            raise TypeError(f"episode is {episode!r}; expected {wanted}: {error}") from None
        self.episode = episode
        # The memory keeps them in 32 bits.
        self.actions = tuple(whole("an action", a, -(2**31), most=2**31 - 1) for a in actions)
        if not self.actions or len(set(self.actions)) < len(self.actions):
            raise ValueError(f"actions is {self.actions}; expected different numbers, one or more")
        self.shape = tuple(whole("a length of shape", length) for length in shape)
        if len(self.shape) != 3:
            raise ValueError(f"shape is {self.shape}; expected (C, H, W)")
        self.max_steps = whole("max_steps", max_steps)
        self.picture = picture or np.asarray

    def start(self, rng: np.random.Generator | None = None) -> Generator[Turn, int, None]:
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
        if not hasattr(episode, "send") or not hasattr(episode, "close"):
            kind = type(episode).__name__
            raise GameError(f"{self.name}: episode returned {kind}; expected yield in it")
        path = getattr(getattr(episode, "gi_code", None), "co_filename", "")
        action = None
        for step in range(self.max_steps + 1):
            try:
                turn = self._turn(episode.send(action))
                if turn.done and step == 0:
                    words = "it ends before any action; with pairs, by a reward that is not 0"
                    raise GameError(words)
                if not turn.done and step == self.max_steps:
                    raise GameError("it still goes on; expected its end, or a larger max_steps")
                if turn.done:
                    episode.close()
            except Exception as error:  # of its turn, or of the game's own code
                words = _fault(error, path)
                raise GameError(one_line(f"{self.name}, step {step}: {words}")) from error
            if turn.done:
                yield turn
                return
            action = yield turn
            if action not in self.actions:
                raise ValueError(f"action is {action!r}; expected one of {self.actions}")

    def _turn(self, told):
        """What the coroutine yielded as a `Turn`, if it is one."""
        if not isinstance(told, tuple) or not 2 <= len(told) <= 4:
            raise GameError(f"it yields {told!r:.80}; expected (frame, reward, terminated)")
        frame, (reward, *ends) = np.array(told[0]), told[1:]  # the coroutine may reuse its array
        if frame.shape != self.shape:
            raise GameError(f"its frame has shape {frame.shape}; expected {self.shape}")
        if frame.dtype.kind not in "fiub":
            raise GameError(f"its frame holds {frame.dtype}; expected numbers")
        if not (greatest := float(np.abs(frame).max())) <= MOST:
            raise GameError(f"its frame holds {greatest}; expected finite float32")
        if isinstance(reward, (bool, np.bool_, np.number)):
            reward = np.add(reward, 0).item()
        if not isinstance(reward, (int, float)) or not abs(reward) <= MOST:
            raise GameError(f"its reward is {reward!r:.80}; expected a finite number")
        terminated, truncated = [*ends, False][:2] if ends else [reward != 0, False]
        for name, end in ("terminated", terminated), ("truncated", truncated):
            if not isinstance(end, (bool, np.bool_)):
                raise GameError(f"its {name} is {end!r:.80}; expected a bool")
        return Turn(frame, reward, bool(terminated), bool(truncated))


def _fault(error, path):
    """What a coroutine did wrong, and the line of a file that an exception comes from."""
    if isinstance(error, GameError):
        return error
    if isinstance(error, StopIteration):
        return "it has returned; expected a turn that ends it"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    where = f" in line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{where}: {error}"


def load(name: str, grid_size: int = 10) -> Game:
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
    if name.startswith("gym:"):
        try:
            return importlib.import_module("minidqn.gym").game(name.removeprefix("gym:"))
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
