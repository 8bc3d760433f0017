"""Replay: a bounded memory of experiences, and random batches from it.

An experience is one transition of a game, (S, action, reward, S_prime, done): the
frame, what was done, what it earned, the frame that followed, and whether the game ended
with it. Without `done` a game ends with its first reward that is not 0. Learning from
random old experiences instead of the newest ones makes the samples of a batch
nearly independent, and uses each experience many times.

References
----------
Lin (1992), *Self-improving reactive agents based on reinforcement learning,
planning and teaching*. Mnih et al. (2015), *Human-level control through deep
reinforcement learning*, Methods, "Training algorithm".
"""

import dataclasses
import math

import numpy as np

from minidqn.checks import finite, generator, numeric, whole
from minidqn.nn.kernels import scan
from minidqn.nn.pixels import Pixels

__all__ = ["Batch", "Memory", "experience_replay"]


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Some experiences, as arrays for a network and one by one for a loop.

    Iterating gives ``(S, action, reward, S_prime)`` for each experience; ``len``
    is their number N.

    Attributes
    ----------
    states : Pixels or ndarray [shape=(N, C, H, W)]
        The frames, float32. A memory gives `Pixels`, which ``np.asarray`` makes an array.
    actions : ndarray [shape=(N,)]
        What was sent to the game, int32.
    rewards : ndarray [shape=(N,)]
        float32.
    next_states : Pixels or ndarray [shape=(N, C, H, W)]
        The frames that followed, float32.
    dones : ndarray [shape=(N,)]
        Whether the game ended, bool.
    """

    states: Pixels
    actions: np.ndarray
    rewards: np.ndarray
    next_states: Pixels
    dones: np.ndarray

    def __len__(self):
        return len(self.actions)

    def __iter__(self):
        return zip(
            np.asarray(self.states),
            self.actions.tolist(),
            self.rewards.tolist(),
            np.asarray(self.next_states),
            strict=True,
        )


def experience_replay(batch_size, capacity=100_000, rng=None, memory=None):
    """A memory of the last `capacity` experiences, as a coroutine.

    ``next(replay)`` once, then each ``replay.send((S, action, reward, S_prime, done))``
    stores one experience and yields a `Batch` drawn uniformly, without
    replacement, from all that are stored, or None while fewer than `batch_size`
    are. ``next(replay)`` later yields another batch and stores nothing.

    Frames are copied, so the caller may change them afterwards. Only what is not 0 is
    kept, in 4 + 4 C bytes a position, and a frame that is both S' of one experience and
    S of the next is kept once. A full memory overwrites its oldest experience; what
    ``send`` has to do does not grow with how many are stored.

    Parameters
    ----------
    batch_size : int
        Experiences in a batch.
    capacity : int
        Experiences that are kept.
    rng : numpy.random.Generator, optional
        Draws the batches; fresh entropy by default.
    memory : Memory, optional
        One of this capacity to go on with; an empty one by default.

    Yields
    ------
    Batch or None
        Arrays of their own, that later experiences do not change.

    Raises
    ------
    TypeError, ValueError
        If an argument is no whole number, below 1, or batch_size is above
        capacity, when called. If an experience is not four or five things, its frames
        are not numbers, all finite and of one shape, its action is not a whole number that
        int32 holds, its reward not a finite one that float32 holds, or `done` is no bool,
        from ``send``, which ends the memory.
    MemoryError
        If so many experiences do not fit, when called; if their pixels do not, from ``send``.

    Examples
    --------
    >>> replay = experience_replay(batch_size=2)
    >>> next(replay)
    >>> S, S_prime = np.zeros((2, 1, 5, 5))
    >>> replay.send((S, -1, 0, S_prime))
    >>> replay.send((S, 1, 1, S_prime)).states.shape
    (2, 1, 5, 5)
    """
    batch_size, capacity = whole("batch_size", batch_size), whole("capacity", capacity)
    if batch_size > capacity:
        raise ValueError(f"batch_size is {batch_size}; expected at most the capacity, {capacity}")
    rng = generator(rng)
    memory = Memory(capacity) if memory is None else memory
    if memory.capacity != capacity:
        raise ValueError(f"memory has the capacity {memory.capacity}; expected {capacity}")
    return _replay(memory, batch_size, rng)


def _replay(memory, batch_size, rng):
    """The coroutine that `experience_replay` returns."""
    batch = None
    while True:
        experience = yield batch
        if experience is not None:
            memory.store(experience)
        batch = None
        if memory.count >= batch_size:
            batch = memory.take(rng.choice(memory.count, batch_size, replace=False))


class Memory:
    """The last `capacity` experiences, in a ring, and the pixels of their frames in another.

    Parameters
    ----------
    capacity : int
        Experiences that are kept.

    Attributes
    ----------
    count : int
        Experiences that are stored.
    oldest : int
        Which of them is the oldest, once all places are taken.
    shape : tuple of int or None
        (C, H, W) of a frame; None before the first.

    Raises
    ------
    MemoryError
        If so many experiences do not fit.
    """

    def __init__(self, capacity):
        self.capacity = capacity
        self.count = self.oldest = 0
        self.shape = None
        try:  # pages that are not written to cost no memory
            self._records = np.empty((capacity, 8), np.int32)
        except (MemoryError, ValueError):
            raise MemoryError(f"capacity is {capacity}; so many experiences do not fit") from None
        # Most of it is far from the processor, so what is read together lies side by side: in
        # a record the rows of pixels where S begins and ends, those of S', action, reward and
        # done, and in a row of pixels a position and C values.
        self._rows, self._actions = self._records[:, :4], self._records[:, 4]
        self._rewards, self._dones = self._records.view(np.float32)[:, 5], self._records[:, 6]
        self._pixels = np.empty((0, 2), np.int32)
        self._end = self._turn = 0  # where the newest frame ends, and where the last round did
        self._newest = None  # bytes of the newest frame
        self._bounds = np.empty((2, 1), np.int32)

    def store(self, experience):
        """Put one `experience` where the oldest one is, or into a free place."""
        try:
            state, action, reward, next_state, *done = experience
            (done,) = done or [reward != 0]
        except (TypeError, ValueError):
            kind, wanted = type(experience).__name__, "(S, action, reward, S_prime, done)"
            raise TypeError(f"experience is {kind}; expected {wanted}") from None
        state, next_state = self._frame("S", state), self._frame("S_prime", next_state)
        action, reward, done = _checked(action, reward, done, len(experience) == 4)
        place = self.count
        if self.count == self.capacity:
            place = self.oldest
            self.oldest = (place + 1) % self.capacity
            self.count -= 1
        rows = self._rows
        if self._newest == state.tobytes():
            rows[place, :2] = rows[place - 1, 2:]
        else:
            used = rows[self.oldest, 0] if self.count else self._end
            rows[place, :2] = self._append(state, used)
        used = rows[self.oldest if self.count else place, 0]
        rows[place, 2:] = self._append(next_state, used)
        self._newest = next_state.tobytes()
        self._actions[place], self._rewards[place] = action, reward
        self._dones[place] = done
        self.count += 1

    def _frame(self, name, frame):
        """A frame as an array of finite float32 numbers, of the shape that all have."""
        frame = numeric(name, frame)
        if self.shape is None and frame.ndim == 3 and frame.size:
            self.shape = frame.shape
        if frame.shape != self.shape:
            wanted = "(C, H, W)" if self.shape is None else f"{self.shape}, the first's"
            raise ValueError(f"{name} has shape {frame.shape}; expected {wanted}")
        with np.errstate(over="ignore"):  # what overflows is not finite
            frame = np.array(frame, np.float32, order="C")
        finite(name, frame)
        return frame

    def _append(self, frame, used):
        """Add a frame's pixels behind the newest; rows from `used` on are in use. Its rows."""
        channels, size = self.shape[0], frame.size // self.shape[0]
        begin = self._end
        if begin < used:  # the oldest rows are ahead, in the round before
            fits = begin + size < used
        else:
            fits = begin + size <= len(self._pixels)
            if not fits and size < used:
                fits, self._turn, begin = True, begin, 0
        if not fits:
            self._grow(size, used)
            begin = self._end
        pixels, step = self._pixels[begin:].reshape(-1), channels + 1
        values = pixels.view(np.float32)[1:]
        flat = frame.reshape(-1)
        self._end = begin + scan(flat, channels, *self._bounds, pixels, step, values, step)
        return begin, self._end

    def _in_order(self, used):
        """The rows in use from the oldest on, and by how much each place's number changes."""
        if self._end >= used:
            order = np.arange(used, self._end)
        else:
            order = np.concatenate([np.arange(used, self._turn), np.arange(self._end)])
        rows = self._rows[: min(self.count + 1, self.capacity)]
        rows = rows + np.where(rows >= used, -used, self._turn - used)
        return order, rows.astype(np.int32)

    def _grow(self, size, used):
        """Twice the room for pixels, with the rows in use at its beginning."""
        order, rows = self._in_order(used)
        self._rows[: len(rows)] = rows
        self._end = len(order)
        room, columns = max(2 * len(self._pixels), 4 * size), self.shape[0] + 1
        if room * columns > np.iinfo(np.int32).max:
            raise MemoryError(f"{self.count} experiences of this size do not fit")
        pixels = np.empty((room, columns), np.int32)
        pixels[: self._end] = self._pixels[order] if len(order) else 0
        self._pixels = pixels

    def take(self, places):
        """The experiences at `places`, copied into a batch; S and S' share arrays of pixels."""
        records = self._records.take(places, axis=0)
        bounds = records[:, :4].T.reshape(2, 2, -1)  # of S and S' in turn: begin and end
        begin, end = bounds[:, 0].reshape(-1), bounds[:, 1].reshape(-1)
        counts = end - begin
        last = counts.cumsum(dtype=np.int32)
        first = last - counts
        active, half = int(last[-1]), len(records)
        rows = np.arange(active) + (begin - first).repeat(counts)
        pixels = self._pixels.take(rows, axis=0)
        positions, values = pixels[:, 0], pixels[:, 1:].copy().reshape(-1).view(np.float32)
        split = int(last[half - 1])
        states = Pixels(self.shape, first[:half], last[:half], positions, values, split)
        next_states = Pixels(
            self.shape, first[half:], last[half:], positions, values, active - split
        )
        rewards = np.ascontiguousarray(records[:, 5]).view(np.float32)
        return Batch(states, records[:, 4].copy(), rewards, next_states, records[:, 6] != 0)

    def arrays(self):
        """All that is stored, as two arrays.

        Returns
        -------
        experiences : ndarray [shape=(count, 7)], int32
            In the order of their places: where S begins and ends among the pixels, and S';
            action; the bits of the reward, a float32; done, 0 or 1.
        pixels : ndarray [shape=(R, 1 + C)], int32
            From the oldest on: position, and the bits of C values.
        """
        order, rows = self._in_order(self._rows[self.oldest, 0] if self.count else self._end)
        experiences = self._records[: self.count, :7].copy()
        experiences[:, :4] = rows[: self.count]
        return experiences, self._pixels[order]

    @classmethod
    def of(cls, experiences, pixels, capacity, oldest, shape):
        """A memory with what an earlier one gave, which is not trusted.

        Parameters
        ----------
        experiences, pixels : ndarray, int32
            See ``arrays``.
        capacity, oldest : int
            The earlier memory's.
        shape : tuple of int
            Of a frame.

        Returns
        -------
        Memory
            It goes on as the earlier one would.

        Raises
        ------
        ValueError
            If this is not what a memory holds.
        """
        memory, count, size = cls(capacity), len(experiences), math.prod(shape[1:])
        if count > capacity or oldest >= max(count, 1) or (oldest and count < capacity):
            raise ValueError(f"a memory of {capacity} has {count} experiences from {oldest} on")
        finite("rewards", experiences[:, 5].copy().view(np.float32))
        finite("values", pixels[:, 1:].copy().view(np.float32))
        if not np.isin(experiences[:, 6], (0, 1)).all():
            raise ValueError("dones are not 0 or 1")
        bounds = np.roll(experiences[:, :4].astype(np.int64), -oldest, axis=0)
        shared = (bounds[1:, :2] == bounds[:-1, 2:]).all(axis=1)
        follows = shared | (bounds[1:, 0] == bounds[:-1, 3])
        if not (
            follows.all()
            and (bounds[:, 2] == bounds[:, 1]).all()
            and (bounds[:, 1::2] >= bounds[:, ::2]).all()
            and (bounds[:1, 0] == 0).all()
            and len(pixels) == (bounds[-1, 3] if count else 0)
        ):
            raise ValueError("rows are not those of frames, one after the other")
        positions, inside = pixels[:, 0], np.ones(len(pixels) + 1, bool)
        inside[bounds] = False  # where a frame begins, positions do too
        rises = np.diff(positions, prepend=-1) > 0
        if not (rises | ~inside[:-1]).all() or not ((positions >= 0) & (positions < size)).all():
            raise ValueError("positions are not those of a frame's pixels")
        memory.count, memory.oldest, memory.shape = count, oldest, shape if count else None
        memory._records[:count, :7] = experiences
        memory._pixels, memory._end = pixels.copy(), len(pixels)
        return memory


def _checked(action, reward, done, ends_by_reward):
    """What is not a frame of an experience, if it is what it should be."""
    if type(reward) is not int or not -1 <= reward <= 1:  # else there is nothing to look at
        if np.ndim(reward) != 0 or np.asarray(reward).dtype.kind not in "fiub":
            raise TypeError(f"reward is {reward!r}; expected a number")
        with np.errstate(over="ignore"):
            kept = np.float32(reward)
        if not math.isfinite(kept) or (ends_by_reward and (kept == 0) != (reward == 0)):
            raise ValueError(f"reward is {reward!r}; expected a finite number that float32 holds")
        reward = kept
    if not isinstance(done, (bool, np.bool_)):
        raise TypeError(f"done is {done!r}; expected a bool")
    return whole("action", action, -(2**31), most=2**31 - 1), reward, done
