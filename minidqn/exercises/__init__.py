"""The exercises of the course: their blanks are copied, answers to them are checked.

The blanks themselves are in ``docs/exercises``, in an installed package beside
these modules. ``python -m minidqn.exercises`` is the command.
"""

from minidqn import use_one_core

use_one_core()
