"""Is compiled code on disk ever wrong, and how much of it is there?

    python -m benchmarks.cache            # a quarter of an hour; --quick for one round

In each round four processes start at the same time with an empty folder for compiled
kernels, and each makes a network of its own and takes a learning step; then a fresh
process for each network reads what they have left. Every network, each time, is held
against its layers in NumPy and float64. At last one process makes 50 networks. Writes
results/cache.csv and cache.md beside this file.
"""

import concurrent.futures
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import harness

AT_ONCE = 4
LIMIT = 1e-4
"""What float32 rounding may come to, relative to the largest number of an array."""


def random_network(rng):
    """Any network that the engine can run, and some states for it."""
    from minidqn.nn import Conv2D, Dense, Flatten, RMSprop, Sequential

    shape = tuple(rng.integers((1, 6, 6), (4, 14, 14)).tolist())
    model = Sequential(rng=rng)
    for number in range(rng.integers(0, 3)):
        sides = rng.integers(1, 4, size=2).tolist()
        options = {} if number else {"input_shape": shape}
        filters = int(rng.integers(1, 40))
        model.add(Conv2D(filters, sides, activation=rng.choice(["relu", "linear"]), **options))
    model.add(Flatten() if model.layers else Flatten(input_shape=shape))
    for units in rng.integers(1, 120, size=rng.integers(0, 3)).tolist():
        model.add(Dense(units, activation="relu"))
    model.add(Dense(int(rng.integers(1, 9))))
    model.compile(RMSprop(), "mse", engine="compiled")
    states = rng.standard_normal((20, *shape)) * (rng.random((20, *shape)) < rng.random())
    return model, states.astype(np.float32)


def difference(seed):
    """Of a network's outputs, gradients and first update from the definition: the largest."""
    rng = np.random.default_rng(seed)
    model, states = random_network(rng)
    definition, before = model.astype(np.float64), model.get_weights()
    outputs = definition.forward(states)
    targets = outputs + rng.standard_normal(outputs.shape)
    definition.backward(2 * (outputs - targets) / outputs.size)
    pairs = [(model.predict(states), outputs)]
    model.train_on_batch(states, targets)
    gradients = list(model.named_gradients().values())
    pairs += zip(gradients, definition.named_gradients().values(), strict=True)
    for w, g, found in zip(before, gradients, model.get_weights(), strict=True):
        # By the gradient that was found: RMSprop's first step depends on little but its sign.
        pairs.append((found, w - 1e-3 * g / (np.sqrt(0.1 * g * g) + 1e-8)))
    return max(
        float(np.abs(found - right).max() / max(np.abs(right).max(), 1e-3))
        for found, right in pairs
    )


def measure(job):
    """In a child: the networks of some seeds; their differences, and kernels compiled for them."""
    from minidqn.nn import cache

    began = time.perf_counter()
    differences = [difference(seed) for seed in job["seeds"]]
    return {
        "differences": differences,
        "compiled": sum(sum(kernel.stats.cache_misses.values()) for kernel in cache._KERNELS),
        "seconds": time.perf_counter() - began,
    }


def at_once(seeds, folder):
    """A process for each seed, all at the same time; what they returned."""
    with concurrent.futures.ThreadPoolExecutor(len(seeds)) as pool:
        return list(pool.map(lambda seed: in_process([seed], folder), seeds))


def in_process(seeds, folder):
    """One process that makes the networks of some seeds."""
    job = {"seeds": list(seeds)}
    return harness.in_child("benchmarks.cache", job, threads=2, NUMBA_CACHE_DIR=folder)


def entries(folder):
    """The files of compiled code in a folder."""
    return [path.stat().st_size for path in Path(folder).rglob("*.nbc")]


def report(arguments):
    """In the parent: all rounds, and then many networks."""
    rounds, many = (1, 5) if arguments.quick else (arguments.rounds, 50)
    made, read, most = [], [], []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            seeds = range(AT_ONCE * number, AT_ONCE * (number + 1))
            made += at_once(seeds, folder)
            most = max(most, entries(folder), key=len)
            read += [in_process([seed], folder) for seed in seeds]
    with tempfile.TemporaryDirectory() as folder:
        one = in_process(range(1000, 1000 + many), folder)
        rows = [
            row_of(f"{AT_ONCE} processes at once, cache empty", made, most),
            row_of("then a fresh process each", read, most),
            row_of(f"one process, {many} networks, cache empty", [one], entries(folder)),
        ]
    harness.write_csv("cache", rows)
    harness.write_table("cache", rows)


def row_of(what, results, files):
    """A row of the table."""
    differences = [number for result in results for number in result["differences"]]
    return {
        "what": what,
        "processes": len(results),
        "networks": len(differences),
        "wrong": sum(not number <= LIMIT for number in differences),  # NaN is wrong
        "largest difference": f"{max(differences):.1e}",
        "kernels compiled in a process": max(result["compiled"] for result in results),
        "s, longest": f"{max(result['seconds'] for result in results):.1f}",
        "entries on disk": len(files),
        "kB on disk": sum(files) // 1000,
    }


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--rounds", type=int, default=20)


if __name__ == "__main__":
    harness.main("The cache of compiled kernels.", measure, report, add_flags)
