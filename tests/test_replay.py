"""The memory: what comes out is what went in, uniformly, and the newest `capacity` of it."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.replay import Batch, experience_replay


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


def test_a_full_batch_of_a_full_memory_is_all_of_it(rng):
    replay = primed(4, 4, rng)
    for number in range(11):
        batch = replay.send(numbered(number))
    assert sorted(batch.rewards) == [7, 8, 9, 10]


def test_samples_are_uniform():
    """Chi-square over who is drawn, once the ring has wrapped; 29 degrees of freedom."""
    replay = primed(5, 30, np.random.default_rng(1))
    for number in range(47):
        replay.send(numbered(number))
    counts = np.zeros(30)
    for _ in range(6000):
        counts[next(replay).rewards.astype(int) - 17] += 1
    # Without replacement the counts vary by (1 - 5/30) of what independent draws would.
    expected = 6000 * 5 / 30
    chi_square = ((counts - expected) ** 2 / (expected * (1 - 5 / 30))).sum()
    assert 8 < chi_square * 29 / 30 < 58  # beyond 1 in 1,000 at both ends


def test_places_in_a_batch_are_uniform_too():
    """Each experience is as likely to come first as last."""
    replay = primed(3, 6, np.random.default_rng(2))
    for number in range(6):
        replay.send(numbered(number))
    firsts = np.bincount([int(next(replay).rewards[0]) for _ in range(6000)], minlength=6)
    assert ((firsts - 1000) ** 2 / 1000).sum() < 20.5  # 5 degrees of freedom, 1 in 1,000


def test_the_same_generator_gives_the_same_batches():
    one, other = (primed(3, 10, np.random.default_rng(9)) for _ in range(2))
    for number in range(30):
        a, b = one.send(numbered(number)), other.send(numbered(number))
        assert (a is None) == (b is None)
        if a:
            np.testing.assert_array_equal(a.states, b.states)


def test_frames_are_copied(rng):
    replay = primed(1, 4, rng)
    S, a, r, S_prime = numbered(5)
    batch = replay.send((S, a, r, S_prime))
    kept = batch.states.copy()
    S[:] = S_prime[:] = 1
    np.testing.assert_array_equal(next(replay).states[0], numbered(5)[0])
    batch.states[:] = 7
    np.testing.assert_array_equal(next(replay).states, kept)


@pytest.mark.parametrize("pixel", [0.5, 2.0, -1.0, 255])
def test_frames_of_more_than_zeros_and_ones(pixel, rng):
    """The memory turns to float32, and what it held stays as it was."""
    replay = primed(1, 3, rng)
    for number in range(4):
        replay.send(numbered(number))
    S, a, r, S_prime = numbered(4)
    S_prime[0, 2, 2] = pixel
    replay.send((S, a, r, S_prime))
    batches = [next(replay) for _ in range(50)]
    by_reward = {int(batch.rewards[0]): batch for batch in batches}
    assert set(by_reward) == {2, 3, 4}
    for number in (2, 3):
        np.testing.assert_array_equal(by_reward[number].states[0], numbered(number)[0])
    np.testing.assert_array_equal(by_reward[4].next_states[0], S_prime)


def test_memory_of_an_experience():
    """At most 2*G*G + 16 bytes each, counted by the allocator."""
    grid, capacity = 10, 20_000
    tracemalloc.start()
    replay = primed(1, capacity)
    replay.send(numbered(1, (1, grid, grid)))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < capacity * (2 * grid * grid + 16)


def test_batch_types(rng):
    replay = primed(2, 10, rng)
    replay.send(numbered(1))
    batch = replay.send(numbered(2))
    assert isinstance(batch, Batch)
    assert batch
    assert (batch.states.dtype, batch.next_states.dtype) == (np.float32, np.float32)
    assert (batch.actions.dtype, batch.rewards.dtype) == (np.int8, np.float32)
    assert batch.states.shape == batch.next_states.shape == (2, 1, 5, 5)
    s, a, r, s_prime = next(iter(batch))
    assert (type(a), type(r)) == (int, float)
    assert s.shape == s_prime.shape == (1, 5, 5)


def test_coroutine_manners():
    with pytest.raises(TypeError, match="just-started"):
        experience_replay(1).send(numbered(0))
    replay = primed(1)
    replay.close()
    with pytest.raises(StopIteration):
        replay.send(numbered(0))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((0,), ValueError, "batch_size is 0"),
        ((11, 10), ValueError, "batch_size is 11"),
        ((1, 0), ValueError, "capacity is 0"),
        ((1.5,), TypeError, "batch_size is 1.5"),
        ((1, "many"), TypeError, "capacity is 'many'"),
        ((1, 1, 3), TypeError, "rng is 3"),
    ],
)
def test_memories_that_cannot_be(arguments, error, words):
    with pytest.raises(error, match=words):
        experience_replay(*arguments)


FRAME = np.zeros((1, 5, 5))


@pytest.mark.parametrize(
    ("experience", "error", "words"),
    [
        ((FRAME, 2, 0, FRAME), ValueError, "action is 2"),
        ((FRAME, 0.0, 0, FRAME), TypeError, "action is 0.0"),
        ((FRAME, 0, np.nan, FRAME), ValueError, "reward is nan"),
        ((FRAME, 0, 1e300, FRAME), ValueError, r"reward is 1e\+300"),
        ((FRAME, 0, 1e-60, FRAME), ValueError, "reward is 1e-60"),
        ((FRAME + 1e300, 0, 0, FRAME), ValueError, "S holds NaN or inf"),
        ((FRAME, 0, "1", FRAME), TypeError, "reward is '1'"),
        ((FRAME, 0, [0, 1], FRAME), TypeError, "reward is"),
        ((FRAME, 0, 0, FRAME[0]), ValueError, "S_prime has shape"),
        ((FRAME * np.nan, 0, 0, FRAME), ValueError, "S holds NaN"),
        ((FRAME, 0, 0, FRAME + np.inf), ValueError, "S_prime holds NaN or inf"),
        ((FRAME.astype(str), 0, 0, FRAME), TypeError, "S has dtype"),
        ((FRAME, 0, 0), TypeError, "expected .S, action"),
        (5, TypeError, "expected .S, action"),
    ],
)
def test_experiences_that_cannot_be(experience, error, words):
    replay = primed(1)
    with pytest.raises(error, match=words):
        replay.send(experience)


def test_a_memory_that_does_not_fit():
    replay = primed(1, 10**18)
    with pytest.raises(MemoryError, match="capacity is 1000000000000000000"):
        replay.send((FRAME, 0, 0, FRAME))


def test_frames_keep_their_shape():
    replay = primed(1)
    replay.send((FRAME, 0, 0, FRAME))
    other = np.zeros((1, 6, 6))
    with pytest.raises(ValueError, match=r"S has shape \(1, 6, 6\)"):
        replay.send((other, 0, 0, other))
