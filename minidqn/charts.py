"""matplotlib figures of a run: learning curve, wins, values, filters, feature maps.

matplotlib is imported when the first figure is drawn, since it takes longer to
import than to draw; no window is opened and no display is needed. Colours are told
apart by the colour-blind and in greyscale: the map of colours, cividis, is the
brighter the larger the number. The same input gives the same bytes.
"""

import io
import math

import numpy as np

from minidqn import runs
from minidqn.checks import finite, whole
from minidqn.evaluate import q_table, wins
from minidqn.exact import q_star
from minidqn.fruit import draw
from minidqn.storage import atomic_write

__all__ = [
    "save_charts",
    "save_curve",
    "save_feature_maps",
    "save_filters",
    "save_values",
    "save_wins",
]

DPI = 100
"""Pixels to matplotlib's inch."""

COLOURS = "cividis"

MOST = 1e100
"""What an axis reaches to, at most: matplotlib's own arithmetic overflows beyond."""

# Okabe and Ito's palette: told apart by the colour-blind and in greyscale.
BLUE, VERMILION = "#0072b2", "#d55e00"
WON, LOST = "#cfe6f5", "#12395b"


def _figure(width, height):
    """An empty figure of so many pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A little more than so many pixels: matplotlib before 3.11 rounds down what is a hair less.
    size = (width + 0.01) / DPI, (height + 0.01) / DPI
    figure = Figure(figsize=size, dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path):
    """Write a figure to a PNG file, which is whole or not there."""
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


def save_charts(folder, model, settings, records):
    """Save all figures of a run under the names that ``runs`` has for them.

    Parameters
    ----------
    folder : Path
        Where they go.
    model : Sequential
        The run's network, which begins with convolutions.
    settings : Settings
        The run's.
    records : iterable of Record
        One for each epoch.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    OSError
        If one cannot be written.
    """
    grid_size = settings.grid_size
    save_curve(folder / runs.CURVE, records)
    save_wins(folder / runs.WINS, wins(model, grid_size))
    exact = q_star(grid_size, settings.gamma)
    save_values(folder / runs.VALUES, q_table(model, grid_size), exact)
    save_filters(folder / runs.FILTERS, model.layers[0].kernel)
    # The fruit is half way down and the basket not under it.
    frame = draw(grid_size, (grid_size - 2) // 2, grid_size - 2, 2)
    outputs = model.layer_outputs(frame[np.newaxis])
    maps = [(name, y[0]) for name, y in outputs.items() if y.ndim == 4]
    save_feature_maps(folder / runs.FEATURES, frame, maps)
    return [folder / name for name in runs.CHARTS]


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
    from matplotlib.ticker import MaxNLocator

    records = list(records)
    evaluated = [record for record in records if record.wins is not None]
    epochs = [record.epoch for record in evaluated]
    figure = _figure(1100, 340)
    by_wins, by_error, by_loss = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.05, right=0.975, bottom=0.15, top=0.9, wspace=0.28)
    by_wins.plot(epochs, [record.wins for record in evaluated], "o-", markersize=3, color=BLUE)
    if evaluated:
        by_wins.axhline(evaluated[0].starts, color="0.6", linewidth=1, linestyle="--")
        by_wins.set_ylim(0, max(evaluated[0].starts, 1) * 1.05)
        by_wins.set_title(f"starts won by greedy play, of {evaluated[0].starts}", fontsize=11)
    errors = [min(record.q_error, MOST) for record in evaluated]
    by_error.plot(epochs, errors, "o-", markersize=3, color=BLUE)
    by_error.set_ylim(bottom=0)
    by_error.set_title("mean |Q - Q*|, in units of reward", fontsize=11)
    trained = [record for record in records if record.loss > 0]  # a log scale shows no zeros
    by_loss.plot(
        [record.epoch for record in trained],
        [min(record.loss, MOST) for record in trained],
        color=VERMILION,
        linewidth=1,
    )
    if trained:
        by_loss.set_yscale("log")
    by_loss.set_title("loss, sum over an epoch", fontsize=11)
    for axes in (by_wins, by_error, by_loss):
        axes.set_xlabel("epoch")
        axes.set_xlim(0, max((record.epoch for record in records), default=1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


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
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    columns, places = won.shape
    figure = _figure(760, 620)
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
    _save(figure, path)


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
    figure = _figure(1000, 980)
    grid = figure.subplots(3, 3, sharex=True, sharey=True)
    figure.subplots_adjust(left=0.065, right=0.98, bottom=0.175, top=0.905, hspace=0.22, wspace=0.1)
    for action, name in enumerate(("left", "stay", "right")):
        titles = f"Q(S, {name}), learned", f"Q*(S, {name}), exact", f"|Q - Q*| of {name}"
        for place, (table, title) in enumerate(zip((learned, exact, errors), titles, strict=True)):
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
    figure.suptitle(f"Action values with the fruit in row {row}, {steps} before the end", y=0.975)
    _bar(figure, (0.1, 0.085, 0.51, 0.02), grid[0, 0].images[0], "value, in units of reward")
    _bar(figure, (0.715, 0.085, 0.245, 0.02), image, "distance, in units of reward")
    _save(figure, path)


def _bar(figure, place, image, label):
    """A horizontal colour bar of an image, at a place (left, bottom, width, height)."""
    from matplotlib.ticker import MaxNLocator

    bar = figure.colorbar(image, cax=figure.add_axes(place), orientation="horizontal")
    bar.locator = MaxNLocator(nbins=5, steps=[1, 2, 5, 10])
    bar.update_ticks()
    bar.set_label(label)


GAP = 0.26
"""Between two tiles, in widths of a tile."""


def _tiles(axes, images, vmin, vmax):
    """Draw images [shape=(H, W, F)] as numbered tiles of one colour scale, row by row.

    Returns the last one, and how many tiles there are in a row. A tile is 1 wide.
    """
    height, width, count = images.shape
    across = math.ceil(math.sqrt(count))
    down, tall = math.ceil(count / across), height / width
    for number in range(count):
        row, column = divmod(number, across)
        x, y = column * (1 + GAP), row * (tall + GAP)
        image = axes.imshow(
            images[..., number], extent=(x, x + 1, y + tall, y), cmap=COLOURS, vmin=vmin,
            vmax=vmax, interpolation="nearest",
        )  # fmt: skip
        axes.text(x, y - 0.02, str(number), fontsize=9, verticalalignment="bottom")
    axes.set_xlim(-0.02, across * (1 + GAP) - GAP + 0.02)
    axes.set_ylim(down * (tall + GAP) - GAP + 0.02, -GAP)
    axes.set_aspect("equal", anchor="N")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return image, across


def save_filters(path, kernel):
    """Save the filters of a first convolution, each weight as a colour and a number.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    kernel : array_like [shape=(kh, kw, 1, F)]
        Its weights.

    Raises
    ------
    ValueError
        If it is of another shape, or holds numbers that are not finite.
    OSError
        If the file cannot be written.
    """
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim != 4 or kernel.shape[2] != 1 or kernel.size == 0:
        raise ValueError(f"kernel has shape {kernel.shape}; expected (kh, kw, 1, F)")
    finite("kernel", kernel)
    height, width = kernel.shape[:2]
    largest = np.abs(kernel).max() or 1.0
    figure = _figure(820, 960)
    axes = figure.add_axes((0.05, 0.13, 0.93, 0.82))
    image, across = _tiles(axes, kernel[:, :, 0], -largest, largest)
    cell = 760 / (across * (1 + GAP) * width)  # in pixels
    if cell >= 44 and 0.01 <= largest < 100:  # else the numbers have no room
        _write_numbers(axes, kernel[:, :, 0], across, largest)
    axes.set_title(f"filters of the first convolution, {height} × {width} weights each")
    axes.set_xlabel("column of the window, in each filter")
    axes.set_ylabel("row of the window, in each filter")
    _bar(figure, (0.2, 0.065, 0.6, 0.018), image, "weight")
    _save(figure, path)


def _write_numbers(axes, images, across, largest):
    """Write each number into its cell, so that its sign is read in greyscale too."""
    height, width, _ = images.shape
    for (i, j, number), weight in np.ndenumerate(images):
        row, column = divmod(number, across)
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
    frame : array_like [shape=(1, H, W)]
        What the network was given.
    maps : list of (str, array_like [shape=(H, W, F)])
        Name and output of each convolution, as from ``Sequential.layer_outputs``.

    Raises
    ------
    ValueError
        If there are no maps, or an array is of another shape.
    OSError
        If the file cannot be written.
    """
    frame = np.asarray(frame, np.float64)
    if frame.ndim != 3 or len(frame) != 1 or frame.size == 0:
        raise ValueError(f"frame has shape {frame.shape}; expected (1, H, W)")
    maps = [(name, np.asarray(images, np.float64)) for name, images in maps]
    if not maps:
        raise ValueError("maps is empty; expected at least one convolution's")
    for name, images in maps:
        if images.ndim != 3 or images.size == 0:
            raise ValueError(f"maps of {name} has shape {images.shape}; expected (H, W, F)")
    pixels = 310 + 370 * len(maps)
    figure = _figure(pixels, 520)
    axes = figure.add_axes((60 / pixels, 0.21, 210 / pixels, 0.7), anchor="N")
    axes.imshow(frame[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(title="the frame", xlabel="column", ylabel="row")
    _count_along(axes.xaxis)
    _count_along(axes.yaxis)
    for panel, (name, images) in enumerate(maps):
        left = 310 + 370 * panel
        axes = figure.add_axes((left / pixels, 0.21, 340 / pixels, 0.7))
        low = np.min(images, initial=0, where=np.isfinite(images))
        high = np.max(images, initial=0, where=np.isfinite(images))
        image, _ = _tiles(axes, images, low, high if high > low else low + 1)
        height, width, count = images.shape
        axes.set_title(f"{name}: {count} maps of {height} × {width}")
        axes.set_xlabel("column, in each map")
        axes.set_ylabel("row, in each map")
        place = ((left + 20) / pixels, 0.11, 300 / pixels, 0.03)
        _bar(figure, place, image, f"output of {name}")
    _save(figure, path)
