"""A learner's function: loaded from its file, called, and what it returns held against the right.

The file is the learner's own and is run as any program of theirs is.
"""

import copy
import traceback
import types
from typing import NamedTuple

import numpy as np

from minidqn.checks import one_line

__all__ = [
    "Fault",
    "NotWrittenError",
    "Outcome",
    "apart",
    "are_numbers",
    "call",
    "close",
    "compare",
    "differs",
    "load",
    "misfit",
]


class NotWrittenError(Exception):
    """The function is a blank as yet."""


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
    results: tuple | None
    fault: Fault | None = None


def load(path, name):
    """Run a file afresh and find a function in it.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The function.

    Returns
    -------
    callable or Fault
        The function, or why there is none.
    """
    module = types.ModuleType("answer")
    module.__file__ = str(path)
    try:
        # Compiled here and not imported: Python may have kept an older version's bytecode.
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        return Fault(f"{path.name}, line {error.lineno}: {one_line(error.msg)} (a syntax error).")
    except ValueError as error:  # a null byte, before Python 3.12
        return Fault(f"{path.name} cannot be read as Python: {one_line(error)}.")
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        return Fault(_raised(error, path))
    function = getattr(module, name, None)
    if not callable(function):
        return Fault(f"{path.name} has no function {name}.")
    return function


def _raised(error, path):
    """An exception with the last line of the learner's file that led to it."""
    words = one_line(f"{type(error).__name__}: {error}".removesuffix(": "), most=400)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if not frames:
        return f"{path.name}: {words}"
    return f"{path.name}, line {frames[-1].lineno}: {words}\n{frames[-1].line or ''}".rstrip()


def call(function, path, names, arguments):
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

    Returns
    -------
    Outcome
        What came of it.

    Raises
    ------
    NotWrittenError
        If the function is a blank as yet.
    """
    given = copy.deepcopy(arguments)
    try:
        with np.errstate(all="ignore"):  # what becomes NaN is seen in the results
            returned = function(*given.values())
    except NotImplementedError as error:
        raise NotWrittenError from error
    except (Exception, SystemExit) as error:
        return Outcome(arguments, None, Fault(_raised(error, path), arguments))
    changed = [name for name in given if not _unchanged(given[name], arguments[name])]
    if changed:
        words = f"It changed {changed[0]}, which belongs to its caller."
        shown = {f"{changed[0]} after the call": given[changed[0]]}
        hint = "an assignment to x[...] and x += ... change the array itself; copy() makes another."
        return Outcome(arguments, None, Fault(words, arguments, shown, hint))
    results = (returned,) if len(names) == 1 else returned
    if not isinstance(results, (tuple, list)) or len(results) != len(names):
        expected = f"{len(names)} things: {', '.join(names[:-1])} and {names[-1]}"
        words = f"It returned {_kind(returned)}; expected {expected}."
        return Outcome(arguments, None, Fault(words, arguments))
    # Copies, because the next call may use the same arrays again.
    return Outcome(arguments, tuple(r.copy() if isinstance(r, np.ndarray) else r for r in results))


def _kind(thing):
    """What a thing is, in words that fit into a sentence."""
    if thing is None:
        return "None (is the return missing?)"
    if isinstance(thing, (tuple, list)):
        return f"a {type(thing).__name__} of {len(thing)}"
    if isinstance(thing, np.ndarray):
        return f"an array of shape {thing.shape}"
    what = "the number" if _is_number(thing) else f"of type {type(thing).__name__}:"
    return f"{what} {one_line(thing, most=40)}"


def _unchanged(given, before):
    """Whether an argument is what it was before the call."""
    if type(given) is not type(before):
        return False
    if isinstance(before, np.ndarray):
        return np.array_equal(given, before) and given.dtype == before.dtype
    if isinstance(before, (tuple, list)):
        return len(given) == len(before) and all(map(_unchanged, given, before))
    return isinstance(before, np.random.Generator) or given == before


def close(actual, expected):
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


def misfit(name, expected, actual, any_width=False):
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
    if not isinstance(actual, np.ndarray) and (wanted.ndim or not _is_number(actual)):
        thing = f"an array of shape {wanted.shape}" if wanted.ndim else "a number"
        return f"{name} is {_kind(actual)}; expected {thing}."
    got = np.asarray(actual)
    if got.shape != wanted.shape:
        return f"{name} has shape {got.shape}; expected {wanted.shape}."
    if got.dtype != wanted.dtype and not (any_width and got.dtype.kind == wanted.dtype.kind):
        return f"{name} has dtype {got.dtype}; expected {wanted.dtype}."
    return f"{name} holds NaN, which is not a number." if np.isnan(got).any() else ""


def compare(name, expected, actual, any_width=False):
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


def differs(expected, actual):
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


def apart(name, expected, actual):
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
        Both by what they are called: whole if they have up to two axes or are of
        different shapes, else the matrix in which they first differ.
    """
    same_kind = are_numbers(actual) and np.shape(expected) == np.shape(actual)
    if same_kind and np.ndim(expected) > 2:
        where = [*np.argwhere(differs(expected, actual)), np.zeros(np.ndim(expected), int)]
        place = tuple(int(index) for index in where[0][:-2])
        name = f"{name}[{', '.join(map(str, place))}]"
        expected, actual = expected[place], actual[place]
    return {f"expected {name}": expected, f"your {name}": actual}


def are_numbers(thing):
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
    numbers = isinstance(thing, (int, float, np.ndarray, np.number))
    return numbers and np.asarray(thing).dtype.kind in "fiub"


def _is_number(thing):
    return isinstance(thing, (int, float, np.number)) and not isinstance(thing, bool)
