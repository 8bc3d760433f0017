"""How the commands speak: errors in one line, progress in one line, Ctrl-C in one line."""

import argparse
import contextlib
import errno
import io
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from minidqn import games, runs
from minidqn.checks import one_line

__all__ = [
    "Parser", "Progress", "add_run", "announce_compilation", "as_folder", "load_game",
    "loaded_run", "reading", "run", "tell", "writing_run", "writing_to",
]  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage above it."""

    def error(self, message, status=2):
        """Print `message` on stderr and exit with `status`."""
        self.exit(status, f"{self.prog}: error: {one_line(message)}\n")


def tell(text):
    """Print `text` as one line on stderr, if anybody reads it."""
    _say(f"{one_line(text)}\n")


def _say(text):
    """Write to stderr, if anybody reads it."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (AttributeError, OSError):  # else Python would try once more as it ends, and fail
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, for good


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
    for stream in (sys.stdout, sys.stderr):  # which may not know all letters of a folder's name
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
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


def as_folder(text):
    """A path from the command line, `text`, its ~ expanded.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is empty, a file, or no name that a folder can have.
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty; expected the name of a folder")
    try:
        path = Path(text).expanduser()
        if path.exists() and not path.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a file; expected a folder")
    except (OSError, RuntimeError) as error:
        words = getattr(error, "strerror", None) or error
        raise argparse.ArgumentTypeError(f"{text}: {words}") from error
    return path


def load_game(parser, name, grid_size=10):
    """The game that ``--game`` names; what keeps it from being loaded is told as one line.

    Parameters
    ----------
    parser : Parser
        The command's.
    name, grid_size
        As for ``games.load``.

    Returns
    -------
    Game
        The game.
    """
    try:
        return games.load(name, grid_size)
    except (ImportError, ValueError) as error:
        parser.error(f"--{error}")


def add_run(parser, text, kind=as_folder, metavar="FOLDER", default="RUN", game=True):
    """Give a command the arguments that all have that show a finished run.

    Parameters
    ----------
    parser : Parser
        The command's.
    text : str
        What ``--out`` is for.
    kind, metavar, default
        Its type, and how its value and its default are called.
    game : bool
        Whether there is ``--game``.
    """
    parser.add_argument("run", type=as_folder, metavar="RUN", help="folder of a run")
    if game:
        parser.add_argument("--game", help="the run's game, if it is none of this package")
    parser.add_argument(
        "--out", type=kind, metavar=metavar, help=f"{text} (default: {default})"
    )  # fmt: skip


@contextlib.contextmanager
def reading(parser, folder):
    """Whatever keeps the body from reading a run, told as one line.

    Parameters
    ----------
    parser : Parser
        The command's.
    folder : Path
        The run's, which the argument RUN named.
    """
    try:
        yield
    except ValueError as error:
        parser.error(error)
    except MemoryError:
        parser.error(f"RUN {folder}: its network does not fit into memory")
    except OSError as error:
        words = f"cannot read {error.filename}: {error.strerror}"
        if not folder.exists():
            words = "there is no such folder"
        elif not (folder / runs.WEIGHTS).exists() and (folder / runs.CHECKPOINT).exists():
            command = f"python -m minidqn.train --resume {shlex.quote(str(folder))}"
            words = f"it has not ended yet; {command} goes on with it"
            with contextlib.suppress(OSError, ValueError):
                *_, failure = runs.read_config(folder)
                words = words if failure is None else f"it has failed: {failure}"
        parser.error(f"RUN {folder}: {words}")


def loaded_run(parser, folder, name=None):
    """A finished run; what keeps it from being read is told as one line.

    Parameters
    ----------
    parser : Parser
        The command's.
    folder : Path
        The run's.
    name : str, optional
        Of its game, if ``--game`` was given.

    Returns
    -------
    settings, model, game
        As from ``runs.load_run``.
    """
    game = None if name is None or name in games.OWN else load_game(parser, name)
    with reading(parser, folder):
        return runs.load_run(folder, game)


@contextlib.contextmanager
def writing_run(parser, arguments):
    """The folder that a command of `add_run` writes to; what goes wrong there is one line.

    Parameters
    ----------
    parser : Parser
        The command's.
    arguments : Namespace
        Its arguments.

    Yields
    ------
    Path
        The folder, which exists.
    """
    folder = arguments.out or arguments.run
    try:
        with writing_to(parser, "--out" if arguments.out else "RUN", folder):
            folder.mkdir(parents=True, exist_ok=True)
            yield folder
    except games.GameError as error:
        parser.error(f"RUN {arguments.run}: {error}")
    except MemoryError:
        parser.error(f"RUN {arguments.run}: what it shows does not fit into memory")


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
                _say("compiling kernels, once ... ")

        def on_end(self, _):
            pass

    announcement = Announcement()
    with event.install_listener("numba:compile", announcement):
        yield
    if announcement.started is not None:
        _say(f"{time.perf_counter() - announcement.started:.1f} s\n")


class Progress:
    """Shows a run as it goes: one moving line on a terminal, sparse lines on a pipe.

    Parameters
    ----------
    epochs : int
        How many there will be.
    stream : file object
        Where to show it.
    evaluated : Record, optional
        The last one of a run that goes on that was measured.
    """

    EVERY_EPOCHS = 100
    REFRESH_SECONDS = 0.1

    def __init__(self, epochs, stream=None, evaluated=None):
        self.epochs = epochs
        self.stream = sys.stdout if stream is None else stream
        self.moving = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.evaluated = evaluated  # the last record that was measured
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
        if record.mean_return is not None:
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
            score = self._score(": ", "not measured yet")
            if self.evaluated is not None and self.evaluated.epoch != record.epoch:
                score += f" (epoch {self.evaluated.epoch})"
            self._write(f"Epoch {record.epoch}, loss: {record.loss:.6f}, {score}\n")

    def _write(self, text):
        """Show some text; a run goes on when nobody can read along any more."""
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:
            raise
        except OSError:  # a full disk under a redirected output, say; `run` will tell
            self.stream = io.StringIO()

    def _score(self, between, unknown):
        """The last measure, such as "wins: 69/80" or "return: 3.21"."""
        if self.evaluated is None:
            return f"return{between}{unknown}"
        if self.evaluated.wins is None:
            return f"return{between}{self.evaluated.mean_return:.2f}"
        return f"wins{between}{self.evaluated.wins}/{self.evaluated.starts}"

    def _line(self, record):
        """The moving line."""
        if self.first is None and record.updates:
            self.first = record  # the epochs before it cost next to nothing
        left, per_second = "-:--", 0.0
        if self.first is not None and record.epoch > self.first.epoch:
            seconds = record.seconds - self.first.seconds
            per_second = (record.updates - self.first.updates) / max(seconds, 1e-9)
            seconds *= (self.epochs - record.epoch) / (record.epoch - self.first.epoch)
            left = f"{round(seconds) // 60}:{round(seconds) % 60:02d}"
        return (
            f"epoch {record.epoch}/{self.epochs}  loss {record.loss:.6f}  {self._score(' ', '-')}  "
            f"{per_second:,.0f} updates/s  {left} left"
        )
