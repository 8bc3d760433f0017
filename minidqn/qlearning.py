"""Q-learning on any network: acting, targets, one learning step.

A network here is anything with ``predict(states)`` and ``train_on_batch(states,
targets)``. Q(S, a) is its estimate of the return, the discounted sum of all
rewards to come, after action a in state S; the column of action a is a + 1.

References
----------
Watkins (1989), *Learning from Delayed Rewards*. Mnih et al. (2013), *Playing
Atari with Deep Reinforcement Learning*. Sutton & Barto, *Reinforcement Learning*
(2018), section 6.5.
"""

import numpy as np

from minidqn.checks import generator, number
from minidqn.fruit import ACTIONS

__all__ = ["epsilon_greedy", "greedy", "learn", "td_targets"]


def greedy(q_values):
    """The best action of each state.

    Parameters
    ----------
    q_values : ndarray [shape=(N, 3)]
        Q(S, a) for a = -1, 0, 1.

    Returns
    -------
    ndarray [shape=(N,)]
        argmax_a Q(S, a); the leftmost one of several that are equal.
    """
    return np.argmax(q_values, axis=-1) + ACTIONS[0]


def epsilon_greedy(model, state, epsilon, rng):
    """A random action with probability epsilon, else the best one known.

    Parameters
    ----------
    model : object
        A network; only asked when the action is not random.
    state : ndarray [shape=(1, G, G)]
        One frame.
    epsilon : float
        Share of random actions, in [0, 1].
    rng : numpy.random.Generator or None
        Decides whether to explore, and draws the action then; fresh entropy if
        None.

    Returns
    -------
    int
        -1, 0 or 1.

    Raises
    ------
    TypeError, ValueError
        If epsilon is not a number in [0, 1].

    References
    ----------
    Sutton & Barto (2018), section 2.2.
    """
    number("epsilon", epsilon, "[0, 1]")
    rng = generator(rng)
    if rng.random() < epsilon:
        return int(rng.integers(ACTIONS[0], ACTIONS[-1], endpoint=True))
    q_values = model.predict(np.asarray(state)[np.newaxis])[0]
    return ACTIONS[np.asarray(q_values).argmax()]


def td_targets(q_values, actions, rewards, next_q_values, gamma=0.8):
    """What a network should have said: the targets of one learning step.

    The chosen action's target is ``reward`` on the last frame of a game, else
    ``gamma * max over a of Q(S', a)``. The targets of the other actions are the
    network's own values, so that their errors are 0.

    Parameters
    ----------
    q_values : ndarray [shape=(N, 3)]
        Q(S, a) for a = -1, 0, 1, as the network says now.
    actions : array_like [shape=(N,)]
        The actions chosen: -1, 0 or 1.
    rewards : array_like [shape=(N,)]
        What they earned; not 0 exactly where the game ended.
    next_q_values : ndarray [shape=(N, 3)]
        Q(S', a); rows of games that ended are ignored.
    gamma : float
        Discount factor, in [0, 1).

    Returns
    -------
    ndarray [shape=(N, 3)]
        A new array, in the dtype of `q_values` if that is a float dtype.

    Raises
    ------
    TypeError, ValueError
        If gamma is not a number in [0, 1), a reward is not finite, an action is
        not in (-1, 0, 1), or the shapes do not fit each other.

    References
    ----------
    Mnih et al. (2013), equation 2, with the network's current weights.

    Examples
    --------
    >>> q_values, next_q_values = np.full((2, 3), 9.0), np.array([[0, 0.5, 0], [7, 7, 7]])
    >>> td_targets(q_values, [-1, 1], [0, 1], next_q_values)
    array([[0.4, 9. , 9. ],
           [9. , 9. , 1. ]])
    """
    number("gamma", gamma, "[0, 1)")
    targets, next_q_values = np.array(q_values), np.asarray(next_q_values)
    actions, rewards = np.asarray(actions), np.asarray(rewards)
    count = len(targets)
    for name, array, shape in (
        ("q_values", targets, (count, len(ACTIONS))),
        ("actions", actions, (count,)),
        ("rewards", rewards, (count,)),
        ("next_q_values", next_q_values, (count, len(ACTIONS))),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    if rewards.dtype.kind not in "fiub" or not np.isfinite(rewards).all():
        raise ValueError(f"rewards holds {rewards!r}; expected finite numbers")
    if actions.dtype.kind not in "iu":
        raise TypeError(f"actions has dtype {actions.dtype}; expected whole numbers")
    if count and (actions.max() > ACTIONS[-1] or actions.min() < ACTIONS[0]):
        raise ValueError(f"actions holds {np.setdiff1d(actions, ACTIONS)}; expected {ACTIONS} only")
    chosen = actions.astype(np.intp) - ACTIONS[0]
    if targets.dtype.kind != "f":
        targets = targets.astype(np.float64)
    bootstrapped = gamma * next_q_values.max(axis=1)
    targets[np.arange(count), chosen] = np.where(rewards != 0, rewards, bootstrapped)
    return targets


def learn(model, batch, gamma=0.8):
    """One learning step on a batch of experiences.

    Asks the network for its values of the next states, where a game goes on,
    and of the states, and trains it towards `td_targets`. A network with the
    method ``bootstrap_on_batch`` (`minidqn.nn.Sequential` has it) is asked for
    the values of the states only once: they are part of the targets and the
    prediction too.

    Parameters
    ----------
    model : object
        A network, compiled.
    batch : Batch
        Experiences, at least one.
    gamma : float
        Discount factor, in [0, 1).

    Returns
    -------
    float
        The loss before the update.

    Raises
    ------
    ValueError
        If gamma is outside [0, 1), or the network cannot take such states.
    """
    if len(batch) == 0:
        raise ValueError("batch is empty; expected at least one experience")
    goes_on = batch.rewards == 0
    next_states = batch.next_states[goes_on]

    def make_targets(q_values, values_that_go_on):
        next_q_values = np.zeros(q_values.shape, q_values.dtype)
        next_q_values[goes_on] = values_that_go_on
        return td_targets(q_values, batch.actions, batch.rewards, next_q_values, gamma)

    if hasattr(model, "bootstrap_on_batch"):
        return model.bootstrap_on_batch(batch.states, next_states, make_targets)
    values_that_go_on = model.predict(next_states) if len(next_states) else 0
    targets = make_targets(np.asarray(model.predict(batch.states)), values_that_go_on)
    return float(model.train_on_batch(batch.states, targets))
