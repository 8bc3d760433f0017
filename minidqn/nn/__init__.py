"""A small neural network library: layers, losses, optimizers, and how they fit."""

from minidqn.nn.gradcheck import GradientCheck, check_gradients
from minidqn.nn.layers import Conv2D, Dense, Flatten, Layer
from minidqn.nn.losses import Huber, MeanSquaredError
from minidqn.nn.models import Sequential
from minidqn.nn.optimizers import SGD, Adam, Optimizer, RMSprop
from minidqn.nn.pixels import Pixels

__all__ = [
    "SGD", "Adam", "Conv2D", "Dense", "Flatten", "GradientCheck", "Huber", "Layer",
    "MeanSquaredError", "Optimizer", "Pixels", "RMSprop", "Sequential", "check_gradients",
]  # fmt: skip
