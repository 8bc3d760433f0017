"""A learner's function: loaded from its file, called, and what it returns held against the right.

The file is the learner's own and is run as any program of theirs is.
"""

import _thread
import contextlib
import copy
import importlib
import inspect
import os
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minidqn.checks import one_line

MODULE = "_answer"
"""What a learner's file is called among the modules, while it is used."""

NUMBERS = {bool, int, float, np.bool_}
NUMBERS |= {kind for kind in np.sctypeDict.values() if issubclass(kind, np.number)}
"""Types of numbers; subclasses of them may do anything."""


class NotWrittenError(Exception):
    """The function is a blank as yet."""


class TooLongError(KeyboardInterrupt):
    """A learner's code was still running when its time was up; like Ctrl-C, nothing stops it."""


class Fault(NamedTuple):
    """What is wrong with an answer.

    Attributes
    ----------
    words : str
        A sentence or two.
    arguments : dict
        The input that shows it, by name; none if no call came to it.
    arrays : dict
        What was expected and what came instead, by name.
    hint : str
        What the mistake may be, if it is known.
    """

    words: str
    arguments: dict = {}
    arrays: dict = {}
    hint: str = ""


class FaultError(Exception):
    """An answer does what none may do; the only argument is the Fault."""


class Outcome(NamedTuple):
    """What came of one call.

    Attributes
    ----------
    arguments : dict
        The input, by name, as it was before the call.
    results : tuple or None
        What was returned, one thing for each name; None if it cannot be judged.
    fault : Fault or None
        Why it cannot be.
    """

    arguments: dict
    results: Any
    fault: Fault | None = None


class _Borrowed:
    """A stream that may be used, but not closed."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def close(self):
        """Do nothing: the command has more to say."""


@contextlib.contextmanager
def at_home(path: Path) -> Iterator[None]:
    """Let a learner's file find what lies beside it, and leave nothing behind.

    In the body its folder is the first that modules are looked for in. After it
    the modules that came from there are forgotten, so that those of the same
    names in another folder are not taken for them.

    Parameters
    ----------
    path : Path
        The file, absolute.
    """
    folders, modules = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(path.parent))
    importlib.invalidate_caches()  # a file may be newer than the last look at its folder
    out, err = _Borrowed(sys.stdout), _Borrowed(sys.stderr)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    finally:
        sys.path[:] = folders
        new = {name for name in set(sys.modules) - modules if _lies_in(path.parent, name)}
        for name in list(sys.modules):
            if name == MODULE or name.split(".")[0] in new:
                del sys.modules[name]


def _lies_in(folder, name):
    """Whether a module is a file or a package directly in a folder."""
    file = getattr(sys.modules[name], "__file__", None)
    return isinstance(file, str) and Path(file).parent in (folder, folder / name)


TRIES = 50
"""How often code is interrupted, a tenth of a second apart, before the process is ended."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Interrupt the body after some time, as Ctrl-C would, or else end the process.

    Only the main thread can be interrupted; in others the body may take as long as it likes.

    Parameters
    ----------
    seconds : float
        How long it may take.

    Raises
    ------
    TooLongError
        In the line of the body that ran when its time was up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    late, done = threading.Event(), threading.Event()

    def handle(number, frame):
        if late.is_set():
            raise TooLongError
        if callable(before):  # else the shell that started the command has Ctrl-C ignored
            before(number, frame)

    def watch():
        if done.wait(seconds):
            return
        late.set()
        for _ in range(TRIES):  # an except of the learner's may swallow the first
            _thread.interrupt_main()  # a signal would not do: Windows has none for this
            if done.wait(0.1):
                return
        stack = traceback.extract_stack(sys._current_frames()[threading.main_thread().ident])
        home = Path(sys.path[0])  # see `at_home`
        own = [frame for frame in stack if Path(frame.filename).parent == home]
        where = f"{Path(own[-1].filename).name}, line {own[-1].lineno}: " if own else ""
        words = f"it still ran after {seconds} seconds, and nothing stops it: does it sleep, or"
        print(f"\n{where}{words} catch every exception? The command ends here.", file=sys.stderr)
        os._exit(1)

    before = signal.signal(signal.SIGINT, handle)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        try:
            yield
        finally:
            done.set()
            watcher.join()  # an interrupt that is under way comes now, and not later
    finally:
        done.set()
        signal.signal(signal.SIGINT, before)


def load(path: Path, source: bytes, name: str) -> Callable | Fault:
    """Run a file afresh and find a function, or a class, in it.

    Parameters
    ----------
    path : Path
        The file.
    source : bytes
        What is in it.
    name : str
        What it is called; classes begin with a capital letter.

    Returns
    -------
    callable or Fault
        The function or class, or why there is none.
    """
    module = types.ModuleType(MODULE)
    module.__file__ = str(path)
    try:
        # Compiled here and not imported: Python may have kept an older version's bytecode.
        code = compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        return Fault(f"{path.name}, line {error.lineno}: {one_line(error.msg)} (a syntax error).")
    except ValueError as error:  # a null byte, before Python 3.12
        return Fault(f"{path.name} cannot be read as Python: {one_line(error)}.")
    sys.modules[MODULE] = module  # dataclasses look their module up
    try:
        exec(code, module.__dict__)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Fault(raised(error, path))
    function = module.__dict__.get(name)
    if not callable(function):
        wanted = "class" if name[0].isupper() else "function"
        return Fault(f"{path.name} has no {wanted} {name}.")
    return function


def raised(error: BaseException, path: Path, words: str = "") -> str:
    """An exception with the last line of the learner's file that led to it.

    Parameters
    ----------
    error : BaseException
        What was raised.
    path : Path
        The learner's file.
    words : str
        What to say of it; by default its type and message.

    Returns
    -------
    str
        One line, and the learner's line as a second.
    """
    words = words or f"{type(error).__name__}: {shown(str, error)}".removesuffix(": ")
    words = one_line(words, most=400)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if not frames:
        return f"{path.name}: {words}"
    return f"{path.name}, line {frames[-1].lineno}: {words}\n{frames[-1].line or ''}".rstrip()


def shown(write: Callable[[Any], str], thing: object) -> str:
    """A learner's thing as text, though its own methods may raise anything.

    Parameters
    ----------
    write : callable
        Takes the thing and returns the text, such as ``repr``.
    thing : object
        What is to be shown.

    Returns
    -------
    str
        The text, or that there is none.
    """
    try:
        return write(thing)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "(cannot be shown)"


def call(
    function: Callable,
    path: Path,
    names: tuple[str, ...],
    arguments: dict,
    first: bool = False,
    given: dict | None = None,
) -> Outcome:
    """Call a learner's function with copies of its arguments.

    Parameters
    ----------
    function : callable
        From ``load``.
    path : Path
        Its file.
    names : tuple of str
        What it should return.
    arguments : dict
        By name, in order; they stay as they are.
    first : bool
        Whether it is the first call: only then NotImplementedError means a blank.
    given : dict, optional
        What it gets in the place of deep copies, where these would take too long.

    Returns
    -------
    Outcome
        What came of it.

    Raises
    ------
    NotWrittenError
        If the function is a blank as yet.
    """
    given = copy.deepcopy(arguments) if given is None else given
    try:
        with np.errstate(all="ignore"):  # what becomes NaN is seen in the results
            returned = function(*given.values())
            results = _results(returned, names)
    except KeyboardInterrupt:
        raise
    except FaultError as error:
        return Outcome(arguments, None, error.args[0]._replace(arguments=arguments))
    except BaseException as error:
        if first and isinstance(error, NotImplementedError):
            raise NotWrittenError from error
        return Outcome(arguments, None, Fault(raised(error, path), arguments))
    changed = [name for name in given if not _unchanged(given[name], arguments[name])]
    if changed:
        words = f"It changed {changed[0]}, which belongs to its caller."
        after = {f"{changed[0]} after the call": given[changed[0]]}
        return Outcome(arguments, None, Fault(words, arguments, after, IN_PLACE))
    if results is None:
        expected = f"{len(names)} things: {', '.join(names[:-1])} and {names[-1]}"
        words = f"It returned {what_is(returned)}; expected {expected}."
        return Outcome(arguments, None, Fault(words, arguments))
    return Outcome(arguments, results)


IN_PLACE = (
    "assignments to parts of it, x += ..., and methods such as sort or shuffle change the "
    "thing itself; a copy leaves it as it was."
)
"""The hint for an argument that was changed."""


def _results(returned, names):
    """What was returned, one thing for each name; None if there are more or fewer."""
    several = len(names) > 1 and isinstance(returned, (tuple, list))
    results = tuple(returned) if several else (returned,)
    for result in results:
        if inspect.iscoroutine(result):
            result.close()  # else Python warns that nobody awaited it
    if len(results) != len(names):
        return None
    # Copies, because the next call may use the same arrays again.
    return tuple(r.copy() if type(r) is np.ndarray else r for r in results)


def what_is(thing: Any) -> str:
    """Say what something is.

    Parameters
    ----------
    thing : object
        What was returned.

    Returns
    -------
    str
        Words that fit into a sentence.
    """
    kind = type(thing)  # isinstance would also ask the thing, which may answer anything
    if kind is types.CoroutineType:
        return "a coroutine (is there an async before the def?)"
    if thing is None:
        return "None (is the return missing?)"
    if kind in (tuple, list):
        return f"a {kind.__name__} of {len(thing)}"
    if kind is np.ndarray:
        return f"an array of shape {thing.shape}"
    if issubclass(kind, np.ndarray):
        return f"of type {kind.__name__}, which is more than an array"
    what = "the number" if _is_number(thing) else f"of type {kind.__name__}:"
    return f"{what} {shown(lambda item: one_line(item, most=40), thing)}"


def _unchanged(given, before):
    """Whether an argument is what it was before the call."""
    if given is before:  # a part of it that cannot be changed
        return True
    if type(given) is not type(before):
        return False
    if isinstance(before, np.ndarray):
        return np.array_equal(given, before) and given.dtype == before.dtype
    if isinstance(before, (tuple, list)):
        return len(given) == len(before) and all(map(_unchanged, given, before))
    return isinstance(before, np.random.Generator) or given == before


def close(actual: npt.ArrayLike, expected: npt.ArrayLike) -> bool:
    """Whether two arrays agree but for rounding.

    Parameters
    ----------
    actual, expected : array_like
        Of any shapes.

    Returns
    -------
    bool
        True if the shapes are the same and the numbers nearly so, NaN and NaN, too.
    """
    return np.shape(actual) == np.shape(expected) and np.allclose(
        actual, expected, rtol=1e-6, atol=1e-9, equal_nan=True
    )


def misfit(name: str, expected: npt.ArrayLike, actual: object, any_width: bool = False) -> str:
    """What is wrong with one result before its numbers are looked at.

    Parameters
    ----------
    name : str
        The result.
    expected : ndarray or float
        What is right.
    actual : object
        What was returned.
    any_width : bool
        Whether int64 is as good as int8, and float64 as float32.

    Returns
    -------
    str
        A sentence, empty if nothing is wrong.
    """
    wanted = np.asarray(expected)
    if type(actual) is not np.ndarray and (wanted.ndim or not _is_number(actual)):
        plain = "a plain array" if issubclass(type(actual), np.ndarray) else "an array"
        thing = f"{plain} of shape {wanted.shape}" if wanted.ndim else "a number"
        return f"{name} is {what_is(actual)}; expected {thing}."
    got = np.asarray(actual)
    if got.shape != wanted.shape:
        return f"{name} has shape {got.shape}; expected {wanted.shape}."
    if got.dtype != wanted.dtype and not (any_width and got.dtype.kind == wanted.dtype.kind):
        return f"{name} has dtype {got.dtype}; expected {wanted.dtype}."
    return f"{name} holds NaN, which is not a number." if np.isnan(got).any() else ""


def compare(name: str, expected: npt.ArrayLike, actual: Any, any_width: bool = False) -> str:
    """What is wrong with one result.

    Parameters
    ----------
    name, expected, actual, any_width : str, ndarray or float, object, bool
        As for ``misfit``.

    Returns
    -------
    str
        A sentence, empty if nothing is wrong.
    """
    words = misfit(name, expected, actual, any_width)
    if words:
        return words
    places, size = np.argwhere(differs(expected, actual)), np.size(expected)
    if len(places) == 0:
        return ""
    if size == 1:
        return f"{name} is wrong."
    if len(places) == size:
        return f"All {size} numbers of {name} are wrong."
    where = ", ".join(map(str, places[0]))
    return f"{name} is wrong in {len(places)} of its {size} numbers, first in {name}[{where}]."


def differs(expected: npt.ArrayLike, actual: npt.ArrayLike) -> np.ndarray:
    """Where two arrays of one shape differ.

    Parameters
    ----------
    expected, actual : array_like
        Numbers.

    Returns
    -------
    ndarray of bool
        True where they do by more than rounding, or one is NaN.
    """
    return ~np.isclose(actual, expected, rtol=1e-6, atol=1e-9)


def apart(name: str, expected: Any, actual: Any) -> dict[str, Any]:
    """Two arrays to be shown below each other, or the part where they first differ.

    Parameters
    ----------
    name : str
        What they are.
    expected, actual : array_like
        What is right, and what was returned.

    Returns
    -------
    dict of str to array_like
        Both by what they are called: whole if they have up to two axes, else the
        matrix in which they first differ, or nothing if their shapes do.
    """
    if np.ndim(expected) > 2:
        if not are_numbers(actual) or np.shape(expected) != np.shape(actual):
            return {}
        where = [*np.argwhere(differs(expected, actual)), np.zeros(np.ndim(expected), int)]
        place = tuple(int(index) for index in where[0][:-2])
        name = f"{name}[{', '.join(map(str, place))}]"
        expected, actual = expected[place], actual[place]
    return {f"expected {name}": expected, f"your {name}": actual}


def are_numbers(thing: object) -> bool:
    """Whether something is an array of real numbers, or one such number.

    Parameters
    ----------
    thing : object
        What was returned.

    Returns
    -------
    bool
        False for lists, too.
    """
    numbers = type(thing) is np.ndarray or _is_number(thing)
    return numbers and np.asarray(thing).dtype.kind in "fiub"


def _is_number(thing):
    return type(thing) in NUMBERS
