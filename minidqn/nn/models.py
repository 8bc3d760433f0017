"""A network: layers in a row, all their weights in one array, and how they learn."""

import collections
import copy
import math
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minidqn import storage
from minidqn.checks import finite, generator, numeric, whole
from minidqn.nn import losses, optimizers
from minidqn.nn.engine import Engine, why_not
from minidqn.nn.kernels import aligned, whole_vectors
from minidqn.nn.layers import Layer
from minidqn.nn.pixels import Pixels

ENGINES = ("auto", "compiled", "numpy")
"""What ``Sequential.compile`` takes as its engine."""


class Sequential:
    """Layers in a row, each one's output the next one's input.

    States come in channels first, (N, C, H, W), as a game draws them; inside,
    images are channels last. Where the last layer's output is an image, it is
    channels last too. Method names and weight layouts are Keras's. Several threads
    may call ``predict`` and ``train_on_batch``; they wait for each other.

    Parameters
    ----------
    layers : iterable of Layer, optional
        Added one after the other.
    rng : numpy.random.Generator, optional
        Draws the first weights; fresh entropy by default.

    Attributes
    ----------
    layers : list of Layer
        The layers, in order.
    engine : str
        "compiled" if the kernels compute, "numpy" if the layers do; ``compile`` chooses.
    input_shape : tuple of int
        Shape of one state as it comes in, without N.
    parameters, gradients : ndarray [shape=(P,)]
        All weights end to end, each row of them filled up with zeros, and the gradient of
        the last loss by each of them; read-only.

    References
    ----------
    https://keras.io/api/models/sequential/

    Examples
    --------
    >>> from minidqn.nn import SGD, Dense, Sequential
    >>> model = Sequential(rng=np.random.default_rng(0))
    >>> model.add(Dense(2, input_shape=(3,)))
    >>> model.compile(SGD(learning_rate=0.1), "mse")
    >>> states, targets = np.eye(3, dtype=np.float32), np.ones((3, 2))
    >>> losses = [model.train_on_batch(states, targets) for _ in range(100)]
    >>> losses[-1] < 0.01 * losses[0]
    True
    """

    layers: list[Layer]
    engine: str
    input_shape: tuple[int, ...]
    parameters: np.ndarray
    gradients: np.ndarray

    def __init__(self, layers: Iterable[Layer] = (), rng: np.random.Generator | None = None):
        self._rng = generator(rng)
        self._locks = collections.defaultdict(threading.RLock)  # for each process that is forked
        self._samples = None  # how many the last forward was for
        self._bind([], [])
        for layer in layers:
            self.add(layer)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one sample's output, without N."""
        return self._built().layers[-1].output_shape

    def _alone(self):
        """The lock. A forked child has a new one: the thread that held the old is not in it."""
        return self._locks[os.getpid()]

    def add(self, layer: Layer) -> None:
        """Put a layer at the end, and draw its weights.

        A network that was compiled before must be compiled again.

        Parameters
        ----------
        layer : Layer
            `Conv2D`, `Dense`, `Flatten` or one of your own; a network's first layer
            needs an ``input_shape``.

        Raises
        ------
        TypeError
            If it is no layer.
        ValueError
            If it does not fit what comes before, or is in a network already.
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"layer is {layer!r}; expected a Layer, such as Conv2D or Dense")
        if layer.name is not None:
            raise ValueError(f"layer {layer.name!r} is part of a network already; make a new one")
        shape = layer.input_shape
        if self.layers:
            *sides, channels = self.layers[-1].output_shape
            if shape not in (None, before := (channels, *sides)):
                raise ValueError(f"input_shape is {shape}; expected {before}, the last output's")
            shape = before
        elif shape is None:
            raise ValueError("the first layer has no input_shape; expected (C, H, W) or (D,)")
        layer.build(_channels_last(shape))
        first, shapes = layer.initial_weights(self._rng), layer.weight_shapes
        if first.keys() - shapes.keys() or not all(shapes.values()):
            wanted = f"a shape of one length or more for each of {sorted(first)}"
            raise ValueError(f"weight_shapes is {shapes}; expected {wanted}")
        values = [np.broadcast_to(np.asarray(first.get(n, 0), float), shapes[n]) for n in shapes]
        kind = type(layer).__name__.lower()
        count = sum(type(other).__name__.lower() == kind for other in self.layers)
        layer.name = f"{kind}_{count}" if count else kind
        self._bind([*self.layers, layer], [*self.get_weights(), *values])

    def _bind(self, layers, weights, dtype=np.float32):
        """Take these layers, with their weights laid end to end in a new array; not compiled."""
        layout, size = {}, 0  # where each weight begins, and its shape
        owners = [(layer, name) for layer in layers for name in layer.weight_shapes]
        for layer, name in owners:
            shape = layer.weight_shapes[name]
            layout[f"{layer.name}/{name}"] = size, shape
            size += math.prod(shape[:-1]) * whole_vectors(shape[-1])
        self._parameters, self._gradients = aligned(size, dtype), aligned(size, dtype)
        self.layers, self._layout = layers, layout
        self.input_shape = layers[0].input_shape if layers else None
        self.parameters, self.gradients = self._parameters.view(), self._gradients.view()
        self.parameters.flags.writeable = self.gradients.flags.writeable = False
        self._weights, gradients = self._named(self._parameters), self._named(self._gradients)
        read_only = self.named_weights()
        for (layer, name), full, values in zip(owners, layout, weights, strict=True):
            self._weights[full][...] = values
            setattr(layer, name, read_only[full])
            setattr(layer, f"{name}_gradient", gradients[full])
        self._choose()

    def _named(self, flat):
        """Every weight's part of a flat array, without what fills up its rows."""
        named = {}
        for name, (start, (*lines, length)) in self._layout.items():
            row = whole_vectors(length)
            part = flat[start : start + math.prod(lines) * row]
            named[name] = part.reshape(*lines, row)[..., :length]
        return named

    def _choose(self, optimizer=None, loss=None, compiled=False):
        """Learn and compute like this from now on; by default, not at all before ``compile``."""
        arrays = self._parameters, self._gradients, self._layout
        self._engine = Engine(self.layers, self.input_shape, *arrays) if compiled else None
        self.engine = "compiled" if compiled else "numpy"
        self.optimizer, self.loss = optimizer, loss
        self._finite = True  # False if the last update may have gone wrong

    def _built(self):
        """This network, if it has any layers."""
        if not self.layers:
            raise ValueError("the network has no layers; expected at least one: add() some first")
        return self

    def compile(
        self,
        optimizer: str | optimizers.Optimizer,
        loss: str | losses.Loss = "mse",
        engine: str = "auto",
    ) -> None:
        """Choose how to learn and to compute, and start the optimizer's state afresh.

        Parameters
        ----------
        optimizer : str or Optimizer
            The rule of the steps, such as `RMSprop` or "adam", as ``optimizers.get`` takes it;
            it belongs to this network from now on.
        loss : str or Loss
            "mse", "huber", or a loss of your own.
        engine : {"auto", "compiled", "numpy"}
            "compiled" runs all layers through the kernels, "numpy" each as it is written;
            "auto" is "compiled" if the kernels know every layer and the last is a Dense.

        Raises
        ------
        TypeError
            If `optimizer` has no ``build`` and ``update``.
        ValueError
            If there are no layers, no such optimizer, loss or engine, or the kernels do not
            know a layer and `engine` is "compiled".
        """
        optimizer = optimizers.get(optimizer)
        if engine not in ENGINES:
            raise ValueError(f"engine is {engine!r}; expected one of {ENGINES}")
        loss = losses.get(loss)
        reason = why_not(self._built().layers, self._parameters.dtype)
        if engine == "compiled" and reason is not None:
            raise ValueError(f"engine is 'compiled', but {reason}; expected 'auto' or 'numpy'")
        optimizer.build(self._parameters)
        self._choose(optimizer, loss, engine != "numpy" and reason is None)

    def forward(self, states: npt.ArrayLike) -> np.ndarray:
        """Output of the whole network, layer by layer; each keeps what ``backward`` needs.

        Parameters
        ----------
        states : array_like [shape=(N, C, H, W) or (N, D)]
            Input, finite numbers.

        Returns
        -------
        ndarray [shape=(N, ...)]
            Output of the last layer.

        Raises
        ------
        ValueError
            If the shape is wrong, a number is not finite, or there are no layers.
        TypeError
            If `states` are not numbers.
        """
        x = self._checked(states, for_layers=True)
        with self._alone():
            return self._through(x).copy()

    def _through(self, x):
        """Through all layers, first to last."""
        self._samples = len(x)
        for layer in self.layers:
            x = _shaped(f"{layer.name} gave", layer.forward(x), (len(x), *layer.output_shape))
        return x.astype(self._parameters.dtype, copy=False)

    def backward(self, gradient: npt.ArrayLike) -> np.ndarray:
        """Gradient of the loss by every weight, for the last ``forward``, with nothing in between.

        Parameters
        ----------
        gradient : array_like [shape=(N, ...)]
            Gradient of the loss with respect to the output.

        Returns
        -------
        ndarray [shape=(N, C, H, W) or (N, D)]
            Gradient of the loss with respect to the states. The gradients of the weights
            are in ``gradients``.

        Raises
        ------
        ValueError
            If its shape is not that of the last forward's output.
        TypeError
            If it does not hold numbers.
        """
        wanted = (self._samples, *self.output_shape)
        g = _like("gradient", gradient, wanted, self._parameters.dtype).copy()
        with self._alone():
            return np.moveaxis(self._back(g), -1, 1).copy()

    def _back(self, g):
        """Back through all layers, last to first."""
        before = [_channels_last(self.input_shape), *(x.output_shape for x in self.layers[:-1])]
        for layer in reversed(self.layers):
            g = layer.backward(g)
            _shaped(f"{layer.name} gave back", g, (self._samples, *before.pop()))
            for name in layer.weight_shapes:
                if not np.may_share_memory(getattr(layer, f"{name}_gradient"), self._gradients):
                    wanted = f"self.{name}_gradient[...] = ... in its backward"
                    raise TypeError(f"{layer.name} replaced {name}_gradient; expected {wanted}")
        return g

    def _checked(self, states, for_layers=False):
        """States as the engine takes them; for the first layer a copy, channels last."""
        self._built()
        states = states if isinstance(states, Pixels) else numeric("states", states)
        if states.shape[1:] != self.input_shape:
            wanted = ", ".join(map(str, self.input_shape))
            raise ValueError(f"states has shape {states.shape}; expected (N, {wanted})")
        if self._engine and not for_layers:
            return states
        with np.errstate(over="ignore"):  # what overflows is refused in the next line
            x = np.array(np.moveaxis(np.asarray(states), 1, -1), self._parameters.dtype, order="C")
        finite("states", x)
        return x

    def _outputs(self, x):
        """Outputs for checked states, in an array of their own."""
        if self._engine:
            return self._engine.forward(x)
        return self._through(x).copy() if len(x) else np.zeros((0, *self.output_shape), x.dtype)

    def predict(self, states: npt.ArrayLike, batch_size: int = 128) -> np.ndarray:
        """Output of the network for any number of states.

        Parameters
        ----------
        states : array_like or Pixels [shape=(N, C, H, W) or (N, D)]
            Input, finite numbers; N may be 0.
        batch_size : int
            How many states go through the layers at a time.

        Returns
        -------
        ndarray [shape=(N, ...)]
            A new array, in the dtype of the weights: float32.

        Raises
        ------
        ValueError
            If the shape is wrong, a number is not finite, batch_size is below 1,
            or there are no layers.
        TypeError
            If `states` are not numbers, or batch_size is not a whole number.
        """
        x = self._checked(states)
        batch_size = whole("batch_size", batch_size)
        with self._alone():
            if len(x) <= batch_size:
                return self._outputs(x)
            batches = range(0, len(x), batch_size)
            return np.concatenate([self._outputs(x[n : n + batch_size]) for n in batches])

    def layer_outputs(self, states: npt.ArrayLike) -> dict[str, np.ndarray]:
        """What every layer makes of some states, to be looked at.

        It is computed apart, on a copy of the layers: what ``backward`` needs of the
        last ``forward`` stays as it is.

        Parameters
        ----------
        states : array_like or Pixels [shape=(N, C, H, W) or (N, D)]
            Input, finite numbers; N may be 0.

        Returns
        -------
        dict of str to ndarray
            For each layer's name, in order, a new array [shape=(N, H, W, C) or
            (N, D)]: its output past the activation, channels last.

        Raises
        ------
        ValueError, TypeError
            As for ``predict``.

        Examples
        --------
        >>> from minidqn.nn import Conv2D, Flatten, Sequential
        >>> model = Sequential([Conv2D(4, 3, input_shape=(1, 8, 7)), Flatten()])
        >>> {name: y.shape for name, y in model.layer_outputs(np.ones((2, 1, 8, 7))).items()}
        {'conv2d': (2, 6, 5, 4), 'flatten': (2, 120)}
        """
        x = self._checked(states, for_layers=True)
        with self._alone():
            layers = self.astype(self._parameters.dtype).layers
        outputs: dict = {}
        for layer in layers:
            x = layer.forward(x)
            outputs[layer.name] = x.copy()
        return outputs

    def train_on_batch(self, states: npt.ArrayLike, targets: npt.ArrayLike) -> float:
        """One learning step: one forward, one backward, one update.

        Parameters
        ----------
        states : array_like or Pixels [shape=(N, C, H, W) or (N, D)]
            Input, finite numbers, N >= 1.
        targets : array_like [shape=(N, ...)]
            What the output should have been.

        Returns
        -------
        float
            The loss before the update.

        Raises
        ------
        ValueError
            If a shape is wrong, a number of `states` is not finite, or the
            network is not compiled.
        TypeError
            If an array does not hold numbers.
        """
        targets, shape = numeric("targets", targets), self._built().input_shape
        none = np.zeros((0, *shape), np.float32)
        return self.bootstrap_on_batch(states, none, lambda outputs, _: targets)

    def bootstrap_on_batch(
        self,
        states: npt.ArrayLike,
        next_states: npt.ArrayLike,
        make_targets: Callable[[np.ndarray, np.ndarray], npt.ArrayLike],
    ) -> float:
        """A learning step towards targets that the network's own outputs are part of.

        The outputs of `states` serve as prediction and for the targets, so there is
        one forward pass on `states`, one on `next_states`, and one backward.

        Parameters
        ----------
        states : array_like or Pixels [shape=(N, C, H, W) or (N, D)]
            Input, finite numbers, N >= 1.
        next_states : array_like or Pixels [shape=(M, C, H, W) or (M, D)]
            What followed, where it matters, finite numbers; M may be 0.
        make_targets : callable
            Called with the outputs of `states` and of `next_states`, ndarrays
            [shapes=(N, ...) and (M, ...)] of its own to keep or change; returns
            the targets, array_like [shape=(N, ...)]. It must not run this network,
            which still holds what backward needs.

        Returns
        -------
        float
            The loss before the update.

        Raises
        ------
        ValueError, TypeError
            As for ``train_on_batch``.

        References
        ----------
        Sutton & Barto, *Reinforcement Learning* (2018), section 6.1, for
        "bootstrapping": learning an estimate from an estimate.
        """
        x, next_x = self._checked(states), self._checked(next_states)
        if self.optimizer is None:
            raise ValueError("the network is not compiled; expected compile() before training")
        if len(x) == 0:
            raise ValueError("states has shape (0, ...); expected at least one sample")
        with self._alone():
            if self._engine:
                both = self._engine.forward(Pixels.join(x, next_x), len(x))
                outputs, next_outputs = both[: len(x)], both[len(x) :]
            else:  # the states last, since backward is for them
                next_outputs, outputs = self._outputs(next_x), self._outputs(x)
            like = outputs.shape, outputs.dtype
            targets = _like("targets", make_targets(outputs.copy(), next_outputs), *like)
            with np.errstate(invalid="ignore"):  # infinity less infinity; the loss is NaN then
                value, g = self.loss.value(outputs, targets), self.loss.gradient(outputs, targets)
            g = _like("the loss's gradient", g, *like)
            if self._engine:
                self._engine.backward(g)
                self._engine.fresh = False  # also if the update is interrupted
            else:
                self._back(g)
            said = self.optimizer.update(self._parameters, self._gradients)
            if said is not None and not isinstance(said, (bool, np.bool_)):  # weights, perhaps
                wanted = "expected it to change parameters in place"
                raise TypeError(f"optimizer.update returned a {type(said).__name__}; {wanted}")
            self._finite = said is True
        return value

    def first_not_finite(self, loss: float = 0.0) -> str | None:
        """Where in this network a number was first seen that is NaN or infinite.

        Parameters
        ----------
        loss : float
            The last learning step's. If it is finite, the weights and what the
            optimizer remembers are all there is to look at.

        Returns
        -------
        str or None
            Such as "the output of conv2d", "dense/kernel" or "the mean_square of
            dense/kernel": outputs first, then weights, then what the optimizer remembers,
            each from the first layer to the last; None if all numbers are finite.
        """
        if self._finite and math.isfinite(loss):
            return None
        with self._alone():
            outputs = {}
            if not math.isfinite(loss):
                kept = {layer.name: vars(layer).get("y", 0) for layer in self.layers}
                outputs = self._engine.layer_outputs() if self._engine else kept
            found = {f"the output of {name}": y for name, y in outputs.items()} | self._weights
            for name, array in self.named_state().items():
                found[f"the {name.replace('/', ' of ', 1)}"] = array
            return next((name for name in found if not np.isfinite(found[name]).all()), None)

    def astype(self, dtype: npt.DTypeLike) -> "Sequential":
        """A copy of this network that computes in another dtype; not compiled.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.

        Returns
        -------
        Sequential
            The copy, with the same weights.

        Raises
        ------
        ValueError
            If there are no layers.
        TypeError
            If `dtype` is another.
        """
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype is {dtype}; expected float32 or float64")
        other = Sequential(rng=copy.deepcopy(self._rng))
        other._bind(copy.deepcopy(self._built().layers), self.get_weights(), dtype)
        return other

    def __deepcopy__(self, memo):
        """A copy that shares nothing, compiled as this network is: a target network, say."""
        other = self.astype(self._parameters.dtype)
        memo[id(self._parameters)] = other._parameters  # which the optimizer refers to
        rules = copy.deepcopy((self.optimizer, self.loss), memo)
        other._choose(*rules, compiled=self._engine is not None)
        return other

    def __reduce__(self):
        raise TypeError("a network is not pickled; use save_weights and load_weights")

    def count_params(self) -> int:
        """How many weights there are, kernels and biases, as an int."""
        return sum(weight.size for weight in self._weights.values())

    def summary(self, print_fn: Callable[[str], object] = print) -> None:
        """Print a line for each layer: its name, output shape and number of weights.

        Parameters
        ----------
        print_fn : callable
            Called with each line.

        Raises
        ------
        ValueError
            If there are no layers.
        """
        print_fn(f"{'layer':<12}{'output, channels last':<24}{'weights':>10}")
        for layer in self._built().layers:
            shape = ", ".join(["N", *map(str, layer.output_shape)])
            count = sum(math.prod(shape) for shape in layer.weight_shapes.values())
            print_fn(f"{layer.name:<12}{f'({shape})':<24}{count:>10,}")
        print_fn(f"{'':<12}{'in all':<24}{self.count_params():>10,}")

    def named_weights(self) -> dict[str, np.ndarray]:
        """Every weight under its name: the arrays themselves, read-only.

        Returns
        -------
        dict of str to ndarray
            "conv2d/kernel", "conv2d/bias", "conv2d_1/kernel", ... in order.
        """
        return self._named(self.parameters)

    def named_gradients(self) -> dict[str, np.ndarray]:
        """The last gradient by every weight, under the weight's name; read-only.

        Returns
        -------
        dict of str to ndarray
            As ``named_weights``; all 0 before the first ``backward``.
        """
        return self._named(self.gradients)

    def named_state(self) -> dict[str, np.ndarray]:
        """What the optimizer remembers of every weight: the arrays themselves, to be filled.

        Returns
        -------
        dict of str to ndarray
            Such as "mean_square/conv2d/kernel", and "steps" for an array that is no weight's;
            empty if the optimizer has no ``state``.
        """
        named = {}
        for kind, array in getattr(self.optimizer, "state", {}).items():
            if array.size == self._parameters.size:
                named |= {f"{kind}/{name}": part for name, part in self._named(array).items()}
            else:
                named[kind] = array
        return named

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights.

        Returns
        -------
        list of ndarray
            [kernel, bias, kernel, bias, ...] from the first layer to the last, in
            Keras 3's shapes: (kh, kw, in, out) and (in, out).
        """
        return [weight.copy() for weight in self._weights.values()]

    def set_weights(self, weights: Sequence[npt.ArrayLike]) -> None:
        """Give all weights new values.

        Parameters
        ----------
        weights : list of array_like
            As ``get_weights`` returns them; copied.

        Raises
        ------
        ValueError
            If there are too few or too many, a shape is wrong, or a number is not finite
            in the weights' dtype.
        TypeError
            If an array does not hold numbers. In either case no weight has changed.
        """
        if not isinstance(weights, (list, tuple)):
            raise TypeError(f"weights is {type(weights).__name__}; expected a list of arrays")
        if len(weights) != len(self._weights):
            raise ValueError(f"weights holds {len(weights)} arrays; expected {len(self._weights)}")
        arrays = []
        for (name, weight), array in zip(self._weights.items(), weights, strict=True):
            with np.errstate(over="ignore"):  # what overflows is refused in the next line
                arrays.append(_like(name, array, weight.shape, weight.dtype).copy())
            finite(name, arrays[-1])
        with self._alone():
            for weight, array in zip(self._weights.values(), arrays, strict=True):
                weight[...] = array
            if self._engine:
                self._engine.fresh = False

    def save_weights(self, path: str | Path) -> None:
        """Write all weights to an .npz file, atomically.

        Parameters
        ----------
        path : path-like
            The file to make or to replace; ``numpy.load`` reads it, with keys
            such as "conv2d/kernel".

        Raises
        ------
        OSError
            If it cannot be written.
        """
        storage.write_arrays(path, self.named_weights())

    def load_weights(self, path: str | Path) -> None:
        """Read all weights from a file of ``save_weights``.

        Parameters
        ----------
        path : path-like
            The file; nothing in it is trusted.

        Raises
        ------
        OSError
            If it cannot be read.
        ValueError
            If it is damaged, not of a network such as this one, or holds numbers
            that are not finite; then no weight has changed.
        """
        arrays = storage.read_arrays(path, self.named_weights())
        for name, array in arrays.items():
            finite(f"{path}: {name}", array)
        self.set_weights(list(arrays.values()))


def _like(name, array, shape, dtype):
    """An array of numbers, if it has this shape, in this dtype."""
    return _shaped(f"{name} has", numeric(name, array), shape).astype(dtype, copy=False)


def _shaped(name, array, shape):
    """What a layer returned, or a caller gave, if that is of the right shape."""
    have = getattr(array, "shape", type(array).__name__)
    if have != shape:
        raise ValueError(f"{name} shape {have}; expected {shape}")
    return array


def _channels_last(shape):
    """(C, H, W) to (H, W, C); (D,) stays."""
    return (*shape[1:], shape[0])
