"""Training: the loop, and ``python -m minidqn.train``."""

import math
import runpy
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidqn import cli
from minidqn.evaluate import mean_return, q_error, recorded_games, wins
from minidqn.fruit import Fruit
from minidqn.games import Game, load
from minidqn.nn import Sequential
from minidqn.qlearning import Network, Predictor, epsilon_greedy, learn
from minidqn.replay import Batch, Memory, experience_replay, n_step_returns
from minidqn.runs import Record, Settings, Streams, game_of

EVAL_GAMES = 20
"""Greedy games whose mean return is measured, if a game has no exact measure."""

TEST_GAMES = 10
"""Games that are played and drawn after the training."""


class DivergenceError(ArithmeticError):
    """A loss or a weight is not a number any more, or infinite."""


def training(
    model: Network,
    settings: Settings,
    streams: Streams,
    game: Game | None = None,
    memory: Memory | None = None,
    last: Record | None = None,
    target: Any = None,
    replay: Iterator[Batch | None] | None = None,
    learning_step: Callable[..., float] | None = None,
) -> Iterator[Record]:
    """The loop, as a generator that yields one record an epoch.

    Each epoch is one episode; after each step the experiences that are complete by then go into
    the memory, and as soon as that can fill a batch, one learning step follows, unless the
    settings want fewer. The caller may stop after any record, and `model` is what the
    records say.

    Parameters
    ----------
    model : Network
        Anything with ``predict`` and ``train_on_batch``; it is changed. With a target network
        it has ``get_weights`` and ``set_weights``, too, and is copied with ``copy.deepcopy``;
        with a final learning rate, ``optimizer.learning_rate``.
    settings : Settings
        Of which the seed and what the network is made with are not used here.
    streams : Streams
        Of which game, exploration and replay are drawn from.
    game : Game, optional
        What it plays; by default the game of this package that the settings name.
    memory : Memory, optional
        The experiences of a run that goes on; none by default.
    last : Record, optional
        Its last epoch's; by default the run begins.
    target : object, optional
        The target network of a run that goes on; by default a copy of `model`, if the settings
        want one.
    replay : iterator, optional
        Gives a `Batch` for each ``next``, or None while there is none; by default batches from
        `memory`.
    learning_step : callable, optional
        What learns from a batch, called as ``qlearning.learn`` is, which is the default.

    Yields
    ------
    Record
        After each epoch. The return, wins and q_error are measured every ``eval_every``
        epochs and after the last.

    Raises
    ------
    TypeError
        If the learning rate is to fall, and `model` has none.
    ValueError
        If `model` does not give one Q-value for each action of the game.
    DivergenceError
        If a loss or a weight is not finite, before the epoch ends.
    GameError
        If the game does what no game may do.
    """
    game = game_of(settings, game)
    memory = Memory(settings.capacity, game.shape) if memory is None else memory
    if replay is None:
        replay = experience_replay(settings.batch_size, settings.capacity, streams.replay, memory)
    returns = n_step_returns(settings.n_step, settings.gamma)
    next(replay), next(returns)  # both now wait for the first step
    discount, learning_step = settings.gamma**settings.n_step, learning_step or learn
    target = settings.target_network(model) if target is None else target
    falls = settings.final_learning_rate is not None
    if falls and not hasattr(getattr(model, "optimizer", None), "learning_rate"):
        raise TypeError("model has no optimizer.learning_rate; final_learning_rate needs one")
    _require_values(model, game)
    epoch, steps, updates, seconds = 0, 0, 0, 0.0
    if last is not None:
        epoch, steps, updates, seconds = last.epoch, last.steps, last.updates, last.seconds
    began = time.perf_counter() - seconds
    while not settings.ended(last):
        epoch, loss, episode_return = epoch + 1, 0.0, 0.0
        if falls:
            model.optimizer.learning_rate = settings.learning_rate_at(last)
        ep = game.start(streams.game)
        turn = next(ep)
        while not turn.done:
            S, epsilon = turn.frame, settings.epsilon_at(steps)
            action = epsilon_greedy(model, S, epsilon, streams.exploration, game.actions)
            S_prime, reward, terminated, truncated = turn = ep.send(action)
            for experience in returns.send((S, action, reward, S_prime, terminated, truncated)):
                memory.store(experience)
            steps += 1
            episode_return += reward
            batch = next(replay) if settings.learns_at(steps) else None
            if batch is not None:
                how = discount, game.actions, target, settings.double
                update_loss = learning_step(model, batch, *how)
                updates += 1
                _require_finite(model, update_loss, epoch, updates)
                loss += update_loss
            if target is not None and steps % settings.target_update_interval == 0:
                target.set_weights(model.get_weights())
        seconds, unmeasured = time.perf_counter() - began, (None,) * 4
        last = Record(epoch, steps, updates, loss, episode_return, *unmeasured, seconds)
        if epoch % settings.eval_every == 0 or settings.ended(last):
            last = measured(last, model, game, settings)
            last = last._replace(seconds=time.perf_counter() - began)
        yield last


def measured(record: Record, model: Predictor, game: Game, settings: Settings) -> Record:
    """The `record` of an epoch that ends with this `model`, with how well that plays.

    Fruit is measured exactly, over all of its starts; any other `game` by `EVAL_GAMES` games,
    which the `settings` make the same each time.
    """
    if not isinstance(game, Fruit):
        rng = settings.streams().test
        return record._replace(mean_return=mean_return(model, game, EVAL_GAMES, rng))
    won, error = wins(model, game.grid_size), q_error(model, game.grid_size, settings.gamma)
    record = record._replace(wins=int(won.sum()), starts=won.size, q_error=error)
    return record._replace(mean_return=float(2 * won.mean() - 1))  # a game earns 1 or -1


def _require_values(model, game):
    """Stop before a network learns whose outputs are not the Q-values of the game's actions."""
    shape = np.shape(model.predict(np.zeros((1, *game.shape), np.float32)))
    if shape != (1, len(game.actions)):
        wanted = f"(1, {len(game.actions)}), one Q-value for each action"
        raise ValueError(
            f"model.predict gives {shape} for a frame of {game.name}; expected {wanted}"
        )


def _require_finite(model, loss, epoch, update):
    """Stop a run whose numbers have gone wrong, and say where they were first seen."""
    where = model.first_not_finite(loss) if hasattr(model, "first_not_finite") else None
    if where is None and math.isfinite(loss):
        return
    raise DivergenceError(
        f"epoch {epoch}, update {update}: {where or 'the loss'} is not finite (loss {loss:g})"
    )


def play_test_games(
    model: Predictor, settings: Settings, games: int = TEST_GAMES, game: Game | None = None
) -> list[tuple[list[np.ndarray], float]]:
    """A run's test games, played greedily; they start where its ``test`` stream says.

    Parameters
    ----------
    model : Predictor
        Anything with ``predict``.
    settings : Settings
        The run's.
    games : int
        How many.
    game : Game, optional
        The run's; as for `training`.

    Returns
    -------
    list of (list of ndarray, float)
        Each game's frames and its return.
    """
    rng, game = settings.streams().test, game_of(settings, game)
    return recorded_games(model, [game.start(rng) for _ in range(games)], game.actions)


def train(
    game: str | Game = "fruit", engine: str = "auto", verbose: str | bool = "auto", **settings: Any
) -> tuple[Sequential, list[Record]]:
    """Train a network to play a game, as ``python -m minidqn.train`` does, but keep no files.

    In a notebook the progress and the curve stand below the cell, and grow.

    Parameters
    ----------
    game : str or Game
        A game, or the name that ``games.load`` knows it by.
    engine : str
        What computes; see ``Sequential.compile``.
    verbose : "auto" or bool
        Whether to show how it goes; "auto" does so in a notebook and on a terminal.
    **settings
        What is to be other than in `Settings`, such as ``epochs=100``.

    Returns
    -------
    model : Sequential
        The network.
    records : list of Record
        One for each epoch.

    Raises
    ------
    DivergenceError, GameError
        As from `training`.

    Examples
    --------
    >>> model, records = train("fruit", grid_size=5, epochs=3, batch_size=4)
    >>> records[-1].steps
    9
    """
    settings = Settings(game=game.name if isinstance(game, Game) else game, **settings)
    game = game if isinstance(game, Game) else load(game, settings.grid_size)
    streams = settings.streams()
    model = settings.q_network(game, streams.weights, engine)
    records = []
    with cli.watching(settings, verbose) as show:
        for record in training(model, settings, streams, game):
            records.append(record)
            show(record)
    return model, records


if __name__ == "__main__":
    runpy.run_module("minidqn.command", run_name="__main__")  # which imports this module
