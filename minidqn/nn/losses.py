"""How far predictions are from their targets, as one number, and its slope."""

from typing import Protocol

import numpy as np

from minidqn.checks import number


class Loss(Protocol):
    """A loss of your own is anything with these two methods."""

    def value(self, predictions: np.ndarray, targets: np.ndarray) -> float:
        """The loss of `predictions` for their `targets`."""

    def gradient(self, predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The slope of the loss by the `predictions`, for their `targets`."""


class MeanSquaredError:
    """The mean of the squared errors, over the outputs and then over the batch.

    ``loss = 1/(N*A) * sum over n,a of (predictions[n,a] - targets[n,a])**2``

    Every sample has as many outputs as every other, so the mean of the means is
    the mean over all N*A numbers at once.

    References
    ----------
    https://keras.io/api/losses/regression_losses/#meansquarederror-class
    """

    def value(self, predictions: np.ndarray, targets: np.ndarray) -> float:
        """The loss.

        Parameters
        ----------
        predictions, targets : ndarray [shape=(N, ...)]
            What the network said and what it should have said.

        Returns
        -------
        float
            The loss, in float64 whatever the dtype of the predictions.
        """
        errors = np.subtract(predictions, targets, dtype=np.float64).reshape(-1)
        return float(errors @ errors) / errors.size

    def gradient(self, predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The slope of the loss: ``2 * (predictions - targets) / (N*A)``.

        Parameters
        ----------
        predictions, targets : ndarray [shape=(N, ...)]
            What the network said and what it should have said.

        Returns
        -------
        ndarray [shape=(N, ...)]
            Gradient of the loss with respect to the predictions, in their dtype.
        """
        errors = predictions - targets
        return errors * errors.dtype.type(2 / errors.size)


class Huber:
    """Squared errors up to `delta`, straight lines beyond: their slope never exceeds `delta`.

    ``huber(e) = e**2 / 2 if abs(e) <= delta else delta * (abs(e) - delta / 2)``

    ``loss = 1/N * sum over n,a of huber(predictions[n,a] - targets[n,a])``

    The sum is over the outputs, where Keras takes their mean: of a network of Q-values, only
    the output of the chosen action has an error, and the loss is that of this action.

    Parameters
    ----------
    delta : float
        Where the line begins.

    References
    ----------
    Huber (1964), *Robust estimation of a location parameter*. Mnih et al. (2015), Methods:
    "the error term ... to be between -1 and 1".
    """

    def __init__(self, delta: float = 1.0):
        self.delta = number("delta", delta, "(0, inf)")

    def value(self, predictions: np.ndarray, targets: np.ndarray) -> float:
        """The loss of `predictions` for their `targets`, in float64."""
        errors = np.abs(np.subtract(predictions, targets, dtype=np.float64))
        near = np.minimum(errors, self.delta)
        return float((near * (errors - near / 2)).sum()) / len(errors)

    def gradient(self, predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The slope of the loss by the `predictions`, for their `targets`, in their dtype."""
        errors = predictions - targets
        return np.clip(errors, -self.delta, self.delta) / errors.dtype.type(len(errors))


LOSSES = {"mse": MeanSquaredError, "mean_squared_error": MeanSquaredError, "huber": Huber}


def get(loss: str | Loss) -> Loss:
    """The loss that a name stands for.

    Parameters
    ----------
    loss : str or Loss
        "mse", "mean_squared_error" or "huber" in any case, or the loss itself.

    Returns
    -------
    Loss
        The loss.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(loss, str) and loss.lower() in LOSSES:
        return LOSSES[loss.lower()]()
    if hasattr(loss, "value") and hasattr(loss, "gradient") and not isinstance(loss, type):
        return loss
    raise ValueError(
        f"loss is {loss!r}; expected 'mse', 'huber' or an object with value and gradient"
    )
