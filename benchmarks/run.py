"""The default run, process start to last image: this package beside the frameworks.

    python -m benchmarks.run              # some minutes; --quick for 20 epochs

Every contestant runs in a process of its own, from the first import to the last
picture, with the same coroutines, seeds, evaluation and pictures; contestants take
turns. This package is timed twice: with an empty folder for its compiled kernels,
and with a full one. Writes results/run.csv and run.md beside this file.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import harness

BACKENDS = {"keras": ("jax", "torch")}
LABELS = ("minidqn", "torch eager", "jax", "keras")


def measure(job):
    """In a child: one whole run; when it began to learn, and what it won."""
    import numpy as np

    from minidqn import train
    from minidqn.charts import save_curve
    from minidqn.runs import Settings

    settings = Settings(epochs=job["epochs"])
    streams = settings.streams()
    weights = train.q_network(settings.grid_size, streams.weights, threads=1).get_weights()
    present, absent = harness.contestants([job["label"]], weights, 10, job["threads"])
    if absent:
        return {"absent": absent}
    contestant = present[job["label"]]
    # A Sequential learns with its own method; the others bring theirs.
    model = contestant.model if job["label"] == "minidqn" else contestant
    if job["label"] != "minidqn":
        train.learn = lambda contestant, batch, gamma: contestant.learn(batch)
    first, records = None, []
    for record in train.training(model, settings, streams):
        if first is None and record.updates:
            first = time.time()
        records.append(record)
    folder = Path(job["folder"])
    train.save_pictures(model, settings, folder)
    save_curve(folder / "curve.png", records)
    np.savez(folder / "weights.npz", *contestant.get_weights())
    return {
        "first": first - job["began"],
        "loop": records[-1].seconds,
        "wins": records[-1].wins,
        "absent": {},
    }


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


def first_compilation():
    """Seconds that the command says it spent compiling, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        command = f"{sys.executable} -m minidqn.train --epochs 1 --no-images --out".split()
        done = subprocess.run(
            [*command, str(Path(folder) / "run")],
            env={**harness.os.environ, "NUMBA_CACHE_DIR": str(Path(folder) / "cache")},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            check=True,
        )
    return done.stderr.strip()


def report(arguments):
    """In the parent: contestants take turns, the shortest of several runs counts."""
    print("empty cache:", first_compilation())
    epochs = 20 if arguments.quick else 500
    entries = [("minidqn", ""), ("torch eager", ""), ("jax", "")]
    entries += [("keras", backend) for backend in BACKENDS["keras"]]
    times, skipped = {}, set()
    with tempfile.TemporaryDirectory() as warm:
        for _ in range(1 if arguments.quick else arguments.rounds):
            with tempfile.TemporaryDirectory() as cold:
                result = timed("minidqn", "", epochs, arguments.threads, cold)
                times.setdefault("minidqn, empty cache", []).append(result)
            for label, backend in entries:
                name = f"{label} on {backend}" if backend else label
                if name in skipped:
                    continue
                result = timed(label, backend, epochs, arguments.threads, warm)
                if result["absent"]:
                    skipped.add(name)
                    print(f"{name}: {result['absent'][label]}")
                elif label != "minidqn" or name in times or times.get("warmed"):
                    times.setdefault(name, []).append(result)
                else:  # the first run has filled the cache; only later ones are warm
                    times["warmed"] = True
                    times.setdefault(name, []).append(
                        timed(label, backend, epochs, arguments.threads, warm)
                    )
    times.pop("warmed", None)
    ours = min(result["whole"] for result in times["minidqn"])
    rows = []
    for name, results in times.items():
        whole = sorted(result["whole"] for result in results)
        rows.append(
            {
                "contestant": name,
                "threads": arguments.threads,
                "epochs": epochs,
                "whole s, min": f"{whole[0]:.2f}",
                "whole s, median": f"{whole[len(whole) // 2]:.2f}",
                "over ours, min": f"{whole[0] / ours:.2f}",
                "start to first step s": f"{min(result['first'] for result in results):.2f}",
                "loop s, min": f"{min(result['loop'] for result in results):.2f}",
                "wins": f"{results[-1]['wins']}/80",
                "runs": len(results),
            }
        )
    harness.write_csv("run", rows)
    harness.write_table("run", rows)


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant")


if __name__ == "__main__":
    harness.main("The default run, process start to last image.", measure, report, add_flags)
