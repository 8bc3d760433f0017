"""From the naive loop to register tiles: one convolution written four ways, and the roof.

    python -m benchmarks.ladder           # half a minute; --quick for a look

The second convolution of the default network, forward, on one core: loops in Python,
the same loops compiled, the NumPy definition, and the kernel of the package; then a
learning step with a prediction for every sample, as the loop of 2016 has it, and with
all samples at once. The share of the peak is that of a 512 x 512 matrix product in the
same process. For the roofline picture, which docs/figures.py draws, the kernels of a
step are timed too, and how fast memory and a core's own cache are copied. Writes
results/ladder.csv, ladder.md, roof.csv and roof.md beside this file.
"""

import numba
import numpy as np

from benchmarks import harness
from tests import literal

BATCH = 128
GRID = 10


def loops(x, kernel, bias, y):
    """y[n,i,j,o] = bias[o] + sum over u,v,c of x[n,i+u,j+v,c] * kernel[u,v,c,o]"""
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
                    y[n, i, j, o] = total


def program_of(jobs, samples):
    """A job for ``take_turns`` that runs kernel calls as a network does, on one thread."""
    from minidqn.nn.programs import Program
    from minidqn.nn.threads import Crew

    program, crew = Program(), Crew(1)
    for job in jobs:
        program.do(job)
    return lambda _: crew.run(program, samples)


def numbers(rng, *shape):
    """Random float32 numbers in an aligned array."""
    from minidqn.nn.kernels import aligned

    array = aligned(int(np.prod(shape))).reshape(shape)
    array[...] = rng.standard_normal(shape)
    return array


def convolutions(rng):
    """Four ways: name, job, floating point operations."""
    from minidqn.nn import convolution, kernels

    compiled = numba.njit(loops)
    x, kernel, bias = numbers(rng, BATCH, 8, 8, 16), numbers(rng, 3, 3, 16, 16), numbers(rng, 16)
    y, one = numbers(rng, BATCH, 6, 6, 16), numbers(rng, 1, 6, 6, 16)
    operations = 2 * 6 * 6 * 16 * 3 * 3 * 16  # an image
    tiles = program_of(kernels.convolve(x, kernel, bias, False, y), BATCH)
    return {
        "loops, in Python": (lambda _: loops(x[:1], kernel, bias, one), operations),
        "the same loops, compiled": (
            lambda _: compiled(x, kernel, bias, y),
            BATCH * operations,
        ),
        "NumPy's einsum": (
            lambda _: convolution.convolve(x, kernel, bias),
            BATCH * operations,
        ),
        "register tiles": (tiles, BATCH * operations),
    }


def steps():
    """A learning step, sample by sample and all at once: name, job, operations."""
    from minidqn.qlearning import learn
    from minidqn.train import q_network

    batches = harness.played_batches(GRID, BATCH, 16)
    going_on = float(np.mean([(batch.rewards == 0).sum() for batch in batches]))
    operations = harness.step_operations(GRID, BATCH, going_on)
    model = q_network(GRID, np.random.default_rng(0), threads=1)

    def one_by_one(number):
        inputs, targets = literal.literal_targets(model, batches[number % 16], 0.8)
        model.train_on_batch(inputs, targets)

    return {
        "step, predictions one by one": (one_by_one, operations),
        "step, all at once": (lambda number: learn(model, batches[number % 16], 0.8), operations),
    }


def step_kernels(rng):
    """The kernels of a step: name, job, operations, bytes that they read and write."""
    from minidqn.nn import RMSprop, kernels

    x1, w1, y1 = (
        numbers(rng, BATCH, 10, 10, 1),
        numbers(rng, 3, 3, 1, 16),
        numbers(rng, BATCH, 8, 8, 16),
    )
    w2, y2, bias = numbers(rng, 3, 3, 16, 16), numbers(rng, BATCH, 6, 6, 16), numbers(rng, 16)
    x3, w3, b3 = numbers(rng, BATCH, 576), numbers(rng, 576, 100), numbers(rng, 100)
    y3, dx2, dw2 = (
        numbers(rng, BATCH, 100),
        numbers(rng, BATCH, 8, 8, 16),
        numbers(rng, 3, 3, 16, 16),
    )
    db2, dx3, dw3 = numbers(rng, 16), numbers(rng, BATCH, 576), numbers(rng, 576, 100)
    db3, parameters, gradients = numbers(rng, 100), numbers(rng, 60_483), numbers(rng, 60_483)
    optimizer = RMSprop(learning_rate=1e-9)
    optimizer.build(parameters)
    calls = {
        "conv2d forward": (kernels.convolve(x1, w1, bias, True, y1), y1.size * 9, (x1, w1, y1)),
        "conv2d_1 forward": (
            kernels.convolve(y1, w2, bias, True, y2), y2.size * 144, (y1, w2, y2),
        ),
        "conv2d_1 input gradient": (
            kernels.input_gradient(y2, w2, dx2), y2.size * 144, (y2, w2, dx2),
        ),
        "conv2d_1 kernel gradient": (
            kernels.kernel_gradient(y1, y2, dw2, db2), y2.size * 144, (y1, y2, dw2),
        ),
        "dense forward": (kernels.dense(x3, w3, b3, True, y3), x3.size * 100, (x3, w3, y3)),
        "dense gradients": (
            kernels.dense_gradients(x3, y3, w3, dw3, db3, dx3), 2 * x3.size * 100,
            (x3, y3, w3, dw3, dx3),
        ),
    }  # fmt: skip
    found = {
        name: (program_of(jobs, BATCH), 2 * products, sum(array.nbytes for array in arrays))
        for name, (jobs, products, arrays) in calls.items()
    }
    # Of a weight: five products and sums, a root and a quotient; w and v both ways, g once.
    found["RMSprop"] = (lambda _: optimizer.update(parameters, gradients), 7 * 60_483, 20 * 60_483)
    return found


def copies():
    """Copies within a core's own cache and through memory: name, job, bytes moved."""
    found = {}
    for name, count in (("cache", 1 << 15), ("memory", 1 << 26)):
        source, target = np.ones(count, np.float32), np.empty(count, np.float32)
        turns = max(1, (1 << 20) // count)

        def copy(_, source=source, target=target, turns=turns):
            for _ in range(turns):
                np.copyto(target, source)

        found[f"copy, {name}"] = (copy, 2 * source.nbytes * turns)
    return found


def measure(job):
    """In a child: everything in turns, on one core."""
    rng = np.random.default_rng(0)
    product, operations = harness.sgemm_job()
    ladder, kernels, copied = convolutions(rng) | steps(), step_kernels(rng), copies()
    jobs = {name: entry[0] for name, entry in (ladder | kernels | copied).items()}
    times = harness.take_turns(jobs | {"sgemm": product}, job["rounds"], seconds=job["seconds"])
    peak = operations / times["sgemm"]["min"]
    for name, (_, count) in ladder.items():
        times[name]["operations"] = count
    for name, (_, count, moved) in kernels.items():
        times[name] |= {"operations": count, "bytes": moved}
    for name, (_, moved) in copied.items():
        times[name]["bytes"] = moved
    return {"peak": peak, "times": times, "ladder": list(ladder), "kernels": list(kernels)}


def report(arguments):
    """In the parent: the tables."""
    job = {"rounds": 5, "seconds": 2} if arguments.quick else {"rounds": 200, "seconds": 30}
    result = harness.in_child("benchmarks.ladder", job)
    peak, times = result["peak"], result["times"]
    rows = []
    for name in result["ladder"]:
        images = 1 if "in Python" in name else BATCH
        taken = times[name]
        speed = taken["operations"] / taken["min"]
        rows.append(
            {
                "how": name,
                "samples": images,
                "ms a sample, min": f"{1e3 * taken['min'] / images:.4g}",
                "median": f"{1e3 * taken['median'] / images:.4g}",
                "GFLOP/s": f"{speed / 1e9:.3g}",
                "of sgemm": f"{100 * speed / peak:.2g}%" if speed < peak else f"{speed / peak:.0%}",
            }
        )
    harness.write_csv("ladder", rows)
    harness.write_table("ladder", rows)
    rows = [{"what": "sgemm", "GFLOP/s": f"{peak / 1e9:.1f}", "FLOP a byte": "", "GB/s": ""}]
    for name, taken in times.items():
        if name.startswith("copy"):
            speed = f"{taken['bytes'] / taken['min'] / 1e9:.1f}"
            rows.append({"what": name, "GFLOP/s": "", "FLOP a byte": "", "GB/s": speed})
    for name in result["kernels"]:
        taken = times[name]
        rows.append(
            {
                "what": name,
                "GFLOP/s": f"{taken['operations'] / taken['min'] / 1e9:.1f}",
                "FLOP a byte": f"{taken['operations'] / taken['bytes']:.2f}",
                "GB/s": "",
            }
        )
    harness.write_csv("roof", rows)
    harness.write_table("roof", rows)


if __name__ == "__main__":
    harness.main("One convolution written four ways, and the roof.", measure, report)
