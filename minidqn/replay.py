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

import collections
import dataclasses
import math
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from minidqn.checks import finite, generator, number, numeric, whole
from minidqn.nn.kernels import gather, scan
from minidqn.nn.pixels import Pixels


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

    states: Pixels | np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_states: Pixels | np.ndarray
    dones: np.ndarray

    def __len__(self) -> int:
        return len(self.actions)

    def __iter__(self) -> Iterator[tuple[np.ndarray, int, float, np.ndarray]]:
        states, next_states = np.asarray(self.states), np.asarray(self.next_states)
        actions, rewards = self.actions.tolist(), self.rewards.tolist()
        return zip(states, actions, rewards, next_states, strict=True)


def experience_replay(
    batch_size: int,
    capacity: int = 100_000,
    rng: np.random.Generator | None = None,
    memory: "Memory | None" = None,
) -> Generator[Batch | None, tuple, None]:
    """A memory of the last `capacity` experiences, as a coroutine.

    ``next(replay)`` once, then each ``replay.send((S, action, reward, S_prime, done))``
    stores one experience and yields a `Batch` drawn uniformly, without
    replacement, from all that are stored, or None while fewer than `batch_size`
    are. ``next(replay)`` later yields another batch and stores nothing.

    Frames are copied, so the caller may change them afterwards. Only what is not 0 is
    kept, in 4 + 4 C bytes a position, and a frame that is both S' of one experience and
    S of the next is kept once. A full memory forgets its oldest experience; what
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
        If an argument is not of this kind, when called; if an experience is none, from
        ``send``, which ends the memory.
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
        if memory.count >= batch_size:
            batch = memory.take(rng.choice(memory.count, batch_size, replace=False))


def n_step_returns(n: int, gamma: float) -> Generator[list[tuple], tuple, None]:
    """Experiences that look n steps ahead, as a coroutine; of one step, for n = 1.

    ``next`` once, then each ``send((S, action, reward, S_prime, terminated, truncated))``, a
    step of a game, yields those that are complete by then: ``(S, action, R, S_prime, done)``
    with the discounted sum ``R = reward + gamma * reward' + ...`` of the n rewards from S on,
    and the frame n steps later, whose value counts gamma**n. Where a game has ended, fewer
    rewards are all there are. Where it is broken off, the frame that is n steps away is not
    known, and the last n - 1 steps are left out.

    Parameters
    ----------
    n : int
        Steps, 1 or more.
    gamma : float
        Discount factor of a step, in [0, 1).

    Yields
    ------
    list of tuple
        For a replay memory, the oldest first; frames are not copied.

    References
    ----------
    Sutton (1988), *Learning to predict by the methods of temporal differences*. Hessel et al.
    (2018), *Rainbow*, "Multi-step learning".

    Examples
    --------
    >>> returns = n_step_returns(n=2, gamma=0.5)
    >>> next(returns)
    []
    >>> returns.send(("S0", 1, 8.0, "S1", False, False))
    []
    >>> returns.send(("S1", 0, 2.0, "S2", False, False))
    [('S0', 1, 9.0, 'S2', False)]
    >>> returns.send(("S2", 1, 4.0, "S3", True, False))
    [('S1', 0, 4.0, 'S3', True), ('S2', 1, 4.0, 'S3', True)]
    """
    return _n_steps(whole("n", n), number("gamma", gamma, "[0, 1)"))


def _n_steps(n, gamma):
    """The coroutine that `n_step_returns` returns."""
    steps, complete = collections.deque(), []
    while True:
        state, action, reward, next_state, terminated, truncated = yield complete
        steps.append((state, action, reward))
        complete = []
        while steps and (len(steps) == n or terminated):
            R = sum(gamma**i * reward for i, (_, _, reward) in enumerate(steps))
            state, action, _ = steps.popleft()
            complete.append((state, action, R, next_state, terminated))
        if truncated:
            steps.clear()


class Memory:
    """The last `capacity` experiences, the oldest one first.

    Parameters
    ----------
    capacity : int
        Experiences that are kept.
    shape : tuple of int, optional
        (C, H, W) of every frame; that of the first by default.

    Attributes
    ----------
    count : int
        Experiences that are stored.

    Raises
    ------
    MemoryError
        If so many experiences do not fit.
    """

    def __init__(self, capacity: int, shape: tuple[int, ...] | None = None):
        self.capacity = capacity
        self.shape: Any = shape
        self.count = self._oldest = 0
        try:  # pages that are not written to cost no memory
            self._records = np.empty((capacity, 6), np.int64)  # as in `arrays`, side by side
        except (MemoryError, ValueError):
            raise MemoryError(f"capacity is {capacity}; so many experiences do not fit") from None
        # Rows of pixels are numbered from the first that was ever stored; row r lies at r modulo
        # the length of this ring, so that a longer one takes them under the same numbers.
        self._pixels = np.empty((1, 1 + (shape or (1,))[0]), np.int32)
        self._newest: bytes | None = None  # the newest frame
        self._begin = self._end = 0  # its rows
        self._bounds = np.empty((2, 1), np.int32)

    def store(self, experience: tuple) -> None:
        """Put one `experience` behind the newest, in the place of the oldest if all are taken."""
        try:
            state, action, reward, next_state, *done = experience
            (done,) = done or [reward != 0]
        except (TypeError, ValueError):
            kind, wanted = type(experience).__name__, "(S, action, reward, S_prime, done)"
            raise TypeError(f"experience is {kind}; expected {wanted}") from None
        action = whole("action", action, -(2**31), most=2**31 - 1)
        reward = np.float32(number("reward", reward, "[-3e38, 3e38]")).view(np.int32)
        if not isinstance(done, (bool, np.bool_)):
            raise TypeError(f"done is {done!r}; expected a bool")
        state, next_state = self._rows("S", state), self._rows("S_prime", next_state)
        place = (self._oldest + self.count) % self.capacity
        if self.count == self.capacity:
            self._oldest = (self._oldest + 1) % self.capacity
            self.count -= 1
        shared = self._newest == state.tobytes()
        begin = self._begin if shared else self._end
        used = self._records[self._oldest, 0] if self.count else begin
        if not shared:
            self._append(state, used)
        self._newest, self._begin = next_state.tobytes(), self._end
        self._append(next_state, used)
        self._records[place] = begin, self._begin, self._end, action, reward, done
        self.count += 1

    def _rows(self, name, frame):
        """The pixels of a frame that are not 0, if it has the shape that all have."""
        frame = numeric(name, frame)
        if self.shape is None and frame.ndim == 3 and frame.size:
            self.shape, self._pixels = frame.shape, np.empty((1, 1 + len(frame)), np.int32)
        if frame.shape != self.shape:
            wanted = "(C, H, W)" if self.shape is None else f"{self.shape}, the first's"
            raise ValueError(f"{name} has shape {frame.shape}; expected {wanted}")
        with np.errstate(over="ignore"):  # what overflows is not finite
            frame = np.array(frame, np.float32, order="C").reshape(-1)
        channels, columns = self.shape[0], self.shape[0] + 1
        rows, bounds = np.empty((frame.size // channels, columns), np.int32), self._bounds
        flat = rows.reshape(-1)
        values = flat.view(np.float32)[1:]
        count = scan(frame, channels, *bounds, flat, columns, values, columns)
        if count < 0:
            raise ValueError(f"{name} holds NaN or infinity; expected finite numbers")
        return rows[:count]

    def _append(self, rows, used):
        """Put a frame's rows behind the newest; those from `used` on are still needed."""
        need = self._end + len(rows) - used
        if need > len(self._pixels):
            kept = np.arange(used, self._end)
            longer = np.empty((2 * need, rows.shape[1]), np.int32)
            longer[kept % len(longer)] = self._pixels[kept % len(self._pixels)]
            self._pixels = longer
        begin = self._end % len(self._pixels)
        fits = rows[: len(self._pixels) - begin]
        self._pixels[begin : begin + len(fits)] = fits
        self._pixels[: len(rows) - len(fits)] = rows[len(fits) :]
        self._end += len(rows)

    def take(self, places: npt.ArrayLike) -> Batch:
        """The experiences at `places`, copied into a batch; 0 is the oldest one's place."""
        places = (np.asarray(places) + self._oldest) % self.capacity
        records, n = self._records.take(places, axis=0), len(places)
        begin, end = records[:, :2].T.reshape(-1), records[:, 1:3].T.reshape(-1)  # of S, then S'
        active = int(np.add.reduce(end - begin))
        first, last = np.empty((2, 2 * n), np.int32)
        channels, rows = self.shape[0], self._pixels.reshape(-1)
        positions, values = np.empty(active, np.int32), np.empty(active * channels, np.float32)
        numbers = rows.view(np.float32)
        gather(rows, numbers, channels, begin, end, first, last, positions, values)
        split = int(last[n - 1])
        states = Pixels(self.shape, first[:n], last[:n], positions, values, split)
        next_states = Pixels(self.shape, first[n:], last[n:], positions, values, active - split)
        actions, rewards = records[:, 3:5].T.astype(np.int32)
        dones = records[:, 5] != 0
        return Batch(states, actions, rewards.view(np.float32), next_states, dones)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """All that is stored, from the oldest on.

        Returns
        -------
        experiences : ndarray [shape=(count, 6)], int64
            Row of `pixels` where S begins; where S ends and S' begins; where S' ends; action;
            the bits of the reward, a float32; done, 0 or 1.
        pixels : ndarray [shape=(R, 1 + C)], int32
            Of every frame that is not 0: position, and the bits of C values.
        """
        experiences = np.roll(self._records[: self.count], -self._oldest, axis=0)
        used = experiences[0, 0] if self.count else self._end
        experiences[:, :3] -= used
        return experiences, self._pixels[np.arange(used, self._end) % len(self._pixels)]

    @classmethod
    def of(
        cls, experiences: np.ndarray, pixels: np.ndarray, capacity: int, shape: tuple[int, ...]
    ) -> "Memory":
        """A memory with what an earlier one gave, which is not trusted.

        Parameters
        ----------
        experiences, pixels : ndarray
            See ``arrays``.
        capacity : int
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
        memory, count = cls(capacity, shape), len(experiences)
        bounds, narrow, positions = experiences[:, :3], experiences.astype(np.int32), pixels[:, 0]
        before = np.pad(bounds, ((1, 0), (0, 0)))  # the bounds of the one before; 0 of the first's
        memory._begin, memory._end = before[-1, 1:].tolist()
        shared = (bounds[:, :2] == before[:-1, 1:]).all(axis=1)
        follows = (bounds[:, 0] == before[:-1, 2]) | shared
        if not follows.all() or (np.diff(bounds) < 0).any() or memory._end != len(pixels):
            raise ValueError("rows are not those of frames, one after the other")
        rises = np.diff(positions, prepend=-1, append=0) > 0
        rises[bounds] = True  # where a frame begins, positions do too
        inside = (positions >= 0) & (positions < math.prod(shape[1:]))
        if not rises.all() or not inside.all():
            raise ValueError("positions are not those of a frame's pixels")
        if count > capacity or (narrow != experiences).any() or (narrow[:, 5] >> 1).any():
            raise ValueError("experiences are more than the capacity, or hold what none does")
        finite("rewards", narrow[:, 4].copy().view(np.float32))
        finite("values", pixels[:, 1:].copy().view(np.float32))
        memory.count, memory._records[:count] = count, experiences
        memory._newest = pixels[memory._begin :].tobytes()
        memory._pixels = np.resize(pixels, (len(pixels) + 1, 1 + shape[0]))
        return memory
