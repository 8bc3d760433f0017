"""The figures of the course, and the numbers behind them.

    python docs/figures.py                # compute the numbers anew, and draw all figures
    python docs/figures.py --check        # compute them anew, and compare with what is committed

Each figure is a function that computes its numbers, and one that draws them. The
numbers are in figures/numbers.json. What is computed without learning must come out
again to the last digits that are kept; what was learned may differ, since another
processor rounds differently and learning amplifies it, but not by more than the
tolerance that stands beside it. The figures of chapter 8 are those of its own commands.
"""

import argparse
import csv
import functools
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package beside it, not one that is installed

from minidqn import pictures  # noqa: E402
from minidqn.evaluate import q_table, wins  # noqa: E402
from minidqn.exact import q_star  # noqa: E402
from minidqn.fruit import Fruit  # noqa: E402
from minidqn.fruit import draw as draw_frame  # noqa: E402
from minidqn.nn import Conv2D, Dense, Flatten, Sequential, check_gradients, convolution  # noqa: E402
from minidqn.recipe import q_network  # noqa: E402
from minidqn.runs import Settings  # noqa: E402
from minidqn.train import training  # noqa: E402

FIGURES = ROOT / "docs/figures"
NUMBERS = FIGURES / "numbers.json"
SWEEP = ROOT / "docs/sweeps/epsilon/results.csv"
"""Of chapter 8; the default run is one of its runs."""
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "0.55"
FRAME = (4, 7, 2)
"""Fruit row, fruit column and basket of the frame that is shown."""
WIDE, WIDE_FRAME = 20, (7, 13, 5)
"""The same of a frame on a wider grid, whose fruit and basket are far from all walls."""
LOOKING = (4, 10)
"""Row and column of an output position of which it is shown what it sees."""

LEARNED = 0.06
"""By how much what was learned may differ: float32 numbers that are added up in another order
have come to 0.04 in the middle of a run."""


@functools.cache
def trained():
    """The network of the default run, and the records of the run."""
    settings = Settings(eval_every=50)
    streams = settings.streams()
    model = q_network(settings.grid_size, streams.weights, settings.learning_rate)
    return model, list(training(model, settings, streams))


# Numbers: each function returns a dict of arrays.


def exact_numbers():
    """V* for three rows of the fruit."""
    values = q_star(10, 0.8).max(axis=-1)
    return {"value": values[[0, 4, 7]]}


class _Unturned(Conv2D):
    """A convolution whose author forgot to turn the kernel on the way back."""

    def backward(self, g):
        super().backward(g)
        g = np.pad(self._gate(g), ((0, 0), (2, 2), (2, 2), (0, 0)))
        return convolution.convolve(g, self.kernel.swapaxes(2, 3), np.zeros(self.x.shape[3]))


class _Averaged(Dense):
    """A dense layer that divides the gradient of its bias by the batch once more."""

    def backward(self, g):
        dx = super().backward(g)
        self.bias_gradient /= len(g)
        return dx


class _Leaky(Dense):
    """A dense layer that forgets its ReLU on the way back."""

    def _gate(self, g):
        return g


def gradients_numbers():
    """The largest relative error of each array's gradient, right and with three mistakes."""
    found = {}
    for name, convolution_type, dense_type in (
        ("right", Conv2D, Dense),
        ("kernel not turned", _Unturned, Dense),
        ("bias averaged", Conv2D, _Averaged),
        ("ReLU forgotten", Conv2D, _Leaky),
    ):
        rng = np.random.default_rng(0)
        model = Sequential(rng=rng)
        model.add(Conv2D(4, 3, activation="relu", input_shape=(1, 8, 8)))
        model.add(convolution_type(4, 3, activation="relu"))
        model.add(Flatten())
        model.add(dense_type(10, activation="relu"))
        model.add(Dense(3))
        report = check_gradients(model, rng.random((4, 1, 8, 8)), rng)
        arrays = ["states", *model.named_weights()]
        found[name] = np.log10([max(report[array].error, 1e-12) for array in arrays])
    return found


def epsilon_numbers():
    """The length of a step of RMSprop over the learning rate, for gradients of any size."""
    g = np.logspace(-8, 0, 81)
    v, epsilon = g**2, 1e-7  # where the mean square settles
    return {
        "gradient": np.log10(g),
        "outside": g / (np.sqrt(v) + epsilon),
        "inside": g / np.sqrt(v + epsilon),
    }


def active_numbers():
    """Active positions of a frame on its way, and how many active ones each of them sees.

    An array for each layer, in which a line is row, column and number.
    """
    seen = draw_frame(WIDE, *WIDE_FRAME)[..., np.newaxis]
    found = {}
    for name in ("the frame", "after conv2d", "after conv2d_1"):
        i, j = np.nonzero(seen[0, ..., 0])
        found[name] = np.stack([i, j, seen[0, i, j, 0].astype(int)], axis=1)
        seen = convolution.convolve((seen > 0).astype(float), np.ones((3, 3, 1, 1)), np.zeros(1))
    return found


def learned_numbers():
    """What the default run comes to: wins, and the distance from Q* in each row."""
    model, records = trained()
    error = np.abs(q_table(model, 10) - q_star(10, 0.8))
    return {
        "wins": np.array([wins(model, 10).mean()]),
        "error by row": error.mean(axis=(1, 2, 3)),
        "q_error over epochs": np.array([r.q_error for r in records if r.wins is not None]),
        "values": q_table(model, 10)[4].mean(axis=(0, 1)),
    }


COMPUTED = {
    # name: function, absolute tolerance of --check
    "exact": (exact_numbers, 1e-9),
    "gradients": (gradients_numbers, None),
    "epsilon": (epsilon_numbers, 1e-9),
    "active": (active_numbers, 1e-9),
    "learned": (learned_numbers, LEARNED),
}


# Pictures: each function takes all numbers.


def new_figure(width, height, *grid, **options):
    """A figure of so many pixels, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(*grid, **options)
    for one in np.ravel(axes):
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure, name, numbers):
    """Write a figure; the file tells which numbers it shows, and nothing of when."""
    metadata = {"Software": None, "Description": digest(numbers)}
    figure.savefig(FIGURES / f"{name}.png", metadata=metadata)


def digest(numbers):
    """A short checksum of what a figure shows."""
    return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:16]


def draw_exact(numbers):
    figure, axes = new_figure(1000, 330, 1, 3, sharey=True)
    rows = ("first", "middle", "last")
    for one, name, value in zip(axes, rows, np.array(numbers["exact"]["value"]), strict=True):
        image = one.imshow(
            value.T, origin="lower", vmin=-1, vmax=1, cmap="cividis", extent=(-0.5, 9.5, 0.5, 8.5)
        )
        one.set_title(f"V*, fruit in the {name} row")
        one.set_xlabel("fruit's column")
    axes[0].set_ylabel("basket's centre")
    figure.colorbar(image, ax=axes, label="return", shrink=0.9)
    save(figure, "exact", numbers["exact"])


def draw_gradients(numbers):
    figure, axes = new_figure(900, 300)
    for place, errors in enumerate(numbers["gradients"].values()):
        right = np.array(errors) < -6
        spread = place + np.linspace(-0.28, 0.28, len(errors))
        errors = np.array(errors)
        axes.plot(
            errors[right], spread[right], "o", color=BLUE, label="below" if place == 0 else None
        )
        axes.plot(
            errors[~right], spread[~right], "x", color=ORANGE, markersize=7, markeredgewidth=2
        )
    axes.axvline(-6, color=GREY, linestyle="--")
    axes.text(-5.9, 3.35, "a mistake", color=GREY)
    axes.text(-6.1, 3.35, "rounding", color=GREY, ha="right")
    axes.set_yticks(range(4), numbers["gradients"])
    axes.set_ylim(3.6, -0.5)
    axes.set_xlim(-12.2, 0.6)
    axes.set_xticks(range(-12, 1, 2), [f"$10^{{{power}}}$" for power in range(-12, 1, 2)])
    axes.set_xlabel("relative error of a gradient, one mark for each array of the network")
    save(figure, "gradients", numbers["gradients"])


def draw_epsilon(numbers):
    figure, axes = new_figure(800, 320)
    g = 10 ** np.array(numbers["epsilon"]["gradient"])
    axes.plot(g, numbers["epsilon"]["outside"], color=BLUE, label="outside: √v + ε")
    axes.plot(
        g, numbers["epsilon"]["inside"], color=ORANGE, linestyle="--", label="inside: √(v + ε)"
    )
    axes.set_xscale("log")
    axes.set_xlabel("size of the gradient")
    axes.set_ylabel("step, in learning rates")
    axes.set_ylim(0, 1.08)
    axes.grid(alpha=0.25)
    axes.legend(title="ε = 0.0000001", frameon=False, loc="center right")
    save(figure, "epsilon", numbers["epsilon"])


def draw_rows(numbers):
    figure, axes = new_figure(700, 300)
    errors = numbers["learned"]["error by row"]
    axes.bar(range(len(errors)), errors, color=BLUE)
    axes.set_xticks(range(len(errors)))
    axes.set_xlabel("row of the fruit: 0 at the start, 7 before the last action")
    axes.set_ylabel("mean |Q - Q*|")
    save(figure, "rows", numbers["learned"])


def draw_run(numbers):
    """Learned against exact, and the feature maps: the charts that every run has."""
    model, _ = trained()
    pictures.save_values(FIGURES / "values.png", q_table(model, 10), q_star(10, 0.8))
    frame = draw_frame(10, *FRAME)
    outputs = model.layer_outputs(frame[np.newaxis])
    maps = [(name, outputs[name][0]) for name in ("conv2d", "conv2d_1")]
    picture = pictures.frame_pixels(Fruit(10).picture(frame))
    pictures.save_feature_maps(FIGURES / "features.png", picture, maps)


def draw_active(numbers):
    from matplotlib.patches import Rectangle

    figure, axes = new_figure(1200, 440, 1, 3)
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)
    for depth, (name, active) in enumerate(numbers["active"].items()):
        one, side = axes[depth], WIDE - 2 * depth
        i, j, seen = np.transpose(active)
        shade = np.zeros((side, side))
        shade[i, j] = 0.2 + 0.045 * seen if depth else 1
        edges = np.arange(side + 1) + depth  # a position lies in the middle of what it sees
        one.pcolormesh(edges, edges, shade, cmap="Blues", vmax=1, edgecolors="0.85", linewidth=0.5)
        for row, column, count in active if depth else ():
            place = column + depth + 0.5, row + depth + 0.53
            one.text(*place, count, ha="center", va="center", fontsize=9)
        corner, reach = (LOOKING[1] + depth, LOOKING[0] + depth), 5 - 2 * depth
        one.add_patch(Rectangle(corner, reach, reach, fill=False, edgecolor=ORANGE, linewidth=2.5))
        one.set(xlim=(-0.1, WIDE + 0.1), ylim=(WIDE + 0.1, -0.1), aspect="equal")
        one.set_axis_off()
        one.set_title(f"{name}: {len(active)} of {side * side} positions")
    save(figure, "active", numbers["active"])


DRAWN = draw_exact, draw_gradients, draw_epsilon, draw_active, draw_rows, draw_run


def computed():
    """All numbers, as they go into the file."""
    return {
        name: {key: np.round(value, 12).tolist() for key, value in numbers().items()}
        for name, (numbers, _) in COMPUTED.items()
    }


def differences(committed):
    """What no longer comes out, a line for each."""
    found = computed()
    for name, (_, tolerance) in COMPUTED.items():
        if list(committed.get(name, ())) != list(found[name]):
            yield f"{name}: other numbers than those that are committed"
            continue
        for key, value in found[name].items():
            was, now = np.array(committed[name][key]), np.array(value)
            if was.shape != now.shape:
                yield f"{name}, {key}: {now.shape} numbers instead of {was.shape}"
            elif tolerance is None:  # powers of ten: rounding differs, mistakes do not
                if (
                    not ((was < -6) == (now < -6)).all()
                    or abs(was - now)[now > -6].max(initial=0) > 1
                ):
                    yield f"{name}, {key}: a gradient is right that was wrong, or wrong now"
            elif abs(was - now).max() > tolerance:
                yield f"{name}, {key}: differs by {abs(was - now).max():.3g}"
    with open(SWEEP, encoding="utf-8") as file:
        default = {"epsilon": "0.8", "seed": "0"}
        [swept] = (row for row in csv.DictReader(file) if default.items() <= row.items())
    if abs(float(swept["q_error"]) - found["learned"]["q_error over epochs"][-1]) > LEARNED:
        yield f"{SWEEP}: the default run with seed 0 comes out otherwise"
    for name, numbers in shown(committed).items():
        path = FIGURES / f"{name}.png"
        picture = path.read_bytes() if path.is_file() else b""
        if not picture.startswith(b"\x89PNG") or digest(numbers).encode() not in picture:
            yield f"figures/{name}.png: does not show the numbers that are committed"
    for name in ("values", "features"):  # drawn by minidqn.pictures, as those of any run
        path = FIGURES / f"{name}.png"
        if not path.is_file() or not path.read_bytes().startswith(b"\x89PNG"):
            yield f"figures/{name}.png: is no picture"


def shown(committed):
    """The numbers that each picture shows, by its name."""
    found = {name: committed[name] for name in ("exact", "gradients", "epsilon", "active")}
    return found | {"rows": committed["learned"]}


def main():
    parser = argparse.ArgumentParser(description="The figures of the course.")
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    if parser.parse_args().check:
        lines = list(differences(json.loads(NUMBERS.read_text(encoding="utf-8"))))
        print("\n".join(lines) or "all numbers come out")
        return 1 if lines else 0
    FIGURES.mkdir(exist_ok=True)
    numbers = computed()
    NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    for picture in DRAWN:
        picture(numbers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
