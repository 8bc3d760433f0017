"""What a sweep adds to its runs: 16 default runs one by one, by one worker, by two, by Dask.

    python -m benchmarks.sweeps           # a quarter of an hour; --quick for two short runs

The ways take turns, each in a process of its own, from its start to the end of the last run:
``train`` in a loop, which keeps no files, and in two processes side by side that know nothing of
each other, which is all that the machine can give; a sweep with one worker and with two; and with
the two workers of a Dask cluster on this machine, which is there before the clock starts. Writes
results/sweeps.csv and sweeps.md, and what a run takes in sweep-sizes.csv and sweep-sizes.md.
"""

import concurrent.futures
import functools
import pickle
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import harness

LOOP, LOOPS = "train in a loop", "train in 2 loops"
WAYS = {LOOP: 1, "sweep, 1 worker": 1, LOOPS: 2, "sweep, 2 workers": 2, "Dask, 2 workers": 2}


def measure(job):
    """In a child: all runs in one of the ways; or what one run takes."""
    if job["way"] == "sizes":
        return sizes(job)
    if job["way"] == LOOP:
        from minidqn.command import warm_up
        from minidqn.train import train

        warm_up("auto")
        for seed in job["seeds"]:
            train(seed=seed, epochs=job["epochs"])
        return {}
    from minidqn import sweep
    from minidqn.processes import Processes

    chosen = {"seed": range(job["runs"]), "epochs": [job["epochs"]]}
    if "Dask" not in job["way"]:
        with Processes(job["threads"]) as executor:
            sweep.sweep(chosen, executor, job["folder"])
        return {}
    from distributed import LocalCluster

    from minidqn.dask import cluster

    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as workers:
        began = time.perf_counter()
        with cluster(workers.scheduler_address) as (executor, _):
            sweep.sweep(chosen, executor, job["folder"])
        return {"seconds": time.perf_counter() - began}


def sizes(job):
    """What one run sends, stores and needs, made by a worker that does not see the folder."""
    from minidqn import sweep
    from minidqn.processes import Processes

    chosen = {"seed": [0], "epochs": [job["epochs"]]}
    plan = sweep.plan(chosen)
    with Processes(1) as executor:
        sweep.sweep(chosen, executor, job["folder"])
        [(name, settings)] = plan.runs.items()
        away = sweep.Job(job["folder"] + "/nowhere", plan.id, name, settings, settings.game)
        outcome = executor.submit(sweep.work, away).result()
        kilobytes, compiled = executor.submit(of_this_process).result()
    files = {path.name: path.stat().st_size for path in Path(job["folder"], name).iterdir()}
    alone = own_time(outcome, Path(job["folder"] + "-many"))
    return {
        "sent to a worker, bytes": len(pickle.dumps(away)),
        "sent back, bytes": len(pickle.dumps(outcome)),
        **{f"{name}, bytes": size for name, size in files.items()},
        "memory of a worker, MB": round(kilobytes / 1024),
        "kernels that it compiled": compiled,
        "time of the sweep's own process, ms": round(1e3 * alone, 1),
    }


def own_time(outcome, folder, count=200):
    """Seconds that a sweep itself spends on a run, if its workers answer at once."""
    from minidqn import sweep

    class Ready(concurrent.futures.Executor):
        def submit(self, function, *arguments):
            future = concurrent.futures.Future()
            future.set_result(outcome)
            return future

    began = time.perf_counter()
    sweep.sweep({"seed": range(count), "epochs": [outcome.record.epoch]}, Ready(), folder)
    return (time.perf_counter() - began) / count


def of_this_process():
    """In a worker: its peak of memory, in kB, and how many kernels it has compiled."""
    import resource

    from minidqn.nn import kernels

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    dispatchers = [each for each in vars(kernels).values() if hasattr(each, "stats")]
    return peak, sum(sum(each.stats.cache_misses.values()) for each in dispatchers)


def report(arguments):
    """In the parent: the ways take turns."""
    runs, epochs, rounds = (2, 100, 1) if arguments.quick else (16, 500, arguments.rounds)
    ways = {way: workers for way, workers in WAYS.items() if "Dask" not in way or has_dask()}
    found = {way: [] for way in ways}
    for _ in range(rounds):
        for way, workers in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                job = {"way": way, "runs": runs, "epochs": epochs, "folder": f"{folder}/sweep"}
                shares = [range(first, runs, workers) for first in range(workers)]
                children = [job | {"way": LOOP, "seeds": [*each]} for each in shares]
                began = time.perf_counter()
                with concurrent.futures.ThreadPoolExecutor() as pool:
                    ask = functools.partial(harness.in_child, "benchmarks.sweeps", threads=workers)
                    [result, *_] = pool.map(ask, children if way in (LOOP, LOOPS) else [job])
                found[way].append(result.get("seconds", time.perf_counter() - began))
    rows = []
    for way, seconds in found.items():
        least, middle = min(seconds), statistics.median(seconds)
        ratios = [
            first / each for first, each in zip(found["sweep, 1 worker"], seconds, strict=True)
        ]
        rows.append(
            {
                "way": way,
                "runs": runs,
                "epochs": epochs,
                "s, min": f"{least:.1f}",
                "s, median": f"{middle:.1f}",
                "runs an hour": f"{3600 * runs / middle:,.0f}",
                "times one worker, median": f"{statistics.median(ratios):.2f}",
                "rounds": rounds,
            }
        )
    harness.write_csv("sweeps", rows)
    harness.write_table("sweeps", rows)
    report_sizes(epochs)


def report_sizes(epochs):
    """In the parent: what one run takes."""
    with tempfile.TemporaryDirectory() as folder:
        job = {"way": "sizes", "epochs": epochs, "folder": f"{folder}/sweep"}
        took = harness.in_child("benchmarks.sweeps", job)
    rows = [{"what a run takes": what, "": f"{amount:,}"} for what, amount in took.items()]
    harness.write_csv("sweep-sizes", rows)
    harness.write_table("sweep-sizes", rows)


def has_dask():
    """Whether it is installed."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        print("Dask is not installed: left out")
        return False
    return True


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way")


if __name__ == "__main__":
    harness.main("What a sweep adds to its runs.", measure, report, add_flags)
