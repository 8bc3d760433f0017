"""``python -m minidqn.exercises``: the blanks copied, the answers checked, the list of all."""

import argparse
import shlex
from pathlib import Path

from minidqn import cli
from minidqn.exercises.checking import check
from minidqn.exercises.course import copy_blanks, exercises
from minidqn.exercises.report import report

COMMAND = "python -m minidqn.exercises"


def _number(text):
    """An exercise's number from the command line, or "all"."""
    if text != "all" and text not in map(str, exercises()):
        numbers = f"{min(exercises())} to {max(exercises())}"
        raise argparse.ArgumentTypeError(f"{text!r} is no exercise; expected {numbers}, or all")
    return text if text == "all" else int(text)


def _parser():
    """The command line."""
    parser = cli.Parser(prog=COMMAND, description="The exercises of the course.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="start|check|list")
    start = commands.add_parser("start", help="copy the blanks into a folder of your own")
    start.add_argument("folder", type=cli.as_folder, metavar="FOLDER", help="made if missing")
    checks = commands.add_parser("check", help="say what is right, and what is not")
    checks.add_argument(
        "numbers", type=_number, nargs="+", metavar="N", help="numbers of exercises, or all"
    )
    checks.add_argument(
        "--folder", type=cli.as_folder, default=Path(), metavar="FOLDER",
        help="where your answers are (default: here)",
    )  # fmt: skip
    commands.add_parser("list", help="what there is to write")
    return parser


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, or 1 if an answer is wrong or not written yet.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "start":
        return _start(parser, arguments.folder)
    if arguments.command == "check":
        return _check(parser, arguments.numbers, arguments.folder)
    for exercise in exercises().values():
        minutes = f"{exercise.minutes} min"
        print(f"{exercise.number:>2}  {exercise.title}")
        print(f"    {exercise.file}, {minutes}, chapter {exercise.chapter}")
    return 0


def _start(parser, folder):
    """Copy the blanks, and say what to do with them."""
    try:
        copies = copy_blanks(folder)
    except FileExistsError as error:
        parser.error(error)
    except OSError as error:
        parser.error(f"FOLDER {folder} cannot be written to: {error.strerror}")
    print(f"{len(copies) - 1} exercises and their README.md are in {folder}.")
    print(f"Write the function in {copies[0]}, then have it checked:")
    print(f"    {COMMAND} check 1 --folder {shlex.quote(str(folder))}")
    return 0


def _check(parser, numbers, folder):
    """Check some answers, and say what came of it."""
    known = exercises()
    if "all" in numbers:
        numbers = known
    chosen = [known[number] for number in dict.fromkeys(numbers)]
    for exercise in chosen:
        _demand(parser, folder / exercise.file)
    home = folder.resolve()  # an answer may go to another folder, and stay there
    right = 0
    for exercise in chosen:
        try:
            source = (home / exercise.file).read_bytes()
        except OSError as error:
            parser.error(f"cannot read {folder / exercise.file}: {error.strerror}")
        with cli.announce_compilation():
            verdict = check(exercise.number, home / exercise.file, source)
        print(report(exercise, verdict), flush=True)
        right += verdict.right
    if len(chosen) > 1:
        print(f"{right} of {len(chosen)} right")
    return 0 if right == len(chosen) else 1


def _demand(parser, path):
    """End the program if there is no such file."""
    if path.is_dir():
        parser.error(f"{path} is a folder; expected a file")
    if not path.is_file():
        parser.error(
            f"there is no {path}; '{COMMAND} start my_folder' copies the blanks, and "
            "'--folder my_folder' says where they are"
        )


if __name__ == "__main__":
    cli.run(main)
