"""The recipe trained on the learner's own functions, wherever they are fit for it.

Each goes in where the package takes others than its own: the frames of a game, layers, a loss,
an optimizer, a replay, a learning step. The network computes in float64, as the exercises say;
frames are float32.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidqn import fruit
from minidqn.exercises.answers import limited
from minidqn.exercises.fitting import AnswerError, slide, slide_back
from minidqn.games import GameError
from minidqn.nn import Flatten, Sequential, layers, optimizers
from minidqn.replay import Batch
from minidqn.runs import Record, Settings
from minidqn.train import training

EPOCH_SECONDS = 300
"""How long an epoch may take; with loops that are not compiled it takes some seconds."""


class Conv2D(layers.Conv2D):
    """A convolution by the tables of a learner's functions.

    Parameters
    ----------
    *how
        As for the package's own.
    convolve, convolution_backward : dict of int to tuple of Table
        By the rows of the images; None for ours.
    """

    def __init__(self, *how: Any, convolve: dict | None, convolution_backward: dict | None):
        super().__init__(*how)
        self.convolve, self.convolution_backward = convolve, convolution_backward

    def forward(self, x: np.ndarray) -> np.ndarray:
        if self.convolve is None:
            return super().forward(x)
        (windows,), self.x = self.convolve[x.shape[1]], x
        return self._activate(slide(windows, x, self.kernel) + self.bias)

    def backward(self, g: np.ndarray) -> np.ndarray:
        if self.convolution_backward is None:
            return super().backward(g)
        g, (windows, spread) = self._gate(g), self.convolution_backward[self.x.shape[1]]
        dx, self.kernel_gradient[...] = slide_back(windows, spread, self.x, self.kernel, g)
        self.bias_gradient[...] = g.sum(axis=(0, 1, 2))
        return dx


class Dense(layers.Dense):
    """A dense layer that goes back by a learner's function.

    Parameters
    ----------
    *how
        As for the package's own.
    dense_backward : callable
        The learner's; None for ours.
    """

    def __init__(self, *how: Any, dense_backward: Callable | None):
        super().__init__(*how)
        self.dense_backward = dense_backward

    def backward(self, g: np.ndarray) -> np.ndarray:
        if self.dense_backward is None:
            return super().backward(g)
        dx, dw, db = self.dense_backward(self.x, self.kernel, self._gate(g))
        self.kernel_gradient[...], self.bias_gradient[...] = dw, db
        return dx


class Loss:
    """A learner's loss.

    Parameters
    ----------
    mean_squared_error : callable
        The learner's.
    """

    def __init__(self, mean_squared_error: Callable):
        self.mean_squared_error = mean_squared_error

    def value(self, predictions: np.ndarray, targets: np.ndarray) -> float:
        """The loss of `predictions` for their `targets`."""
        return float(self.mean_squared_error(predictions, targets)[0])

    def gradient(self, predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The slope of the loss by the `predictions`, for their `targets`."""
        return self.mean_squared_error(predictions, targets)[1]


class RMSprop(optimizers.RMSprop):
    """A learner's update.

    Parameters
    ----------
    learning_rate : float
        Length of a step.
    rmsprop : callable
        The learner's.
    """

    def __init__(self, learning_rate: float, rmsprop: Callable):
        super().__init__(learning_rate)
        self.rmsprop = rmsprop

    def update(self, parameters: np.ndarray, gradients: np.ndarray) -> bool:
        v = self.state["mean_square"]
        rates = self.learning_rate, self.rho, self.epsilon
        parameters[...], v[...] = self.rmsprop(parameters, v, gradients, *rates)
        return bool(np.isfinite(parameters).all() and np.isfinite(v).all())


class Replay:
    """A memory that is a list, and a learner's batches from it: ``next`` gives one, or None.

    Parameters
    ----------
    settings : Settings
        Of which the capacity and the size of a batch count.
    rng : numpy.random.Generator
        Draws the batches.
    replay_sample : callable
        The learner's.
    """

    def __init__(self, settings: Settings, rng: np.random.Generator, replay_sample: Callable):
        self.settings, self.rng, self.replay_sample = settings, rng, replay_sample
        self.memory = []

    def store(self, experience: tuple) -> None:
        """Put one `experience` behind the newest; the oldest goes, if there are too many."""
        S, action, reward, S_prime, _ = experience
        frames = S.view(), S_prime.view()
        for frame in frames:
            frame.flags.writeable = False  # it is in many batches
        self.memory.append((frames[0], action, float(reward), frames[1]))
        del self.memory[: -self.settings.capacity]

    def __next__(self) -> Batch | None:
        if len(self.memory) < self.settings.batch_size:
            return None
        batch = self.replay_sample(self.memory, self.settings.batch_size, self.rng)
        states, actions, rewards, next_states = batch
        return Batch(states, actions, rewards, next_states, rewards != 0)


def learning(td_targets: Callable) -> Callable[..., float]:
    """A learning step towards a learner's targets.

    Parameters
    ----------
    td_targets : callable
        The learner's.

    Returns
    -------
    callable
        It takes what ``qlearning.learn`` takes.
    """

    def learn(model, batch, gamma, *_):
        def make_targets(q_values, next_q_values):
            given = batch.actions, np.asarray(batch.rewards, float), next_q_values
            return td_targets(q_values, *given, gamma)[0]

        return model.bootstrap_on_batch(batch.states, batch.next_states, make_targets)

    return learn


def q_network(own: dict, settings: Settings, rng: np.random.Generator) -> Sequential:
    """The recipe's network, with a learner's functions in it.

    Parameters
    ----------
    own : dict of str to object
        By the function's name, as ``fitting.prepare`` has made it; None for ours.
    settings : Settings
        The run's.
    rng : numpy.random.Generator
        Draws the first weights.

    Returns
    -------
    Sequential
        Compiled, in float64.
    """
    model, shape = Sequential(rng=rng), (1, settings.grid_size, settings.grid_size)
    tables = {name: own[name] for name in ("convolve", "convolution_backward")}
    for count in settings.filters:
        model.add(Conv2D(count, settings.kernel_size, "relu", shape, **tables))
        shape = None
    model.add(Flatten())
    for units, activation in (settings.units, "relu"), (len(fruit.ACTIONS), None):
        model.add(Dense(units, activation, dense_backward=own["dense_backward"]))
    model = model.astype(np.float64)
    rule, loss = optimizers.get(settings.optimizer, settings.learning_rate), settings.loss
    if own["rmsprop"]:
        rule = RMSprop(settings.learning_rate, own["rmsprop"])
    if own["mean_squared_error"]:
        loss = Loss(own["mean_squared_error"])
    model.compile(rule, loss, "numpy")
    return model


def train(own: dict, settings: Settings) -> tuple[fruit.Fruit, Sequential, Iterator[Record]]:
    """The run, on a learner's functions.

    Parameters
    ----------
    own, settings
        As for `q_network`.

    Returns
    -------
    game : Fruit
        With the learner's frames.
    model : Sequential
        The network, before its training.
    records : iterator of Record
        As from ``train.training``, which trains it; `AnswerError` if a learner's function
        goes wrong.
    """
    streams, game = settings.streams(), fruit.Fruit(settings.grid_size)
    how: dict = {}
    if own["draw"]:

        def draw(*place):
            return own["draw"](*place)[0]

        game.episode = functools.partial(fruit.episode, settings.grid_size, draw=draw)
    if own["replay_sample"]:
        how["memory"] = how["replay"] = Replay(settings, streams.replay, own["replay_sample"])
    if own["td_targets"]:
        how["learning_step"] = learning(own["td_targets"])
    model = q_network(own, settings, streams.weights)
    return game, model, _records(training(model, settings, streams, game, **how))


def _records(records):
    """The same, each in its time; a fault of a learner's `draw` is no fault of the game."""
    try:
        while True:
            with limited(EPOCH_SECONDS):
                record = next(records, None)
            if record is None:
                return
            yield record
    except GameError as error:
        raise error.__cause__ if isinstance(error.__cause__, AnswerError) else error from None


def first_step(settings: Settings) -> int:
    """The epoch in which the first learning step of a run with these `settings` is made."""
    return math.ceil(settings.batch_size / (settings.grid_size - 2))


def forecast(own: dict, settings: Settings) -> tuple[float, float]:
    """How long a run will take, measured in a few epochs of another one.

    Parameters
    ----------
    own, settings
        As for `q_network`.

    Returns
    -------
    step, whole : float
        Seconds of a learning step, and of the run, without its evaluations.
    """
    silent = first_step(settings) - 1
    short = dataclasses.replace(settings, epochs=silent + 5, eval_every=silent + 5)
    records = itertools.islice(train(own, short)[2], silent + 4)
    epoch = min(np.diff([record.seconds for record in records][silent:]))
    return epoch / (settings.grid_size - 2), epoch * max(settings.epochs - silent, 0)
