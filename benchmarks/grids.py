"""Fruit on big grids, by the recipe and by the presets: the share of all starts that is won.

    python -m benchmarks.grids        # half an hour; --quick for a tenth of the epochs, one seed

The recipe has its default settings but for the grid, 500 epochs among them. Each run has a
process on one core; seconds are those of the loop and its one evaluation.
Writes results/grids.csv and grids.md; lines of grids that were left out stay in them.
"""

import time

from benchmarks import harness
from minidqn.command import PRESETS, warm_up
from minidqn.runs import Settings
from minidqn.train import train

SETTINGS = {"recipe": {}, "preset big": PRESETS["big"], "preset huge": PRESETS["huge"]}
GRIDS = {20: ("recipe", "preset big"), 30: ("recipe", "preset big"), 84: ("preset huge",)}


def measure(job):
    """In a child: one run; how many starts it wins at the end, and how long it took."""
    options = SETTINGS[job["settings"]] | {"grid_size": job["grid"], "seed": job["seed"]}
    epochs = options.get("epochs", Settings().epochs) // job["share"]
    options |= {"epochs": epochs, "eval_every": epochs}
    warm_up("compiled")
    began = time.perf_counter()
    _, records = train(verbose=False, **options)
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
    if (harness.RESULTS / "grids.csv").exists():
        kept = {str(grid) for grid in GRIDS if grid not in arguments.grids}
        rows = [row for row in harness.read_csv("grids") if row["grid"] in kept]
    jobs = [
        {"grid": grid, "settings": name, "seed": seed, "share": share}
        for grid in arguments.grids
        for name in GRIDS[grid]
        for seed in range(1 if grid == 84 else seeds)
    ]
    for job in jobs:
        rows.append(harness.in_child("benchmarks.grids", job))
        print(rows[-1], flush=True)
    rows.sort(key=lambda row: int(row["grid"]))
    harness.write_csv("grids", rows)
    harness.write_table("grids", rows)


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--seeds", type=int, default=3, help="runs of each grid but 84")
    parser.add_argument("--grids", type=int, nargs="+", choices=GRIDS, default=list(GRIDS))


if __name__ == "__main__":
    harness.main("Fruit on big grids.", measure, report, add_flags)
