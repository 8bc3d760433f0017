"""What each step after 2013 does here: one at a time, and all together, over many seeds.

    python -m benchmarks.rungs            # half an hour; --quick for two seeds

Fruit on a grid of 20, where the default settings still lose some starts, and Snake on one of
6, both with the settings of `GAMES`. Each rung of `RUNGS` is added to them alone, with what it
needs beside it: a smaller learning rate, an epsilon that begins at 1. Writes
results/rungs.csv, a line for each run, and rungs.md: the share of all starts that is won and
the mean return of 100 games, as interquartile means over the seeds, with the intervals that
hold 95% of their bootstrap resamples.
"""

import concurrent.futures
import itertools
import multiprocessing
import os
import time

import numpy as np

from benchmarks import harness
from minidqn.compare import draws, interquartile_mean, interval

GAMES = {
    "fruit": {"grid_size": 20, "epochs": 300},
    "snake": {"grid_size": 6, "epochs": 600, "gamma": 0.9, "epsilon": 0.2},
}
FALLING = {"epsilon": 1.0, "exploration_final_eps": 0.1}
SHORTER = {"final_learning_rate": 0.00002}
HALF = {"fruit": 2500, "snake": 5000}
"""Environment steps over which epsilon falls: about half of a run."""
TARGET = {"target_update_interval": 500}
ALL = TARGET | FALLING | SHORTER | {
    "double": True, "n_step": 3, "loss": "huber", "optimizer": "adam",
}  # fmt: skip
RUNGS = {
    "plain": {},
    "target network": TARGET,
    "Double": TARGET | {"double": True},
    "3-step returns": {"n_step": 3},
    "Huber's loss": {"loss": "huber"},
    "RMSprop, centered": {"optimizer": "rmsprop centered=true"},
    "momentum, rate 0.0001": {"optimizer": "rmsprop momentum=0.9", "learning_rate": 0.0001},
    "Adam": {"optimizer": "adam"},
    "epsilon falls from 1": FALLING,
    "learning rate falls": SHORTER,
    "both fall": FALLING | SHORTER,
    "all, with Adam": ALL,
    "all but 3 steps": ALL | {"n_step": 1},
}  # fmt: skip


def measure(job):
    """In a child: one run; how well it plays, and how long it took."""
    from minidqn.evaluate import mean_return, win_rate
    from minidqn.games import load
    from minidqn.train import train

    game, seed, rung, epochs = job
    options = GAMES[game] | RUNGS[rung] | {"epochs": epochs}
    if "exploration_final_eps" in options:
        options["exploration_steps"] = HALF[game]
    began = time.perf_counter()
    model, _ = train(game, verbose=False, seed=seed, eval_every=epochs, **options)
    seconds = time.perf_counter() - began
    size = options["grid_size"]
    rng = np.random.default_rng(seed)
    played = (
        win_rate(model, size) if game == "fruit" else mean_return(model, load(game, size), 100, rng)
    )
    return {"game": game, "rung": rung, "seed": seed, "score": played, "seconds": seconds}


def summary(rows):
    """The table: a line for each rung."""
    table = []
    for rung in RUNGS:
        line = {"rung": rung}
        for game, head in (("fruit", "Fruit, starts won"), ("snake", "Snake, return")):
            found = [r for r in rows if (r["game"], r["rung"]) == (game, rung)]
            scores = np.array([float(row["score"]) for row in found])
            [drawn] = draws([scores], np.random.default_rng(0))
            low, high = interval(interquartile_mean(scores[drawn]))
            line[head] = f"{interquartile_mean(scores):.2f}"
            line[f"{game}, 95%"] = f"{low:.2f} to {high:.2f}"
            line[f"{game}, s"] = f"{np.median([float(row['seconds']) for row in found]):.0f}"
        table.append(line)
    return table


def report(arguments):
    """In the parent: all runs, some at a time."""
    seeds, share = (2, 10) if arguments.quick else (arguments.seeds, 1)
    jobs = [
        (game, seed, rung, GAMES[game]["epochs"] // share)
        for seed, game, rung in itertools.product(range(seeds), GAMES, RUNGS)
    ]
    os.environ.update(dict.fromkeys(harness.THREAD_VARIABLES, "1"))  # each run has one core
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.processes, context) as pool:
        rows = list(pool.map(measure, jobs))
    harness.write_csv("rungs", rows)
    harness.write_table("rungs", summary(rows))


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--seeds", type=int, default=10, help="runs of each rung")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")


if __name__ == "__main__":
    harness.main("What each step after 2013 does.", None, report, add_flags)
