"""Pictures: frames of games as PNG and GIF, and the learning curve.

matplotlib is imported when the first picture is drawn, since it takes longer to
import than to draw; no window is opened and no display is needed.
"""

import io
import os
from pathlib import Path

import numpy as np

from minidqn.checks import number
from minidqn.storage import atomic_write

__all__ = ["save_curve", "save_gif", "save_img"]

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


def save_curve(path, records):
    """Save the learning curve of a run: wins, distance from Q* and loss by epoch.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    records : iterable
        One for each epoch, with the attributes epoch, loss, wins, starts and
        q_error, of which wins and q_error are None where they were not measured.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    records = list(records)
    evaluated = [record for record in records if record.wins is not None]
    epochs = [record.epoch for record in evaluated]
    figure = Figure(figsize=(11, 3.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    by_wins, by_error, by_loss = figure.subplots(1, 3)
    by_wins.plot(epochs, [record.wins for record in evaluated], "o-", markersize=3, color="#0072b2")
    if evaluated:
        by_wins.axhline(evaluated[0].starts, color="0.6", linewidth=1, linestyle="--")
        by_wins.set_ylim(0, evaluated[0].starts * 1.05)
        by_wins.set_title(f"starts won by greedy play, of {evaluated[0].starts}")
    errors = [record.q_error for record in evaluated]
    by_error.plot(epochs, errors, "o-", markersize=3, color="#0072b2")
    by_error.set_ylim(bottom=0)
    by_error.set_title("mean |Q - Q*|, in units of reward")
    trained = [record for record in records if record.loss > 0]  # a log scale shows no zeros
    by_loss.plot(
        [record.epoch for record in trained],
        [record.loss for record in trained],
        color="#d55e00",
        linewidth=1,
    )
    if trained:
        by_loss.set_yscale("log")
    by_loss.set_title("loss, sum over an epoch")
    for axes in (by_wins, by_error, by_loss):
        axes.set_xlabel("epoch")
        axes.set_xlim(0, max((record.epoch for record in records), default=1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    with atomic_write(path) as file:
        file.write(picture.getvalue())
