"""One answer held against the cases of its exercise, and its mistake recognised."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidqn.exercises.answers import (
    Fault,
    NotWrittenError,
    TooLongError,
    apart,
    are_numbers,
    at_home,
    call,
    close,
    compare,
    limited,
    load,
    raised,
)
from minidqn.exercises.mistakes import MISTAKES
from minidqn.exercises.problems import PROBLEMS

MOST_SECONDS = 60
"""How long the check of one answer may take."""

ENDLESS = (
    "does a loop never end? A print inside shows what changes there from one round to the next. "
    "Mend it, and check again."
)
"""The hint for an answer that took longer."""


class Verdict(NamedTuple):
    """What is said of an answer.

    Attributes
    ----------
    written : bool
        Whether there is one.
    cases : int
        How many inputs it was tried with.
    fault : Fault or None
        What is wrong with it, if something is.
    """

    written: bool
    cases: int = 0
    fault: Fault | None = None

    @property
    def right(self) -> bool:
        return self.written and self.fault is None


def check(number: int, path: Path, source: bytes) -> Verdict:
    """Check the answer to an exercise.

    Parameters
    ----------
    number : int
        The exercise.
    path : Path
        The learner's file, absolute; it is run.
    source : bytes
        What is in it.

    Returns
    -------
    Verdict
        What is said of it.
    """
    with at_home(path):
        try:
            with limited(MOST_SECONDS):
                return _verdict(number, path, source)
        except NotWrittenError:
            return Verdict(False)
        except TooLongError as error:
            words = f"it still ran after {MOST_SECONDS} seconds, and was stopped."
            return Verdict(True, fault=Fault(raised(error, path, words), hint=ENDLESS))


def _verdict(number, path, source):
    """The verdict on an answer that is written, and comes to an end."""
    problem = PROBLEMS[number]
    answer = load(path, source, problem.function)
    if isinstance(answer, Fault):
        return Verdict(True, fault=answer)
    cases = problem.cases()
    fault = problem.answer and _fault(answer, path, problem, cases, MISTAKES[number])
    if fault is None and problem.check:
        fault = problem.check(answer, path, cases)
    return Verdict(True, len(cases), fault)


def _fault(answer, path, problem, cases, mistakes):
    """What is wrong in the first case that shows something."""
    use = functools.partial(problem.use, answer)
    outcomes = [
        call(use, path, problem.results, case, first=number == 0)
        for number, case in enumerate(cases)
    ]
    first = None
    for outcome in outcomes:
        if outcome.fault:  # such as an exception, whose cause the results of other cases may show
            first = first or outcome.fault
            if first.hint:
                return first
        elif fault := _wrong_result(problem, mistakes, outcome, outcomes):
            return (first or fault)._replace(hint=fault.hint)
    return first


def _wrong_result(problem, mistakes, outcome, outcomes):
    """The fault of the first result that is not what it should be."""
    expected = problem.answer(**outcome.arguments)
    for place, name in enumerate(problem.results):
        right, actual = expected[place], outcome.results[place]
        words = compare(name, right, actual)
        if words:
            hints = (m.hint for m in mistakes if _explains(m, place, outcome, outcomes))
            arrays = apart(name, right, actual)
            return Fault(words, outcome.arguments, arrays, next(hints, ""))
    return None


def _explains(mistake, place, shown, outcomes):
    """Whether a result is what the mistake gives, in the case shown and wherever both are."""
    others = (_gives(mistake, place, outcome) is not False for outcome in outcomes)
    return _gives(mistake, place, shown) and all(others)


def _gives(mistake, place, outcome):
    """Whether a result is what the mistake gives; None if one of them gives nothing."""
    if outcome.results is None:
        return None
    try:
        with np.errstate(all="ignore"):
            wrong = mistake.wrong(*outcome.arguments.values())[place]
    except (ValueError, IndexError):  # the mistake cannot take shapes like these
        return None
    actual = outcome.results[place]
    return wrong is not None and are_numbers(actual) and close(actual, wrong)
