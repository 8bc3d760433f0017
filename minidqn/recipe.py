"""The recipe of the network, and a run's network read back from its files."""

import contextlib
import shlex
from pathlib import Path

from minidqn import runs, storage
from minidqn.nn import Conv2D, Dense, Flatten, RMSprop, Sequential
from minidqn.runs import Settings

__all__ = ["count_weights", "load_run", "q_network", "reading_from"]


def q_network(grid_size=10, rng=None, learning_rate=0.001, engine="auto"):
    """The recipe: two convolutions, two dense layers, RMSprop, mean squared error.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, G, at least 5: each of the two 3x3 "valid"
        convolutions takes two rows and columns away.
    rng : numpy.random.Generator, optional
        Draws the first weights; fresh entropy by default.
    learning_rate : float
        RMSprop's.
    engine : str
        What computes; see ``Sequential.compile``.

    Returns
    -------
    Sequential
        Compiled; from (N, 1, G, G) to (N, 3), Q(S, a) for a = -1, 0, 1. 60,483
        weights at G = 10.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of this kind.
    """
    Settings(grid_size=grid_size)  # says why a grid is too small
    model = Sequential(rng=rng)
    model.add(Conv2D(16, 3, activation="relu", input_shape=(1, grid_size, grid_size)))
    model.add(Conv2D(16, 3, activation="relu"))
    model.add(Flatten())
    model.add(Dense(100, activation="relu"))
    model.add(Dense(3))
    model.compile(RMSprop(learning_rate), "mse", engine)
    return model


def count_weights(grid_size):
    """How many weights ``q_network(grid_size)`` has, without making it.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid, G.

    Returns
    -------
    int
        60,483 at G = 10.
    """
    convolutions = (9 * 1 + 1) * 16 + (9 * 16 + 1) * 16
    return convolutions + ((grid_size - 4) ** 2 * 16 + 1) * 100 + (100 + 1) * 3


def load_run(folder):
    """The settings and the trained network of a run.

    Parameters
    ----------
    folder : path-like
        The run's folder; nothing in it is trusted.

    Returns
    -------
    settings : Settings
        What the run was made with.
    model : Sequential
        The network, with the run's weights.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If a file is damaged or does not fit the others.
    MemoryError
        If such a network does not fit.
    """
    folder = Path(folder)
    settings = runs.read_config(folder)
    storage.require_room(folder / runs.WEIGHTS, 4 * count_weights(settings.grid_size))
    try:
        model = q_network(settings.grid_size, learning_rate=settings.learning_rate)
    except ValueError as error:  # numbers beyond what any array or float32 holds
        raise ValueError(f"{folder / runs.CONFIG}: {error}") from error
    model.load_weights(folder / runs.WEIGHTS)
    return settings, model


@contextlib.contextmanager
def reading_from(parser, folder):
    """Whatever keeps the body from reading a run, told as one line.

    Parameters
    ----------
    parser : cli.Parser
        The command's.
    folder : Path
        The run's, which the argument RUN named.
    """
    try:
        yield
    except ValueError as error:
        parser.error(error)
    except MemoryError:
        parser.error(f"RUN {folder}: its network does not fit into memory")
    except OSError as error:
        words = f"cannot read {error.filename}: {error.strerror}"
        if not folder.exists():
            words = "there is no such folder"
        elif not (folder / runs.WEIGHTS).exists() and (folder / runs.CHECKPOINT).exists():
            command = f"python -m minidqn.train --resume {shlex.quote(str(folder))}"
            words = f"it has not ended yet; {command} goes on with it"
        parser.error(f"RUN {folder}: {words}")
