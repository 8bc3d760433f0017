"""Files that are whole or not there, and arrays from files that nobody vouches for."""

import contextlib
import csv
import errno
import io
import json
import math
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from minidqn.checks import one_line

MOST_JSON = 1_000_000
"""Bytes of a JSON file, at most."""


class FileError(ValueError):
    """A file holds what it should not; the message is one line that names the file."""


@contextlib.contextmanager
def untrusted(path: str | Path) -> Iterator[None]:
    """Whatever goes wrong with what a file holds, told as one line that names the file.

    Parameters
    ----------
    path : path-like
        The file.

    Raises
    ------
    FileError
        Instead of any error of the body but MemoryError and those that name a file already.
    """
    # On damaged bytes zipfile, ast and json raise what they please (OSError from a seek
    # to nowhere, struct.error, RecursionError, ...); it all means one thing.
    try:
        yield
    except (FileError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            raise
        raise FileError(f"{path}: {one_line(error, 500)}") from error  # zipfile quotes at length


@contextlib.contextmanager
def atomic_write(path: str | Path, previous: str | Path | None = None) -> Iterator[BinaryIO]:
    """Open a file for writing bytes that takes its name only once it is complete.

    The bytes go to a temporary file in the same folder, which is flushed to the
    disk and then renamed over `path`; at last the folder is flushed too. If the
    body raises, `path` is as it was and the temporary file is gone.

    Parameters
    ----------
    path : path-like
        The file to make or to replace.
    previous : path-like, optional
        What becomes of the file that was there: this name in the same folder. At
        any moment one of the two is whole.

    Yields
    ------
    file object
        Open for writing in binary mode.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".minidqn.{os.getpid()}.{path.name}")
    temporary.unlink(missing_ok=True)  # a process of this number was killed, long ago
    try:
        with open(temporary, "xb") as file:  # never through a link that somebody put there
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # the folder may be gone
            temporary.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # else the system, such as Windows, cannot flush a folder
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have begun to write to a folder with ``atomic_write``.

    Parameters
    ----------
    folder : Path
        In which no other process writes now.
    """
    for path in folder.glob(".minidqn.[0-9]*.*"):
        path.unlink()


def write_arrays(
    path: str | Path, arrays: dict[str, np.ndarray], previous: str | Path | None = None
) -> None:
    """Write named arrays as an .npz file that ``numpy.load`` reads.

    The same arrays give the same bytes: the archive carries no time of day.

    Parameters
    ----------
    path : path-like
        The file to make or to replace, atomically.
    arrays : dict of str to ndarray
        What to store under which name.
    previous : path-like, optional
        As for ``atomic_write``.
    """
    with atomic_write(path, previous) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980-01-01 unless told otherwise
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


def read_arrays(
    path: str | Path, expected: dict[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Read named arrays from an .npz file, trusting nothing that it says.

    No array is made before the file has been found large enough to hold it, and no object
    is unpickled.

    Parameters
    ----------
    path : path-like
        The file.
    expected : dict of str to ndarray, optional
        For every name that must be there, and no others may be, an array of the
        shape and dtype that it must have; ``np.broadcast_to`` makes one that takes
        no memory.

    Returns
    -------
    dict of str to ndarray
        New arrays, in the order of `expected`.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileError
        If it is no such archive, is damaged, or holds anything unexpected.
    """
    with open_regular(path) as file, untrusted(path), zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("is compressed; expected arrays as they are")
        require_room(path, sum(member.file_size for member in members))
        arrays = {m.filename.removesuffix(".npy"): _array(archive.read(m)) for m in members}
        return arrays if expected is None else require_like(arrays, expected)


def _array(data):
    """The array in the bytes of an .npy file."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array is in .npy format {version}; expected (1, 0)")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    data = memoryview(data)[stream.tell() :]
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array has {len(data)} bytes; expected {dtype} of shape {shape}")
    array = np.frombuffer(data, dtype, math.prod(shape))
    return array.reshape(shape, order="F" if fortran_order else "C").copy()


def require_like(
    arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Refuse arrays of other names, shapes or dtypes.

    Parameters
    ----------
    arrays, expected : dict of str to ndarray
        As for `read_arrays`.

    Returns
    -------
    dict of str to ndarray
        `arrays`, in the order of `expected`.
    """
    if arrays.keys() != expected.keys():
        found, wanted = (", ".join(sorted(a)[:8]) or "no arrays" for a in (arrays, expected))
        raise ValueError(f"holds {found}; expected {wanted}")
    for name, like in expected.items():
        found, wanted = (f"{a.dtype} of shape {a.shape}" for a in (arrays[name], like))
        if found != wanted:
            raise ValueError(f"{name} is {found}; expected {wanted}")
    return {name: arrays[name] for name in expected}


def write_csv(path: str | Path, rows: list[dict]) -> None:
    """Write a CSV file.

    Parameters
    ----------
    path : path-like
        The file to make or to replace, atomically.
    rows : list of dict
        Its lines; what one of them lacks stays empty.
    """
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def read_json(path: str | Path) -> dict:
    """Read what a JSON file says, as far as JSON itself goes.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    dict
        What it holds.

    Raises
    ------
    OSError
        If it cannot be read.
    FileError
        If it is too long, or no object of JSON.
    """
    with open_regular(path) as file:
        text = file.read(MOST_JSON + 1)
    with untrusted(path):
        if len(text) > MOST_JSON:
            raise ValueError(f"longer than {MOST_JSON:,} bytes")
        if not isinstance(found := json.loads(text), dict):
            raise ValueError(f"holds {type(found).__name__}; expected an object")
        return found


def open_regular(path: str | Path, mode: str = "rb", flags: int = 0) -> IO[bytes]:
    """Open a file, but no pipe or device, which may never end.

    Parameters
    ----------
    path : path-like
        The file.
    mode : str
        As for ``open``; a binary one.
    flags : int
        More of what ``os.open`` takes.

    Returns
    -------
    file object
        Open in binary mode.

    Raises
    ------
    OSError
        If it cannot be opened, or is something else than a file.
    """
    flags |= getattr(os, "O_NONBLOCK", 0)  # else it waits for the other end of a pipe

    def opener(path, how):
        descriptor = os.open(path, how | flags, 0o666)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return descriptor

    return open(path, mode, opener=opener)


def require_room(path: str | Path, size: int) -> None:
    """Refuse a file that is too small to hold what it says, before room is made for it.

    Parameters
    ----------
    path : path-like
        The file.
    size : int
        Bytes that will be read from it, none of them compressed.
    """
    have = os.path.getsize(path)
    with untrusted(path):
        if have < size:
            raise ValueError(f"has {have:,} bytes; expected more than {size:,}")
