"""Targets and learning, against the loop that the 2016 script writes out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.fruit import episode
from minidqn.qlearning import epsilon_greedy, greedy, learn, td_targets
from minidqn.recipe import q_network
from minidqn.replay import Batch, experience_replay
from tests.literal import literal_loop, literal_network, literal_targets


class Stranger:
    """Any network: nothing but predict and train_on_batch, and it counts its calls."""

    def __init__(self, model):
        self.model = model
        self.calls = []

    def predict(self, states):
        self.calls.append(("predict", len(states)))
        return self.model.predict(states)

    def train_on_batch(self, states, targets):
        self.calls.append(("train_on_batch", len(states)))
        return self.model.train_on_batch(states, targets)


def some_batch(rng, size=32, grid_size=10):
    """Experiences of games played at random."""
    replay = experience_replay(size, rng=rng)
    next(replay)
    batch = None
    while batch is None:
        ep = episode(grid_size, rng)
        S, reward = next(ep)
        while reward == 0:
            action = int(rng.integers(-1, 2))
            S_prime, reward = ep.send(action)
            batch = replay.send((S, action, reward, S_prime))
            S = S_prime
    return batch


@pytest.mark.parametrize("seed", range(5))
def test_learn_is_the_literal_loop(seed):
    """Same targets, loss and weights as sample by sample, for any network."""
    rng = np.random.default_rng(seed)
    batch = some_batch(rng)
    assert 0 < np.count_nonzero(batch.rewards) < len(batch)
    weights = q_network(10, rng).get_weights()
    results = []
    for engine, way in (
        ("numpy", lambda model: model.train_on_batch(*literal_targets(model, batch, 0.8))),
        ("numpy", lambda model: learn(model, batch, 0.8)),
        ("compiled", lambda model: learn(model, batch, 0.8)),
        ("compiled", lambda model: learn(Stranger(model), batch, 0.8)),
    ):
        # RMSprop makes a whole step of a gradient that is 0 but for rounding.
        model = q_network(10, engine=engine, optimizer="sgd", learning_rate=0.1)
        model.set_weights(weights)
        results.append(([way(model) for _ in range(3)], model.parameters))
    for losses, parameters in results[1:]:
        np.testing.assert_allclose(losses, results[0][0], rtol=1e-4)
        np.testing.assert_allclose(parameters, results[0][1], atol=1e-6)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_target_network_rates_and_double_chooses(double, seed):
    """Sample by sample: r + gamma * target(S')[argmax of the one that chooses]."""
    rng = np.random.default_rng(seed)
    batch, target = some_batch(rng), q_network(10, rng)
    weights, before = q_network(10, rng).get_weights(), target.get_weights()
    model = q_network(10, optimizer="sgd", learning_rate=0.1)
    model.set_weights(weights)
    targets = model.predict(batch.states)
    chooser = model if double else target
    for n, (_, action, reward, S_prime) in enumerate(batch):
        best = chooser.predict(S_prime[np.newaxis])[0].argmax()
        value = 0 if batch.dones[n] else target.predict(S_prime[np.newaxis])[0][best]
        targets[n, action + 1] = reward + 0.9 * value
    loss = model.train_on_batch(batch.states, targets)
    for wrap in (lambda network: network, Stranger):
        learner = q_network(10, optimizer="sgd", learning_rate=0.1)
        learner.set_weights(weights)
        learned = learn(wrap(learner), batch, 0.9, target=wrap(target), double=double)
        assert np.isclose(learned, loss, rtol=1e-4)
        np.testing.assert_allclose(learner.parameters, model.parameters, atol=1e-6)
    assert all((w == b).all() for w, b in zip(target.get_weights(), before, strict=True))
    with pytest.raises(ValueError, match="target None; expected a network"):
        learn(model, batch, double=True)


def test_calls_of_any_network(rng):
    """One on the next states that go on, one on the states, one step."""
    batch = some_batch(rng)
    goes_on = int((batch.rewards == 0).sum())
    stranger = Stranger(q_network(10, rng))
    learn(stranger, batch)
    assert stranger.calls == [("predict", goes_on), ("predict", 32), ("train_on_batch", 32)]


def test_a_batch_of_last_frames_only(rng):
    frames = np.zeros((2, 1, 10, 10), np.float32)
    rewards, dones = np.array([1, -1], np.float32), np.ones(2, bool)
    batch = Batch(frames, np.array([0, 1], np.int8), rewards, frames, dones)
    stranger = Stranger(q_network(10, rng))
    assert learn(stranger, batch) > 0
    assert stranger.calls == [("predict", 2), ("train_on_batch", 2)]


@given(st.integers(1, 6), st.floats(0, 0.99), st.integers(0, 2**32 - 1))
def test_td_targets_one_by_one(count, gamma, seed):
    rng = np.random.default_rng(seed)
    q_values, (rewards, next_values) = rng.standard_normal((count, 4)), rng.random((2, count))
    actions, dones = rng.integers(0, 4, count), rng.random(count) < 0.5
    kept = q_values.copy()
    targets = td_targets(q_values, actions, rewards, next_values, dones, gamma)
    for n in range(count):
        for action in range(4):
            expected = q_values[n, action]
            if action == actions[n]:
                expected = rewards[n] if dones[n] else rewards[n] + gamma * next_values[n]
            assert targets[n, action] == pytest.approx(expected)
    np.testing.assert_array_equal(q_values, kept)


def test_odd_numbers_of_td_targets():
    """What follows the end is ignored; targets of whole numbers are not cut."""
    targets = td_targets(np.zeros((1, 3)), [1], [-1], [np.nan], [True])
    np.testing.assert_array_equal(targets, [[0, -1, 0]])
    targets = td_targets(np.zeros((1, 3), int), [1], [0], [0.5], [False])
    np.testing.assert_allclose(targets, [[0, 0.4, 0]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gamma": 1.0}, "gamma is 1.0"),
        ({"actions": [0, 3]}, r"actions holds array\(\[0, 3\]\); expected columns below 3"),
        ({"actions": [0]}, "actions has shape"),
        ({"actions": np.array([0, -128], np.int8)}, "actions holds"),
        ({"actions": [0.0, 1.0]}, "actions has dtype float64"),
        ({"dones": [0, 1]}, "dones has dtype int64"),
        ({"dones": True}, "dones has shape"),
        ({"rewards": [[0, 1]]}, "rewards has shape"),
        ({"q_values": np.zeros(2)}, "actions has shape"),
        ({"next_values": np.zeros((2, 3))}, "next_values has shape"),
    ],
)
def test_td_targets_mistakes(change, words):
    right = {"actions": [0, 1], "rewards": [0, 1], "next_values": [0, 0], "dones": [False, True]}
    right["q_values"] = np.zeros((2, 3))
    with pytest.raises((TypeError, ValueError), match=words):
        td_targets(**(right | change))


def test_greedy_takes_the_leftmost_of_equals():
    q_values = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 3]])
    np.testing.assert_array_equal(greedy(q_values), [-1, 0, 1])
    np.testing.assert_array_equal(greedy(q_values, (7, -3, 4)), [7, -3, 4])
    with pytest.raises(ValueError, match=r"q_values has shape \(2, 5\); expected \(N, 3\)"):
        greedy(np.zeros((2, 5)))


def test_epsilon_greedy_explores_its_share(rng):
    class GoRight:
        def predict(self, states):
            assert states.shape == (1, 1, 5, 5)
            return np.array([[0, 0, 1]])

    state = np.zeros((1, 5, 5))
    actions = [epsilon_greedy(GoRight(), state, 0.6, rng) for _ in range(6000)]
    left, stay, right = (actions.count(action) for action in (-1, 0, 1))
    assert all(type(action) is int for action in actions[:5])
    for count, share in ((left, 0.2), (stay, 0.2), (right, 0.6)):
        assert abs(count - 6000 * share) < 4 * (6000 * share * (1 - share)) ** 0.5
    assert {epsilon_greedy(GoRight(), state, 0, rng) for _ in range(20)} == {1}


def test_epsilon_without_a_network(rng):
    """An epsilon of 1 never asks it, and one that is wrong is found before."""
    state = np.zeros((1, 5, 5))
    assert epsilon_greedy(None, state, 1, rng) in (-1, 0, 1)
    for wrong, error in ((1.5, ValueError), ("a", TypeError)):
        with pytest.raises(error, match=f"epsilon is {wrong!r}"):
            epsilon_greedy(None, state, wrong, rng)


def test_an_empty_batch(rng):
    frames = np.zeros((0, 1, 10, 10), np.float32)
    nothing = Batch(frames, np.zeros(0, int), np.zeros(0), frames, np.zeros(0, bool))
    with pytest.raises(ValueError, match="batch is empty"):
        learn(q_network(10, rng), nothing)


def test_the_2016_loop_runs(capsys):
    """As it stands, on this package; all 500 epochs: python -m tests.literal."""
    model = literal_network()
    losses = literal_loop(model, nb_epochs=4, batch_size=16)
    assert losses[0] == 0
    assert all(loss > 0 for loss in losses[2:])
    assert np.isfinite(model.parameters).all()
