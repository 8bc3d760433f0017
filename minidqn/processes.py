"""An executor whose processes may die: each is replaced alone, and what it was at begun again."""

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

TRIES = 3
"""How often a call is begun whose process dies, at most."""

UNGUARDED = 79
"""Exit status of a process that would begin processes itself as it imports the user's script."""


class WorkersError(RuntimeError):
    """No process can work, because of the script that began them."""


class Processes(concurrent.futures.ThreadPoolExecutor):
    """An executor of processes, each of which is replaced alone if it dies.

    A ProcessPoolExecutor ends all its workers with the first one that dies. Here every thread
    of a pool has a process of its own, and gives its work to the next one.

    Parameters
    ----------
    jobs : int, optional
        How many processes; as many as there are cores by default.

    Raises
    ------
    WorkersError
        If there can be no processes, here or from a call.
    """

    def __init__(self, jobs: int | None = None):
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            os._exit(UNGUARDED)
        file = getattr(sys.modules["__main__"], "__file__", None)
        if file is not None and not os.path.isfile(file):
            raise WorkersError(f"the script is {file}; expected a file, which workers import, too")
        self.jobs = cores() if jobs is None else jobs
        super().__init__(self.jobs)
        if os.name != "nt":  # it would let a thread have signals again that are blocked
            multiprocessing.resource_tracker.ensure_running()
        self._own, self._all, self._stopped = threading.local(), [], False

    # Unlike any other executor's it takes no keywords.
    def submit(self, function: Callable, /, *arguments: Any) -> concurrent.futures.Future:  # type: ignore[override]
        """Have a process call a `function` of a module with these `arguments`."""
        return super().submit(self._call, function, arguments)

    def _call(self, function, arguments):
        for _ in range(TRIES):
            if not hasattr(self._own, "process"):
                self._begin()
            try:
                self._own.pipe.send((function, arguments))
                result, error = self._own.pipe.recv()
            except (EOFError, OSError):
                process = self._own.process
                del self._own.process
                process.join()
                if process.exitcode == UNGUARDED:
                    guard = 'if __name__ == "__main__":'
                    raise WorkersError(f"workers import the script; put {guard} in it") from None
                if self._stopped:
                    break
                continue
            if error is not None:
                raise error
            return result
        status = process.exitcode
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        raise concurrent.futures.BrokenExecutor(f"its worker died {TRIES} times, by {how}")

    def _begin(self):
        if hasattr(signal, "pthread_sigmask"):  # so it begins with Ctrl-C blocked, as its parent is
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        context = multiprocessing.get_context("spawn")
        self._own.pipe, theirs = context.Pipe()
        self._own.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._own.process.start()
        theirs.close()
        self._all.append(self._own.process)
        if self._stopped:  # meanwhile
            self._own.process.kill()

    def __exit__(self, *exception):
        """End all processes, whatever they are at."""
        self._stopped = True
        self.shutdown(wait=False, cancel_futures=True)
        for process in self._all:
            process.kill()
        self.shutdown()


def _serve(pipe):
    """In a process of `Processes`: call functions until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the sweep's, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError):
        while True:
            function, arguments = pipe.recv()
            try:
                pipe.send((function(*arguments), None))
            except Exception as error:
                pipe.send((None, error))


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
