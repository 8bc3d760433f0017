"""Training: the recipe of the network, the loop, and ``python -m minidqn.train``."""

import argparse
import contextlib
import dataclasses
import math
import os
import shlex
import signal
import sys
import time
from pathlib import Path

import numpy as np

from minidqn import checkpoint, cli, runs
from minidqn.checkpoint import State
from minidqn.checks import whole
from minidqn.evaluate import q_error, recorded_games, wins
from minidqn.fruit import episode
from minidqn.nn import Conv2D, Dense, Flatten, RMSprop, Sequential
from minidqn.nn.threads import available_cores
from minidqn.qlearning import epsilon_greedy, learn
from minidqn.replay import Memory, experience_replay
from minidqn.runs import Record, Settings

__all__ = [
    "TEST_GAMES",
    "DivergenceError",
    "count_weights",
    "main",
    "play_test_games",
    "q_network",
    "save_pictures",
    "training",
]

TEST_GAMES = 10
"""Games that are played and drawn after the training."""


def q_network(grid_size=10, rng=None, learning_rate=0.001, threads=None):
    """The recipe: two convolutions, two dense layers, RMSprop, mean squared error.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, G, at least 5: each of the two 3x3 "valid"
        convolutions takes two rows and columns away.
    rng : numpy.random.Generator, optional
        Draws the first weights; fresh entropy by default.
    learning_rate : float
        RMSprop's.
    threads : int, optional
        How many threads share a batch; one a core by default.

    Returns
    -------
    Sequential
        Compiled; from (N, 1, G, G) to (N, 3), Q(S, a) for a = -1, 0, 1. 60,483
        weights at G = 10.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of this kind.
    """
    Settings(grid_size=grid_size)  # says why a grid is too small
    model = Sequential(rng=rng, threads=threads)
    model.add(Conv2D(16, 3, activation="relu", input_shape=(1, grid_size, grid_size)))
    model.add(Conv2D(16, 3, activation="relu"))
    model.add(Flatten())
    model.add(Dense(100, activation="relu"))
    model.add(Dense(3))
    model.compile(RMSprop(learning_rate), "mse")
    return model


def count_weights(grid_size):
    """How many weights ``q_network(grid_size)`` has, without making it.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, G.

    Returns
    -------
    int
        60,483 at G = 10.
    """
    convolutions = (9 * 1 + 1) * 16 + (9 * 16 + 1) * 16
    return convolutions + ((grid_size - 4) ** 2 * 16 + 1) * 100 + (100 + 1) * 3


class DivergenceError(ArithmeticError):
    """A loss or a weight is not a number any more, or infinite."""


def training(model, settings, streams, memory=None, last=None):
    """The loop, as a generator that yields one record an epoch.

    Each epoch is one episode; after each step one experience goes into the
    memory, and as soon as that can fill a batch, one learning step follows. The
    caller may stop after any record, and `model` is what the records say.

    Parameters
    ----------
    model : object
        Anything with ``predict`` and ``train_on_batch``; it is changed.
    settings : Settings
        Of which seed and learning_rate are not used here.
    streams : Streams
        Of which game, exploration and replay are drawn from.
    memory : Memory, optional
        The experiences of a run that goes on; none by default.
    last : Record, optional
        Its last epoch's; by default the run begins.

    Yields
    ------
    Record
        After each epoch. Wins and q_error are measured every ``eval_every``
        epochs and after the last.

    Raises
    ------
    DivergenceError
        If a loss or a weight is not finite, before the epoch ends.
    """
    grid_size, epochs = settings.grid_size, settings.epochs
    replay = experience_replay(settings.batch_size, settings.capacity, streams.replay, memory)
    next(replay)
    done, steps, updates, seconds = 0, 0, 0, 0.0
    if last is not None:
        done, steps, updates, seconds = last.epoch, last.steps, last.updates, last.seconds
    began = time.perf_counter() - seconds
    for epoch in range(done + 1, epochs + 1):
        loss, reward = 0.0, 0
        ep = episode(grid_size, streams.game)
        S, _ = next(ep)
        while reward == 0:
            action = epsilon_greedy(model, S, settings.epsilon, streams.exploration)
            S_prime, reward = ep.send(action)
            batch = replay.send((S, action, reward, S_prime))
            S = S_prime
            steps += 1
            if batch is not None:
                update_loss = learn(model, batch, settings.gamma)
                updates += 1
                _require_finite(model, update_loss, epoch, updates)
                loss += update_loss
        won = error = None
        if epoch % settings.eval_every == 0 or epoch == epochs:
            won = int(wins(model, grid_size).sum())
            error = q_error(model, grid_size, settings.gamma)
        seconds = time.perf_counter() - began
        starts = grid_size * (grid_size - 2)
        yield Record(epoch, steps, updates, loss, won, starts, error, seconds)


def _require_finite(model, loss, epoch, update):
    """Stop a run whose numbers have gone wrong, and say where they were first seen."""
    where = model.first_not_finite(loss) if hasattr(model, "first_not_finite") else None
    if where is None and math.isfinite(loss):
        return
    seen = "" if where is None else f", first seen in {where}"
    raise DivergenceError(f"loss {loss} at epoch {epoch}, update {update}: not finite{seen}")


def save_pictures(model, settings, folder, games=TEST_GAMES):
    """Play the run's test games greedily, and save their frames and an animation.

    The games start where the run's ``test`` stream says, so they are the same
    each time.

    Parameters
    ----------
    model : object
        Anything with ``predict``.
    settings : Settings
        The run's.
    folder : Path
        Where images/000.png, images/001.png, ... and game.gif go.
    games : int
        How many.

    Returns
    -------
    list of (list of ndarray, int)
        Each game's frames and its last reward.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    from minidqn.images import save_gif, save_img

    played = play_test_games(model, settings, games)
    runs.remove_images(folder)
    saver = save_img(folder / runs.IMAGES)
    next(saver)
    for frames, _ in played:
        for frame in frames:
            saver.send(frame)
    save_gif(folder / runs.GIF, [frames for frames, _ in played])
    return played


def play_test_games(model, settings, games=TEST_GAMES):
    """The run's test games, played greedily.

    Parameters
    ----------
    model : object
        Anything with ``predict``.
    settings : Settings
        The run's.
    games : int
        How many.

    Returns
    -------
    list of (list of ndarray, int)
        Each game's frames and its last reward.
    """
    rng = settings.streams().test
    return recorded_games(model, [episode(settings.grid_size, rng) for _ in range(games)])


def _parser(given_only=False):
    """The command line of ``python -m minidqn.train``; for what was given only, if so."""
    parser = cli.Parser(
        prog="python -m minidqn.train",
        description="Train a network to catch falling fruit; see it learn, and keep the run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def add(flag, kind, default, text, metavar="N"):
        default = argparse.SUPPRESS if given_only else default
        parser.add_argument(f"--{flag}", type=kind, default=default, metavar=metavar, help=text)

    default = Settings()
    for flag, kind, text in (
        ("grid-size", int, "rows and columns of the grid, in cells"),
        ("epochs", int, "episodes to play, one an epoch"),
        ("batch-size", int, "experiences in a learning step"),
        ("epsilon", float, "share of random actions, 0 to 1"),
        ("gamma", float, "discount factor of a step, 0 to below 1"),
        ("learning-rate", float, "RMSprop's step length"),
        ("capacity", int, "experiences that the replay memory keeps"),
        ("seed", int, "number that all randomness comes from"),
        ("eval-every", int, "epochs from one evaluation to the next"),
    ):
        value = getattr(default, flag.replace("-", "_"))
        add(flag, kind, value, text, "N" if kind is int else "X")
    add("checkpoint-every", int, 50, "epochs from one checkpoint to the next")
    folder = Path("runs/fruit")
    add("out", runs.as_folder, folder, "folder that the run is kept in", "FOLDER")
    text = "threads that share a batch; the results do not depend on it"
    add("threads", int, available_cores(), text)
    parser.add_argument(
        "--resume", type=runs.as_folder, default=argparse.SUPPRESS, metavar="FOLDER",
        help="go on with the run in this folder; --epochs may be more than it had",
    )  # fmt: skip
    parser.add_argument(
        "--overwrite", action="store_true", default=argparse.SUPPRESS,
        help="replace a run that is there",
    )  # fmt: skip
    parser.add_argument(
        "--no-images", action="store_true", default=argparse.SUPPRESS, help="draw no pictures"
    )
    return parser


def _as_flags(error):
    """An error about settings, in the words of the command line."""
    words = str(error)
    for field in dataclasses.fields(Settings):
        if words.startswith(f"{field.name} is "):
            words = words.replace(field.name, f"--{field.name.replace('_', '-')}", 1)
    return words


def _settings(parser, options, folder, overwrite):
    """The settings of a run that is to begin in a folder."""
    try:
        settings = Settings(**options)
    except (TypeError, ValueError) as error:
        parser.error(_as_flags(error))
    if runs.holds_run(folder) and not overwrite:
        parser.error(
            f"--out {folder} holds a run already; use --overwrite to replace it, "
            "or --resume to go on with it"
        )
    return settings


def _begin(parser, settings, threads):
    """The state of a run before its first epoch."""
    grid_size, capacity = settings.grid_size, settings.capacity
    streams = settings.streams()
    try:
        np.empty((2, capacity, grid_size, grid_size), np.uint8)  # room for the memory's frames
        model = q_network(grid_size, streams.weights, settings.learning_rate, threads)
    except (MemoryError, ValueError, OverflowError) as error:
        if "learning_rate" in str(error):  # too small or too large for float32
            parser.error(_as_flags(error))
        parser.error(f"--grid-size {grid_size} and --capacity {capacity} do not fit into memory")
    return State(settings, model, streams, Memory(capacity), [])


def _resume(parser, options, folder, threads):
    """The state of a run at its last checkpoint that is whole."""

    def build(settings):
        return q_network(settings.grid_size, learning_rate=settings.learning_rate, threads=threads)

    def weights_of(settings):
        return count_weights(settings.grid_size)

    try:
        state, failures = checkpoint.load_latest(folder, weights_of, build)
    except ValueError as error:
        parser.error(f"--resume {folder}: no checkpoint can be read, start anew: {error}")
    except MemoryError:
        parser.error(f"--resume {folder}: its network and memory do not fit into memory")
    done = len(state.records)
    for failure in failures:
        print(f"{failure}; going on from {runs.PREVIOUS}, epoch {done}", file=sys.stderr)
    for name, value in options.items():
        had = getattr(state.settings, name)
        if name != "epochs" and value != had:
            flag = f"--{name.replace('_', '-')}"
            parser.error(f"{flag} is {value}; the run in {folder} has {had}, and keeps it")
    epochs = options.get("epochs", state.settings.epochs)
    if epochs < done:
        parser.error(f"--epochs is {epochs}; the run in {folder} has done {done} already")
    settings = dataclasses.replace(state.settings, epochs=epochs)
    # What was measured because an epoch was the last is not, now that it is not.
    records = [
        record
        if record.epoch % settings.eval_every == 0 or record.epoch == epochs
        else record._replace(wins=None, q_error=None)
        for record in state.records
    ]
    return state._replace(settings=settings, records=records)


class _Stop:
    """Takes note of Ctrl-C and SIGTERM, so that an epoch can end first; a second one ends it all.

    Attributes
    ----------
    signal : int or None
        What has come.
    """

    def __init__(self):
        self.signal = None
        self._before = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not in the main thread, which alone gets signals
                break
        return self

    def _note(self, number, frame):
        self.signal = number
        signal.signal(number, self._before[number])
        os.write(2, b"\nfinishing the epoch ...\n")

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0; 1 if the run's files could not be written to the end or its
        numbers went wrong; 130 or 143 if it was told to stop.
    """
    began = time.perf_counter()
    parser = _parser()
    arguments = vars(parser.parse_args(argv))
    draws = not arguments.pop("no_images", False)
    threads, every = arguments.pop("threads"), arguments.pop("checkpoint_every")
    try:
        whole("--threads", threads)
        whole("--checkpoint-every", every)
    except (TypeError, ValueError) as error:
        parser.error(error)
    overwrite = arguments.pop("overwrite", False)
    folder, out = arguments.pop("resume", None), arguments.pop("out")
    with contextlib.ExitStack() as stack:
        if folder is None:
            settings = _settings(parser, arguments, out, overwrite)
            state, folder = _begin(parser, settings, threads), out
            _lock(parser, "--out", folder, stack)
        else:
            given = vars(_parser(given_only=True).parse_args(argv))
            for name in ("out", "overwrite"):
                if name in given:
                    parser.error(f"--{name} is for a new run; --resume goes on with the old one")
            if not any((folder / name).exists() for name in (runs.CHECKPOINT, runs.PREVIOUS)):
                parser.error(f"--resume {folder} holds no checkpoint; start a run with --out")
            _lock(parser, "--resume", folder, stack)
            fields = {field.name for field in dataclasses.fields(Settings)}
            options = {name: value for name, value in given.items() if name in fields}
            state = _resume(parser, options, folder, threads)
        with cli.announce_compilation():
            warm_up(state.settings.grid_size)
        _own(parser, folder, state, draws, fresh=folder is out)
        return _run(parser, state, folder, every, draws, began)


def _lock(parser, flag, folder, stack):
    """Make sure that nobody else trains in a folder, for as long as `stack` is open."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(runs.Lock(folder))
    except BlockingIOError as error:
        parser.error(f"{flag} {folder}: {error.strerror}")
    except OSError as error:
        parser.error(f"{flag} {folder} cannot be written to: {error.strerror}")


def _own(parser, folder, state, draws, fresh):
    """Clear a folder for a run that begins, and write down its settings."""
    try:
        if draws:
            (folder / runs.IMAGES).mkdir(exist_ok=True)
        if fresh:
            runs.clear(folder)
        runs.write_config(folder, state.settings)
    except OSError as error:
        parser.error(f"--out {folder} cannot be written to: {error.strerror}")


def _run(parser, state, folder, every, draws, began):
    """Train, and say how it ended; the exit status."""
    try:
        with _Stop() as stop:
            _train(state, folder, every, stop)
        record = state.records[-1] if state.records else None
        if stop.signal is not None:
            done = 0 if record is None else record.epoch
            print(
                f"stopped after epoch {done}; to go on: "
                f"{parser.prog} --resume {shlex.quote(str(folder))}",
                file=sys.stderr,
            )
            return 128 + stop.signal
        _save_results(state, folder, draws)
    except BrokenPipeError:
        raise
    except DivergenceError as error:
        print(f"{parser.prog}: error: {error}; {folder} keeps its last checkpoint", file=sys.stderr)
        return 1
    except (OSError, MemoryError) as error:
        print(f"{parser.prog}: error: writing to {folder} failed: {error}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - began
    print(
        f"{record.wins} of {record.starts} starts won, "
        f"mean |Q - Q*| {record.q_error:.3f}, in {seconds:.1f} s"
    )
    if draws:
        print(f"pictures: {folder / runs.GIF}, {folder / runs.CURVE}, {folder / runs.IMAGES}")
    else:
        print(f"weights and metrics: {folder}")
    return 0


def warm_up(grid_size):
    """Have every kernel compiled, or loaded, before the clock starts.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid.
    """
    model = q_network(grid_size)
    states = np.zeros((8 * available_cores(), *model.input_shape), np.float32)
    model.train_on_batch(states, model.predict(states))


def _train(state, folder, every, stop):
    """Run the loop to its end, or to the end of an epoch in which it was told to stop."""
    settings, model, streams, memory, records = state
    progress = cli.Progress(settings.epochs)
    last = records[-1] if records else None
    with runs.MetricsWriter(folder, records) as metrics:
        if last is None:
            checkpoint.save(folder, state)  # even the first epochs are not lost
        for record in training(model, settings, streams, memory, last):
            records.append(record)
            metrics.write(record)
            progress.show(record)
            stopped = stop.signal is not None
            if record.epoch % every == 0 or record.epoch == settings.epochs or stopped:
                checkpoint.save(folder, state)
            if stopped:
                return


def _save_results(state, folder, draws):
    """What a run leaves behind beside its metrics and checkpoints."""
    state.model.save_weights(folder / runs.WEIGHTS)
    if draws:
        from minidqn.images import save_curve

        save_pictures(state.model, state.settings, folder)
        save_curve(folder / runs.CURVE, state.records)


if __name__ == "__main__":
    cli.run(main)
