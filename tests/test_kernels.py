"""The kernels: nothing outside their arrays is touched, one signature each, any processor."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from minidqn import replay
from minidqn.nn import Conv2D, Dense, Flatten, Pixels, RMSprop, kernels, optimizers
from minidqn.nn.pixels import scan
from minidqn.qlearning import learn
from minidqn.recipe import q_network
from minidqn.replay import experience_replay
from tests.test_convolution import assert_close
from tests.test_layers import FRAMES, frames, network

ROOT = Path(__file__).parent.parent
FENCE = 512  # numbers on each side of an array: a kernel that went astray lands in them


class Fenced:
    """Arrays in the middle of memory that says if it was written to.

    With `value` NaN, a kernel that reads over the edge of one shows NaN in its result.
    """

    def __init__(self, arrays, value):
        sizes = [array.size + FENCE for array in arrays]
        self.memory = np.full(FENCE + sum(sizes), value, arrays[0].dtype)
        self.outside = np.ones(len(self.memory), bool)
        self.value = self.memory[0]
        self.starts = FENCE + np.cumsum([0, *sizes[:-1]])
        self.arrays = []
        for start, array in zip(self.starts, arrays, strict=True):
            inside = slice(start, start + array.size)
            self.outside[inside] = False
            self.arrays.append(self.memory[inside])
            self.arrays[-1][...] = array

    def assert_intact(self):
        np.testing.assert_array_equal(self.memory[self.outside], self.value)


def fence(engine, columns, memories, value):
    """The blocks of some memories that begin at the table's `columns`, apart from each other."""
    places = [(n, column) for n in range(1, len(engine.table)) for column in columns]
    places.sort(key=lambda place: engine.table[place])
    begins = [engine.table[place] for place in places]
    fenced = [Fenced(np.split(memory, begins[1:]), value) for memory in memories]
    for place, start in zip(places, fenced[0].starts, strict=True):
        engine.table[place] = start
    return fenced


# Layers and a state's shape: the recipe's, one pixel, one tap, no whole vector, no convolution.
RECIPE = [Conv2D, 16, 3, "relu"], [Conv2D, 16, 3, "relu"], [Flatten], [Dense, 20, "relu"]
NETWORKS = [
    ((1, 8, 8), *RECIPE, [Dense, 3]),
    ((1, 1, 1), [Conv2D, 1, 1, "relu"], [Flatten], [Dense, 1]),
    ((3, 7, 5), [Conv2D, 5, (2, 4)], [Conv2D, 33, (3, 1), "relu"], [Flatten], [Dense, 17]),
    ((2, 3, 9), [Conv2D, 2, (1, 7), "relu"], [Flatten], [Dense, 1, "relu"], [Dense, 4]),
    ((2, 2, 3), [Flatten], [Dense, 18, "relu"], [Dense, 2]),
    ((19,), [Dense, 7, "relu"], [Dense, 2]),
]


def made(shape, *described):
    """A network, with biases of both signs, and 60 states from full ones to empty ones."""
    rng = np.random.default_rng(3)
    layers = [kind(*arguments) for kind, *arguments in described]
    layers[0].input_shape = shape
    model = network(*layers, rng=rng, noise=0.3)
    model.compile(RMSprop())
    return model, np.concatenate([frames(kind, (12, *shape), rng) for kind in FRAMES[::-1]])


@pytest.mark.uncompiled
@pytest.mark.parametrize("described", NETWORKS, ids=lambda described: str(described[0]))
@pytest.mark.parametrize("value", [np.nan, 12345.0])
def test_kernels_stay_inside(described, value):
    """Fences round every array change no bit of any result."""
    model, states = made(*described)
    k, engine, learned, channels = kernels, model._engine, 33, states.shape[1]
    g = np.random.default_rng(1).standard_normal((learned, *model.output_shape)).astype(np.float32)
    pixels = Pixels.of(states)
    outputs = engine.forward(pixels, learned)
    engine.backward(g)

    integer, table = -5 if np.isnan(value) else 7, engine.table
    sizes, weights = table[:, k.BIAS] - table[:, k.KERNEL], (engine.parameters, engine.gradients)
    parameters, gradients = fence(engine, [k.KERNEL], weights, value)
    table[:, k.BIAS] = table[:, k.KERNEL] + sizes
    (numbers,) = fence(engine, range(k.D, k.FIRST), [engine.numbers], value)
    (places,) = fence(engine, range(k.FIRST, k.ROWS), [engine.places], integer)
    exact = pixels.first, pixels.last, pixels.positions, pixels.values
    batch = [Fenced([0 * a], value if a.dtype == np.float32 else integer) for a in exact]
    first, last, positions, values = arrays = [fenced.arrays[0] for fenced in batch]
    batch += [Fenced([array.ravel()], value) for array in (states, 0 * outputs, g)]
    images, y, slope = (fenced.arrays[0] for fenced in batch[4:])
    scan(images, channels, first, last, positions, 1, values, channels)
    assert all(map(np.array_equal, arrays, exact))
    y, slope = y.reshape(outputs.shape), slope.reshape(g.shape)
    work = numbers.memory, places.memory
    for _ in range(2):
        k.forward(table, parameters.memory, *work, *arrays, learned, False, y)
        k.backward(table, parameters.memory, gradients.memory, *work, values, slope)
        np.testing.assert_array_equal(y, outputs)
        np.testing.assert_array_equal(np.concatenate(gradients.arrays), engine.gradients)
        for fenced in (parameters, gradients, numbers, places, *batch):
            fenced.assert_intact()
        y[...] = value
        for gradient in gradients.arrays:
            gradient[...] = value


@pytest.mark.uncompiled
@pytest.mark.parametrize("channels", [1, 3])
def test_gather_stays_inside(channels, rng):
    """Images without a row, with every row of the ring, to its last one and past it."""
    begin, end = np.array([[5, 0, 4, 13, 6, 27], [5, 7, 7, 16, 13, 30]])
    ring = Fenced([rng.integers(-99, 99, 7 * (1 + channels), np.int32)], -5)
    rows, count = ring.arrays[0].reshape(7, -1), (end - begin).sum()
    integers = Fenced([np.zeros(n, np.int32) for n in (6, 6, count)], -5)
    values = Fenced([np.zeros(count * channels, np.float32)], np.nan)
    ring_as_floats = ring.arrays[0].view(np.float32)
    given = ring.arrays[0], ring_as_floats, channels, begin, end, *integers.arrays, values.arrays[0]
    kernels.gather(*given)
    first, last, positions = integers.arrays
    expected = np.concatenate([rows[np.arange(*ends) % 7] for ends in zip(begin, end, strict=True)])
    np.testing.assert_array_equal(last, (end - begin).cumsum())
    np.testing.assert_array_equal(last - first, end - begin)
    np.testing.assert_array_equal(positions, expected[:, 0])
    np.testing.assert_array_equal(values.arrays[0].view(np.int32), expected[:, 1:].ravel())
    for fenced in (ring, integers, values):
        fenced.assert_intact()


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_each_kernel_has_one_signature(rng):
    """Whatever networks and states there are; so the cache holds one entry for each."""
    for described in NETWORKS:
        rmsprops = "rmsprop", "rmsprop centered=true", "rmsprop momentum=0.5"
        for optimizer in (*rmsprops, "adam", "sgd"):
            model, states = made(*described)
            model.compile(optimizer)
            unaligned = np.frombuffer(b"." + states.tobytes(), np.float32, offset=1)
            unaligned = unaligned.reshape(states.shape)
            read_only = states.copy()
            read_only.flags.writeable = False
            for kind in (
                states, states.astype(np.float64), states > 0, read_only, unaligned,
                states[::-2], np.asfortranarray(states), states.astype(">f4"), Pixels.of(states),
                Pixels.of(read_only)[3:9], Pixels.of(states)[::-2], states[:0],
            ):  # fmt: skip
                model.predict(kind)
                if len(kind):
                    model.train_on_batch(kind, np.zeros((len(kind), *model.output_shape)))
    model, store = q_network(6, rng), experience_replay(8, 20, rng)
    next(store)
    for n in range(40):
        S, S_prime = frames("sparse", (2, 1, 6, 6), rng).astype([np.float32, np.float64][n % 2])
        batch = store.send((S, 0, n % 2, S_prime))
        if batch is not None:
            learn(model, batch)
            model.predict(batch.next_states)
    found = [*vars(kernels).values(), *vars(replay).values(), *vars(optimizers).values()]
    rules = [thing for thing in found if isinstance(thing, dict) and np.float32 in thing]
    kept = {k for k in found + [rule[np.float32] for rule in rules] if hasattr(k, "signatures")}
    names = {k.__name__ for k in kept}
    assert {"forward", "backward", "scan", "gather", "_sgd", "_rmsprop", "_adam"} <= names
    assert [len(k.signatures) for k in kept] == [1] * len(kept)


def printed(code, **environment):
    """What a process of its own prints, which has nothing to complain about."""
    command, env = [sys.executable, "-c", code], os.environ | environment
    result = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


PROCESSORS = {"haswell": "+avx2,+fma,+avx,+sse4.2,+ssse3,+sse3,+bmi,+bmi2", "x86-64": "+sse2"}
CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


@pytest.mark.skipif("avx2" not in CPU, reason="the other processors' code would not run here")
@pytest.mark.parametrize("processor", PROCESSORS)
def test_kernels_for_other_processors(processor, tmp_path):
    """Compiled for older processors: shorter vectors, fewer registers, no fused multiply-add."""
    code = "from tests.test_kernels import check_networks; print(check_networks())"
    cpu = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": PROCESSORS[processor]}
    found = printed(code, NUMBA_CACHE_DIR=str(tmp_path), **cpu)
    assert found == f"{processor == 'haswell'}\n"


def check_networks():
    """All of them against their layers; whether multiplying and adding is one instruction."""
    for described in NETWORKS:
        model, states = made(*described)
        exact = model.astype(np.float64)
        targets = exact.forward(states) - 1
        assert_close(model.predict(states), targets + 1, 1e-5)
        exact.backward(2 * np.ones(targets.shape) / targets.size)
        model.train_on_batch(states, targets)
        for name, gradient in exact.named_gradients().items():
            assert_close(model.named_gradients()[name], gradient, 1e-4)
    return "vfmadd" in next(iter(kernels.forward.inspect_asm().values()))


def scanned():
    return Pixels.of(np.eye(3)[np.newaxis, np.newaxis]).positions.tolist()


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_a_damaged_cache_is_compiled_again(tmp_path):
    """Whatever happens to the index, the code or the seal; and what is whole is used."""

    def in_a_process():
        code = "from tests.test_kernels import scanned; print(scanned())"
        assert printed(code, NUMBA_CACHE_DIR=str(tmp_path)) == "[0, 4, 8]\n"
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb[ic]")}

    whole = in_a_process()
    assert {path.suffix for path in whole} == {".nbi", ".nbc"}
    assert in_a_process() == whole  # not compiled again
    flipped = lambda data: bytes([*data[:-9], data[-9] ^ 1, *data[-8:]])  # noqa: E731
    damages = lambda data: data[:-200], lambda data: b"", flipped
    for pattern in ("*.nbi", "*.nbc", "minidqn.sha256"):
        for damage in damages:
            (path,) = tmp_path.rglob(pattern)
            path.write_bytes(damage(path.read_bytes()))
            in_a_process()
