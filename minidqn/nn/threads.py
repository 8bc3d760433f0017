"""Threads that share the work of a network's programs."""

import os
import threading

import numpy as np
from numba.core import config

from minidqn.nn.programs import (
    ARRIVED,
    BASE,
    LOOKS,
    WORDS,
    check,
    compiled,
    give_way,
    look,
    put,
    work,
)

__all__ = ["Crew", "available_cores"]


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

TICKET, PROGRAM, SAMPLES, ASLEEP = WORDS, WORDS + 1, WORDS + 2, WORDS + 8
"""Places on a crew's board, beside those of ``programs``: how many programs there have
been, the address of the last, its samples, and from the last place on, in a line of the
cache each, whether a thread sleeps."""

LINE = 8
"""Words in a line of the cache."""


@compiled(nogil=False)
def _announce(board, address, samples):
    """Put up a program for the helpers, who begin at once if they are awake."""
    board[PROGRAM], board[SAMPLES] = address, samples
    board[BASE] = look(board, ARRIVED)
    put(board, TICKET, board[TICKET] + 1)


@compiled
def _help(board, seen, worker, workers):
    """Do a helper's share of one program after another.

    Returns the last ticket, as soon as no new one has come for a while; the negative
    of it if there will be none.
    """
    looks = 0
    put(board, ASLEEP + LINE * worker, 0)
    while True:
        if look(board, TICKET) != seen:
            seen += 1
            if board[PROGRAM] == 0:
                return -seen
            work(board[PROGRAM], board[SAMPLES], worker, workers, board)
            looks = 0
        looks += 1
        if looks % LOOKS == 0:
            give_way()
        if looks == LOOKS * PATIENCE:
            put(board, ASLEEP + LINE * worker, 1)
            # What was announced before this could be seen will not be called out.
            if look(board, TICKET) == seen:
                return seen
            put(board, ASLEEP + LINE * worker, 0)


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
        """
        if config.DISABLE_JIT:
            program.run_plainly(samples)
            return
        workers = self.size if samples >= FEW else 1
        if workers > 1:
            if self._process != os.getpid():  # a fork takes only the thread along that called it
                self._forget()
            if not self._threads:
                self._hire()
            self._call(program.address, samples)
        work(program.address, samples, 0, workers, self._board)
        check(self._board)

    def _call(self, address, samples):
        """Announce a program, and wake those who sleep."""
        _announce(self._board, address, samples)
        for worker, alarm in enumerate(self._alarms, start=1):
            if self._board[ASLEEP + LINE * worker]:
                alarm.release()

    def _hire(self):
        """Start the helpers; all of them, or none."""
        alarms = [threading.Semaphore(0) for _ in range(1, self.size)]
        threads = []
        for worker, alarm in enumerate(alarms, start=1):
            arguments = self._board, alarm, worker, self.size
            threads.append(
                threading.Thread(target=_serve, args=arguments, name="minidqn", daemon=True)
            )
        self._alarms = alarms
        try:
            for thread in threads:
                thread.start()
                self._threads.append(thread)
        except RuntimeError:
            self.close()
            raise

    def close(self):
        """End all helpers, and wait until they have."""
        if self._process == os.getpid() and self._threads:
            self._call(0, 0)
            for thread in self._threads:
                if thread is not threading.current_thread():  # the last reference may go anywhere
                    thread.join()
        self._forget()

    def _forget(self):
        self._board = np.zeros(ASLEEP + LINE * (self.size + 1), np.int64)
        self._threads, self._alarms = [], []
        self._process = os.getpid()


def _serve(board, alarm, worker, workers):
    """What a helper does."""
    ticket = 0
    while (ticket := _help(board, ticket, worker, workers)) >= 0:
        alarm.acquire()
