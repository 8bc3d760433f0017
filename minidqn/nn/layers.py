"""Layers: each turns an input into an output, and a gradient back into a gradient.

Between layers, images are channels last, (N, H, W, C), and flat vectors are
(N, D). A layer keeps the input and the output of its last ``forward`` for the
``backward`` that follows, and owns no memory for its weights: `Sequential` lays
all weights of a network end to end and hands each layer its views (``bind``).
What a layer returns is in buffers that it makes once and uses again: it is good
until the layer's next call, and ``backward`` may overwrite the gradient it gets.

A layer computes in the dtype of its input, which is that of its weights: float64
by the NumPy definition in ``convolution``, float32 by the compiled ``kernels``. A
kernel's work is a job (``minidqn.nn.programs``), and what becomes of it is up to
the layer's ``do``: it is done at once, or a network writes down the jobs of all
its layers, to have them done by its threads many times over.

In formulas x is a layer's input, y its output, w its kernel, b its bias and g
the gradient of the loss with respect to y.
"""

import copy
import math

import numpy as np

from minidqn.checks import whole
from minidqn.nn import convolution, kernels, programs

__all__ = ["Conv2D", "Dense", "Flatten", "Layer"]


class Layer:
    """What every layer has, and all there is to a layer without weights.

    Parameters
    ----------
    input_shape : tuple of int, optional
        Shape of one sample, as it is given to the network: (C, H, W) for
        images, (D,) for vectors. The first layer of a network needs it.

    Attributes
    ----------
    name : str or None
        Unique in its network, which gives it.
    output_shape : tuple of int
        Shape of one sample's output, without N; set by ``build``.
    weight_shapes : dict of str to tuple of int
        Name and shape of each weight, in the order that Keras has them.
    do : callable
        Takes the jobs that are this layer's work in float32.
    workers : int
        How many threads will share a job, at most.
    chunk : int
        Images that pass through the convolutions at a time.
    """

    weight_shapes = {}
    workers, chunk = 1, kernels.SAMPLES

    def __init__(self, input_shape=None):
        if input_shape is not None:
            if np.ndim(input_shape) != 1:
                raise ValueError(f"input_shape is {input_shape!r}; expected (C, H, W) or (D,)")
            input_shape = tuple(whole("input_shape", length) for length in input_shape)
            if len(input_shape) not in (1, 3):
                raise ValueError(f"input_shape is {input_shape}; expected (C, H, W) or (D,)")
        self.input_shape = input_shape
        self.output_shape = None
        self.name = None
        self.buffers = kernels.Buffers()
        self.do = programs.run

    def replica(self):
        """A layer like this one with buffers of its own, to be bound.

        Returns
        -------
        Layer
            For another network.
        """
        other = copy.copy(self)
        other.buffers = kernels.Buffers()
        other.do = programs.run
        return other

    def build(self, shape):
        """Learn the `shape` of one input sample, and set what follows from it.

        Parameters
        ----------
        shape : tuple of int
            (H, W, C) or (D,): without N, channels last.

        Raises
        ------
        ValueError
            If this layer cannot take such input.
        """
        raise NotImplementedError

    def bind(self, weights, gradients):
        """Take `weights`, and the place for their `gradients`, as this layer's own.

        Parameters
        ----------
        weights, gradients : list of ndarray
            One of each for every entry of ``weight_shapes``; kept, not copied.
        """

    def initialize(self, rng):
        """Give the weights their first values.

        Parameters
        ----------
        rng : numpy.random.Generator
            Where they are drawn from.
        """

    def forward(self, x):
        """Output of this layer.

        Parameters
        ----------
        x : ndarray [shape=(N, ...)]
            Input, in the dtype of the weights.

        Returns
        -------
        ndarray [shape=(N, ...)]
            Output.
        """
        raise NotImplementedError

    def backward(self, g, wants_input_gradient=True):
        """Gradients of this layer, for the first N samples of the last ``forward``.

        Writes the gradients of its weights where ``bind`` said.

        Parameters
        ----------
        g : ndarray [shape=(N, ...)]
            Gradient of the loss with respect to the output.
        wants_input_gradient : bool
            False saves the first layer the work that nobody needs.

        Returns
        -------
        ndarray [shape=(N, ...)] or None
            Gradient of the loss with respect to the input, if wanted.
        """
        raise NotImplementedError


class _WeightedLayer(Layer):
    """A layer with a kernel, a bias and perhaps a ReLU: what Conv2D and Dense share."""

    def __init__(self, activation, input_shape):
        super().__init__(input_shape)
        if activation not in (None, "linear", "relu"):
            raise ValueError(f"activation is {activation!r}; expected None, 'linear' or 'relu'")
        self.relu = activation == "relu"

    def bind(self, weights, gradients):
        self.kernel, self.bias = weights
        self.kernel_gradient, self.bias_gradient = gradients

    def initialize(self, rng):
        """Zero the bias and draw the kernel from Glorot's uniform distribution.

        ``w ~ U(-a, a)`` with ``a = sqrt(6 / (fan_in + fan_out))``, where a fan is
        the number of inputs (outputs) that an output (input) hangs on.

        References
        ----------
        Glorot & Bengio (2010), *Understanding the difficulty of training deep
        feedforward neural networks*, equation 16.
        """
        *window, inputs, outputs = self.weight_shapes["kernel"]
        a = math.sqrt(6 / (math.prod(window) * (inputs + outputs)))
        self.kernel[...] = rng.uniform(-a, a, self.kernel.shape)
        self.bias[...] = 0

    def _through_relu(self, g):
        """Gradient before the activation: g where y > 0, else 0 (also at the kink)."""
        if not self.relu:
            return g
        if g.dtype == np.float32:
            self.do(*kernels.relu_gradient(g, self.y[: len(g)], self.chunk))
            return g
        return np.where(self.y[: len(g)] > 0, g, 0)


class Conv2D(_WeightedLayer):
    """Convolution over images: "valid" padding, stride 1.

    ``y[n,i,j,o] = activation(b[o] + sum over u,v,c of x[n,i+u,j+v,c] * w[u,v,c,o])``

    Backward, with g past the activation already: dw and db by
    ``kernel_gradient``, dx by ``input_gradient`` of ``minidqn.nn.convolution``.

    Parameters
    ----------
    filters : int
        How many filters, and so channels of the output.
    kernel_size : int or pair of int
        Rows and columns of a filter, in pixels.
    activation : {None, "linear", "relu"}
        What follows; "relu" is max(0, .).
    input_shape : tuple of int, optional
        (C, H, W) of one image; needed if this is a network's first layer.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of this kind.

    References
    ----------
    https://keras.io/api/layers/convolution_layers/convolution2d/
    """

    def __init__(self, filters, kernel_size, activation=None, input_shape=None):
        super().__init__(activation, input_shape)
        self.filters = whole("filters", filters)
        sides = kernel_size if np.ndim(kernel_size) else (kernel_size, kernel_size)
        self.kernel_size = tuple(whole("kernel_size", side) for side in sides)
        if len(self.kernel_size) != 2:
            raise ValueError(f"kernel_size is {kernel_size!r}; expected an int or a pair of ints")

    def build(self, shape):
        if len(shape) != 3:
            raise ValueError(f"Conv2D got input of shape {shape}; expected images (H, W, C)")
        height, width, channels = shape
        kh, kw = self.kernel_size
        if height < kh or width < kw:
            raise ValueError(
                f"Conv2D got images of {height} x {width} pixels; "
                f"expected at least its kernel_size, {kh} x {kw}"
            )
        self.output_shape = (height - kh + 1, width - kw + 1, self.filters)
        self.weight_shapes = {
            "kernel": (kh, kw, channels, self.filters),
            "bias": (self.filters,),
        }

    def forward(self, x):
        if x.dtype == np.float32:
            y = self.buffers.get("y", (len(x), *self.output_shape))
            self.do(*kernels.convolve(x, self.kernel, self.bias, self.relu, y, self.chunk))
        else:
            y = convolution.convolve(x, self.kernel, self.bias)
            if self.relu:
                y = np.maximum(y, 0)
        self.x, self.y = x, y
        return y

    def backward(self, g, wants_input_gradient=True):
        g = self._through_relu(g)
        x = self.x[: len(g)]
        if g.dtype == np.float32:
            dkernel, dbias = self.kernel_gradient, self.bias_gradient
            self.do(*kernels.kernel_gradient(x, g, dkernel, dbias, self.chunk))
            if wants_input_gradient:
                dx = self.buffers.get("dx", x.shape)
                self.do(*kernels.input_gradient(g, self.kernel, dx, self.chunk))
                return dx
        else:
            dkernel, dbias = convolution.kernel_gradient(x, g)
            self.kernel_gradient[...], self.bias_gradient[...] = dkernel, dbias
            if wants_input_gradient:
                return convolution.input_gradient(g, self.kernel)
        return None


class Dense(_WeightedLayer):
    """Every output a weighted sum of every input: ``y = activation(x @ w + b)``.

    Backward, with g past the activation already: ``dw = x.T @ g``,
    ``db = sum of g over the batch``, ``dx = g @ w.T``.

    Parameters
    ----------
    units : int
        How many outputs.
    activation : {None, "linear", "relu"}
        What follows; "relu" is max(0, .).
    input_shape : tuple of int, optional
        (D,); needed if this is a network's first layer.

    Raises
    ------
    ValueError, TypeError
        If an argument is not of this kind.

    References
    ----------
    https://keras.io/api/layers/core_layers/dense/
    """

    def __init__(self, units, activation=None, input_shape=None):
        super().__init__(activation, input_shape)
        self.units = whole("units", units)

    def build(self, shape):
        if len(shape) != 1:
            raise ValueError(
                f"Dense got input of shape {shape}; expected flat vectors (D,): add Flatten() first"
            )
        self.output_shape = (self.units,)
        self.weight_shapes = {"kernel": (shape[0], self.units), "bias": (self.units,)}

    def forward(self, x):
        if x.dtype == np.float32:
            y = self.buffers.get("y", (len(x), self.units))
            self.do(*kernels.dense(x, self.kernel, self.bias, self.relu, y))
        else:
            y = x @ self.kernel + self.bias
            if self.relu:
                y = np.maximum(y, 0)
        self.x, self.y = x, y
        return y

    def backward(self, g, wants_input_gradient=True):
        g = self._through_relu(g)
        x, dkernel, dbias = self.x[: len(g)], self.kernel_gradient, self.bias_gradient
        if g.dtype == np.float32:
            dx = self.buffers.get("dx", x.shape) if wants_input_gradient else None
            jobs = kernels.dense_gradients(x, g, self.kernel, dkernel, dbias, dx, self.workers)
            self.do(*jobs)
            return dx
        dkernel[...], dbias[...] = x.T @ g, g.sum(axis=0)
        return g @ self.kernel.T if wants_input_gradient else None


class Flatten(Layer):
    """Images to vectors, in the order (h, w, c): ``y[n, (h*W + w)*C + c] = x[n,h,w,c]``.

    Parameters
    ----------
    input_shape : tuple of int, optional
        (C, H, W) of one image; needed if this is a network's first layer.

    References
    ----------
    https://keras.io/api/layers/reshaping_layers/flatten/
    """

    def build(self, shape):
        self.shape = shape
        self.output_shape = (math.prod(shape),)

    def forward(self, x):
        return x.reshape(len(x), *self.output_shape)

    def backward(self, g, wants_input_gradient=True):
        return g.reshape(len(g), *self.shape) if wants_input_gradient else None
