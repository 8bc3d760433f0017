"""What all tests share: hypothesis without a clock, and generators that repeat."""

import hypothesis
import numpy as np
import pytest

# The first call of a kernel compiles it, which no deadline should measure.
hypothesis.settings.register_profile("minidqn", deadline=None, max_examples=40)
hypothesis.settings.load_profile("minidqn")


@pytest.fixture
def rng():
    return np.random.default_rng(20160607)


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=10, help="runs to kill in test_durability")
    parser.addoption("--fuzz", type=int, default=300, help="damaged files in test_durability")
    parser.addoption("--slow", action="store_true", help="run the slow blocks of docs/ too")
