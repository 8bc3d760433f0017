"""``python -m minidqn.page RUN``: a run as one page for a browser, where the network plays live.

The page carries the run's weights, as base64, and a forward pass in plain JavaScript
(``minidqn/web/network.js``), which names its counterparts in Python. It asks
the network for nothing: its Content-Security-Policy forbids every request, and lets no
script run but the one that is named by its hash. What comes from the run, such as the name
of its folder, is JSON that the script puts into the page as text.
"""

import argparse
import base64
import hashlib
import importlib.resources
import json
import math
import re
from pathlib import Path

import numpy as np

from minidqn import cli, moments, runs
from minidqn.evaluate import q_error, wins
from minidqn.storage import atomic_write

MOST_MOMENTS = 8
"""Moments of the training on a page, the last among them: at G = 10 they take 0.9 MB."""

MOST_POINTS = 400
"""Points of the learning curve."""

WEB = importlib.resources.files("minidqn") / "web"
SCRIPTS = ("game.js", "network.js", "page.js")


def describe(folder: Path) -> dict:
    """All that a page tells of a run.

    Parameters
    ----------
    folder : Path
        The run's folder; nothing in it is trusted.

    Returns
    -------
    dict
        Of what JSON can hold: the run's name, settings, learning curve and moments.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If a file is damaged or does not fit the others, the run has not ended, or its game or
        network is another than the page draws.
    MemoryError
        If such a network does not fit.
    """
    settings, *_ = runs.read_config(folder)
    layers, side = len(settings.filters), settings.kernel_size
    if (settings.game, layers, side) != ("fruit", 2, 3):
        wanted = "fruit and two convolutions of 3 x 3, which the page draws"
        found = f"it plays {settings.game} with {layers} of {side} x {side}"
        raise ValueError(f"RUN {folder}: {found}; expected {wanted}")
    settings, model, _ = runs.load_run(folder)
    records = runs.read_metrics(folder, settings.goal)
    epochs, last = len(records), records[-1] if records else None
    if not settings.ended(last):
        words = f"{settings.done(last)} of {settings.goal} {settings.unit} are done"
        go_on = f"it has not ended yet; {cli.resume_command(folder)} goes on with it"
        raise ValueError(f"RUN {folder}: {words}; {go_on}")
    kept = moments.saved_epochs(folder, epochs - 1)
    last = _moment(epochs, model, settings, model.named_weights())
    return {
        "name": folder.resolve().name,
        "gridSize": settings.grid_size,
        "gamma": settings.gamma,
        "epochs": epochs,
        "updates": records[-1].updates,
        "starts": settings.grid_size * (settings.grid_size - 2),
        "curve": _curve(records),
        "moments": [
            *(_loaded(folder, epoch, model, settings) for epoch in _spread(kept, MOST_MOMENTS - 1)),
            last,
        ],
    }


def _spread(things, most):
    """At most so many of a list, the first and the last among them, at equal distances."""
    if len(things) <= most:
        return things
    return [things[round(place)] for place in np.linspace(0, len(things) - 1, most)]


def _curve(records):
    """[epoch, wins, q_error] of the epochs in which they were measured."""
    measured = [record for record in records if record.wins is not None]
    return [
        [record.epoch, record.wins, _finite_or_none(record.q_error)]
        for record in _spread(measured, MOST_POINTS)
    ]


def _finite_or_none(number):
    """A number that JSON can hold."""
    return number if math.isfinite(number) else None


def _loaded(folder, epoch, model, settings):
    """A moment that the run has kept; the model's weights become the moment's."""
    arrays = moments.load(folder, epoch, model)
    model.set_weights(list(moments.dequantized(arrays).values()))
    return _moment(epoch, model, settings, arrays)


def _moment(epoch, model, settings, arrays):
    """A moment as the page has it: how well the model plays, and its weights as base64."""
    weights = {}
    for name, array in arrays.items():
        if name.endswith("/scale"):
            continue
        weights[name] = {"shape": list(array.shape), array.dtype.name: _base64(array)}
        if array.dtype == np.int8:
            weights[name]["scale"] = _base64(arrays[f"{name}/scale"])
    return {
        "epoch": epoch,
        "wins": int(wins(model, settings.grid_size).sum()),
        "qError": _finite_or_none(q_error(model, settings.grid_size, settings.gamma)),
        "weights": weights,
    }


def _base64(array):
    """An array's bytes, little-endian, as text."""
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def assemble(run: dict) -> str:
    """The page of a run, from the files in ``minidqn/web``.

    Parameters
    ----------
    run : dict
        From ``describe``.

    Returns
    -------
    str
        HTML, all in one.
    """
    style = _text("style.css")
    script = '\n"use strict";\n\n' + "\n".join(_text(name) for name in SCRIPTS)
    parts = {
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "run": _json_in_html(run),
    }
    # All in one pass, so that nothing is put into what comes from the run.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _text("template.html"))


def _text(name):
    """The text of a file in ``minidqn/web``."""
    return (WEB / name).read_text(encoding="utf-8")


def _hash(text):
    """What a Content-Security-Policy calls a script or a style."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _json_in_html(run):
    """JSON that no HTML parser can take for markup: ASCII without <, > and &."""
    text = json.dumps(run, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _html_file(text):
    """A path from the command line that ends in .html, so that no other file is replaced."""
    path = Path(text).expanduser()
    if path.suffix.lower() != ".html":
        raise argparse.ArgumentTypeError(f"{text!r} has another ending; expected .html")
    return path


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
    what = "Make one page of a run of fruit, in which the network plays in any browser."
    out, default = "the page, which is replaced", f"RUN/{runs.PAGE}"
    parser = cli.run_parser("page", what, out, _html_file, default)
    arguments = parser.parse_args(argv)
    flag, path = "--out" if arguments.out else "RUN", arguments.out or arguments.run / runs.PAGE
    with cli.reading(parser, arguments.run), cli.announce_compilation():
        run = describe(arguments.run)
    page = assemble(run).encode()
    with cli.writing_to(parser, flag, path), atomic_write(path) as file:
        file.write(page)
    print(f"{path}: {len(page):,} bytes, {len(run['moments'])} moments; any browser opens it")
    return 0


if __name__ == "__main__":
    cli.run(main)
