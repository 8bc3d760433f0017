"""Layers: each turns an input into an output, and a gradient back into a gradient.

These lines are what the layers mean, in plain NumPy and any float dtype, and they run
whenever the compiled engine does not. Between layers images are channels last,
(N, H, W, C), and flat vectors are (N, D). A layer keeps what ``backward`` needs of its
last ``forward``. `Sequential` lays all weights of a network end to end and gives each
layer its views.

In formulas x is a layer's input, y its output, w its kernel, b its bias and g the
gradient of the loss with respect to y.
"""

import math
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from minidqn.checks import whole
from minidqn.nn.convolution import convolve, input_gradient, kernel_gradient


class Layer:
    """What every layer has. One of your own defines ``forward`` and ``backward``.

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
        Shape of one sample's output, without N, channels last; set by ``build``.
    weight_shapes : dict of str to tuple of int
        Name and shape of each weight, in the order that Keras has them. A weight "kernel"
        is the attribute ``kernel``, which can only be read; ``backward`` writes its
        gradient into ``kernel_gradient``.

    Examples
    --------
    >>> class Tanh(Layer):
    ...     def forward(self, x):
    ...         self.y = np.tanh(x)
    ...         return self.y
    ...
    ...     def backward(self, g):
    ...         return g * (1 - self.y**2)
    """

    name: str | None = None
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...]
    # A layer with weights has a dict of its own.
    weight_shapes: Mapping[str, tuple[int, ...]] = types.MappingProxyType({})

    def __init__(self, input_shape: tuple[int, ...] | None = None):
        if input_shape is not None:
            if np.shape(input_shape) not in ((1,), (3,)):
                raise ValueError(f"input_shape is {input_shape!r}; expected (C, H, W) or (D,)")
            input_shape = tuple(whole("input_shape", length) for length in input_shape)
        self.input_shape = input_shape

    def build(self, shape: tuple[int, ...]) -> None:
        """Learn the `shape` of one input sample, and set ``output_shape`` and ``weight_shapes``.

        Parameters
        ----------
        shape : tuple of int
            (H, W, C) or (D,): without N, channels last. The output has the same shape
            unless a layer says otherwise.

        Raises
        ------
        ValueError
            If this layer cannot take such input.
        """
        self.output_shape = shape

    def initial_weights(self, rng: np.random.Generator) -> dict[str, npt.ArrayLike]:
        """First values of the weights.

        Parameters
        ----------
        rng : numpy.random.Generator
            Where they are drawn from.

        Returns
        -------
        dict of str to array_like
            By name; weights that are not named start at 0.
        """
        return {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Output y of this layer.

        Parameters
        ----------
        x : ndarray [shape=(N, ...)]
            Input, in the dtype of the weights.

        Returns
        -------
        ndarray [shape=(N, ...)]
            Output, in the same dtype.
        """
        raise NotImplementedError

    def backward(self, g: np.ndarray) -> np.ndarray:
        """Gradient by the input of the last ``forward``; writes those by the weights.

        Parameters
        ----------
        g : ndarray [shape=(N, ...)]
            Gradient of the loss with respect to the output.

        Returns
        -------
        ndarray [shape=(N, ...)]
            Gradient of the loss with respect to the input.
        """
        raise NotImplementedError


class _WeightedLayer(Layer):
    """A layer with a kernel, a bias and perhaps a ReLU: what Conv2D and Dense share."""

    kernel: np.ndarray
    bias: np.ndarray
    kernel_gradient: np.ndarray
    bias_gradient: np.ndarray

    def __init__(self, activation, input_shape):
        super().__init__(input_shape)
        if activation not in (None, "linear", "relu"):
            raise ValueError(f"activation is {activation!r}; expected None, 'linear' or 'relu'")
        self.relu = activation == "relu"

    def initial_weights(self, rng: np.random.Generator) -> dict[str, npt.ArrayLike]:
        """A bias of 0 and a kernel from Glorot's uniform distribution.

        ``w ~ U(-a, a)`` with ``a = sqrt(6 / (fan_in + fan_out))``, where a fan is
        the number of inputs (outputs) that an output (input) hangs on.

        References
        ----------
        Glorot & Bengio (2010), *Understanding the difficulty of training deep
        feedforward neural networks*, equation 16.
        """
        *window, inputs, outputs = shape = self.weight_shapes["kernel"]
        a = math.sqrt(6 / (math.prod(window) * (inputs + outputs)))
        return {"kernel": rng.uniform(-a, a, shape)}

    def _activate(self, z):
        """max(0, z) if there is a ReLU; kept for the way back."""
        self.y = np.maximum(z, 0) if self.relu else z
        return self.y

    def _gate(self, g):
        """Gradient before the activation: g where y > 0, else 0 (also at the kink)."""
        return np.where(self.y > 0, g, 0) if self.relu else g


class Conv2D(_WeightedLayer):
    """Convolution over images: "valid" padding, stride 1.

    ``y[n,i,j,o] = activation(b[o] + sum over u,v,c of x[n,i+u,j+v,c] * w[u,v,c,o])``

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

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        activation: str | None = None,
        input_shape: tuple[int, ...] | None = None,
    ):
        super().__init__(activation, input_shape)
        self.filters = whole("filters", filters)
        sides: Any = kernel_size if np.ndim(kernel_size) else (kernel_size, kernel_size)
        self.kernel_size = tuple(whole("kernel_size", side) for side in sides)
        if len(self.kernel_size) != 2:
            raise ValueError(f"kernel_size is {kernel_size!r}; expected an int or a pair of ints")

    def build(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3:
            raise ValueError(f"Conv2D got input of shape {shape}; expected images (H, W, C)")
        height, width, channels = shape
        kh, kw = self.kernel_size
        if height < kh or width < kw:
            raise ValueError(f"Conv2D got {height} x {width} pixels; expected {kh} x {kw} or more")
        self.output_shape = (height - kh + 1, width - kw + 1, self.filters)
        self.weight_shapes = {"kernel": (kh, kw, channels, self.filters), "bias": (self.filters,)}

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return self._activate(convolve(x, self.kernel, self.bias))

    def backward(self, g: np.ndarray) -> np.ndarray:
        g = self._gate(g)
        self.kernel_gradient[...], self.bias_gradient[...] = kernel_gradient(self.x, g)
        return input_gradient(g, self.kernel)


class Dense(_WeightedLayer):
    """Every output a weighted sum of every input: ``y = activation(x @ w + b)``.

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

    def __init__(
        self, units: int, activation: str | None = None, input_shape: tuple[int, ...] | None = None
    ):
        super().__init__(activation, input_shape)
        self.units = whole("units", units)

    def build(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 1:
            raise ValueError(f"Dense got input of shape {shape}; expected (D,): Flatten() it")
        self.output_shape = (self.units,)
        self.weight_shapes = {"kernel": (shape[0], self.units), "bias": (self.units,)}

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return self._activate(x @ self.kernel + self.bias)

    def backward(self, g: np.ndarray) -> np.ndarray:
        g = self._gate(g)
        self.kernel_gradient[...] = self.x.T @ g
        self.bias_gradient[...] = g.sum(axis=0)
        return g @ self.kernel.T


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

    def build(self, shape: tuple[int, ...]) -> None:
        self.shape, self.output_shape = shape, (math.prod(shape),)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), *self.output_shape)

    def backward(self, g: np.ndarray) -> np.ndarray:
        return g.reshape(len(g), *self.shape)
