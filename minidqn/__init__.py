"""Deep Q-learning from scratch: a hand-written network learns to catch falling fruit.

``minidqn.nn`` is a small neural network library that has never heard of games;
the other modules are the game, the agent and the runs. Nothing is imported
here, so that each module costs only what it needs.
"""

import contextlib
import os

__version__ = "0.1.0"

with contextlib.suppress(KeyError, ValueError):
    if int(os.environ["NUMBA_NUM_THREADS"]) < 1:  # Numba does not start; minidqn needs no threads
        os.environ["NUMBA_NUM_THREADS"] = "1"
