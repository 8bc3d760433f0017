"""Fruit on big grids with ``--preset big``: the share of all starts that is won, and the seconds.

    python -m benchmarks.grids             # an hour for the grid of 84; --quick for a tenth of it
    python -m benchmarks.grids --grids 20 30 --seeds 3

Each run has a process on one core, and its seconds are those of ``python -m minidqn.train``:
the evaluations count, compiling and pictures do not. Writes results/grids.csv and grids.md.
"""

import time

from benchmarks import harness

SETTINGS = {20: {}, 30: {}, 84: {}}
"""By the size of a grid, what its runs have beside the preset."""

SEEDS = {84: 1}
"""Runs of a grid, if not so many as of the others."""


def measure(job):
    """In a child: one run; how many starts it wins at the end, and how long it took."""
    from minidqn.command import PRESETS, warm_up
    from minidqn.runs import Settings
    from minidqn.train import train

    options = PRESETS["big"] | SETTINGS[job["grid"]]
    options |= {"grid_size": job["grid"], "seed": job["seed"]}
    options["epochs"] //= job["share"]
    warm_up("compiled", Settings(**options).optimizer)
    began = time.perf_counter()
    _, records = train(**options)
    return {
        "grid": job["grid"],
        "seed": job["seed"],
        "epochs": options["epochs"],
        "starts won": f"{records[-1].wins / records[-1].starts:.4f}",
        "seconds": f"{time.perf_counter() - began:.0f}",
    }


def report(arguments):
    """In the parent: one run after the other."""
    rows = []
    for grid in arguments.grids:
        for seed in range(1 if arguments.quick else SEEDS.get(grid, arguments.seeds)):
            job = {"grid": grid, "seed": seed, "share": 10 if arguments.quick else 1}
            rows.append(harness.in_child("benchmarks.grids", job))
            print(rows[-1], flush=True)
    harness.write_csv("grids", rows)
    harness.write_table("grids", rows)


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--grids", type=int, nargs="+", choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument("--seeds", type=int, default=3, help="runs of a grid")


if __name__ == "__main__":
    harness.main("Fruit on big grids.", measure, report, add_flags)
