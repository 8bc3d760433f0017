"""Threads that share the work of a network's programs."""

import os
import threading

import numpy as np
from numba.core import config

from minidqn.nn.programs import (
    ALONE,
    CLOSED,
    DONE,
    LOOKS,
    WORDS,
    check,
    compiled,
    give_way,
    look,
    opened,
    put,
    running,
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

PROGRAM, SAMPLES, ASLEEP = WORDS, WORDS + 1, WORDS + 8
"""Places on a crew's board, beside those of ``programs``: the address of the program that
is run, its samples, and from the last place on, in a line of the cache each, whether a
thread sleeps."""

LINE = 8
"""Words in a line of the cache."""


@compiled(nogil=False)
def _announce(board, number, address, samples):
    """Put up a program for the helpers, who begin at once if they are awake."""
    opened(board, number, CLOSED)  # whoever still reads about the last one starts over
    board[PROGRAM], board[SAMPLES] = address, samples
    put(board, DONE, 0)
    opened(board, number, 0)


@compiled
def _help(board, seen, worker):
    """Do parts of one program after another.

    Returns the number of the last program, as soon as no new one has come for a
    while; the negative of it if there will be none.
    """
    looks = 0
    put(board, ASLEEP + LINE * worker, 0)
    while True:
        number = running(board)
        if number > seen:
            address, samples = look(board, PROGRAM), look(board, SAMPLES)
            if running(board) != number:  # it has ended meanwhile, these may be of the next
                continue
            if address == 0:
                return -number
            work(address, samples, worker, board, number)
            seen, looks = number, 0
        looks += 1
        if looks % LOOKS == 0:
            give_way()
        if looks == LOOKS * PATIENCE:
            put(board, ASLEEP + LINE * worker, 1)
            # What was announced before this could be seen will not be called out.
            if running(board) == seen:
                return seen
            put(board, ASLEEP + LINE * worker, 0)
            looks = 0


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
        BaseException
            What ended a helper, with its own traceback.
        """
        if config.DISABLE_JIT:
            program.run_plainly(samples)
            return
        address = program.address
        if self.size == 1 or samples < FEW:
            work(address, samples, 0, self._board, ALONE)
            check(self._board)
            return
        if self._process != os.getpid():  # a fork takes only the thread along that called it
            self._forget()
        if not self._threads:
            self._hire()
        try:
            self._call(address, samples)
            work(address, samples, 0, self._board, self._number)
        except BaseException:  # Ctrl-C: what has been announced must end before the next
            work(address, samples, 0, self._board, self._number)
            raise
        check(self._board)
        if self._failures:
            failure = self._failures[0]
            self._dismiss()
            raise failure

    def _call(self, address, samples):
        """Announce a program, and wake those who sleep."""
        self._number += 1
        _announce(self._board, self._number, address, samples)
        for worker, alarm in enumerate(self._alarms, start=1):
            if self._board[ASLEEP + LINE * worker]:
                alarm.release()

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
            self._call(0, 0)
            for thread in self._threads:
                if thread is not threading.current_thread():  # the last reference may go anywhere
                    thread.join()
        self._forget()

    def _forget(self):
        self._board = np.zeros(ASLEEP + LINE * (self.size + 1), np.int64)
        self._threads, self._alarms, self._failures = [], [], []
        self._number = 0  # of programs that helpers were called to
        self._process = os.getpid()


def _serve(board, alarm, worker, failures):
    """What a helper does; nobody waits for one that fails, but its failure is raised."""
    seen = 0
    try:
        while (seen := _help(board, seen, worker)) >= 0:
            alarm.acquire()
    except BaseException as failure:
        failures.append(failure)
