"""How the commands speak: errors in one line, progress in one line, Ctrl-C in one line."""

import argparse
import contextlib
import os
import shutil
import sys
import time

__all__ = ["Parser", "Progress", "announce_compilation", "run"]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage above it."""

    def error(self, message):
        """Print `message` on stderr and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(str(message).split())}\n")


def run(main):
    """Run a command's `main` and exit with the status that it returns.

    Ctrl-C ends it with one line and status 130, a reader that went away (``|
    head``) silently with status 141, as shells report these two.

    Parameters
    ----------
    main : callable
        Takes nothing and returns an exit status.
    """
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Python flushes stdout once more as it ends; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


@contextlib.contextmanager
def announce_compilation():
    """Say so, once and on stderr, if Numba starts to compile something in the body.

    Kernels that come from Numba's cache on disk are not compiled, and not
    announced.

    References
    ----------
    https://numba.readthedocs.io/en/stable/developer/event_api.html
    """
    from numba.core import event

    class Announcement(event.Listener):
        started = None

        def on_start(self, _):
            if self.started is None:
                self.started = time.perf_counter()
                print("compiling kernels, once ...", end=" ", file=sys.stderr, flush=True)

        def on_end(self, _):
            pass

    announcement = Announcement()
    with event.install_listener("numba:compile", announcement):
        yield
    if announcement.started is not None:
        print(f"{time.perf_counter() - announcement.started:.1f} s", file=sys.stderr, flush=True)


class Progress:
    """Shows a run as it goes: one moving line on a terminal, sparse lines on a pipe.

    Parameters
    ----------
    epochs : int
        How many there will be.
    stream : file object
        Where to show it.
    """

    EVERY_EPOCHS = 100
    REFRESH_SECONDS = 0.1

    def __init__(self, epochs, stream=None):
        self.epochs = epochs
        self.stream = sys.stdout if stream is None else stream
        self.moving = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.evaluated = None  # the last record with wins
        self.shown = -1.0

    def show(self, record):
        """Take note of a `Record` and show it, if it is time to.

        Parameters
        ----------
        record : Record
            The epoch's, from ``training``.
        """
        if record.wins is not None:
            self.evaluated = record
        last = record.epoch == self.epochs
        if self.moving:
            if last or record.seconds - self.shown >= self.REFRESH_SECONDS:
                self.shown = record.seconds
                width = shutil.get_terminal_size().columns - 1
                self.stream.write("\r" + self._line(record)[:width].ljust(width))
            if last:
                self.stream.write("\n")
            self.stream.flush()
        elif record.epoch % self.EVERY_EPOCHS == 0:
            text = f"Epoch {record.epoch}, loss: {record.loss:.6f}, wins: {self._wins(record)}"
            print(text, file=self.stream, flush=True)

    def _wins(self, record):
        """Such as 69/80, with the epoch it was measured in if that is not the record's."""
        if self.evaluated is None:
            return "not measured yet"
        wins = f"{self.evaluated.wins}/{self.evaluated.starts}"
        same = self.evaluated.epoch == record.epoch
        return wins if same else f"{wins} (epoch {self.evaluated.epoch})"

    def _line(self, record):
        """The moving line."""
        done = record.epoch / self.epochs
        bar = "#" * round(20 * done)
        wins = f"{self.evaluated.wins}/{self.evaluated.starts}" if self.evaluated else "-"
        per_second = record.updates / max(record.seconds, 1e-9)
        minutes, seconds = divmod(round(record.seconds * (1 / done - 1)), 60)
        return (
            f"epoch {record.epoch}/{self.epochs} [{bar:.<20}] loss {record.loss:.6f}  "
            f"wins {wins}  {per_second:,.0f} updates/s  {minutes}:{seconds:02d} left"
        )
