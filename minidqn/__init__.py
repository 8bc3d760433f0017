"""Deep Q-learning from scratch: a hand-written network learns to catch falling fruit.

``minidqn.nn`` is a small neural network library that has never heard of games;
the other modules are the game, the agent and the runs. Nothing is imported
here, so that each module costs only what it needs.
"""

import contextlib
import os

__version__ = "0.1.0"


def use_one_core() -> None:
    """Have NumPy, if it is imported after this, multiply matrices on one core.

    Those of a training are small. More threads do not make it faster, and on a machine that is
    busy they wait for each other.
    """
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(name, "1")


with contextlib.suppress(KeyError, ValueError):
    if int(os.environ["NUMBA_NUM_THREADS"]) < 1:  # Numba does not start; minidqn needs no threads
        os.environ["NUMBA_NUM_THREADS"] = "1"
