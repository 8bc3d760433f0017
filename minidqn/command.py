"""The command ``python -m minidqn.train``: a training whose every step is kept on disk."""

import argparse
import contextlib
import dataclasses
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidqn import cli, games, moments, runs
from minidqn.checks import whole
from minidqn.evaluate import random_return
from minidqn.games import GameError
from minidqn.nn.cache import seal
from minidqn.nn.models import ENGINES
from minidqn.qlearning import learn
from minidqn.recipe import q_network
from minidqn.replay import Memory, experience_replay
from minidqn.runs import Settings, State
from minidqn.train import DivergenceError, measured, play_test_games, training

__all__ = ["main"]

CHECKPOINT_EVERY = 50
"""Epochs from one checkpoint to the next, unless told otherwise."""

HELP = {
    "game": "fruit, snake, gym:ID, or a file and the Game in it, such as my_game.py:game",
    "grid_size": "rows and columns of the grid of fruit and snake, in cells",
    "epochs": "episodes to play, one an epoch",
    "batch_size": "experiences in a learning step",
    "epsilon": "share of random actions, 0 to 1",
    "gamma": "discount factor of a step, 0 to below 1",
    "learning_rate": "RMSprop's step length",
    "capacity": "experiences that the replay memory keeps",
    "filters": "filters of each convolution",
    "kernel_size": "rows and columns of a filter, in pixels",
    "units": "units of the first dense layer",
    "seed": "number that all randomness comes from",
    "eval_every": "epochs from one evaluation to the next",
}


def _parser():
    """The command line; what is not given is not there."""
    parser = cli.Parser(
        prog="python -m minidqn.train",
        description="Train a network to play a game; see it learn, and keep the run.",
        argument_default=argparse.SUPPRESS,
    )

    def add(flag, default, text, **how):
        parser.add_argument(flag, help=f"{text} (default: {default})", **how)

    for field in dataclasses.fields(Settings):
        how = {"type": type(field.default), "metavar": "X" if field.type is float else "N"}
        if field.type is tuple:
            how |= {"type": int, "nargs": "*"}
        elif field.type is str:
            how["metavar"] = "GAME"
        default = " ".join(map(str, field.default)) if field.type is tuple else field.default
        add(_flag(field.name), default, HELP[field.name], **how)
    add("--checkpoint-every", CHECKPOINT_EVERY, "epochs from one checkpoint to the next", type=int,
        metavar="N")  # fmt: skip
    add("--out", "runs/GAME", "folder that the run is kept in", type=cli.as_folder,
        metavar="FOLDER")  # fmt: skip
    add("--engine", "auto", "numpy runs every layer as it is written, to be stepped through, "
        "and slowly", choices=ENGINES)  # fmt: skip
    parser.add_argument(
        "--resume", type=cli.as_folder, metavar="FOLDER",
        help="go on with the run in this folder, with its settings; --epochs may be more",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    parser.add_argument("--no-images", action="store_true", help="draw no pictures")
    return parser


def _flag(name):
    """The flag of a setting."""
    return f"--{name.replace('_', '-')}"


def _as_flags(error):
    """An error about settings, in the words of the command line."""
    words = str(error)
    name = words.partition(" is ")[0]
    return words.replace(name, _flag(name), 1) if name in HELP else words


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
    given : dict
        The command line.
    prepare : callable or None
        Takes the folder, and removes from it what must not stay.
    """

    folder: Path
    lock: runs.Lock
    stop: object
    given: dict
    prepare: object

    def save(self, state):
        """Write a checkpoint, if the folder is still this training's."""
        self.lock.require()
        runs.save_checkpoint(self.folder, state)

    def keep_moment(self, epoch, model):
        """Keep the weights of the end of an epoch, if it is one of those that are kept."""
        if moments.is_moment(epoch):
            self.lock.require()
            moments.save(self.folder, epoch, model)

    def hint(self, prog, settings):
        """The command that goes on with the run."""
        words = [prog, "--resume", shlex.quote(str(self.folder))]
        if settings.game not in games.OWN:
            words += ["--game", shlex.quote(settings.game)]
        for name in ("checkpoint_every", "engine"):
            if name in self.given:
                words += [_flag(name), str(self.given[name])]
        if "no_images" in self.given:
            words.append("--no-images")
        return " ".join(words)


def _begin(parser, options, engine):
    """The state of a run before its first epoch."""
    try:
        settings = Settings(**options)
        if "grid_size" in options and settings.game not in games.OWN:
            raise ValueError(f"grid_size is for {' and '.join(games.OWN)}")
    except (TypeError, ValueError) as error:
        parser.error(_as_flags(error))
    game = cli.load_game(parser, settings.game, settings.grid_size)
    *_, height, width = game.shape
    least = len(settings.filters) * (settings.kernel_size - 1) + 1
    if min(height, width) < least:
        wanted = f"at least {least} x {least} for --filters and --kernel-size"
        parser.error(f"frames of {game.name} are {height} x {width}; expected {wanted}")
    streams, rate = settings.streams(), settings.learning_rate
    try:
        memory = Memory(settings.capacity)
        model = q_network(0, streams.weights, rate, engine or "auto", game, **settings.network)
    except (MemoryError, ValueError, OverflowError) as error:
        if str(error).startswith("learning_rate"):  # others are NumPy's
            parser.error(_as_flags(error))
        parser.error(
            f"--capacity {settings.capacity} and a network for frames of {game.shape} "
            "do not fit into memory"
        )
    return State(settings, game, model, streams, memory, [])


def _resume(parser, given, options, engine):
    """The state of a run at its last checkpoint that is whole, and if that is the older one."""
    folder, game = given["resume"], None
    if "game" in options and options["game"] not in games.OWN:
        game = cli.load_game(parser, options["game"])
    try:
        state, failures = runs.load_latest(folder, game, engine)
    except runs.WrongGameError as error:
        parser.error(f"--resume {folder}: {error}")
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
        value = tuple(value) if isinstance(value, list) else value
        moved = name == "game" and not {value, had} & games.OWN.keys()  # such as a file
        if name != "epochs" and value != had and not moved:
            parser.error(f"{_flag(name)} is {value}; the run in {folder} has {had}, and keeps it")
    epochs = options.get("epochs", state.settings.epochs)
    if epochs < done:
        parser.error(f"--epochs is {epochs}; the run in {folder} has done {done} already")
    game = options.get("game", state.settings.game)
    settings = dataclasses.replace(state.settings, epochs=epochs, game=game)
    # What was measured because an epoch was the last is not, now that it is not.
    records = [
        record
        if record.epoch % settings.eval_every == 0 or record.epoch == epochs
        else record._replace(mean_return=None, wins=None, starts=None, q_error=None)
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
        Exit status: 0; 1 if the run's files could not be written to the end, its
        numbers went wrong or the game did; 130 or 143 if it was told to stop.
    """
    began = time.perf_counter()
    parser = _parser()
    given = vars(parser.parse_args(argv))
    options = {name: given[name] for name in HELP if name in given}
    engine = given.get("engine")
    try:
        whole("--checkpoint-every", given.get("checkpoint_every", CHECKPOINT_EVERY))
    except (TypeError, ValueError) as error:
        parser.error(error)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_Stop())
        start = _go_on if "resume" in given else _start
        state, folder, lock, prepare = start(parser, given, options, engine, stack)
        flag = "--resume" if "resume" in given else "--out"
        if "no_images" not in given:
            with cli.writing_to(parser, flag, folder):
                runs.subfolder(folder, runs.IMAGES).mkdir(exist_ok=True)
        with cli.announce_compilation():
            warm_up(state.model.engine)
        return _run(parser, _Session(folder, lock, stop, given, prepare), state, began)


def _start(parser, given, options, engine, stack):
    """A new run: its state, its folder, the lock of that, and what empties it at last."""
    state = _begin(parser, options, engine)
    name = re.sub(r"\W+", "-", state.settings.game).strip("-")
    folder = given.get("out", Path("runs") / name)
    with cli.writing_to(parser, "--out", folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context(runs.Lock(folder))
        try:
            runs.require_free(folder, "overwrite" in given)
        except ValueError as error:
            parser.error(f"--out {folder} {error}")
    return state, folder, lock, runs.clear


def _go_on(parser, given, options, engine, stack):
    """The same of a run that goes on."""
    folder = given["resume"]
    for name in ("out", "overwrite"):
        if name in given:
            parser.error(f"--{name} is for a new run; --resume goes on with the old one")
    if not any((folder / name).exists() for name in (runs.CHECKPOINT, runs.PREVIOUS)):
        missing = "holds no checkpoint" if folder.exists() else "does not exist"
        parser.error(f"--resume {folder} {missing}; start a run with --out")
    with cli.writing_to(parser, "--resume", folder):
        lock = stack.enter_context(runs.Lock(folder))
    state, is_older = _resume(parser, given, options, engine)
    return state, folder, lock, runs.discard_newest if is_older else None


def _run(parser, session, state, began):
    """Train, and say how it ended; the exit status."""
    folder, stop, settings = session.folder, session.stop, state.settings
    try:
        if not _train(session, state):
            hint = session.hint(parser.prog, settings)
            cli.tell(f"stopped after epoch {len(state.records)}; to go on: {hint}")
            return 128 + stop.signal
        session.lock.require()
        state.model.save_weights(folder / runs.WEIGHTS)
        if "no_images" not in session.given:
            from minidqn.pictures import save_pictures

            played = play_test_games(state.model, settings, game=state.game)
            save_pictures(folder, state.model, state.game, settings, state.records, played)
    except BrokenPipeError:
        raise
    except (DivergenceError, GameError) as error:
        with contextlib.suppress(OSError):
            runs.write_config(folder, settings, state.game, str(error))
        kept = "keeps its last checkpoint" if state.records else "has nothing yet: --overwrite"
        cli.tell(f"{parser.prog}: error: {error}; {folder} {kept}")
        return 1
    except OSError as error:
        cli.tell(f"{parser.prog}: error: writing to {folder} failed: {error}")
        return 1
    except MemoryError as error:
        cli.tell(f"{parser.prog}: error: the run in {folder} does not fit into memory: {error}")
        return 1
    record, seconds = state.records[-1], time.perf_counter() - began
    if record.wins is None:
        chance = random_return(state.game, 100, settings.streams().test)
        words = f"mean return {record.mean_return:.2f}, of random play {chance:.2f}"
    else:
        words = f"{record.wins} of {record.starts} starts won, mean |Q - Q*| {record.q_error:.3f}"
    print(f"{words}, in {seconds:.1f} s")
    if "no_images" in session.given:
        print(f"weights and metrics: {folder}")
    else:
        print(f"pictures: {folder / runs.GIF}, {folder / '*.png'}, {folder / runs.IMAGES}")
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
    settings, game, model, streams, memory, records = state
    if session.prepare is not None:
        session.prepare(session.folder)
    runs.write_config(session.folder, settings, game)
    if len(records) == settings.epochs and records[-1].mean_return is None:
        records[-1] = measured(records[-1], model, game, settings)
    evaluated = [record for record in records if record.mean_return is not None]
    progress = cli.Progress(settings.epochs, evaluated=evaluated[-1] if evaluated else None)
    every = session.given.get("checkpoint_every", CHECKPOINT_EVERY)
    with runs.MetricsWriter(session.folder, records) as metrics:
        moments.discard_after(session.folder, len(records))
        if not records:
            session.keep_moment(0, model)
        session.save(state)  # even the first epochs are not lost, nor how many there will be
        last = records[-1] if records else None
        for record in training(model, settings, streams, game, memory, last):
            records.append(record)
            metrics.write(record)
            if record.updates:  # else nothing has changed since the first moment
                session.keep_moment(record.epoch, model)
            stopped = session.stop.signal is not None
            if record.epoch % every == 0 or record.epoch == settings.epochs or stopped:
                session.save(state)
            try:
                progress.show(record)
            except BrokenPipeError:
                session.save(state)
                raise
            if stopped:
                return False
    return True


if __name__ == "__main__":
    cli.run(main)
