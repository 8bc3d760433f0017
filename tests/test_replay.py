"""The memory: what comes out is what went in, uniformly, and the newest `capacity` of it."""

import copy
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minidqn.fruit import episode
from minidqn.nn import Pixels
from minidqn.replay import Batch, Memory, experience_replay, n_step_returns


def numbered(number, shape=(1, 5, 5)):
    """An experience that says which one it is, in zeros and ones and in its reward."""
    S, S_prime = np.zeros((2, *shape), np.float32)
    bits = [number >> bit & 1 for bit in range(20)]
    S.flat[:20], S_prime.flat[:20] = bits, bits[::-1]
    return S, number % 3 - 1, float(number), S_prime


def primed(*arguments, **options):
    replay = experience_replay(*arguments, **options)
    assert next(replay) is None
    return replay


@given(st.integers(1, 12), st.integers(0, 12), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_a_batch_is_of_the_newest_and_without_repeats(batch_size, spare, count, seed):
    capacity = batch_size + spare
    replay = primed(batch_size, capacity, np.random.default_rng(seed))
    for number in range(count):
        batch = replay.send(numbered(number))
        stored = min(number + 1, capacity)
        if stored < batch_size:
            assert batch is None
            continue
        assert len(batch) == batch_size
        drawn = batch.rewards.astype(int)
        assert len(set(drawn)) == batch_size
        assert drawn.min() > number - capacity
        for s, a, r, s_prime in batch:
            expected = numbered(int(r))
            np.testing.assert_array_equal(s, expected[0])
            assert (a, r) == expected[1:3]
            np.testing.assert_array_equal(s_prime, expected[3])


def test_samples_are_uniform():
    """Chi-square over who is drawn, once the ring has wrapped; 29 degrees of freedom."""
    replay = primed(5, 30, np.random.default_rng(1))
    for number in range(47):
        replay.send(numbered(number))
    drawn = np.array([next(replay).rewards.astype(int) - 17 for _ in range(6000)])
    counts = np.bincount(drawn.ravel(), minlength=30)
    # Without replacement the counts vary by (1 - 5/30) of what independent draws would.
    expected = 6000 * 5 / 30
    chi_square = ((counts - expected) ** 2 / (expected * (1 - 5 / 30))).sum()
    assert 8 < chi_square * 29 / 30 < 58  # beyond 1 in 1,000 at both ends
    firsts = np.bincount(drawn[:, 0], minlength=30)  # each may as well come first as last
    assert ((firsts - 200) ** 2 / 200).sum() < 58


def some_frame(rng, shape):
    """A frame of any activity: empty, full or between; whole numbers, or fractions below 0."""
    active = rng.random(shape[1:]) < rng.choice([0, 0.1, 0.5, 1])
    kind = rng.choice(["?", "u1", "i8", "f4", "f8"])
    frame = (active * rng.integers(0, 128, shape)).astype(kind)
    return frame / -3 if kind in ("f4", "f8") else frame


def require(batch, experiences):
    """The batch is these experiences, in this order."""
    experiences = [(*e, e[2] != 0)[:5] if len(e) == 4 else e for e in experiences]
    expected = [np.array(column, np.float32) for column in zip(*experiences, strict=True)]
    for got, wanted in zip(vars(batch).values(), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(got), wanted)


@example(1, (1, 1, 1), 30, 0)
@example(5, (2, 3, 4), 200, 1)
@given(
    st.integers(1, 12),
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_the_memory_is_a_list_that_forgets(capacity, shape, count, seed):
    """However often all of its places were taken, and also if it comes from a checkpoint."""
    rng = np.random.default_rng(seed)
    memory = loaded = Memory(capacity)
    expected, batches, S_prime = [], [], some_frame(rng, shape)
    for number in range(count):
        S = S_prime if rng.random() < 0.7 else some_frame(rng, shape)
        S_prime = some_frame(rng, shape)
        experience = S, int(rng.integers(-9, 9)), number // 2, S_prime
        if rng.random() < 0.5:
            experience += (bool(rng.random() < 0.3),)
        expected.append(copy.deepcopy(experience))
        del expected[:-capacity]
        for each in {memory, loaded}:
            each.store(experience)
            batches.append((each.take(np.arange(len(expected))), list(expected)))
            require(*batches[-1])
        loaded = Memory.of(*memory.arrays(), capacity, shape)
        if rng.random() < 0.2:
            S_prime[...] = 1  # the caller's array, which may be the next S
    for batch, experiences in batches:
        require(batch, experiences)


def play(memory, grid_size, rng):
    """One game at random into a memory."""
    ep = episode(grid_size, rng)
    S, reward = next(ep)
    while reward == 0:
        action = int(rng.integers(-1, 2))
        S_prime, reward = ep.send(action)
        memory.store((S, action, reward, S_prime))
        S = S_prime


def test_the_same_bytes_of_another_dtype_are_other_numbers():
    memory, frame = Memory(2), np.ones((1, 1, 2), np.float32)
    experiences = [(frame, 0, 0, frame), (frame.view(np.int32), 0, 0, frame)]
    for experience in experiences:
        memory.store(experience)
    require(memory.take([0, 1]), experiences)


@pytest.mark.parametrize("grid_size", [10, 84])
def test_bytes_of_an_experience(grid_size, rng):
    """At most 205, also when all places have been taken twice, and after a checkpoint."""
    tracemalloc.start()
    memory = Memory(2000)
    for _ in range(4000 // (grid_size - 2) + 1):
        play(memory, grid_size, rng)
    held, _ = tracemalloc.get_traced_memory()
    arrays = memory.arrays()
    before, _ = tracemalloc.get_traced_memory()
    loaded = Memory.of(*arrays, 2000, memory.shape)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert loaded.count == 2000
    assert max(held, after - before) <= 2000 * 205


def test_a_batch_is_the_caller_s(rng):
    replay = primed(2, 4, rng)
    replay.send(numbered(5))
    batch = replay.send(numbered(6))
    batch.states.values[:] = batch.rewards[:] = 7
    again = next(replay)
    require(again, [numbered(int(reward)) for reward in again.rewards])


def test_batch_types(rng):
    replay = primed(2, 10, rng)
    replay.send(numbered(1))
    batch = replay.send(numbered(2))
    assert isinstance(batch, Batch)
    assert batch
    for frames in (batch.states, batch.next_states):
        assert isinstance(frames, Pixels)
        assert frames.shape == np.asarray(frames).shape == (2, 1, 5, 5)
        assert frames.dtype == np.asarray(frames).dtype == np.float32
    kinds = batch.actions.dtype, batch.rewards.dtype, batch.dones.dtype
    assert kinds == (np.int32, np.float32, bool)
    s, a, r, s_prime = next(iter(batch))
    assert (type(a), type(r)) == (int, float)
    assert s.shape == s_prime.shape == (1, 5, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((0,), ValueError, "batch_size is 0"),
        ((11, 10), ValueError, "batch_size is 11"),
        ((1, 0), ValueError, "capacity is 0"),
        ((1.5,), TypeError, "batch_size is 1.5"),
        ((1, "many"), TypeError, "capacity is 'many'"),
        ((1, 1, 3), TypeError, "rng is 3"),
        ((1, 10**18), MemoryError, "capacity is 1000000000000000000"),
    ],
)
def test_memories_that_cannot_be(arguments, error, words):
    with pytest.raises(error, match=words):
        experience_replay(*arguments)


FRAME, SIX = np.zeros((1, 5, 5)), np.zeros((1, 6, 6))


@pytest.mark.parametrize(
    ("experience", "error", "words"),
    [
        ((FRAME, 2**31, 0, FRAME), ValueError, "action is 2147483648"),
        ((FRAME, 0.0, 0, FRAME), TypeError, "action is 0.0"),
        ((FRAME, 0, 0, FRAME, 1), TypeError, "done is 1; expected a bool"),
        ((FRAME, 0, 0, FRAME, True, 0), TypeError, "expected .S, action"),
        ((FRAME, 0, np.nan, FRAME), ValueError, "reward is nan"),
        ((FRAME, 0, 1e300, FRAME), ValueError, r"reward is 1e\+300"),
        ((FRAME + 1e300, 0, 0, FRAME), ValueError, "S holds NaN or inf"),
        ((FRAME, 0, "1", FRAME), TypeError, "reward is '1'"),
        ((FRAME, 0, [0, 1], FRAME), TypeError, "reward is"),
        ((FRAME, 0, 0, FRAME[0]), ValueError, "S_prime has shape"),
        ((FRAME * np.nan, 0, 0, FRAME), ValueError, "S holds NaN"),
        ((FRAME, 0, 0, FRAME + np.inf), ValueError, "S_prime holds NaN or inf"),
        ((FRAME.astype(str), 0, 0, FRAME), TypeError, "S has dtype"),
        ((FRAME, 0, 0, FRAME.astype(object)), TypeError, "S_prime has dtype object"),
        (([[0], [0, 0]], 0, 0, FRAME), ValueError, "S is ragged"),
        ((FRAME[:0], 0, 0, FRAME[:0]), ValueError, "S has shape"),
        ((SIX, 0, 0, SIX), ValueError, r"S has shape \(1, 6, 6\)"),
        ((FRAME, 0, 0), TypeError, "expected .S, action"),
        (5, TypeError, "expected .S, action"),
    ],
)
def test_experiences_that_cannot_be(experience, error, words):
    """They are refused, and change nothing."""
    memory = Memory(3)
    for number in range(4):
        memory.store(numbered(number))
    before = memory.take([0, 1, 2])
    replay = primed(1)
    replay.send((FRAME, 0, 0, FRAME))
    for store in (replay.send, memory.store):
        with pytest.raises(error, match=words):
            store(experience)
    require(memory.take([0, 1, 2]), list(before))
    memory.store(numbered(4))
    assert sorted(memory.take([0, 1, 2]).rewards) == [2, 3, 4]


def test_rewards_on_the_way_end_nothing(rng):
    """With `done` an experience says whether its game has ended; without, any reward ends it."""
    replay = primed(3, 3, rng)
    replay.send((FRAME, 0, 1, FRAME, False))
    replay.send((FRAME, 1, 0, FRAME, np.True_))
    batch = replay.send((FRAME, 2, 1e-60, FRAME))
    order = np.argsort(batch.actions)
    np.testing.assert_array_equal(batch.dones[order], [False, True, True])
    np.testing.assert_array_equal(batch.rewards[order], [1, 0, 0])


@given(st.integers(1, 5), st.floats(0, 0.99), st.lists(st.integers(1, 9), max_size=4), st.data())
def test_n_step_returns_are_the_sums(n, gamma, lengths, data):
    """Of games of these lengths, each of which ends or is broken off."""
    returns, given, expected = n_step_returns(n, gamma), [], []
    assert next(returns) == []
    for game, length in enumerate(lengths):
        rewards = data.draw(st.lists(st.floats(-9, 9), min_size=length, max_size=length))
        ends = data.draw(st.booleans())
        for t in range(length):
            last = t + 1 == length
            step = (game, t), t % 3, rewards[t], (game, t + 1), last and ends, last and not ends
            given += returns.send(step)
            R = 0.0
            for reward in reversed(rewards[t : t + n]):
                R = reward + gamma * R
            seen = min(t + n, length)
            done = seen == length and ends
            if done or t + n <= length:
                expected.append(((game, t), t % 3, pytest.approx(R), (game, seen), done))
    assert given == expected
    for n, gamma, words in ((0, 0.5, "n is 0"), (1, 1, "gamma is 1")):
        with pytest.raises(ValueError, match=words):
            n_step_returns(n, gamma)
