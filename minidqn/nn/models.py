"""A network: layers in a row, all their weights in one array, and how they learn."""

import copy
import math
import threading
import weakref

import numpy as np

from minidqn import storage
from minidqn.checks import finite, generator, whole
from minidqn.nn import losses
from minidqn.nn.kernels import SAMPLES, aligned, all_finite
from minidqn.nn.layers import Layer
from minidqn.nn.programs import Program, run
from minidqn.nn.threads import MOST_THREADS, Crew, available_cores

__all__ = ["Sequential"]

CACHE = 768 * 1024
"""Bytes of feature maps that pass through the convolutions at a time: they stay in a
core's own cache until the next layer has used them."""


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
    threads : int, optional
        How many threads share a batch; as many as this process has cores by
        default. The results do not depend on it.

    Attributes
    ----------
    layers : list of Layer
        The layers, in order.
    parameters, gradients : ndarray [shape=(P,)]
        All weights end to end, and the gradient of the last loss by each; the
        layers work on views of them.

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

    def __init__(self, layers=(), rng=None, threads=None):
        self._rng = generator(rng)
        self.threads = (
            available_cores() if threads is None else whole("threads", threads, most=MOST_THREADS)
        )
        self._crew = Crew(self.threads)
        self._lock = threading.RLock()
        self._samples = None  # how many the last forward was for
        weakref.finalize(self, self._crew.close)
        self.layers = []
        self.input_shape = None  # of one state, as it comes in
        self.optimizer = self.loss = None
        self._bind([])
        for layer in layers:
            self.add(layer)

    @property
    def output_shape(self):
        """Shape of one sample's output, without N."""
        return self._built().layers[-1].output_shape

    def add(self, layer):
        """Put a layer at the end, and draw its weights.

        A network that was compiled before must be compiled again.

        Parameters
        ----------
        layer : Layer
            `Conv2D`, `Dense` or `Flatten`; a network's first layer needs an
            ``input_shape``.

        Raises
        ------
        TypeError
            If it is no layer.
        ValueError
            If it does not fit what comes before, or is in a network already.
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"layer is {layer!r}; expected a Conv2D, Dense or Flatten")
        if layer.name is not None:
            raise ValueError(f"layer {layer.name!r} is part of a network already; make a new one")
        if not self.layers:
            if layer.input_shape is None:
                raise ValueError("the first layer has no input_shape; expected (C, H, W) or (D,)")
            layer.build(_channels_last_shape(layer.input_shape))
            self.input_shape = layer.input_shape
        else:
            previous = self.layers[-1].output_shape
            if layer.input_shape not in (None, _channels_first_shape(previous)):
                raise ValueError(
                    f"input_shape is {layer.input_shape}; "
                    f"expected {_channels_first_shape(previous)}, the output of the layer before"
                )
            layer.build(previous)
        weights = self.get_weights()
        try:
            self.layers.append(layer)
            self._bind(weights)
        except MemoryError:
            self.layers.pop()
            raise
        layer.name = self._free_name(type(layer).__name__.lower())
        layer.initialize(self._rng)
        self.optimizer = self.loss = None

    def _free_name(self, kind):
        """A name such as dense, dense_1 or dense_2, as in Keras."""
        count = sum(type(layer).__name__.lower() == kind for layer in self.layers[:-1])
        return f"{kind}_{count}" if count else kind

    def _bind(self, weights, dtype=np.float32):
        """Lay all weights end to end in a new array, and give the layers their views.

        The first weights get the values `weights`, the others none yet.
        """
        shapes = [shape for layer in self.layers for shape in layer.weight_shapes.values()]
        size = sum(math.prod(shape) for shape in shapes)
        self.parameters = aligned(size, dtype)
        self._weights = _views(self.parameters, shapes)
        for view, values in zip(self._weights, weights, strict=False):
            view[...] = values
        self.gradients = aligned(size, dtype)
        self._gradients = _views(self.gradients, shapes)
        first = 0
        for layer in self.layers:
            last = first + len(layer.weight_shapes)
            layer.bind(self._weights[first:last], self._gradients[first:last])
            first = last
        self._plan = None

    def _built(self):
        """This network, if it has any layers."""
        if not self.layers:
            raise ValueError("the network has no layers; expected at least one: add() some first")
        return self

    def compile(self, optimizer, loss="mse"):
        """Choose how to learn, and start the optimizer's state afresh.

        Parameters
        ----------
        optimizer : SGD or RMSprop
            The rule of the steps; it belongs to this network from now on.
        loss : str or object
            "mse", or any object that ``losses.get`` takes.

        Raises
        ------
        TypeError
            If `optimizer` has no ``build`` and ``update``.
        ValueError
            If there are no layers or no such loss.
        """
        fits = hasattr(optimizer, "update") and hasattr(optimizer, "build")
        if not fits or isinstance(optimizer, type):
            raise TypeError(f"optimizer is {optimizer!r}; expected one such as RMSprop()")
        loss = losses.get(loss)
        optimizer.build(self._built().parameters, self._crew)
        self.optimizer, self.loss = optimizer, loss

    def forward(self, states):
        """Output of the whole network; each layer keeps what ``backward`` needs.

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
        x = self._checked(states)
        with self._lock:
            return self._forward(x).copy()

    def _forward(self, x, more=()):
        """Outputs of x, and of `more` below them; ``backward`` is for x."""
        self._samples = len(x)
        if self.parameters.dtype != np.float32:
            return _through(self.layers, np.concatenate([x, more]) if len(more) else x)
        samples = len(x) + len(more)
        if self._plan is None or self._plan.capacity < samples:
            self._plan = None  # whatever happens now, the layers are not the old plan's any more
            self._plan = _Plan(self.layers, x.shape[1:], samples, self.threads)
        plan = self._plan
        plan.x[: len(x)] = x
        if len(more):
            plan.x[len(x) : samples] = more
        self._crew.run(plan.forward, samples)
        return plan.outputs[:samples]

    def backward(self, gradient, wants_input_gradient=True):
        """Gradient of the loss by every weight, for the last ``forward``.

        Parameters
        ----------
        gradient : ndarray [shape=(N, ...)]
            Gradient of the loss with respect to the output.
        wants_input_gradient : bool
            Whether to go on to the states themselves.

        Returns
        -------
        ndarray [shape=(N, C, H, W) or (N, D)] or None
            Gradient of the loss with respect to the states, if wanted. The
            gradients of the weights are in ``gradients``.

        Raises
        ------
        ValueError
            If its shape is not that of the last forward's output.
        """
        gradient = np.array(gradient, self.parameters.dtype)  # the layers may overwrite it
        if gradient.shape[1:] != self.output_shape:
            raise ValueError(
                f"gradient has shape {gradient.shape}; expected (N, *{self.output_shape})"
            )
        if len(gradient) != self._samples:
            raise ValueError(
                f"gradient is for {len(gradient)} samples; expected {self._samples}, "
                "as many as the last forward"
            )
        with self._lock:
            dx = self._backward(gradient, wants_input_gradient)
            if not wants_input_gradient:
                return None
            return np.moveaxis(dx, -1, 1).copy() if dx.ndim == 4 else dx.copy()

    def _backward(self, gradient, wants_input_gradient):
        """Gradients of the weights, and the one by the states if it is wanted."""
        if self.parameters.dtype != np.float32:
            return _back(self.layers, gradient, wants_input_gradient)
        plan = self._plan
        plan.gradient[: len(gradient)] = gradient
        program, dx = plan.backward(wants_input_gradient)
        self._crew.run(program, len(gradient))
        return dx[: len(gradient)] if wants_input_gradient else None

    def _checked(self, states):
        """`states` as the first layer takes them, if they are what they should be."""
        self._built()
        try:
            states = np.asarray(states)
        except ValueError:
            raise ValueError("states is ragged; expected an array of one shape") from None
        if states.ndim == 0 or states.shape[1:] != self.input_shape:
            wanted = ", ".join(map(str, self.input_shape))
            raise ValueError(f"states has shape {states.shape}; expected (N, {wanted})")
        if states.dtype.kind not in "fiub":
            raise TypeError(f"states has dtype {states.dtype}; expected numbers")
        if states.ndim == 4:
            states = states.transpose(0, 2, 3, 1)
        if states.dtype.itemsize > self.parameters.itemsize:
            with np.errstate(over="ignore"):  # what overflows is refused in the next lines
                states = states.astype(self.parameters.dtype)
        x = np.ascontiguousarray(states, self.parameters.dtype)
        if not x.flags.writeable:  # the kernels are compiled for one kind of array
            x = x.copy()
        if not all_finite(x.reshape(-1)):
            raise ValueError("states holds NaN or infinity; expected finite numbers")
        return x

    def predict(self, states, batch_size=128):
        """Output of the network for any number of states.

        Parameters
        ----------
        states : array_like [shape=(N, C, H, W) or (N, D)]
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
        with self._lock:
            if len(x) <= batch_size:
                return self._forward(x).copy()
            outputs = np.empty((len(x), *self.output_shape), x.dtype)
            for first in range(0, len(x), batch_size):
                part = slice(first, first + batch_size)
                outputs[part] = self._forward(x[part])
        return outputs

    def layer_outputs(self, states):
        """What every layer makes of some states, to be looked at.

        It is computed apart, on a copy of the layers: what ``backward`` needs of the
        last ``forward`` stays as it is.

        Parameters
        ----------
        states : array_like [shape=(N, C, H, W) or (N, D)]
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
        x = self._checked(states)
        with self._lock:
            layers = self.astype(self.parameters.dtype).layers
        outputs = {}
        for layer in layers:
            x = layer.forward(x)
            outputs[layer.name] = x.copy()
        return outputs

    def train_on_batch(self, states, targets):
        """One learning step: one forward, one backward, one update.

        Parameters
        ----------
        states : array_like [shape=(N, C, H, W) or (N, D)]
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
        x = self._checked(states)
        try:
            targets = np.asarray(targets)
        except ValueError:
            raise ValueError("targets is ragged; expected an array of one shape") from None
        return self._learn(x, x[:0], lambda outputs, _: targets)

    def bootstrap_on_batch(self, states, next_states, make_targets):
        """A learning step towards targets that the network's own outputs are part of.

        The outputs of `states` serve as prediction and for the targets, so there is
        one forward pass on `states`, one on `next_states`, and one backward.

        Parameters
        ----------
        states : array_like [shape=(N, C, H, W) or (N, D)]
            Input, finite numbers, N >= 1.
        next_states : array_like [shape=(M, C, H, W) or (M, D)]
            What followed, where it matters, finite numbers; M may be 0.
        make_targets : callable
            Called with the outputs of `states` and of `next_states`, ndarrays
            [shapes=(N, ...) and (M, ...)] of its own to keep or change; returns
            the targets, array_like [shape=(N, ...)]. It must not run this network:
            the layers still hold what backward needs.

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
        return self._learn(self._checked(states), self._checked(next_states), make_targets)

    def _learn(self, x, next_x, make_targets):
        """A learning step; see ``bootstrap_on_batch``."""
        if self.optimizer is None:
            raise ValueError("the network is not compiled; expected compile() before training")
        if len(x) == 0:
            raise ValueError("states has shape (0, ...); expected at least one sample")
        with self._lock:
            both = self._forward(x, next_x).copy()
            outputs, next_outputs = both[: len(x)], both[len(x) :]
            targets = np.asarray(make_targets(outputs.copy(), next_outputs))
            if targets.shape != outputs.shape:
                raise ValueError(f"targets has shape {targets.shape}; expected {outputs.shape}")
            if targets.dtype.kind not in "fiub":
                raise TypeError(f"targets has dtype {targets.dtype}; expected numbers")
            targets = targets.astype(outputs.dtype, copy=False)
            self._backward(self.loss.gradient(outputs, targets), wants_input_gradient=False)
            self.optimizer.update(self.parameters, self.gradients)
        return self.loss.value(outputs, targets)

    def first_not_finite(self, loss=0.0):
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
            dense/kernel", from the first layer to the last; None if all numbers are
            finite.
        """
        with self._lock:
            state = {} if self.optimizer is None else self.optimizer.state()
            if math.isfinite(loss) and all(map(all_finite, (self.parameters, *state.values()))):
                return None
            first = 0
            for layer in self.layers:
                y = getattr(layer, "y", None)
                if y is not None and not np.isfinite(y[: self._samples]).all():
                    return f"the output of {layer.name}"
                for name, shape in layer.weight_shapes.items():
                    part = slice(first, first + math.prod(shape))
                    first = part.stop
                    if not all_finite(self.parameters[part]):
                        return f"{layer.name}/{name}"
                    for kind, array in state.items():
                        if not all_finite(array[part]):
                            return f"the {kind} of {layer.name}/{name}"
        return None

    def astype(self, dtype):
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
        other = Sequential(rng=copy.deepcopy(self._rng), threads=self.threads)
        other.layers = [layer.replica() for layer in self._built().layers]
        other.input_shape = self.input_shape
        other._bind(self.get_weights(), dtype)
        return other

    def __deepcopy__(self, memo):
        """A copy that shares nothing, compiled as this network is: a target network, say."""
        other = self._built().astype(self.parameters.dtype)
        if self.optimizer is not None:
            other.optimizer, other.loss = copy.copy(self.optimizer), copy.deepcopy(self.loss, memo)
            other.optimizer.build(other.parameters, other._crew)
            for name, array in vars(other.optimizer).items():
                if isinstance(array, np.ndarray) and array is not other.parameters:
                    array[...] = vars(self.optimizer)[name]
        return other

    def __reduce__(self):
        raise TypeError("a network is not pickled; use save_weights and load_weights")

    def count_params(self):
        """How many weights there are, kernels and biases, as an int."""
        return self.parameters.size

    def summary(self, print_fn=print):
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

    def _weight_names(self):
        """Names such as conv2d/kernel and conv2d/bias, in order."""
        return [f"{layer.name}/{name}" for layer in self.layers for name in layer.weight_shapes]

    def named_weights(self):
        """Every weight under its name: the arrays themselves, not copies.

        Returns
        -------
        dict of str to ndarray
            "conv2d/kernel", "conv2d/bias", "conv2d_1/kernel", ... in order.
        """
        return dict(zip(self._weight_names(), self._weights, strict=True))

    def named_gradients(self):
        """The last gradient by every weight, under the weight's name; not copies.

        Returns
        -------
        dict of str to ndarray
            As ``named_weights``; all 0 before the first ``backward``.
        """
        return dict(zip(self._weight_names(), self._gradients, strict=True))

    def get_weights(self):
        """Copies of all weights.

        Returns
        -------
        list of ndarray
            [kernel, bias, kernel, bias, ...] from the first layer to the last, in
            Keras 3's shapes: (kh, kw, in, out) and (in, out).
        """
        return [weight.copy() for weight in self._weights]

    def set_weights(self, weights):
        """Give all weights new values.

        Parameters
        ----------
        weights : list of array_like
            As ``get_weights`` returns them; copied.

        Raises
        ------
        ValueError
            If there are too few or too many, or a shape is wrong.
        TypeError
            If an array does not hold numbers. In either case no weight has changed.
        """
        named = self.named_weights()
        if not isinstance(weights, (list, tuple)):
            raise TypeError(f"weights is {type(weights).__name__}; expected a list of arrays")
        arrays = [np.asarray(array) for array in weights]
        if len(arrays) != len(named):
            raise ValueError(f"weights holds {len(arrays)} arrays; expected {len(named)}")
        for (name, weight), array in zip(named.items(), arrays, strict=True):
            if array.shape != weight.shape:
                raise ValueError(f"{name} has shape {array.shape}; expected {weight.shape}")
            if array.dtype.kind not in "fiub":
                raise TypeError(f"{name} has dtype {array.dtype}; expected numbers")
        for weight, array in zip(named.values(), arrays, strict=True):
            weight[...] = array

    def save_weights(self, path):
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

    def load_weights(self, path):
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


class _Plan:
    """What a network does in float32, written down for so many samples, or fewer.

    Parameters
    ----------
    layers : list of Layer
        The network's.
    shape : tuple of int
        Of one input, channels last.
    samples : int
        How many samples there is to be room for, at least.
    workers : int
        How many threads will share the work.
    """

    def __init__(self, layers, shape, samples, workers):
        self.capacity = 1 << max(samples - 1, 0).bit_length()  # the next power of two
        self.x = aligned(self.capacity * math.prod(shape)).reshape(self.capacity, *shape)
        self.forward = Program()
        self._layers = layers
        self._backward = {}
        images = [math.prod(layer.output_shape) for layer in layers if len(layer.output_shape) == 3]
        chunk = CACHE // (4 * sum(images)) if images else SAMPLES
        for layer in layers:
            layer.workers, layer.chunk = workers, min(max(chunk, 1), SAMPLES)
        self.outputs = self._written(self.forward, _through, self.x)
        self.gradient = np.zeros_like(self.outputs)
        self._kept = [(vars(layer).get("x"), vars(layer).get("y")) for layer in layers]

    def backward(self, wants_input_gradient):
        """The way back: a program from `gradient` on, and where it puts the input's."""
        if wants_input_gradient not in self._backward:
            program = Program()
            for layer, (x, y) in zip(self._layers, self._kept, strict=True):
                layer.x, layer.y = x, y  # whoever has used a layer by itself meanwhile
            dx = self._written(program, _back, self.gradient, wants_input_gradient)
            self._backward[wants_input_gradient] = program, dx
        return self._backward[wants_input_gradient]

    def _written(self, program, way, *arguments):
        """Have the layers write down what they do in a program instead of doing it."""
        try:
            for layer in self._layers:
                layer.do = program.do
            return way(self._layers, *arguments)
        finally:
            for layer in self._layers:
                layer.do = run


def _through(layers, x):
    """Through all layers, first to last."""
    for layer in layers:
        x = layer.forward(x)
    return x


def _back(layers, g, wants_input_gradient):
    """Back through all layers, last to first."""
    for layer in reversed(layers):
        g = layer.backward(g, wants_input_gradient or layer is not layers[0])
    return g


def _views(flat, shapes):
    """Arrays of these shapes, end to end in a flat one."""
    ends = np.cumsum([math.prod(shape) for shape in shapes], dtype=int)
    pieces = np.split(flat, ends)  # and one empty piece at the end
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=False)]


def _channels_last_shape(shape):
    """(C, H, W) to (H, W, C); (D,) stays."""
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def _channels_first_shape(shape):
    """(H, W, C) to (C, H, W); (D,) stays."""
    return (shape[-1], *shape[:-1])
