"""Files that are whole or not there, and arrays from files that nobody vouches for."""

import contextlib
import os
import zipfile
from pathlib import Path

import numpy as np

__all__ = ["atomic_write", "read_arrays", "write_arrays"]


@contextlib.contextmanager
def atomic_write(path):
    """Open a file for writing bytes that takes its name only once it is complete.

    The bytes go to a temporary file in the same folder, which is flushed to the
    disk and then renamed over `path`. If the body raises, `path` is as it was
    and the temporary file is gone.

    Parameters
    ----------
    path : path-like
        The file to make or to replace.

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
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_arrays(path, arrays):
    """Write named arrays as an .npz file that ``numpy.load`` reads.

    The same arrays give the same bytes: the archive carries no time of day.

    Parameters
    ----------
    path : path-like
        The file to make or to replace, atomically.
    arrays : dict of str to ndarray
        What to store under which name.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
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
        shape and dtype that it must have.

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
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                found = sorted(archive.namelist())
                wanted = sorted(f"{name}.npy" for name in expected)
                if found != wanted:
                    raise ValueError(f"holds {_some(found)}; expected {_some(wanted)}")
                return {name: _read_array(archive, name, like) for name, like in expected.items()}
        # On damaged bytes zipfile and ast raise what they please (OSError from a seek
        # to nowhere, struct.error, tokenize.TokenError, ...); it all means one thing.
        except Exception as error:
            raise ValueError(f"{path}: {' '.join(str(error).split())}") from error


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
