"""The exercises of the course: their blanks are copied, answers to them are checked.

The blanks themselves are in ``docs/exercises``, in an installed package beside
these modules. ``python -m minidqn.exercises`` is the command.
"""

import os

# A training on answers multiplies small matrices, which more threads do not make faster. On a
# machine that is busy they wait for each other. NumPy looks at this as it is imported.
for library in ("OPENBLAS", "MKL", "VECLIB"):
    os.environ.setdefault(f"{library}_{'MAXIMUM' if library == 'VECLIB' else 'NUM'}_THREADS", "1")
