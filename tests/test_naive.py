"""Oracles against numbers worked out by hand; gradients are held against NumPy's where used."""

import numpy as np

from tests import naive


def test_convolve_by_hand():
    x = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9.0]]).reshape(1, 3, 3, 1)
    kernel = np.array([[1, 10], [100, 1000.0]]).reshape(2, 2, 1, 1)
    # Top left: 1*1 + 2*10 + 4*100 + 5*1000 + 0.5
    expected = [[5421.5, 6532.5], [8754.5, 9865.5]]
    np.testing.assert_array_equal(naive.convolve(x, kernel, [0.5])[0, :, :, 0], expected)


def test_update_rules_by_hand():
    assert naive.sgd([1.0, 2.0], [10.0, -4.0], 0.5) == [-4, 4]
    # v = 0.75 * 4 + 0.25 * 2**2 = 4; w = 3 - 0.5 * 2 / (2 + 0.5).
    assert naive.rmsprop([3.0], [2.0], [4.0], 0.5, 0.75, 0.5) == ([2.6], [4.0])


def test_q_value_by_hand():
    # G = 5, fruit in column 0, basket's centre in column 3 (it covers 2, 3, 4), one step
    # after this one: going left twice catches (centre 1 covers 0), anything else misses.
    for where, action, value in (
        ((1, 0, 3), -1, 0.8), ((1, 0, 3), 0, -0.8), ((2, 0, 2), -1, 1), ((2, 0, 2), 0, -1),
    ):  # fmt: skip
        assert naive.q_value(5, 0.8, *where, action) == value
