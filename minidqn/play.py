"""``python -m minidqn.play RUN``: the test games of a saved run, played again."""

import argparse
import sys
import time

from minidqn import cli, runs
from minidqn.checks import whole
from minidqn.evaluate import wins
from minidqn.recipe import load_run, reading_from
from minidqn.train import TEST_GAMES, play_test_games, save_pictures

__all__ = ["frame_text", "load_run", "main", "watch"]

MOST_GAMES = 10_000
"""Games that are kept in memory, at most, and drawn."""


def frame_text(frame, full="██", empty="· "):
    """A frame as lines of text, two characters a cell.

    Parameters
    ----------
    frame : ndarray [shape=(1, H, W)]
        Zeros and ones.
    full, empty : str
        What stands for a one and a zero.

    Returns
    -------
    list of str
        One a row.
    """
    return ["".join(full if pixel else empty for pixel in row) for row in frame[0]]


def watch(games, stream=None, frames_per_second=6):
    """Draw games in the terminal, each frame over the last; on a pipe, one below another.

    Parameters
    ----------
    games : list of (list of ndarray, int)
        Each game's frames and its last reward.
    stream : file object, optional
        Where to; stdout by default.
    frames_per_second : float
        Speed of play on a terminal.
    """
    stream = sys.stdout if stream is None else stream
    cells = {}
    try:
        "█·".encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        cells = {"full": "##", "empty": ". "}
    moving = stream.isatty()
    for number, (frames, reward) in enumerate(games, start=1):
        for count, frame in enumerate(frames):
            lines = frame_text(frame, **cells)
            if moving and (count or number > 1):
                stream.write(f"\x1b[{len(lines) + 1}A")  # cursor up, to draw over the last frame
            ended = ("caught" if reward > 0 else "missed") if frame is frames[-1] else ""
            title = f"game {number} of {len(games)} {ended}"
            stream.write("\n".join([title.ljust(30), *lines]) + "\n")
            stream.flush()
            if moving:
                time.sleep((4 if ended else 1) / frames_per_second)


def _parser():
    """The command line of ``python -m minidqn.play``."""
    parser = cli.Parser(
        prog="python -m minidqn.play",
        description="Play the test games of a saved run again, and draw them anew.",
    )
    parser.add_argument("run", type=runs.as_folder, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--games", type=int, default=TEST_GAMES, metavar="N",
        help=f"games to play (default: {TEST_GAMES})",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=runs.as_folder, metavar="FOLDER", default=argparse.SUPPRESS,
        help="folder for images/ and game.gif, which are replaced (default: RUN)",
    )  # fmt: skip
    parser.add_argument("--watch", action="store_true", help="draw the games in the terminal")
    parser.add_argument("--no-images", action="store_true", help="draw no pictures")
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
        Exit status 0.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        whole("--games", arguments.games, most=MOST_GAMES)
    except ValueError as error:
        parser.error(error)
    flag = "--out" if hasattr(arguments, "out") else "RUN"
    folder = getattr(arguments, "out", arguments.run)
    with reading_from(parser, arguments.run):
        settings, model = load_run(arguments.run)
    try:
        with cli.writing_to(parser, flag, folder):
            with cli.announce_compilation():
                won = wins(model, settings.grid_size)
            if arguments.no_images:
                games = play_test_games(model, settings, arguments.games)
            else:
                games = save_pictures(model, settings, folder, arguments.games)
    except MemoryError:
        parser.error(f"RUN {arguments.run}: its games do not fit into memory")
    if arguments.watch:
        watch(games)
    caught = sum(reward > 0 for _, reward in games)
    print(f"{caught} of {len(games)} games won; {won.sum()} of all {won.size} starts")
    if not arguments.no_images:
        print(f"pictures: {folder / runs.GIF}, {folder / runs.IMAGES}")
    return 0


if __name__ == "__main__":
    cli.run(main)
