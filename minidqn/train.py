"""Training: the loop, and ``python -m minidqn.train``."""

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
from typing import NamedTuple

import numpy as np

from minidqn import checkpoint, cli, moments, runs
from minidqn.checkpoint import State
from minidqn.checks import whole
from minidqn.evaluate import q_error, recorded_games, wins
from minidqn.fruit import episode
from minidqn.nn.cache import seal
from minidqn.nn.models import ENGINES
from minidqn.qlearning import epsilon_greedy, learn
from minidqn.recipe import count_weights, q_network
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

CHECKPOINT_EVERY = 50
"""Epochs from one checkpoint to the next, unless told otherwise."""


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
        seconds = time.perf_counter() - began
        starts = grid_size * (grid_size - 2)
        record = Record(epoch, steps, updates, loss, None, starts, None, seconds)
        if epoch % settings.eval_every == 0 or epoch == epochs:
            record = _measured(record, model, settings)
            record = record._replace(seconds=time.perf_counter() - began)
        yield record


def _measured(record, model, settings):
    """The `record` of an epoch that ends with this `model`, with its wins and q_error."""
    won = int(wins(model, settings.grid_size).sum())
    return record._replace(wins=won, q_error=q_error(model, settings.grid_size, settings.gamma))


def _require_finite(model, loss, epoch, update):
    """Stop a run whose numbers have gone wrong, and say where they were first seen."""
    where = model.first_not_finite(loss) if hasattr(model, "first_not_finite") else None
    if where is None and math.isfinite(loss):
        return
    raise DivergenceError(
        f"epoch {epoch}, update {update}: {where or 'the loss'} is not finite (loss {loss:g})"
    )


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
    add("checkpoint-every", int, CHECKPOINT_EVERY, "epochs from one checkpoint to the next")
    folder = Path("runs/fruit")
    add("out", runs.as_folder, folder, "folder that the run is kept in", "FOLDER")
    parser.add_argument(
        "--engine", choices=ENGINES, default=argparse.SUPPRESS if given_only else "auto",
        help="numpy runs every layer as it is written, to be stepped through, and slowly",
    )  # fmt: skip
    parser.add_argument(
        "--resume", type=runs.as_folder, default=argparse.SUPPRESS, metavar="FOLDER",
        help="go on with the run in this folder, with its settings; --epochs may be more",
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


class _Session(NamedTuple):
    """What a run is written with, from its beginning or from a checkpoint on.

    Attributes
    ----------
    folder : Path
        The run's.
    lock : Lock
        On the folder.
    stop : _Stop
        What has been asked of this process.
    every : int
        Epochs from one checkpoint to the next.
    draws : bool
        Whether there will be pictures.
    prepare : callable or None
        Takes the folder, and removes from it what must not stay.
    engine : str
        What computes.
    """

    folder: Path
    lock: runs.Lock
    stop: object
    every: int
    draws: bool
    prepare: object
    engine: str

    def save(self, state):
        """Write a checkpoint, if the folder is still this training's."""
        self.lock.require()
        checkpoint.save(self.folder, state)

    def keep_moment(self, epoch, model):
        """Keep the weights of the end of an epoch, if it is one of those that are kept."""
        if moments.is_moment(epoch):
            self.lock.require()
            moments.save(self.folder, epoch, model)

    def hint(self, prog):
        """The command that goes on with the run."""
        words = [prog, "--resume", shlex.quote(str(self.folder))]
        if self.every != CHECKPOINT_EVERY:
            words += ["--checkpoint-every", str(self.every)]
        if self.engine != "auto":
            words += ["--engine", self.engine]
        if not self.draws:
            words.append("--no-images")
        return " ".join(words)


def _begin(parser, options, engine):
    """The state of a run before its first epoch."""
    try:
        settings = Settings(**options)
    except (TypeError, ValueError) as error:
        parser.error(_as_flags(error))
    grid_size, capacity = settings.grid_size, settings.capacity
    streams = settings.streams()
    try:
        memory = Memory(capacity)
        model = q_network(grid_size, streams.weights, settings.learning_rate, engine)
    except (MemoryError, ValueError, OverflowError) as error:
        if "learning_rate" in str(error):  # too small or too large for float32
            parser.error(_as_flags(error))
        parser.error(f"--grid-size {grid_size} and --capacity {capacity} do not fit into memory")
    return State(settings, model, streams, memory, [])


def _resume(parser, options, folder, engine):
    """The state of a run at its last checkpoint that is whole, and if that is the older one."""

    def build(settings):
        return q_network(settings.grid_size, learning_rate=settings.learning_rate, engine=engine)

    def weights_of(settings):
        return count_weights(settings.grid_size)

    try:
        state, failures = checkpoint.load_latest(folder, weights_of, build)
    except ValueError as error:
        parser.error(
            f"--resume {folder}: no checkpoint can be read; --out {shlex.quote(str(folder))} "
            f"--overwrite starts anew: {error}"
        )
    for failure in failures:
        cli.tell(f"{failure}; going back to {runs.PREVIOUS}")
    state = _with_options(parser, state, options, folder)
    done, epochs = len(state.records), state.settings.epochs
    if done < epochs:
        print(f"going on after epoch {done} of {epochs}")
    else:
        print(f"all {epochs} epochs are done; --epochs N goes on to epoch N")
    return state, bool(failures)


def _with_options(parser, state, options, folder):
    """A state whose number of epochs is what was asked for; no other setting changes."""
    done = len(state.records)
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
        if sys.stderr is not None:  # else 2 may be any other file
            with contextlib.suppress(OSError):  # its reader may be gone, by the same Ctrl-C
                os.write(2, b"\nstopping as soon as all is saved; once more: at once\n")

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
    engine, every = arguments.pop("engine"), arguments.pop("checkpoint_every")
    try:
        whole("--checkpoint-every", every)
    except (TypeError, ValueError) as error:
        parser.error(error)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_Stop())
        if "resume" in arguments:
            given = vars(_parser(given_only=True).parse_args(argv))
            flag, folder = "--resume", arguments["resume"]
            state, lock, prepare = _go_on(parser, given, engine, stack)
        else:
            flag, folder = "--out", arguments["out"]
            state, lock, prepare = _start(parser, arguments, engine, stack)
        if draws:
            with cli.writing_to(parser, flag, folder):
                (folder / runs.IMAGES).mkdir(exist_ok=True)
        with cli.announce_compilation():
            warm_up(engine)
        session = _Session(folder, lock, stop, every, draws, prepare, engine)
        return _run(parser, session, state, began)


def _start(parser, arguments, engine, stack):
    """A new run: its state, the lock of its folder, and what empties that at last."""
    state, folder = _begin(parser, _options(arguments), engine), arguments["out"]
    with cli.writing_to(parser, "--out", folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context(runs.Lock(folder))
    if runs.holds_run(folder) and "overwrite" not in arguments:
        parser.error(
            f"--out {folder} holds a run already; use --overwrite to replace it, "
            "or --resume to go on with it"
        )
    return state, lock, runs.clear


def _go_on(parser, given, engine, stack):
    """The same of a run that goes on, from what was given on the command line."""
    folder = given["resume"]
    for name in ("out", "overwrite"):
        if name in given:
            parser.error(f"--{name} is for a new run; --resume goes on with the old one")
    if not any((folder / name).exists() for name in (runs.CHECKPOINT, runs.PREVIOUS)):
        parser.error(f"--resume {folder} holds no checkpoint; start a run with --out")
    with cli.writing_to(parser, "--resume", folder):
        lock = stack.enter_context(runs.Lock(folder))
    state, is_older = _resume(parser, _options(given), folder, engine)
    return state, lock, checkpoint.discard_newest if is_older else None


def _options(arguments):
    """Those of a command line's arguments that are settings of the run."""
    fields = {field.name for field in dataclasses.fields(Settings)}
    return {name: value for name, value in arguments.items() if name in fields}


def _run(parser, session, state, began):
    """Train, and say how it ended; the exit status."""
    folder, stop = session.folder, session.stop
    try:
        if not _train(session, state):
            cli.tell(
                f"stopped after epoch {len(state.records)}; to go on: {session.hint(parser.prog)}"
            )
            return 128 + stop.signal
        _save_results(session, state)
    except BrokenPipeError:
        raise
    except DivergenceError as error:
        cli.tell(f"{parser.prog}: error: {error}; {folder} keeps its last checkpoint")
        return 1
    except OSError as error:
        cli.tell(f"{parser.prog}: error: writing to {folder} failed: {error}")
        return 1
    except MemoryError as error:
        cli.tell(f"{parser.prog}: error: the run in {folder} does not fit into memory: {error}")
        return 1
    record, seconds = state.records[-1], time.perf_counter() - began
    print(
        f"{record.wins} of {record.starts} starts won, "
        f"mean |Q - Q*| {record.q_error:.3f}, in {seconds:.1f} s"
    )
    if session.draws:
        print(f"pictures: {folder / runs.GIF}, {folder / '*.png'}, {folder / runs.IMAGES}")
    else:
        print(f"weights and metrics: {folder}")
    return 0 if stop.signal is None else 128 + stop.signal


def warm_up(engine):
    """Have every kernel compiled, or loaded, before the clock starts.

    Parameters
    ----------
    engine : str
        The run's. A small network will do: kernels are compiled once for all.
    """
    model, frame = q_network(5, engine=engine), np.zeros((1, 5, 5), np.float32)
    replay = experience_replay(batch_size=1)
    next(replay)
    learn(model, replay.send((frame, 0, 0, frame)))
    seal()


def _train(session, state):
    """Run the loop; whether it came to its end, and was not told to stop before."""
    settings, model, streams, memory, records = state
    if session.prepare is not None:
        session.prepare(session.folder)
    runs.write_config(session.folder, settings)
    if len(records) == settings.epochs and records[-1].wins is None:
        records[-1] = _measured(records[-1], model, settings)
    evaluated = [record for record in records if record.wins is not None]
    progress = cli.Progress(settings.epochs, evaluated=evaluated[-1] if evaluated else None)
    with runs.MetricsWriter(session.folder, records) as metrics:
        moments.discard_after(session.folder, len(records))
        if not records:
            session.keep_moment(0, model)
        session.save(state)  # even the first epochs are not lost, nor how many there will be
        last = records[-1] if records else None
        for record in training(model, settings, streams, memory, last):
            records.append(record)
            metrics.write(record)
            if record.updates:  # else nothing has changed since the first moment
                session.keep_moment(record.epoch, model)
            stopped = session.stop.signal is not None
            if record.epoch % session.every == 0 or record.epoch == settings.epochs or stopped:
                session.save(state)
            try:
                progress.show(record)
            except BrokenPipeError:
                session.save(state)
                raise
            if stopped:
                return False
    return True


def _save_results(session, state):
    """What a run leaves behind beside its metrics and checkpoints."""
    session.lock.require()
    state.model.save_weights(session.folder / runs.WEIGHTS)
    if session.draws:
        from minidqn.charts import save_charts

        save_pictures(state.model, state.settings, session.folder)
        save_charts(session.folder, state.model, state.settings, state.records)


if __name__ == "__main__":
    cli.run(main)
