"""Q* against brute force, and what theory says of it."""

import numpy as np
import pytest

from minidqn.exact import q_star
from minidqn.fruit import ACTIONS, starts
from tests import naive


@pytest.mark.parametrize(("grid_size", "gamma"), [(3, 0.8), (4, 0.5), (5, 0.8), (6, 0.0), (7, 0.9)])
def test_backward_induction_is_brute_force(grid_size, gamma):
    q = q_star(grid_size, gamma)
    assert q.shape == (grid_size - 2, grid_size, grid_size - 2, 3)
    for fruit_row in range(grid_size - 2):
        for fruit_column, basket in starts(grid_size):
            for column, action in enumerate(ACTIONS):
                state = fruit_row, fruit_column, basket
                expected = naive.q_value(grid_size, gamma, *state, action)
                assert np.isclose(q[fruit_row, fruit_column, basket - 1, column], expected)


def test_every_start_is_worth_a_discounted_win():
    """V*(start) = gamma**7 at G = 10: the win comes with the eighth step."""
    np.testing.assert_allclose(q_star(10, 0.8)[0].max(axis=-1), 0.8**7)


def test_q_star_of_the_mirrored_game():
    q = q_star(10, 0.8)
    np.testing.assert_array_equal(q, q[:, ::-1, ::-1, ::-1])


@pytest.mark.parametrize("gamma", [1, -0.1, np.nan])
def test_gamma_is_checked(gamma):
    with pytest.raises(ValueError, match="gamma is"):
        q_star(5, gamma)


def test_grid_size_is_checked():
    with pytest.raises(ValueError, match="grid_size is 2"):
        q_star(2)
