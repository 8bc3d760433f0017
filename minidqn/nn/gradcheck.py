"""Is backward the derivative of forward? Central differences say."""

from typing import NamedTuple

import numpy as np

from minidqn.checks import generator, number, whole

__all__ = ["GradientCheck", "check_gradients"]


class GradientCheck(NamedTuple):
    """What ``check_gradients`` found for one array.

    Attributes
    ----------
    error : float
        Largest difference between the two gradients, over the largest absolute
        value of either; 0 is perfect, 2 is a flipped sign. NaN if nothing could
        be judged, or a gradient is not a number.
    checked : int
        How many numbers of the array were tried.
    kinks : int
        How many more were tried and left out, because the loss has a kink there
        (a ReLU whose input is 0), where no derivative exists.
    """

    error: float
    checked: int
    kinks: int


def check_gradients(model, states, rng=None, samples=20, step=1e-5):
    """Hold a network's ``backward`` against central differences, in float64.

    The scalar that is differentiated is ``L = sum of output * cotangent`` with a
    random cotangent: one of ones would not see gradients that are swapped or
    flipped among outputs. A single number p of the weights or states is moved:

    ``dL/dp = (L(p + step) - L(p - step)) / (2 * step)``, up to rounding

    Between two kinks L is a straight line in every single weight and state, so
    the left and the right half of that difference agree; where they do not,
    there is a kink in between, and the number is counted but not judged.

    Parameters
    ----------
    model : Sequential
        The network; a float64 copy of it is checked, and it stays as it is.
    states : array_like [shape=(N, ...)]
        Input at which to check.
    rng : numpy.random.Generator, optional
        Draws the cotangent and the sample; fresh entropy by default.
    samples : int or None
        How many numbers of each array are tried, at most; None for all.
    step : float
        Half the distance of the central difference.

    Returns
    -------
    dict of str to GradientCheck
        One for "states" and one for every weight, such as "dense/kernel".

    Raises
    ------
    ValueError, TypeError
        If the network does not take such `states`, or an argument is not of its
        kind.

    Examples
    --------
    >>> from minidqn.nn import Conv2D, Sequential
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(rng=rng)
    >>> model.add(Conv2D(2, 3, activation="relu", input_shape=(1, 5, 5)))
    >>> report = check_gradients(model, rng.random((4, 1, 5, 5)), rng)
    >>> all(check.error < 1e-6 for check in report.values())
    True
    """
    rng = generator(rng)
    samples = None if samples is None else whole("samples", samples)
    step = number("step", step, "(0, inf)")
    model = model.astype(np.float64)
    states = np.array(states, np.float64)
    cotangent = rng.standard_normal(model.forward(states).shape)

    def scalar():
        return float(np.sum(model.forward(states) * cotangent))

    scalar()
    states_gradient = model.backward(cotangent)
    weight_gradients = {name: g.copy() for name, g in model.named_gradients().items()}
    report = {"states": _check_array(scalar, states, states_gradient, rng, samples, step)}
    for name, weight in model.named_weights().items():
        report[name] = _check_array(scalar, weight, weight_gradients[name], rng, samples, step)
    return report


def _check_array(scalar, array, gradient, rng, samples, step):
    """Compare `gradient` with differences of `scalar()` as numbers of `array` move."""
    count = array.size if samples is None else min(samples, array.size)
    claimed, measured, kinks = [], [], 0
    for place in rng.choice(array.size, count, replace=False):
        index = np.unravel_index(place, array.shape)
        here, kept = scalar(), array[index]
        array[index] = kept + step
        right = (scalar() - here) / step
        array[index] = kept - step
        left = (here - scalar()) / step
        array[index] = kept
        if abs(right - left) > 1e-6 * (1 + abs(right) + abs(left)):  # False for NaN
            kinks += 1
        else:
            claimed.append(gradient[index])
            measured.append((left + right) / 2)
    if not claimed:
        return GradientCheck(np.nan, 0, kinks)
    claimed, measured = np.array(claimed), np.array(measured)
    scale = np.abs([claimed, measured]).max()
    error = 0.0 if scale == 0 else np.abs(claimed - measured).max() / scale
    return GradientCheck(float(error), len(claimed), kinks)
