"""A small neural network library: layers, losses, optimizers, and how they fit."""

from minidqn.nn.gradcheck import GradientCheck, check_gradients
from minidqn.nn.layers import Conv2D, Dense, Flatten
from minidqn.nn.losses import MeanSquaredError
from minidqn.nn.models import Sequential
from minidqn.nn.optimizers import SGD, RMSprop

__all__ = [
    "SGD",
    "Conv2D",
    "Dense",
    "Flatten",
    "GradientCheck",
    "MeanSquaredError",
    "RMSprop",
    "Sequential",
    "check_gradients",
]
