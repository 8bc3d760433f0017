"""MinAtar with the settings of its own DQN: learning curves beside the published ones.

    python -m pip install ".[gym,benchmarks]"
    python -m benchmarks.minatar --games Breakout --seeds 2    # some hours; --quick to see it run
    python -m benchmarks.minatar --draw                        # of what is there so far

Each run is ``python -m minidqn.train --preset minatar``, kept in a folder of --out. Run the
script again to go on with those that have not ended. Writes results/minatar.csv, what
every run had come to after each 50,000 frames; minatar.md, what it had come to at the
end; and minatar.png.

What is published are the figures of MinAtar's repository: the learning curves of DQN, means
of 30 runs, read off the pixels of their lines, and the learning rate of each game, the best of
those that were tried. As there, a player has all six actions (v0; v1 has only those that a game
uses, and there a random one does more harm). "Return" is that of the games played in training,
epsilon and sticky actions included: the mean of the last 100, and of the last 1,000, which
wavers less.

References
----------
Young & Tian (2019), *MinAtar: An Atari-Inspired Testbed for Thorough and Reproducible
Reinforcement Learning Experiments*. https://github.com/kenjyoung/MinAtar
"""

import argparse
import concurrent.futures
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import harness

PUBLISHED = {
    "Asterix": (1.1, 7.1, 13.0, 14.3, 15.3, 15.6, 16.1, 16.5, 16.4, 16.8),
    "Breakout": (8.4, 9.2, 9.5, 9.7, 9.8, 10.0, 10.0, 9.9, 10.1, 10.1),
    "Freeway": (34.9, 47.8, 50.3, 50.7, 50.5, 50.2, 50.0, 49.9, 50.0, 50.2),
    "Seaquest": (0.9, 1.0, 2.1, 5.0, 9.1, 13.0, 16.2, 17.8, 20.1, 20.2),
    "SpaceInvaders": (27.7, 33.0, 38.5, 41.3, 42.9, 44.0, 44.2, 44.1, 44.0, 43.8),
}
"""Returns after each half million frames."""

LEARNING_RATES = {
    "Asterix": 2**-13, "Breakout": 2**-9, "Freeway": 2**-11, "Seaquest": 2**-13,
    "SpaceInvaders": 2**-12,
}  # fmt: skip
EVERY = 50_000
"""Frames between two points of a curve."""


def run(folder, game, seed, frames):
    """Train in a process of its own, or go on with what is there; its exit status."""
    name, rate = f"gym:MinAtar/{game}-v0", LEARNING_RATES[game]
    command = [sys.executable, "-W", "ignore", "-m", "minidqn.train", "--game", name]
    if (folder / "checkpoint.npz").exists():
        command += ["--resume", str(folder)]
    else:
        command += ["--preset", "minatar", "--learning-rate", str(rate)]
        command += ["--seed", str(seed), "--out", str(folder)]
    command += ["--steps", str(frames), "--checkpoint-every", "2000", "--no-images"]
    one_core = dict.fromkeys(harness.THREAD_VARIABLES, "1")
    with open(folder.with_suffix(".log"), "a", encoding="utf-8") as log:
        return subprocess.run(command, env=os.environ | one_core, stdout=log, stderr=log).returncode


def curve(folder):
    """A run's points: frames, the mean returns of the last games, seconds since it began."""
    head, *lines = (folder / "metrics.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    columns = head.rstrip().split(",")
    wanted = [columns.index(name) for name in ("steps", "episode_return", "seconds")]
    whole = [line for line in lines if line.endswith("\n")]  # the last may be written just now
    if not whole:
        return []
    numbers = np.loadtxt(whole, delimiter=",", usecols=wanted, ndmin=2)
    steps, returns, seconds = numbers.T
    sums = np.concatenate([[0.0], returns.cumsum()])
    points = []
    for frames in range(EVERY, int(steps[-1]) + 1, EVERY):
        n = int(np.searchsorted(steps, frames, side="right"))
        last, longer = ((sums[n] - sums[max(n - k, 0)]) / min(n, k) for k in (100, 1000))
        point = {"frames": frames, "return": f"{last:.3f}", "of 1,000": f"{longer:.3f}"}
        points.append(point | {"seconds": f"{seconds[n - 1]:.0f}"})
    return points


def report(arguments):
    """The curves of all runs that are in a folder, and of those whose results were kept before."""
    found = {}
    if (harness.RESULTS / "minatar.csv").exists():
        for row in harness.read_csv("minatar"):
            found.setdefault((row["game"], row["seed"]), []).append(row)
    for path in arguments.out.glob("*-*/metrics.csv"):
        game, seed = path.parent.name.split("-")
        found[game, seed] = [{"game": game, "seed": seed} | point for point in curve(path.parent)]
    rows = [row for run in sorted(found) for row in found[run]]
    if not rows:
        print(f"{arguments.out} holds no run of {EVERY:,} frames yet")
        return
    harness.write_csv("minatar", rows)
    harness.write_table("minatar", summary(rows))
    draw(rows)


def summary(rows):
    """The table: the last point of each run, and the mean of those of its last million frames."""
    last, returns = {(row["game"], row["seed"]): row for row in rows}, {}
    for row in rows:
        returns.setdefault((row["game"], row["seed"]), []).append(float(row["of 1,000"]))
    return [
        {
            "game": row["game"],
            "seed": row["seed"],
            "frames": f"{int(row['frames']):,}",
            "return, last 100 games": f"{float(row['return']):.1f}",
            "last 1,000": f"{float(row['of 1,000']):.1f}",
            "in the last million": f"{np.mean(returns[run][-1_000_000 // EVERY :]):.1f}",
            "published": f"about {PUBLISHED[row['game']][-1]:.0f}",
            "minutes": f"{float(row['seconds']) / 60:.0f}",
        }
        for run, row in last.items()
    ]


def draw(rows):
    """A panel for each game: a line for each seed, and the published one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    games = list(dict.fromkeys(row["game"] for row in rows))
    figure = Figure(figsize=(5 * len(games), 3.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, game in zip(figure.subplots(1, len(games), squeeze=False)[0], games, strict=True):
        for seed in dict.fromkeys(row["seed"] for row in rows if row["game"] == game):
            shown = [row for row in rows if (row["game"], row["seed"]) == (game, seed)]
            millions = [int(row["frames"]) / 1e6 for row in shown]
            returns = [float(row["of 1,000"]) for row in shown]
            axes.plot(millions, returns, label=f"seed {seed}")
        published = PUBLISHED[game]
        halves = [(n + 1) / 2 for n in range(len(published))]
        axes.plot(halves, published, "o--", color="0.4", markersize=3, label="published")
        axes.set(title=game, xlabel="frames, millions", ylabel="return (mean of 1,000 games)")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, loc="lower right")
    figure.savefig(harness.RESULTS / "minatar.png")


def main():
    parser = argparse.ArgumentParser(description="MinAtar with the settings of its own DQN.")
    parser.add_argument("--games", nargs="+", choices=PUBLISHED, default=["Breakout"])
    parser.add_argument("--seeds", type=int, default=2, help="runs of each game")
    parser.add_argument("--frames", type=int, default=5_000_000, help="environment steps of a run")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    parser.add_argument("--out", type=Path, default=Path("runs/minatar"), help="folder of the runs")
    parser.add_argument("--draw", action="store_true", help="train nothing; show what is there")
    parser.add_argument("--quick", action="store_true", help="100,000 frames, kept apart")
    arguments = parser.parse_args()
    if arguments.quick:
        harness.RESULTS, arguments.out = harness.RESULTS / "quick", arguments.out / "quick"
        arguments.frames = 2 * EVERY
    print(harness.machine())
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.draw:
        with concurrent.futures.ThreadPoolExecutor(arguments.processes) as pool:
            runs = {
                pool.submit(run, arguments.out / f"{game}-{seed}", game, seed, arguments.frames):
                    f"{game}-{seed}"
                for seed, game in itertools.product(range(arguments.seeds), arguments.games)
            }  # fmt: skip
            for done in concurrent.futures.as_completed(runs):
                print(f"{runs[done]} ended with status {done.result()}", flush=True)
    report(arguments)


if __name__ == "__main__":
    main()
