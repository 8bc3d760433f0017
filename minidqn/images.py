"""Frames of games as PNG and GIF; ``python -m minidqn.images RUN`` draws a run's charts.

matplotlib is imported when the first picture is drawn, since it takes longer to
import than to draw; no window is opened and no display is needed.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from minidqn import cli, runs
from minidqn.charts import save_charts
from minidqn.checks import number
from minidqn.recipe import load_run, reading_from
from minidqn.storage import atomic_write

__all__ = ["main", "save_gif", "save_img"]

SIDE = 240
"""Pixels on the side of a picture, about."""

# Okabe and Ito's palette: told apart by the colour-blind and in greyscale.
BACKGROUND, FRUIT, BASKET = (18, 28, 46), (230, 159, 0), (86, 180, 233)
LINE = (38, 52, 76)


def frame_pixels(frame):
    """A frame as a picture: one square a cell, the last row in another colour.

    Parameters
    ----------
    frame : array_like [shape=(1, H, W) or (H, W)]
        Numbers from 0 (background) to 1 (full colour).

    Returns
    -------
    ndarray [shape=(H * cell, W * cell, 3)], uint8
        Red, green and blue; a cell is as many pixels wide as make a picture of
        about 240.

    Raises
    ------
    ValueError
        If it is of another shape, or holds a number outside [0, 1].
    """
    frame = np.asarray(frame, np.float64)
    if frame.ndim not in (2, 3) or (frame.ndim == 3 and len(frame) != 1) or frame.size == 0:
        raise ValueError(f"frame has shape {frame.shape}; expected (1, H, W) or (H, W)")
    if not ((frame >= 0) & (frame <= 1)).all():
        raise ValueError("frame holds numbers outside [0, 1]")
    grid = frame.reshape(*frame.shape[-2:], 1)
    colour = np.full((len(grid), 1, 3), FRUIT)
    colour[-1] = BASKET
    cells = BACKGROUND + grid * (colour - BACKGROUND)
    cell = max(2, SIDE // max(grid.shape))
    pixels = np.rint(cells).astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)
    if cell >= 6:  # lines between smaller cells would be most of the picture
        pixels[::cell] = pixels[:, ::cell] = LINE
    return pixels


def save_img(directory="images"):
    """Save frames as 000.png, 001.png, ..., as a coroutine.

    ``next(saver)`` once, then ``saver.send(frame)`` for each frame.

    Parameters
    ----------
    directory : path-like
        Where to; made if it is not there. Pictures of the same number are
        replaced.

    Yields
    ------
    Path or None
        The file written for the frame sent; None at first.

    Raises
    ------
    ValueError
        If a frame is not a picture, from ``send``, which ends the coroutine.
    OSError
        If the directory cannot be made or written to, from ``next`` or ``send``.

    Examples
    --------
    >>> import tempfile
    >>> saver = save_img(tempfile.mkdtemp())
    >>> next(saver)
    >>> saver.send(np.eye(5)).name
    '000.png'
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    frame = yield None
    from matplotlib.image import imsave

    count = 0
    while True:
        path = directory / f"{count:03d}.png"
        pixels = frame_pixels(frame)
        with atomic_write(path) as file:
            imsave(file, pixels, format="png")
        count += 1
        frame = yield path


def save_gif(path, games, frames_per_second=5):
    """Save games as one animation that repeats forever; each game's end is held.

    Parameters
    ----------
    path : path-like
        The file to make or to replace; its name must end in .gif.
    games : iterable of iterable of ndarray [shape=(1, H, W)]
        The frames of each game, all of one shape.
    frames_per_second : float
        Speed of play.

    Raises
    ------
    ValueError
        If the name does not end in .gif, there are no frames, they differ in
        shape, one is not a picture, or the speed is not above 0.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"path is {str(path)!r}; expected a name that ends in .gif")
    pictures = []
    for game in games:
        pictures += [frame_pixels(frame) for frame in game]
        pictures += pictures[-1:] * 3
    if len({picture.shape for picture in pictures}) != 1:
        raise ValueError("games holds no frames, or frames of several shapes; expected one shape")
    number("frames_per_second", frames_per_second, "(0, inf)")
    from matplotlib.animation import PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width, _ = pictures[0].shape
    figure = Figure(figsize=(width, height), dpi=1)  # an inch a pixel: nothing is resampled
    FigureCanvasAgg(figure)
    picture = figure.figimage(pictures[0])
    writer = PillowWriter(fps=frames_per_second)
    # The writer wants a name, and takes the format from its ending.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.gif")
    try:
        with writer.saving(figure, temporary, dpi=1):
            for pixels in pictures:
                picture.set_data(pixels)
                writer.grab_frame()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _parser():
    """The command line of ``python -m minidqn.images``."""
    parser = cli.Parser(
        prog="python -m minidqn.images",
        description="Draw what a saved run has learned: its curve, wins, values and filters.",
    )
    parser.add_argument("run", type=runs.as_folder, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--out", type=runs.as_folder, metavar="FOLDER", default=argparse.SUPPRESS,
        help=f"folder for {', '.join(runs.CHARTS)}, which are replaced (default: RUN)",
    )  # fmt: skip
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
    with reading_from(parser, arguments.run):
        settings, model = load_run(arguments.run)
        records = runs.read_metrics(arguments.run)
    flag = "--out" if hasattr(arguments, "out") else "RUN"
    folder = getattr(arguments, "out", arguments.run)
    try:
        with cli.writing_to(parser, flag, folder):
            folder.mkdir(parents=True, exist_ok=True)
            with cli.announce_compilation():
                written = save_charts(folder, model, settings, records)
    except MemoryError:
        parser.error(f"RUN {arguments.run}: its values do not fit into memory")
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    cli.run(main)
