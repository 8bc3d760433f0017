"""The command ``python -m minidqn.train``: a training whose every step is kept on disk."""

import argparse
import contextlib
import dataclasses
import importlib
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minidqn import cli, games, moments, runs
from minidqn.checks import whole
from minidqn.evaluate import random_return
from minidqn.nn.cache import seal
from minidqn.nn.models import ENGINES
from minidqn.qlearning import learn
from minidqn.recipe import q_network
from minidqn.replay import experience_replay
from minidqn.runs import Record, Settings
from minidqn.train import DivergenceError, measured, play_test_games, training

CHECKPOINT_EVERY = 50
"""Epochs from one checkpoint to the next, unless told otherwise."""

SETTINGS = {field.name: field for field in dataclasses.fields(Settings)}

PRESETS = {
    "big": {
        "game": "fruit", "grid_size": 30, "epochs": 2000, "epsilon": 1.0,
        "exploration_final_eps": 0.1, "exploration_steps": 20_000, "gamma": 0.97,
        "final_learning_rate": 0.00002, "train_freq": 2, "eval_every": 100,
    },
    "huge": {
        "game": "fruit", "grid_size": 84, "epochs": 20_000, "batch_size": 512, "capacity": 300_000,
        "epsilon": 1.0, "exploration_final_eps": 0.1, "exploration_steps": 250_000, "gamma": 0.99,
        "n_step": 10, "final_learning_rate": 0.00002, "train_freq": 96, "filters": (4, 4),
        "kernel_size": 5, "eval_every": 4000,
    },
    "minatar": {
        "game": "gym:MinAtar/Breakout-v0", "steps": 5_000_000, "batch_size": 32, "epsilon": 1.0,
        "exploration_final_eps": 0.1, "exploration_steps": 100_000, "gamma": 0.99,
        "target_update_interval": 1000, "loss": "huber", "learning_rate": 0.00025,
        "optimizer": "rmsprop rho=0.95 epsilon=0.01 centered=true", "learning_starts": 5000,
        "filters": (16,), "units": 128, "eval_every": 1000, "checkpoint_every": 2000,
    },
}  # fmt: skip
"""Arguments that belong together. big and huge: Fruit on grids where the recipe loses starts.
minatar: the DQN of Young & Tian (2019), with all six actions."""


def _parser():
    """The command line; options that are not given are not in its result."""
    what = "Train a network to play a game; see it learn, and keep the run."
    how = {"description": what, "argument_default": argparse.SUPPRESS}
    parser = cli.Parser(prog=cli.as_typed("train"), **how)

    def add(flag, words, default=None, **how):
        words += "" if default is None else f" (default: {default})"
        parser.add_argument(flag, help=words, **how)

    for name, field in SETTINGS.items():
        how = {"type": field.type, "metavar": letters(name)}
        default = field.default
        if field.type is bool:
            how, default = {"action": argparse.BooleanOptionalAction}, None
        if field.type is tuple:
            how |= {"type": int, "nargs": "*"}
            default = " ".join(map(str, default))
        add(flag(name), field.metadata["help"], default, **how)
    add("--preset", "settings that belong together; flags beside it change some of them",
        choices=PRESETS)  # fmt: skip
    add("--checkpoint-every", "epochs between checkpoints", CHECKPOINT_EVERY, type=int, metavar="N")
    numpy = "numpy runs every layer as it is written, to be stepped through, and slowly"
    add("--engine", numpy, "auto", choices=ENGINES)
    folder = {"type": cli.as_folder, "metavar": "FOLDER"}
    add("--out", "folder that the run is kept in", "runs/GAME", **folder)
    add("--resume", "go on with the run in this folder; --epochs or --steps may be more", **folder)
    add("--overwrite", "replace a run that is there", action="store_true")
    add("--no-images", "draw no pictures", action="store_true")
    add("--tensorboard", "keep curves for TensorBoard in the run's folder", action="store_true")
    return parser


def flag(name: str) -> str:
    """The flag of the setting of this `name`."""
    return f"--{name.replace('_', '-')}"


def letters(name: str) -> str:
    """How help calls a value of the setting of this `name`."""
    called: dict[Any, str] = {float: "X", str: "GAME" if name == "game" else "NAME"}
    return called.get(SETTINGS[name].type, "N")


def preset(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments, with those of their preset beneath.

    Parameters
    ----------
    given : dict of str to object
        Those that are given, by name.

    Returns
    -------
    dict of str to object
        Of `given` and the preset's those that `given` does not contradict.
    """
    beneath = dict(PRESETS.get(given.get("preset", ""), {}))
    for name, other in (("epochs", "steps"), ("steps", "epochs")):
        if name in given:
            beneath.pop(other, None)
    if given.get("game", "fruit") not in games.OWN:
        beneath.pop("grid_size", None)
    return beneath | given


def as_flags(error: Exception) -> str:
    """An `error` about settings, in the words of the command line."""
    name, between, rest = str(error).partition(" is ")
    if name not in SETTINGS:
        return str(error)
    if name != "optimizer":  # its parameters have names of their own
        several = "|".join(other for other in SETTINGS if "_" in other)
        rest = re.sub(rf"\b({several})\b", lambda found: flag(found[0]), rest)
    return f"{flag(name)}{between}{rest}"


def _new(parser, given, stack):
    """A new run: its state before the first epoch, its folder, its lock, and what empties it."""
    if {"epochs", "steps"} <= given.keys():
        parser.error("--epochs and --steps both say when the run ends; expected one of them")
    others = f" (--preset {given['preset']} sets the others)" if "preset" in given else ""
    with cli.refusing(parser, lambda error: as_flags(error) + others):
        settings = dataclasses.replace(Settings(), **_asked(given))
        if "grid_size" in given and settings.game not in games.OWN:
            raise ValueError(f"grid_size is for {' and '.join(games.OWN)}")
        game = games.load(settings.game, settings.grid_size)
        try:
            state = runs.new_state(settings, game, given.get("engine", "auto"))
        except MemoryError:
            size = f"--capacity, --filters and --units for frames of {game.shape}"
            parser.error(f"{size} do not fit into memory")
    folder = given.get("out", Path("runs") / re.sub(r"\W+", "-", settings.game).strip("-"))
    with cli.writing_to(parser, "--out", folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context(runs.Lock(folder))
        with cli.refusing(parser, lambda error: f"--out {folder} {error}"):
            runs.require_free(folder, "overwrite" in given)
    return state, folder, lock, runs.clear


def _asked(given):
    """The settings among the arguments that are given."""
    return {name: value for name, value in given.items() if name in SETTINGS}


def _old(parser, given, stack):
    """The same of a run that goes on from its last checkpoint that is whole."""
    folder = given["resume"]
    for name in sorted({"out", "overwrite", "preset"} & given.keys()):
        parser.error(f"--{name} is for a new run; --resume goes on with the old one")
    if not any((folder / name).exists() for name in (runs.CHECKPOINT, runs.PREVIOUS)):
        missing = "holds no checkpoint" if folder.exists() else "does not exist"
        parser.error(f"--resume {folder} {missing}; start a run with --out")
    with cli.writing_to(parser, "--resume", folder):
        lock = stack.enter_context(runs.Lock(folder))
    game = cli.given_game(parser, given.get("game"))
    try:
        state, failures = runs.load_latest(folder, game, given.get("engine"))
    except runs.WrongGameError as error:
        parser.error(f"--resume {folder}: {error}")
    except ValueError as error:
        anew = f"--out {shlex.quote(str(folder))} --overwrite starts anew"
        parser.error(f"--resume {folder}: no checkpoint can be read; {anew}: {error}")
    for failure in failures:
        cli.tell(f"{failure}; going back to {runs.PREVIOUS}")
    state = _with_options(parser, state, given, folder)
    settings, last = state.settings, state.last
    goal, unit = settings.goal, settings.unit
    ended = f"all {goal} {unit} are done; --{unit} N goes on to {unit[:-1]} N"
    going_on = f"going on after {unit[:-1]} {settings.done(last)} of {goal}"
    print(ended if settings.ended(last) else going_on)
    return state, folder, lock, runs.discard_newest if failures else None


def _with_options(parser, state, given, folder):
    """A state whose run is as long as was asked for; no other setting changes."""
    had, unit, last = state.settings, state.settings.unit, state.last
    with cli.refusing(parser, as_flags):
        settings = dataclasses.replace(had, **_asked(given))
    for name in SETTINGS:
        value, kept = getattr(settings, name), getattr(had, name)
        moved = name == "game" and not {value, kept} & games.OWN.keys()  # such as a file
        longer = name == unit and value > 0
        if value != kept and name in ("epochs", "steps") and name != unit:
            parser.error(f"--{name} is {value}; the run in {folder} is counted in {unit}")
        if value != kept and not longer and not moved:
            parser.error(f"{flag(name)} is {value}; the run in {folder} has {kept}, and keeps it")
    if settings.goal != had.goal and settings.goal < (done := had.done(last)):
        parser.error(f"--{unit} is {settings.goal}; the run in {folder} has done {done} already")
    if last and not settings.ended(last) and last.epoch % had.eval_every:
        # It may have been measured because it was the last; now others follow.
        unmeasured = dict.fromkeys(("mean_return", "wins", "starts", "q_error"))
        state.records[-1] = last._replace(**unmeasured)
    return state._replace(settings=settings)


def signals_to_stop(stack: contextlib.ExitStack) -> list[int]:
    """Signals that have told this process to stop; the second one ends it at once.

    Parameters
    ----------
    stack : contextlib.ExitStack
        At whose end signals mean again what they did.

    Returns
    -------
    list of int
        It grows with Ctrl-C or SIGTERM.
    """
    came, before = [], {}

    def note(number, _):
        came.append(number)
        signal.signal(number, before[number])
        if sys.stderr is not None:  # else 2 may be any other file
            with contextlib.suppress(OSError):  # its reader may be gone, by the same Ctrl-C
                os.write(2, b"\nstopping as soon as all is saved; once more: at once\n")

    with contextlib.suppress(ValueError):  # not in the main thread, which alone gets signals
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
            stack.callback(signal.signal, number, before[number])
    return came


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0; 130 or 143 if it was told to stop.

    Raises
    ------
    SystemExit
        With status 2 for arguments that cannot be; with 1 if the run's files could not be
        written to the end, its numbers went wrong or the game did.
    """
    began = time.perf_counter()
    parser = _parser()
    given = preset(vars(parser.parse_args(argv)))
    start, draw = _old if "resume" in given else _new, "no_images" not in given
    with cli.refusing(parser):
        every = whole("--checkpoint-every", given.get("checkpoint_every", CHECKPOINT_EVERY))
        curves = "tensorboard" in given and importlib.import_module("minidqn.tensorboard").Curves
    with contextlib.ExitStack() as stack:
        signals = signals_to_stop(stack)
        state, folder, lock, prepare = start(parser, given, stack)
        with cli.announce_compilation():
            warm_up(state.model.engine, state.settings.optimizer)
        try:
            if prepare is not None:
                prepare(folder)
            if not _train(state, folder, lock, signals, every, curves):
                hint = cli.resume_command(folder, given)
                unit, done = state.settings.unit[:-1], state.settings.done(state.last)
                cli.tell(f"stopped after {unit} {done}; to go on: {hint}")
                return 128 + signals[0]
            result = _finish(state, folder, lock, draw)
        except BrokenPipeError:  # of the progress, and so at the end of an epoch
            _save(state, folder, lock)
            raise
        except (DivergenceError, games.GameError) as error:
            with contextlib.suppress(OSError):
                runs.write_config(folder, state.settings, state.game, str(error))
            smaller = "; try a smaller --learning-rate" * isinstance(error, DivergenceError)
            parser.error(f"{error}; {folder} keeps its last checkpoint{smaller}", 1)
        except OSError as error:
            parser.error(f"writing to {folder} failed: {error}", 1)
        except MemoryError as error:
            parser.error(f"the run in {folder} does not fit into memory: {error}", 1)
        print(f"{result}, in {time.perf_counter() - began:.1f} s")
        pictures = f"{folder / runs.GIF}, {folder / '*.png'}, {folder / runs.IMAGES}"
        print(f"pictures: {pictures}" if draw else f"weights and metrics: {folder}")
        return 128 + signals[0] if signals else 0


def warm_up(engine: str, optimizer: str = "rmsprop") -> None:
    """Have every kernel compiled, or loaded, before the clock starts.

    Parameters
    ----------
    engine, optimizer : str
        The run's. A small network will do: kernels are compiled once for all.
    """
    model, frame = q_network(5, engine=engine, optimizer=optimizer), np.zeros((1, 5, 5), np.float32)
    replay = experience_replay(batch_size=1)
    next(replay)
    learn(model, replay.send((frame, 0, 0, frame)))
    seal()


def _train(state, folder, lock, signals, every, curves):
    """Run the loop; whether it came to its end, and was not told to stop before."""
    settings, game, model, records = state.settings, state.game, state.model, state.records
    runs.write_config(folder, settings, game)
    if settings.ended(state.last) and records[-1].mean_return is None:
        records[-1] = measured(records[-1], model, game, settings)
    evaluated = [record for record in records if record.mean_return is not None]
    progress = cli.Progress(settings, evaluated=evaluated[-1] if evaluated else None)
    moments.discard_after(folder, len(records))
    if not records:
        moments.save(folder, 0, model)
    _save(state, folder, lock)  # even the first epochs are not lost, nor how many there will be

    def is_due(record):
        return record.epoch % every == 0 or settings.ended(record) or bool(signals)

    with curves(folder, state) if curves else contextlib.nullcontext() as curve:
        for record in kept(state, folder, lock, is_due, keep_moments=True):
            progress.show(record)
            if curve:
                curve.write(record)
            if signals:
                return False
    return True


def kept(
    state: runs.State,
    folder: Path,
    lock: runs.Lock,
    is_due: Callable[[Record], bool],
    keep_moments: bool = False,
) -> Iterator[Record]:
    """``train.training`` of a run on disk: its metrics, and a checkpoint whenever one is due.

    Parameters
    ----------
    state : State
        Where the run stands; it goes on with it.
    folder : Path
        The run's folder.
    lock : Lock
        Of the folder.
    is_due : callable
        Whether to write a checkpoint after a `Record`.
    keep_moments : bool
        Whether to keep `moments`, too.

    Yields
    ------
    Record
        After each epoch, when all that belongs to it is written.
    """
    settings, game, model, streams, memory, records, target = state
    with runs.MetricsWriter(folder, records) as metrics:
        for record in training(model, settings, streams, game, memory, state.last, target):
            records.append(record)
            metrics.write(record)
            # Before the first update nothing has changed since the moment of epoch 0.
            if keep_moments and record.updates and moments.is_moment(record.epoch):
                lock.require()
                moments.save(folder, record.epoch, model)
            if is_due(record):
                _save(state, folder, lock)
            yield record


def _save(state, folder, lock):
    """Write a checkpoint, if the folder is still this run's."""
    lock.require()
    runs.save_checkpoint(folder, state)


def _finish(state, folder, lock, draw):
    """Write the weights and, if they are to be drawn, the pictures; how good the network is."""
    settings, game, model, records = state.settings, state.game, state.model, state.records
    lock.require()
    model.save_weights(folder / runs.WEIGHTS)
    if draw:
        from minidqn.pictures import save_charts, save_games

        played = play_test_games(model, settings, game=game)
        save_games(folder, game, played)
        save_charts(folder, model, game, settings, records, played)
    last = records[-1]
    if last.updates == 0:
        first, freq = max(settings.learning_starts, settings.batch_size), settings.train_freq
        flags = "--batch-size, --learning-starts and --train-freq"
        words = f"with these {flags} the first comes after step {-(-first // freq) * freq}"
        cli.tell(f"no learning step was made in {last.steps} steps: {words}")
    if last.wins is not None:
        return f"{last.wins} of {last.starts} starts won, mean |Q - Q*| {last.q_error:.3f}"
    chance = random_return(game, 100, settings.streams().test)
    return f"mean return {last.mean_return:.2f}, of random play {chance:.2f}"


if __name__ == "__main__":
    cli.run(main)
