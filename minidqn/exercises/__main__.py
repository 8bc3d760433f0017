"""``python -m minidqn.exercises``: blanks copied, answers checked, a training on the answers."""

import argparse
import errno
import os
import shlex
import textwrap
import time
import traceback
from pathlib import Path

from minidqn import cli, runs, storage
from minidqn.checks import whole
from minidqn.exercises import fitting
from minidqn.exercises.answers import TooLongError, at_home, raised
from minidqn.exercises.checking import MOST_SECONDS, check
from minidqn.exercises.course import copy_blanks, exercises
from minidqn.exercises.problems import PROBLEMS
from minidqn.exercises.report import WIDTH, report
from minidqn.exercises.training import EPOCH_SECONDS, first_step, forecast, train
from minidqn.games import GameError
from minidqn.runs import Settings
from minidqn.train import DivergenceError, play_test_games

COMMAND = cli.as_typed("exercises")

PICTURES = "run"
"""The folder of what a training leaves, in that of the answers."""

LEFT = {*runs.FILES, runs.IMAGES} - {runs.CHECKPOINT, runs.PREVIOUS}
"""Names of what may be in it; a run with checkpoints was made by another command."""


def _number(text):
    """An exercise's number from the command line, or "all"."""
    if text != "all" and text not in map(str, exercises()):
        numbers = f"{min(exercises())} to {max(exercises())}"
        raise argparse.ArgumentTypeError(f"{text!r} is no exercise; expected {numbers}, or all")
    return text if text == "all" else int(text)


def _parser():
    """The command line."""
    first = f"To begin: {COMMAND} start my_folder"
    parser = cli.Parser(prog=COMMAND, description="The exercises of the course.", epilog=first)
    commands = parser.add_subparsers(dest="command", metavar="start|check|train|list")
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
    trains = commands.add_parser("train", help="train the network on your own functions")
    trains.add_argument(
        "folder", type=cli.as_folder, nargs="?", default=Path(), metavar="FOLDER",
        help="where your answers are (default: here)",
    )  # fmt: skip
    for name, words in ("epochs", "episodes to play, one an epoch"), ("seed", "0 or more"):
        default = getattr(Settings, name)
        words += f" (default: {default})"
        trains.add_argument(f"--{name}", type=int, default=default, metavar="N", help=words)
    commands.add_parser("list", help="what there is to write")
    return parser


def main(argv: list[str] | None = None) -> int:
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
    if arguments.command is None:
        parser.print_help()
        return 0
    if arguments.command == "start":
        return _start(parser, arguments.folder)
    if arguments.command == "check":
        return _check(parser, arguments.numbers, arguments.folder)
    if arguments.command == "train":
        return _train(parser, arguments)
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
        source = _source(parser, folder, home / exercise.file)
        with cli.announce_compilation():
            verdict = check(exercise.number, home / exercise.file, source)
        print(report(exercise, verdict), flush=True)
        right += verdict.right
    if len(chosen) > 1:
        print(f"{right} of {len(chosen)} right")
    return 0 if right == len(chosen) else 1


def _source(parser, folder, path):
    """What is in a file of a learner's folder."""
    try:
        with storage.open_regular(path) as file:
            return file.read()
    except OSError as error:
        parser.error(f"cannot read {folder / path.name}: {error.strerror}")


def _train(parser, arguments):
    """Train the network on the learner's functions, and say what came of it."""
    began, folder = time.perf_counter(), arguments.folder
    with cli.refusing(parser):
        epochs, seed = whole("--epochs", arguments.epochs), whole("--seed", arguments.seed, 0)
        settings = Settings(epochs=epochs, seed=seed)
    chosen = [exercises()[number] for number in fitting.NUMBERS]
    home = folder.resolve()
    sources = {
        exercise: _source(parser, folder, home / exercise.file)
        for exercise in chosen
        if (home / exercise.file).exists()
    }
    if not sources:
        files = f"{chosen[0].file} to {chosen[-1].file}"
        parser.error(f"{folder} has none of {files}; '{COMMAND} start my_folder' copies the blanks")
    with cli.writing_to(parser, "FOLDER", folder / PICTURES):
        out = runs.subfolder(home, PICTURES)
        names = {path.name for path in out.iterdir()} if out.exists() else set()
        if any(not name.startswith(".") for name in names - LEFT):
            raise OSError(errno.ENOTEMPTY, "it holds other files than those of a training")
        if not os.access(home, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with at_home(home / chosen[0].file):
        own = _table(folder, home, chosen, sources, settings)
        try:
            result = _trained(own, settings, out)
        except TooLongError as error:
            parser.error(f"the training has ended: {_where(error, home, chosen)}", 1)
        except (fitting.AnswerError, DivergenceError, GameError) as error:
            parser.error(f"the training has ended: {error}", 1)
        except OSError as error:
            parser.error(f"writing to {folder / PICTURES} failed: {error}", 1)
    print(f"{result}, in {cli.clock(time.perf_counter() - began)} min")
    print(f"pictures: {folder / PICTURES}; to see it play:")
    print(f"    {cli.as_typed('page', folder / PICTURES)}")
    return 0


def _where(error, home, chosen):
    """Which of the learner's lines ran on and on."""
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    paths = [home / exercise.file for exercise in chosen if str(home / exercise.file) in files]
    words = f"an epoch still ran after {EPOCH_SECONDS} seconds, and was stopped."
    return raised(error, paths[0], words) if paths else words


def _table(folder, home, chosen, sources, settings):
    """Say whose each function is; the learner's by name, None for ours."""
    own, wrong = {}, []
    print(f"The functions of this training, checked and tried (in {MOST_SECONDS} s each at most):")
    for exercise in chosen:
        print(f"  {exercise.number}  {PROBLEMS[exercise.number].function:<22}", end="", flush=True)
        name, path = PROBLEMS[exercise.number].function, home / exercise.file
        part = fitting.prepare(exercise.number, path, sources.get(exercise), settings)
        own[name] = part.own
        print(part.words, flush=True)
        if part.why:
            indent = " " * 5
            print(textwrap.fill(part.why, WIDTH, initial_indent=indent, subsequent_indent=indent))
        elif part.words == fitting.WRONG:
            wrong.append(str(exercise.number))
    if wrong:
        where = f" --folder {shlex.quote(str(folder))}" * (folder != Path())
        print(f"To see what is wrong: {COMMAND} check {' '.join(wrong)}{where}")
    return own


def _trained(own, settings, out):
    """Run the training and draw its pictures; how good the network is."""
    from minidqn.pictures import save_charts, save_games

    if first_step(settings) <= settings.epochs:
        print("Measuring a learning step ...", flush=True)
        with cli.announce_compilation():
            step, whole_run = forecast(own, settings)
        minutes = f"{settings.epochs} epochs about {cli.clock(whole_run)} min"
        print(f"It takes {1000 * step:.0f} ms, and so {minutes}.", flush=True)
    game, model, loop = train(own, settings)
    progress, records = cli.Progress(settings), []
    progress.EVERY_EPOCHS = 25  # they may be slow
    for record in loop:
        records.append(record)
        progress.show(record)
    played = play_test_games(model, settings, game=game)
    out.mkdir(exist_ok=True)
    runs.clear(out)  # also a page, or an export, of the network before
    # A run like any other, so that `play`, `images` and `page` take it: the weights are those
    # of the recipe's own network, in float32.
    network = settings.q_network(game)
    network.set_weights(model.get_weights())
    network.save_weights(out / runs.WEIGHTS)
    runs.write_config(out, settings, game)
    with runs.MetricsWriter(out, records):
        pass  # it writes what has been
    save_games(out, game, played)
    save_charts(out, model, game, settings, records, played)
    last = records[-1]
    if not last.updates:
        first = f"the first comes with {settings.batch_size} experiences"
        cli.tell(f"no learning step was made in {last.steps} steps; {first}")
    return f"{last.wins} of {last.starts} starts won, mean |Q - Q*| {last.q_error:.3f}"


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
