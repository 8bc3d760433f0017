"""A run on disk: its settings and random streams, its metrics, checkpoints, lock and files.

A checkpoint is an .npz file: the weights, the optimizer's arrays, the replay memory and
the records of all epochs, as arrays; the settings, the counters and the state of every
generator, as JSON in one more array; and a checksum of it all. The one before is kept
beside it. Nothing that a file says is trusted: no number of it decides how much is
allocated before the file has been found large enough to hold that much, no link is
followed out of the folder, and no code is run because a file names it.
"""

import contextlib
import copy
import dataclasses
import errno
import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

from minidqn import __version__, games, storage
from minidqn.checks import finite, number, one_line, whole
from minidqn.nn import Sequential, losses, optimizers
from minidqn.qlearning import columns
from minidqn.recipe import count_weights, q_network
from minidqn.replay import Memory

CONFIG, METRICS, WEIGHTS = "config.json", "metrics.csv", "weights.npz"
GIF, IMAGES, MOMENTS, PAGE = "game.gif", "images", "moments", "page.html"
TENSORBOARD = "tensorboard"
CURVE, WINS, VALUES = "curve.png", "wins.png", "values.png"
FILTERS, FEATURES = "filters.png", "features.png"
CHARTS = (CURVE, WINS, VALUES, FILTERS, FEATURES)
CHECKPOINT, PREVIOUS, LOCK = "checkpoint.npz", "checkpoint.prev.npz", "run.lock"
EXPORTS = {
    "safetensors": "weights.safetensors", "onnx": "model.onnx", "torch": "weights.pt",
    "keras": "model.keras",
}  # fmt: skip
FILES = (CONFIG, METRICS, WEIGHTS, *CHARTS, GIF, PAGE, *EXPORTS.values(), CHECKPOINT, PREVIOUS)

FORMAT = 6
"""Version of a checkpoint's format; a file of another is refused."""


class Streams(NamedTuple):
    """The random generators of a run, one for each kind of chance.

    Attributes
    ----------
    game, exploration, replay, weights, test : numpy.random.Generator
        For the games, the random actions, the batches, the first weights, and the games that
        are played to see how good the network is.
    """

    game: np.random.Generator
    exploration: np.random.Generator
    replay: np.random.Generator
    weights: np.random.Generator
    test: np.random.Generator


def _setting(default, words):
    """A field of `Settings`, and what the command line says of it."""
    return dataclasses.field(default=default, metadata={"help": words})


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome of a run, checked.

    The attributes are the command line's options: ``--batch-size`` is batch_size.

    Raises
    ------
    TypeError, ValueError
        If one is not what its help says.
    """

    game: str = _setting(
        "fruit", "fruit, snake, gym:ID, or a file and the Game in it, such as my_game.py:game"
    )
    grid_size: int = _setting(10, "rows and columns of the grid of fruit and snake, in cells")
    epochs: int = _setting(500, "episodes to play, one an epoch")
    steps: int = _setting(0, "environment steps to play instead, to the end of the last episode")
    batch_size: int = _setting(128, "experiences in a learning step")
    epsilon: float = _setting(0.8, "share of random actions, 0 to 1")
    exploration_final_eps: float = _setting(
        None, "epsilon at the end of a line that it falls along, from learning_starts on"
    )
    exploration_steps: int = _setting(0, "environment steps in which epsilon falls")
    gamma: float = _setting(0.8, "discount factor of a step, 0 to below 1")
    n_step: int = _setting(1, "rewards that are added up before the value of a state is used")
    target_update_interval: int = _setting(
        0, "environment steps between two updates of the target network; 0: there is none"
    )
    double: bool = _setting(False, "the network chooses the action that the target network rates")
    loss: str = _setting("mse", "mse or huber")
    optimizer: str = _setting(
        "rmsprop", "sgd, rmsprop or adam; with parameters: 'rmsprop rho=0.95 centered=true'"
    )
    learning_rate: float = _setting(0.001, "the optimizer's step length, above 0")
    final_learning_rate: float = _setting(
        None, "learning rate at the end of the run, to which it falls along a line"
    )
    learning_starts: int = _setting(0, "environment steps before the first learning step")
    train_freq: int = _setting(1, "environment steps for each learning step")
    capacity: int = _setting(100_000, "experiences that the replay memory keeps")
    filters: tuple = _setting((16, 16), "filters of each convolution")
    kernel_size: int = _setting(3, "rows and columns of a filter, in pixels")
    units: int = _setting(100, "units of the first dense layer")
    seed: int = _setting(0, "number that all randomness comes from, 0 or more")
    eval_every: int = _setting(10, "epochs from one evaluation to the next")

    def __post_init__(self):
        if not isinstance(self.game, str) or not 0 < len(self.game) <= 1000:
            raise TypeError(f"game is {self.game!r:.80}; expected its name")
        if not isinstance(self.filters, (list, tuple)):
            raise TypeError(f"filters is {self.filters!r:.80}; expected whole numbers")
        object.__setattr__(self, "filters", tuple(whole("filters", n) for n in self.filters))
        for field in dataclasses.fields(self):
            if field.type is int:
                least = 3 if field.name == "grid_size" else min(field.default, 1)
                whole(field.name, getattr(self, field.name), least)
        number("epsilon", self.epsilon, "[0, 1]")
        if not isinstance(self.double, bool):
            raise TypeError(f"double is {self.double!r}; expected a bool")
        if self.double and not self.target_update_interval:
            raise ValueError("double is True; expected a target_update_interval above 0 with it")
        final, falling = self.exploration_final_eps, self.exploration_steps
        if (final is None) != (falling == 0):
            pair = f"exploration_steps is {falling} and exploration_final_eps {final}"
            raise ValueError(f"{pair}; expected both or neither")
        if final is not None and number("exploration_final_eps", final, "[0, 1]") > self.epsilon:
            wanted = f"at most epsilon, {self.epsilon}"
            raise ValueError(f"exploration_final_eps is {final}; expected {wanted}")
        if 0 < self.steps <= self.learning_starts:
            wanted = f"fewer than steps, {self.steps}"
            raise ValueError(f"learning_starts is {self.learning_starts}; expected {wanted}")
        number("gamma", self.gamma, "[0, 1)")
        rate, last = self.learning_rate, self.final_learning_rate
        number("learning_rate", rate, "(0, inf)")
        if last is not None and number("final_learning_rate", last, "[1e-38, inf)") > rate:
            wanted = f"at most learning_rate, {rate}"
            raise ValueError(f"final_learning_rate is {last}; expected {wanted}")
        if self.batch_size > self.capacity:
            wanted = f"at most the capacity, {self.capacity}"
            raise ValueError(f"batch_size is {self.batch_size}; expected {wanted}")
        for name in ("loss", "optimizer"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is {getattr(self, name)!r:.80}; expected its name")
        losses.get(self.loss)
        optimizers.get(self.optimizer, self.learning_rate)

    @property
    def unit(self) -> str:
        """What a run is measured in: "steps" if it is to have so many, or else "epochs"."""
        return "steps" if self.steps else "epochs"

    @property
    def goal(self) -> int:
        """How many of its unit a run is to have; it has no more epochs than that."""
        return getattr(self, self.unit)

    def done(self, record: "Record | None") -> int:
        """How many a run has with its last `record`; none with None."""
        return 0 if record is None else record.steps if self.steps else record.epoch

    def ended(self, record: "Record | None") -> bool:
        """Whether a run ends with this `record`."""
        return self.done(record) >= self.goal

    def epsilon_at(self, steps: int) -> float:
        """The share of random actions after so many environment `steps`."""
        if self.exploration_final_eps is None:
            return self.epsilon
        fallen = min(max(steps - self.learning_starts, 0) / self.exploration_steps, 1)
        return self.epsilon + fallen * (self.exploration_final_eps - self.epsilon)

    def learning_rate_at(self, record: "Record | None") -> float:
        """The optimizer's step length in the epoch that follows `record`, None for the first."""
        if self.final_learning_rate is None:
            return self.learning_rate
        fallen = self.done(record) / self.goal
        return self.learning_rate + fallen * (self.final_learning_rate - self.learning_rate)

    def learns_at(self, steps: int) -> bool:
        """Whether the network learns after so many environment `steps`, the last included."""
        return steps >= self.learning_starts and steps % self.train_freq == 0

    def streams(self) -> Streams:
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

    def q_network(
        self,
        game: games.Game,
        rng: np.random.Generator | None = None,
        engine: str = "auto",
        file: Path | None = None,
    ) -> Sequential:
        """The run's network, before its training.

        Parameters
        ----------
        game, rng, engine
            As for ``recipe.q_network``.
        file : Path, optional
            What its weights will be read from, which must be large enough to hold them.

        Returns
        -------
        Sequential
            Compiled.
        """
        sizes, rules = (self.filters, self.kernel_size, self.units), (self.optimizer, self.loss)
        if file is not None:
            storage.require_room(file, 4 * count_weights(game, *sizes))
        return q_network(self.grid_size, rng, self.learning_rate, engine, game, *sizes, *rules)

    def target_network(self, model: Any) -> Any:
        """A copy of a new `model`, or None if the run has no target network."""
        return copy.deepcopy(model) if self.target_update_interval else None


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
    episode_return : float
        Sum of the rewards of the epoch's own game, random actions and all.
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
    episode_return: float
    mean_return: float | None
    wins: int | None
    starts: int | None
    q_error: float | None
    seconds: float


HEADER = ",".join(Record._fields).replace("mean_return", "return")


class MetricsWriter(contextlib.AbstractContextManager):
    """Writes records to metrics.csv as they come, so that a run can be watched.

    Parameters
    ----------
    folder : Path
        The run's folder.
    records : iterable of Record
        Of the epochs that are done already: the file begins with them.
    """

    def __init__(self, folder: Path, records: Iterable[Record] = ()):
        with storage.atomic_write(folder / METRICS) as file:
            file.write(f"{HEADER}\n".encode())
            file.writelines(map(self._line, records))
        self._file = open(folder / METRICS, "ab")

    def _line(self, record):
        record = record._replace(seconds=f"{record.seconds:.3f}")
        fields = ["" if value is None else str(value) for value in record]
        return f"{','.join(fields)}\n".encode()

    def write(self, record: Record) -> None:
        """Add `record`, a `Record`, at the end."""
        self._file.write(self._line(record))
        self._file.flush()

    def __exit__(self, *exception):
        self._file.close()


def read_metrics(folder: Path, epochs: int) -> list[Record]:
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
    with storage.open_regular(path) as file, storage.untrusted(path):
        if file.readline(1000) != f"{HEADER}\n".encode():
            raise ValueError(f"its first line is not {HEADER}")
        records = []
        while line := file.readline(10_000):
            if len(records) == epochs or not line.endswith(b"\n"):
                raise ValueError(f"has more than {epochs} records, or a line without an end")
            fields = line.decode("ascii").rstrip().split(",")
            values = [float(field) if field else None for field in fields]
            records.append(_record(len(records) + 1, values))
        return records


def _record(epoch, values):
    """The record of an epoch, from the numbers that a file has for it, None for some."""
    if len(values) != len(Record._fields):
        raise ValueError(f"record {epoch} has {len(values)} numbers")
    given = {n: v for n, v in zip(Record._fields, values, strict=True) if v is not None}
    missing = set(Record._fields) - given.keys()
    counts = given.keys() & {"epoch", "steps", "updates", "wins", "starts"}
    exact = {"wins", "starts", "q_error"}
    if (
        missing not in (set(), exact, exact | {"mean_return"})
        or not all(map(math.isfinite, given.values()))
        or any(value < 0 for name, value in given.items() if not name.endswith("return"))
        or any(given[name] % 1 or given[name] >= 2**53 for name in counts)
        or given["epoch"] != epoch
    ):
        raise ValueError(f"record {epoch} holds what no epoch does")
    return Record(*values)._replace(**{name: int(given[name]) for name in counts})


def _settings_from(named):
    """Settings from what a JSON file says that they are."""
    fields = {field.name for field in dataclasses.fields(Settings)}
    differing = fields.symmetric_difference(named)
    if differing:
        raise ValueError(f"settings missing or unknown: {', '.join(sorted(differing)):.200}")
    return Settings(**named)


def write_config(
    folder: Path, settings: Settings, game: games.Game | None, error: str | None = None
) -> None:
    """Write config.json: the settings, and the versions that ran them.

    Parameters
    ----------
    folder : Path
        The run's folder.
    settings : Settings
        What to write.
    game : Game or None
        The run's; None for a run that has failed with no game at hand.
    error : str, optional
        What has ended the run.
    """
    versions = {"python": platform.python_version(), "numpy": np.__version__,
                "numba": numba.__version__, "minidqn": __version__}  # fmt: skip
    told, settings = game and _told(game), vars(settings)
    config = {"settings": settings, "versions": versions, "game": told, "error": error}
    with storage.atomic_write(folder / CONFIG) as file:
        file.write((json.dumps(config, indent=2) + "\n").encode())


def read_config(folder: Path) -> tuple[Settings, object, str | None]:
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
    config = storage.read_json(folder / CONFIG)
    with storage.untrusted(folder / CONFIG):
        settings, error = _settings_from(config.get("settings", ())), config.get("error")
        return settings, config.get("game"), None if error is None else one_line(error, 500)


class WrongGameError(storage.FileError):
    """A run's game is none of this package and not given, or another than the one given."""


def _told(game):
    """What a run keeps of its game."""
    return {"shape": list(game.shape), "actions": list(game.actions)}


def game_of(settings: Settings, game: games.Game | None = None, told: object = None) -> games.Game:
    """The game of a run.

    Parameters
    ----------
    settings : Settings
        The run's.
    game : Game, optional
        The game itself, where its name alone is not to be trusted.
    told : object, optional
        What the run's files say of its frames and actions; it must be true.

    Returns
    -------
    Game
        `game`, or the one that the settings name, if it is the package's own.

    Raises
    ------
    WrongGameError
        If it is not, and `game` is not given, or another game is meant.
    """
    name = one_line(settings.game, 200)
    if game is None and settings.game not in games.OWN:
        raise WrongGameError(f"its game is {name}, and only runs if you say so: --game {name}")
    game = game or games.load(settings.game, settings.grid_size)
    if told not in (None, _told(game)):
        raise WrongGameError(f"its game is {name}, with {told!r:.200}; expected {_told(game)}")
    return game


def load_run(
    folder: str | Path, game: games.Game | None = None
) -> tuple[Settings, Sequential, games.Game]:
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
        with storage.untrusted(folder / CONFIG):  # numbers beyond what any array or float32 holds
            game = game_of(settings, game, told or {})
            model = settings.q_network(game, file=folder / WEIGHTS)
    except WrongGameError as error:
        raise ValueError(f"RUN {folder}: {error}") from error
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
    target : Sequential or None
        The target network, if there is one.
    """

    settings: Settings
    game: games.Game
    model: Sequential
    streams: Streams
    memory: Memory
    records: list[Record]
    target: Sequential | None = None

    @property
    def last(self) -> Record | None:
        """The last record; None before the first epoch."""
        return self.records[-1] if self.records else None


def new_state(
    settings: Settings, game: games.Game, engine: str = "auto", file: Path | None = None
) -> State:
    """The state of a run before its first epoch.

    Parameters
    ----------
    settings : Settings
        The run's.
    game, engine, file
        As for ``Settings.q_network``.

    Returns
    -------
    State
        With weights from the run's own stream.
    """
    streams = settings.streams()
    model = settings.q_network(game, streams.weights, engine, file)
    memory = Memory(settings.capacity, game.shape)
    return State(settings, game, model, streams, memory, [], settings.target_network(model))


def save_checkpoint(folder: Path, state: State) -> None:
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
    header = {
        "format": FORMAT,
        "settings": vars(state.settings),
        "game": _told(state.game),
        "engine": state.model.engine,
        "generators": _generators(state.streams),
    }
    arrays = {"json": np.frombuffer(json.dumps(header).encode(), np.uint8), **_arrays(state)}
    arrays["checksum"] = _checksum(arrays)
    storage.write_arrays(folder / CHECKPOINT, arrays, previous=folder / PREVIOUS)


def _generators(streams):
    """The states of all generators, by the names of the streams."""
    return {name: rng.bit_generator.state for name, rng in streams._asdict().items()}


def _arrays(state):
    """The arrays of a state, under the names that they have in a file."""
    model = state.model
    arrays = {f"weights/{name}": array for name, array in model.named_weights().items()}
    if state.target is not None:
        weights = state.target.named_weights()
        arrays |= {f"target/{name}": array for name, array in weights.items()}
    arrays |= {f"optimizer/{name}": array for name, array in model.named_state().items()}
    arrays["memory/experiences"], arrays["memory/pixels"] = state.memory.arrays()
    records = np.array(state.records, np.float64)  # None becomes NaN
    return arrays | {"records": records.reshape(-1, len(Record._fields))}


def _checksum(arrays):
    """SHA-256 of names, shapes, dtypes and numbers, as 32 bytes."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)


def load_checkpoint(path: Path, game: games.Game | None = None, engine: str | None = None) -> State:
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
    arrays = storage.read_arrays(path)
    with storage.untrusted(path):
        header = json.loads(arrays["json"].tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"is no checkpoint of format {FORMAT}")
        if not np.array_equal(arrays.pop("checksum"), _checksum(arrays)):
            raise ValueError("its checksum is not that of its contents")
        del arrays["json"]
        settings = _settings_from(header["settings"])
        game = game_of(settings, game, header["game"] or {})
        engine = engine or {"compiled": "auto", "numpy": "numpy"}[header["engine"]]
        # A state as it begins says which arrays there are; of these three any number of rows.
        begun = new_state(settings, game, engine, path)
        model, streams, target = begun.model, begun.streams, begun.target
        many = {name: arrays[name] for name in ("memory/experiences", "memory/pixels", "records")}
        without_rows = {name: array[:0] for name, array in many.items()}
        storage.require_like(arrays | without_rows, _arrays(begun))
        model.set_weights([arrays[f"weights/{name}"] for name in model.named_weights()])
        if target is not None:
            target.set_weights([arrays[f"target/{name}"] for name in target.named_weights()])
        for name, array in model.named_state().items():
            finite(f"optimizer/{name}", arrays[f"optimizer/{name}"])
            array[...] = arrays[f"optimizer/{name}"]
        experiences, pixels, rows = many.values()
        memory = Memory.of(experiences, pixels, settings.capacity, game.shape)
        columns(experiences[:, 3], game.actions)
        for name, rng in streams._asdict().items():
            rng.bit_generator.state = header["generators"][name]
        if json.dumps(_generators(streams)) != json.dumps(header["generators"]):
            raise ValueError("a generator's state is none of PCG64's")
        rows = [[None if math.isnan(n) else n for n in row] for row in rows.tolist()]
        records = [_record(epoch, row) for epoch, row in enumerate(rows, start=1)]
        updates = records[-1].updates if records else 0
        if arrays.get("optimizer/updates", updates) != updates:
            raise ValueError("optimizer/updates is not how many the records have")
        return State(settings, game, model, streams, memory, records, target)


def load_latest(
    folder: Path, game: games.Game | None = None, engine: str | None = None
) -> tuple[State, list[str]]:
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
    errors = {}
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        try:
            return load_checkpoint(path, game, engine), list(errors.values())
        except (OSError, MemoryError, ValueError) as error:
            words = getattr(error, "strerror", None) or error
            errors[error] = str(words) if isinstance(error, ValueError) else f"{path}: {words}"
    wrong = [error for error in errors if isinstance(error, WrongGameError)]
    raise wrong[-1] if wrong else ValueError("; ".join(errors.values()))


def discard_newest(folder: Path) -> None:
    """Let the previous checkpoint take the place of one that cannot be read.

    Without this the next save would keep the damaged one instead of the other.

    Parameters
    ----------
    folder : Path
        The run's folder.
    """
    os.replace(folder / PREVIOUS, folder / CHECKPOINT)


class Lock(contextlib.AbstractContextManager):
    """Keeps a run's folder to one training at a time.

    The file says which process holds it, and goes with it. If that process is killed, the
    file stays, but the system lets go of the lock, and the next one takes it over.

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

    def __init__(self, folder: Path):
        self._path = folder / LOCK
        while True:
            self._file = storage.open_regular(self._path, "ab+", getattr(os, "O_NOFOLLOW", 0))
            try:
                _lock(self._file)
            except OSError as error:
                with self._file as file:
                    if error.errno not in _HELD:
                        raise
                    file.seek(0)
                    holder = re.fullmatch(rb"\d{1,20}\n", file.read(30))
                holder = f"process {int(holder[0])}" if holder else "another process"
                raise BlockingIOError(error.errno, f"{holder} is training there") from error
            with contextlib.suppress(OSError):  # its holder may have just removed it
                self.require()
                break
            self._file.close()
        try:
            self._file.truncate(0)
            self._file.write(f"{os.getpid()}\n".encode())
            self._file.flush()
            for place in (folder, subfolder(folder, IMAGES), subfolder(folder, MOMENTS)):
                storage.remove_leftovers(place)
        except OSError:
            self.__exit__()
            raise

    def require(self) -> None:
        """See to it that the folder is still this training's.

        Raises
        ------
        OSError
            If the folder, or the lock in it, was removed meanwhile.
        """
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path)):
                return
        raise OSError(errno.ENOENT, "the folder or its lock was removed", str(self._path))

    def __exit__(self, *exception):
        with contextlib.suppress(OSError):  # Windows keeps files that are open
            self.require()
            self._path.unlink()
        with contextlib.suppress(OSError):  # a full disk, under what is not written yet
            self._file.close()


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


def subfolder(folder: Path, name: str) -> Path:
    """The path of a folder in another, which must not be a link to another place.

    Parameters
    ----------
    folder : Path
        The folder of a run or a sweep.
    name : str
        One of `NUMBERED`, or that of a sweep's run.

    Returns
    -------
    Path
        Where it is, or will be.
    """
    path = folder / name
    is_link = path.is_symlink() or getattr(os.path, "isjunction", os.path.islink)(path)
    if is_link or (path.exists() and not path.is_dir()):
        raise OSError(errno.ENOTDIR, f"{name} is a link or a file; expected a folder", str(path))
    return path


NUMBERED = {
    IMAGES: r"[0-9]{3,}\.png", MOMENTS: r"[0-9]{6,}\.npz",
    TENSORBOARD: r"events\.out\.tfevents\.[0-9]+\..+",
}  # fmt: skip
"""Folders of a run whose files are named by a number, and how these are called."""


def numbered(folder: Path, name: str) -> list[Path]:
    """The pictures, the moments or the curves of a run, which are named by a number.

    Parameters
    ----------
    folder, name
        As for `subfolder`.

    Returns
    -------
    list of Path
        In no order.
    """
    pattern = NUMBERED[name]
    return [p for p in subfolder(folder, name).glob("*") if re.fullmatch(pattern, p.name)]


def moment_path(folder: Path, epoch: int) -> Path:
    """The file of a run's `folder` that keeps the weights of the end of an `epoch`."""
    return subfolder(folder, MOMENTS) / f"{epoch:06d}.npz"


def _own(folder):
    """The files of the run in a folder."""
    files = [path for path in (folder / name for name in FILES) if path.exists()]
    return [*files, *(path for name in NUMBERED for path in numbered(folder, name))]


def require_free(folder: Path, overwrite: bool = False) -> None:
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
    names = ", ".join(name for name in FILES if (folder / name).is_dir())
    if names:
        raise OSError(errno.EISDIR, f"{names} is a folder there; expected a file")
    is_run = any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))
    with contextlib.suppress(OSError, ValueError):
        is_run = is_run or bool(read_config(folder))
    if is_run and not overwrite:
        go_on = "use --overwrite to replace it, or --resume to go on with it"
        raise ValueError(f"holds a run already; {go_on}")
    others = {path.name for path in folder.iterdir()} - {LOCK, *NUMBERED}
    if not is_run and (_own(folder) or any(not name.startswith(".") for name in others)):
        raise ValueError("holds other files; expected a new folder, or that of a run")


def clear(folder: Path) -> None:
    """Remove the files of a run, and nothing else, from its `folder`."""
    for path in _own(folder):
        path.unlink()
