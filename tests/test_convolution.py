"""The definition and the kernels, against each other and against loops."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidqn.nn import convolution
from tests import at_once, naive

pytestmark = pytest.mark.uncompiled

# Compiled, every new shape costs seconds; test_uncompiled runs many more of them.
few_if_compiled = settings(max_examples=40 if numba.config.DISABLE_JIT else 4)


@st.composite
def problems(draw):
    """Arrays of a convolution: x, kernel, bias and g, float64, all sizes independent."""
    size = st.integers(1, 4)
    kh, kw, samples, channels = draw(size), draw(size), draw(size), draw(size)
    filters = draw(st.integers(1, 5))
    height, width = kh + draw(st.integers(0, 4)), kw + draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.standard_normal((samples, height, width, channels))
    kernel = rng.standard_normal((kh, kw, channels, filters))
    g = rng.standard_normal((samples, height - kh + 1, width - kw + 1, filters))
    return x, kernel, rng.standard_normal(filters), g


def as_float32(*arrays):
    return [array.astype(np.float32) for array in arrays]


def assert_close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


@given(problems())
def test_definition_is_the_loops(problem):
    x, kernel, bias, g = problem
    assert_close(convolution.convolve(x, kernel, bias), naive.convolve(x, kernel, bias), 1e-13)
    assert_close(convolution.input_gradient(g, kernel), naive.input_gradient(g, kernel), 1e-13)
    actual, expected = convolution.kernel_gradient(x, g), naive.kernel_gradient(x, g)
    assert_close(actual[0], expected[0], 1e-13)
    assert_close(actual[1], expected[1], 1e-13)


def check_kernels(problem):
    """The kernels against the definition and the loops."""
    x, kernel, bias, g = problem
    y = convolution.convolve(x, kernel, bias)
    x32, kernel32, bias32, g32 = as_float32(*problem)
    assert_close(at_once.convolve(x32, kernel32, bias32), y, 1e-5)
    assert_close(at_once.convolve(x32, kernel32, bias32), naive.convolve(x, kernel, bias), 1e-5)
    assert_close(at_once.convolve(x32, kernel32, bias32, relu=True), np.maximum(y, 0), 1e-5)
    dx = at_once.input_gradient(g32, kernel32)
    assert_close(dx, convolution.input_gradient(g, kernel), 1e-5)
    assert_close(dx, naive.input_gradient(g, kernel), 1e-5)
    dkernel, dbias = at_once.kernel_gradient(x32, g32)
    for oracle in (convolution, naive):
        expected = oracle.kernel_gradient(x, g)
        assert_close(dkernel, expected[0], 1e-5)
        assert_close(dbias, expected[1], 1e-5)


@few_if_compiled
@given(problems())
def test_kernels_are_the_definition(problem):
    check_kernels(problem)


@given(problems())
def test_gradients_are_adjoint_to_the_convolution(problem):
    """<g, conv(x, w)> is <dx, x> and <dw, w>: what makes them gradients at all."""
    x, kernel, bias, g = problem
    inner = np.sum(g * convolution.convolve(x, kernel, 0 * bias))
    assert np.isclose(np.sum(convolution.input_gradient(g, kernel) * x), inner)
    assert np.isclose(np.sum(convolution.kernel_gradient(x, g)[0] * kernel), inner)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_definition_keeps_the_dtype(dtype, rng):
    x, kernel = rng.random((2, 4, 5, 3)).astype(dtype), rng.random((2, 3, 3, 2)).astype(dtype)
    y = convolution.convolve(x, kernel, np.zeros(2, dtype))
    assert y.dtype == dtype
    assert convolution.input_gradient(y, kernel).dtype == dtype
    assert [array.dtype for array in convolution.kernel_gradient(x, y)] == [dtype, dtype]


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w, b, g: convolution.convolve(x, w[:, :, :1], b),
        lambda x, w, b, g: convolution.convolve(x, w, b[:1]),
        lambda x, w, b, g: convolution.convolve(x[:, :2], w, b),
        lambda x, w, b, g: convolution.input_gradient(g[..., :1], w),
        lambda x, w, b, g: convolution.kernel_gradient(x[:1], g),
        lambda x, w, b, g: convolution.kernel_gradient(g, x),
    ],
)
def test_definition_refuses_what_does_not_fit(call):
    """NumPy alone would stretch a length of 1."""
    x, kernel, bias = np.zeros((2, 4, 5, 2)), np.zeros((3, 3, 2, 4)), np.zeros(4)
    with pytest.raises(ValueError, match=r"differ|window"):
        call(x, kernel, bias, np.zeros((2, 2, 3, 4)))


def test_kernels_take_an_empty_batch():
    x, kernel = np.zeros((0, 4, 4, 2), np.float32), np.ones((3, 3, 2, 5), np.float32)
    y = at_once.convolve(x, kernel, np.ones(5, np.float32))
    assert y.shape == (0, 2, 2, 5)
    assert at_once.input_gradient(y, kernel).shape == x.shape
    assert not at_once.kernel_gradient(x, y)[0].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_kernels_do_not_hide_what_is_not_a_number(bad, rng):
    """A NaN or infinity anywhere shows in every output that depends on it, ReLU or not."""
    x, kernel, bias = as_float32(rng.random((1, 4, 4, 2)), rng.random((3, 3, 2, 3)), np.zeros(3))
    x[0, 1, 1, 0] = bad
    with np.errstate(invalid="ignore"):
        y = at_once.convolve(x, kernel, bias, relu=True)
        expected = np.maximum(convolution.convolve(x, kernel, bias), 0)
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))
        if np.isnan(bad):
            assert np.isnan(y).all()
        dkernel, _ = at_once.kernel_gradient(x, np.ones_like(y))
        assert not np.isfinite(dkernel[:2, :2, 0]).any()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x, w, b, g: at_once.convolve(x[0], w, b, out=g), ValueError, "x has shape"),
        (lambda x, w, b, g: at_once.convolve(x, w[:, :, :1], b), ValueError, "kernel has shape"),
        (lambda x, w, b, g: at_once.convolve(x, w, b[:1]), ValueError, "bias has shape"),
        (
            lambda x, w, b, g: at_once.convolve(x[:, :2].copy(), w, b, out=g),
            ValueError,
            "fits images",
        ),
        (lambda x, w, b, g: at_once.convolve(x, w, b, out=g[:1]), ValueError, "y has shape"),
        (lambda x, w, b, g: at_once.convolve(x.astype(float), w, b), TypeError, "x is float64"),
        (lambda x, w, b, g: at_once.convolve(x[:, ::-1], w, b), TypeError, "contiguous"),
        (lambda x, w, b, g: at_once.input_gradient(g, w[..., :1]), ValueError, "kernel has shape"),
        (lambda x, w, b, g: at_once.kernel_gradient(x[:1], g), ValueError, "g has shape"),
        (lambda x, w, b, g: at_once.kernel_gradient(g, x, (w, b)), ValueError, "fits images"),
        (lambda x, w, b, g: at_once.kernel_gradient(x, g, (w, b[:1])), ValueError, "dbias"),
    ],
)
def test_kernels_refuse_what_does_not_fit(call, error, words):
    x, kernel, bias = (np.zeros(shape, np.float32) for shape in ((2, 4, 5, 2), (3, 3, 2, 4), (4,)))
    g = np.zeros((2, 2, 3, 4), np.float32)
    with pytest.raises(error, match=words):
        call(x, kernel, bias, g)
