"""The kernels beside their numbers: nothing outside is touched, and any processor will do."""

import dataclasses
import inspect
import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from minidqn.nn import convolution, kernels, simd
from minidqn.nn.programs import run
from tests import at_once
from tests.test_convolution import assert_close

FENCE = 512  # numbers on each side: more than a tile that went astray would reach over


class Fenced:
    """An array in the middle of memory that says if it was written to.

    With `value` NaN, a kernel that reads over the edge shows NaN in its result.
    """

    def __init__(self, array, value):
        self.memory = np.full(array.size + 2 * FENCE, value, np.float32)
        self.value = value
        self.array = self.memory[FENCE : FENCE + array.size].reshape(array.shape)
        self.array[...] = array

    def intact(self):
        sides = np.concatenate([self.memory[:FENCE], self.memory[-FENCE:]])
        return np.array_equal(sides, np.full(2 * FENCE, self.value, np.float32), equal_nan=True)


# (N, H, W, C, kh, kw, F): the recipe's, one pixel, one tap, no whole vector, many tiles.
SHAPES = [
    (3, 10, 10, 1, 3, 3, 16),
    (3, 8, 8, 16, 3, 3, 16),
    (1, 8, 8, 16, 3, 3, 16),
    (2, 1, 1, 1, 1, 1, 1),
    (1, 7, 5, 3, 2, 4, 5),
    (2, 3, 41, 2, 1, 7, 33),
    (2, 6, 31, 17, 3, 1, 48),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fence", [np.nan, 12345.0])
def test_kernels_stay_inside(shape, fence, rng):
    n, height, width, c, kh, kw, f = shape
    x, kernel, bias, y = (
        Fenced(rng.standard_normal(lengths), fence)
        for lengths in (
            (n, height, width, c),
            (kh, kw, c, f),
            (f,),
            (n, height - kh + 1, width - kw + 1, f),
        )
    )
    dx, dkernel, dbias = (
        Fenced(x.array, fence),
        Fenced(kernel.array, fence),
        Fenced(bias.array, fence),
    )
    g = rng.standard_normal(y.array.shape).astype(np.float32)
    run(*kernels.convolve(x.array, kernel.array, bias.array, False, y.array))
    assert_close(
        y.array, convolution.convolve(x.array.astype(float), kernel.array, bias.array), 1e-5
    )
    fenced_g = Fenced(g, fence)
    run(*kernels.input_gradient(fenced_g.array, kernel.array, dx.array))
    assert_close(dx.array, convolution.input_gradient(g.astype(float), kernel.array), 1e-5)
    run(*kernels.kernel_gradient(x.array, fenced_g.array, dkernel.array, dbias.array))
    expected = convolution.kernel_gradient(x.array.astype(float), g)
    assert_close(dkernel.array, expected[0], 1e-5)
    assert_close(dbias.array, expected[1], 1e-5)
    assert all(array.intact() for array in (x, kernel, bias, y, dx, dkernel, dbias, fenced_g))


# (N, D, K): the recipe's, one of each, no whole vector, more than one tile or block.
DENSE_SHAPES = [
    (7, 576, 100), (64, 100, 3), (1, 1, 1), (13, 97, 101), (70, 5, 144), (9, 130, 20), (20, 9, 131),
]  # fmt: skip


@pytest.mark.parametrize("shape", DENSE_SHAPES)
@pytest.mark.parametrize("fence", [np.nan, 12345.0])
def test_dense_kernels_stay_inside(shape, fence, rng):
    n, d, k = shape
    x, g, kernel, bias = (
        Fenced(rng.standard_normal(lengths), fence) for lengths in ((n, d), (n, k), (d, k), (k,))
    )
    y, dx, dkernel, dbias = (Fenced(like.array, fence) for like in (g, x, kernel, bias))
    run(*kernels.dense(x.array, kernel.array, bias.array, True, y.array))
    exact = x.array.astype(float) @ kernel.array + bias.array
    assert_close(y.array, np.maximum(exact, 0), 1e-5)
    gradients = dkernel.array, dbias.array
    run(*kernels.dense_gradients(x.array, g.array, kernel.array, *gradients, dx.array))
    assert_close(dkernel.array, x.array.T.astype(float) @ g.array, 1e-5)
    assert_close(dbias.array, g.array.sum(axis=0, dtype=float), 1e-5)
    assert_close(dx.array, g.array.astype(float) @ kernel.array.T, 1e-5)
    y.array[...] = g.array
    run(*kernels.relu_gradient(y.array, x.array @ kernel.array))
    np.testing.assert_array_equal(y.array, np.where(x.array @ kernel.array > 0, g.array, 0))
    assert all(array.intact() for array in (x, g, kernel, bias, y, dx, dkernel, dbias))


def test_a_sample_does_not_depend_on_its_neighbours(rng):
    """Bit by bit the same, whether it is alone, in a tile or in what is left over."""
    x, kernel, bias = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((70, 90), (90, 100), (100,))
    )
    y = at_once.dense(x, kernel, bias)
    for n in (0, 1, 31, 68, 69):
        np.testing.assert_array_equal(at_once.dense(x[n : n + 1], kernel, bias)[0], y[n])


@pytest.mark.parametrize("results", [1, 20, 37, 100, 101, 131, 257, 509])
@pytest.mark.parametrize("lanes", [(4, 16), (8, 16), (16, 32)])
def test_no_number_of_units_is_done_one_by_one(results, lanes, monkeypatch):
    """A prime number of them is one tile, not as many tiles as it has units."""
    monkeypatch.setattr(simd, "LANES", lanes[0])
    monkeypatch.setattr(simd, "REGISTERS", lanes[1])
    choose = [tile.__wrapped__ for tile in (kernels._dense_tile, kernels._kernel_gradient_tile)]
    tiles = choose[0](results), choose[1](3, 48, results)
    for tile in tiles:
        width = (tile.vectors - 1) * lanes[0] + tile.tail
        assert results % width == 0
        assert width >= min(results, lanes[0])


PROCESSORS = {
    "haswell": "+avx2,+fma,+avx,+sse4.2,+ssse3,+sse3,+bmi,+bmi2",
    "x86-64": "+sse2",
}


@pytest.mark.skipif(
    "+avx2" not in simd.llvm.get_host_cpu_features().flatten(),
    reason="the other processors' code would not run on this one",
)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_kernels_for_other_processors(processor, tmp_path):
    """Compiled for older processors: shorter vectors, fewer registers, no fused multiply-add."""
    code = (
        "from tests.test_kernels import check_the_recipe\n"
        "from minidqn.nn import simd\n"
        "check_the_recipe()\n"
        "print(simd.LANES)\n"
    )
    environment = {
        "NUMBA_CPU_NAME": processor,
        "NUMBA_CPU_FEATURES": PROCESSORS[processor],
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        cwd=os.path.dirname(os.path.dirname(__file__)),
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout == ("8\n" if processor == "haswell" else "4\n")


def check_the_recipe():
    """The recipe's layers, and some that are no whole number of vectors."""
    rng = np.random.default_rng(3)

    def numbers(*shapes):
        return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    for n, side, c, f in ((3, 10, 1, 16), (2, 8, 16, 16), (2, 6, 3, 5)):
        x, kernel, bias, g = numbers(
            (n, side, side, c), (3, 3, c, f), (f,), (n, side - 2, side - 2, f)
        )
        assert_close(at_once.convolve(x, kernel, bias), convolution.convolve(x, kernel, bias), 1e-5)
        assert_close(at_once.input_gradient(g, kernel), convolution.input_gradient(g, kernel), 1e-5)
        for actual, expected in zip(
            at_once.kernel_gradient(x, g), convolution.kernel_gradient(x, g), strict=True
        ):
            assert_close(actual, expected, 2e-5)
    for n, d, k in ((20, 576, 100), (20, 100, 3), (3, 7, 9)):
        x, kernel, bias, g = numbers((n, d), (d, k), (k,), (n, k))
        assert_close(at_once.dense(x, kernel, bias), x @ kernel + bias, 1e-5)
        expected = x.T @ g, g.sum(axis=0), g @ kernel.T
        for actual, wanted in zip(at_once.dense_gradients(x, g, kernel), expected, strict=True):
            assert_close(actual, wanted, 2e-5)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("taps", [1, 2])
@pytest.mark.parametrize("tail", [1, 3, simd.LANES])
def test_tiles_do_what_their_definitions_say(rows, columns, taps, tail, rng, monkeypatch):
    """Each intrinsic, compiled, against the plain Python that documents it."""
    tile = simd.Tile(rows, columns, vectors=2, taps=taps, stride=3, tail=tail)
    spread = tile.spread
    width, steps = tile.width, columns + taps
    x = rng.standard_normal((4, 5, 3 * steps + 3)).astype(np.float32)
    weights = rng.standard_normal((2, taps, width)).astype(np.float32)
    memory = rng.standard_normal((4, steps, width)).astype(np.float32)

    block = rng.standard_normal((simd.LANES, 20)).astype(np.float32)

    def every(out, wide, sums, turned):
        values = simd.load(tile, memory, (0, 0, 0), steps * width, width)
        values = simd.correlate(values, tile, x, (1, 0, 1), x.shape[2], weights, (1, 0, 0), width)
        values = simd.add(values, tile, memory, (1, 0, 0))
        simd.store(simd.relu(values, tile), tile, out, (0, 0, 0), columns * width, width)
        wider = simd.fill(spread, memory, (0, 0, 0))
        wider = simd.scatter(wider, tile, x, (0, 1, 2), x.shape[2], weights, (0, 0, 0), width)
        simd.store(wider, spread, wide, (0, 0, 0), spread.columns * width, width)
        simd.store(simd.zeros(tile), tile, sums, (0, 0, 0), columns * width, width)
        simd.transpose(tile, block, (0, 1), 20, turned, (1, 2), simd.LANES + 3)

    shapes = (
        (rows, columns, width),
        (rows, spread.columns, width),
        (rows, columns, width),
        (simd.LANES + 2, simd.LANES + 3),
    )
    compiled = [np.full(shape, np.nan, np.float32) for shape in shapes]
    plain = [np.full(shape, np.nan, np.float32) for shape in shapes]
    numba.njit(every)(*compiled)
    for name in simd.__all__:
        if callable(getattr(simd, name)) and name != "Tile":
            monkeypatch.setattr(simd, name, inspect.unwrap(getattr(simd, name)))
    every(*plain)
    for actual, expected in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_the_cache_knows_the_intrinsics():
    """A tile carries a digest of the intrinsics, and compiled code is looked up by its tiles."""
    assert len(simd.Tile().source) == 16
    assert simd.Tile().lanes == simd.LANES
    assert simd.TileType(simd.Tile()) != simd.TileType(
        dataclasses.replace(simd.Tile(), source="another")
    )


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x, w, b, y, g: kernels.convolve(x, w[:, :, :1].copy(), b, False, y), "kernel"),
        (lambda x, w, b, y, g: kernels.convolve(x, w, b[:2], False, y), "bias"),
        (lambda x, w, b, y, g: kernels.convolve(x, w, b, False, y[:1]), "y"),
        (lambda x, w, b, y, g: kernels.convolve(x[:1], w, b, False, y), "y"),
        (lambda x, w, b, y, g: kernels.convolve(x, np.concatenate([w, w]), b, False, y), "kernel"),
        (lambda x, w, b, y, g: kernels.input_gradient(y, w[:, :2].copy(), x), "dx"),
        (lambda x, w, b, y, g: kernels.input_gradient(y[:1], w, x), "dx"),
        (lambda x, w, b, y, g: kernels.kernel_gradient(x, y[:1], w, b), "g"),
        (lambda x, w, b, y, g: kernels.kernel_gradient(x, y, w[:2], b), "dkernel"),
        (lambda x, w, b, y, g: kernels.kernel_gradient(x, y, w, b[:2]), "dbias"),
        (lambda x, w, b, y, g: kernels.dense(g, g, b, False, g), "kernel"),
        (lambda x, w, b, y, g: kernels.dense(g[:1], g.T.copy(), b[:1], False, g[:1]), "bias"),
        (lambda x, w, b, y, g: kernels.dense(g, g.T.copy(), b[:3], False, g), "y"),
        (lambda x, w, b, y, g: kernels.dense_gradients(g, g, g, g, b, g), "kernel"),
        (lambda x, w, b, y, g: kernels.dense_gradients(g, g[:2], g, g, b, g), "g"),
        (lambda x, w, b, y, g: kernels.relu_gradient(g, g[:1]), "g"),
    ],
)
def test_no_kernel_is_reached_with_a_wrong_shape(call, name):
    x, kernel, bias = np.zeros((2, 5, 5, 2)), np.zeros((3, 3, 2, 4)), np.zeros(4)
    arrays = [a.astype(np.float32) for a in (x, kernel, bias, np.zeros((2, 3, 3, 4)))]
    with pytest.raises(ValueError, match=f"^{name} has shape .*expected"):
        call(*arrays, np.zeros((3, 4), np.float32))


def test_only_plain_arrays_are_changed_in_place():
    g = np.ones((4, 4), np.float32)
    with pytest.raises(TypeError, match="C-contiguous"):
        kernels.relu_gradient(g[:, ::2], g[:, ::2])
    with pytest.raises(TypeError, match="float64"):
        kernels.relu_gradient(g.astype(float), g.astype(float))


def test_read_only_arrays_are_read(rng):
    x, kernel, bias = (
        rng.random(shape).astype(np.float32) for shape in ((1, 5, 5, 2), (3, 3, 2, 4), (4,))
    )
    y = at_once.convolve(x, kernel, bias)
    dx = at_once.input_gradient(y, kernel)
    dkernel, _ = at_once.kernel_gradient(x, y)
    for array in (x, kernel, bias, y):
        array.setflags(write=False)
    np.testing.assert_array_equal(at_once.convolve(x, kernel, bias), y)
    np.testing.assert_array_equal(at_once.input_gradient(y, kernel), dx)
    np.testing.assert_array_equal(at_once.kernel_gradient(x, y)[0], dkernel)
    with pytest.raises(ValueError, match="y is read-only"):
        at_once.convolve(x, kernel, bias, out=y)


@pytest.mark.parametrize("numbers", [[], [0.0, -1e38], [1.0, np.nan], [np.inf, 0.0], [-np.inf]])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_all_finite(numbers, kind):
    numbers = np.array(numbers * 50, kind)
    assert kernels.all_finite(numbers) == np.isfinite(numbers).all()
