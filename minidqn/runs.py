"""A run on disk: its settings and random streams, its metrics, checkpoints, lock and files.

A checkpoint is an .npz file: the weights, the optimizer's arrays, the replay memory and
the records of all epochs, as arrays; the settings, the counters and the state of every
generator, as JSON in one more array; and a checksum of it all. The one before is kept
beside it. Nothing that a file says is trusted: no number of it decides how much is
allocated before the file has been found large enough to hold that much, no link is
followed out of the folder, and no code is run because a file names it.
"""

import contextlib
import dataclasses
import errno
import hashlib
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

from minidqn import __version__, games, storage
from minidqn.checks import finite, number, one_line, whole
from minidqn.qlearning import columns
from minidqn.recipe import count_weights, q_network
from minidqn.replay import Memory

__all__ = [
    "CHARTS", "CHECKPOINT", "CONFIG", "GIF", "IMAGES", "METRICS", "MOMENTS", "PAGE", "PREVIOUS",
    "WEIGHTS", "Lock", "MetricsWriter", "Record", "Settings", "State", "Streams", "WrongGameError",
    "clear", "discard_newest", "game_of", "load_checkpoint", "load_latest", "load_run",
    "moment_path", "moment_paths", "read_config", "read_metrics", "remove_images", "require_free",
    "save_checkpoint", "subfolder", "write_config",
]  # fmt: skip

CONFIG, METRICS, WEIGHTS = "config.json", "metrics.csv", "weights.npz"
GIF, IMAGES, MOMENTS, PAGE = "game.gif", "images", "moments", "page.html"
CURVE, WINS, VALUES = "curve.png", "wins.png", "values.png"
FILTERS, FEATURES = "filters.png", "features.png"
CHARTS = (CURVE, WINS, VALUES, FILTERS, FEATURES)
CHECKPOINT, PREVIOUS, LOCK = "checkpoint.npz", "checkpoint.prev.npz", "run.lock"
_FILES = (CONFIG, METRICS, WEIGHTS, *CHARTS, GIF, PAGE, CHECKPOINT, PREVIOUS)

FORMAT = 3
"""Version of a checkpoint's format; a file of another is refused."""

MOST_JSON = 100_000
"""Bytes of JSON in a file, at most."""


class Streams(NamedTuple):
    """The random generators of a run: one for each kind of chance.

    Attributes
    ----------
    game, exploration, replay, weights, test : numpy.random.Generator
        For the games, the random actions, the batches, the first weights, and the games
        that are played to see how good the network is.
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
    game : str
        As ``games.load`` takes it: "fruit", "snake", "my_game.py:game" or "gym:ID".
    grid_size : int
        Rows and columns of the grid, if the game is one of the package's.
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
    filters : tuple of int
        Of each convolution, the first one's first.
    kernel_size : int
        Rows and columns of a filter, in pixels.
    units : int
        Of the first dense layer.
    seed : int
        Source of all randomness, at least 0.
    eval_every : int
        Epochs from one evaluation to the next, at least 1.

    Raises
    ------
    TypeError, ValueError
        If one is not of this kind.
    """

    game: str = "fruit"
    grid_size: int = 10
    epochs: int = 500
    batch_size: int = 128
    epsilon: float = 0.8
    gamma: float = 0.8
    learning_rate: float = 0.001
    capacity: int = 100_000
    filters: tuple = (16, 16)
    kernel_size: int = 3
    units: int = 100
    seed: int = 0
    eval_every: int = 10

    def __post_init__(self):
        if not isinstance(self.game, str) or not 0 < len(self.game) <= 1000:
            raise TypeError(f"game is {self.game!r:.80}; expected its name")
        if not isinstance(self.filters, (list, tuple)):
            raise TypeError(f"filters is {self.filters!r:.80}; expected whole numbers")
        filters = tuple(whole("filters", count) for count in self.filters)
        object.__setattr__(self, "filters", filters)
        for name in ("epochs", "batch_size", "capacity", "eval_every", "kernel_size", "units"):
            whole(name, getattr(self, name))
        lost = len(filters) * (self.kernel_size - 1)
        why = f": {len(filters)} convolutions of {self.kernel_size} x {self.kernel_size} need it"
        whole("grid_size", self.grid_size, max(3, lost + 1), why)
        whole("seed", self.seed, 0)
        number("epsilon", self.epsilon, "[0, 1]")
        number("gamma", self.gamma, "[0, 1)")
        number("learning_rate", self.learning_rate, "(0, inf)")
        if self.batch_size > self.capacity:
            wanted = f"at most the capacity, {self.capacity}"
            raise ValueError(f"batch_size is {self.batch_size}; expected {wanted}")

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

    @property
    def network(self):
        """The sizes of the network, as ``recipe.q_network`` takes them, a dict."""
        return {name: getattr(self, name) for name in ("filters", "kernel_size", "units")}


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
    mean_return : float or None
        Of greedy games, the sum of a game's rewards; None where it was not measured.
    wins, starts : int or None
        Starts that greedy play wins, and how many there are; None where it was not
        measured, and for a game that cannot say.
    q_error : float or None
        Mean |Q - Q*| over all states and actions; None as for wins.
    seconds : float
        Since the beginning of the loop.
    """

    epoch: int
    steps: int
    updates: int
    loss: float
    mean_return: float | None
    wins: int | None
    starts: int | None
    q_error: float | None
    seconds: float


HEADER = ",".join(Record._fields).replace("mean_return", "return")


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
        lines = [HEADER, *map(self._line, records)]
        with storage.atomic_write(folder / METRICS) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
        self._file = open(folder / METRICS, "a", encoding="utf-8", newline="")

    def _line(self, record):
        record = record._replace(seconds=f"{record.seconds:.3f}")
        return ",".join("" if value is None else str(value) for value in record)

    def write(self, record):
        """Add `record`, a `Record`, at the end."""
        self._file.write(f"{self._line(record)}\n")
        self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()


def read_metrics(folder, epochs):
    """Read the records back from metrics.csv, trusting nothing that it says.

    Parameters
    ----------
    folder : Path
        The run's folder.
    epochs : int
        How many there are at most; a longer file is refused as soon as that is seen.

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
    with storage.open_regular(path) as file:
        try:
            if file.readline(1000) != f"{HEADER}\n".encode():
                raise ValueError(f"its first line is not {HEADER}")
            records = []
            while line := file.readline(10_000):
                if len(records) == epochs:
                    raise ValueError(f"has more than {epochs} records")
                records.append(_record(len(records) + 1, _numbers(line)))
            return records
        except ValueError as error:
            raise storage.damaged(path, error) from error


def _numbers(line):
    """The numbers of a line of metrics.csv, None for what was not measured."""
    if not line.endswith(b"\n"):
        raise ValueError("a line has no end")
    fields = line[:-1].decode("ascii").split(",")
    for field in fields:
        # float() alone would take "nan", " 1" and "1_0", which no run writes.
        if not re.fullmatch(r"(-?\d{1,400}(\.\d{1,400})?(e[+-]\d{1,3})?)?", field):
            raise ValueError(f"a field is {field[:50]!r}; expected a number")
    return [float(field) if field else None for field in fields]


def _record(epoch, values):
    """The record of an epoch, from the numbers that a file has for it, None for some."""
    if len(values) != len(Record._fields):
        raise ValueError(f"record {epoch} has {len(values)} numbers")
    record = Record(*values)
    whole_ones = {name: getattr(record, name) for name in ("epoch", "steps", "updates")}
    game = [record.wins, record.starts, record.q_error]
    if game != [None] * 3:
        whole_ones |= {"wins": record.wins, "starts": record.starts}
    needed = [record.loss, record.seconds, *whole_ones.values()]
    if (
        any(value is None or not 0 <= value < 1e300 for value in needed)
        or any(value != int(value) or value >= 2**53 for value in whole_ones.values())
        or record.epoch != epoch
        or (None in game and game != [None] * 3)
        or (record.mean_return is None and game != [None] * 3)
        or (record.mean_return is not None and not math.isfinite(record.mean_return))
    ):
        raise ValueError(f"record {epoch} holds what no epoch does")
    return record._replace(**{name: int(value) for name, value in whole_ones.items()})


def _settings_from(named):
    """Settings from what a JSON file says that they are."""
    fields = {field.name for field in dataclasses.fields(Settings)}
    if not isinstance(named, dict):
        raise ValueError("has no settings")
    if set(named) != fields:
        differing = ", ".join(sorted(set(named) ^ fields))
        raise ValueError(f"settings missing or unknown: {differing[:200]}")
    return Settings(**named)


def write_config(folder, settings, game, error=None):
    """Write config.json: the settings, and the versions that ran them.

    Parameters
    ----------
    folder : Path
        The run's folder.
    settings : Settings
        What to write.
    game : Game
        The run's.
    error : str, optional
        What has ended the run, if that was its own numbers.

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
        "game": _told(game),
        "error": error,
    }
    with storage.atomic_write(folder / CONFIG) as file:
        file.write((json.dumps(config, indent=2) + "\n").encode())


def read_config(folder):
    """Read back what config.json says, trusting none of it.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Returns
    -------
    settings : Settings
        What the run was made with.
    told : object
        What it has kept of its game.
    error : str or None
        What has ended it.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, or holds settings that no run can have.
    """
    path = folder / CONFIG
    with storage.open_regular(path) as file:
        text = file.read(MOST_JSON + 1)
    try:
        if len(text) > MOST_JSON:
            raise ValueError(f"longer than {MOST_JSON:,} bytes")
        config = json.loads(text)
        settings = _settings_from(config.get("settings") if isinstance(config, dict) else None)
        error = config.get("error")
        return settings, config.get("game"), None if error is None else one_line(error, 500)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise storage.damaged(path, error) from error


class WrongGameError(ValueError):
    """A run's game is none of this package and not given, or another than the one given."""


def _told(game):
    """What a run keeps of its game."""
    return {"shape": list(game.shape), "actions": list(game.actions)}


def game_of(settings, game=None):
    """The game of a run.

    Parameters
    ----------
    settings : Settings
        The run's.
    game : Game, optional
        The game itself, where its name alone is not to be trusted.

    Returns
    -------
    Game
        `game`, or the one that the settings name, if it is the package's own.

    Raises
    ------
    WrongGameError
        If it is not, and `game` is not given.
    """
    if game is None and settings.game not in games.OWN:
        name = one_line(settings.game, 200)
        raise WrongGameError(f"its game is {name}, and only runs if you say so: --game {name}")
    return game or games.load(settings.game, settings.grid_size)


def _require_told(settings, game, told):
    """Refuse a game with other frames or actions than the run has kept of its own."""
    if told != _told(game):
        name = one_line(settings.game, 200)
        raise WrongGameError(f"its game is {name}, with {told!r:.200}; expected {_told(game)}")


def load_run(folder, game=None):
    """A finished run: its settings, its game and its trained network.

    Parameters
    ----------
    folder : path-like
        The run's folder; nothing in it is trusted.
    game : Game, optional
        The run's; by default the one of the package that its settings name.

    Returns
    -------
    settings : Settings
        What the run was made with.
    model : Sequential
        The network, with the run's weights.
    game : Game
        What it plays.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If a file is damaged or does not fit the others.
    MemoryError
        If such a network does not fit.
    """
    folder = Path(folder)
    settings, told, _ = read_config(folder)
    try:
        game = game_of(settings, game)
        _require_told(settings, game, told)
        storage.require_room(folder / WEIGHTS, 4 * count_weights(game, **settings.network))
        model = q_network(learning_rate=settings.learning_rate, game=game, **settings.network)
    except WrongGameError as error:
        raise ValueError(f"RUN {folder}: {error}") from error
    except ValueError as error:  # numbers beyond what any array or float32 holds
        raise storage.damaged(folder / CONFIG, error) from error
    model.load_weights(folder / WEIGHTS)
    return settings, model, game


class State(NamedTuple):
    """What a training run is made of at the end of an epoch.

    Attributes
    ----------
    settings : Settings
        What it was started with.
    game : Game
        What it plays.
    model : Sequential
        The network and its optimizer.
    streams : Streams
        The generators, wherever they have come to.
    memory : Memory
        The replay memory.
    records : list of Record
        One for each epoch so far.
    """

    settings: Settings
    game: games.Game
    model: object
    streams: Streams
    memory: Memory
    records: list


def save_checkpoint(folder, state):
    """Write the state to checkpoint.npz; what was there becomes checkpoint.prev.npz.

    Parameters
    ----------
    folder : Path
        The run's folder.
    state : State
        At the end of an epoch.

    Raises
    ------
    OSError
        If it cannot be written; one of the two files is whole in any case, if one
        was before.
    """
    arrays = _arrays(state)
    header = {
        "format": FORMAT,
        "settings": vars(state.settings),
        "game": _told(state.game),
        "engine": state.model.engine,
        "generators": _generators(state.streams),
        "experiences": state.memory.count,
        "oldest": state.memory.oldest,
        "pixels": len(arrays["memory/pixels"]),
        "epochs": len(state.records),
    }
    text = json.dumps(header).encode()
    parts = {"json": np.frombuffer(text, np.uint8), "checksum": _checksum(text, arrays)}
    storage.write_arrays(folder / CHECKPOINT, parts | arrays, previous=folder / PREVIOUS)


def _generators(streams):
    """The states of all generators, by the names of the streams."""
    return {name: rng.bit_generator.state for name, rng in streams._asdict().items()}


def _named(model):
    """The arrays of a network and its optimizer, under the names that they have in a file."""
    arrays = {f"weights/{name}": array for name, array in model.named_weights().items()}
    return arrays | {f"optimizer/{name}": array for name, array in model.named_state().items()}


def _arrays(state):
    """The arrays of a checkpoint by name, but for the JSON and the checksum."""
    rows = [[np.nan if value is None else value for value in r] for r in state.records]
    records = np.array(rows, np.float64).reshape(len(rows), len(Record._fields))
    memory = zip(("memory/experiences", "memory/pixels"), state.memory.arrays(), strict=True)
    return {**_named(state.model), **dict(memory), "records": records}


def _checksum(text, arrays):
    """SHA-256 of names, shapes, dtypes and numbers, as 32 bytes."""
    digest = hashlib.sha256(text)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)


def load_checkpoint(path, game=None, engine=None):
    """The state that a checkpoint holds.

    Parameters
    ----------
    path : Path
        The file; nothing in it is trusted.
    game : Game, optional
        As for `load_run`.
    engine : str, optional
        As for ``Sequential.compile``; the one that it was saved with by default.

    Returns
    -------
    State
        As it was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, or holds what no run does.
    MemoryError
        If what it holds does not fit.
    """
    text = storage.read_bytes(path, "json", MOST_JSON)
    try:
        return _loaded(path, text, game, engine)
    except WrongGameError:
        raise
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise storage.damaged(path, error) from error


def _loaded(path, text, game, engine):
    """The state that a checkpoint with this JSON holds, if it is one."""
    header = json.loads(text)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"is no checkpoint of format {FORMAT}")
    settings = _settings_from(header["settings"])
    names = "experiences", "oldest", "pixels", "epochs"
    stored, oldest, pixels, epochs = (whole(name, header[name], 0) for name in names)
    game = game_of(settings, game)
    _require_told(settings, game, header["game"])
    if header["engine"] not in ("compiled", "numpy"):
        raise ValueError("its engine is none")
    engine = engine or {"compiled": "auto", "numpy": "numpy"}[header["engine"]]
    # The weights and the optimizer's array of the same length, at least.
    storage.require_room(path, 8 * count_weights(game, **settings.network))
    model = q_network(0, None, settings.learning_rate, engine, game, **settings.network)
    shapes = {
        "json": (np.uint8, (len(text),)),
        "checksum": (np.uint8, (32,)),
        "memory/experiences": (np.int32, (stored, 7)),
        "memory/pixels": (np.int32, (pixels, 1 + game.shape[0])),
        "records": (np.float64, (epochs, len(Record._fields))),
    }
    like = {name: np.broadcast_to(np.zeros((), d), shape) for name, (d, shape) in shapes.items()}
    arrays = storage.read_arrays(path, like | _named(model))
    del arrays["json"]
    if not np.array_equal(arrays.pop("checksum"), _checksum(text, arrays)):
        raise ValueError("its checksum is not that of its contents")
    model.set_weights([arrays[f"weights/{name}"] for name in model.named_weights()])
    for name, array in model.named_state().items():
        finite(f"optimizer/{name}", arrays[f"optimizer/{name}"])
        array[...] = arrays[f"optimizer/{name}"]
    experiences = arrays["memory/experiences"], arrays["memory/pixels"]
    memory = Memory.of(*experiences, settings.capacity, oldest, game.shape)
    columns(experiences[0][:, 4], game.actions)
    streams = settings.streams()
    for name, rng in streams._asdict().items():
        rng.bit_generator.state = header["generators"][name]
    if json.dumps(_generators(streams)) != json.dumps(header["generators"]):
        raise ValueError("a generator's state is none of PCG64's")
    rows = [[None if n != n else n for n in row] for row in arrays["records"].tolist()]
    records = [_record(epoch, row) for epoch, row in enumerate(rows, start=1)]
    return State(settings, game, model, streams, memory, records)


def load_latest(folder, game=None, engine=None):
    """The state of a run's newest checkpoint that is whole.

    Parameters
    ----------
    folder : Path
        The run's folder.
    game, engine
        As for `load_checkpoint`.

    Returns
    -------
    state : State
        As it was saved.
    failures : list of str
        What is wrong with the newer one, if this is the older.

    Raises
    ------
    WrongGameError
        If neither can be loaded, and that is why; a damaged file may look so, too.
    ValueError
        If neither is whole, with what is wrong with both.
    """
    failures, wrong = [], None
    for name in (CHECKPOINT, PREVIOUS):
        try:
            return load_checkpoint(folder / name, game, engine), failures
        except OSError as error:
            failures.append(f"{folder / name}: {error.strerror}")
        except MemoryError:
            failures.append(f"{folder / name}: what it holds does not fit into memory")
        except ValueError as error:
            failures.append(str(error))
            wrong = error if isinstance(error, WrongGameError) else wrong
    raise wrong or ValueError("; ".join(failures))


def discard_newest(folder):
    """Let the previous checkpoint take the place of one that cannot be read.

    Without this the next save would keep the damaged one instead of the other.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Raises
    ------
    OSError
        If it cannot be written to.
    """
    os.replace(folder / PREVIOUS, folder / CHECKPOINT)


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
            for place in (folder, subfolder(folder, IMAGES), subfolder(folder, MOMENTS)):
                storage.remove_leftovers(place)
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


def subfolder(folder, name):
    """The path of a folder in a run's, which must not be a link to another place.

    Parameters
    ----------
    folder : Path
        The run's folder.
    name : str
        `IMAGES` or `MOMENTS`.

    Returns
    -------
    Path
        Where it is, or will be.

    Raises
    ------
    OSError
        If it is a link.
    """
    path = folder / name
    if path.is_symlink() or getattr(os.path, "isjunction", os.path.islink)(path):
        raise OSError(errno.ELOOP, f"{name} is a link; expected a folder", str(path))
    return path


def _numbered(folder):
    """The pictures in a run's `folder` that are named by a number."""
    pictures = subfolder(folder, IMAGES).glob("*.png")
    return [path for path in pictures if re.fullmatch(r"\d{3,}\.png", path.name)]


def moment_path(folder, epoch):
    """The file of a run's `folder` that keeps the weights of the end of an `epoch`."""
    return subfolder(folder, MOMENTS) / f"{epoch:06d}.npz"


def moment_paths(folder):
    """The files of the moments that there are in a run's `folder`, in no order."""
    files = subfolder(folder, MOMENTS).glob("*.npz")
    return [path for path in files if re.fullmatch(r"\d{6,}\.npz", path.name)]


def require_free(folder, overwrite=False):
    """See to it that a new run may have a folder, which exists.

    Parameters
    ----------
    folder : Path
        Where the run is to be kept.
    overwrite : bool
        Whether it may replace a run that is there.

    Raises
    ------
    ValueError
        If it may not, or files are there that are no run's.
    OSError
        If a folder or a link stands where a file of the run belongs.
    """
    ours = [path for path in (folder / name for name in _FILES) if path.exists()]
    for path in ours:
        if path.is_dir():
            raise OSError(errno.EISDIR, f"{path.name} is a folder there; expected a file")
    if not (ours or _numbered(folder) or moment_paths(folder)):
        others = [p.name for p in folder.iterdir() if p.name not in (LOCK, IMAGES, MOMENTS)]
        if any(not name.startswith(".") for name in others):
            raise ValueError("holds other files; expected a new folder, or that of a run")
    elif not overwrite:
        raise ValueError(
            "holds a run already; use --overwrite to replace it, or --resume to go on with it"
        )


def clear(folder):
    """Remove the files of a run, and nothing else, from its `folder`."""
    for path in [*(folder / name for name in _FILES), *moment_paths(folder)]:
        path.unlink(missing_ok=True)
    remove_images(folder)


def remove_images(folder):
    """Remove 000.png, 001.png, ... from the pictures of `folder`, and nothing else."""
    for path in _numbered(folder):
        path.unlink()
