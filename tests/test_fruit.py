"""The game's rules, over every start and whatever the player does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.fruit import ACTIONS, episode, starts


@st.composite
def games(draw):
    grid_size = draw(st.integers(3, 12))
    start = draw(st.sampled_from(starts(grid_size)))
    actions = draw(st.lists(st.sampled_from(ACTIONS), min_size=grid_size, max_size=grid_size))
    return grid_size, start, actions


@given(games())
def test_the_rules(game):
    grid_size, (fruit, basket), actions = game
    ep = episode(grid_size, start=(fruit, basket))
    frame, reward = next(ep)
    for row in range(grid_size - 1):  # G - 2 transitions
        assert frame.shape == (1, grid_size, grid_size)
        assert frame.dtype == np.float32
        expected = np.zeros_like(frame)
        expected[0, row, fruit] = 1
        expected[0, grid_size - 1, [basket - 1, basket, basket + 1]] = 1
        np.testing.assert_array_equal(frame, expected)
        if row < grid_size - 2:
            assert reward == 0
            basket = min(max(basket + actions[row], 1), grid_size - 2)
            frame, reward = ep.send(actions[row])
    with pytest.raises(StopIteration):
        ep.send(0)
    assert reward == (1 if fruit in (basket - 1, basket, basket + 1) else -1)


def test_80_starts_and_all_are_drawn(rng):
    seen = set()
    for _ in range(2000):
        frame, _ = next(episode(10, rng))
        fruit = int(np.argmax(frame[0, 0]))
        basket = int(np.argmax(frame[0, 9])) + 1
        seen.add((fruit, basket))
    assert seen == set(starts(10))
    assert len(seen) == 80


def test_a_given_start_draws_nothing(rng):
    before = rng.bit_generator.state
    next(episode(10, rng, start=(3, 4)))
    assert rng.bit_generator.state == before


def test_frames_are_new_each_time():
    ep = episode(5, start=(0, 1))
    frame, _ = next(ep)
    frame[:] = 7
    assert ep.send(0)[0].max() == 1


def test_coroutine_manners():
    with pytest.raises(TypeError, match="just-started"):
        episode(5).send(0)
    closed = episode(5)
    next(closed)
    closed.close()
    with pytest.raises(StopIteration):
        closed.send(0)


@pytest.mark.parametrize(
    ("error", "action"),
    [(ValueError, 2), (ValueError, -2), (ValueError, np.int64(3)), (TypeError, None),
     (TypeError, "left"), (TypeError, 0.0), (TypeError, np.array([0, 1]))],
)  # fmt: skip
def test_what_is_no_action(error, action):
    ep = episode(5)
    next(ep)
    with pytest.raises(error, match="action is"):
        ep.send(action)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"grid_size": 2}, ValueError, "grid_size is 2"),
        ({"grid_size": 10.0}, TypeError, "grid_size is 10.0"),
        ({"start": (10, 1)}, ValueError, r"start is \(10, 1\)"),
        ({"start": (0, 0)}, ValueError, "start is"),
        ({"start": (0, 9)}, ValueError, "start is"),
        ({"start": 5}, ValueError, "start is 5"),
        ({"start": (1,)}, ValueError, r"start is \(1,\)"),
        ({"rng": 3}, TypeError, "rng is 3"),
        ({"start": (0.5, 1)}, TypeError, "start is 0.5"),
    ],
)
def test_games_that_cannot_be(arguments, error, words):
    with pytest.raises(error, match=words):
        episode(**arguments)
