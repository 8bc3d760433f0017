"""``python -m minidqn.play RUN``: the test games of a saved run, played again."""

import sys
import time
from collections.abc import Sequence
from typing import TextIO

import numpy as np

from minidqn import cli, runs
from minidqn.checks import whole
from minidqn.evaluate import wins
from minidqn.fruit import Fruit
from minidqn.pictures import save_games
from minidqn.train import TEST_GAMES, play_test_games

MOST_GAMES = 10_000
"""Games that are kept in memory, at most."""


CELLS = ("· ", "██", "▒▒", "░░")
PLAIN_CELLS = (". ", "##", "++", "--")
"""What stands for an empty cell, and for one of the first channel, of the second, ..."""


def frame_text(frame: np.ndarray, cells: Sequence[str] = CELLS) -> list[str]:
    """A frame as lines of text, two characters a cell.

    Parameters
    ----------
    frame : ndarray [shape=(C, H, W)]
        Numbers; those above 0 are shown.
    cells : sequence of str
        As `CELLS`; the last stands for all further channels. The first channel that is above
        0 counts.

    Returns
    -------
    list of str
        One a row.
    """
    on = frame > 0
    first = np.argmax([~on.any(axis=0), *on], axis=0)  # 0 where none is on
    return ["".join(cells[min(place, len(cells) - 1)] for place in row) for row in first]


def watch(
    games: Sequence[tuple[list[np.ndarray], object]],
    stream: TextIO | None = None,
    frames_per_second: float = 6,
) -> None:
    """Draw games in the terminal, each frame over the last; on a pipe, one below another.

    Parameters
    ----------
    games : list of (list of ndarray, object)
        Each game's frames, and how it ended, such as its return.
    stream : file object, optional
        Where to; stdout by default.
    frames_per_second : float
        Speed of play on a terminal.
    """
    stream, up = stream or sys.stdout, ""
    cells = CELLS if "utf" in (stream.encoding or "").lower() else PLAIN_CELLS
    for number, (frames, result) in enumerate(games, start=1):
        for count, frame in enumerate(frames, start=1):
            last = count == len(frames)
            title = f"game {number} of {len(games)} {result if last else ''}"
            lines = [title.ljust(30), *frame_text(frame, cells)]
            stream.write(up + "\n".join(lines) + "\n")
            stream.flush()
            if stream.isatty():
                up = f"\x1b[{len(lines)}A"  # the cursor, to draw the next frame over this one
                time.sleep((4 if last else 1) / frames_per_second)


def main(argv: list[str] | None = None) -> int:
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
    what = "Play the test games of a saved run again, and draw them anew."
    parser = cli.run_parser("play", what, "folder for images/ and game.gif, which are replaced")
    count = f"games to play (default: {TEST_GAMES})"
    parser.add_argument("--games", type=int, default=TEST_GAMES, metavar="N", help=count)
    parser.add_argument("--watch", action="store_true", help="draw the games in the terminal")
    parser.add_argument("--no-images", action="store_true", help="draw no pictures")
    arguments = parser.parse_args(argv)
    with cli.refusing(parser):
        whole("--games", arguments.games, most=MOST_GAMES)
    settings, model, game = cli.loaded_run(parser, arguments)
    with cli.writing_run(parser, arguments) as folder:
        with cli.announce_compilation():
            games = play_test_games(model, settings, arguments.games, game)
        if not arguments.no_images:
            save_games(folder, game, games)
    returns = [total for _, total in games]
    if arguments.watch:
        words = {1.0: "caught", -1.0: "missed"} if isinstance(game, Fruit) else {}
        watch([(frames, words.get(total, f"return {total:g}")) for frames, total in games])
    if isinstance(game, Fruit):
        won, caught = wins(model, game.grid_size), returns.count(1)
        print(f"{caught} of {len(games)} games won; {won.sum()} of all {won.size} starts")
    else:
        print(f"mean return of {len(games)} games: {sum(returns) / len(games):.2f}")
    if not arguments.no_images:
        print(f"pictures: {folder / runs.GIF}, {folder / runs.IMAGES}")
    return 0


if __name__ == "__main__":
    cli.run(main)
