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


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage above it."""

    def error(self, message, status=2):
        """Print `message` on stderr and exit with `status`."""
        self.exit(status, f"{self.prog}: error: {one_line(message)}\n")


def tell(text, end="\n"):
    """Print `text` as one line with this `end` on stderr, if anybody reads it."""
    try:
        print(one_line(text), end=end, file=sys.stderr, flush=True)
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
    if sys.stdout is None:  # closed by the program that started this one
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, for good
    for stream in (sys.stdout, sys.stderr):  # which may not know all letters of a folder's name
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = main()
        sys.stdout.flush()
        sys.exit(status)
    except KeyboardInterrupt:
        tell("")  # behind the ^C of the terminal
        tell("interrupted")
        sys.exit(130)
    except OSError as error:
        # Python flushes stdout once more as it ends; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(141)
        tell(f"error: {error}")
        sys.exit(1)


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
    try:
        path = Path(text).expanduser()
        if text and (not path.exists() or path.is_dir()):
            return path
        words = "is a file; expected a folder" if text else "is empty; expected a folder"
    except (OSError, RuntimeError, ValueError) as error:
        words = f"is no name of a folder: {getattr(error, 'strerror', None) or error}"
    raise argparse.ArgumentTypeError(f"{text!r} {words}")


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


def run_parser(prog, description, out, kind=as_folder, default="RUN"):
    """The parser of a command that shows a finished run.

    Parameters
    ----------
    prog, description : str
        Of the command.
    out : str
        What ``--out`` is for.
    kind, default
        Its type, and how its default is called.

    Returns
    -------
    Parser
        With the arguments RUN, ``--game`` and ``--out``.
    """
    parser = Parser(prog=f"python -m minidqn.{prog}", description=description)
    parser.add_argument("run", type=as_folder, metavar="RUN", help="folder of a run")
    parser.add_argument("--game", help="the run's game, if it is none of this package")
    where = "FOLDER" if kind is as_folder else "FILE"
    parser.add_argument("--out", type=kind, metavar=where, help=f"{out} (default: {default})")
    return parser


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
        return
    except ValueError as error:
        parser.error(error)
    except MemoryError:
        words = "its network does not fit into memory"
    except OSError as error:
        words = f"cannot read {error.filename}: {error.strerror}"
        if not folder.exists():
            words = "there is no such folder"
        elif not (folder / runs.WEIGHTS).exists() and (folder / runs.CHECKPOINT).exists():
            command = f"python -m minidqn.train --resume {shlex.quote(str(folder))}"
            failure = None
            with contextlib.suppress(OSError, ValueError):
                settings, _, failure = runs.read_config(folder)
                if settings.game not in games.OWN:
                    command += f" --game {shlex.quote(settings.game)}"
            words = f"it has not ended yet; {command} goes on with it"
            words = words if failure is None else f"it has failed: {failure}"
    parser.error(f"RUN {folder}: {words}")


def loaded_run(parser, arguments):
    """A finished run; what keeps it from being read is told as one line.

    Parameters
    ----------
    parser : Parser
        From `run_parser`.
    arguments : Namespace
        Its arguments.

    Returns
    -------
    settings, model, game
        As from ``runs.load_run``.
    """
    name, game = arguments.game, None
    if name is not None and name not in games.OWN:
        game = load_game(parser, name)
    with reading(parser, arguments.run):
        settings, model, game = runs.load_run(arguments.run, game)
    if name not in (None, settings.game) and {name, settings.game} & games.OWN.keys():
        parser.error(f"--game is {name}; the run in {arguments.run} plays {settings.game}")
    return settings, model, game


@contextlib.contextmanager
def writing_run(parser, arguments):
    """The folder that a command writes to; what goes wrong there is told as one line.

    Parameters
    ----------
    parser : Parser
        From `run_parser`.
    arguments : Namespace
        Its arguments.

    Yields
    ------
    Path
        The folder, which exists.
    """
    flag, folder = ("--out", arguments.out) if arguments.out else ("RUN", arguments.run)
    try:
        with writing_to(parser, flag, folder):
            folder.mkdir(parents=True, exist_ok=True)
            yield folder
    except (games.GameError, MemoryError) as error:
        parser.error(f"RUN {arguments.run}: {error or 'it does not fit into memory'}", 1)


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
                tell("compiling kernels, once ...", " ")

        def on_end(self, _):
            pass

    announcement = Announcement()
    with event.install_listener("numba:compile", announcement):
        yield
    if announcement.started is not None:
        tell(f"{time.perf_counter() - announcement.started:.1f} s")


class Progress:
    """Shows a run as it goes: one moving line on a terminal, sparse lines on a pipe.

    Parameters
    ----------
    settings : Settings
        The run's, which say when it ends.
    stream : file object
        Where to show it.
    evaluated : Record, optional
        The last one of a run that goes on that was measured.
    """

    EVERY_EPOCHS = 100
    REFRESH_SECONDS = 0.1

    def __init__(self, settings, stream=None, evaluated=None):
        self.settings, self.evaluated = settings, evaluated
        self.stream = sys.stdout if stream is None else stream
        self.moving = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.first = None  # the first record with updates
        self.shown, self.width = -1.0, 0  # seconds and length of the moving line

    def show(self, record):
        """Take note of a `Record` and show it, if it is time to.

        Parameters
        ----------
        record : Record
            The epoch's, from ``training``.
        """
        if record.mean_return is not None:
            self.evaluated = record
        if self.first is None and record.updates:
            self.first = record  # the epochs before it cost next to nothing
        last = self.settings.ended(record)
        if self.moving and (last or record.seconds - self.shown >= self.REFRESH_SECONDS):
            self.shown = record.seconds
            line = self._line(record)[: shutil.get_terminal_size().columns - 1]
            # Blanks only over what was longer: Ctrl-C is echoed behind them.
            self._write("\r" + line.ljust(self.width) + "\n" * last)
            self.width = len(line)
        elif not self.moving and record.epoch % self.EVERY_EPOCHS == 0:
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
        if self.evaluated is None or self.evaluated.wins is None:
            score = unknown if self.evaluated is None else f"{self.evaluated.mean_return:.2f}"
            return f"return{between}{score}"
        return f"wins{between}{self.evaluated.wins}/{self.evaluated.starts}"

    def _line(self, record):
        """The moving line."""
        left, per_second, first = "-:--", 0.0, self.first or record
        goal, done = self.settings.goal, self.settings.done(record)
        if record.epoch > first.epoch:
            seconds = record.seconds - first.seconds
            per_second = (record.updates - first.updates) / max(seconds, 1e-9)
            seconds *= max(goal - done, 0) / (done - self.settings.done(first))
            left = f"{round(seconds) // 60}:{round(seconds) % 60:02d}"
        done = f"{self.settings.unit[:-1]} {done}/{goal}  loss {record.loss:.6f}"
        return f"{done}  {self._score(' ', '-')}  {per_second:,.0f} updates/s  {left} left"
