"""Threads: our own, which share a batch, and those of BLAS, which must stay out of the way."""

import contextlib
import ctypes
import functools
import os
import queue
import threading

import numpy as np
from numba import types
from numba.core import config
from numba.extending import intrinsic

from minidqn.nn.kernels import compiled

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


SPINS = 400_000
"""Looks that a thread takes at a counter before it goes to sleep: about a tenth of a
millisecond. To wake a sleeping thread takes a good part of a learning step's time."""


@intrinsic
def _now(context, counter):
    """The first number of an int64 array as another thread left it: ``mov`` (``ldar``)."""

    def generate(context, builder, signature, values):
        struct = context.make_array(signature.args[0])(context, builder, values[0])
        return builder.load_atomic(struct.data, "acquire", 8)

    return types.int64(counter), generate


@compiled
def _spin(counter, seen):
    for _ in range(SPINS):
        if _now(counter) != seen:
            return


class _Mailbox:
    """A queue whose reader looks out for a while before it sleeps."""

    def __init__(self):
        self._queue = queue.SimpleQueue()
        self._sent = np.zeros(1, np.int64)
        self._read = 0

    def put(self, letter):
        self._queue.put(letter)
        self._sent[0] += 1

    def get(self):
        if not config.DISABLE_JIT:
            _spin(self._sent, self._read)
        self._read += 1
        return self._queue.get()


class Crew:
    """A few threads that do the pieces of one job after another.

    The thread that calls ``run`` is one of them; the others start with the first
    job that needs them, and end with ``close``. One thread at a time may call.

    Parameters
    ----------
    size : int
        How many threads, the calling one included.
    """

    def __init__(self, size):
        self.size = size
        self._orders, self._answers = [], []  # a mailbox each for every thread but the first
        self._threads = []
        self._process = os.getpid()

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
            What a piece raised, with its own traceback, once all threads have
            stopped; that of the first thread, if several did.
        """
        helpers = min(self.size, pieces) - 1
        if self._process != os.getpid():  # a fork takes only the thread along that called it
            self._forget()
        while len(self._threads) < helpers:
            self._hire()
        for t in range(helpers):
            self._orders[t].put((task, range(t + 1, pieces, self.size)))
        failure = _do(task, range(0, pieces, self.size))
        try:
            for t in range(helpers):
                answer = self._answers[t].get()
                failure = failure or answer
        except BaseException:  # Ctrl-C: whoever answers late must not answer the next job
            self.close()
            raise
        if failure is not None:
            raise failure

    def _hire(self):
        orders, answers = _Mailbox(), _Mailbox()
        thread = threading.Thread(target=_work, args=(orders, answers), name="minidqn", daemon=True)
        thread.start()
        self._orders.append(orders)
        self._answers.append(answers)
        self._threads.append(thread)

    def close(self):
        """End all threads, and wait until they have."""
        if self._process != os.getpid():
            self._forget()
        for orders in self._orders:
            orders.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # the last reference may go anywhere
                thread.join()
        self._forget()

    def _forget(self):
        self._orders, self._answers, self._threads = [], [], []
        self._process = os.getpid()


def _do(task, pieces):
    """Do some pieces; what one raised, or None."""
    try:
        for piece in pieces:
            task(piece)
    except BaseException as error:
        return error
    return None


def _work(orders, answers):
    """What a thread of a crew does: orders as they come, until one is None."""
    while (order := orders.get()) is not None:
        failure = _do(*order)
        # Nothing of the job may stay behind: it would keep the network alive.
        order = None
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
