"""Where chance decides: what any right answer to exercise 8 obeys.

The states of a batch say which experiences were drawn, and the package's own
memory what a batch of these is.
"""

import functools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minidqn.exercises.answers import Fault, FaultError, apart, call, compare, misfit, what_is
from minidqn.replay import Memory

RESULTS = ("states", "actions", "rewards", "next_states")
"""What a batch is made of."""

DRAWS = 1000
"""Batches that are counted, each with a generator of its own."""

DEVIATIONS = 6
"""Standard deviations from the mean that no fair count comes to."""


def check_samples(function: Callable, path: Path, cases: list[dict]) -> Fault | None:
    """Look for a fault in an answer to exercise 8.

    Parameters
    ----------
    function : callable
        The learner's.
    path : Path
        Its file.
    cases : list of dict
        Inputs, the smallest first.

    Returns
    -------
    Fault or None
        The first one, if there is one.
    """
    function = functools.partial(_sample, function)
    for number, arguments in enumerate(cases):
        _, fault = draw_batch(function, path, arguments, first=number == 0)
        if fault:
            return fault
    four = cases[-3]
    return _other_chance(function, path, four) or _unfair(function, path, four)


def _sample(function, memory, batch_size, rng):
    """A learner's batch, unless it is a list of experiences."""
    returned = function(memory, batch_size, rng)
    if type(returned) in (tuple, list) and returned and all(map(_is_experience, returned)):
        words = f"It returned {what_is(returned)}, experience by experience; expected four arrays."
        hint = "each array holds one kind of thing, such as all actions, in the order of the batch."
        raise FaultError(Fault(words, hint=hint))
    return returned


def _is_experience(thing):
    """Whether something is (S, action, reward, S_prime), and not four of a kind."""
    arrays = [type(part) is np.ndarray for part in thing] if type(thing) in (tuple, list) else []
    return arrays == [True, False, False, True]


def draw_batch(function: Callable, path: Path, arguments: dict, first: bool = False) -> tuple:
    """Draw one batch, and look for a fault in it.

    Parameters
    ----------
    function, path
        As for `check_samples`.
    arguments : dict
        By name, in order; all experiences of the memory have another S.
    first : bool
        As for ``answers.call``.

    Returns
    -------
    places : list of int
        Where in the memory the batch comes from.
    fault : Fault or None
        What is wrong with it, if something is.
    """
    outcome = call(function, path, RESULTS, arguments, first)
    if outcome.fault:
        return [], outcome.fault
    memory = Memory(len(arguments["memory"]))
    for experience in arguments["memory"]:
        memory.store(experience)
    some = _arrays(memory, range(arguments["batch_size"]))
    for name, result in zip(RESULTS, outcome.results, strict=True):
        words = misfit(name, some[name], result, any_width=True)
        if words:
            return [], Fault(words, arguments)
    places = []
    for row, state in enumerate(outcome.results[0]):
        stored = enumerate(arguments["memory"])
        found = [p for p, experience in stored if np.array_equal(state, experience[0])]
        if not found:
            shown = {f"states[{row}]": state}
            return [], Fault(f"states[{row}] is the S of no experience.", arguments, shown)
        places += found
    fault = _mixed(outcome, _arrays(memory, places), places) or _twice(arguments, places)
    return places, fault


def _arrays(memory, places):
    """The batch at some places of the package's memory, by the names of the results."""
    batch = memory.take(list(places))
    return {name: np.asarray(getattr(batch, name)) for name in RESULTS}


def _mixed(outcome, expected, places):
    """The fault of a batch whose rows do not belong together."""
    for name, result in zip(RESULTS, outcome.results, strict=True):
        if compare(name, expected[name], result, any_width=True):
            rows = range(len(result))
            row = next(n for n in rows if not np.array_equal(result[n], expected[name][n]))
            words = f"{name}[{row}] belongs to another experience than states[{row}]."
            shown = {"places of states": np.array(places)} | apart(name, expected[name], result)
            hint = "the four arrays need the same places, in the same order."
            return Fault(words, outcome.arguments, shown, hint)
    return None


def _twice(arguments, places):
    """The fault of a batch that holds an experience more than once."""
    for place in places:
        if places.count(place) > 1:
            words = f"memory[{place}] is in this batch {places.count(place)} times."
            hint = "this is drawing with replacement: what is drawn must not go back."
            return Fault(words, arguments, hint=hint)
    return None


def _other_chance(function, path, arguments):
    """The fault of an answer that draws from anything but the generator it is given."""
    globals_before = _global_states()
    for seed in range(10):
        same = arguments | {"rng": np.random.default_rng(seed)}
        (places, fault), (again, other) = (draw_batch(function, path, same) for _ in range(2))
        if fault or other:
            return fault or other
        moved = [name for name, state in _global_states().items() if state != globals_before[name]]
        if moved:
            words = f"It draws from {moved[0]}, a generator that all programs share."
            return Fault(words, same, hint="rng has methods of its own that draw.")
        if places != again:
            words = "The same rng in the same state gave two different batches:"
            shown = {"places in memory": np.array(places), "and then": np.array(again)}
            return Fault(words, same, shown, "something else than rng is drawn from, too.")
    return None


def _global_states():
    """Where the generators are that nobody should draw from."""
    return {
        "np.random": repr(np.random.get_state()),  # noqa: NPY002, it is only looked at
        "the module random": repr(random.getstate()),
    }


def _unfair(function, path, arguments):
    """The fault of an answer that prefers some experiences to others."""
    size, batch_size = len(arguments["memory"]), arguments["batch_size"]
    batches = []
    for seed in range(DRAWS):
        drawn = arguments | {"rng": np.random.default_rng(seed)}
        places, fault = draw_batch(function, path, drawn)
        if fault:
            return fault
        batches.append(places)
    counts = np.bincount(np.ravel(batches), minlength=size)
    share = batch_size / size
    deviation = np.sqrt(DRAWS * share * (1 - share))
    if (abs(counts - DRAWS * share) < DEVIATIONS * deviation).all():
        return None
    words = (
        f"Of {DRAWS} batches, each with another rng, every experience should be in about "
        f"{DRAWS * share:.0f}; how many they were in is shown below."
    )
    inputs = {name: arguments[name] for name in ("memory", "batch_size")}
    return Fault(words, inputs, {"batches with each": counts}, _preference(counts))


def _preference(counts):
    """A hint for what kind of experiences an answer prefers."""
    always = int(np.count_nonzero(counts == DRAWS))
    if always and counts[-always:].min() == DRAWS:
        return "the newest ones come every time, and no others: is the rng that it is given used?"
    if always:
        return "the same ones come every time: is the rng that it is given used?"
    if counts[-1] == 0:
        return "the newest one is never drawn: is the range of the places one too short?"
    if counts[0] == 0:
        return "the oldest one is never drawn: places in a list begin at 0."
    return ""
