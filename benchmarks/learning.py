"""What is learned over several seeds: wins and distance from Q* of Fruit, food of Snake.

    python -m benchmarks.learning --seeds 5
    python -m benchmarks.learning --seeds 3 --literal
    python -m benchmarks.learning --seeds 3 --game snake

With --literal, the 2016 script's own loop (tests/literal.py) is run instead,
each time with other random numbers.
"""

import argparse
import contextlib
import io
import time

import numpy as np

from minidqn.evaluate import mean_return, q_error, random_return, win_rate
from minidqn.recipe import q_network
from minidqn.runs import Settings
from minidqn.snake import Snake
from minidqn.train import train, training
from tests.literal import literal_loop, literal_network

SNAKE = {"grid_size": 6, "epochs": 1500, "gamma": 0.9, "epsilon": 0.1}


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


def fruit(seeds, literal):
    """A line for each seed, and what they have in common."""
    print(f"{'seed':>4} {'updates':>8} {'wins':>6} {'|Q-Q*| before':>14} {'after':>6} {'s':>6}")
    rates, ratios = [], []
    for seed in range(seeds):
        began = time.perf_counter()
        run = (by_the_script if literal else by_the_package)(seed)
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


def snake(seeds):
    """Returns of 100 greedy games, and of 1,000 random ones."""
    chance = random_return(Snake(SNAKE["grid_size"]), 1000, np.random.default_rng(0))
    print(" ".join(f"--{name.replace('_', '-')} {value}" for name, value in SNAKE.items()))
    print(f"random play: mean return {chance:.2f}")
    print(f"{'seed':>4} {'updates':>8} {'mean return':>12} {'s':>6}")
    for seed in range(seeds):
        began = time.perf_counter()
        model, records = train("snake", verbose=False, seed=seed, **SNAKE)
        earned = mean_return(model, Snake(SNAKE["grid_size"]), 100, np.random.default_rng(seed))
        seconds = time.perf_counter() - began
        print(f"{seed:>4} {records[-1].updates:>8} {earned:>12.2f} {seconds:>6.1f}")


def main():
    parser = argparse.ArgumentParser(description="What is learned, over seeds.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--literal", action="store_true", help="run the 2016 script's loop")
    parser.add_argument("--game", choices=["fruit", "snake"], default="fruit")
    arguments = parser.parse_args()
    if arguments.game == "snake":
        snake(arguments.seeds)
    else:
        fruit(arguments.seeds, arguments.literal)


if __name__ == "__main__":
    main()
