"""How the commands speak: errors in one line, progress in one line, Ctrl-C in one line."""

import argparse
import contextlib
import errno
import io
import os
import shutil
import sys
import time

from minidqn.checks import one_line

__all__ = ["Parser", "Progress", "announce_compilation", "run", "tell", "writing_to"]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage above it."""

    def error(self, message, status=2):
        """Print `message` on stderr and exit with `status`."""
        self.exit(status, f"{self.prog}: error: {one_line(message)}\n")


def tell(text):
    """Print `text` as one line on stderr, if anybody reads it."""
    with contextlib.suppress(OSError):
        print(one_line(text), file=sys.stderr, flush=True)


def run(main):
    """Run a command's `main` and exit with the status that it returns.

    Ctrl-C ends it with one line and status 130, a reader that went away (``|
    head``) silently with status 141, as shells report these two; an output that
    cannot be written to ends it with one line and status 1.

    Parameters
    ----------
    main : callable
        Takes nothing and returns an exit status.
    """
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, for good
    try:
        status = main()
        sys.stdout.flush()
        sys.exit(status)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _drop_output()
        sys.exit(141)
    except OSError as error:
        _drop_output()
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(1)


def _drop_output():
    """Python flushes stdout once more as it ends; let that go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def writing_to(parser, flag, folder):
    """Whatever keeps the body from writing to a folder, told as one line.

    The exit status is 1 if the disk is full or failed, else 2.

    Parameters
    ----------
    parser : Parser
        The command's.
    flag : str
        The argument that named the folder, such as "--out".
    folder : Path
        The folder.
    """
    try:
        yield
    except BlockingIOError as error:
        parser.error(f"{flag} {folder}: {error.strerror}")
    except OSError as error:
        status = 1 if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else 2
        parser.error(f"{flag} {folder} cannot be written to: {error.strerror}", status)


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
    evaluated : Record, optional
        The last one of a run that goes on that has wins.
    """

    EVERY_EPOCHS = 100
    REFRESH_SECONDS = 0.1

    def __init__(self, epochs, stream=None, evaluated=None):
        self.epochs = epochs
        self.stream = sys.stdout if stream is None else stream
        self.moving = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.evaluated = evaluated  # the last record with wins
        self.first = None  # the first record with updates
        self.shown = -1.0
        self.width = 0  # of the moving line

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
            line = self._line(record)
            if last or record.seconds - self.shown >= self.REFRESH_SECONDS:
                self.shown = record.seconds
                line = line[: shutil.get_terminal_size().columns - 1]
                # Blanks only over what was longer: Ctrl-C is echoed behind them.
                self._write("\r" + line.ljust(self.width) + ("\n" if last else ""))
                self.width = len(line)
        elif record.epoch % self.EVERY_EPOCHS == 0:
            wins = self._wins(record)
            self._write(f"Epoch {record.epoch}, loss: {record.loss:.6f}, wins: {wins}\n")

    def _write(self, text):
        """Show some text; a run goes on when nobody can read along any more."""
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:
            raise
        except OSError:  # a full disk under a redirected output, say; `run` will tell
            self.stream = io.StringIO()

    def _wins(self, record):
        """Such as 69/80, with the epoch it was measured in if that is not the record's."""
        if self.evaluated is None:
            return "not measured yet"
        wins = f"{self.evaluated.wins}/{self.evaluated.starts}"
        same = self.evaluated.epoch == record.epoch
        return wins if same else f"{wins} (epoch {self.evaluated.epoch})"

    def _line(self, record):
        """The moving line."""
        wins = f"{self.evaluated.wins}/{self.evaluated.starts}" if self.evaluated else "-"
        if self.first is None and record.updates:
            self.first = record  # the epochs before it cost next to nothing
        left, per_second = "-:--", 0.0
        if self.first is not None and record.epoch > self.first.epoch:
            seconds = record.seconds - self.first.seconds
            per_second = (record.updates - self.first.updates) / max(seconds, 1e-9)
            seconds *= (self.epochs - record.epoch) / (record.epoch - self.first.epoch)
            left = f"{round(seconds) // 60}:{round(seconds) % 60:02d}"
        return (
            f"epoch {record.epoch}/{self.epochs}  loss {record.loss:.6f}  wins {wins}  "
            f"{per_second:,.0f} updates/s  {left} left"
        )
