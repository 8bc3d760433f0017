"""Greedy play and distance from Q*, with players whose skill is known."""

import numpy as np
import pytest

from minidqn.evaluate import greedy_games, margins, q_error, q_table, recorded_games, win_rate, wins
from minidqn.exact import q_star
from minidqn.fruit import episode, starts
from minidqn.recipe import q_network


class Oracle:
    """Answers with Q*, looked up from the frames."""

    def __init__(self, grid_size, gamma=0.8):
        self.q = q_star(grid_size, gamma)

    def predict(self, states):
        assert states.shape[1] == 1
        _, row, column = np.argwhere(states[:, 0, :-1]).T
        return self.q[row, column, states[:, 0, -1].argmax(axis=1)]


class Always:
    """Always takes one action."""

    def __init__(self, action):
        self.action = action

    def predict(self, states):
        return np.eye(3)[np.full(len(states), self.action + 1)]


@pytest.mark.parametrize("grid_size", [3, 5, 10])
def test_the_oracle_wins_everything_and_has_no_error(grid_size):
    oracle = Oracle(grid_size)
    assert win_rate(oracle, grid_size) == 1
    assert q_error(oracle, grid_size) == 0
    np.testing.assert_array_equal(q_table(oracle, grid_size), q_star(grid_size))


@pytest.mark.parametrize(
    ("action", "is_won"),
    [
        (0, lambda fruit, basket: abs(fruit - basket) <= 1),  # it is over the basket at once
        (-1, lambda fruit, basket: fruit < 3),  # where the basket ends from anywhere
    ],
)
def test_wins_of_a_player_with_one_action(action, is_won):
    won = wins(Always(action), 10)
    assert won.shape == (10, 8)
    for fruit, basket in starts(10):
        assert won[fruit, basket - 1] == is_won(fruit, basket)
    assert win_rate(Always(action), 10) == 24 / 80


@pytest.mark.parametrize("grid_size", [3, 6, 10])
def test_margins_are_those_of_the_games_one_by_one(grid_size, rng):
    """And a game is lost where the margin is negative, and nowhere else."""
    player, exact = Oracle(grid_size), q_star(grid_size)
    player.q = rng.standard_normal(exact.shape)
    margin = margins(player.q)
    np.testing.assert_array_equal(margin < 0, ~wins(player, grid_size))
    for fruit, start in starts(grid_size):
        basket, leads = start, []
        for row in range(grid_size - 2):
            values, wins_on = player.q[row, fruit, basket - 1], exact[row, fruit, basket - 1] > 0
            if wins_on.any() and not wins_on.all():
                leads.append(values[wins_on].max() - values[~wins_on].max())
            basket = np.clip(basket + values.argmax() - 1, 1, grid_size - 2)
        assert margin[fruit, start - 1] == min(leads, default=np.inf)


def test_lockstep_is_one_game_after_the_other(rng):
    model = q_network(6, rng)
    won = wins(model, 6)
    for start in starts(6):
        ep = episode(6, start=start)
        S, reward = next(ep)
        while reward == 0:
            S, reward = ep.send(int(np.argmax(model.predict(S[np.newaxis])[0])) - 1)
        assert won[start[0], start[1] - 1] == (reward == 1)


def test_games_of_different_lengths():
    """Each coroutine is played to its own end and closed."""
    ended = []

    def countdown(length):
        try:
            for left in reversed(range(length)):
                yield np.full((1, 2, 2), left), 0 if left else 1
        finally:
            ended.append(length)

    games = [countdown(3), countdown(1), countdown(2)]  # held, so that nothing else closes them
    steps = list(greedy_games(Always(0), games))
    assert [sorted(step) for step in steps] == [[0, 1, 2], [0, 2], [0]]
    assert sorted(ended) == [1, 2, 3]
    assert list(greedy_games(Always(0), [])) == []


def test_recorded_games():
    games = recorded_games(Always(1), [episode(5, start=start) for start in ((4, 1), (0, 1))])
    assert [len(frames) for frames, _ in games] == [4, 4]
    assert [reward for _, reward in games] == [1, -1]
    assert np.argmax(games[0][0][-1][0, 3]) == 4
