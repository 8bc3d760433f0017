"""Compiling with Numba, once: a cache on disk that is either right or not used.

Numba keeps compiled code beside the source, or in the user's cache folder, and believes
what it finds there. A seal in the same folder holds a checksum of every file; files that
it does not vouch for are removed before Numba reads them, and the kernel is compiled
again. Each kernel has one signature, so processes that fill the cache at the same time
write the same code.
"""

import atexit
import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from minidqn import storage

SEAL = "minidqn.sha256"
"""Name of the file with the checksums."""

_KERNELS: list[Any] = []


def compiled(function: Callable, cache: bool = True) -> Callable:
    """Compile a function at its first call, for numbers and arrays of one kind.

    Parameters
    ----------
    function : callable
        Plain Python over arrays and numbers.
    cache : bool
        Whether the compiled code is kept on disk, where a folder can be written to.

    Returns
    -------
    callable
        The compiled function; `function` itself under ``NUMBA_DISABLE_JIT=1``.

    References
    ----------
    https://numba.readthedocs.io/en/stable/developer/caching.html
    """
    options = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}
    options["fastmath"] = {"contract"}  # a * b + c may be rounded once
    if cache and not numba.config.DISABLE_JIT:
        # There may be no folder for a cache, or a file in it that cannot be removed.
        with contextlib.suppress(RuntimeError, OSError):
            kernel = numba.njit(cache=True, **options)(function)
            sums = _checksums(Path(kernel.stats.cache_path) / SEAL)
            for file in _files(kernel):
                if sums.get(file.name) != _checksum(file):
                    file.unlink(missing_ok=True)
            _KERNELS.append(kernel)
            return kernel
    return numba.njit(**options)(function)


def seal() -> None:
    """Vouch for the files of all kernels that this process has compiled."""
    for kernel in _KERNELS[:]:
        if any(kernel.stats.cache_misses.values()):
            with contextlib.suppress(ValueError):  # another thread seals it
                _KERNELS.remove(kernel)  # what becomes of its files later is not vouched for
            path = Path(kernel.stats.cache_path) / SEAL
            with contextlib.suppress(OSError):  # then the next process compiles again
                sums = _checksums(path) | {file.name: _checksum(file) for file in _files(kernel)}
                sums = {name: sums[name] for name in sums if (path.parent / name).exists()}
                with storage.atomic_write(path) as file:
                    file.write(json.dumps(sums).encode())


atexit.register(seal)


def _files(kernel):
    """Files of the cache in which a kernel's code is, or was."""
    code = kernel.py_func.__code__
    pattern = f"{Path(code.co_filename).stem}.{kernel.py_func.__qualname__}-*.nb[ic]"
    return list(Path(kernel.stats.cache_path).glob(pattern))


def _checksum(path):
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _checksums(path):
    """Checksums by the names of files; none if the seal is not there or damaged."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        sums = json.loads(path.read_bytes())
        return sums if isinstance(sums, dict) else {}
    return {}
