"""Replay: a bounded memory of experiences, and random batches from it.

An experience is one transition of a game, (S, action, reward, S_prime): the
frame, what was done, what it earned, and the frame that followed. Learning from
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

from minidqn.checks import generator, whole
from minidqn.fruit import ACTIONS, one_of_the_actions

__all__ = ["Batch", "Memory", "experience_replay"]


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Some experiences, as arrays for a network and one by one for a loop.

    Iterating gives ``(S, action, reward, S_prime)`` for each experience; ``len``
    is their number N.

    Attributes
    ----------
    states : ndarray [shape=(N, 1, G, G)]
        The frames, float32.
    actions : ndarray [shape=(N,)]
        -1, 0 or 1, int8.
    rewards : ndarray [shape=(N,)]
        float32; not 0 exactly where the game ended.
    next_states : ndarray [shape=(N, 1, G, G)]
        The frames that followed, float32.
    """

    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_states: np.ndarray

    def __len__(self):
        return len(self.actions)

    def __iter__(self):
        return zip(
            self.states,
            self.actions.tolist(),
            self.rewards.tolist(),
            self.next_states,
            strict=True,
        )


def experience_replay(batch_size, capacity=100_000, rng=None, memory=None):
    """A memory of the last `capacity` experiences, as a coroutine.

    ``next(replay)`` once, then each ``replay.send((S, action, reward, S_prime))``
    stores one experience and yields a `Batch` drawn uniformly, without
    replacement, from all that are stored, or None while fewer than `batch_size`
    are. ``next(replay)`` later yields another batch and stores nothing.

    Frames are copied, so the caller may change them afterwards. They are kept in
    one byte a pixel as long as all are zeros and ones (2*G*G + 5 bytes an
    experience), and in float32 from the first frame on that is not. A full
    memory overwrites its oldest experience; what ``send`` has to do does not grow
    with how many are stored.

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
        capacity, when called. If an experience is not four things, its frames
        are not numbers, all finite and of one shape, its action is not in
        (-1, 0, 1) or its reward is not a finite number that float32 holds, from
        ``send``, which ends the memory.
    MemoryError
        If so many frames do not fit, from the first ``send``.

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
    """Arrays of `capacity` experiences, filled from the front and then in a ring.

    Parameters
    ----------
    capacity : int
        Experiences that are kept.
    experiences : dict of str to ndarray, optional
        What an earlier memory gave, see ``experiences``; none by default.
    oldest : int
        Which of them is the oldest, once all places are taken.

    Attributes
    ----------
    count : int
        Experiences that are stored.
    dtype : dtype
        Of a frame's pixels: uint8 as long as all are zeros and ones, else float32.

    Raises
    ------
    ValueError
        If an experience is not what a memory holds.
    MemoryError
        If so many frames do not fit.
    """

    ARRAYS = ("states", "actions", "rewards", "next_states")

    def __init__(self, capacity, experiences=None, oldest=0):
        self.capacity = capacity
        self.count = 0
        self.oldest = oldest  # where the next one goes, once all places are taken
        self.states = self.next_states = None
        if experiences is not None and len(experiences["actions"]):
            self._restore(experiences)

    @property
    def dtype(self):
        return np.dtype(np.uint8) if self.states is None else self.states.dtype

    def _restore(self, experiences):
        """Fill the arrays with checked experiences."""
        states, next_states = experiences["states"], experiences["next_states"]
        for frames in (states, next_states):
            fits = (frames <= 1) if frames.dtype == np.uint8 else np.isfinite(frames)
            if not fits.all():
                raise ValueError("frames hold what no memory does")
        if not np.isin(experiences["actions"], ACTIONS).all():
            raise ValueError(f"actions holds others than {ACTIONS}")
        if not np.isfinite(experiences["rewards"]).all():
            raise ValueError("rewards holds NaN or infinity; expected finite numbers")
        self._allocate(states.shape[1:], states.dtype)
        self.count = len(states)
        for name in self.ARRAYS:
            getattr(self, name)[: self.count] = experiences[name]

    def experiences(self, frame_shape):
        """All that is stored, as arrays by name: views, in the order of the places.

        Parameters
        ----------
        frame_shape : tuple of int
            Of a frame, in case that none is stored yet.

        Returns
        -------
        dict of str to ndarray [shape=(count, ...)]
            "states", "actions", "rewards" and "next_states".
        """
        if self.states is None:
            self._allocate(frame_shape)
        return {name: getattr(self, name)[: self.count] for name in self.ARRAYS}

    def store(self, experience):
        """Put one `experience` where the oldest one is, or into a free place."""
        try:
            state, action, reward, next_state = experience
        except (TypeError, ValueError):
            raise TypeError(
                f"experience is {type(experience).__name__}; expected (S, action, reward, S_prime)"
            ) from None
        frames = np.asarray(state), np.asarray(next_state)
        action, reward = _checked(action, reward)
        self._make_room(*frames)
        place = self.count if self.count < self.capacity else self.oldest
        self.states[place], self.next_states[place] = frames
        self.actions[place], self.rewards[place] = action, reward
        if self.count < self.capacity:
            self.count += 1
        else:
            self.oldest = (self.oldest + 1) % self.capacity

    def take(self, places):
        """The experiences at `places`, copied into a batch."""
        return Batch(
            self.states[places].astype(np.float32),
            self.actions[places],
            self.rewards[places],
            self.next_states[places].astype(np.float32),
        )

    def _make_room(self, *frames):
        """Check two frames and see to it that the arrays can hold them exactly."""
        if self.states is None:
            self._allocate(frames[0].shape)
        for name, frame in zip(("S", "S_prime"), frames, strict=True):
            if frame.shape != self.states.shape[1:]:
                raise ValueError(
                    f"{name} has shape {frame.shape}; expected {self.states.shape[1:]}, the first's"
                )
            if frame.dtype.kind not in "fiub":
                raise TypeError(f"{name} has dtype {frame.dtype}; expected numbers")
            ones = np.count_nonzero(frame == 1)
            if self.states.dtype == np.uint8 and np.count_nonzero(frame) == ones:
                continue  # all others are zeros
            with np.errstate(over="ignore"):
                kept = frame.astype(np.float32)
            if not np.isfinite(kept).all():
                raise ValueError(f"{name} holds NaN or infinity; expected finite numbers")
            if self.states.dtype == np.uint8:
                self.states = self._widened(self.states)
                self.next_states = self._widened(self.next_states)

    def _allocate(self, frame_shape, dtype=np.uint8):
        """Make the arrays; they cost no memory before their pages are written to."""
        shape = (self.capacity, *frame_shape)
        try:
            self.states, self.next_states = np.empty(shape, dtype), np.empty(shape, dtype)
            self.actions = np.empty(self.capacity, np.int8)
            self.rewards = np.empty(self.capacity, np.float32)
        except (MemoryError, ValueError):
            raise MemoryError(
                f"capacity is {self.capacity}; so many frames of shape {frame_shape} do not fit"
            ) from None

    def _widened(self, frames):
        """`frames` with float32 pixels; places that hold nothing yet stay untouched."""
        wide = np.empty(frames.shape, np.float32)
        wide[: self.count] = frames[: self.count]
        return wide


def _checked(action, reward):
    """`action` and `reward`, if they are what they should be."""
    action = one_of_the_actions(action)
    if type(reward) is int and -1 <= reward <= 1:  # as the game has them: nothing to look at
        return action, reward
    if np.ndim(reward) != 0 or np.asarray(reward).dtype.kind not in "fiub":
        raise TypeError(f"reward is {reward!r}; expected a number")
    with np.errstate(over="ignore"):
        kept = np.float32(reward)
    # A reward that is not 0 ends a game; it must not be rounded to 0.
    if not math.isfinite(kept) or (kept == 0) != (reward == 0):
        raise ValueError(f"reward is {reward!r}; expected a finite number that float32 holds")
    return action, kept
