"""Checkpoints: the whole state of a training run, so that it continues as if it had never ended.

A checkpoint is an .npz file: the weights, the optimizer's arrays, the replay
memory's experiences and the records of all epochs, as arrays; the settings, the
counters and the state of every generator, as JSON in one more array; and a
checksum of it all. The one before is kept beside it. Nothing in such a file is
trusted: no number of it decides how much is allocated before the file has been
found large enough to hold that much.
"""

import hashlib
import json
import os
from typing import NamedTuple

import numpy as np

from minidqn import storage
from minidqn.checks import finite, whole
from minidqn.replay import Memory
from minidqn.runs import (
    CHECKPOINT,
    PREVIOUS,
    Record,
    Settings,
    Streams,
    records_from,
    settings_from,
)

__all__ = ["State", "discard_newest", "load", "load_latest", "save"]

FORMAT = 2
"""Version of the format; a file of another is refused."""

MOST_JSON = 100_000
"""Bytes of JSON in a checkpoint, at most."""


class State(NamedTuple):
    """What a training run is made of at the end of an epoch.

    Attributes
    ----------
    settings : Settings
        What it was started with.
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
    model: object
    streams: Streams
    memory: Memory
    records: list


def _named(model):
    """The arrays of a network and its optimizer, under the names that they have in a file."""
    arrays = {f"weights/{name}": array for name, array in model.named_weights().items()}
    return arrays | {f"optimizer/{name}": array for name, array in model.named_state().items()}


def _arrays(state):
    """The arrays of a checkpoint by name, but for the JSON and the checksum."""
    arrays = _named(state.model)
    for name, array in state.memory.experiences().items():
        arrays[f"memory/{name}"] = array
    return arrays | {"records": _table(state.records)}


def _table(records):
    """Records as a float64 array [shape=(E, 8)], NaN for what was not measured."""
    rows = [[np.nan if value is None else value for value in record] for record in records]
    return np.array(rows, np.float64).reshape(len(rows), len(Record._fields))


def _checksum(text, arrays):
    """SHA-256 of names, shapes, dtypes and numbers, as 32 bytes."""
    digest = hashlib.sha256(text)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)


def save(folder, state):
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
        "generators": {
            name: getattr(state.streams, name).bit_generator.state for name in Streams._fields
        },
        "memory": {
            "count": state.memory.count,
            "oldest": state.memory.oldest,
            "pixels": len(arrays["memory/positions"]),
        },
        "epochs": len(state.records),
    }
    text = json.dumps(header).encode()
    parts = {"json": np.frombuffer(text, np.uint8), "checksum": _checksum(text, arrays)}
    path = folder / CHECKPOINT
    storage.write_arrays(path, parts | arrays, previous=folder / PREVIOUS)


def load(path, weights_of, build):
    """The state that a checkpoint holds.

    Parameters
    ----------
    path : Path
        The file; nothing in it is trusted.
    weights_of : callable
        From settings to how many weights their network has, without making it.
    build : callable
        From settings to their network, compiled.

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
        header = _header(text)
        settings = header["settings"]
        # The weights and the optimizer's array of the same length, at least.
        storage.require_room(path, 8 * weights_of(settings))
        model = build(settings)
        arrays = storage.read_arrays(path, _expected(header, len(text), model))
        del arrays["json"]
        if not np.array_equal(arrays.pop("checksum"), _checksum(text, arrays)):
            raise ValueError("its checksum is not that of its contents")
        model.set_weights([arrays[f"weights/{name}"] for name in model.named_weights()])
        for name, array in model.named_state().items():
            finite(f"optimizer/{name}", arrays[f"optimizer/{name}"])
            array[...] = arrays[f"optimizer/{name}"]
        memory = Memory.of(
            {name.partition("/")[2]: a for name, a in arrays.items() if name.startswith("memory/")},
            settings.capacity,
            header["memory"]["oldest"],
            (1, settings.grid_size, settings.grid_size),
        )
        streams = settings.streams()
        for name in Streams._fields:
            getattr(streams, name).bit_generator.state = header["generators"][name]
        return State(settings, model, streams, memory, records_from(arrays["records"].tolist()))
    except (TypeError, ValueError, OverflowError) as error:
        raise storage.damaged(path, error) from error


def _expected(header, length, model):
    """Arrays of the shapes and dtypes that the file must hold, which take no memory."""
    stored, pixels = header["memory"]["count"], header["memory"]["pixels"]
    shapes = {
        "json": (np.uint8, (length,)),
        "checksum": (np.uint8, (32,)),
        "memory/actions": (np.int32, (stored,)),
        "memory/rewards": (np.float32, (stored,)),
        "memory/rows": (np.int32, (stored, 4)),
        "memory/positions": (np.int32, (pixels,)),
        "memory/values": (np.float32, (pixels, 1)),
        "records": (np.float64, (header["epochs"], len(Record._fields))),
    }
    expected = {
        name: np.broadcast_to(np.zeros((), dtype), shape) for name, (dtype, shape) in shapes.items()
    }
    return expected | _named(model)


def _header(text):
    """The JSON of a checkpoint, if it is one."""
    try:
        header = json.loads(text)
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}; expected {FORMAT}")
        settings = settings_from(header["settings"])
        memory, epochs = header["memory"], whole("epochs", header["epochs"], 0)
        count = whole("count", memory["count"], 0)
        oldest = whole("oldest", memory["oldest"], 0)
        pixels = whole("pixels", memory["pixels"], 0)
        if (
            count > settings.capacity
            or oldest >= max(count, 1)
            or (oldest and count < settings.capacity)
        ):
            raise ValueError("its memory is not one of so many experiences")
        generators = {
            name: _generator_state(header["generators"][name]) for name in Streams._fields
        }
    except (KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"its JSON is not a checkpoint's: {error!r}") from error
    return {
        "settings": settings,
        "epochs": epochs,
        "memory": {"count": count, "oldest": oldest, "pixels": pixels},
        "generators": generators,
    }


def _generator_state(state):
    """The state of a PCG64, if it is one."""
    numbers = {
        "state": (state["state"]["state"], 2**128),
        "inc": (state["state"]["inc"], 2**128),
        "has_uint32": (state["has_uint32"], 2),
        "uinteger": (state["uinteger"], 2**32),
    }
    for name, (value, end) in numbers.items():
        if type(value) is not int or not 0 <= value < end:
            raise ValueError(f"a generator's {name} is not a whole number below {end}")
    if state["bit_generator"] != "PCG64":
        raise ValueError("a generator is not a PCG64")
    state, inc, has_uint32, uinteger = (value for value, _ in numbers.values())
    return {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": inc},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }


def load_latest(folder, weights_of, build):
    """The state of a run's newest checkpoint that is whole.

    Parameters
    ----------
    folder : Path
        The run's folder.
    weights_of, build : callable
        As for ``load``.

    Returns
    -------
    state : State
        As it was saved.
    failures : list of str
        What is wrong with the newer one, if this is the older.

    Raises
    ------
    ValueError
        If neither is whole, with what is wrong with both.
    """
    failures = []
    for name in (CHECKPOINT, PREVIOUS):
        try:
            return load(folder / name, weights_of, build), failures
        except OSError as error:
            failures.append(f"{folder / name}: {error.strerror}")
        except MemoryError:
            failures.append(f"{folder / name}: what it holds does not fit into memory")
        except ValueError as error:
            failures.append(str(error))
    raise ValueError("; ".join(failures))


def discard_newest(folder):
    """Let the previous checkpoint take the place of one that cannot be read.

    Without this the next ``save`` would keep the damaged one instead of the other.

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
