"""The blanks: where they are, what their statements say, how they are copied."""

import ast
import contextlib
import importlib.resources
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from minidqn.storage import atomic_write

HEAD = re.compile(
    r"Exercise (?P<number>\d+): (?P<title>[^\n]+)\.\n\n"
    r"Chapter (?P<chapter>\d, [^(]+) \(docs/[\w/.-]+\)\. About (?P<minutes>\d+) minutes\.\n"
)
"""How every statement begins."""


class Exercise(NamedTuple):
    """What the statement of a blank says of it.

    Attributes
    ----------
    number : int
        From 1.
    file : str
        Name of the blank, such as "e1_frame.py".
    title : str
        What is to be written.
    chapter : str
        Number and title of the chapter that it belongs to.
    minutes : int
        How long it may take.
    """

    number: int
    file: str
    title: str
    chapter: str
    minutes: int

    @property
    def name(self) -> str:
        return Path(self.file).stem.split("_", 1)[1]


def _blanks():
    """The folder of the blanks: beside this file in a wheel, in docs/ of a checkout."""
    installed = importlib.resources.files("minidqn.exercises") / "blanks"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "docs" / "exercises"


def exercises() -> dict[int, Exercise]:
    """All exercises, as their blanks describe them.

    Returns
    -------
    dict of int to Exercise
        By number, in order.

    Examples
    --------
    >>> exercises()[3].title
    'the dense layer, backwards'
    """
    found = []
    for blank in _blanks().iterdir():
        if re.fullmatch(r"e\d+_\w+\.py", blank.name):
            statement: Any = ast.get_docstring(ast.parse(blank.read_text(encoding="utf-8")))
            head: Any = HEAD.match(statement)
            number, minutes = int(head["number"]), int(head["minutes"])
            found.append(Exercise(number, blank.name, head["title"], head["chapter"], minutes))
    return {exercise.number: exercise for exercise in sorted(found)}


def copy_blanks(folder: Path) -> list[Path]:
    """Copy all blanks and their README, or nothing.

    Parameters
    ----------
    folder : Path
        Where to; made if it is missing.

    Returns
    -------
    list of Path
        The copies.

    Raises
    ------
    FileExistsError
        If one of the files is there already.
    OSError
        If the folder cannot be written to.
    """
    sources = _blanks()
    copies = [folder / exercise.file for exercise in exercises().values()] + [folder / "README.md"]
    for path in copies:
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists, and is not overwritten; nothing was copied")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for path in copies:
            with atomic_write(path) as file:
                file.write((sources / path.name).read_bytes())
    except OSError:
        for path in copies:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    return copies
