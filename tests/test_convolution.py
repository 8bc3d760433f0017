"""What a convolution is, against loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.nn import convolution
from tests import naive


@st.composite
def problems(draw):
    """Arrays of a convolution: x, kernel, bias and g, float64, all sizes independent."""
    sizes = draw(st.tuples(*[st.integers(1, 4)] * 7))
    samples, channels, filters, kh, kw, rows, columns = sizes
    height, width = rows + kh - 1, columns + kw - 1
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.standard_normal((samples, height, width, channels))
    kernel = rng.standard_normal((kh, kw, channels, filters))
    g = rng.standard_normal((samples, rows, columns, filters))
    return x, kernel, rng.standard_normal(filters), g


def assert_close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


@given(problems())
def test_definition_is_the_loops(problem):
    x, kernel, bias, g = problem
    assert_close(convolution.convolve(x, kernel, bias), naive.convolve(x, kernel, bias), 1e-13)
    assert_close(convolution.input_gradient(g, kernel), naive.input_gradient(g, kernel), 1e-13)
    pairs = zip(convolution.kernel_gradient(x, g), naive.kernel_gradient(x, g), strict=True)
    for actual, expected in pairs:
        assert_close(actual, expected, 1e-13)


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
