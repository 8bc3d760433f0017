"""Typical wrong answers, and a sentence for each that points at the mistake.

A mistake is recognised when an answer gives what the mistake would give, for
every input that both can take.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidqn.exercises.cliff import COLUMNS, LIMIT, MOVES, ROWS, cliff, play, start, stop
from minidqn.exercises.pooling import max_pool
from minidqn.exercises.problems import convolution_backward, convolve, dense_backward, rated
from minidqn.fruit import ACTIONS


class Mistake(NamedTuple):
    """One way to be wrong.

    Attributes
    ----------
    hint : str
        Points at it, and leaves it to the learner to mend it.
    wrong : callable
        Takes the arguments of an exercise and returns a tuple like the right
        answer's, with None for what this mistake leaves right; raises where it has
        no answer.
    """

    hint: str
    wrong: Callable


def _frame(grid_size, fruit, basket):
    """A frame with ones at the pixel `fruit` and in the slice `basket` of the last row."""
    frame = np.zeros((1, grid_size, grid_size), np.float32)
    frame[0][fruit] = 1
    frame[0, -1, basket] = 1
    return (frame,)


FRAME = [
    Mistake(
        "the basket is one pixel wide; it has three: its centre, and one on each side.",
        lambda size, row, column, basket: _frame(size, (row, column), basket),
    ),
    Mistake(
        "the fruit's row and column are swapped: rows count downwards and come first.",
        lambda size, row, column, basket: _frame(
            size, (column, row), slice(basket - 1, basket + 2)
        ),
    ),
    Mistake(
        "the basket is a column too far right: `basket` is its centre, not its left end.",
        lambda size, row, column, basket: _frame(size, (row, column), slice(basket, basket + 3)),
    ),
    Mistake(
        "the basket is a column too far left: `basket` is its centre, not its right end.",
        lambda size, row, column, basket: _frame(
            size, (row, column), slice(max(basket - 2, 0), basket + 1)
        ),
    ),
    Mistake(
        "the basket's right pixel is missing: the end of a slice is not part of it.",
        lambda size, row, column, basket: _frame(
            size, (row, column), slice(basket - 1, basket + 1)
        ),
    ),
    Mistake(
        "the axis of the channel is missing: a frame is an image of one channel.",
        lambda size, row, column, basket: (
            _frame(size, (row, column), slice(basket - 1, basket + 2))[0][0],
        ),
    ),
]


def _padded(x, before, after):
    """The image with zeros around it: `before` and `after` it along each axis."""
    return np.pad(x, list(zip(before, after, strict=True)))


def _reaching_back(x, kernel):
    """Windows that begin at the bottom right, on an image that goes on at its other side."""
    turned = np.roll(x, np.subtract(kernel.shape, 1), axis=(0, 1))
    return convolve(turned, kernel[::-1, ::-1])


def _same(x, kernel):
    before = [(length - 1) // 2 for length in kernel.shape]
    return convolve(_padded(x, before, [n // 2 for n in kernel.shape]), kernel)


def _full(x, kernel):
    around = np.subtract(kernel.shape, 1)
    return convolve(_padded(x, around, around), kernel)


def _last_product(x, kernel):
    last = np.zeros_like(kernel)
    last[-1, -1] = kernel[-1, -1]
    return convolve(x, last)


CONVOLVE = [
    Mistake(
        "the kernel is turned by 180 degrees: cross-correlation does not flip it.",
        lambda x, kernel: convolve(x, kernel[::-1, ::-1]),
    ),
    Mistake(
        "the windows reach back from (i, j), past the image's edge and in again at the "
        "other side: look at the signs in the index of x.",
        _reaching_back,
    ),
    Mistake(
        'this is padding "same", with zeros around the image; the kernel must not leave it.',
        _same,
    ),
    Mistake(
        'this is padding "full", with zeros around the image; the kernel must not leave it.',
        _full,
    ),
    Mistake(
        "the last row and the last column are missing: count the places of a kernel that "
        "is as large as the image.",
        lambda x, kernel: (convolve(x, kernel)[0][:-1, :-1],),
    ),
    Mistake(
        "only the last product is left of each window: a pixel of y is the sum of them all.",
        _last_product,
    ),
]


def _moved(x, w, g, places):
    """The right results, each moved by some places in the tuple."""
    results = dense_backward(x, w, g)
    return results[places:] + results[:places]


ORDER = "the results are in another order: dx comes first, then dw, then db."

DENSE_BACKWARD = [
    Mistake(
        "dx multiplies by w as forward did; going back, each number of w leads from its "
        "output to its input, and rows and columns change their roles.",
        lambda x, w, g: (g @ w, None, None),
    ),
    Mistake(
        "dw is transposed: its first axis should count inputs, as that of w does.",
        lambda x, w, g: (None, dense_backward(x, w, g)[1].T, None),
    ),
    Mistake(
        "dw is averaged over the batch; it is a sum. The loss divides by N, and that is "
        "in g already.",
        lambda x, w, g: (None, dense_backward(x, w, g)[1] / len(x), None),
    ),
    Mistake(
        "db is averaged over the batch; it is a sum. The loss divides by N, and that is "
        "in g already.",
        lambda x, w, g: (None, None, g.mean(axis=0)),
    ),
    Mistake(
        "db is summed over the outputs instead of the samples: that is the other axis.",
        lambda x, w, g: (None, None, g.sum(axis=1)),
    ),
    Mistake(
        "db is not summed: every sample has the same biases, and adds its part to them.",
        lambda x, w, g: (None, None, g),
    ),
    Mistake(
        "db is one number, summed over samples and outputs: each output has its own bias.",
        lambda x, w, g: (None, None, g.sum()),
    ),
    Mistake(
        "a sum keeps only what came last: a number collects from all that it takes part in.",
        lambda x, w, g: (g[:, -1:] * w[:, -1], x[-1:].T * g[-1], g[-1]),
    ),
    # Whatever the order is, each result that is not in its place was moved by one or by two.
    Mistake(ORDER, lambda x, w, g: _moved(x, w, g, 1)),
    Mistake(ORDER, lambda x, w, g: _moved(x, w, g, 2)),
]


def _last_products(x, kernel, g):
    """Gradients that are assigned, product after product, where they should add up."""
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for i, j in np.ndindex(g.shape):
        for u, v in np.ndindex(kernel.shape):
            dx[i + u, j + v] = g[i, j] * kernel[u, v]
            dkernel[u, v] = g[i, j] * x[i + u, j + v]
    return dx, dkernel


CONVOLUTION_BACKWARD = [
    Mistake(
        "for dx the kernel is turned by 180 degrees once too often, or once too seldom: "
        "follow one pixel of x, and see which number of the kernel leads to which y.",
        lambda x, kernel, g: (convolution_backward(x, kernel[::-1, ::-1], g)[0], None),
    ),
    Mistake(
        "dx is only as large as g: the pixels at the edge of x are part of windows, too.",
        lambda x, kernel, g: (_same(g, kernel[::-1, ::-1])[0], None),
    ),
    Mistake(
        "dkernel is turned by 180 degrees: see which pixels its number (0, 0) lies on.",
        lambda x, kernel, g: (None, convolution_backward(x, kernel, g)[1][::-1, ::-1]),
    ),
    Mistake(
        "dx keeps only what came last: a pixel collects from all windows that it is part of.",
        lambda x, kernel, g: (_last_products(x, kernel, g)[0], None),
    ),
    Mistake(
        "dkernel keeps only what came last: a number of the kernel collects from all places.",
        lambda x, kernel, g: (None, _last_products(x, kernel, g)[1]),
    ),
    Mistake(
        "dkernel is averaged over the places of the kernel; it is a sum.",
        lambda x, kernel, g: (None, convolution_backward(x, kernel, g)[1] / g.size),
    ),
    Mistake(
        "the results are in another order: dx comes first, then dkernel.",
        lambda x, kernel, g: convolution_backward(x, kernel, g)[::-1],
    ),
]


MEAN_SQUARED_ERROR = [
    Mistake(
        "the loss is the sum of the squared errors: the mean is missing.",
        lambda y, t: (np.sum((y - t) ** 2), None),
    ),
    Mistake(
        "the loss is a mean over the batch only: it is over the outputs, too.",
        lambda y, t: (np.sum((y - t) ** 2) / len(y), None),
    ),
    Mistake(
        "the loss is a mean over the outputs only: it is over the batch, too.",
        lambda y, t: (np.sum((y - t) ** 2) / y.shape[1], None),
    ),
    Mistake(
        "the loss is the root of what is asked for.",
        lambda y, t: (np.sqrt(np.mean((y - t) ** 2)), None),
    ),
    Mistake(
        "the loss is the mean absolute error: the square is missing.",
        lambda y, t: (np.mean(abs(y - t)), None),
    ),
    Mistake(
        "the gradient is half as long as it should be: what is the derivative of a square?",
        lambda y, t: (None, (y - t) / y.size),
    ),
    Mistake(
        "the gradient is that of the sum: the mean is missing, and it stays when the "
        "derivative is taken.",
        lambda y, t: (None, 2 * (y - t)),
    ),
    Mistake(
        "the gradient is the error itself: a factor and the mean are missing.",
        lambda y, t: (None, y - t),
    ),
    Mistake(
        "the gradient is divided by the batch only: the mean is over the outputs, too.",
        lambda y, t: (None, 2 * (y - t) / len(y)),
    ),
    Mistake(
        "the gradient is divided by the outputs only: the mean is over the batch, too.",
        lambda y, t: (None, 2 * (y - t) / y.shape[1]),
    ),
    Mistake(
        "the gradient has the wrong sign: the loss grows with a prediction that is too high.",
        lambda y, t: (None, 2 * (t - y) / y.size),
    ),
]


def _stepped(w, v, g, learning_rate, root):
    """Weights after a step that is divided by `root`, and the mean squares."""
    return w - learning_rate * g / root, v


def _mean_square(v, g, rho):
    return rho * v + (1 - rho) * g**2


def _unsquared(w, v, g, learning_rate, rho, epsilon):
    v = rho * v + (1 - rho) * g
    return _stepped(w, v, g, learning_rate, np.sqrt(v) + epsilon)


def _swapped(w, v, g, learning_rate, rho, epsilon):
    v = _mean_square(v, g, 1 - rho)
    return _stepped(w, v, g, learning_rate, np.sqrt(v) + epsilon)


RMSPROP = [
    Mistake(
        "epsilon is inside the root: it stands outside, and is added to the root.",
        lambda w, v, g, rate, rho, epsilon: (
            _stepped(w, v, g, rate, np.sqrt(_mean_square(v, g, rho) + epsilon))[0],
            None,
        ),
    ),
    Mistake(
        "the step is divided by the old v: v is brought up to date first, then used.",
        lambda w, v, g, rate, rho, epsilon: (
            _stepped(w, v, g, rate, np.sqrt(v) + epsilon)[0],
            None,
        ),
    ),
    Mistake("the gradient is not squared in v.", _unsquared),
    Mistake("rho and 1 - rho are swapped: rho is the share of v that is kept.", _swapped),
    Mistake(
        "the root is missing: the step is divided by the mean square.",
        lambda w, v, g, rate, rho, epsilon: (
            _stepped(w, v, g, rate, _mean_square(v, g, rho) + epsilon)[0],
            None,
        ),
    ),
    Mistake(
        "epsilon is missing: where all gradients were 0, the root is 0.",
        lambda w, v, g, rate, rho, epsilon: (
            _stepped(w, v, g, rate, np.sqrt(_mean_square(v, g, rho)))[0],
            None,
        ),
    ),
    Mistake(
        "the weights go up the slope: a step is taken against the gradient.",
        lambda w, v, g, rate, rho, epsilon: (
            _stepped(w, v, g, -rate, np.sqrt(_mean_square(v, g, rho)) + epsilon)[0],
            None,
        ),
    ),
    Mistake(
        "v comes back as it was: the next step needs the one that was brought up to date.",
        lambda w, v, g, rate, rho, epsilon: (None, v),
    ),
    Mistake(
        "the results are in another order: w comes first, then v.",
        lambda w, v, g, rate, rho, epsilon: (_mean_square(v, g, rho), None),
    ),
]


def _targets(q_values, actions, values, others=1, shift=1):
    """Targets with `values` for the chosen actions."""
    targets = others * q_values
    targets[np.arange(len(actions)), actions + shift] = values
    return (targets,)


def _values(rewards, next_values):
    return np.where(rewards != 0, rewards, next_values)


def _made_of(rate):
    """Mistakes in what is made of the values of the next states, which `rate` finds."""

    def wrong(values, **options):
        return lambda q, a, r, *rest: _targets(
            q, a, values(r, rest[-1], rate(*rest[:-1])), **options
        )

    return [
        Mistake("the end of a game is ignored: a reward that is not 0 marks it, and what comes "
                "after it counts nothing.",
                wrong(lambda r, gamma, v: r + gamma * v)),
        Mistake("a lost game's end is ignored: its reward is less than 0, and marks an end, too.",
                wrong(lambda r, gamma, v: np.where(r > 0, r, gamma * v))),
        Mistake("the rewards are ignored, and with them the end of a game.",
                wrong(lambda r, gamma, v: gamma * v)),
        Mistake("the targets of the actions that were not chosen are 0: the network would learn "
                "that they earn nothing.",
                wrong(lambda r, gamma, v: _values(r, gamma * v), others=0)),
        Mistake("the action is used as a column: the columns 0, 1, 2 are the actions -1, 0, 1.",
                wrong(lambda r, gamma, v: _values(r, gamma * v), shift=0)),
        Mistake("gamma is forgotten: what comes a step later counts less.",
                wrong(lambda r, gamma, v: _values(r, v))),
        Mistake("gamma is applied to the reward, too: that comes now, and counts in full.",
                wrong(lambda r, gamma, v: gamma * _values(r, v))),
    ]  # fmt: skip


TD_TARGETS = [
    *_made_of(lambda q_next: q_next.max(axis=1)),
    Mistake(
        "the max is taken over the wrong axis, the batch: each experience has its own best action.",
        lambda q, a, r, q_next, gamma: _targets(
            q, a, _values(r, gamma * q_next.max(axis=0)[: len(q)])
        ),
    ),
    Mistake(
        "the max is taken over the whole batch: each experience has its own best action.",
        lambda q, a, r, q_next, gamma: _targets(q, a, _values(r, gamma * q_next.max())),
    ),
    Mistake(
        "the best value is that of S: the one that is asked for is that of S', after the step.",
        lambda q, a, r, q_next, gamma: _targets(q, a, _values(r, gamma * q.max(axis=1))),
    ),
    Mistake(
        "the next value is that of the action that was taken: the best of all is asked for.",
        lambda q, a, r, q_next, gamma: _targets(
            q, a, _values(r, gamma * q_next[np.arange(len(q)), a + 1])
        ),
    ),
]


def _misrated(rate):
    """Targets with the next states' values that `rate` finds in all Q-values there are."""
    return lambda q, a, r, q_next, q_target, gamma: _targets(
        q, a, _values(r, gamma * rate(q, q_next, q_target))
    )


DOUBLE_TD_TARGETS = [
    *_made_of(rated),
    Mistake("the target network chooses the next action, too: the online network chooses it.",
            _misrated(lambda q, q_next, q_target: q_target.max(axis=1))),
    Mistake("the online network rates the next action, too: the target network rates it.",
            _misrated(lambda q, q_next, q_target: q_next.max(axis=1))),
    Mistake("the two parts are swapped: the online network chooses, the target network rates.",
            _misrated(lambda q, q_next, q_target: rated(q_target, q_next))),
    Mistake("the best action is that of S: the one asked for is that of S', after the step.",
            _misrated(lambda q, q_next, q_target: rated(q, q_target))),
]  # fmt: skip


def _q(
    grid_size, gamma, best=max, left=True, right=True, wraps=False, moves_first=True, reach=1,
    end=2, rewards=(1, -1),
):  # fmt: skip
    """Action values by trying all that can follow, with something wrong.

    The fruit ends the game `end` rows above the grid's lower edge, for the first
    of the two `rewards` if its distance from the basket's centre is `reach` or less. Without a
    wall on the `left` or `right` the basket goes on there, or `wraps` around the array.
    """
    caught, missed = rewards

    def value(row, fruit, basket, action):
        after = basket + action
        if left:
            after = max(after, 1)
        if right:
            after = min(after, grid_size - 2)
        if row + 1 == grid_size - end:
            seen = after if moves_first else basket
            return caught if abs(fruit - seen) <= reach else missed
        if wraps and after == 0:
            after = grid_size - 2
        return gamma * best([value(row + 1, fruit, after, later) for later in ACTIONS])

    q = np.empty((grid_size - 2, grid_size, grid_size - 2, len(ACTIONS)))
    for row, fruit, basket, action in np.ndindex(q.shape):
        q[row, fruit, basket, action] = value(row, fruit, basket + 1, ACTIONS[action])
    return (q,)


Q_STAR = [
    Mistake("gamma is forgotten: each step earlier counts less.", lambda size, _: _q(size, 1.0)),
    Mistake(
        "gamma is applied to the reward, too: that comes with the step, and counts in full.",
        lambda size, gamma: _q(size, gamma, rewards=(gamma, -gamma)),
    ),
    Mistake(
        "a missed fruit is worth 0: its reward is -1.",
        lambda size, gamma: _q(size, gamma, rewards=(1, 0)),
    ),
    Mistake(
        "the basket leaves the grid: at a wall it stays, and its centre is in 1 to G - 2.",
        lambda size, gamma: _q(size, gamma, left=False, right=False),
    ),
    Mistake(
        "the basket leaves the grid on the left: its centre is never below column 1.",
        lambda size, gamma: _q(size, gamma, left=False),
    ),
    Mistake(
        "the basket leaves the grid on the left, where the index -1 means the last place: its "
        "centre is never below column 1.",
        lambda size, gamma: _q(size, gamma, left=False, wraps=True),
    ),
    Mistake(
        "the basket leaves the grid on the right: its centre is never above column G - 2.",
        lambda size, gamma: _q(size, gamma, right=False),
    ),
    Mistake(
        "the later action is the worst one: the best one is asked for.",
        lambda size, gamma: _q(size, gamma, best=min),
    ),
    Mistake(
        "the later action is a random one, by the mean: the best one is asked for.",
        lambda size, gamma: _q(size, gamma, best=np.mean),
    ),
    Mistake(
        "the game ends a row too late: it does when the fruit is in the row above the basket.",
        lambda size, gamma: _q(size, gamma, end=1),
    ),
    Mistake(
        "the reward is given for where the basket was: it moves first.",
        lambda size, gamma: _q(size, gamma, moves_first=False),
    ),
    Mistake(
        "only the basket's centre catches: its two other columns do, too.",
        lambda size, gamma: _q(size, gamma, reach=0),
    ),
]


def _cropped(size, x):
    """The image without what is left over, as an array of shape (N, H', size, W', size, C)."""
    n, height, width, channels = x.shape
    height, width = height // size, width // size
    x = x[:, : height * size, : width * size]
    return x.reshape(n, height, size, width, size, channels)


def _filled_up(size, x):
    """The largest numbers of all windows, also of those that reach out of the image."""
    around = [(0, 0), *((0, -length % size) for length in x.shape[1:3]), (0, 0)]
    return _cropped(size, np.pad(x, around, constant_values=-np.inf)).max(axis=(2, 4))


def _overlapping(size, x):
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return windows.max(axis=(-2, -1))


def _interleaved(size, x):
    whole = _cropped(size, x)
    n, height, _, width, _, channels = whole.shape
    return whole.reshape(n, size, height, size, width, channels).max(axis=(1, 3))


def _cut_off(size, x, g):
    """The gradient by what is left of an image when nothing is left over."""
    return max_pool(size, x, g)[1][:, : size * g.shape[1], : size * g.shape[2]]


def _shared(share):
    """A backward way on which pixels get another share of their window's gradient."""
    return lambda size, x, g: (None, max_pool(size, x, g, share=share)[1])


MAX_POOL = [
    Mistake("y is never below 0: the largest number of a window may be.",
            lambda size, x, g: (np.maximum(max_pool(size, x, g)[0], 0), None)),
    Mistake("the windows overlap: the next one begins where the last one ends.",
            lambda size, x, g: (_overlapping(size, x), None)),
    Mistake("what is left over at the edges is pooled, too: no window reaches out of the image.",
            lambda size, x, g: (_filled_up(size, x), None)),
    Mistake("the pixels of a window lie apart: where an axis is cut in two, the number of windows "
            "comes first, then their size.",
            lambda size, x, g: (_interleaved(size, x), None)),
    Mistake("all pixels that are equal to the largest get g: only the first of them does.",
            _shared(lambda w: w == w.max())),
    Mistake("of several pixels that are equal the last one gets g: the first one does.",
            _shared(lambda w: np.arange(w.size)[::-1].reshape(w.shape) == w[::-1, ::-1].argmax())),
    Mistake("all pixels of a window get g: those that are not the largest had no part in y.",
            _shared(np.ones_like)),
    Mistake("dx is 1 where it should be g, which says how much the loss grows with y.",
            lambda size, x, g: (None, max_pool(size, x, np.ones_like(g))[1])),
    Mistake("dx is smaller than x: pixels that are in no window have a gradient, too, and it is 0.",
            lambda size, x, g: (None, _cut_off(size, x, g))),
]  # fmt: skip


def _other_game(**wrong):
    """The frames of a game with something wrong."""
    game = functools.partial(cliff, **wrong)
    return lambda rng, actions: (play(game, rng, actions)[0], None, None)


def _open(axis):
    """Walls, but for the one before the first of the `axis` rows or columns."""
    return lambda place, length: min(place, length - 1) if length == axis else stop(place, length)


def _open_behind(axis):
    """Walls, but for the one behind the last of the `axis` rows or columns."""
    return lambda place, length: max(place, 0) % length if length == axis else stop(place, length)


def _other_reward(change):
    return lambda rng, actions: (None, change(actions, play(cliff, rng, actions)[1]), None)


def _other_end(change):
    return lambda rng, actions: (None, None, change(*play(cliff, rng, actions)[1:]))


CLIFF = [
    Mistake("every game begins in the same cell: the start is drawn, from the rng that is given.",
            _other_game(start=lambda rng: (ROWS - 1, 0))),
    Mistake("the start is drawn as a row and a column; it is one number that counts cells.",
            _other_game(start=lambda rng: (rng.integers(ROWS - 1), rng.integers(COLUMNS)))),
    Mistake("the start's row and column are swapped: how many whole rows are before the cell?",
            _other_game(start=lambda rng: start(rng)[::-1])),
    Mistake("up and down are swapped: rows count downwards, so up is one less.",
            _other_game(moves=[MOVES[action] for action in (2, 1, 0, 3)])),
    Mistake("steps along rows and columns are swapped: up leads to another row of the same column.",
            _other_game(moves=[move[::-1] for move in MOVES])),
    *(
        Mistake("the walker leaves the grid, and comes in at the other side, as an index below 0 "
                "does: a wall stops it.",
                _other_game(stop=wall))
        for wall in (lambda place, length: place % length, *map(_open, (ROWS, COLUMNS)),
                     *map(_open_behind, (ROWS, COLUMNS)))
    ),
    Mistake("the walker is still seen where it was: each frame begins with zeros.",
            _other_game(trail=True)),
    Mistake("the first reward is not 0: it comes before any step.",
            _other_reward(lambda actions, reward: reward if len(actions) else -0.01)),
    Mistake("a step that does not end the game costs nothing: its reward is -0.01.",
            _other_reward(lambda actions, reward: np.trunc(reward))),
    Mistake("the reward is one turn late: a turn tells what the action before it has earned.",
            lambda rng, actions: (None, play(cliff, rng, actions[:-1])[1], None)),
    Mistake("done is forgotten on the cliff: the game ends there, too.",
            _other_end(lambda reward, done: done and reward != -1)),
    Mistake("done is forgotten at the goal: the game ends there, too.",
            _other_end(lambda reward, done: done and reward != 1)),
    Mistake(f"the game goes on and on: after {LIMIT} steps it is over, wherever the walker is.",
            _other_end(lambda reward, done: abs(reward) == 1)),
]  # fmt: skip


MISTAKES = {
    1: FRAME,
    2: CONVOLVE,
    3: DENSE_BACKWARD,
    4: CONVOLUTION_BACKWARD,
    5: MEAN_SQUARED_ERROR,
    6: RMSPROP,
    7: TD_TARGETS,
    9: Q_STAR,
    10: MAX_POOL,
    11: DOUBLE_TD_TARGETS,
    12: CLIFF,
}
"""By the exercise's number; those of number 8 are what ``sampling`` looks for."""
