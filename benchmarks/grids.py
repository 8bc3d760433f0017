"""Fruit on big grids, by the recipe and by ``--preset big``: the share of all starts that is won.

    python -m benchmarks.grids        # minutes; --quick for a tenth of the epochs, one seed

The recipe has its default settings but for the grid, 500 epochs among them. Each run has a
process on one core; seconds are those of the loop and its one evaluation.
Writes results/grids.csv and grids.md.
"""

import itertools
import time

from benchmarks import harness
from minidqn.command import PRESETS, warm_up
from minidqn.runs import Settings
from minidqn.train import train

GRIDS = 20, 30
SETTINGS = {"recipe": {}, "preset big": PRESETS["big"]}


def measure(job):
    """In a child: one run; how many starts it wins at the end, and how long it took."""
    options = SETTINGS[job["settings"]] | {"grid_size": job["grid"], "seed": job["seed"]}
    epochs = options.get("epochs", Settings().epochs) // job["share"]
    options |= {"epochs": epochs, "eval_every": epochs}
    warm_up("compiled")
    began = time.perf_counter()
    _, records = train(**options)
    return {
        "grid": job["grid"],
        "settings": job["settings"],
        "seed": job["seed"],
        "epochs": epochs,
        "share of starts won": f"{records[-1].wins / records[-1].starts:.4f}",
        "seconds": f"{time.perf_counter() - began:.0f}",
    }


def report(arguments):
    """In the parent: one run after the other."""
    seeds, share = (1, 10) if arguments.quick else (arguments.seeds, 1)
    rows = []
    for grid, name, seed in itertools.product(GRIDS, SETTINGS, range(seeds)):
        job = {"grid": grid, "settings": name, "seed": seed, "share": share}
        rows.append(harness.in_child("benchmarks.grids", job))
        print(rows[-1], flush=True)
    harness.write_csv("grids", rows)
    harness.write_table("grids", rows)


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--seeds", type=int, default=3, help="runs of each grid and settings")


if __name__ == "__main__":
    harness.main("Fruit on big grids.", measure, report, add_flags)
