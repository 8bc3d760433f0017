"""Files that are whole or not there, and arrays from files that nobody vouches for."""

import contextlib
import os
import re
import stat
import zipfile
from pathlib import Path

import numpy as np

from minidqn.checks import one_line

__all__ = [
    "atomic_write",
    "damaged",
    "open_regular",
    "read_arrays",
    "read_bytes",
    "remove_leftovers",
    "require_room",
    "write_arrays",
]


@contextlib.contextmanager
def atomic_write(path, previous=None):
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # a process of this number was killed, long ago
    try:
        with open(temporary, "xb") as file:  # never through a link that somebody put there
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the folder may be gone
            temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def remove_leftovers(folder):
    """Remove what killed processes have begun to write to a folder with ``atomic_write``.

    Parameters
    ----------
    folder : Path
        In which no other process writes now.
    """
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+\.tmp", path.name):
            path.unlink()


def _flush_folder(folder):
    """See to it that a new name in a folder survives a loss of power, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no such thing
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_arrays(path, arrays, previous=None):
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

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with atomic_write(path, previous) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980-01-01 unless told otherwise
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


def read_arrays(path, expected):
    """Read named arrays from an .npz file, trusting nothing that it says.

    Names, shapes and dtypes are compared with what is expected before an array
    is allocated, so neither pickled objects nor forged sizes do harm.

    Parameters
    ----------
    path : path-like
        The file.
    expected : dict of str to ndarray
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
    ValueError
        If it is no such archive, is damaged, or holds anything unexpected.
    """
    with _opened(path) as archive:
        found = sorted(archive.namelist())
        wanted = sorted(f"{name}.npy" for name in expected)
        if found != wanted:
            raise ValueError(f"holds {_some(found)}; expected {_some(wanted)}")
        require_room(path, sum(like.nbytes for like in expected.values()))
        return {name: _read_array(archive, name, like) for name, like in expected.items()}


def read_bytes(path, name, most):
    """Read one array of bytes from an .npz file, whatever else it holds.

    Parameters
    ----------
    path : path-like
        The file.
    name : str
        Of the array.
    most : int
        How many bytes it may have.

    Returns
    -------
    bytes
        The array's.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such archive, is damaged, or the array is of another kind.
    """
    with _opened(path) as archive:
        length = archive.getinfo(f"{name}.npy").file_size - 128  # a short header has 128 bytes
        if not 0 <= length <= most:
            raise ValueError(f"{name} has {length} bytes; expected at most {most}")
        like = np.broadcast_to(np.uint8(0), (length,))
        return _read_array(archive, name, like).tobytes()


def open_regular(path):
    """Open a file for reading bytes, but no pipe or device, which may never end.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    file object
        Open for reading in binary mode.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If it is something else than a file.
    """
    no_waiting = getattr(os, "O_NONBLOCK", 0)  # for a writer at the other end of a pipe
    file = open(  # noqa: SIM115, the caller closes it
        path, "rb", opener=lambda path, flags: os.open(path, flags | no_waiting)
    )
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(f"{path}: is no regular file")
    return file


def require_room(path, size):
    """Refuse a file that is too small to hold what it says, before room is made for it.

    Parameters
    ----------
    path : path-like
        The file.
    size : int
        Bytes that will be read from it, none of them compressed.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it has fewer bytes.
    """
    have = os.path.getsize(path)
    if have < size:
        raise ValueError(f"{path}: has {have:,} bytes; expected more than {size:,}")


def damaged(path, error):
    """What is wrong with a file's contents, as one line that names the file.

    Parameters
    ----------
    path : path-like
        The file.
    error : Exception
        What reading it raised.

    Returns
    -------
    ValueError
        To be raised.
    """
    words = str(error).removeprefix(f"{path}: ")
    return ValueError(f"{path}: {one_line(words, 500)}")  # zipfile quotes at any length


@contextlib.contextmanager
def _opened(path):
    """An .npz file, whatever is wrong with it told as one line of a ValueError."""
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    if member.compress_type != zipfile.ZIP_STORED:
                        raise ValueError("is compressed; expected arrays as they are")
                yield archive
        # On damaged bytes zipfile and ast raise what they please (OSError from a seek
        # to nowhere, struct.error, tokenize.TokenError, ...); it all means one thing.
        except MemoryError:
            raise
        except Exception as error:
            raise damaged(path, error) from error


def _some(names):
    """Up to eight `names`, for an error message that must stay a line."""
    shown = ", ".join(names[:8]) or "no arrays"
    return shown if len(names) <= 8 else f"{shown}, ... ({len(names)} in all)"


def _read_array(archive, name, like):
    """The array `name` of an open zip file, if it is of `like`'s shape and dtype."""
    with archive.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"{name} is in .npy format {version}; expected (1, 0)")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
        if shape != like.shape or dtype != like.dtype:
            raise ValueError(
                f"{name} is {dtype} of shape {shape}; expected {like.dtype} of shape {like.shape}"
            )
        if fortran_order and len(shape) > 1:
            raise ValueError(f"{name} is in Fortran order; expected C order")
        data = stream.read(like.nbytes + 1)
        if len(data) != like.nbytes:
            raise ValueError(f"{name} has the wrong length; expected {like.nbytes} bytes")
    return np.frombuffer(data, dtype).reshape(shape).copy()
