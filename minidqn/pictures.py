"""Pictures of a run: its frames as PNG and GIF, and matplotlib figures of what it has learned.

matplotlib is imported when the first picture is drawn, since it takes longer to
import than to draw. No window is opened, no display is needed, and what a user has set for
other figures does not count. Colours are told apart by the colour-blind and in greyscale:
the map of colours, cividis, is the brighter the larger the number. The same input gives the
same bytes.
"""

import contextlib
import io
import math
import os
from pathlib import Path

import numpy as np

from minidqn import runs
from minidqn.checks import finite, number, whole
from minidqn.evaluate import q_table, wins
from minidqn.exact import q_star
from minidqn.fruit import Fruit
from minidqn.storage import atomic_write

__all__ = [
    "frame_pixels", "save_charts", "save_curve", "save_feature_maps", "save_filters",
    "save_games", "save_gif", "save_img", "save_pictures", "save_values", "save_wins",
]  # fmt: skip

SIDE = 240
"""Pixels on the side of a frame's picture, about."""

MOST_FRAMES = 500
"""Frames that are drawn, at most: a game may have thousands."""

DPI = 100
"""Pixels to matplotlib's inch."""

COLOURS = "cividis"

MOST = 1e100
"""What an axis reaches to, at most: matplotlib's own arithmetic overflows beyond."""

# Okabe and Ito's palette: told apart by the colour-blind and in greyscale.
BLUE, VERMILION = "#0072b2", "#d55e00"
WON, LOST = "#cfe6f5", "#12395b"
BACKGROUND, LINE = (18, 28, 46), (38, 52, 76)
CHANNELS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Colour of a frame's first channel, of its second, ...; then they come again."""


@contextlib.contextmanager
def _matplotlib():
    """matplotlib as it comes, whatever the user or a notebook has set for other figures."""
    backend = os.environ.pop("MPLBACKEND", None)  # it is looked at as matplotlib is imported
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def frame_pixels(frame):
    """A frame as a picture: one square a cell, each channel in its colour, the first on top.

    Parameters
    ----------
    frame : array_like [shape=(C, H, W) or (H, W)]
        Numbers from 0 (background) to 1 (full colour), or to the frame's greatest number if
        that is more; numbers below 0 count as 0. Three channels of uint8 are red, green and
        blue.

    Returns
    -------
    ndarray [shape=(H * cell, W * cell, 3)], uint8
        Red, green and blue; a cell is as many pixels wide as make a picture of
        about 240.

    Raises
    ------
    ValueError
        If it is of another shape, or holds a number that is not finite.
    """
    frame = np.asarray(frame)
    if frame.ndim not in (2, 3) or frame.size == 0:
        raise ValueError(f"frame has shape {frame.shape}; expected (C, H, W) or (H, W)")
    finite("frame", frame)
    frame = frame.reshape(-1, *frame.shape[-2:])
    if frame.dtype == np.uint8 and len(frame) == 3:
        cells = np.moveaxis(frame, 0, -1)
    else:
        cells = np.full((*frame.shape[1:], 3), BACKGROUND, np.float64)
        for channel, share in reversed(list(enumerate(frame / max(1, frame.max())))):
            colour = np.array(CHANNELS[channel % len(CHANNELS)])
            cells += np.maximum(share, 0)[..., np.newaxis] * (colour - cells)
    cell = max(2, SIDE // max(cells.shape))
    pixels = np.rint(cells).astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)
    if cell >= 6:  # lines between smaller cells would be most of the picture
        pixels[::cell] = pixels[:, ::cell] = LINE
    return pixels


@contextlib.contextmanager
def _figure(width, height, path):
    """An empty figure of so many pixels, to be filled and then saved, whole or not at all."""
    with _matplotlib():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        # A little more: matplotlib before 3.11 rounds down what is a hair less.
        size = (width + 0.01) / DPI, (height + 0.01) / DPI
        figure = Figure(figsize=size, dpi=DPI)
        FigureCanvasAgg(figure)
        yield figure
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
    with atomic_write(path) as file:
        file.write(picture.getvalue())


def _count_along(axis):
    """Ticks at whole numbers only, and not too many."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))


def _of_starts(axes, table, **look):
    """Draw a table [shape=(G, G - 2)] over the fruit's column and the basket's centre."""
    columns, places = table.shape
    extent = (-0.5, columns - 0.5, 0.5, places + 0.5)
    image = axes.imshow(
        table.T, origin="lower", extent=extent, aspect="auto", interpolation="nearest", **look
    )
    _count_along(axes.xaxis)
    _count_along(axes.yaxis)
    return image


def save_pictures(folder, model, game, settings, records, played):
    """Save all pictures of a run under the names that ``runs`` has for them.

    Parameters
    ----------
    folder : Path
        Where they go.
    model, game, settings, records
        The run's.
    played : list of (list of ndarray, float)
        Games as ``train.play_test_games`` has them; frames beyond the first `MOST_FRAMES`
        are left out.

    Raises
    ------
    OSError
        If one cannot be written.
    """
    save_games(folder, game, played)
    frames = played[0][0]
    save_charts(folder, model, game, settings, records, frames[len(frames) // 2])


def save_games(folder, game, played):
    """Save the frames of games as images/000.png, images/001.png, ... and game.gif.

    Parameters
    ----------
    folder, game, played
        As for `save_pictures`.

    Raises
    ------
    OSError
        If one cannot be written.
    """
    runs.remove_images(folder)
    saver, left, shown = save_img(runs.subfolder(folder, runs.IMAGES)), MOST_FRAMES, []
    next(saver)
    for frames, _ in played:
        shown.append([game.picture(frame) for frame in frames[:left]])
        left -= len(shown[-1])
        for frame in shown[-1]:
            saver.send(frame)
    save_gif(folder / runs.GIF, filter(None, shown))


def save_charts(folder, model, game, settings, records, frame):
    """Save all figures of a run under the names that ``runs`` has for them.

    Parameters
    ----------
    folder : Path
        Where they go.
    model : Sequential
        The run's network.
    game : Game
        The run's.
    settings : Settings
        The run's.
    records : list of Record
        One for each epoch.
    frame : ndarray [shape=(C, H, W)]
        Of the game, to see what convolutions make of it.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    OSError
        If one cannot be written.
    """
    written = [runs.CURVE]
    save_curve(folder / runs.CURVE, records)
    if isinstance(game, Fruit):
        written += [runs.WINS, runs.VALUES]
        save_wins(folder / runs.WINS, wins(model, game.grid_size))
        exact = q_star(game.grid_size, settings.gamma)
        save_values(folder / runs.VALUES, q_table(model, game.grid_size), exact)
    if settings.filters:
        written += [runs.FILTERS, runs.FEATURES]
        save_filters(folder / runs.FILTERS, model.layers[0].kernel)
        outputs = model.layer_outputs(frame[np.newaxis])
        maps = [(name, y[0]) for name, y in outputs.items() if y.ndim == 4]
        save_feature_maps(folder / runs.FEATURES, frame_pixels(game.picture(frame)), maps)
    return [folder / name for name in written]


def save_curve(path, records):
    """Save the learning curve of a run by epoch: what greedy play earns, and the loss.

    A run that knows its wins and its distance from Q* shows these.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    records : list of Record
        One for each epoch.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    evaluated = [record for record in records if record.mean_return is not None]
    trained = [record for record in records if record.loss > 0]  # a log scale shows no zeros
    panels = [("mean return of greedy play, in units of reward", "mean_return", evaluated)]
    if evaluated and evaluated[0].wins is not None:
        panels = [(f"starts won by greedy play, of {evaluated[0].starts}", "wins", evaluated)]
        panels += [("mean |Q - Q*|, in units of reward", "q_error", evaluated)]
    panels += [("loss, sum over an epoch", "loss", trained)]
    with _figure(1100, 340, path) as figure:
        from matplotlib.ticker import MaxNLocator

        figure.subplots_adjust(left=0.05, right=0.975, bottom=0.15, top=0.9, wspace=0.28)
        for axes, (title, name, shown) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            look = {"color": BLUE, "marker": "o", "markersize": 3}
            if name == "loss":
                look = {"color": VERMILION, "linewidth": 1}
            values = np.array([getattr(record, name) for record in shown], float)
            values = values.clip(-MOST, MOST)
            axes.plot([record.epoch for record in shown], values, **look)
            if name == "wins":
                starts = evaluated[0].starts
                axes.axhline(starts, color="0.6", linewidth=1, linestyle="--")
                axes.set_ylim(0, starts * 1.05)
            elif name == "q_error":
                axes.set_ylim(bottom=0)
            elif name == "loss" and trained:
                axes.set_yscale("log")
            axes.set_title(title, fontsize=11)
            axes.set_xlabel("epoch")
            axes.set_xlim(0, max((record.epoch for record in records), default=1))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)


def save_wins(path, won):
    """Save a map of the starts that greedy play wins; those that it loses have a cross.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    won : array_like of bool [shape=(G, G - 2)]
        As ``evaluate.wins`` returns it.

    Raises
    ------
    ValueError
        If it is of another shape or dtype.
    OSError
        If the file cannot be written.
    """
    won = np.asarray(won)
    if won.dtype != bool or won.ndim != 2 or won.shape[0] != won.shape[1] + 2 or won.size == 0:
        raise ValueError(
            f"won is {won.dtype} of shape {won.shape}; expected bool of shape (G, G - 2)"
        )
    columns, places = won.shape
    with _figure(760, 620, path) as figure:
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch

        axes = figure.add_axes((0.1, 0.17, 0.86, 0.75))
        _of_starts(axes, won.astype(float), cmap=ListedColormap([LOST, WON]), vmin=0, vmax=1)
        edge = 640 / columns  # of a cell, in pixels
        if edge >= 8:  # lines between smaller cells would be most of the picture
            axes.vlines(np.arange(1, columns) - 0.5, 0.5, places + 0.5, "white", linewidth=1.5)
            axes.hlines(np.arange(1, places) + 0.5, -0.5, columns - 0.5, "white", linewidth=1.5)
        fruit, basket = np.nonzero(~won)
        axes.scatter(
            fruit, basket + 1, (0.3 * edge) ** 2, marker="x", color="white", linewidths=edge / 30
        )
        axes.set_title(f"{won.sum()} of {won.size} starts won by greedy play")
        axes.set_xlabel("column of the fruit")
        axes.set_ylabel("column of the basket's centre")
        figure.legend(
            handles=[Patch(facecolor=WON, edgecolor="0.4", label="won"),
                     Patch(facecolor=LOST, edgecolor="0.4", label="lost, with a cross")],
            loc="lower center", ncols=2, frameon=False,
        )  # fmt: skip


def save_values(path, learned, exact, row=None):
    """Save heat maps of learned and exact values, side by side for every action.

    What is not finite is left blank; what is beyond [-1, 1], which no return is, has
    the colour of the end.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    learned, exact : array_like [shape=(G - 2, G, G - 2, 3)]
        As ``evaluate.q_table`` and ``exact.q_star`` return them.
    row : int, optional
        Row of the fruit. By default three steps before the end, where values are still
        far apart, or half way down a small grid.

    Raises
    ------
    TypeError, ValueError
        If an array is of another shape, or there is no such row.
    OSError
        If the file cannot be written.
    """
    learned, exact = np.asarray(learned, np.float64), np.asarray(exact, np.float64)
    for name, array in (("learned", learned), ("exact", exact)):
        side = len(array) if array.ndim else 0
        if side == 0 or array.shape != (side, side + 2, side, 3):
            raise ValueError(f"{name} has shape {array.shape}; expected (G - 2, G, G - 2, 3)")
    if learned.shape != exact.shape:
        raise ValueError(f"learned has shape {learned.shape}; expected {exact.shape}, as exact")
    rows = len(exact)
    row = rows - min(3, (rows + 1) // 2) if row is None else whole("row", row, 0, most=rows - 1)
    learned, exact = learned[row], exact[row]
    errors = np.abs(learned - exact)
    greatest = np.max(errors, initial=0, where=np.isfinite(errors)) or 1.0
    with _figure(1000, 980, path) as figure:
        grid = figure.subplots(3, 3, sharex=True, sharey=True)
        figure.subplots_adjust(
            left=0.065, right=0.98, bottom=0.175, top=0.905, hspace=0.22, wspace=0.1
        )
        for action, name in enumerate(("left", "stay", "right")):
            titles = f"Q(S, {name}), learned", f"Q*(S, {name}), exact", f"|Q - Q*| of {name}"
            for place, (table, title) in enumerate(
                zip((learned, exact, errors), titles, strict=True)
            ):
                low, high = (0, greatest) if place == 2 else (-1, 1)
                axes = grid[action, place]
                image = _of_starts(axes, table[..., action], cmap=COLOURS, vmin=low, vmax=high)
                axes.set_title(title, fontsize=11)
                if action == 2:
                    axes.set_xlabel("column of the fruit")
                if place == 0:
                    axes.set_ylabel("column of the basket's centre")
        left = rows - row
        steps = "1 step" if left == 1 else f"{left} steps"
        figure.suptitle(
            f"Action values with the fruit in row {row}, {steps} before the end", y=0.975
        )
        _bar(figure, (0.1, 0.085, 0.51, 0.02), grid[0, 0].images[0], "value, in units of reward")
        _bar(figure, (0.715, 0.085, 0.245, 0.02), image, "distance, in units of reward")


def _bar(figure, place, image, label):
    """A horizontal colour bar of an image, at a place (left, bottom, width, height)."""
    from matplotlib.ticker import MaxNLocator

    bar = figure.colorbar(image, cax=figure.add_axes(place), orientation="horizontal")
    bar.locator = MaxNLocator(nbins=5, steps=[1, 2, 5, 10])
    bar.update_ticks()
    bar.set_label(label)


GAP = 0.26
"""Between two tiles, in widths of a tile."""


def _tiles(axes, images, vmin, vmax, across, names=None):
    """Draw images [shape=(H, W, F)] as tiles, so many in a row, numbered unless they have names.

    Returns the last one. A tile is 1 wide.
    """
    height, width, count = images.shape
    names = range(count) if names is None else names
    down, tall = math.ceil(count / across), height / width
    for tile in range(count):
        row, column = divmod(tile, across)
        x, y = column * (1 + GAP), row * (tall + GAP)
        image = axes.imshow(
            images[..., tile], extent=(x, x + 1, y + tall, y), cmap=COLOURS, vmin=vmin,
            vmax=vmax, interpolation="nearest",
        )  # fmt: skip
        axes.text(x, y - 0.02, str(names[tile]), fontsize=9, verticalalignment="bottom")
    axes.set_xlim(-0.02, across * (1 + GAP) - GAP + 0.02)
    axes.set_ylim(down * (tall + GAP) - GAP + 0.02, -GAP)
    axes.set_aspect("equal", anchor="N")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return image


def save_filters(path, kernel):
    """Save the filters of a first convolution, each weight as a colour and a number.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    kernel : array_like [shape=(kh, kw, C, F)]
        Its weights. With several channels each filter has a tile for each of them, "0.2" for
        channel 2 of filter 0.

    Raises
    ------
    ValueError
        If it is of another shape, or holds numbers that are not finite.
    OSError
        If the file cannot be written.
    """
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim != 4 or kernel.size == 0:
        raise ValueError(f"kernel has shape {kernel.shape}; expected (kh, kw, C, F)")
    finite("kernel", kernel)
    height, width, channels, filters = kernel.shape
    across = max(1, round(math.sqrt(filters * channels) / channels)) * channels
    tiles = kernel.swapaxes(2, 3).reshape(height, width, -1)
    names = [f"{f}.{c}" if channels > 1 else f for f, c in np.ndindex(filters, channels)]
    largest = np.abs(kernel).max() or 1.0
    with _figure(820, 960, path) as figure:
        axes = figure.add_axes((0.05, 0.13, 0.93, 0.82))
        image = _tiles(axes, tiles, -largest, largest, across, names)
        cell = 760 / (across * (1 + GAP) * width)  # in pixels
        if cell >= 44 and 0.01 <= largest < 100:  # else the numbers have no room
            _write_numbers(axes, tiles, across, largest)
        weights = f"{height} × {width}" + (f" × {channels}" if channels > 1 else "")
        names = "; 0.2 is channel 2 of filter 0" if channels > 2 else ""
        axes.set_title(f"filters of the first convolution, {weights} weights each{names}")
        axes.set_xlabel("column of the window, in each filter")
        axes.set_ylabel("row of the window, in each filter")
        _bar(figure, (0.2, 0.065, 0.6, 0.018), image, "weight")


def _write_numbers(axes, images, across, largest):
    """Write each number into its cell, so that its sign is read in greyscale too."""
    height, width, _ = images.shape
    for (i, j, tile), weight in np.ndenumerate(images):
        row, column = divmod(tile, across)
        x = column * (1 + GAP) + (j + 0.5) / width
        y = row * (height / width + GAP) + (i + 0.5) / width
        colour = "white" if weight < -0.15 * largest else "black"
        words = f"{weight:+.2f}".replace("-", "\N{MINUS SIGN}")
        axes.text(x, y, words, color=colour, fontsize=9, ha="center", va="center")


def save_feature_maps(path, frame, maps):
    """Save a frame, and beside it what convolutions make of it.

    What is not finite is left blank.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    frame : array_like [shape=(H, W, 3)], uint8
        Picture of what the network was given.
    maps : list of (str, array_like [shape=(H, W, F)])
        Name and output of each convolution, as from ``Sequential.layer_outputs``.

    Raises
    ------
    ValueError
        If there are no maps, or an array is of another shape.
    OSError
        If the file cannot be written.
    """
    maps = [(name, np.asarray(images, np.float64)) for name, images in maps]
    if not maps:
        raise ValueError("maps is empty; expected at least one convolution's")
    for name, images in maps:
        if images.ndim != 3 or images.size == 0:
            raise ValueError(f"maps of {name} has shape {images.shape}; expected (H, W, F)")
    pixels = 310 + 370 * len(maps)
    with _figure(pixels, 520, path) as figure:
        axes = figure.add_axes((60 / pixels, 0.21, 210 / pixels, 0.7), anchor="N")
        axes.imshow(frame, interpolation="nearest")
        axes.set(title="the frame", xticks=[], yticks=[])
        for panel, (name, images) in enumerate(maps):
            left = 310 + 370 * panel
            axes = figure.add_axes((left / pixels, 0.21, 340 / pixels, 0.7))
            low = np.min(images, initial=0, where=np.isfinite(images))
            high = np.max(images, initial=0, where=np.isfinite(images))
            height, width, count = images.shape
            across = math.ceil(math.sqrt(count))
            image = _tiles(axes, images, low, high if high > low else low + 1, across)
            axes.set_title(f"{name}: {count} maps of {height} × {width}")
            axes.set_xlabel("column, in each map")
            axes.set_ylabel("row, in each map")
            place = ((left + 20) / pixels, 0.11, 300 / pixels, 0.03)
            _bar(figure, place, image, f"output of {name}")


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
    count = 0
    while True:
        path = directory / f"{count:03d}.png"
        pixels = frame_pixels(frame)
        with _matplotlib(), atomic_write(path) as file:
            from matplotlib.image import imsave

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
    height, width, _ = pictures[0].shape
    # The writer wants a name, and takes the format from its ending.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.gif")
    try:
        with _matplotlib():
            from matplotlib.animation import PillowWriter
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure

            figure = Figure(figsize=(width, height), dpi=1)  # an inch a pixel: as they are
            FigureCanvasAgg(figure)
            picture = figure.figimage(pictures[0])
            writer = PillowWriter(fps=frames_per_second)
            with writer.saving(figure, temporary, dpi=1):
                for pixels in pictures:
                    picture.set_data(pixels)
                    writer.grab_frame()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
