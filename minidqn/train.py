"""Training: the recipe of the network, the loop, and ``python -m minidqn.train``."""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

from minidqn import cli, runs
from minidqn.checks import whole
from minidqn.evaluate import q_error, recorded_games, wins
from minidqn.fruit import episode
from minidqn.nn import Conv2D, Dense, Flatten, RMSprop, Sequential
from minidqn.nn.threads import available_cores
from minidqn.qlearning import epsilon_greedy, learn
from minidqn.replay import experience_replay
from minidqn.runs import Record, Settings

__all__ = ["TEST_GAMES", "main", "play_test_games", "q_network", "save_pictures", "training"]

TEST_GAMES = 10
"""Games that are played and drawn after the training."""


def q_network(grid_size=10, rng=None, learning_rate=0.001, threads=None):
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
    threads : int, optional
        How many threads share a batch; one a core by default.

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
    model = Sequential(rng=rng, threads=threads)
    model.add(Conv2D(16, 3, activation="relu", input_shape=(1, grid_size, grid_size)))
    model.add(Conv2D(16, 3, activation="relu"))
    model.add(Flatten())
    model.add(Dense(100, activation="relu"))
    model.add(Dense(3))
    model.compile(RMSprop(learning_rate), "mse")
    return model


def training(model, settings, streams):
    """The loop, as a generator that yields one record an epoch.

    Each epoch is one episode; after each step one experience goes into the
    memory, and as soon as that can fill a batch, one learning step follows. The
    caller may stop after any record, and `model` is what the records say.

    Parameters
    ----------
    model : object
        Anything with ``predict`` and ``train_on_batch``; it is changed.
    settings : Settings
        Of which seed and learning_rate are not used here.
    streams : Streams
        Of which game, exploration and replay are drawn from.

    Yields
    ------
    Record
        After each epoch. Wins and q_error are measured every ``eval_every``
        epochs and after the last.
    """
    grid_size, epochs = settings.grid_size, settings.epochs
    replay = experience_replay(settings.batch_size, settings.capacity, streams.replay)
    next(replay)
    began = time.perf_counter()
    steps = updates = 0
    for epoch in range(1, epochs + 1):
        loss, reward = 0.0, 0
        ep = episode(grid_size, streams.game)
        S, _ = next(ep)
        while reward == 0:
            action = epsilon_greedy(model, S, settings.epsilon, streams.exploration)
            S_prime, reward = ep.send(action)
            batch = replay.send((S, action, reward, S_prime))
            S = S_prime
            steps += 1
            if batch is not None:
                loss += learn(model, batch, settings.gamma)
                updates += 1
        won = error = None
        if epoch % settings.eval_every == 0 or epoch == epochs:
            won = int(wins(model, grid_size).sum())
            error = q_error(model, grid_size, settings.gamma)
        seconds = time.perf_counter() - began
        starts = grid_size * (grid_size - 2)
        yield Record(epoch, steps, updates, loss, won, starts, error, seconds)


def save_pictures(model, settings, folder, games=TEST_GAMES):
    """Play the run's test games greedily, and save their frames and an animation.

    The games start where the run's ``test`` stream says, so they are the same
    each time.

    Parameters
    ----------
    model : object
        Anything with ``predict``.
    settings : Settings
        The run's.
    folder : Path
        Where images/000.png, images/001.png, ... and game.gif go.
    games : int
        How many.

    Returns
    -------
    list of (list of ndarray, int)
        Each game's frames and its last reward.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    from minidqn.images import save_gif, save_img

    played = play_test_games(model, settings, games)
    runs.remove_images(folder)
    saver = save_img(folder / runs.IMAGES)
    next(saver)
    for frames, _ in played:
        for frame in frames:
            saver.send(frame)
    save_gif(folder / runs.GIF, [frames for frames, _ in played])
    return played


def play_test_games(model, settings, games=TEST_GAMES):
    """The run's test games, played greedily.

    Parameters
    ----------
    model : object
        Anything with ``predict``.
    settings : Settings
        The run's.
    games : int
        How many.

    Returns
    -------
    list of (list of ndarray, int)
        Each game's frames and its last reward.
    """
    rng = settings.streams().test
    return recorded_games(model, [episode(settings.grid_size, rng) for _ in range(games)])


def _parser():
    """The command line of ``python -m minidqn.train``."""
    parser = cli.Parser(
        prog="python -m minidqn.train",
        description="Train a network to catch falling fruit; see it learn, and keep the run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = Settings()
    for flag, kind, text in (
        ("grid-size", int, "rows and columns of the grid, in cells"),
        ("epochs", int, "episodes to play, one an epoch"),
        ("batch-size", int, "experiences in a learning step"),
        ("epsilon", float, "share of random actions, 0 to 1"),
        ("gamma", float, "discount factor of a step, 0 to below 1"),
        ("learning-rate", float, "RMSprop's step length"),
        ("capacity", int, "experiences that the replay memory keeps"),
        ("seed", int, "number that all randomness comes from"),
        ("eval-every", int, "epochs from one evaluation to the next"),
    ):
        value = getattr(default, flag.replace("-", "_"))
        metavar = "N" if kind is int else "X"
        parser.add_argument(f"--{flag}", type=kind, default=value, metavar=metavar, help=text)
    parser.add_argument(
        "--out", type=runs.as_folder, default=Path("runs/fruit"), metavar="FOLDER",
        help="folder that the run is kept in",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=int, default=available_cores(), metavar="N",
        help="threads that share a batch; the results do not depend on it",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    parser.add_argument("--no-images", action="store_true", help="draw no pictures")
    return parser


def _as_flags(error):
    """An error about settings, in the words of the command line."""
    words = str(error)
    for field in dataclasses.fields(Settings):
        if words.startswith(f"{field.name} is "):
            words = words.replace(field.name, f"--{field.name.replace('_', '-')}", 1)
    return words


def _prepare(parser, arguments):
    """Settings, streams, network and folder of a run; ends the command if it cannot be."""
    options = vars(arguments).copy()
    folder = options.pop("out")
    overwrite, draws = options.pop("overwrite"), not options.pop("no_images")
    threads = options.pop("threads")
    try:
        whole("--threads", threads)
        settings = Settings(**options)
    except (TypeError, ValueError) as error:
        parser.error(_as_flags(error))
    if runs.holds_run(folder) and not overwrite:
        parser.error(f"--out {folder} holds a run already; use --overwrite to replace it")
    grid_size, capacity = settings.grid_size, settings.capacity
    streams = settings.streams()
    try:
        np.empty((2, capacity, grid_size, grid_size), np.uint8)  # room for the memory's frames
        model = q_network(grid_size, streams.weights, settings.learning_rate, threads)
        with cli.announce_compilation():
            warm_up(grid_size)
    except (MemoryError, ValueError, OverflowError) as error:
        if "learning_rate" in str(error):  # too small or too large for float32
            parser.error(_as_flags(error))
        parser.error(f"--grid-size {grid_size} and --capacity {capacity} do not fit into memory")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if draws:
            (folder / runs.IMAGES).mkdir(exist_ok=True)
        runs.clear(folder)
        runs.write_config(folder, settings)
    except OSError as error:
        parser.error(f"--out {folder} cannot be written to: {error.strerror}")
    return settings, streams, model, folder


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0, or 1 if the run's files could not be written to the end.
    """
    began = time.perf_counter()
    parser = _parser()
    arguments = parser.parse_args(argv)
    settings, streams, model, folder = _prepare(parser, arguments)
    try:
        record = _train_and_save(model, settings, streams, folder, not arguments.no_images)
    except BrokenPipeError:
        raise
    except (OSError, MemoryError) as error:
        print(f"{parser.prog}: error: writing to {folder} failed: {error}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - began
    print(
        f"{record.wins} of {record.starts} starts won, "
        f"mean |Q - Q*| {record.q_error:.3f}, in {seconds:.1f} s"
    )
    if arguments.no_images:
        print(f"weights and metrics: {folder}")
    else:
        print(f"pictures: {folder / runs.GIF}, {folder / runs.CURVE}, {folder / runs.IMAGES}")
    return 0


def warm_up(grid_size):
    """Have every kernel compiled, or loaded, before the clock starts.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid.
    """
    model = q_network(grid_size)
    states = np.zeros((8 * available_cores(), *model.input_shape), np.float32)
    model.train_on_batch(states, model.predict(states))


def _train_and_save(model, settings, streams, folder, draws):
    """Run the loop to its end, and put everything into the folder; the last record."""
    records = []
    progress = cli.Progress(settings.epochs)
    with runs.MetricsWriter(folder) as metrics:
        for record in training(model, settings, streams):
            records.append(record)
            metrics.write(record)
            progress.show(record)
    model.save_weights(folder / runs.WEIGHTS)
    if draws:
        from minidqn.images import save_curve

        save_pictures(model, settings, folder)
        save_curve(folder / runs.CURVE, records)
    return records[-1]


if __name__ == "__main__":
    cli.run(main)
