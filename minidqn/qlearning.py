"""Q-learning on any network: acting, targets, one learning step.

A network here is anything with ``predict(states)`` and ``train_on_batch(states,
targets)``. Q(S, a) is its estimate of the return, the discounted sum of all
rewards to come, after action a in state S. Its columns are in the order of the game's
actions, which are those of Fruit unless a function is told others.

References
----------
Watkins (1989), *Learning from Delayed Rewards*. Mnih et al. (2013), *Playing
Atari with Deep Reinforcement Learning*. Sutton & Barto, *Reinforcement Learning*
(2018), section 6.5.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from minidqn.checks import generator, number
from minidqn.fruit import ACTIONS


class Predictor(Protocol):
    """A network as far as it plays: anything with ``predict``."""

    def predict(self, states: np.ndarray) -> np.ndarray:
        """Q(S, a) [shape=(N, A)] for `states` [shape=(N, C, H, W)]."""


class Network(Predictor, Protocol):
    """A network that learns: anything with ``predict`` and ``train_on_batch``."""

    def train_on_batch(self, states: np.ndarray, targets: np.ndarray) -> float:
        """One step that brings Q(S, a) of `states` closer to `targets`; the loss before it."""


def greedy(q_values: npt.ArrayLike, actions: tuple[int, ...] = ACTIONS) -> np.ndarray:
    """The best action of each state.

    Parameters
    ----------
    q_values : ndarray [shape=(N, A)]
        Q(S, a) for each action.
    actions : tuple of int
        The game's.

    Returns
    -------
    ndarray [shape=(N,)]
        argmax_a Q(S, a); the leftmost one of several that are equal.
    """
    q_values = np.asarray(q_values)
    if q_values.shape[-1:] != (len(actions),):
        raise ValueError(f"q_values has shape {q_values.shape}; expected (N, {len(actions)})")
    return np.array(actions)[q_values.argmax(axis=-1)]


def columns(chosen: npt.ArrayLike, actions: tuple[int, ...] = ACTIONS) -> np.ndarray:
    """Which column of the Q-values each action has.

    Parameters
    ----------
    chosen : ndarray [shape=(N,)]
        Actions.
    actions : tuple of int
        The game's.

    Returns
    -------
    ndarray [shape=(N,)], int
        From 0 to A - 1.
    """
    same = np.asarray(chosen)[:, np.newaxis] == np.array(actions)
    if not same.any(axis=1).all():
        raise ValueError(f"actions holds {np.setdiff1d(chosen, actions)}; expected {actions} only")
    return same.argmax(axis=1)


def epsilon_greedy(
    model: Predictor,
    state: npt.ArrayLike,
    epsilon: float,
    rng: np.random.Generator | None,
    actions: tuple[int, ...] = ACTIONS,
) -> int:
    """A random action with probability epsilon, else the best one known.

    Parameters
    ----------
    model : Predictor
        A network; only asked when the action is not random.
    state : ndarray [shape=(C, H, W)]
        One frame.
    epsilon : float
        Share of random actions, in [0, 1].
    rng : numpy.random.Generator or None
        Decides whether to explore, and draws the action then; fresh entropy if
        None.
    actions : tuple of int
        The game's.

    Returns
    -------
    int
        One of them.

    References
    ----------
    Sutton & Barto (2018), section 2.2.
    """
    number("epsilon", epsilon, "[0, 1]")
    rng = generator(rng)
    if rng.random() < epsilon:
        return actions[rng.integers(len(actions))]
    q_values = model.predict(np.asarray(state)[np.newaxis])[0]
    return actions[np.asarray(q_values).argmax()]


def td_targets(
    q_values: npt.ArrayLike,
    actions: npt.ArrayLike,
    rewards: npt.ArrayLike,
    next_values: npt.ArrayLike,
    dones: npt.ArrayLike,
    gamma: float = 0.8,
) -> np.ndarray:
    """What a network should have said: the targets of one learning step.

    The chosen action's target is ``reward + gamma * next_value``, or ``reward`` where the
    game has ended. The targets of the other actions are the network's own values, so that
    their errors are 0.

    Parameters
    ----------
    q_values : ndarray [shape=(N, A)]
        Q(S, a) for every action, as the network says now.
    actions : array_like [shape=(N,)]
        Columns of the actions chosen, from 0 to A - 1.
    rewards : array_like [shape=(N,)]
        What they earned.
    next_values : array_like [shape=(N,)]
        The value of S', such as the max over a of Q(S', a).
    dones : array_like of bool [shape=(N,)]
        Where the game has ended; the next value there may be anything.
    gamma : float
        Discount factor, in [0, 1).

    Returns
    -------
    ndarray [shape=(N, A)]
        A new array, in the dtype of `q_values` if that is a float dtype.

    References
    ----------
    Mnih et al. (2013), equation 2.

    Examples
    --------
    >>> q_values = np.full((2, 3), 9.0)
    >>> td_targets(q_values, [0, 2], [0, 1], next_values=[0.5, 7], dones=[False, True])
    array([[0.4, 9. , 9. ],
           [9. , 9. , 1. ]])
    """
    number("gamma", gamma, "[0, 1)")
    targets = np.array(q_values, np.result_type(q_values, np.float32))
    given = {"actions": actions, "rewards": rewards, "next_values": next_values, "dones": dones}
    for name, kinds in zip(given, ("iu", "fiu", "fiu", "b"), strict=True):
        array = np.asarray(given[name])
        if array.shape != targets.shape[:1] or targets.ndim != 2:
            raise ValueError(f"{name} has shape {array.shape}; q_values {targets.shape}")
        if array.size and array.dtype.kind not in kinds:
            raise TypeError(f"{name} has dtype {array.dtype}; expected one of {kinds}")
    actions, rewards, next_values, dones = map(np.asarray, given.values())
    if not ((actions >= 0) & (actions < targets.shape[1])).all():
        raise ValueError(f"actions holds {actions!r}; expected columns below {targets.shape[1]}")
    returns = np.where(dones, rewards, rewards + gamma * next_values)
    targets[np.arange(len(targets)), actions.astype(int)] = returns
    return targets


def learn(
    model: Network,
    batch: Any,
    gamma: float = 0.8,
    actions: tuple[int, ...] = ACTIONS,
    target: Predictor | None = None,
    double: bool = False,
) -> float:
    """One learning step on a batch of experiences.

    Asks the network for its values of the next states, where a game goes on,
    and of the states, and trains it towards `td_targets`. A network with the
    method ``bootstrap_on_batch`` (`minidqn.nn.Sequential` has it) is asked for
    the values of the states only once: they are part of the targets and the
    prediction too.

    Parameters
    ----------
    model : Network
        A network, compiled.
    batch : Batch
        Experiences, at least one.
    gamma : float
        Discount factor of the next states' values, in [0, 1).
    actions : tuple of int
        The game's.
    target : Predictor, optional
        A network that rates the next states in the place of `model`: its older self.
    double : bool
        Whether `model` chooses the next states' actions, and `target` only rates them.

    Returns
    -------
    float
        The loss before the update.

    References
    ----------
    Mnih et al. (2015), algorithm 1, for the target network; van Hasselt, Guez & Silver
    (2016), *Deep Reinforcement Learning with Double Q-learning*, equation 4.
    """
    if len(batch) == 0:
        raise ValueError("batch is empty; expected at least one experience")
    if double and target is None:
        raise ValueError("double is True and target None; expected a network that rates")
    chosen, goes_on = columns(batch.actions, actions), ~batch.dones
    next_states = batch.next_states[goes_on]
    asked = next_states if target is None or double else next_states[:0]  # of the model itself

    def make_targets(q_values, own_values):
        rated = own_values
        if target is not None and len(next_states):
            rated = np.asarray(target.predict(next_states))
        best = np.argmax(own_values if double else rated, axis=1)
        next_values = np.zeros(len(q_values), q_values.dtype)
        next_values[goes_on] = rated[np.arange(len(best)), best]
        return td_targets(q_values, chosen, batch.rewards, next_values, batch.dones, gamma)

    if hasattr(model, "bootstrap_on_batch"):
        return model.bootstrap_on_batch(batch.states, asked, make_targets)
    states, own_values = np.asarray(batch.states), np.zeros((0, len(actions)))
    next_states = np.asarray(next_states)
    if len(asked):
        own_values = np.asarray(model.predict(next_states))
    targets = make_targets(np.asarray(model.predict(states)), own_values)
    return float(model.train_on_batch(states, targets))
