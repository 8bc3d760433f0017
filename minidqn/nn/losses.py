"""How far predictions are from their targets, as one number, and its slope."""

import numpy as np


class MeanSquaredError:
    """The mean of the squared errors, over the outputs and then over the batch.

    ``loss = 1/(N*A) * sum over n,a of (predictions[n,a] - targets[n,a])**2``

    Every sample has as many outputs as every other, so the mean of the means is
    the mean over all N*A numbers at once.

    References
    ----------
    https://keras.io/api/losses/regression_losses/#meansquarederror-class
    """

    def value(self, predictions, targets):
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
        with np.errstate(invalid="ignore"):  # infinity less infinity: the loss is NaN then
            errors = np.subtract(predictions, targets, dtype=np.float64).reshape(-1)
        return float(errors @ errors) / errors.size

    def gradient(self, predictions, targets):
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


def get(loss):
    """The loss that a name stands for.

    Parameters
    ----------
    loss : str or object
        "mse" or "mean_squared_error" in any case, or an object with the methods
        ``value`` and ``gradient`` of `MeanSquaredError`.

    Returns
    -------
    object
        The loss.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(loss, str) and loss.lower() in ("mse", "mean_squared_error"):
        return MeanSquaredError()
    if hasattr(loss, "value") and hasattr(loss, "gradient") and not isinstance(loss, type):
        return loss
    raise ValueError(f"loss is {loss!r}; expected 'mse' or an object with value and gradient")
