"""What one setting does, all others at their defaults: runs over many seeds.

    python -m benchmarks.experiments      # a quarter of an hour; --quick for two seeds

For each value of epsilon, gamma, batch size, capacity and grid size the default run is
made with ten seeds, and what it has learned is measured every 50 epochs. Writes
results/experiments.csv, a line for each measurement, and experiments.md, where a number
is the interquartile mean over the seeds, and its interval holds 95% of 2,000 bootstrap
resamples of them.

References
----------
Agarwal et al. (2021), *Deep Reinforcement Learning at the Edge of the Statistical
Precipice*, for both.
"""

import collections
import concurrent.futures
import multiprocessing

import numpy as np

from benchmarks import harness

SWEEPS = {
    "epsilon": (0.0, 0.1, 0.4, 0.8, 1.0),
    "gamma": (0.0, 0.5, 0.8, 0.95, 0.99),
    "batch_size": (8, 32, 128, 512),
    "capacity": (128, 500, 2000, 100_000),
    "grid_size": (6, 8, 10, 12, 15),
}
EVERY = 50
"""Epochs between two measurements."""

RESAMPLES = 2000


def measure(job):
    """In a child: one run; what it had learned every 50 epochs."""
    from minidqn.recipe import q_network
    from minidqn.runs import Settings
    from minidqn.train import training

    settings = Settings(**job, eval_every=EVERY)
    streams = settings.streams()
    model = q_network(settings.grid_size, streams.weights, settings.learning_rate)
    return [
        {"epoch": record.epoch, "wins": record.wins / record.starts, "q_error": record.q_error}
        for record in training(model, settings, streams)
        if record.wins is not None
    ]


def interquartile_mean(numbers):
    """The mean of what is left when a quarter is dropped at each end, along the last axis.

    Parameters
    ----------
    numbers : ndarray [shape=(..., n)]
        One number a seed.

    Returns
    -------
    ndarray [shape=(...)]
    """
    dropped = numbers.shape[-1] // 4
    kept = np.sort(numbers, axis=-1)[..., dropped : numbers.shape[-1] - dropped]
    return kept.mean(axis=-1)


def bootstrap_interval(numbers):
    """Between which bounds 95% of the interquartile means of resampled seeds lie.

    Parameters
    ----------
    numbers : ndarray [shape=(n,)]
        One number a seed. The resamples are the same for the same numbers.

    Returns
    -------
    low, high : float
    """
    resamples = np.random.default_rng(0).choice(numbers, (RESAMPLES, len(numbers)))
    return np.quantile(interquartile_mean(resamples), (0.025, 0.975))


def read():
    """The committed measurements: by (setting, value as text), then seed, a list of rows."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in harness.read_csv("experiments"):
        found[row["setting"], row["value"]][int(row["seed"])].append(row)
    return found


def summary(found):
    """The table: the last measurement of each value, over its seeds."""
    rows = []
    for (setting, value), seeds in found.items():
        row = {"setting": setting, "value": value, "seeds": len(seeds)}
        for name in ("wins", "q_error"):
            last = np.array([float(measured[-1][name]) for measured in seeds.values()])
            low, high = bootstrap_interval(last)
            row[name] = f"{interquartile_mean(last):.3f}"
            row[f"{name}, 95%"] = f"{low:.3f} to {high:.3f}"
        rows.append(row)
    return rows


def report(arguments):
    """In the parent: all runs, two at a time."""
    seeds = range(2 if arguments.quick else arguments.seeds)
    epochs = 100 if arguments.quick else 500
    jobs = {
        (setting, value, seed): {setting: value, "seed": seed, "epochs": epochs}
        for seed in seeds
        for setting, values in SWEEPS.items()
        for value in values
    }
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.processes, context) as pool:
        # The default is part of every sweep, and run once a seed.
        distinct = {_settings(job): job for job in jobs.values()}
        results = dict(zip(distinct, pool.map(measure, distinct.values()), strict=True))
    rows = [
        {"setting": setting, "value": value, "seed": seed, **measured}
        for setting, values in SWEEPS.items()
        for value in values
        for seed in seeds
        for measured in results[_settings(jobs[setting, value, seed])]
    ]
    harness.write_csv("experiments", rows)
    harness.write_table("experiments", summary(read()))


def _settings(job):
    """What tells one job from another."""
    from minidqn.runs import Settings

    return Settings(**job)


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--seeds", type=int, default=10, help="runs of each value")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")


if __name__ == "__main__":
    harness.main("What one setting does, over many seeds.", measure, report, add_flags)
