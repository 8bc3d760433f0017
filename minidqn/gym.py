"""Gymnasium both ways: games of this package as environments, and environments as games.

Needs the extra: ``python -m pip install "minidqn[gym]"``. Importing this module registers
``minidqn/Fruit-v0`` and ``minidqn/Snake-v0``.

References
----------
https://gymnasium.farama.org/api/env/
"""

import copy
import importlib
import warnings
from typing import Any

import numpy as np

from minidqn.checks import one_line, whole
from minidqn.games import Game, load
from minidqn.pictures import frame_pixels
from minidqn.play import frame_text

try:
    import gymnasium
except ImportError:
    raise ImportError('Gymnasium is missing: python -m pip install "minidqn[gym]"') from None


class GameEnv(gymnasium.Env):
    """A game as an environment. Action n is the n-th of the game's.

    Parameters
    ----------
    game : Game or str
        The game, whose frames hold numbers from 0 to 1, or its name, as ``games.load`` takes it.
    render_mode : {None, "rgb_array", "ansi"}
        What ``render`` returns: a picture [shape=(height, width, 3)], uint8, or lines of
        text.
    grid_size : int
        As for ``games.load``.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "ansi"], "render_fps": 5}

    def __init__(self, game: Game | str, render_mode: str | None = None, grid_size: int = 10):
        modes = (None, *self.metadata["render_modes"])
        if render_mode not in modes:
            raise ValueError(f"render_mode is {render_mode!r}; expected one of {modes}")
        self.game = load(game, grid_size) if isinstance(game, str) else game
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(0, 1, self.game.shape, np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(self.game.actions))
        self._episode: Any = None
        self._turn: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._episode = self.game.start(self.np_random)
        self._turn = next(self._episode)
        return self._turn.frame.astype(np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        ended = self._turn is None or self._turn.done
        if ended or not self.action_space.contains(action):
            raise ValueError(f"action is {action!r}; expected reset(), then {self.action_space}")
        self._turn = self._episode.send(self.game.actions[action])
        frame, reward, terminated, truncated = self._turn
        return frame.astype(np.float32), float(reward), terminated, truncated, {}

    def render(self) -> np.ndarray | str | None:
        if self.render_mode == "rgb_array":
            return frame_pixels(self.game.picture(self._turn.frame))
        return "\n".join(frame_text(self._turn.frame)) if self.render_mode else None


gymnasium.register("minidqn/Fruit-v0", "minidqn.gym:GameEnv", kwargs={"game": "fruit"})
gymnasium.register("minidqn/Snake-v0", "minidqn.gym:GameEnv", kwargs={"game": "snake"})


def game(env: str | gymnasium.Env, max_steps: int = 10_000) -> Game:
    """A game of an environment, or of any number of them that are alike.

    Frames are float32: bools as 0 and 1, whole numbers over the greatest that the space
    has. Channels are the shorter one of the first and the last axis.

    Parameters
    ----------
    env : str or gymnasium.Env
        Its id, such as "MinAtar/Breakout-v1", or one of which copies can be made.
    max_steps : int
        Steps after which a game is truncated, if the environment has no limit itself.

    Returns
    -------
    Game
        With the actions of the environment.

    Raises
    ------
    ValueError
        If there is no such environment, its observations are no images, or its actions are
        not `Discrete`.
    """
    max_steps = whole("max_steps", max_steps)
    made = _make(env) if isinstance(env, str) else env
    name = str(env)
    space, actions = made.observation_space, made.action_space
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) not in (2, 3):
        raise ValueError(f"game is gym:{name}; its observations are {space}; expected images")
    if not isinstance(actions, gymnasium.spaces.Discrete):
        raise ValueError(f"game is gym:{name}; its actions are {actions}; expected Discrete")
    shape = space.shape if len(space.shape) == 3 else (*space.shape, 1)
    channels = -1 if shape[-1] <= shape[0] else 0  # their axis
    scale = np.float32(1 if space.dtype.kind == "f" else 1 / max(int(space.high.max()), 1))

    def frame_of(observation):
        frame = np.array(observation, np.float32) * scale
        return np.moveaxis(frame.reshape(shape), channels, 0)

    def episode(rng):
        # A new one for each game: some keep more past reset() than the seed says.
        fresh = _make(env) if isinstance(env, str) else copy.deepcopy(env)
        try:
            observation, _ = fresh.reset(seed=int(rng.integers(2**31)))
            action = yield frame_of(observation), 0, False, False
            for step in range(1, max_steps + 1):
                observation, reward, terminated, truncated, _ = fresh.step(action)
                truncated = bool(truncated) or step == max_steps
                action = yield frame_of(observation), reward, bool(terminated), truncated
        finally:
            fresh.close()

    sent = actions.start + np.arange(actions.n)  # a Discrete need not begin at 0
    return Game(episode, sent, frame_of(np.zeros(shape)).shape, name, max_steps)


def _make(name):
    """An environment by its id."""
    if name.startswith("MinAtar/") and name not in gymnasium.registry:
        try:
            importlib.import_module("minatar.gym").register_envs()
        except ImportError:
            raise ImportError("MinAtar is missing: python -m pip install minatar") from None
    try:
        with warnings.catch_warnings():  # a version that is asked for may be an old one
            warnings.simplefilter("ignore", DeprecationWarning)
            return gymnasium.make(name)
    except gymnasium.error.Error as error:
        raise ValueError(f"game is gym:{name}; {one_line(error, 300)}") from error
