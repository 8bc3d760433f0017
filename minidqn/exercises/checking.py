"""One answer held against the cases of its exercise, and its mistake recognised."""

from typing import NamedTuple

import numpy as np

from minidqn.exercises.answers import (
    Fault,
    NotWrittenError,
    apart,
    are_numbers,
    at_home,
    call,
    close,
    compare,
    load,
)
from minidqn.exercises.mistakes import MISTAKES
from minidqn.exercises.problems import PROBLEMS
from minidqn.exercises.sampling import check_samples


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
    def right(self):
        return self.written and self.fault is None


def check(number, path, source):
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
    problem = PROBLEMS[number]
    with at_home(path):
        function = load(path, source, problem.function)
        if isinstance(function, Fault):
            return Verdict(True, fault=function)
        try:
            if problem.answer is None:
                return Verdict(True, *check_samples(function, path))
            return Verdict(True, *_check_results(function, path, problem, MISTAKES[number]))
        except NotWrittenError:
            return Verdict(False)


def _check_results(function, path, problem, mistakes):
    """How many cases there are, and the fault in the first that has one."""
    outcomes = [
        call(function, path, problem.results, case, first=number == 0)
        for number, case in enumerate(problem.cases())
    ]
    for outcome in outcomes:
        fault = outcome.fault or _fault(problem, outcome)
        if fault:
            hint = fault.hint or _hint(problem, mistakes, outcomes)
            return len(outcomes), fault._replace(hint=hint)
    return len(outcomes), None


def _fault(problem, outcome):
    """The first result that is not what it should be."""
    expected = problem.answer(**outcome.arguments)
    for name, right, actual in zip(problem.results, expected, outcome.results, strict=True):
        words = compare(name, right, actual)
        if words:
            return Fault(words, outcome.arguments, apart(name, right, actual))
    return None


def _hint(problem, mistakes, outcomes):
    """The hint of the first mistake that explains a wrong result in all cases."""
    outcomes = [outcome for outcome in outcomes if outcome.results is not None]
    for result in range(len(problem.results)):
        for mistake in mistakes:
            if _explains(mistake, result, problem, outcomes):
                return mistake.hint
    return ""


def _explains(mistake, result, problem, outcomes):
    """Whether a result is what the mistake gives, in all cases, and wrong in one."""
    wrong_somewhere = False
    for outcome in outcomes:
        actual, given = outcome.results[result], list(outcome.arguments.values())
        try:
            with np.errstate(all="ignore"):
                wrong = mistake.wrong(*given)[result]
        except (ValueError, IndexError):  # the mistake cannot take shapes like these
            continue
        if wrong is None or not are_numbers(actual) or not close(actual, wrong):
            return False
        right = problem.answer(**outcome.arguments)[result]
        wrong_somewhere = wrong_somewhere or not close(wrong, right)
    return wrong_somewhere
