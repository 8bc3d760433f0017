"""Threads that share the work of a network's programs."""

import os
import threading

import numpy as np
from numba.core import config

from minidqn.nn.kernels import aligned
from minidqn.nn.programs import (
    LEFT,
    LOOKS,
    WORDS,
    check,
    compiled,
    give_way,
    look,
    parts_left,
    put,
    take_parts,
    work,
)

__all__ = ["Crew", "available_cores"]

MOST_THREADS = 256
"""Threads of a crew, at most: to start some thousands takes minutes."""


def available_cores():
    """How many cores this process may use, as an int.

    References
    ----------
    https://docs.python.org/3/library/os.html#os.sched_getaffinity
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


FEW = 8
"""Samples that are done by one thread: fewer are not worth it."""

PATIENCE = 20_000
"""Times that a thread gives way and looks again before it goes to sleep: some
milliseconds, which is longer than there is between two programs of a learning step. To
wake a sleeping thread takes long, and it may wake on the core of the one who calls it."""

ENDED, ASLEEP = WORDS, WORDS
"""Places on a crew's board, beside those of ``programs``: whether there will be no more
programs, and from the same place on, in a line of the cache for each helper, counted
from 1, whether it sleeps."""

LINE = 8
"""Words in a line of the cache."""


@compiled
def _help(board, worker):
    """Do parts of one program after another.

    Returns whether there may be more: True as soon as none has come for a while.
    """
    looks = 0
    put(board, ASLEEP + LINE * worker, 0)
    while look(board, ENDED) == 0:
        if parts_left(look(board, LEFT)) > 0:
            take_parts(board, worker)
            looks = 0
        looks += 1
        if looks % LOOKS == 0:
            give_way()
        if looks == LOOKS * PATIENCE:
            put(board, ASLEEP + LINE * worker, 1)
            # Nobody calls for what began before this could be seen.
            if parts_left(look(board, LEFT)) == 0 and look(board, ENDED) == 0:
                return True
            put(board, ASLEEP + LINE * worker, 0)
            looks = 0
    return False


class Crew:
    """A few threads that run one program after another together.

    The thread that calls ``run`` is one of them; the others, its helpers, start
    with the first program that is worth it, and end with ``close``. Helpers run
    compiled code, without the interpreter lock, and look out for the next program
    for a while before they sleep. One thread at a time may call.

    Parameters
    ----------
    size : int
        How many threads, the calling one included.
    """

    def __init__(self, size):
        self.size = size
        self._board_of_one = np.zeros(WORDS, np.int64)
        self._forget()

    def run(self, program, samples):
        """Run a program.

        Parameters
        ----------
        program : Program
            What to do.
        samples : int
            How many samples to run it for.

        Raises
        ------
        RuntimeError
            If the system does not let a thread start, or a kernel failed, which none
            of ours can.
        BaseException
            What ended a helper, with its own traceback.
        """
        if config.DISABLE_JIT:
            program.run_plainly(samples)
            return
        shared = self.size > 1 and samples >= FEW
        board = self._called() if shared else self._board_of_one
        work(program.address, samples, board)
        check(board)
        if self._failures:
            failure = self._failures[0]
            self._dismiss()
            raise failure

    def _called(self):
        """The board that all threads look at, after those that sleep have been woken."""
        if self._process != os.getpid():  # a fork takes only the thread along that called it
            self._forget()
        if not self._threads:
            self._hire()
        for worker, alarm in enumerate(self._alarms, start=1):
            if self._board[ASLEEP + LINE * worker]:
                alarm.release()
        return self._board

    def _hire(self):
        """Start the helpers; all of them, or none."""
        alarms = [threading.Semaphore(0) for _ in range(1, self.size)]
        threads = []
        for worker, alarm in enumerate(alarms, start=1):
            arguments = self._board, alarm, worker, self._failures
            threads.append(
                threading.Thread(target=_serve, args=arguments, name="minidqn", daemon=True)
            )
        self._alarms = alarms
        try:
            for thread in threads:
                thread.start()
                self._threads.append(thread)
        except RuntimeError:
            self._dismiss()
            raise

    def close(self):
        """End all helpers, and wait until they have; from now on the caller works alone."""
        self._dismiss()
        self.size = 1

    def _dismiss(self):
        """End all helpers, and wait until they have."""
        if self._process == os.getpid() and self._threads:
            self._board[ENDED] = 1
            for alarm in self._alarms:
                alarm.release()
            for thread in self._threads:
                if thread is not threading.current_thread():  # the last reference may go anywhere
                    thread.join()
        self._forget()

    def _forget(self):
        self._board = aligned(ASLEEP + LINE * (self.size + 1), np.int64)
        self._threads, self._alarms, self._failures = [], [], []
        self._process = os.getpid()


def _serve(board, alarm, worker, failures):
    """What a helper does; nobody waits for one that fails, but its failure is raised."""
    try:
        while _help(board, worker):
            alarm.acquire()
    except BaseException as failure:
        failures.append(failure)
