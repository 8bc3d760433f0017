"""How good is a network? Greedy play in any game, and on Fruit its distance from Q*.

Many games are played in lockstep: one batched forward chooses the next action
of all of them.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from minidqn.checks import generator, whole
from minidqn.exact import q_star
from minidqn.fruit import ACTIONS, draw, episode, starts
from minidqn.games import Episode, Game
from minidqn.qlearning import Predictor, greedy


def greedy_games(
    model: Predictor, episodes: Iterable[Episode], actions: tuple[int, ...] = ACTIONS
) -> Iterator[dict[int, tuple]]:
    """Play games with the best known action at every step.

    Parameters
    ----------
    model : Predictor
        Anything with ``predict``.
    episodes : iterable of coroutine
        Games that have not begun, from ``Game.start`` or like ``fruit.episode()``.
    actions : tuple of int
        The game's.

    Yields
    ------
    dict of int to tuple
        After every step, for each game that took part in it: its place in
        `episodes`, and the turn that it yielded, (frame, reward, ...).

    Examples
    --------
    >>> from minidqn.recipe import q_network
    >>> games = [episode(grid_size=10, start=start) for start in starts(10)]
    >>> [len(step) for step in greedy_games(q_network(), games)]
    [80, 80, 80, 80, 80, 80, 80, 80, 80]
    """
    running = dict(enumerate(episodes))
    step = {game: next(ep) for game, ep in running.items()}
    while step:
        yield step
        for game, (_, reward, *ends) in step.items():
            if any(ends) if ends else reward != 0:
                running.pop(game).close()
        if running:
            q_values = model.predict(np.stack([step[game][0] for game in running]))
            chosen = dict(zip(running, greedy(q_values, actions).tolist(), strict=True))
        step = {game: ep.send(chosen[game]) for game, ep in running.items()}


def mean_return(
    model: Predictor, game: Game, games: int = 100, rng: np.random.Generator | None = None
) -> float:
    """The mean over games of the sum of all rewards, with greedy play.

    Parameters
    ----------
    model : Predictor
        Anything with ``predict``.
    game : Game
        Which one.
    games : int
        How many are played.
    rng : numpy.random.Generator, optional
        Every game draws from a child of its own, so that play does not change how the next
        one begins; fresh entropy by default.

    Returns
    -------
    float
        In units of reward.
    """
    episodes = [game.start(child) for child in generator(rng).spawn(whole("games", games))]
    return sum(total for _, total in recorded_games(model, episodes, game.actions)) / games


def random_return(game: Game, games: int = 1000, rng: np.random.Generator | None = None) -> float:
    """The mean over games of the sum of all rewards, with actions drawn uniformly.

    Parameters
    ----------
    game : Game
        Which one.
    games : int
        How many are played.
    rng : numpy.random.Generator, optional
        As for `mean_return`, and for the actions.

    Returns
    -------
    float
        In units of reward.
    """
    total = 0.0
    for child in generator(rng).spawn(whole("games", games)):
        ep = game.start(child)
        turn = next(ep)
        while not turn.done:
            turn = ep.send(game.actions[child.integers(len(game.actions))])
            total += turn.reward
    return total / games


def recorded_games(
    model: Predictor, episodes: Sequence[Episode], actions: tuple[int, ...] = ACTIONS
) -> list[tuple[list[np.ndarray], float]]:
    """Play games greedily and keep every frame.

    Parameters
    ----------
    model : Predictor
        Anything with ``predict``.
    episodes : list of coroutine
        As for `greedy_games`.
    actions : tuple of int
        The game's.

    Returns
    -------
    list of (list of ndarray, float)
        Each game's frames, and the sum of its rewards.
    """
    frames = [[] for _ in episodes]
    returns = [0] * len(episodes)
    for step in greedy_games(model, episodes, actions):
        for game, (frame, reward, *_) in step.items():
            returns[game] += reward if frames[game] else 0  # the first is no action's
            frames[game].append(frame)
    return list(zip(frames, returns, strict=True))


def wins(model: Predictor, grid_size: int = 10) -> np.ndarray:
    """Which starts of the game greedy play wins, all of them tried.

    Parameters
    ----------
    model : Predictor
        Anything with ``predict`` that takes (N, 1, G, G).
    grid_size : int
        Rows and columns of the grid, G.

    Returns
    -------
    ndarray [shape=(G, G - 2)], bool
        Axes: the fruit's column (0 to G - 1), the basket's centre less one
        (centres 1 to G - 2).
    """
    won = np.zeros(len(starts(grid_size)), bool)
    games = [episode(grid_size, start=start) for start in starts(grid_size)]
    for step in greedy_games(model, games):
        for game, (_, reward) in step.items():
            won[game] = reward > 0
    return won.reshape(grid_size, grid_size - 2)


def win_rate(model: Predictor, grid_size: int = 10) -> float:
    """The share of all G * (G - 2) starts that greedy play wins.

    Parameters
    ----------
    model : Predictor
        Anything with ``predict`` that takes (N, 1, G, G).
    grid_size : int
        Rows and columns of the grid, G.

    Returns
    -------
    float
        In [0, 1]; exact, not an estimate: every start is played.
    """
    return float(wins(model, grid_size).mean())


def q_table(model: Predictor, grid_size: int = 10) -> np.ndarray:
    """The network's Q-values of every state in which a game goes on.

    Parameters
    ----------
    model : Predictor
        Anything with ``predict`` that takes (N, 1, G, G).
    grid_size : int
        Rows and columns of the grid, G.

    Returns
    -------
    ndarray [shape=(G - 2, G, G - 2, 3)]
        Axes as in ``exact.q_star``.
    """
    rows, places = [], starts(grid_size)
    frames = np.stack([draw(grid_size, 0, *place) for place in places])
    for _ in range(grid_size - 2):  # row by row, as all frames at once may not fit
        rows.append(model.predict(frames))
        frames[:, :, 1:-1] = frames[:, :, :-2]  # the fruit falls; the basket's row stays
        frames[:, :, 0] = 0
    return np.reshape(rows, (grid_size - 2, grid_size, grid_size - 2, len(ACTIONS)))


def margins(q: np.ndarray) -> np.ndarray:
    """How narrowly greedy play wins or loses, from each start.

    On its way a game may come to steps at which some actions throw the win away and others do
    not. There the best of the latter leads the best of the former by some value; the margin is
    the smallest of these leads. It is negative where the game is lost. (The lead of the best
    action over the next would say little: at most steps all actions are equally good.)

    Parameters
    ----------
    q : ndarray [shape=(G - 2, G, G - 2, 3)]
        As `q_table` returns it.

    Returns
    -------
    ndarray [shape=(G, G - 2)]
        In units of reward; infinite where no action on the way loses. Axes as in `wins`.

    Examples
    --------
    >>> margin = margins(q_star(grid_size=10))
    >>> bool(np.isclose(margin[9, 0], 0.8**6 - -(0.8**6)))  # the second step decides
    True
    """
    rows, columns, places, _ = q.shape
    fruit, basket = np.indices((columns, places))  # the basket's centre less one, as in the table
    wins_on = q_star(columns, 0.5) > 0
    margin = np.full((columns, places), np.inf)
    for row in range(rows):
        values, right = q[row, fruit, basket].astype(float), wins_on[row, fruit, basket]
        best = np.max(values, axis=-1, where=right, initial=-np.inf)
        worse = np.max(values, axis=-1, where=~right, initial=-np.inf)
        decides = right.any(axis=-1) & ~right.all(axis=-1)
        with np.errstate(invalid="ignore"):  # values may be infinite
            margin = np.where(decides, np.minimum(margin, best - worse), margin)
        basket = np.clip(basket + greedy(values), 0, places - 1)
    return margin


def q_error(model: Predictor, grid_size: int = 10, gamma: float = 0.8) -> float:
    """The mean of |Q - Q*| over all states in which a game goes on and all actions.

    Parameters
    ----------
    model : Predictor
        Anything with ``predict`` that takes (N, 1, G, G).
    grid_size : int
        Rows and columns of the grid, G.
    gamma : float
        Discount factor, in [0, 1).

    Returns
    -------
    float
        The mean absolute error, in units of reward.
    """
    return float(np.abs(q_table(model, grid_size) - q_star(grid_size, gamma)).mean())
