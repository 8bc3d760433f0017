"""What the answers are checked with: inputs, the smallest first, and what is right for them.

What is right is what the package's own functions say.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidqn import exact, fruit, qlearning
from minidqn.exercises.cliff import cliff, play, start
from minidqn.exercises.pooling import both_ways, check_in_network, max_pool
from minidqn.exercises.sampling import RESULTS, check_samples
from minidqn.nn import Dense, MeanSquaredError, convolution


def _call(function, *arguments):
    return function(*arguments)


class Problem(NamedTuple):
    """One exercise, as it is checked.

    Attributes
    ----------
    function : str
        Name of the function to write, or of the class.
    results : tuple of str
        Names of what it returns.
    cases : callable
        Takes nothing and gives a list of inputs, the smallest first: dicts of
        arguments by name, in order.
    answer : callable
        Takes such arguments and returns a tuple with what is right; None where
        chance decides.
    use : callable
        Takes what was written and such arguments, and returns the results of it: a
        call, unless it is no function of such arguments.
    check : callable or None
        Takes what was written, its file and the cases, and returns the fault, if there
        is one, that results alone cannot show.
    """

    function: str
    results: tuple
    cases: Callable
    answer: Callable | None
    use: Callable = _call
    check: Callable | None = None


def _numbers(rng, *shape):
    """Whole numbers from 1 to 9 with random signs, as float64: easy to follow by hand.

    As long as there are enough of them, all sizes differ, so that none hides behind another.
    """
    sizes = rng.choice(np.arange(1, 10), shape, replace=np.prod(shape) > 9)
    return sizes * rng.choice([-1.0, 1.0], shape)


def _frames():
    return [
        dict(zip(("grid_size", "fruit_row", "fruit_column", "basket"), case, strict=True))
        for size in (3, 4, 5)
        for case in ((size, row, *start) for row in range(size) for start in fruit.starts(size))
    ]


def _draw(grid_size, fruit_row, fruit_column, basket):
    return (fruit.draw(grid_size, fruit_row, fruit_column, basket),)


IMAGES = (
    ((1, 1), (1, 1)),
    ((1, 2), (1, 1)),
    ((1, 2), (1, 2)),
    ((2, 1), (2, 1)),
    ((1, 3), (1, 2)),
    ((2, 2), (2, 1)),
    ((2, 2), (2, 2)),
    ((3, 2), (2, 1)),
    ((2, 3), (2, 2)),
    ((3, 3), (2, 2)),
    ((3, 4), (3, 2)),
    ((4, 4), (3, 3)),
    ((5, 4), (2, 3)),
    ((6, 5), (3, 3)),
)
"""Shapes of an image and a kernel."""


def _images():
    rng = np.random.default_rng(2)
    return [
        {"x": _numbers(rng, *size), "kernel": _numbers(rng, *kernel)} for size, kernel in IMAGES
    ]


def convolve(x: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray]:
    """The cross-correlation of one image with one kernel.

    Parameters
    ----------
    x : ndarray [shape=(H, W)]
        The image.
    kernel : ndarray [shape=(kh, kw)]
        The filter.

    Returns
    -------
    tuple of ndarray [shape=(H - kh + 1, W - kw + 1)]
        The feature map alone.
    """
    batch, filters = x[np.newaxis, :, :, np.newaxis], kernel[:, :, np.newaxis, np.newaxis]
    return (convolution.convolve(batch, filters, np.zeros(1))[0, :, :, 0],)


def _images_backward():
    rng = np.random.default_rng(4)
    cases = []
    for (height, width), (kh, kw) in IMAGES:
        x, kernel = _numbers(rng, height, width), _numbers(rng, kh, kw)
        cases.append(
            {"x": x, "kernel": kernel, "g": _numbers(rng, height - kh + 1, width - kw + 1)}
        )
    return cases


def convolution_backward(x: np.ndarray, kernel: np.ndarray, g: np.ndarray) -> tuple:
    """Gradients with respect to one image and one kernel.

    Parameters
    ----------
    x : ndarray [shape=(H, W)]
        The image.
    kernel : ndarray [shape=(kh, kw)]
        The filter.
    g : ndarray [shape=(H - kh + 1, W - kw + 1)]
        Gradient of the loss with respect to the feature map.

    Returns
    -------
    dx : ndarray [shape=(H, W)]
        Gradient of the loss with respect to x.
    dkernel : ndarray [shape=(kh, kw)]
        Gradient of the loss with respect to the kernel.
    """
    x, g = x[np.newaxis, :, :, np.newaxis], g[np.newaxis, :, :, np.newaxis]
    dx = convolution.input_gradient(g, kernel[:, :, np.newaxis, np.newaxis])
    dkernel, _ = convolution.kernel_gradient(x, g)
    return dx[0, :, :, 0], dkernel[:, :, 0, 0]


def _dense_layers():
    rng = np.random.default_rng(3)
    sizes = (
        (1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (1, 2, 2), (2, 2, 1), (2, 1, 2), (2, 2, 2),
        (3, 2, 2), (2, 3, 2), (3, 3, 3), (4, 2, 3), (3, 4, 2),
    )  # fmt: skip
    return [
        {"x": _numbers(rng, n, d), "w": _numbers(rng, d, k), "g": _numbers(rng, n, k)}
        for n, d, k in sizes
    ]


def dense_backward(x: np.ndarray, w: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, ...]:
    """Gradients with respect to the input, the weights and the biases of a dense layer.

    Parameters
    ----------
    x : ndarray [shape=(N, D)]
        The layer's input.
    w : ndarray [shape=(D, K)]
        Its weights.
    g : ndarray [shape=(N, K)]
        Gradient of the loss with respect to its output.

    Returns
    -------
    dx, dw, db : ndarray [shape=(N, D), (D, K) and (K,)]
        Gradients of the loss with respect to x, w and the biases.
    """
    layer = Dense(w.shape[1])
    layer.kernel, layer.bias = w, np.zeros(w.shape[1])
    layer.kernel_gradient, layer.bias_gradient = np.zeros_like(w), np.zeros(w.shape[1])
    layer.forward(x)
    return layer.backward(g), layer.kernel_gradient, layer.bias_gradient


def _predictions():
    rng = np.random.default_rng(5)
    sizes = (1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (2, 3), (3, 2), (4, 3)
    return [{"predictions": _numbers(rng, *s), "targets": _numbers(rng, *s)} for s in sizes]


def _mean_squared_error(predictions, targets):
    mse = MeanSquaredError()
    return mse.value(predictions, targets), mse.gradient(predictions, targets)


def _updates():
    """The first mean square is 0, as at the start of a training; epsilon is one that shows."""
    rng = np.random.default_rng(6)
    rates = {"learning_rate": 0.5, "rho": 0.75, "epsilon": 0.25}
    cases = []
    for size, started in ((1, 0), (1, 1), (2, 0), (2, 1), (3, 1), (5, 1)):
        w, g, v = _numbers(rng, size), _numbers(rng, size), started * abs(_numbers(rng, size))
        cases.append({"w": w, "v": v, "g": g} | rates)
    cases.append({"w": np.ones(3), "v": np.zeros(3), "g": np.array([0.0, 1.0, -1.0])} | rates)
    rates = {"learning_rate": 0.1, "rho": 0.9, "epsilon": 0.5}
    cases.append({"w": _numbers(rng, 4), "v": np.arange(4.0), "g": _numbers(rng, 4)} | rates)
    return cases


def _rmsprop(w, v, g, learning_rate, rho, epsilon):
    v = rho * v + (1 - rho) * g**2  # the package's own would be compiled for float64 first
    return w - learning_rate * g / (np.sqrt(v) + epsilon), v


def _experiences():
    """Every action with every reward alone, then batches of all kinds."""
    rng = np.random.default_rng(7)
    single = [((action,), (reward,)) for action in fruit.ACTIONS for reward in (0.0, 1.0, -1.0)]
    drawn = [
        (rng.choice(fruit.ACTIONS, n), rng.choice([0.0, 0.0, 1.0, -1.0], n))
        for n in (2, 2, 3, 3, 4, 6)
    ]
    return [
        {
            "q_values": _numbers(rng, len(actions), 3),
            "actions": np.array(actions),
            "rewards": np.array(rewards),
            "next_q_values": _numbers(rng, len(actions), 3),
            "gamma": 0.5,
        }
        for actions, rewards in (*single, *drawn)
    ]


def _td_targets(q_values, actions, rewards, next_q_values, gamma):
    next_values, chosen = next_q_values.max(axis=1), qlearning.columns(actions)
    return (qlearning.td_targets(q_values, chosen, rewards, next_values, rewards != 0, gamma),)


def _rated_experiences():
    rng = np.random.default_rng(11)
    return [
        {
            **dict(list(case.items())[:-1]),
            "next_target_values": _numbers(rng, *case["q_values"].shape),
            "gamma": case["gamma"],
        }
        for case in _experiences()
    ]


def rated(next_q_values: np.ndarray, next_target_values: np.ndarray) -> np.ndarray:
    """What one network says of the next actions that another one chooses.

    Parameters
    ----------
    next_q_values : ndarray [shape=(N, A)]
        Those by which the actions are chosen.
    next_target_values : ndarray [shape=(N, A)]
        Those by which they are rated.

    Returns
    -------
    ndarray [shape=(N,)]
        The values of the next states.
    """
    best = next_q_values.argmax(axis=1)
    return next_target_values[np.arange(len(best)), best]


def _double_td_targets(q_values, actions, rewards, next_q_values, next_target_values, gamma):
    values = rated(next_q_values, next_target_values)[:, np.newaxis]
    return _td_targets(q_values, actions, rewards, values, gamma)


def _memories():
    """Memories whose experiences all differ, with the size of a batch and a generator."""
    sizes = (
        (1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 1), (3, 2, 1), (4, 2, 1), (4, 4, 2),
        (8, 3, 1),
    )  # fmt: skip
    cases = []
    for seed, (count, batch_size, grid_size) in enumerate(sizes):
        frames = np.arange(2 * count, dtype=np.float32).reshape(count, 2, 1, 1, 1)
        frames = np.tile(frames, (grid_size, grid_size))
        memory = [
            (S, fruit.ACTIONS[number % 3], (0.0, -1.0, 0.0, 1.0)[number % 4], S_prime)
            for number, (S, S_prime) in enumerate(frames)
        ]
        rng = np.random.default_rng(seed)
        cases.append({"memory": memory, "batch_size": batch_size, "rng": rng})
    return cases


def _games():
    pairs = (3, 0.5), (4, 0.5), (4, 0.0), (5, 0.75), (6, 0.5)
    return [{"grid_size": grid_size, "gamma": gamma} for grid_size, gamma in pairs]


def _q_star(grid_size, gamma):
    return (exact.q_star(grid_size, gamma),)


def _images_to_pool():
    """Of ever more windows, rows and columns that are left over, and numbers that are equal."""
    rng = np.random.default_rng(10)
    sizes = (
        (1, 1, 1, 1, 1), (2, 1, 2, 2, 1), (2, 1, 2, 2, 1), (2, 1, 2, 3, 1), (2, 1, 3, 2, 1),
        (2, 1, 2, 4, 1), (2, 1, 4, 2, 1), (2, 1, 2, 2, 2), (2, 2, 2, 2, 1), (3, 1, 3, 3, 1),
        (2, 1, 5, 4, 2), (3, 2, 6, 7, 2),
    )  # fmt: skip
    cases = []
    for size, n, height, width, channels in sizes:
        x = _numbers(rng, n, height, width, channels)
        g = _numbers(rng, n, height // size, width // size, channels)
        cases += [{"size": size, "x": kind, "g": g} for kind in (x, -abs(x), np.maximum(x, 0))]
    return cases


def _walks():
    """Actions from a start on, the fewest first: at random, to the goal, away from the cliff."""
    rng, starts = np.random.default_rng(12), {}
    for seed in range(2, 200):  # in these all cells are begun in
        starts.setdefault(start(np.random.default_rng(seed)), seed)
    walks = [(seed, [action]) for seed in starts.values() for action in range(4)]
    walks += [(seed, rng.integers(4, size=8).tolist()) for seed in range(2, 12)]
    walks += [(2, [0, 0] + [1] * 5 + [2] * 4), (3, rng.choice((0, 1, 3), 30).tolist())]
    begun = {}
    for seed, actions in walks:
        for count in range(len(actions) + 1):
            case = {"rng": np.random.default_rng(seed), "actions": np.array(actions[:count], int)}
            begun[(count, seed, *actions[:count])] = case
            if play(cliff, **case)[2]:
                break
    return [case for _, case in sorted(begun.items())]


PROBLEMS = {
    1: Problem("draw", ("frame",), _frames, _draw),
    2: Problem("convolve", ("y",), _images, convolve),
    3: Problem("dense_backward", ("dx", "dw", "db"), _dense_layers, dense_backward),
    4: Problem("convolution_backward", ("dx", "dkernel"), _images_backward, convolution_backward),
    5: Problem("mean_squared_error", ("loss", "gradient"), _predictions, _mean_squared_error),
    6: Problem("rmsprop", ("w", "v"), _updates, _rmsprop),
    7: Problem("td_targets", ("targets",), _experiences, _td_targets),
    8: Problem("replay_sample", RESULTS, _memories, None, check=check_samples),
    9: Problem("q_star", ("q",), _games, _q_star),
    10: Problem("MaxPool2D", ("y", "dx"), _images_to_pool, max_pool, both_ways, check_in_network),
    11: Problem("double_td_targets", ("targets",), _rated_experiences, _double_td_targets),
    12: Problem(
        "episode", ("frame", "reward", "done"), _walks, functools.partial(play, cliff), play
    ),
}
"""By the exercise's number."""
