"""``python -m minidqn.page RUN``: a run as one page for a browser, which plays and learns live.

The page carries the run's weights, compressed, and plays the game, runs the network and trains it
in plain JavaScript (``minidqn/web``), whose functions name their counterparts in Python, if any.
It asks the network for nothing: its Content-Security-Policy forbids every request, and lets no
script run but the two that are named by their hashes, and a Web Worker made from the first. What
comes from the run, such as the name of its folder, is JSON that the script puts into the page as
text.

Fruit and Snake are played by the page itself. Of any other game it carries some games that the
network has played, frame by frame.
"""

import argparse
import base64
import contextlib
import hashlib
import importlib.resources
import json
import math
import os
import re
import zlib
from pathlib import Path

import numpy as np

from minidqn import cli, moments, runs
from minidqn.evaluate import greedy_games
from minidqn.fruit import Fruit
from minidqn.games import OWN, Game, GameError
from minidqn.pictures import cell_colours
from minidqn.storage import atomic_write
from minidqn.train import TEST_GAMES, measured

MOST_MOMENTS = 3
"""Moments of the training on a page, the last among them: more would take a page of Fruit beyond
0.6 MB. The page can learn itself, and shows then what lies between them."""

MOST_BYTES = 2_850_000
"""Bytes that all moments may take, so that a page of Fruit stays below 3 MB up to a grid of
30 x 30: its last moment has sixteen bits there, and is the only one."""

MOST_RECORDED = 1_000_000
"""Bytes of the recorded games."""

MOST_POINTS = 400
"""Points of the learning curve."""

COURSE = Path(__file__).parent.parent / "docs" / "README.md"
"""The course, in a clone; what is installed by pip has none."""

WEB = importlib.resources.files("minidqn") / "web"
LEARNING = ("fruit.js", "snake.js", "kernels.js", "learning.js")
"""What learns: the Web Worker runs it, too."""

PAGE = ("page.js", "decode.js", "board.js", "values.js", "features.js", "training.js")


def describe(folder: Path, game: Game | None = None) -> dict:
    """All that a page tells of a run.

    Parameters
    ----------
    folder : Path
        The run's folder; nothing in it is trusted.
    game : Game, optional
        As for ``runs.load_run``.

    Returns
    -------
    dict
        Of what JSON can hold: the run's name, game, layers, settings, learning curve and
        moments, and games that were recorded.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If a file is damaged or does not fit the others, the run has not ended, or its game does
        what no game may do.
    MemoryError
        If such a network does not fit.
    """
    settings, model, game = runs.load_run(folder, game)
    records = runs.read_metrics(folder, settings.goal)
    epochs, last = len(records), records[-1] if records else None
    if not settings.ended(last):
        words = f"{settings.done(last)} of {settings.goal} {settings.unit} are done"
        command = cli.resume_command(folder, {"game": settings.game})
        raise ValueError(f"RUN {folder}: {words}; it has not ended yet; {command} goes on with it")
    own = settings.game in OWN
    fruit = own and isinstance(game, Fruit)
    # Without the folder of a game's file, which is no concern of those who see the page.
    name = settings.game if settings.game.startswith("gym:") else Path(settings.game).name
    return {
        "name": folder.resolve().name,
        "game": {
            "name": name,
            "actions": list(game.actions),
            "shape": list(game.shape),
            "gridSize": settings.grid_size if own else None,
        },
        "layers": [
            {"name": layer.name, "relu": getattr(layer, "relu", False)}
            for layer in model.layers
            if layer.weight_shapes
        ],
        "settings": {
            "epsilon": settings.epsilon,
            "gamma": settings.gamma,
            "learningRate": settings.learning_rate,
            "batchSize": settings.batch_size,
            "seed": settings.seed % 2**32,  # as many as the page's generator takes
            "capacity": settings.capacity,
        },
        "otherwise": _otherwise(settings),
        "epochs": epochs,
        "updates": records[-1].updates,
        "starts": settings.grid_size * (settings.grid_size - 2) if fruit else None,
        "curve": _curve(records, "wins" if fruit else "mean_return"),
        "moments": _moments(folder, epochs, model, game, settings),
        # By the network of the last moment, whose weights the model has by now.
        "recorded": None if own else _recorded(model, game, settings),
    }


def _otherwise(settings):
    """How a run has learned otherwise than by the recipe as it comes, in words."""
    departures = {
        settings.optimizer: settings.optimizer.strip().lower() != "rmsprop",
        settings.loss: settings.loss.lower() != "mse",
        "double Q-learning": settings.double,
        "a target network": settings.target_update_interval > 0,
        f"n-step returns of {settings.n_step}": settings.n_step > 1,
        f"a learning step every {settings.train_freq} steps": settings.train_freq > 1,
        f"no learning before step {settings.learning_starts:,}": settings.learning_starts > 0,
        f"epsilon falling to {settings.exploration_final_eps}": settings.exploration_steps > 0,
        f"a learning rate falling to {settings.final_learning_rate}": (
            settings.final_learning_rate is not None
        ),
    }
    return ", ".join(words for words, holds in departures.items() if holds)


def _spread(things, most):
    """At most so many of a list, the first and the last among them, at equal distances."""
    if len(things) <= most:
        return things
    return [things[round(place)] for place in np.linspace(0, len(things) - 1, most)]


def _curve(records, measure):
    """[epoch, measure, q_error, loss of an update] of the epochs in which they were measured."""
    updates = np.diff([0, *(record.updates for record in records)])
    points = [
        [
            record.epoch,
            getattr(record, measure),
            record.q_error,
            record.loss / int(count) if count else None,
        ]
        for record, count in zip(records, updates, strict=True)
        if getattr(record, measure) is not None
    ]
    return _spread(points, MOST_POINTS)


def _moments(folder, epochs, model, game, settings):
    """The last moment, exact if there is room, and as many before it as there is room for then.

    The model has the last one's weights in the end.
    """
    last = {name: array.copy() for name, array in model.named_weights().items()}
    if _size(_packed(last)) > MOST_BYTES:
        last = moments.quantized(last, 2**15 - 1)
    left = MOST_BYTES - _size(_packed(last))
    kept = moments.saved_epochs(folder, epochs - 1)
    for most in reversed(range(MOST_MOMENTS)):
        spread = _spread([*kept, epochs], most + 1)[:-1]
        chosen = {epoch: moments.load(folder, epoch, model) for epoch in spread}
        if sum(_size(_packed(arrays)) for arrays in chosen.values()) <= left:
            break
    return [
        _moment(epoch, arrays, model, game, settings)
        for epoch, arrays in (chosen | {epochs: last}).items()
    ]


def _moment(epoch, arrays, model, game, settings):
    """A moment as the page has it: its weights, and how well the model plays with them."""
    model.set_weights(list(moments.dequantized(arrays).values()))
    unmeasured = (None,) * (len(runs.Record._fields) - 1)
    record = runs.Record(epoch, *unmeasured)
    with contextlib.suppress(GameError):  # an untrained network may play without end
        record = measured(record, model, game, settings)
    error = record.q_error  # of great weights it may be no number that JSON can hold
    return {
        "epoch": epoch,
        "wins": record.wins,
        "meanReturn": record.mean_return,
        "qError": error if error is not None and math.isfinite(error) else None,
        "weights": _packed(arrays),
    }


def _packed(arrays):
    """Weights, exact or as ``moments.quantized`` makes them, as JSON has them."""
    weights = {}
    for name, array in arrays.items():
        if name.endswith("/scale"):
            continue
        weights[name] = {
            "shape": list(array.shape),
            "type": array.dtype.name,
            "data": _base64(array),
        }
        if f"{name}/scale" in arrays:
            weights[name]["scale"] = _base64(arrays[f"{name}/scale"])
    return weights


def _base64(array):
    """An array's bytes, little-endian and compressed, as text."""
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(zlib.compress(data)).decode()


def _size(part):
    """Bytes of a part of the page's JSON."""
    return len(json.dumps(part, separators=(",", ":")))


def _recorded(model, game, settings):
    """The run's test games, as many as there is room for; of the first its beginning at least."""
    rng, recorded, left = settings.streams().test, [], MOST_RECORDED
    played = [[] for _ in range(TEST_GAMES)]
    for step in greedy_games(model, [game.start(rng) for _ in played], game.actions):
        for number, turn in step.items():
            played[number].append(turn)
    for turns in played:
        one = _game(game, turns)
        while not recorded and _size(one) > left and len(turns) > 1:
            turns = turns[: len(turns) // 2]
            one = _game(game, turns)
        left -= _size(one)
        if recorded and left < 0:
            break
        recorded.append(one)
    return recorded


def _game(game, turns):
    """Some turns of a game, as JSON has them: what the network sees, and what is drawn of it."""
    pictures = np.stack([cell_colours(game.picture(turn.frame)) for turn in turns])
    as_large = pictures.shape[1:3] == game.shape[1:]
    return {
        "frames": _base64(np.stack([turn.frame for turn in turns]).astype(np.float32)),
        "pictures": _base64(pictures) if as_large else None,
        "rewards": [turn.reward for turn in turns],
        "cut": not turns[-1].done,
    }


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
    parts = {"style": _text("style.css"), "learning": _script(LEARNING)}
    parts["page"] = _script(PAGE) + "\nbegin();\n"
    parts |= {f"{name}_hash": _hash(text) for name, text in parts.items()}
    parts["run"] = _json_in_html(run)
    # All in one pass, so that nothing is put into what comes from the run.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _text("template.html"))


def _text(name):
    """The text of a file in ``minidqn/web``."""
    return (WEB / name).read_text(encoding="utf-8")


def _script(names):
    """Files as one script."""
    return '\n"use strict";\n\n' + "\n".join(map(_text, names))


def _hash(text):
    """What a Content-Security-Policy calls a script or a style."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _json_in_html(run):
    """JSON that no HTML parser can take for markup: ASCII without <, > and &."""
    text = json.dumps(run, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _course(path):
    """The link from a page to the course, or None if they do not lie in one clone."""
    path, course = path.absolute(), COURSE.absolute()
    if not course.is_file() or course.parent.parent not in path.parents:
        return None
    return Path(os.path.relpath(course, path.parent)).as_posix()


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
    what = "Make one page of a run, in which the network plays in any browser."
    out, default = "the page, which is replaced", f"RUN/{runs.PAGE}"
    parser = cli.run_parser("page", what, out, _html_file, default)
    arguments = parser.parse_args(argv)
    flag, path = "--out" if arguments.out else "RUN", arguments.out or arguments.run / runs.PAGE
    _, _, game = cli.loaded_run(parser, arguments)
    with cli.reading(parser, arguments.run), cli.announce_compilation():
        run = describe(arguments.run, game) | {"course": _course(path)}
    page = assemble(run).encode()
    with cli.writing_to(parser, flag, path), atomic_write(path) as file:
        file.write(page)
    count = len(run["moments"])
    words = f"{len(page):,} bytes, {count} moment{'s' * (count > 1)}"
    print(f"{path}: {words}; any browser opens it")
    return 0


if __name__ == "__main__":
    cli.run(main)
