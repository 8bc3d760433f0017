"""How many seeds one needs: what few runs say, held against what a hundred say.

    python -m benchmarks.seeds            # ten minutes; --quick for two dozen short runs

Two settings are run with a hundred seeds each, and n of them are drawn without replacement,
many times. Counted is how often the 95% interval of n runs holds the interquartile mean of all
hundred; how often n runs and n others of the same setting are called different, which is false;
and how often n runs of each tell the two settings apart. Writes results/seeds.csv, a line for
each run, and seeds.md.
"""

import tempfile

import numpy as np

from benchmarks import harness
from minidqn import compare, sweep

SETTING, VALUES, EPOCHS = "capacity", (100_000, 2000), 500
RUNS = (3, 4, 5, 10, 20, 40)
"""How many seeds are drawn."""

TRIALS = 300


def summary(rows):
    """The table: a line for each number of seeds."""
    scores = [
        np.array([float(row["score"]) for row in rows if row[SETTING] == str(value)])
        for value in VALUES
    ]
    rng, table = np.random.default_rng(0), []
    truth = compare.interquartile_mean(scores[0])
    for runs in RUNS:
        if 2 * runs > len(scores[0]):
            break
        held, wide, false, found = [], [], [], []
        for _ in range(TRIALS):
            first, second = (rng.permutation(each) for each in scores)
            mine, others, other = first[:runs], first[runs : 2 * runs], second[:runs]
            [drawn] = compare.draws([mine], rng)
            low, high = compare.interval(compare.interquartile_mean(mine[drawn]))
            held.append(low <= truth <= high)
            wide.append(high - low)
            false.append(compare.chance([mine], [others], rng) <= 0.05)
            found.append(compare.chance([mine], [other], rng) <= 0.05)
        table.append(
            {
                "seeds": runs,
                "interval holds the mean of 100": f"{np.mean(held):.2f}",
                "width of the interval, median": f"{np.median(wide):.3f}",
                "same setting called different": f"{np.mean(false):.2f}",
                f"{VALUES[0]} told from {VALUES[1]}": f"{np.mean(found):.2f}",
            }
        )
    return table


def report(arguments):
    """Make the runs, and count."""
    seeds, epochs = (12, 60) if arguments.quick else (100, EPOCHS)
    chosen = {"seed": range(seeds), SETTING: VALUES, "epochs": [epochs], "eval_every": [epochs]}
    with tempfile.TemporaryDirectory() as folder:
        made = sweep.sweep(chosen, out=f"{folder}/sweep")
    rows = [{n: row[n] for n in (SETTING, "seed")} | {"score": row["q_error"]} for row in made]
    harness.write_csv("seeds", rows)
    harness.write_table("seeds", summary(harness.read_csv("seeds")))


if __name__ == "__main__":
    harness.main("How many seeds one needs.", None, report)
