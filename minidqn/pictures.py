"""Pictures of a run: its frames as PNG and GIF, and matplotlib figures of what it has learned.

matplotlib is imported when the first picture is drawn, since it takes longer to
import than to draw. No window is opened, no display is needed, and what a user has set for
other figures does not count. Colours are told apart by the colour-blind: cividis is the
brighter the larger the number, in greyscale too; RdBu, for numbers whose sign matters, is red
below 0 and blue above, and the darker the farther from it. The same input gives the same bytes.
"""

import contextlib
import itertools
import math
import os
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minidqn import runs
from minidqn.checks import finite
from minidqn.evaluate import margins, q_table, wins
from minidqn.exact import q_star
from minidqn.fruit import Fruit
from minidqn.games import Game
from minidqn.nn import Sequential
from minidqn.runs import Record, Settings
from minidqn.storage import atomic_write

SIDE, DPI = 240, 100
"""Pixels on the side of a frame's picture, about, and to matplotlib's inch."""

FRAMES_PER_SECOND, MOST_FRAMES = 5, 500
"""Speed of the animations, and frames that are drawn at most: a game may have thousands."""

MOST = 1e100
"""What an axis reaches to, at most: matplotlib's own arithmetic overflows beyond."""

# Okabe and Ito's palette: told apart by the colour-blind and in greyscale.
BLUE, VERMILION, COLOURS, SIGNS = "#0072b2", "#d55e00", "cividis", "RdBu"
SCORES = ("score", "low", "high"), ("improvement", "improvement_low", "improvement_high")
SETTINGS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
FORMAT = "{x:.3g}"  # of the numbers beside a bar of colours, which may be huge
BAR = {"location": "bottom", "shrink": 0.85, "aspect": 25, "format": FORMAT}  # below its images
NAME, CAPTION = 13, 28
"""Pixels of height that the name of a tile needs, and the strip below an animation."""

BACKGROUND, LINE = (18, 28, 46), (38, 52, 76)
CHANNELS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0),
            (204, 121, 167))  # fmt: skip
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


def cell_colours(frame: npt.ArrayLike) -> np.ndarray:
    """The colours of a frame's cells: each channel has its own, the first lies on top.

    Parameters
    ----------
    frame : array_like [shape=(C, H, W) or (H, W)]
        Numbers from 0 (background) to 1 (full colour), or to the frame's greatest number if
        that is more; numbers below 0 count as 0. Three channels of uint8 are red, green and
        blue.

    Returns
    -------
    ndarray [shape=(H, W, 3)], uint8
        Red, green and blue.
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
    return np.rint(cells).astype(np.uint8)


def frame_pixels(frame: npt.ArrayLike) -> np.ndarray:
    """A frame as a picture: one square a cell, in the colours of `cell_colours`.

    Parameters
    ----------
    frame : array_like [shape=(C, H, W) or (H, W)]
        As for `cell_colours`.

    Returns
    -------
    ndarray [shape=(H * cell, W * cell, 3)], uint8
        Red, green and blue; a cell is as many pixels wide as make a picture of
        about 240.
    """
    cells = cell_colours(frame)
    cell = max(2, SIDE // max(cells.shape))
    pixels = cells.repeat(cell, axis=0).repeat(cell, axis=1)
    if cell >= 6:  # lines between smaller cells would be most of the picture
        pixels[::cell] = pixels[:, ::cell] = LINE
    return pixels


@contextlib.contextmanager
def _figure(width, height, path, arranged=True):
    """An empty figure of so many pixels, to be filled and then saved, whole or not at all.

    matplotlib finds room for everything, which takes it some tenths of a second, if `arranged`.
    """
    with _matplotlib(), atomic_write(path) as file:
        from matplotlib.figure import Figure

        # A little more: matplotlib before 3.11 rounds down what is a hair less.
        size = (width + 0.01) / DPI, (height + 0.01) / DPI
        figure = Figure(figsize=size, dpi=DPI)
        if arranged:
            figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
        yield figure
        figure.savefig(file, format="png")


def _of_starts(axes, table, **look):
    """Draw a table [shape=(G, G - 2)] over the fruit's column and the basket's centre."""
    columns, places = (np.arange(length + 1) - 0.5 for length in table.shape)  # edges of cells
    axes.locator_params(integer=True, nbins=10, min_n_ticks=1)
    return axes.pcolormesh(columns, places + 1, table.T, **look)


def _bound(numbers):
    """What a scale of colours reaches to: a few numbers that are far off do not stretch it."""
    sizes = np.abs(numbers[np.isfinite(numbers)])
    return np.percentile(sizes, 98, method="lower") or 1.0 if sizes.size else 1.0


def _ink(image, number):
    """What stands out from an image's colour of a number: white from a dark one, else black."""
    light = np.dot((0.299, 0.587, 0.114), image.cmap(image.norm(number))[:3])
    return "white" if light < 0.45 else "black"


def _bar(figure, image, axes, label, **look):
    """Fill axes with the bar of an image's colours, and few numbers, as they may be long."""
    from matplotlib.ticker import MaxNLocator

    look |= {"orientation": "horizontal", "format": FORMAT, "ticks": MaxNLocator(5)}
    figure.colorbar(image, cax=axes, label=label, **look)


def save_games(folder: Path, game: Game, played: list[tuple[list[np.ndarray], float]]) -> None:
    """Save the frames of games as images/000.png, images/001.png, ... and game.gif.

    Parameters
    ----------
    folder : Path
        The run's.
    game : Game
        The run's.
    played : list of (list of ndarray, float)
        Games as ``train.play_test_games`` has them; frames beyond the first `MOST_FRAMES`
        are left out.
    """
    for path in runs.numbered(folder, runs.IMAGES):
        path.unlink()
    saver, shown, left = save_img(runs.subfolder(folder, runs.IMAGES)), [], MOST_FRAMES
    captions, returns = [], []
    next(saver)
    for number, (frames, total) in enumerate(played, start=1):
        if left == 0:
            break
        shown.append([game.picture(frame) for frame in frames[:left]])
        left -= len(shown[-1])
        returns.append(total)
        ended = _score(game, returns) if len(shown[-1]) == len(frames) else "goes on"
        captions.append((f"game {number}", f"game {number}: {ended}"))
        for picture in shown[-1]:
            saver.send(picture)
    save_gif(folder / runs.GIF, shown, captions)


def _score(game, returns):
    """How the last of some games ended, and all of them so far."""
    if isinstance(game, Fruit):
        won = [total > 0 for total in returns]
        return f"{'won' if won[-1] else 'lost'}, score {sum(won)} of {len(won)}"
    return f"return {returns[-1]:.4g}, mean {sum(returns) / len(returns):.4g}"


def save_charts(
    folder: Path,
    model: Sequential,
    game: Game,
    settings: Settings,
    records: list[Record],
    played: list[tuple[list[np.ndarray], float]],
) -> list[Path]:
    """Save all figures of a run under the names that ``runs`` has for them.

    Parameters
    ----------
    folder, model, game, settings, records, played
        The run's, and its test games. The middle frame of the first game shows what convolutions
        make of it.

    Returns
    -------
    list of Path
        The files written.
    """
    drawn: dict[str, tuple] = {runs.CURVE: (save_curve, records)}
    if isinstance(game, Fruit):
        learned = q_table(model, game.grid_size)
        drawn[runs.WINS] = save_wins, wins(model, game.grid_size), margins(learned)
        drawn[runs.VALUES] = save_values, learned, q_star(game.grid_size, settings.gamma)
    if settings.filters:
        frames = played[0][0]
        frame = frames[len(frames) // 2]
        outputs = model.layer_outputs(frame[np.newaxis])
        maps = [(name, y[0]) for name, y in outputs.items() if y.ndim == 4]
        drawn[runs.FILTERS] = save_filters, model.get_weights()[0]
        drawn[runs.FEATURES] = save_feature_maps, frame_pixels(game.picture(frame)), maps
    for name, (save, *arguments) in drawn.items():
        save(folder / name, *arguments)
    return [folder / name for name in drawn]


def save_curve(path: str | Path, records: list[Record]) -> None:
    """Save the learning curve of a run by epoch: what greedy play earns, and the loss.

    A run that knows its wins and its distance from Q* shows these.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    records : list of Record
        One for each epoch.
    """
    evaluated = [record for record in records if record.mean_return is not None]
    trained = [record for record in records if record.loss > 0]  # a log scale shows no zeros
    learned = any(record.updates for record in records)
    missing = {"loss": "0 in all epochs" if learned else "no learning step yet"}
    panels = [("mean return of greedy play, in units of reward", "mean_return", evaluated)]
    if evaluated and evaluated[0].wins is not None:
        panels = [(f"starts won by greedy play, of {evaluated[0].starts}", "wins", evaluated)]
        panels += [("mean |Q - Q*|, in units of reward", "q_error", evaluated)]
    panels += [("loss, sum over an epoch", "loss", trained)]
    with _figure(1100, 340, path, arranged=False) as figure:
        figure.subplots_adjust(left=0.05, right=0.975, bottom=0.15, top=0.9, wspace=0.28)
        for axes, (title, name, shown) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            look = {"color": BLUE, "marker": "o", "markersize": 3}
            if name == "loss":
                look = {"color": VERMILION, "linewidth": 1}
            values = np.array([getattr(record, name) for record in shown], float)
            epochs = [record.epoch for record in shown]
            axes.plot(epochs, values.clip(-MOST, MOST), clip_on=False, **look)
            if not shown:
                look = {"transform": axes.transAxes, "ha": "center", "va": "center"}
                axes.text(0.5, 0.5, missing.get(name, "not measured yet"), color="0.4", **look)
                axes.set_yticks([])
            if name == "wins":
                axes.axhline(shown[0].starts, color="0.6", linewidth=1, linestyle="--")
            if name in ("wins", "q_error"):
                axes.set_ylim(bottom=0)
            elif name == "loss" and shown:
                axes.set_yscale("log")
            axes.set_title(title, fontsize=11)
            axes.set(xlabel="epoch", xlim=(0, max((r.epoch for r in records), default=1)))
            axes.locator_params("x", integer=True, nbins=6)
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)


def save_wins(path: str | Path, won: npt.ArrayLike, margin: npt.ArrayLike) -> None:
    """Save a map of the starts: how narrowly greedy play wins, and a cross where it loses.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    won : ndarray of bool [shape=(G, G - 2)]
        As ``evaluate.wins`` returns it.
    margin : ndarray [shape=(G, G - 2)]
        As ``evaluate.margins`` returns it.
    """
    won, margin = np.asarray(won, bool), np.ma.masked_invalid(margin)
    most = _bound(margin.compressed())
    with _figure(760, 720, path, arranged=False) as figure:
        from matplotlib import colormaps
        from matplotlib.colors import ListedColormap

        axes = figure.add_axes((0.1, 0.24, 0.86, 0.7))
        bar = figure.add_axes((0.16, 0.13, 0.74, 0.03))
        edge = 640 / len(won)  # of a cell, in pixels
        # Lines between smaller cells would be most of the picture.
        lines = {"edgecolors": "white", "linewidth": 1.5} if edge >= 8 else {}
        # Without the white middle, so that the narrowest win does not look like a loss.
        halves = np.concatenate([np.linspace(0, 0.36, 128), np.linspace(0.64, 1, 128)])
        colours = ListedColormap(colormaps[SIGNS](halves)).with_extremes(bad="0.85")
        look = {"cmap": colours, "vmin": -most, "vmax": most} | lines
        image = _of_starts(axes, margin, **look)
        fruit, basket = np.nonzero(~won)
        inks = [_ink(image, number) for number in margin.filled(np.nan)[~won]]
        cross = {"marker": "x", "color": inks, "linewidths": edge / 30}
        axes.scatter(fruit, basket + 1, (0.3 * edge) ** 2, **cross)
        lost = ": all but those with a cross" if len(fruit) else ""
        axes.set_title(f"{won.sum()} of {won.size} starts won by greedy play{lost}")
        axes.set(xlabel="column of the fruit", ylabel="column of the basket's centre")
        words = (
            "margin at the narrowest decision on the way: Q of the best action that wins\n"
            "minus Q of the best that loses, in units of reward (below 0: lost; grey: none loses)"
        )
        _bar(figure, image, bar, words, extend="both")


def save_values(path: str | Path, learned: np.ndarray, exact: np.ndarray) -> None:
    """Save heat maps of learned and exact values, side by side for every action.

    They are of the states three steps before the end, where values are still far apart, or
    half way down a small grid. Numbers that are not finite are left blank. Those beyond [-1, 1],
    which no return is, and the greatest 2% of the distances have the colour of the scale's
    pointed end, so that a few that are far off do not take the colours of all others.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    learned, exact : ndarray [shape=(G - 2, G, G - 2, 3)]
        As ``evaluate.q_table`` and ``exact.q_star`` return them.
    """
    left = min(3, (len(exact) + 1) // 2)
    learned, exact = np.asarray(learned[-left], np.float64), exact[-left]
    errors = np.abs(learned - exact)
    with _figure(1000, 980, path) as figure:
        grid = figure.subplots(3, 3, sharex=True, sharey=True)
        shown = [
            ("Q(S, {}), learned", learned, -1, 1),
            ("Q*(S, {}), exact", exact, -1, 1),
            ("|Q - Q*| of {}", errors, 0, _bound(errors)),
        ]
        for (action, column), axes in np.ndenumerate(grid):
            title, table, low, high = shown[column]
            image = _of_starts(axes, table[..., action], cmap=COLOURS, vmin=low, vmax=high)
            axes.set_title(title.format(("left", "stay", "right")[action]), fontsize=11)
            axes.set(xlabel="column of the fruit", ylabel="column of the basket's centre")
            axes.label_outer()
        steps = f"row {len(learned[0]) - left}, {left} step{'s' * (left > 1)} before the end"
        figure.suptitle(f"Action values with the fruit in {steps}")
        value, distance = "value, in units of reward", "distance; the greatest 2% as its end"
        figure.colorbar(
            grid[0, 0].collections[0], ax=grid[:, :2], label=value, extend="both", **BAR
        )
        figure.colorbar(image, ax=grid[:, 2], label=distance, extend="max", **BAR)


def _mosaic(images, across):
    """Images [shape=(H, W, F)] as tiles of one, so many in a row; left and top of each tile."""
    height, width, count = images.shape
    gap = max(1, round(0.26 * math.sqrt(height * width)))  # above each, and between them
    mosaic = np.full((math.ceil(count / across) * (height + gap), across * (width + gap)), np.nan)
    places = []
    for tile in range(count):
        row, column = divmod(tile, across)
        top, left = row * (height + gap) + gap, column * (width + gap)
        mosaic[top : top + height, left : left + width] = images[..., tile]
        places.append((left, top))
    return mosaic[:, :-gap], places


def _tiles(axes, mosaic, places, names, cell, **look):
    """Draw a mosaic whose cells are so many pixels wide, and the tiles' names if there is room."""
    (_, gap), *_ = places
    for (left, top), name in zip(places, names, strict=True):
        if gap * cell >= NAME:
            axes.text(left - 0.5, top - 0.55, str(name), fontsize=9, verticalalignment="bottom")
    axes.set(xticks=[], yticks=[], anchor="N")
    axes.spines[:].set_visible(False)
    return axes.imshow(mosaic, interpolation="nearest", **look)


def save_filters(path: str | Path, kernel: npt.ArrayLike) -> None:
    """Save the filters of a first convolution, each weight as a colour and a number.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    kernel : ndarray [shape=(kh, kw, C, F)]
        Its weights, finite. With several channels each filter has a tile for each of them,
        "0.2" for channel 2 of filter 0.
    """
    kernel = np.asarray(kernel, np.float64)
    height, width, channels, filters = kernel.shape
    across = max(1, round(math.sqrt(filters * channels) / channels)) * channels
    names = [f"{f}.{c}" if channels > 1 else f for f, c in np.ndindex(filters, channels)]
    largest = np.abs(kernel).max() or 1.0
    mosaic, places = _mosaic(kernel.swapaxes(2, 3).reshape(height, width, -1), across)
    cell = 735 / max(mosaic.shape)  # in pixels
    with _figure(820, 960, path) as figure:
        axes, look = figure.subplots(), {"cmap": SIGNS, "vmin": -largest, "vmax": largest}
        image = _tiles(axes, mosaic, places, names, cell, **look)
        if cell >= 40 and 0.01 <= largest < 100:  # numbers, which need room: signs without colours
            for (row, column), weight in np.ma.ndenumerate(image.get_array()):
                words = f"{weight:+.2f}".replace("-", "\N{MINUS SIGN}")
                how = {"color": _ink(image, weight), "ha": "center", "va": "center"}
                axes.text(column, row, words, fontsize=9, **how)
        weights = f"{height} × {width}" + (f" × {channels}" if channels > 1 else "")
        example = "; 0.2 is channel 2 of filter 0" if channels > 2 else ""
        axes.set_title(f"filters of the first convolution, {weights} weights each{example}")
        axes.set_xlabel("column of the window, in each filter")
        axes.set_ylabel("row of the window, in each filter")
        figure.colorbar(image, ax=axes, label="weight", **BAR)


def save_feature_maps(
    path: str | Path, frame: np.ndarray, maps: list[tuple[str, np.ndarray]]
) -> None:
    """Save a frame, and beside it what convolutions make of it.

    Numbers that are not finite are left blank.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    frame : ndarray [shape=(H, W, 3)], uint8
        Picture of what the network was given.
    maps : list of (str, ndarray [shape=(H, W, F)])
        Name and output of each convolution, as from ``Sequential.layer_outputs``.
    """
    tall, wide = (length * SIDE / max(frame.shape) for length in frame.shape[:2])  # in pixels
    left, height, panels = 15 + max(wide, 80) + 50, tall, []
    for _, images in maps:
        rows, columns, count = images.shape
        across = min(max(1, math.ceil(math.sqrt(count * rows / columns))), count)  # a square, about
        mosaic, places = _mosaic(np.asarray(images, np.float64), across)
        longest, (_, gap) = max(mosaic.shape), places[0]
        cell = min(max(1, NAME / gap, 370 / longest), 2000 / longest)
        panels.append((mosaic, places, cell, left))
        left += max(cell * mosaic.shape[1], 250) + 50  # room for the title, and for what is beside
        height = max(height, cell * mosaic.shape[0] + 95)
    width, height = left - 35, height + 55
    with _figure(width, height, path, arranged=False) as figure:

        def axes_at(left, top, wide, tall):
            box = left / width, 1 - (top + tall) / height, wide / width, tall / height
            return figure.add_axes(box)

        first = axes_at(15, 40, max(wide, 80), tall)
        first.imshow(frame, interpolation="nearest")
        first.set(title="the frame", xticks=[], yticks=[], anchor="N")
        for (name, images), (mosaic, places, cell, left) in zip(maps, panels, strict=True):
            rows, columns, count = images.shape
            numbers = mosaic[np.isfinite(mosaic)]
            low, high = numbers.min(initial=0), numbers.max(initial=0)
            look = {"cmap": COLOURS, "vmin": low, "vmax": high if high > low else low + 1}
            tall, wide = cell * mosaic.shape[0], max(cell * mosaic.shape[1], 250)
            axes = axes_at(left, 40, wide, tall)
            image = _tiles(axes, mosaic, places, range(count), cell, **look)
            axes.set_title(f"{name}: {count} map{'s' * (count > 1)} of {rows} × {columns}")
            axes.set_xlabel("column, in each map")
            if tall >= 130:  # else it has no room
                axes.set_ylabel("row, in each map")
            bar = axes_at(left + 0.08 * wide, 80 + tall, 0.84 * wide, 12)
            _bar(figure, image, bar, f"output of {name}")


def save_comparison(
    path: str | Path, tables: dict[str, list[dict]], baseline: str, metric: str, unit: str
) -> None:
    """Save what several settings' runs prove: their scores, and how those came about.

    Parameters
    ----------
    path : path-like
        The PNG file to make or to replace.
    tables : dict of str to list of dict
        From ``compare.tables``.
    baseline : str
        As there.
    metric : str
        What a score is.
    unit : str
        What the curves are drawn over, such as "epochs".
    """
    scores = tables["scores"]
    heights = 80 + 26 * max(len(scores), 4), 360
    with _figure(1200, 60 + sum(heights), path) as figure:
        from matplotlib import colormaps

        many = colormaps[COLOURS](np.linspace(0, 0.95, len(scores)))
        colours = SETTINGS if len(scores) <= len(SETTINGS) else many
        look = dict(zip((row["setting"] for row in scores), colours, strict=False))
        # Two rows of their own, so that long names above take no room below.
        ends, ways = (each.subplots(1, 2) for each in figure.subfigures(2, height_ratios=heights))
        for place, (row, colour) in enumerate(zip(scores, look.values(), strict=True)):
            for panel, (at, *bounds) in zip(ends, SCORES, strict=True):
                if at in row:
                    bar = {"color": colour, "linewidth": 7, "alpha": 0.4, "solid_capstyle": "butt"}
                    panel.plot([row[bound] for bound in bounds], [place, place], **bar)
                    panel.plot(row[at], place, "o", color=colour)
        for panel in ends:
            panel.set(ylim=(len(scores) - 0.5, -0.5), yticks=range(len(scores)))
        short = [name if len(name) <= 40 else f"{name[:39]}…" for name in look]
        ends[0].set(title=metric, xlabel="interquartile mean, 95% interval", yticklabels=short)
        than = f"baseline: {baseline:.40}; at 0.5 neither is better"
        ends[1].set(xlim=(-0.03, 1.03), title="P(better than the baseline)", xlabel=than)
        ends[1].set_yticklabels([])
        ends[1].axvline(0.5, color="0.6", linewidth=1, linestyle="--")
        names = ("curves", "x", "score", None), ("profiles", "threshold", "share", "post")
        words = (
            (f"{metric}, as they learn", unit),
            ("performance profile: share of runs with a greater score", metric),
        )
        for panel, (name, x, y, step), (title, below) in zip(ways, names, words, strict=True):
            for label, colour in look.items():
                rows = [row for row in tables[name] if row["setting"] == label]
                when, middle, low, high = ([row[n] for row in rows] for n in (x, y, "low", "high"))
                style = {"drawstyle": f"steps-{step}"} if step else {}
                style |= {"marker": "o"} if len(when) == 1 else {}
                panel.plot(when, middle, color=colour, **style)
                if len(look) <= len(SETTINGS):  # else they cover each other
                    band = {"color": colour, "alpha": 0.18, "linewidth": 0}
                    panel.fill_between(when, low, high, step=step, **band)
            panel.set(title=title, xlabel=below)
        for panel in (*ends, *ways):
            panel.title.set_fontsize(11)
            panel.grid(alpha=0.25)
            panel.spines[["top", "right"]].set_visible(False)


def save_img(directory: str | Path = "images") -> Generator[Path | None, npt.ArrayLike, None]:
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
    path = None
    for number in itertools.count():
        frame = yield path
        path = directory / f"{number:03d}.png"
        with _matplotlib(), atomic_write(path) as file:
            from matplotlib.image import imsave

            imsave(file, frame_pixels(frame), format="png")


def save_gif(
    path: str | Path,
    games: Iterable[Iterable[np.ndarray]],
    captions: Iterable[tuple[str, str]] | None = None,
) -> None:
    """Save games as one animation that repeats forever; each game's end is held.

    Parameters
    ----------
    path : path-like
        The file to make or to replace; its name ends in .gif.
    games : iterable of iterable of ndarray [shape=(C, H, W)]
        The frames of each game, all of one shape.
    captions : iterable of (str, str), optional
        What stands below each game while it is played, and at its end; by default there is no
        room for it.
    """
    games, shown = list(games), []
    for game, (playing, ended) in zip(games, captions or [("", "")] * len(games), strict=True):
        pictures = [frame_pixels(frame) for frame in game]
        shown += [(pixels, playing) for pixels in pictures[:-1]]
        shown += [(pixels, ended) for pixels in pictures[-1:]] * 4
    if not shown:
        raise ValueError("games holds no frames; expected one game")
    if Path(path).suffix.lower() != ".gif":
        raise ValueError(f"path is {path}; expected a name that ends in .gif")
    height, width, _ = shown[0][0].shape
    below, across = (0, width) if captions is None else (CAPTION, max(width, SIDE))
    with _matplotlib(), atomic_write(path) as file:
        from matplotlib.animation import FuncAnimation, PillowWriter
        from matplotlib.figure import Figure

        # An inch a pixel: pictures as they are. A point of type is 1/72 of an inch.
        figure = Figure(figsize=(across, height + below), dpi=1, facecolor=np.divide(LINE, 255))
        picture = figure.figimage(shown[0][0], (across - width) // 2, below)
        longest = max(len(words) for _, words in shown)
        look = {"fontsize": 72 * min(14, 1.6 * across / max(longest, 1)), "color": "white"}
        # Edges in many shades would treble the file: each frame would have its list of them.
        look |= {"antialiased": False, "ha": "center", "va": "center"}
        caption = figure.text(0.5, below / 2 / (height + below), "", **look)

        def show(moment):
            picture.set_data(moment[0])
            caption.set_text(moment[1])

        animation = FuncAnimation(figure, show, shown, cache_frame_data=False)
        # The writer wants a name, and takes the format from its ending.
        animation.save(file.name, PillowWriter(FRAMES_PER_SECOND), dpi=1)
