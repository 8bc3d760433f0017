"""What the default run learns, over several seeds: wins and distance from Q*.

    python -m benchmarks.learning --seeds 5
    python -m benchmarks.learning --seeds 3 --literal

With --literal, the 2016 script's own loop (tests/literal.py) is run instead,
each time with other random numbers.
"""

import argparse
import contextlib
import io
import time

import numpy as np

from minidqn.evaluate import q_error, win_rate
from minidqn.runs import Settings
from minidqn.train import q_network, training
from tests.literal import literal_loop, literal_network


def by_the_package(seed):
    """A default run: the network before and after, and the learning steps it took."""
    settings = Settings(seed=seed, eval_every=Settings().epochs)
    streams = settings.streams()
    model = q_network(settings.grid_size, streams.weights, settings.learning_rate)
    yield model
    *_, last = training(model, settings, streams)
    yield model
    yield last.updates


def by_the_script(_):
    """The same by the 2016 loop."""
    model = literal_network()
    yield model
    with contextlib.redirect_stdout(io.StringIO()):
        literal_loop(model)
    yield model
    yield "-"


def main():
    parser = argparse.ArgumentParser(description="Wins and distance from Q* over seeds.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--literal", action="store_true", help="run the 2016 script's loop")
    arguments = parser.parse_args()
    print(f"{'seed':>4} {'updates':>8} {'wins':>6} {'|Q-Q*| before':>14} {'after':>6} {'s':>6}")
    rates, ratios = [], []
    for seed in range(arguments.seeds):
        began = time.perf_counter()
        run = (by_the_script if arguments.literal else by_the_package)(seed)
        before = q_error(next(run))
        model, updates = next(run), next(run)
        after = q_error(model)
        rates.append(win_rate(model))
        ratios.append(after / before)
        seconds = time.perf_counter() - began
        wins = round(80 * rates[-1])
        print(f"{seed:>4} {updates:>8} {wins:>3}/80 {before:>14.3f} {after:>6.3f} {seconds:>6.1f}")
    print(f"mean share of starts won {np.mean(rates):.4f}, least {np.min(rates):.4f}")
    print(f"|Q - Q*| after over before: mean {np.mean(ratios):.3f}, greatest {np.max(ratios):.3f}")


if __name__ == "__main__":
    main()
