"""What a check has found, in words and small arrays, 80 columns wide."""

import functools
import textwrap

import numpy as np

from minidqn.checks import one_line
from minidqn.exercises.answers import shown
from minidqn.exercises.checking import Verdict
from minidqn.exercises.course import Exercise

WIDTH = 79

INDENT = "  "


def report(exercise: Exercise, verdict: Verdict) -> str:
    """What is said to the learner.

    Parameters
    ----------
    exercise : Exercise
        The one that was checked.
    verdict : Verdict
        What came of it.

    Returns
    -------
    str
        One line, and more below it if something is wrong.
    """
    title = f"{exercise.number} {exercise.name}"
    if not verdict.written:
        return f"{title}: not written yet"
    fault = verdict.fault
    if fault is None:
        return f"{title}: right ({verdict.cases} cases)"
    words, *code = fault.words.split("\n")
    parts = [f"{title}: wrong", _paragraph(words)]
    parts += [INDENT * 2 + one_line(line, most=WIDTH - 8) for line in code]
    if fault.arguments:
        parts.append(f"{INDENT}The smallest input that shows it:")
        parts += _shown(fault.arguments)
    if fault.arrays:
        parts += ["", *_shown(fault.arrays)]
    if fault.hint:
        parts.append(_paragraph(f"Hint: {fault.hint}"))
    return "\n".join(parts)


def _paragraph(words):
    return textwrap.fill(words, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)


def _shown(things):
    """Lines that show things by their names, the signs of equality below each other."""
    longest = max(map(len, things))
    lines = []
    for name, thing in things.items():
        head = f"{INDENT * 2}{name.ljust(longest)} = "
        indent = " " * len(head)
        lines.append(head + shown(functools.partial(_text, indent=indent), thing))
    return lines


def _text(thing, indent):
    """An array or anything else, as it would be written; later lines begin with `indent`."""
    if isinstance(thing, np.random.Generator):
        return f"np.random.default_rng({thing.bit_generator.seed_seq.entropy})"
    if type(thing) is np.ndarray:
        return np.array2string(
            thing,
            max_line_width=WIDTH,
            prefix=indent,
            separator=", ",
            threshold=60,
            precision=6,
            suppress_small=True,
        )
    if isinstance(thing, list) and thing and all(isinstance(item, tuple) for item in thing):
        # Experiences, one a line.
        items = [", ".join(" ".join(_text(part, "").split()) for part in item) for item in thing]
        lines = [f"({item})" for item in items]
        return "[" + f",\n{indent} ".join(lines) + "]"
    words = repr(thing.item() if isinstance(thing, np.generic) else thing)
    return one_line(words, most=WIDTH - len(indent) - 4)
