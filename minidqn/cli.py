"""How the commands speak: errors in one line, progress in one line, Ctrl-C in one line."""

import argparse
import collections
import contextlib
import errno
import importlib
import io
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np

from minidqn import games, runs
from minidqn.checks import one_line
from minidqn.nn import Sequential
from minidqn.runs import Record, Settings


def as_typed(name: str, *arguments: object) -> str:
    """A command of this package, to be pasted into a shell.

    Parameters
    ----------
    name : str
        Such as "train".
    *arguments
        What follows it, to be quoted.

    Returns
    -------
    str
        With "minidqn" in front, if this process was called so, or else "python -m".
    """
    short = Path((sys.argv or [""])[0]).stem == "minidqn"
    called = ["minidqn", name] if short else ["python", "-m", f"minidqn.{name}"]
    return shlex.join([*called, *map(str, arguments)])


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage above it."""

    def error(self, message: object, status: int = 2) -> NoReturn:
        """Print `message` on stderr and exit with `status`."""
        tell(f"{self.prog}: error: {message}")
        self.exit(status)


def tell(text: object, end: str = "\n") -> None:
    """Print `text` as one line with this `end` on stderr, if anybody reads it."""
    try:
        print(one_line(text), end=end, file=sys.stderr or io.StringIO(), flush=True)
    except OSError:  # else Python would try once more as it ends, and fail
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, for good


def run(main: Callable[[], int]) -> NoReturn:
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
def refusing(parser: Parser, words: Callable[[Exception], str] = str) -> Iterator[None]:
    """A mistake in the arguments, which the body finds, told as one line.

    Parameters
    ----------
    parser : Parser
        The command's.
    words : callable
        From the body's exception to the line.
    """
    try:
        yield
    except (ImportError, TypeError, ValueError) as error:
        parser.error(words(error))


@contextlib.contextmanager
def writing_to(parser: Parser, flag: str, folder: Path) -> Iterator[None]:
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
    except OSError as error:
        status = 1 if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else 2
        parser.error(f"{flag} {folder} cannot be written to: {error.strerror}", status)


def as_folder(text: str) -> Path:
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


def given_game(parser: Parser, name: str | None) -> games.Game | None:
    """The game that ``--game`` names, for a run that is there already.

    Parameters
    ----------
    parser : Parser
        The command's; it says what keeps the game from being loaded.
    name : str or None
        As for ``games.load``.

    Returns
    -------
    Game or None
        None for no name, and for a game of this package: the run knows these itself.
    """
    if name is None or name in games.OWN:
        return None
    with refusing(parser, "--{}".format):
        return games.load(name)


def resume_command(folder: Path, given: Any = ()) -> str:
    """The command that goes on with the run in a `folder`, to be pasted into a shell.

    Parameters
    ----------
    folder : Path
        The run's.
    given : dict
        Arguments of the command before, of which those that no checkpoint keeps are repeated.

    Returns
    -------
    str
        Its words, quoted.
    """
    words = ["--resume", str(folder)]
    for name in ("game", "checkpoint_every", "engine"):
        if name in given and given[name] not in games.OWN:
            words += [f"--{name.replace('_', '-')}", str(given[name])]
    words += [
        f"--{name.replace('_', '-')}" for name in ("no_images", "tensorboard") if name in given
    ]
    return as_typed("train", *words)


def run_parser(
    prog: str,
    description: str,
    out: str,
    kind: Callable[[str], Path] = as_folder,
    default: str = "RUN",
) -> Parser:
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
    parser = Parser(prog=as_typed(prog), description=description)
    parser.add_argument("run", type=as_folder, metavar="RUN", help="folder of a run")
    parser.add_argument("--game", help="the run's game, if it is none of this package")
    where = "FOLDER" if kind is as_folder else "FILE"
    parser.add_argument("--out", type=kind, metavar=where, help=f"{out} (default: {default})")
    return parser


@contextlib.contextmanager
def reading(parser: Parser, folder: Path) -> Iterator[None]:
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
        parser.error(f"RUN {folder}: {_unreadable(folder, error)}")


def _unreadable(folder, error):
    """Why a run cannot be read."""
    if not folder.exists():
        return "there is no such folder"
    if (folder / runs.WEIGHTS).exists() or not (folder / runs.CHECKPOINT).exists():
        return f"cannot read {error.filename}: {error.strerror}"
    given = {}
    with contextlib.suppress(OSError, ValueError):
        settings, _, failure = runs.read_config(folder)
        if failure is not None:
            return f"it has failed: {failure}"
        given = {} if settings.game in games.OWN else {"game": settings.game}
    return f"it has not ended yet; {resume_command(folder, given)} goes on with it"


def loaded_run(
    parser: Parser, arguments: argparse.Namespace
) -> tuple[Settings, Sequential, games.Game]:
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
    name, game = arguments.game, given_game(parser, arguments.game)
    with reading(parser, arguments.run):
        settings, model, game = runs.load_run(arguments.run, game)
    if name not in (None, settings.game) and {name, settings.game} & games.OWN.keys():
        parser.error(f"--game is {name}; the run in {arguments.run} plays {settings.game}")
    return settings, model, game


@contextlib.contextmanager
def writing_run(parser: Parser, arguments: argparse.Namespace) -> Iterator[Path]:
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
def announce_compilation() -> Iterator[None]:
    """Say so, once and on stderr, if Numba starts to compile something in the body.

    Kernels that come from Numba's cache on disk are not compiled, and not
    announced.

    References
    ----------
    https://numba.readthedocs.io/en/stable/developer/event_api.html
    """
    from numba.core import event

    began = []

    class Announcement(event.Listener):
        def on_start(self, _):
            if not began:
                began.append(time.perf_counter())
                tell("compiling kernels, once ...", " ")

        def on_end(self, _):
            pass

    with event.install_listener("numba:compile", Announcement()):
        yield
    if began:
        tell(f"{time.perf_counter() - began[0]:.1f} s")


def _is_terminal(stream):
    """Whether somebody looks at a stream, which may be closed, missing or a stranger's."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


class Line:
    """A line on a terminal that is written over; whole lines elsewhere.

    Parameters
    ----------
    stream : file object, optional
        Where; stdout by default.
    """

    def __init__(self, stream: TextIO | None = None):
        self._stream, self._width = stream or sys.stdout or io.StringIO(), 0
        self.moving = _is_terminal(self._stream) and os.environ.get("TERM") != "dumb"

    def move(self, text: str, last: bool) -> None:
        """Show `text` in place of what is there; the `last` text stays."""
        text = text[: shutil.get_terminal_size().columns - 1]
        # Blanks only over what was longer: Ctrl-C is echoed behind them.
        self.write("\r" + text.ljust(self._width) + "\n" * last)
        self._width = len(text)

    def write(self, text: str) -> None:
        """Write `text` as it is."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError:  # such as a full disk; the run goes on, and `run` tells it at the end
            self._stream = io.StringIO()


def clock(seconds: float) -> str:
    """A number of `seconds` as minutes and seconds, such as 2:05."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


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

    def __init__(
        self, settings: Settings, stream: TextIO | None = None, evaluated: Record | None = None
    ):
        self.settings, self.evaluated, self.line = settings, evaluated, Line(stream)
        self.returns = collections.deque(maxlen=100)  # of games, until one is evaluated
        # The first record with updates: epochs before it cost next to nothing.
        self.first: Record | None = None
        self.shown = -1.0  # seconds of the moving line

    def show(self, record: Record) -> None:
        """Take note of a `Record` and show it, if it is time to.

        Parameters
        ----------
        record : Record
            The epoch's, from ``training``.
        """
        self.returns.append(record.episode_return)
        if record.mean_return is not None:
            self.evaluated = record
        if self.first is None or not self.first.updates:
            self.first = record
        last = self.settings.ended(record)
        if self.line.moving and (last or record.seconds - self.shown >= self.REFRESH_SECONDS):
            self.line.move(self._line(record), last)
            self.shown = record.seconds
        elif not self.line.moving and record.epoch % self.EVERY_EPOCHS == 0:
            name, score = self._score()
            if self.evaluated is None:
                score += f" (in training, last {len(self.returns)} games)"
            elif self.evaluated.epoch != record.epoch:
                score += f" (epoch {self.evaluated.epoch})"
            step = f"step {record.steps} of {self.settings.goal}, " * (self.settings.steps > 0)
            words = f"Epoch {record.epoch}, {step}loss: {record.loss:.6f}, {name}: {score}\n"
            self.line.write(words)

    def _score(self):
        """The last measure, such as ("wins", "69/80") or ("return", "3.21"); before the first, the
        mean return of the last games of the training."""
        if self.evaluated is None:
            return "return", f"{np.mean(self.returns):.2f}"
        if self.evaluated.wins is None:
            return "return", f"{self.evaluated.mean_return:.2f}"
        return "wins", f"{self.evaluated.wins}/{self.evaluated.starts}"

    def _line(self, record):
        """The moving line."""
        goal, done = self.settings.goal, self.settings.done(record)
        left_to_do, since = max(goal - done, 0), done - self.settings.done(self.first)
        seconds = record.seconds - self.first.seconds
        per_second, left = (record.updates - self.first.updates) / max(seconds, 1e-9), "-:--"
        if since:
            left = clock(seconds / since * left_to_do)
        score = " ".join(self._score())
        so_far = f"{self.settings.unit[:-1]} {done}/{goal}  loss {record.loss:.6f}  {score}"
        return f"{so_far}  {per_second:,.0f} updates/s  {left} left"


@contextlib.contextmanager
def watching(
    settings: runs.Settings, verbose: str | bool = "auto"
) -> Iterator[Callable[[runs.Record], None]]:
    """Shows a run that is made from Python.

    Parameters
    ----------
    settings : Settings
        The run's.
    verbose : "auto" or bool
        "auto" shows it in a notebook and on a terminal, True anywhere, False nowhere.

    Yields
    ------
    callable
        Shows a `Record`.
    """
    if verbose not in ("auto", True, False):
        raise ValueError(f"verbose is {verbose!r}; expected 'auto', True or False")
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    in_notebook = hasattr(shell, "kernel")
    if not verbose or (verbose == "auto" and not in_notebook and not _is_terminal(sys.stdout)):
        yield lambda record: None
        return
    kind = importlib.import_module("minidqn.notebook") if in_notebook else sys.modules[__name__]
    with announce_compilation():
        yield kind.Progress(settings).show
