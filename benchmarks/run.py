"""The default run, process start to last image: this package beside the frameworks.

    python -m benchmarks.run              # some minutes; --quick for 20 epochs

Every contestant runs in a process of its own, from the first import to the last
picture, with the same coroutines, seeds, evaluation and pictures; contestants take
turns. This package is timed twice: with an empty folder for its compiled kernels,
and with a full one. Then this package and the fastest framework run where they may
use every core, on an idle machine and while other programs keep every core busy.
Writes results/run.csv, busy.csv and their tables beside this file.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import harness

ENTRIES = (
    ("minidqn", ""), ("torch eager", ""), ("jax", ""), ("keras", "jax"), ("keras", "torch"),
)  # fmt: skip

BUSY = """
import os, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [int(sys.argv[1])])
while os.getppid() == int(sys.argv[2]):
    for _ in range(1_000_000):
        pass
"""
"""A program that keeps one core busy, and ends when its parent does."""


def measure(job):
    """In a child: one whole run; when it began to learn, and what it won."""
    import numpy as np

    from minidqn import train
    from minidqn.command import warm_up
    from minidqn.fruit import Fruit
    from minidqn.pictures import save_curve, save_games
    from minidqn.recipe import q_network
    from minidqn.runs import Settings

    settings = Settings(epochs=job["epochs"])
    streams = settings.streams()
    weights = q_network(settings.grid_size, streams.weights).get_weights()
    present, absent = harness.contestants([job["label"]], weights, 10, job["threads"])
    if absent:
        return {"absent": absent}
    contestant = present[job["label"]]
    # A Sequential learns with its own method; the others bring theirs.
    model, kernels = contestant, None
    if job["label"] == "minidqn":
        model, began = contestant.model, time.perf_counter()
        warm_up(model.engine)
        kernels = time.perf_counter() - began
    else:
        train.learn = lambda contestant, batch, *_: contestant.learn(batch)
    first, records = None, []
    for record in train.training(model, settings, streams):
        if first is None and record.updates:
            first = time.time()
        records.append(record)
    folder = Path(job["folder"])
    save_games(folder, Fruit(10), train.play_test_games(model, settings))
    save_curve(folder / "curve.png", records)
    np.savez(folder / "weights.npz", *contestant.get_weights())
    return {
        "kernels": kernels,
        "first": first - job["began"],
        "loop": records[-1].seconds,
        "wins": records[-1].wins,
        "absent": {},
    }


def named(label, backend):
    """The name of a row, such as "keras on jax"."""
    return f"{label} on {backend}" if backend else label


def timed(label, backend, epochs, threads, cache):
    """One run in a fresh process: its result and its whole time."""
    variables = {"NUMBA_CACHE_DIR": cache}
    if backend:
        variables["KERAS_BACKEND"] = backend
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        job = {"label": label, "epochs": epochs, "folder": folder, "began": began}
        result = harness.in_child("benchmarks.run", job, threads, **variables)
        result["whole"] = time.time() - began
    return result


def report(arguments):
    """In the parent: contestants take turns, the shortest of several runs counts."""
    epochs, rounds = (20, 1) if arguments.quick else (500, arguments.rounds)
    times, absent = {}, {}
    with tempfile.TemporaryDirectory() as warm:
        timed("minidqn", "", 20, 1, warm)  # fills the cache
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as cold:
                result = timed("minidqn", "", epochs, 1, cold)
                times.setdefault("minidqn, empty cache", []).append(result)
            for label, backend in ENTRIES:
                name = named(label, backend)
                if name in absent:
                    continue
                result = timed(label, backend, epochs, 1, warm)
                if result["absent"]:
                    absent[name] = result["absent"][label]
                    print(f"{name}: {absent[name]}")
                else:
                    times.setdefault(name, []).append(result)
        report_runs(times, epochs)
        report_busy(times, epochs, rounds, warm)


def least(results, name):
    """The least of a number over several runs, or nothing if they have none."""
    found = [result[name] for result in results if result[name] is not None]
    return f"{min(found):.2f}" if found else ""


def report_runs(times, epochs):
    """The table of whole runs on one core."""
    ours = min(result["whole"] for result in times["minidqn"])
    rows = []
    for name, results in times.items():
        whole = [result["whole"] for result in results]
        rows.append(
            {
                "contestant": name,
                "epochs": epochs,
                "whole s, min": f"{min(whole):.2f}",
                "whole s, median": f"{statistics.median(whole):.2f}",
                "over ours, min": f"{min(whole) / ours:.2f}",
                "kernels s": least(results, "kernels"),
                "start to first step s": least(results, "first"),
                "loop s, min": least(results, "loop"),
                "wins": f"{results[-1]['wins']}/80",
                "runs": len(results),
            }
        )
    harness.write_csv("run", rows)
    harness.write_table("run", rows)


@contextlib.contextmanager
def every_core_busy():
    """Other programs on all cores that this process may use, one on each, during the body."""
    cores = range(os.cpu_count())
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
    programs = []
    try:
        for core in cores:
            command = [sys.executable, "-c", BUSY, str(core), str(os.getpid())]
            programs.append(subprocess.Popen(command))
        yield
    finally:
        for program in programs:
            program.kill()
        for program in programs:
            program.wait()


def report_busy(times, epochs, rounds, cache):
    """This package and the fastest framework, idle and busy in turns."""
    others = [entry for entry in ENTRIES[1:] if named(*entry) in times]
    others.sort(key=lambda entry: min(result["whole"] for result in times[named(*entry)]))
    rows, cores = [], os.cpu_count()
    for label, backend in [ENTRIES[0], *others[:1]]:
        idle, busy = [], []
        for _ in range(rounds):
            idle.append(timed(label, backend, epochs, cores, cache)["whole"])
            with every_core_busy():
                busy.append(timed(label, backend, epochs, cores, cache)["whole"])
        rows.append(
            {
                "contestant": named(label, backend),
                "threads": 1 if label == "minidqn" else cores,
                "epochs": epochs,
                "idle s, min": f"{min(idle):.2f}",
                "busy s, min": f"{min(busy):.2f}",
                "busy s, median": f"{statistics.median(busy):.2f}",
                "busy over idle, min": f"{min(busy) / min(idle):.2f}",
                "runs": rounds,
            }
        )
    harness.write_csv("busy", rows)
    harness.write_table("busy", rows)


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant")


if __name__ == "__main__":
    harness.main("The default run, process start to last image.", measure, report, add_flags)
