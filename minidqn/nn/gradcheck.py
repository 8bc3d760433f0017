"""Is backward the derivative of forward, in every dtype, and does the engine agree?"""

from typing import NamedTuple

import numpy as np

from minidqn.checks import generator, number, numeric, whole


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
    def ok(self):
        """Whether the error is within the limit."""
        return self.error <= self.limit  # False for NaN


def check_gradients(model, states, rng=None, samples=20, step=1e-5):
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
    compiled, narrow, model = model, model.astype(np.float32), model.astype(np.float64)
    with np.errstate(over="ignore"):  # what overflows is refused in the next line
        states = numeric("states", states).astype(np.float32).astype(np.float64)
    cotangent = rng.standard_normal(model.forward(states).shape)
    if not len(states):
        raise ValueError("states has shape (0, ...); expected at least one sample")

    def scalar():
        return float(np.sum(model.forward(states) * cotangent))

    noise = 3e-9 * (1 + np.abs(model.forward(states) * cotangent).sum())  # by far, of slopes
    states_gradient = model.backward(cotangent)
    gradients = {name: g.copy() for name, g in model.named_gradients().items()}
    in_float32, outputs = _float32_checks(model, narrow, states, cotangent)
    choose = rng, samples, step, noise
    report = {"states": _check_array(scalar, states, states_gradient, *choose)}
    for name, weight in model._weights.items():
        report[name] = _check_array(scalar, weight, gradients[name], *choose)
    report |= in_float32
    if compiled.engine == "compiled":
        report |= _engine_checks(compiled, states, cotangent, outputs, gradients)
    return report


def _check_array(scalar, array, gradient, rng, samples, step, noise):
    """Compare `gradient` with differences of `scalar()` as numbers of `array` move."""
    count = array.size if samples is None else min(samples, array.size)
    pairs, kinks = [], 0
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
        if less > noise and abs(less - bend / 8) > bend / 80 + noise:  # False for NaN
            kinks += 1
        else:
            pairs.append((gradient[index], narrow if bend > noise else wide))
    return _compared([np.reshape(pairs, (-1, 2)).T], kinks)


def _compared(pairs, kinks=0, limit=1e-5):
    """The greatest relative difference of some pairs of arrays."""
    errors, checked = [], 0
    for one, other in pairs:
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        checked += one.size
        if one.size:
            scale = np.abs([one, other]).max()
            errors.append(0.0 if scale == 0 else np.abs(one - other).max() / scale)
    return GradientCheck(float(np.max(errors)) if errors else np.nan, checked, kinks, limit)


def _float32_checks(model, narrow, states, cotangent):
    """Each layer in float32 on what the float64 network gives it; and that one's outputs."""
    inputs, g, report = [np.moveaxis(states, 1, -1)], cotangent, {}
    for layer in model.layers:
        inputs.append(layer.forward(inputs[-1]))
    for layer, other, x in reversed(list(zip(model.layers, narrow.layers, inputs, strict=False))):
        exact = _work(layer, x, g)
        rounded = _work(other, x.astype(np.float32), g.astype(np.float32))
        pairs = zip(rounded, exact, strict=True)
        report[f"{layer.name} in float32"] = _compared(pairs, limit=1e-4)
        g = exact[1]
    outputs = {layer.name: y for layer, y in zip(model.layers, inputs[1:], strict=True)}
    return dict(reversed(report.items())), outputs


def _work(layer, x, g):
    """A layer's output, the gradient by its input, and those by its weights."""
    y, back = layer.forward(x), layer.backward(g)
    return [y, back, *(getattr(layer, f"{name}_gradient") for name in layer.weight_shapes)]


def _engine_checks(compiled, states, cotangent, outputs, gradients):
    """The engine's outputs and gradients, layer by layer, against the float64 network's."""
    engine = compiled._engine
    with compiled._alone():
        engine.forward(states, len(states))
        ours = engine.layer_outputs()
        engine.backward(cotangent)
    report, found = {}, compiled.named_gradients()
    for layer, y in ours.items():
        pairs = [(y, outputs[layer])]
        pairs += [(found[n], g) for n, g in gradients.items() if n.startswith(f"{layer}/")]
        report[f"{layer} in the engine"] = _compared(pairs, limit=1e-4)
    return report
