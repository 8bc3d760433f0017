"""What it costs that nothing can be lost: the default run with and without its checkpoints.

    python -m benchmarks.durability       # two minutes; --quick for 50 epochs

Runs of the command take turns, each in a process of its own: with a checkpoint every
50 epochs, which is the default, and with none but the first and the last, which every
run makes. The last checkpoint is then saved over and over: as it is, compressed, and as
it is with a full memory. Writes results/durability.csv and durability.md, saves.csv and
saves.md beside this file.
"""

import contextlib
import io
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import harness

EVERY = {"every 50 epochs": 50, "first and last only": 10**9}


def measure(job):
    """In a child: the default run, its saves timed; or saves of what it has left."""
    return saves(job) if "saves" in job else run(job)


def run(job):
    """The command, its saves timed."""
    from minidqn import command, runs

    times = []
    save = runs.save_checkpoint

    def timed(folder, state):
        began = time.perf_counter()
        save(folder, state)
        times.append(time.perf_counter() - began)

    runs.save_checkpoint = timed
    flags = {"epochs": job["epochs"], "checkpoint-every": job["every"], "out": job["folder"]}
    arguments = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        status = command.main(arguments)
    return {"status": status, "whole": time.perf_counter() - began, "saves": times}


def saves(job):
    """The same state saved many times, as it is and compressed."""
    from minidqn import runs, storage
    from minidqn.replay import Memory

    folder = Path(job["folder"])

    state, _ = runs.load_latest(folder)
    with np.load(folder / "checkpoint.npz") as file:
        arrays = dict(file)
    path = folder / "compressed.npz"

    def compressed(_):
        with storage.atomic_write(path) as file:
            np.savez_compressed(file, **arrays)

    full = folder / "full"
    full.mkdir()
    memory = Memory(state.settings.capacity)
    stored = list(state.memory.take(np.arange(state.memory.count)))
    for experience in itertools.islice(itertools.cycle(stored), memory.capacity):
        memory.store(experience)
    jobs = {
        "as they are": (lambda _: runs.save_checkpoint(folder, state), folder / "checkpoint.npz"),
        "compressed": (compressed, path),
        "as they are, memory full": (
            lambda _: runs.save_checkpoint(full, state._replace(memory=memory)),
            full / "checkpoint.npz",
        ),
    }
    times = harness.take_turns(
        {label: save for label, (save, _) in jobs.items()}, job["saves"], seconds=20
    )
    return {
        label: times[label] | {"bytes": path.stat().st_size, "experiences": count}
        for (label, (_, path)), count in zip(
            jobs.items(), (state.memory.count, state.memory.count, memory.count), strict=True
        )
    }


def report(arguments):
    """In the parent: runs take turns."""
    epochs = 50 if arguments.quick else 500
    found = {label: [] for label in EVERY}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2 if arguments.quick else arguments.rounds):
            for label, every in EVERY.items():
                out = str(Path(folder) / f"{every}-{number}")
                job = {"epochs": epochs, "every": every, "folder": out}
                result = harness.in_child("benchmarks.durability", job)
                found[label].append(result)
        job = {"saves": 5 if arguments.quick else 50, "folder": out}
        saved = harness.in_child("benchmarks.durability", job)
    rows = []
    for label, results in found.items():
        whole = [result["whole"] for result in results]
        spent = [sum(result["saves"]) for result in results]
        rows.append(
            {
                "checkpoints": label,
                "epochs": epochs,
                "runs": len(results),
                "whole s, min": f"{min(whole):.2f}",
                "whole s, median": f"{statistics.median(whole):.2f}",
                "saves": len(results[0]["saves"]),
                "s in saves, median": f"{statistics.median(spent):.3f}",
                "of the run, greatest": f"{max(map(np.divide, spent, whole)):.2%}",
            }
        )
    harness.write_csv("durability", rows)
    harness.write_table("durability", rows)
    rows = [
        {
            "arrays stored": label,
            "experiences": f"{result['experiences']:,}",
            "bytes": f"{result['bytes']:,}",
            "save ms, min": f"{1e3 * result['min']:.1f}",
            "save ms, median": f"{1e3 * result['median']:.1f}",
        }
        for label, result in saved.items()
    ]
    harness.write_csv("saves", rows)
    harness.write_table("saves", rows)


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind")


if __name__ == "__main__":
    harness.main("What checkpoints cost the default run.", measure, report, add_flags)
