"""Is backward the derivative of forward, in every dtype, and does the engine agree?"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minidqn.checks import generator, number, numeric, whole
from minidqn.nn.models import Sequential


class GradientCheck(NamedTuple):
    """What ``check_gradients`` found for one array, or for one layer.

    Attributes
    ----------
    error : float
        Largest difference between the two that are compared, over the largest absolute
        value of either; 0 is perfect, 2 is a flipped sign. NaN if nothing could
        be judged, or a number is not finite.
    checked : int
        How many numbers were compared.
    kinks : int
        How many more were tried and left out, because the loss has a kink there
        (a ReLU whose input is 0), where no derivative exists.
    limit : float
        What rounding alone may come to.
    """

    error: float
    checked: int
    kinks: int
    limit: float = 1e-5

    @property
    def ok(self) -> bool:
        """Whether the error is within the limit."""
        return self.error <= self.limit  # False for NaN


def check_gradients(
    model: Sequential,
    states: npt.ArrayLike,
    rng: np.random.Generator | None = None,
    samples: int | None = 20,
    step: float = 1e-5,
) -> dict[str, GradientCheck]:
    """Hold a network's ``backward`` against central differences, and float32 against float64.

    The scalar that is differentiated is ``L = sum of output * cotangent`` with a
    random cotangent: one of ones would not see gradients that are swapped or
    flipped among outputs. A single number p of the weights or states is moved:

    ``dL/dp = (L(p + step) - L(p - step)) / (2 * step)``, up to rounding

    Between two kinks L is a straight line in every single weight and state, or bends
    slowly: from one step to an eighth of it, the left and the right half of that difference
    come to agree eight times as well. Where they do not, there is a kink in between, and the
    number is counted but not judged.

    Then each layer does its work in float32 on what comes in and back in float64, and if
    the network has the compiled engine, that does its work on all layers at once.

    Parameters
    ----------
    model : Sequential
        The network; a float64 copy of it is checked, and its weights stay as they are.
    states : array_like [shape=(N, ...)]
        Input at which to check; it is rounded to float32.
    rng : numpy.random.Generator, optional
        Draws the cotangent and the sample; fresh entropy by default.
    samples : int or None
        How many numbers of each array are tried, at most; None for all.
    step : float
        Half the distance of the central difference.

    Returns
    -------
    dict of str to GradientCheck
        One for "states" and one for every weight, such as "dense/kernel"; one for every
        layer, such as "dense in float32", and with the compiled engine such as "dense in
        the engine": the layer's output and its weights' gradients.

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
    >>> list(report)
    ['states', 'conv2d/kernel', 'conv2d/bias', 'conv2d in float32']
    >>> all(check.ok for check in report.values())
    True
    """
    rng = generator(rng)
    samples = None if samples is None else whole("samples", samples)
    step = number("step", step, "(0, inf)")
    exact = model.astype(np.float64)
    with np.errstate(over="ignore"):  # what overflows is refused in the next line
        states = numeric("states", states).astype(np.float32).astype(np.float64)
    outputs = exact.forward(states)
    if not len(states):
        raise ValueError("states has shape (0, ...); expected at least one sample")
    cotangent = rng.standard_normal(outputs.shape)

    def scalar():
        return float(np.sum(exact.forward(states) * cotangent))

    noise = 3e-9 * (1 + np.abs(outputs * cotangent).sum())  # by far, of slopes
    gradients = {"states": exact.backward(cotangent), **exact.named_gradients()}
    by_layer = _check_layers(model, exact, states, cotangent)
    report = {}
    for name, array in {"states": states, **exact._weights}.items():
        report[name] = _check_array(scalar, array, gradients[name], rng, samples, step, noise)
    return report | by_layer


def _check_array(scalar, array, gradient, rng, samples, step, noise):
    """Compare `gradient` with differences of `scalar()` as numbers of `array` move."""
    count = array.size if samples is None else min(samples, array.size)
    pairs = []
    for place in rng.choice(array.size, count, replace=False):
        index = np.unravel_index(place, array.shape)
        here, kept, found = scalar(), array[index], []
        for width in (step, step / 8):
            array[index] = kept + width
            right = (scalar() - here) / width
            array[index] = kept - width
            left = (here - scalar()) / width
            found.append((abs(right - left), (left + right) / 2))
        array[index] = kept
        (bend, wide), (less, narrow) = found
        kink = less > noise and abs(less - bend / 8) > bend / 80 + noise  # False for NaN
        if not kink:
            pairs.append((gradient[index], narrow if bend > noise else wide))
    return _compared([np.reshape(pairs, (-1, 2)).T], 1e-5, kinks=count - len(pairs))


def _compared(pairs, limit, kinks=0):
    """The greatest relative difference of some pairs of arrays."""
    pairs = [np.array(pair, np.float64) for pair in pairs if np.size(pair[0])]
    errors = [np.abs(one - other).max() / (np.abs([one, other]).max() or 1) for one, other in pairs]
    checked = sum(len(one.ravel()) for one, _ in pairs)
    return GradientCheck(float(np.max(errors)) if pairs else np.nan, checked, kinks, limit)


def _check_layers(model, exact, states, cotangent):
    """Each layer in float32 on what the float64 network gives it; the engine on all of them."""
    g, works, report = cotangent, {}, {}
    inputs = [np.moveaxis(states, 1, -1), *exact.layer_outputs(states).values()][:-1]
    layers = zip(exact.layers, model.astype(np.float32).layers, inputs, strict=True)
    for layer, narrow, x in reversed(list(layers)):
        works[layer.name] = work = _work(layer, x, g)
        rounded = _work(narrow, x.astype(np.float32), g.astype(np.float32))
        pairs = zip(rounded, work, strict=True)
        report = {f"{layer.name} in float32": _compared(pairs, 1e-4), **report}
        g = work[0]
    if model.engine == "compiled":
        with model._alone():
            model._engine.forward(states, len(states))
            outputs = model._engine.layer_outputs()
            model._engine.backward(cotangent)
        found = model.named_gradients()
        for name, y in outputs.items():
            ours = y, found[f"{name}/kernel"], found[f"{name}/bias"]
            pairs = zip(ours, works[name][1:], strict=True)
            report[f"{name} in the engine"] = _compared(pairs, 1e-4)
    return report


def _work(layer, x, g):
    """The gradient by a layer's input, its output, and the gradients by its weights."""
    y, back = layer.forward(x), layer.backward(g)
    return back, y, *(getattr(layer, f"{name}_gradient") for name in layer.weight_shapes)
