"""How the time of a learning step grows, and that of the memory: sizes, batches, threads.

    python -m benchmarks.scaling          # some minutes; --quick for a look

Grid sizes 10 to 84, batches of 32 to 1024 and threads 1 and 2 for the learning
step, this package beside PyTorch and JAX; 1,000 to 1,000,000 experiences for
``send``, in time and bytes. Writes results/scaling.csv, replay.csv, their tables
and scaling.png beside this file.
"""

import time

import numpy as np

from benchmarks import harness
from benchmarks.step import measure as measure_step

GRIDS, BATCHES, STORED = (10, 15, 20, 30, 40, 84), (32, 64, 128, 256, 512, 1024), (3, 4, 5, 6)
LABELS = ["minidqn", "torch eager", "jax"]


def measure(job):
    """In a child: learning steps, or a memory."""
    return measure_memory(job) if job["kind"] == "memory" else measure_step(job)


def measure_memory(job):
    """Seconds of a ``send`` to a memory that holds so many experiences, and its bytes."""
    from minidqn.fruit import draw
    from minidqn.replay import Memory, _replay

    rng = np.random.default_rng(0)
    memory = Memory(job["stored"])
    frames = [draw(10, row, row, 8 - row) for row in range(8)]
    for number in range(job["stored"]):
        memory.store((frames[number % 8], 0, 0, frames[(number + 1) % 8]))
    arrays = memory.states, memory.next_states, memory.actions, memory.rewards
    replay = _replay(memory, 128, rng)
    next(replay)
    taken = []
    for number in range(job["rounds"]):
        began = time.perf_counter()
        replay.send((frames[number % 8], 0, 0, frames[(number + 1) % 8]))
        taken.append(time.perf_counter() - began)
    return {
        "min": min(taken),
        "median": float(np.median(taken)),
        "bytes": sum(array.nbytes for array in arrays) / job["stored"],
    }


def report(arguments):
    """In the parent: every size in a child of its own."""
    report_memory(arguments)
    report_steps(arguments)


def report_memory(arguments):
    """Memories of several sizes."""
    memory_rows = []
    for power in STORED:
        job = {"kind": "memory", "stored": 10**power, "rounds": 200 if arguments.quick else 2000}
        result = harness.in_child("benchmarks.scaling", job)
        memory_rows.append(
            {
                "stored": f"{10**power:,}",
                "send us, min": f"{1e6 * result['min']:.1f}",
                "send us, median": f"{1e6 * result['median']:.1f}",
                "bytes an experience": f"{result['bytes']:.0f}",
            }
        )
    harness.write_csv("replay", memory_rows)
    harness.write_table("replay", memory_rows)


def report_steps(arguments):
    """Grid sizes, batches and threads."""
    rows = []
    sizes = [(grid, 128) for grid in GRIDS] + [(10, batch) for batch in BATCHES if batch != 128]
    if arguments.quick:
        sizes = [(10, 128), (20, 128), (10, 256)]
    for grid_size, batch_size in sizes:
        for threads in (1, 2):
            job = {
                "kind": "step",
                "grid_size": grid_size,
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
            for label in LABELS:
                if label in steps:
                    rows.append(_row(grid_size, batch_size, threads, label, steps, result))
    harness.write_csv("scaling", rows)
    harness.write_table("scaling", rows)
    draw(rows)


def _row(grid_size, batch_size, threads, label, steps, result):
    step = steps[label]
    return {
        "grid": grid_size,
        "batch": batch_size,
        "threads": threads,
        "contestant": label,
        "step ms, min": f"{1e3 * step['min']:.3f}",
        "step ms, median": f"{1e3 * step['median']:.3f}",
        "over ours, min": f"{step['min'] / steps['minidqn']['min']:.2f}",
        "GFLOP/s": f"{result['operations'] / step['min'] / 1e9:.1f}",
        "of sgemm": f"{result['operations'] / step['min'] / result['peak']:.2f}",
        "cores": f"{step['cores']:.2f}",
    }


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
                shown.sort(key=lambda row: row[key])
                axes.plot(
                    [row[key] for row in shown],
                    [float(row["step ms, min"]) for row in shown],
                    line,
                    marker=marker,
                    color=colour,
                    label=f"{label}, {threads} thread{'s' * (threads > 1)}",
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
