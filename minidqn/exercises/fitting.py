"""A learner's function made fit for a training: tried at its sizes, and made fast if it is slow.

Exercises 2 and 4 know one image, one channel and one filter, and may be loops. They are linear
in each argument, so their answers for single pixels, single numbers of a kernel and single
gradients say all about them: these are asked for once and kept as a `Table`. Other functions
that are slow are compiled with Numba, if it can compile them.
"""

import copy
import functools
import inspect
import itertools
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from minidqn import fruit
from minidqn.checks import one_line
from minidqn.exercises import checking
from minidqn.exercises.answers import (
    Fault,
    TooLongError,
    call,
    close,
    compare,
    limited,
    load,
    misfit,
    raised,
)
from minidqn.exercises.problems import PROBLEMS
from minidqn.exercises.sampling import draw_batch
from minidqn.nn import Conv2D, Dense, RMSprop
from minidqn.runs import Settings

NUMBERS = range(1, 9)
"""The exercises whose functions a training needs."""

SLOW, TOO_SLOW = 0.01, 1.0
"""Seconds of a call from which Numba is tried, and from which a training would take hours."""

SLOW_TABLE = 2.0
"""Seconds of all calls for a table from which Numba is tried."""


WRONG = "ours: yours is wrong"
"""Whose a function is of which the check has more to say."""


class AnswerError(Exception):
    """A learner's function that is right in its check has gone wrong; the message says where."""


class Part(NamedTuple):
    """One function of a training.

    Attributes
    ----------
    words : str
        Whose it is.
    own : object
        The learner's: a function that takes what the exercise's takes and returns a tuple; for
        exercises 2 and 4 a tuple of `Table` by the images' side. None if it is ours.
    why : str
        A sentence, if it is ours although the learner's is right in its check.
    """

    words: str
    own: object = None
    why: str = ""


class Table:
    """What a linear function of many numbers makes of each alone.

    Parameters
    ----------
    answers : ndarray [shape=(outputs, inputs)]
        Mostly 0; only the others are multiplied.
    """

    def __init__(self, answers: np.ndarray):
        most = max(1, np.count_nonzero(answers, axis=1).max())
        self.places = np.argsort(answers == 0, axis=1, kind="stable")[:, :most]
        self.factors = np.take_along_axis(answers, self.places, axis=1)

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        """The outputs for `x` [shape=(N, inputs, C)], each sample and channel for itself."""
        return np.einsum("nomc,om->noc", x.take(self.places, axis=1), self.factors)


def slide(windows: Table, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve images, by the table of a function that knows one.

    Parameters
    ----------
    windows : Table
        From pixels to the pixel that each output and each number of the kernel multiplies.
    x : ndarray [shape=(N, H, W, C)]
        Images.
    kernel : ndarray [shape=(kh, kw, C, F)]
        Filters.

    Returns
    -------
    ndarray [shape=(N, H - kh + 1, W - kw + 1, F)]
        Feature maps, without biases.
    """
    (n, height, width, channels), (kh, kw, _, filters) = x.shape, kernel.shape
    flat = kernel.reshape(-1, filters)
    y = (windows @ x.reshape(n, -1, channels)).reshape(-1, len(flat)) @ flat
    return y.reshape(n, height - kh + 1, width - kw + 1, filters)


def slide_back(
    windows: Table, spread: Table, x: np.ndarray, kernel: np.ndarray, g: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `slide`, by the two tables of a function that knows one image.

    Parameters
    ----------
    windows : Table
        From pixels to what each gradient passes on to each number of the kernel.
    spread : Table
        From pairs of a gradient and a number of the kernel to pixels.
    x, kernel : ndarray
        As for `slide`.
    g : ndarray [shape=(N, H - kh + 1, W - kw + 1, F)]
        Gradient of the loss with respect to the feature maps.

    Returns
    -------
    dx, dkernel : ndarray
        Gradients of the loss with respect to x and the kernel.
    """
    (n, *_, channels), flat = x.shape, kernel.reshape(-1, kernel.shape[-1])
    g = g.reshape(-1, len(flat.T))
    seen = (windows @ x.reshape(n, -1, channels)).reshape(-1, len(flat))
    dx = spread @ (g @ flat.T).reshape(n, -1, channels)
    return dx.reshape(x.shape), (seen.T @ g).reshape(kernel.shape)


def prepare(number: int, path: Path, source: bytes | None, settings: Settings) -> Part:
    """See whether a learner's function is right, and make it fit for a training.

    Parameters
    ----------
    number : int
        The exercise, of `NUMBERS`.
    path : Path
        The learner's file, absolute; it is run.
    source : bytes or None
        What is in it; None if there is no such file.
    settings : Settings
        The training's, of Fruit.

    Returns
    -------
    Part
        The learner's, or why it is ours.
    """
    if source is None or not (verdict := checking.check(number, path, source)).written:
        return Part("ours: yours is not written yet")
    if verdict.fault:
        return Part(WRONG)
    try:
        with limited(checking.MOST_SECONDS):
            function = load(path, source, PROBLEMS[number].function)
            if isinstance(function, Fault):
                raise AnswerError(_where(function.words, path))
            return _fitted(number, function, path, settings)
    except AnswerError as error:
        return Part("ours: yours goes wrong at the size of the training", why=str(error))
    except TooLongError as error:
        words = f"it still ran after {checking.MOST_SECONDS} seconds, and was stopped."
        return Part("ours: yours is too slow", why=_where(raised(error, path, words), path))


def _fitted(number, function, path, settings):
    """The learner's function as a training uses it, if it is right at the training's sizes."""
    cases, calls = _cases(number, settings), 0
    if PROBLEMS[number].answer is None:
        _, fault = draw_batch(function, path, cases[0])
        if fault:
            raise AnswerError(_where(fault.words, path, function))
        return Part("yours", _asking(number, function, path))
    if number in (2, 4):
        calls = sum(case["x"].size * case.get("g", case["kernel"]).size for case in cases)
    quick, seconds = _quick(number, function, path, cases, SLOW_TABLE / calls if calls else SLOW)
    how, ask = ", compiled by Numba" * (quick is not function), _asking(number, quick, path)
    if calls:
        tables = {len(case["x"]): _tables(ask, *case.values()) for case in cases}
        if all(_linear(tables[len(case["x"])], ask, *case.values()) for case in cases):
            return Part(f"yours, as a table of {calls:,} answers{how}", tables)
        raise AnswerError(_where("it is not linear in each argument.", path, function))
    if quick is function and seconds > TOO_SLOW:
        why = f"a call takes {seconds:.1f} s, and Numba cannot compile it."
        return Part("ours: yours is too slow", why=_where(why, path, function))
    return Part(f"yours{how}", ask)


def _cases(number, settings):
    """Arguments of the training's sizes, the smallest first."""
    rng, n, size = np.random.default_rng(number), settings.batch_size, settings.grid_size
    network = settings.q_network(fruit.Fruit(size), rng)
    maps = [x.output_shape[:2] for x in reversed(network.layers) if isinstance(x, Conv2D)]
    dense = [x.weight_shapes["kernel"] for x in reversed(network.layers) if isinstance(x, Dense)]
    kernel, weights = (settings.kernel_size,) * 2, len(network.parameters)
    images = [{"x": np.add(g, kernel) - 1, "kernel": kernel, "g": g} for g in maps]
    shapes = {
        2: [{"x": image["x"], "kernel": kernel} for image in images],
        3: [{"x": (n, d), "w": (d, k), "g": (n, k)} for d, k in dense],
        4: images,
        5: [{"predictions": (n, 3), "targets": (n, 3)}],
        6: [{"w": weights, "v": weights, "g": weights}],
        7: [{"q_values": (n, 3), "actions": n, "rewards": n, "next_q_values": (n, 3)}],
    }
    shapes = shapes.get(number, [])
    cases = [{name: rng.standard_normal(case[name]) for name in case} for case in shapes]
    if number == 1:
        names, starts = ("grid_size", "fruit_row", "fruit_column", "basket"), fruit.starts(size)
        places = [(size, row, *start) for row in range(size - 1) for start in starts]
        return [dict(zip(names, place, strict=True)) for place in places]
    if number == 6:
        rule = RMSprop(settings.learning_rate)
        cases[0]["v"] **= 2
        cases[0] |= {name: getattr(rule, name) for name in ("learning_rate", "rho", "epsilon")}
    if number == 7:
        cases[0]["actions"], cases[0]["gamma"] = rng.choice(fruit.ACTIONS, n), settings.gamma
        cases[0]["rewards"] = rng.choice([0.0, 0.0, 1.0, -1.0], n)
    if number == 8:
        frames = rng.random((4 * n, 1, size, size), np.float32)
        actions, rewards = rng.choice(fruit.ACTIONS, 4 * n).tolist(), [0.0, 1.0] * (2 * n)
        memory = list(zip(frames, actions, rewards, frames[::-1], strict=True))
        return [{"memory": memory, "batch_size": n, "rng": rng}]
    return cases


def _asking(number, function, path):
    """A learner's function as a training calls it: what it returns is looked at each time."""
    problem, right = PROBLEMS[number], {}
    names, chance = list(problem.cases()[0]), problem.answer is None

    def ask(*values):
        arguments, given = dict(zip(names, values, strict=True)), None
        if chance:  # copies of a memory would take too long; its frames cannot be written to
            given = arguments | {"memory": list(arguments["memory"])}
        kind = tuple(getattr(value, "shape", None) for value in values)
        if kind not in right:
            right[kind] = _like_batch(**arguments) if chance else problem.answer(**arguments)
        outcome = call(function, path, problem.results, arguments, given=given)
        check = functools.partial(misfit, any_width=chance)
        return _results(check, problem, outcome, right[kind], function, path)

    return ask


def _like_batch(memory, batch_size, rng):
    """Arrays of the shapes and kinds of a batch."""
    states = np.zeros((batch_size, *memory[0][0].shape), np.float32)
    return states, np.zeros(batch_size, int), np.zeros(batch_size), states


def _results(check, problem, outcome, right, function, path):
    """What a call returned, if `check` has nothing against it."""
    faults = [outcome.fault and outcome.fault.words]
    if not outcome.fault:
        faults = map(check, problem.results, right, outcome.results)
    for words in filter(None, faults):
        raise AnswerError(_where(words, path, function))
    return outcome.results


def _where(words, path, function=None):
    """A sentence on a learner's function in one line, with its file and, if it has one, line."""
    if not words.startswith(path.name):
        code = getattr(inspect.unwrap(function), "__code__", None)
        place = f"{path.name}, line {code.co_firstlineno}" if code else path.name
        words = f"{place}: {words}"
    words, *code = words.split("\n")
    return one_line(" ".join([words, *(f"({line.strip()})" for line in code)]))


def _quick(number, function, path, cases, most):
    """The function, compiled if it can be and a call takes more seconds; and the last call's."""
    problem, quick, seconds = PROBLEMS[number], function, 0.0
    for case in cases:
        began = time.perf_counter()
        outcome = call(quick, path, problem.results, case)
        seconds = time.perf_counter() - began
        results = _results(compare, problem, outcome, problem.answer(**case), function, path)
        if seconds > most and quick is function:
            quick = _compiled(function, case, results)
    return quick, seconds


def _compiled(function, case, results):
    """The function compiled, if Numba can compile it and the results are the same; else itself."""

    @functools.wraps(function)
    def quick(*values):
        values = [np.ascontiguousarray(v) if np.ndim(v) else v for v in values]  # one kind of array
        try:
            return kernel(*values)
        except Exception:
            return function(*values)  # whose exceptions know their line

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kernel = numba.njit(boundscheck=True, error_model="numpy")(function)
            again = kernel(*copy.deepcopy(list(case.values())))
    except Exception:  # of many kinds, some of them Numba's own faults
        return function
    again = again if len(results) > 1 else (again,)
    return quick if all(map(close, again, results)) else function


def _units(shape):
    """Arrays of a shape with a single 1 each, and zeros."""
    return np.eye(np.prod(shape)).reshape(-1, *shape)


def _tables(ask, x, kernel, g=None):
    """What a learner's function makes of single pixels, gradients and numbers of the kernel."""
    pixels, taps = _units(x.shape), _units(kernel.shape)
    if g is None:
        y = np.array([[ask(pixel, tap)[0].ravel() for tap in taps] for pixel in pixels])
        return (Table(y.transpose(2, 1, 0).reshape(-1, len(pixels))),)
    gradients = _units(g.shape)
    dkernel = np.empty((len(gradients), len(taps), len(pixels)))
    dx = np.empty((len(pixels), len(gradients), len(taps)))
    for (p, pixel), (q, gradient) in itertools.product(enumerate(pixels), enumerate(gradients)):
        tap = p % len(taps)  # there are more pixels: each tap meets each gradient
        pixel_gradient, tap_gradient = ask(pixel, taps[tap], gradient)
        dx[:, q, tap], dkernel[q, :, p] = pixel_gradient.ravel(), tap_gradient.ravel()
    return Table(dkernel.reshape(-1, len(pixels))), Table(dx.reshape(len(pixels), -1))


def _linear(tables, ask, x, kernel, g=None):
    """Whether tables say what the function itself says."""
    image, filters = x[np.newaxis, :, :, np.newaxis], kernel[:, :, np.newaxis, np.newaxis]
    if g is None:
        return close(slide(*tables, image, filters)[0, :, :, 0], ask(x, kernel)[0])
    dx, dkernel = slide_back(*tables, image, filters, g[np.newaxis, :, :, np.newaxis])
    own = ask(x, kernel, g)
    return close(dx[0, :, :, 0], own[0]) and close(dkernel[:, :, 0, 0], own[1])
