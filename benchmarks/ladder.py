"""From the naive loop to the multiplication that is not done: two layers and a step.

    python -m benchmarks.ladder           # a minute; --quick for a look

The second convolution of the default network and its first dense layer, forward, for a
batch of 128 frames on one core: loops in Python, NumPy, the same loops and better ones
compiled by Numba, and the engine, on frames with every cell on and on those of Fruit.
Then a learning step: a prediction for every sample, as the loop of 2016 has it; the
layers in NumPy; the engine with Numba's plain loops in place of its tiles of registers;
and the engine. Writes results/ladder.csv and ladder.md beside this file.
"""

import importlib.util

import numba
import numpy as np

from benchmarks import harness
from tests import literal

BATCH = 128
GRID = 10
FEW = 2
"""Samples that the loops in Python are timed on; their time is scaled to a batch."""
FRUIT, EVERY = "tiles, Fruit frames", "tiles, every cell on"
PLACE = np.uintp
"""Of an unsigned place in an array Numba need not ask whether it counts from the end."""


def loops(x, kernel, bias, y):
    """y[n,i,j,o] = max(0, bias[o] + sum over u,v,c of x[n,i+u,j+v,c] * kernel[u,v,c,o])"""
    kh, kw, channels, filters = kernel.shape
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for o in range(filters):
                    total = bias[o]
                    for u in range(kh):
                        for v in range(kw):
                            for c in range(channels):
                                total += x[n, i + u, j + v, c] * kernel[u, v, c, o]
                    y[n, i, j, o] = max(total, np.float32(0))


def four_terms(x, kernel, bias, y):
    """The same: filters innermost, and four channels, of which there are 4 n, in a pass."""
    kh, kw, channels, filters = kernel.shape
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                out = y[n, i, j]
                out[:] = bias
                for u in range(kh):
                    for v in range(kw):
                        for c in range(0, channels, 4):
                            d0, d1, d2, d3 = x[n, i + u, j + v, c : c + 4]
                            w = kernel[u, v, c : c + 4]
                            for o in range(filters):
                                out[o] += d0 * w[0, o] + d1 * w[1, o] + d2 * w[2, o] + d3 * w[3, o]
                for o in range(filters):
                    out[o] = max(out[o], np.float32(0))


def windows(x, kernel, bias):
    """The definition, and a ReLU."""
    from minidqn.nn.convolution import convolve

    return np.maximum(convolve(x, kernel, bias), 0)


def matrix_product(x, kernel, bias):
    """The same with the matrix of windows laid out by hand, 16 channels at a time."""
    kh, kw, channels, filters = kernel.shape
    seen = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
    rows = seen.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kh * kw * channels)
    y = rows @ kernel.reshape(-1, filters) + bias
    return np.maximum(y, 0).reshape(*seen.shape[:3], filters)


def layer_jobs(fruit, every):
    """Two layers in all ways: by layer and way, a job."""
    from minidqn.nn import kernels

    model, jobs = network(), {}
    engines = {EVERY: run_once(every.states), FRUIT: run_once(fruit.states)}
    for number, name, below, layer in (
        (2, "second convolution", "conv2d", model.layers[1]),
        (3, "dense layer", "conv2d_1", model.layers[3]),
    ):
        x = model.layer_outputs(fruit.states)[below]
        # A dense layer is a convolution whose kernel covers the whole image.
        sides = getattr(layer, "kernel_size", x.shape[1:3])
        kernel = np.ascontiguousarray(layer.kernel).reshape(*sides, x.shape[3], -1)
        jobs[name] = formula_jobs(x, kernel, layer.bias)
        for rung, engine in engines.items():
            outputs = engine.layer_outputs()
            expected = windows(outputs[below], kernel, layer.bias)
            require_close(outputs[layer.name], expected.reshape(outputs[layer.name].shape))
            # The kernel goes through a table of layers: here of this one and the one below.
            table = engine.table[number - 1 : number + 1]
            first, last, positions = (
                engine.places[table[0, column] :]
                for column in (kernels.FIRST, kernels.LAST, kernels.POSITIONS)
            )
            given = (
                table, engine.parameters, engine.numbers, engine.places,
                first[:BATCH], last[:BATCH], positions, engine.numbers[table[0, kernels.D] :],
                BATCH, True, np.empty((BATCH, table[-1, kernels.OUTPUTS]), np.float32),
            )  # fmt: skip
            jobs[name][rung] = lambda _, given=given: kernels.forward(*given)
    return jobs


def formula_jobs(x, kernel, bias):
    """The rungs that compute every product: by way, a job."""
    y = np.ascontiguousarray(windows(x, kernel, bias))  # einsum gives its axes any order
    compiled_loops = numba.njit(loops)
    compiled_four = numba.njit(four_terms, fastmath={"contract"}, error_model="numpy")
    jobs = {
        "loops, in Python": lambda _: loops(x[:FEW], kernel, bias, y[:FEW]),
        "windows, in NumPy": lambda _: np.copyto(y, windows(x, kernel, bias)),
        "matrix product, in NumPy": lambda _: np.copyto(y, matrix_product(x, kernel, bias)),
        "plain loops, compiled": lambda _: compiled_loops(x, kernel, bias, y),
        "four terms a pass, compiled": lambda _: compiled_four(x, kernel, bias, y),
    }
    expected = y.copy()
    for rung, job in jobs.items():
        y[...] = expected if rung == "loops, in Python" else 0
        y[:FEW] = 0
        job(0)
        require_close(y, expected)
    return jobs


def require_close(found, expected, rtol=1e-4, atol=1e-5):
    """What is timed must have computed the same."""
    np.testing.assert_allclose(found, expected, rtol, atol)


def network(engine="compiled"):
    """The default network, with the same weights each time."""
    from minidqn.recipe import q_network

    return q_network(GRID, np.random.default_rng(0), engine=engine)


def run_once(states):
    """The engine of a network of its own that has just seen these states."""
    engine = network()._engine
    engine.forward(states, BATCH)
    return engine


def plain_multiply(sources, targets, terms, lines, x, w, i, z, row):
    """What `minidqn.nn.kernels.multiply` does, in the fastest plain loops that were found."""
    size, j = PLACE(row), 0
    while j < len(terms):
        four, w0, c0 = j + 4 <= len(terms), PLACE(i + lines[j]), PLACE(terms[j])
        if four:
            w1, w2, w3 = PLACE(i + lines[j + 1]), PLACE(i + lines[j + 2]), PLACE(i + lines[j + 3])
            c1, c2, c3 = PLACE(terms[j + 1]), PLACE(terms[j + 2]), PLACE(terms[j + 3])
        else:
            w1 = w2 = w3 = c1 = c2 = c3 = PLACE(0)
        for n in range(len(sources)):
            p, to = PLACE(sources[n]), PLACE(targets[n])
            if four:
                d0, d1, d2, d3 = x[p + c0], x[p + c1], x[p + c2], x[p + c3]
                for k in range(size):
                    z[to + k] += d0 * w[w0 + k] + d1 * w[w1 + k] + d2 * w[w2 + k] + d3 * w[w3 + k]
            else:
                for k in range(size):
                    z[to + k] += x[p + c0] * w[w0 + k]
        j += 4 if four else 1


def plain_kernels():
    """A copy of `minidqn.nn.kernels` with these loops, apart from the cache of the others."""
    from minidqn.nn.cache import compiled

    specification = importlib.util.find_spec("minidqn.nn.kernels")
    copy = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(copy)
    copy.multiply = copy.inner(plain_multiply)
    for name in ("forward", "backward"):
        setattr(copy, name, compiled(getattr(copy, name).py_func, cache=False))
    return copy


def step_jobs(fruit, every):
    """A learning step in all ways: a job by way."""
    from minidqn.nn import engine, kernels
    from minidqn.qlearning import learn

    plain = plain_kernels()
    one, layers, with_plain, ours, busy = (
        network(kind) for kind in ("compiled", "numpy", "compiled", "compiled", "compiled")
    )

    def one_by_one(number):
        one.train_on_batch(*literal.literal_targets(one, fruit[number % 16], 0.8))

    def with_plain_loops(number):
        engine.k = plain
        learn(with_plain, fruit[number % 16])
        engine.k = kernels

    jobs = {
        "predictions one by one": one_by_one,
        "layers in NumPy": lambda number: learn(layers, fruit[number % 16]),
        "plain loops, compiled": with_plain_loops,
        EVERY: lambda number: learn(busy, every[number % 16]),
        FRUIT: lambda number: learn(ours, fruit[number % 16]),
    }
    for job in jobs.values():
        job(0)
    for other in (one, layers, with_plain):
        require_close(other.gradients, ours.gradients, 1e-3, 1e-6)
    return jobs


def measure(job):
    """In a child: everything in turns, on one core."""
    fruit, every = (harness.played_batches(GRID, BATCH, 16, share) for share in (None, 1.0))
    rungs = layer_jobs(fruit[0], every[0]) | {"learning step": step_jobs(fruit, every)}
    jobs = {f"{what}: {rung}": go for what, ways in rungs.items() for rung, go in ways.items()}
    times = harness.take_turns(jobs, job["rounds"], seconds=job["seconds"])
    return [
        [rung, what, times[f"{what}: {rung}"]["min"] * (BATCH / FEW if "Python" in rung else 1)]
        for what, ways in rungs.items()
        for rung in ways
    ]


def report(arguments):
    """In the parent: the table."""
    job = {"rounds": 5, "seconds": 2} if arguments.quick else {"rounds": 100, "seconds": 60}
    found = harness.in_child("benchmarks.ladder", job)
    engine = {what: seconds for rung, what, seconds in found if rung == FRUIT}
    rows = [
        {
            "rung": rung,
            "what": what,
            "ms": f"{1e3 * seconds:.4g}",
            "times the engine's": f"{seconds / engine[what]:.3g}",
        }
        for rung, what, seconds in found
    ]
    harness.write_csv("ladder", rows)
    harness.write_table("ladder", rows)


if __name__ == "__main__":
    harness.main("Two layers and a learning step, in several ways.", measure, report)
