"""A run: its settings, its random streams, and the files of its folder."""

import argparse
import contextlib
import csv
import dataclasses
import errno
import io
import json
import math
import os
import platform
import re
import stat
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from minidqn import __version__
from minidqn.checks import number, whole
from minidqn.storage import atomic_write, damaged, open_regular, remove_leftovers

__all__ = [
    "CHARTS",
    "CHECKPOINT",
    "CONFIG",
    "CURVE",
    "FEATURES",
    "FILTERS",
    "GIF",
    "IMAGES",
    "METRICS",
    "MOMENTS",
    "PAGE",
    "PREVIOUS",
    "VALUES",
    "WEIGHTS",
    "WINS",
    "Lock",
    "MetricsWriter",
    "Record",
    "Settings",
    "Streams",
    "as_folder",
    "clear",
    "holds_run",
    "moment_path",
    "moment_paths",
    "read_config",
    "read_metrics",
    "records_from",
    "remove_images",
    "settings_from",
    "write_config",
]

CONFIG, METRICS, WEIGHTS = "config.json", "metrics.csv", "weights.npz"
GIF, IMAGES = "game.gif", "images"
CURVE, WINS, VALUES = "curve.png", "wins.png", "values.png"
FILTERS, FEATURES = "filters.png", "features.png"
CHARTS = (CURVE, WINS, VALUES, FILTERS, FEATURES)
MOMENTS, PAGE = "moments", "page.html"
CHECKPOINT, PREVIOUS, LOCK = "checkpoint.npz", "checkpoint.prev.npz", "run.lock"
_FILES = (CONFIG, METRICS, WEIGHTS, *CHARTS, GIF, PAGE, CHECKPOINT, PREVIOUS)

MOST_METRICS = 100_000_000
"""Bytes of metrics.csv, at most: more than a million epochs."""


class Streams(NamedTuple):
    """The random generators of a run: one for each kind of chance.

    Attributes
    ----------
    game, exploration, replay, weights, test : numpy.random.Generator
        For the starts of games, the random actions, the batches, the first
        weights, and the starts of the test games.
    """

    game: np.random.Generator
    exploration: np.random.Generator
    replay: np.random.Generator
    weights: np.random.Generator
    test: np.random.Generator


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome of a run, checked.

    Attributes
    ----------
    grid_size : int
        Rows and columns of the grid, at least 5.
    epochs : int
        Episodes that are played, at least 1.
    batch_size : int
        Experiences in a learning step, from 1 to capacity.
    epsilon : float
        Share of random actions, in [0, 1].
    gamma : float
        Discount factor, in [0, 1).
    learning_rate : float
        RMSprop's, above 0.
    capacity : int
        Experiences that the memory keeps, at least 1.
    seed : int
        Source of all randomness, at least 0.
    eval_every : int
        Epochs from one evaluation to the next, at least 1.

    Raises
    ------
    TypeError, ValueError
        If one is not of this kind.
    """

    grid_size: int = 10
    epochs: int = 500
    batch_size: int = 128
    epsilon: float = 0.8
    gamma: float = 0.8
    learning_rate: float = 0.001
    capacity: int = 100_000
    seed: int = 0
    eval_every: int = 10

    def __post_init__(self):
        why = ": two 3x3 valid convolutions need it"
        whole("grid_size", self.grid_size, 5, why)
        for name in ("epochs", "batch_size", "capacity", "eval_every"):
            whole(name, getattr(self, name))
        whole("seed", self.seed, 0)
        number("epsilon", self.epsilon, "[0, 1]")
        number("gamma", self.gamma, "[0, 1)")
        number("learning_rate", self.learning_rate, "(0, inf)")
        if self.batch_size > self.capacity:
            raise ValueError(
                f"batch_size is {self.batch_size}; expected at most the capacity, {self.capacity}"
            )

    def streams(self):
        """The run's generators, each at its beginning: the seed, split five ways.

        Returns
        -------
        Streams
            Independent of each other, so that drawing more from one changes
            nothing in the others.

        References
        ----------
        https://numpy.org/doc/stable/reference/random/parallel.html
        """
        seeds = np.random.SeedSequence(self.seed).spawn(len(Streams._fields))
        return Streams(*map(np.random.default_rng, seeds))


class Record(NamedTuple):
    """What one epoch did; a line of metrics.csv.

    Attributes
    ----------
    epoch : int
        Which one, from 1.
    steps, updates : int
        Environment steps and learning steps since the beginning.
    loss : float
        Sum of the losses of the epoch's learning steps.
    wins : int or None
        Starts that greedy play wins, None where it was not measured.
    starts : int
        How many starts there are.
    q_error : float or None
        Mean |Q - Q*| over all states and actions, None where not measured.
    seconds : float
        Since the beginning of the loop.
    """

    epoch: int
    steps: int
    updates: int
    loss: float
    wins: int | None
    starts: int
    q_error: float | None
    seconds: float


class MetricsWriter:
    """Writes records to metrics.csv as they come, so that a run can be watched.

    Parameters
    ----------
    folder : Path
        The run's folder.
    records : iterable of Record
        Of the epochs that are done already: the file begins with them.

    Raises
    ------
    OSError
        If the file cannot be written.
    """

    def __init__(self, folder, records=()):
        lines = io.StringIO(newline="")
        self._csv = csv.writer(lines, lineterminator="\n")
        self._csv.writerow(Record._fields)
        for record in records:
            self._put(record)
        with atomic_write(folder / METRICS) as file:
            file.write(lines.getvalue().encode())
        self._file = open(folder / METRICS, "a", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")

    def _put(self, record):
        self._csv.writerow(record._replace(seconds=f"{record.seconds:.3f}"))

    def write(self, record):
        """Add `record`, a `Record`, at the end."""
        self._put(record)
        self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()


def read_metrics(folder):
    """Read the records back from metrics.csv, trusting nothing that it says.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Returns
    -------
    list of Record
        As they were written; seconds have three decimals.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, or holds what no run does.
    """
    path = folder / METRICS
    with open_regular(path) as file:
        text = file.read(MOST_METRICS + 1)
    try:
        if len(text) > MOST_METRICS:
            raise ValueError(f"longer than {MOST_METRICS:,} bytes")
        header, _, rest = text.decode("ascii").partition("\n")
        if header != ",".join(Record._fields):
            raise ValueError(f"its first line is not {','.join(Record._fields)}")
        *lines, end = rest.split("\n")
        if end:
            raise ValueError("its last line has no end")
        return records_from([_numbers(place, line) for place, line in enumerate(lines, start=2)])
    except ValueError as error:
        raise damaged(path, error) from error


def _numbers(place, line):
    """The numbers of a line of metrics.csv, NaN for what was not measured."""
    fields = line.split(",")
    if len(fields) != len(Record._fields):
        raise ValueError(f"line {place} has {len(fields)} fields; expected {len(Record._fields)}")
    row = []
    for name, field in zip(Record._fields, fields, strict=True):
        empty = field == "" and name in ("wins", "q_error")
        # float() alone would take "nan", " 1" and "1_0", which no run writes.
        if not empty and not re.fullmatch(r"\d{1,400}(\.\d{1,400})?(e[+-]\d{1,3})?", field):
            raise ValueError(f"line {place}: {name} is {field[:50]!r}; expected a number")
        row.append(math.nan if empty else float(field))
    return row


def records_from(rows):
    """Records from the numbers that a file has for them.

    Parameters
    ----------
    rows : list of list of float
        One for each epoch, in the order of the fields of `Record`; NaN stands for
        what was not measured.

    Returns
    -------
    list of Record
        The records.

    Raises
    ------
    ValueError
        If they are none that a run can have.
    """
    records = []
    for place, row in enumerate(rows, start=1):
        epoch, steps, updates, loss, wins, starts, q_error, seconds = row
        measured = wins == wins  # not NaN
        counts = [epoch, steps, updates, starts, *([wins] if measured else [])]
        if epoch != place or not all(0 <= c < 2**53 and c == int(c) for c in counts):
            raise ValueError(f"records are not those of epochs 1 to {len(rows)}")
        if not (np.isfinite([loss, seconds]).all() and measured == (q_error == q_error)):
            raise ValueError(f"record {place} holds what no epoch does")
        records.append(
            Record(
                place,
                int(steps),
                int(updates),
                loss,
                int(wins) if measured else None,
                int(starts),
                q_error if measured else None,
                seconds,
            )
        )
    return records


def write_config(folder, settings):
    """Write config.json: the settings, and the versions that ran them.

    Parameters
    ----------
    folder : Path
        The run's folder.
    settings : Settings
        What to write.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    config = {
        "settings": dataclasses.asdict(settings),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
            "minidqn": __version__,
        },
    }
    with atomic_write(folder / CONFIG) as file:
        file.write((json.dumps(config, indent=2) + "\n").encode())


def read_config(folder):
    """Read the settings back from config.json, trusting nothing that it says.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Returns
    -------
    Settings
        What the run was made with.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, or holds settings that no run can have.
    """
    path = folder / CONFIG
    with open_regular(path) as file:
        text = file.read(100_001)
    try:
        if len(text) > 100_000:
            raise ValueError("longer than 100,000 bytes")
        config = json.loads(text)
        return settings_from(config.get("settings") if isinstance(config, dict) else None)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise damaged(path, error) from error


def settings_from(named):
    """Settings from what a JSON file says that they are.

    Parameters
    ----------
    named : object
        What should be a dict of all settings by name.

    Returns
    -------
    Settings
        The settings.

    Raises
    ------
    TypeError, ValueError
        If they are none that a run can have.
    """
    if not isinstance(named, dict):
        raise ValueError("has no settings")
    fields = {field.name for field in dataclasses.fields(Settings)}
    if set(named) != fields:
        differing = ", ".join(sorted(set(named) ^ fields))
        raise ValueError(f"settings missing or unknown: {differing[:200]}")
    return Settings(**named)


class Lock:
    """Keeps a run's folder to one training at a time.

    The file says which process holds it, and goes with it. If that process is
    killed, the file stays, but the system has let go of the lock, and the next one
    takes it over.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Raises
    ------
    BlockingIOError
        If another process holds it; its message says which.
    OSError
        If the file cannot be made, or the system has no locks there.
    """

    def __init__(self, folder):
        self._path = folder / LOCK
        while True:
            self._file = self._opened()
            try:
                _lock(self._file)
            except OSError as error:
                with self._file:
                    if error.errno not in _HELD:
                        raise
                    raise BlockingIOError(
                        error.errno, f"{self._holder()} is training there"
                    ) from error
            if self._is_the_file():
                break
            self._file.close()  # its holder has just removed it
        try:
            self._file.truncate(0)
            self._file.write(f"{os.getpid()}\n")
            self._file.flush()
            remove_leftovers(folder)
        except OSError:
            self.release()
            raise

    def _opened(self):
        """The file, made if it is not there; never a pipe, nor what a link leads to."""

        def opener(path, flags):
            descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError(errno.EINVAL, f"{LOCK} is no regular file")
            return descriptor

        return open(self._path, "a+", encoding="ascii", errors="replace", opener=opener)

    def _holder(self):
        """Who holds the lock, as the file says."""
        self._file.seek(0)
        try:
            number = re.fullmatch(r"(\d{1,20})\n", self._file.read(30))
        except OSError:  # Windows lets nobody read what is locked
            number = None
        return f"process {number[1]}" if number else "another process"

    def _is_the_file(self):
        """Whether the file that is open and locked is still the one of this name."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
        except FileNotFoundError:
            return False

    def require(self):
        """See to it that the folder is still this training's.

        Raises
        ------
        OSError
            If the folder, or the lock in it, was removed meanwhile.
        """
        if not self._is_the_file():
            raise OSError(errno.ENOENT, "the folder or its lock was removed", str(self._path))

    def release(self):
        """Let others in."""
        with contextlib.suppress(OSError):  # Windows keeps files that are open
            if self._is_the_file():
                self._path.unlink()
        with contextlib.suppress(OSError):  # a full disk, under what is not written yet
            self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.release()


_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
"""What the systems say of a lock that another process holds."""


def _lock(file):
    """Lock an open file, or raise OSError at once if another process has."""
    if os.name == "nt":
        import msvcrt

        file.seek(1 << 20)  # a place that nobody reads or writes
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holds_run(folder):
    """Whether `folder` holds a run, or any file that a run would replace."""
    files = [folder / name for name in _FILES]
    return any(path.exists() for path in [*files, *_numbered(folder), *moment_paths(folder)])


def clear(folder):
    """Remove the files of a run, and nothing else, from its `folder`."""
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    remove_images(folder)
    for path in moment_paths(folder):
        path.unlink()


def remove_images(folder):
    """Remove 000.png, 001.png, ... from the pictures of `folder`, and nothing else."""
    for path in _numbered(folder):
        path.unlink()


def _numbered(folder):
    """The pictures in a run's `folder` that are named by a number."""
    pictures = (folder / IMAGES).glob("*.png")
    return [path for path in pictures if re.fullmatch(r"\d{3,}\.png", path.name)]


def moment_path(folder, epoch):
    """The file of a run's `folder` that keeps the weights of the end of an `epoch`."""
    return folder / MOMENTS / f"{epoch:06d}.npz"


def moment_paths(folder):
    """The files of the moments that there are in a run's `folder`, in no order."""
    files = (folder / MOMENTS).glob("*.npz")
    return [path for path in files if re.fullmatch(r"\d{6,}\.npz", path.name)]


def as_folder(text):
    """A path from the command line, `text`, its ~ expanded.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is empty, a file, or no name that a folder can have.
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty; expected the name of a folder")
    try:
        path = Path(text).expanduser()
        if path.exists() and not path.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a file; expected a folder")
    except (OSError, RuntimeError) as error:
        words = getattr(error, "strerror", None) or error
        raise argparse.ArgumentTypeError(f"{text}: {words}") from error
    return path
