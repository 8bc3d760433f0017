"""Gymnasium both ways; skipped where it is not installed."""

import warnings

import numpy as np
import pytest

from minidqn.games import load
from minidqn.snake import Snake
from minidqn.train import train
from tests.commands import process

gymnasium = pytest.importorskip("gymnasium")
from gymnasium.utils.env_checker import check_env  # noqa: E402

import minidqn.gym  # noqa: E402

OURS = ["minidqn/Fruit-v0", "minidqn/Snake-v0"]


@pytest.mark.parametrize("name", OURS)
def test_the_checker_has_nothing_to_say(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(name).unwrapped)


@pytest.mark.parametrize("name", OURS)
def test_a_seed_gives_the_same_games(name):
    """Also the games after the first, and in an environment of vectors."""
    one, other = (gymnasium.make(name, grid_size=6) for _ in range(2))
    vector = gymnasium.make_vec(name, 3, grid_size=6)
    frames, _ = vector.reset(seed=7)
    for env in one, other:
        env.reset(seed=7)
    np.testing.assert_array_equal(frames[0], one.unwrapped._turn.frame)
    for game in range(4):
        (S, _), (same, _) = (env.reset(seed=None if game else 7) for env in (one, other))
        done = False
        while not done:
            np.testing.assert_array_equal(S, same)
            action = one.action_space.sample()
            S, reward, *ends, _ = one.step(action)
            same, *rest = other.step(action)
            assert [reward, *ends] == rest[:3]
            done = any(ends)


def test_rendering():
    env = gymnasium.make("minidqn/Fruit-v0", render_mode="rgb_array")
    with pytest.raises(ValueError, match=r"action is 0; expected reset\(\)"):
        env.unwrapped.step(0)
    env.reset(seed=0)
    assert env.render().shape == (240, 240, 3)
    env = gymnasium.make("minidqn/Snake-v0", render_mode="ansi", grid_size=4)
    env.reset(seed=0)
    assert [len(line) for line in env.render().splitlines()] == [8] * 4


def test_there_and_back():
    """Snake as an environment as a game is Snake, with the seeds that Gymnasium draws."""
    game = minidqn.gym.game(gymnasium.make("minidqn/Snake-v0", grid_size=5))
    assert (game.actions, game.shape) == ((0, 1, 2, 3), (3, 5, 5))
    rng = np.random.default_rng(3)
    for _ in range(5):
        seed = int(np.random.default_rng(rng.bit_generator.seed_seq).integers(2**31))
        ours = Snake(5).start(gymnasium.utils.seeding.np_random(seed)[0])
        theirs = game.start(np.random.default_rng(rng.bit_generator.seed_seq))
        turns = next(ours), next(theirs)
        while not turns[0].done:
            np.testing.assert_array_equal(turns[0].frame, turns[1].frame)
            action = int(rng.integers(4))
            turns = ours.send(action), theirs.send(action)
            assert turns[0][1:] == turns[1][1:]


class Picture(gymnasium.Env):
    """An environment of a given space, which never ends."""

    def __init__(self, space):
        self.observation_space, self.action_space = space, gymnasium.spaces.Discrete(2, start=5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full(self.observation_space.shape, 51, self.observation_space.dtype), {}

    def step(self, action):
        assert action in (5, 6)
        return self.reset()[0], 1, False, False, {}


@pytest.mark.parametrize(
    ("shape", "dtype", "high", "wanted", "value"),
    [
        ((4, 5), np.uint8, 255, (1, 4, 5), 0.2),
        ((4, 5, 3), np.uint8, 255, (3, 4, 5), 0.2),
        ((2, 4, 5), np.float32, 99, (2, 4, 5), 51),
        ((4, 4, 4), bool, 1, (4, 4, 4), 1),
    ],
)
def test_observations_of_all_kinds(shape, dtype, high, wanted, value):
    """And a game without a limit is truncated, not ended."""
    game = minidqn.gym.game(Picture(gymnasium.spaces.Box(0, high, shape, dtype)), max_steps=3)
    assert (game.actions, game.shape) == ((5, 6), wanted)
    ep, together = game.start(), game.start()  # two at the same time
    turn = next(ep)
    assert turn.frame.dtype == np.float32
    np.testing.assert_allclose(turn.frame, value)
    next(together)
    turns = [ep.send(6) for _ in range(3)]
    assert [turn[1:] for turn in turns] == [(1, False, False)] * 2 + [(1, False, True)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gym:CartPole-v1", r"game is gym:CartPole-v1; its observations are Box.*expected images"),
        ("gym:NoSuchGame-v3", "game is gym:NoSuchGame-v3; .*NoSuchGame"),
        ("gym:", "game is gym:; "),
    ],
)
def test_what_is_no_game(name, words):
    with pytest.raises(ValueError, match=words) as raised:
        load(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"])
def test_minatar(name):
    """Real environments, of others."""
    pytest.importorskip("minatar")
    flags = {"epochs": 3, "batch_size": 8, "eval_every": 100, "units": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        game = load(f"gym:MinAtar/{name}-v1")
        assert game.shape[1:] == (10, 10)
        _, records = train(minidqn.gym.game(f"MinAtar/{name}-v1", max_steps=60), **flags)
    assert records[-1].updates > 0


class Sticky(gymnasium.Env):
    """What it was sent last stays past reset(), as in MinAtar, and is seen in the next game."""

    observation_space = gymnasium.spaces.Box(0, 9, (3, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)
    last = 0

    def reset(self, seed=None, options=None):
        return np.full((3, 3), self.last, np.uint8), {}

    def step(self, action):
        self.last = action
        return np.full((3, 3), action, np.uint8), 1.0, True, False, {}


def test_a_game_knows_nothing_of_the_one_before():
    """Else a run that goes on would differ from one that was never stopped."""
    game = minidqn.gym.game(Sticky())
    for _ in range(2):
        ep = game.start(np.random.default_rng(0))
        assert next(ep).frame.max() == 0
        assert ep.send(1).terminated


KILLED = """
import os, sys
from minidqn import cli, command
show = cli.Progress.show
cli.Progress.show = lambda self, record: os._exit(9) if record.epoch == 7 else show(self, record)
command.main(sys.argv[1:])
"""


def test_a_killed_run_of_minatar_ends_with_the_same_bytes(tmp_path):
    """With its target network, schedules, and memory that has begun to forget."""
    pytest.importorskip("minatar")
    game = ["--game", "gym:MinAtar/Breakout-v0", "--no-images"]
    flags = ["--preset", "minatar", "--epochs", 15, "--learning-starts", 33, "--capacity", 36]
    flags += ["--target-update-interval", 20, "--exploration-steps", 50, *game]
    flags += ["--final-learning-rate", 1e-5, "--checkpoint-every", 3, "--out"]
    assert process("-m", "minidqn.train", *flags, tmp_path / "whole")[0] == 0
    assert process("-c", KILLED, *flags, tmp_path / "killed")[0] == 9
    status, said, _ = process("-m", "minidqn.train", *game, "--resume", tmp_path / "killed")
    assert status == 0
    assert said.startswith("going on after epoch 6 of 15")
    one, other = (tmp_path / name / "weights.npz" for name in ("whole", "killed"))
    assert one.read_bytes() == other.read_bytes()
