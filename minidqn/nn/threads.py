"""Threads: our own, which share a batch, and those of BLAS, which must stay out of the way."""

import contextlib
import ctypes
import functools
import os
import queue
import threading

__all__ = ["Crew", "available_cores", "single_threaded_blas"]


def available_cores():
    """How many cores this process may use, as an int.

    References
    ----------
    https://docs.python.org/3/library/os.html#os.sched_getaffinity
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Crew:
    """A few threads that do the pieces of one job after another.

    The thread that calls ``run`` is one of them; the others start with the first
    job that needs them, and end with ``close``.

    Parameters
    ----------
    size : int
        How many threads, the calling one included.
    """

    def __init__(self, size):
        self.size = size
        self._orders = []  # one queue for each thread but the first
        self._threads = []
        self._answers = queue.SimpleQueue()

    def run(self, task, pieces):
        """Call ``task(piece)`` for every piece in range(pieces), and wait for all.

        Thread t does the pieces t, t + size, t + 2*size, ... in this order.

        Parameters
        ----------
        task : callable
            Takes the number of a piece.
        pieces : int
            How many there are.

        Raises
        ------
        BaseException
            The first that a piece raised, with its own traceback, once all
            threads have stopped.
        """
        helpers = min(self.size, pieces) - 1
        while len(self._threads) < helpers:
            self._hire()
        for t in range(helpers):
            self._orders[t].put((task, range(t + 1, pieces, self.size)))
        failure = None
        try:
            for piece in range(0, pieces, self.size):
                task(piece)
        except BaseException as error:
            failure = error
        for _ in range(helpers):
            failure = self._answers.get() or failure
        if failure is not None:
            raise failure

    def _hire(self):
        orders = queue.SimpleQueue()
        thread = threading.Thread(
            target=_work, args=(orders, self._answers), name="minidqn", daemon=True
        )
        thread.start()
        self._orders.append(orders)
        self._threads.append(thread)

    def close(self):
        """End all threads, and wait until they have."""
        for orders in self._orders:
            orders.put(None)
        for thread in self._threads:
            thread.join()
        self._orders, self._threads = [], []


def _work(orders, answers):
    """What a thread of a crew does: orders as they come, until one is None."""
    while (order := orders.get()) is not None:
        task, pieces = order
        failure = None
        try:
            for piece in pieces:
                task(piece)
        except BaseException as error:
            failure = error
        # Nothing of the job may stay behind: it would keep the network alive.
        order = task = None
        answers.put(failure)
        failure = None


@functools.cache
def _openblas():
    """Functions that get and set how many threads NumPy's OpenBLAS uses, or None.

    NumPy built with another BLAS (Accelerate, MKL) has none; its own environment
    variable must be set then, such as ``MKL_NUM_THREADS=1``.
    """
    try:
        from numpy._core import _multiarray_umath
    except ImportError:  # NumPy 1
        from numpy.core import _multiarray_umath
    try:
        # On Linux and macOS a lookup goes on to the libraries that this one needs.
        library = ctypes.CDLL(_multiarray_umath.__file__)
    except OSError:
        return None
    for prefix, suffix in (("scipy_", "64_"), ("", "64_"), ("", "")):
        with contextlib.suppress(AttributeError):
            get = getattr(library, f"{prefix}openblas_get_num_threads{suffix}")
            return get, getattr(library, f"{prefix}openblas_set_num_threads{suffix}")
    return None


class single_threaded_blas(contextlib.ContextDecorator):  # noqa: N801, a context in its use
    """Keep BLAS to one thread in the body, and let it have its threads back after.

    Two of its threads under each of ours would fight for the same cores; and the
    bits of a product may depend on how many threads made it.
    """

    def __enter__(self):
        self.before = 1
        functions = _openblas()
        if functions is not None:
            get, put = functions
            self.before = get()
            if self.before != 1:
                put(1)
        return self

    def __exit__(self, *exception):
        if self.before != 1:
            _openblas()[1](self.before)
