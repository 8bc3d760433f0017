"""How the time of a learning step grows, and that of the memory: with grid, batch, number.

    python -m benchmarks.scaling          # some minutes; --quick for a look

Grid sizes 10 to 84 and batches of 32 to 1024 for the learning step, this package on one
core beside PyTorch and JAX on one and on two; 1,000 to 1,000,000 experiences of Fruit
for ``send``, in time and bytes. Writes results/scaling.csv, replay.csv, their tables
and scaling.png beside this file.
"""

import itertools

import numpy as np

from benchmarks import harness
from benchmarks.step import measure as measure_step

GRIDS, BATCHES, STORED = (10, 15, 20, 30, 40, 84), (32, 64, 128, 256, 512, 1024), (3, 4, 5, 6)
LABELS = ["minidqn", "torch eager", "jax"]


def measure(job):
    """In a child: learning steps, or memories."""
    return measure_memories(job) if job["kind"] == "memory" else measure_step(job)


def measure_memories(job):
    """Seconds of a ``send`` to memories that are full, and their bytes; they take turns."""
    from minidqn.replay import Memory, experience_replay

    rng = np.random.default_rng(0)
    games = harness.experiences(job["grid_size"], rng)
    jobs, sizes = {}, {}
    for stored in job["stored"]:
        memory = Memory(stored)
        for experience in itertools.islice(games, stored):
            memory.store(experience)
        replay = experience_replay(128, stored, rng, memory)
        next(replay)
        jobs[str(stored)] = lambda _, replay=replay: replay.send(next(sent))
        # Every array that the memory owns, and all of it: room not yet used counts too.
        arrays = [a for a in vars(memory).values() if isinstance(a, np.ndarray) and a.base is None]
        sizes[str(stored)] = sum(array.nbytes for array in arrays) / stored
    sent = itertools.cycle(list(itertools.islice(games, 1000)))
    times = harness.take_turns(jobs, job["rounds"], seconds=20)
    return {stored: times[stored] | {"bytes": size} for stored, size in sizes.items()}


def report(arguments):
    """In the parent: the memory, then the steps."""
    report_memories(arguments)
    report_steps(arguments)


def report_memories(arguments):
    """Memories of several sizes; those of a grid size in one child."""
    rows = []
    for grid_size in (10, 84):
        job = {
            "kind": "memory",
            "grid_size": grid_size,
            "stored": [10**power for power in STORED if power < 5 or not arguments.quick],
            "rounds": 20 if arguments.quick else 400,
        }
        result = harness.in_child("benchmarks.scaling", job)
        first = result[str(job["stored"][0])]
        for stored in job["stored"]:
            taken = result[str(stored)]
            rows.append(
                {
                    "grid": grid_size,
                    "stored": f"{stored:,}",
                    "send us, min": f"{1e6 * taken['min']:.1f}",
                    "send us, median": f"{1e6 * taken['median']:.1f}",
                    "over the first, min": f"{taken['min'] / first['min']:.2f}",
                    "over the first, median": f"{taken['median'] / first['median']:.2f}",
                    "bytes an experience": f"{taken['bytes']:.0f}",
                }
            )
    harness.write_csv("replay", rows)
    harness.write_table("replay", rows)


def report_steps(arguments):
    """Grid sizes and batches, with the frameworks on one core and on two."""
    rows = []
    sizes = [(grid, 128) for grid in GRIDS] + [(10, batch) for batch in BATCHES if batch != 128]
    if arguments.quick:
        sizes = [(10, 128), (20, 128), (10, 256)]
    for (grid_size, batch_size), threads in itertools.product(sizes, (1, 2)):
        job = {
            "kind": "step",
            "grid_size": grid_size,
            "cells on": "Fruit",
            "batch_size": batch_size,
            "threads": threads,
            "rounds": 5 if arguments.quick else 100,
            "seconds": 2 if arguments.quick else 4,
            "labels": LABELS,
        }
        result = harness.in_child("benchmarks.scaling", job, threads)
        for label, reason in result["absent"].items():
            print(f"{label}: {reason}")
        steps = result["steps"]
        for label, step in steps.items():
            if label == "minidqn" and threads > 1:  # one core again, for the ratios only
                continue
            rows.append(
                {
                    "grid": grid_size,
                    "batch": batch_size,
                    "threads": threads,
                    "contestant": label,
                    "step ms, min": f"{1e3 * step['min']:.3f}",
                    "step ms, median": f"{1e3 * step['median']:.3f}",
                    "over ours, min": f"{step['min'] / steps['minidqn']['min']:.2f}",
                    "cores": f"{step['cores']:.2f}",
                }
            )
    harness.write_csv("scaling", rows)
    harness.write_table("scaling", rows)
    draw(rows)


def draw(rows):
    """Time over grid size and over batch size, a line for each contestant."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    by_grid, by_batch = figure.subplots(1, 2)
    styles = {"minidqn": ("#d55e00", "o"), "torch eager": ("#0072b2", "s"), "jax": ("#009e73", "^")}
    for axes, key, fixed, value in (
        (by_grid, "grid", "batch", 128),
        (by_batch, "batch", "grid", 10),
    ):
        for label, (colour, marker) in styles.items():
            for threads, line in ((1, "-"), (2, "--")):
                shown = [
                    row
                    for row in rows
                    if (row["contestant"], row["threads"], row[fixed]) == (label, threads, value)
                ]
                if not shown:
                    continue
                shown.sort(key=lambda row: row[key])
                axes.plot(
                    [row[key] for row in shown],
                    [float(row["step ms, min"]) for row in shown],
                    line,
                    marker=marker,
                    color=colour,
                    label=f"{label}, {('one core', 'two cores')[threads - 1]}",
                )
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = sorted({row[key] for row in rows if row[fixed] == value})
        axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        axes.minorticks_off()
        axes.set_xlabel({"grid": "grid size, cells", "batch": "batch size, experiences"}[key])
        axes.set_ylabel("a learning step, ms (the fastest)")
        axes.grid(alpha=0.25)
    by_grid.legend(fontsize=8)
    figure.savefig(harness.RESULTS / "scaling.png")


if __name__ == "__main__":
    harness.main("How times grow with sizes.", measure, report)
