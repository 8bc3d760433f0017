"""A run: its settings, its random streams, and the files of its folder."""

import argparse
import csv
import dataclasses
import json
import platform
import re
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from minidqn import __version__
from minidqn.checks import number, whole
from minidqn.storage import atomic_write

__all__ = [
    "CONFIG",
    "CURVE",
    "GIF",
    "IMAGES",
    "METRICS",
    "WEIGHTS",
    "MetricsWriter",
    "Record",
    "Settings",
    "Streams",
    "as_folder",
    "clear",
    "holds_run",
    "read_config",
    "remove_images",
    "write_config",
]

CONFIG, METRICS, WEIGHTS = "config.json", "metrics.csv", "weights.npz"
CURVE, GIF, IMAGES = "curve.png", "game.gif", "images"


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

    Raises
    ------
    OSError
        If the file cannot be written.
    """

    def __init__(self, folder):
        self._file = open(folder / METRICS, "w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(Record._fields)

    def write(self, record):
        """Add `record`, a `Record`, at the end."""
        self._csv.writerow(record._replace(seconds=f"{record.seconds:.3f}"))
        self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()


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
    with open(path, "rb") as file:
        text = file.read(100_001)
    try:
        if len(text) > 100_000:
            raise ValueError("longer than 100,000 bytes")
        config = json.loads(text)
        fields = {field.name for field in dataclasses.fields(Settings)}
        if not isinstance(config, dict) or not isinstance(config.get("settings"), dict):
            raise ValueError("has no settings")
        if set(config["settings"]) != fields:
            differing = ", ".join(sorted(set(config["settings"]) ^ fields))
            raise ValueError(f"settings missing or unknown: {differing[:200]}")
        return Settings(**config["settings"])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


def holds_run(folder):
    """Whether `folder` holds a run, or any file that a run would replace."""
    files = [folder / name for name in (CONFIG, METRICS, WEIGHTS, CURVE, GIF)]
    return any(path.exists() for path in [*files, *_numbered(folder)])


def clear(folder):
    """Remove the files of a run, and nothing else, from its `folder`."""
    for name in (CONFIG, METRICS, WEIGHTS, CURVE, GIF):
        (folder / name).unlink(missing_ok=True)
    remove_images(folder)


def remove_images(folder):
    """Remove 000.png, 001.png, ... from the pictures of `folder`, and nothing else."""
    for path in _numbered(folder):
        path.unlink()


def _numbered(folder):
    """The pictures in a run's `folder` that are named by a number."""
    pictures = (folder / IMAGES).glob("*.png")
    return [path for path in pictures if re.fullmatch(r"\d{3,}\.png", path.name)]


def as_folder(text):
    """A path from the command line, `text`, its ~ expanded.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is empty, or nobody's home.
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty; expected the name of a folder")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error
