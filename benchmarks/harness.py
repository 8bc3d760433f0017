"""What all benchmarks share: contestants, fair processes, interleaved timing, tables.

A benchmark runs its measurements in child processes that are held to as many
cores as the job has threads, with every library's own threads limited to the
same number, since some of them can only be told so before they are imported.
This package always runs on one. In a child all contestants take turns, so that a
machine that slows down slows down for all; ratios are only ever taken within one
child.
"""

import argparse
import csv
import dataclasses
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CHILD = "--in-child"
REST = 0.008
"""Seconds before a turn, in which threads of the one before stop looking for work. They
are spent busy: a process that sleeps may find all its threads on one core afterwards."""
TURN, LONG = 5, 0.02
"""How often a job is timed in its turn, since steps follow one another when a network
learns too; once only if it takes so many seconds."""
GENERATOR = np.random.default_rng(0)


class Contestant:
    """What every version is asked for; the same job, whatever computes it."""

    def learn(self, batch):
        """One learning step on a batch of experiences.

        Parameters
        ----------
        batch : minidqn.replay.Batch
            Experiences, at least one. Its states may be `Pixels`, of which a framework
            makes an array.

        Returns
        -------
        float
            The loss before the update.
        """
        raise NotImplementedError

    def predict(self, states):
        """Q(S, a) of any number of states.

        Parameters
        ----------
        states : ndarray [shape=(N, 1, G, G)]
            Frames.

        Returns
        -------
        ndarray [shape=(N, 3)]
            A new array, in the dtype of the weights.
        """
        raise NotImplementedError

    def act(self, state):
        """The best known action.

        Parameters
        ----------
        state : ndarray [shape=(1, G, G)]
            One frame.

        Returns
        -------
        int
            -1, 0 or 1.
        """
        raise NotImplementedError

    def train_on_batch(self, states, targets):
        """One update towards given targets.

        Parameters
        ----------
        states : ndarray [shape=(N, 1, G, G)]
            Frames.
        targets : ndarray [shape=(N, 3)]
            What the network should have said.

        Returns
        -------
        float
            The mean squared error before the update.
        """
        raise NotImplementedError

    def get_weights(self):
        """Copies of all weights.

        Returns
        -------
        list of ndarray
            [kernel, bias, kernel, bias, ...], shaped and laid out as minidqn's.
        """
        raise NotImplementedError


class MiniDQN(Contestant):
    """This package, behind the contestants' interface."""

    name = "minidqn"

    def __init__(self, weights, grid_size, learning_rate=1e-3, gamma=0.8):
        from minidqn.qlearning import epsilon_greedy, learn
        from minidqn.recipe import q_network

        self.model = q_network(grid_size, learning_rate=learning_rate)
        self.model.set_weights(weights)
        self.gamma = gamma
        self.predict, self.train_on_batch = self.model.predict, self.model.train_on_batch
        self.get_weights = self.model.get_weights
        self._learn, self._epsilon_greedy = learn, epsilon_greedy

    def learn(self, batch):
        return self._learn(self.model, batch, self.gamma)

    def act(self, state):
        return self._epsilon_greedy(self.model, state, 0.0, GENERATOR)


# Label, module, class, keyword arguments; the first one is the reference of all ratios.
CONTESTANTS = (
    ("minidqn", "benchmarks.harness", "MiniDQN", {}),
    ("torch eager", "benchmarks.torch_dqn", "TorchDQN", {"mode": "eager"}),
    ("torch channels-last", "benchmarks.torch_dqn", "TorchDQN", {"mode": "channels-last"}),
    ("torch.compile", "benchmarks.torch_dqn", "TorchDQN", {"mode": "compile"}),
    ("jax", "benchmarks.jax_dqn", "JaxDQN", {}),
    ("keras", "benchmarks.keras_dqn", "KerasDQN", {}),
    ("keras, one by one", "benchmarks.keras_literal", "KerasLiteral", {}),
)


def contestants(labels, weights, grid_size, threads):
    """The contestants of these labels that are installed, and why the others are not.

    Parameters
    ----------
    labels : list of str
        From `CONTESTANTS`.
    weights : list of ndarray
        What they start from.
    grid_size : int
        Rows and columns of the grid.
    threads : int
        Those of a framework that can be told.

    Returns
    -------
    present : dict of str to object
        By label.
    absent : dict of str to str
        The reason, by label.
    """
    present, absent = {}, {}
    for label, module, name, options in CONTESTANTS:
        if label not in labels:
            continue
        if name == "TorchDQN":
            options = {**options, "threads": threads}
        try:
            make = getattr(importlib.import_module(module), name)
            present[label] = make(weights, grid_size, **options)
        except ImportError as error:
            absent[label] = f"not installed: {error.name or error}"
    return present, absent


def take_turns(jobs, rounds, warm_up=3, seconds=60.0):
    """Time jobs one after the other, over and over.

    Parameters
    ----------
    jobs : dict of str to callable
        Each takes the number of the round.
    rounds : int
        How many turns each gets, at most.
    warm_up : int
        Rounds that come first and do not count.
    seconds : float
        After which no more rounds begin, as soon as there are five.

    Returns
    -------
    dict of str to dict
        For each job "min" and "median" seconds, "times" it was timed, and "cores",
        processor time over wall time: 1 if it kept to one core.
    """
    times = {label: [] for label in jobs}
    spent = dict.fromkeys(jobs, 0.0)
    for number in range(warm_up):
        for job in jobs.values():
            job(number)
    began = time.perf_counter()
    for number in range(rounds):
        if number >= 5 and time.perf_counter() - began > seconds:
            break
        for label, job in jobs.items():
            rested = time.perf_counter() + REST
            while time.perf_counter() < rested:
                pass
            wall = time.perf_counter()
            job(number)  # does not count: it brings the job's data back into the caches
            turns = 1 if time.perf_counter() - wall > LONG else TURN
            for turn in range(turns):
                cpu, wall = time.process_time(), time.perf_counter()
                job(number + turn)
                times[label].append(time.perf_counter() - wall)
                spent[label] += time.process_time() - cpu
    return {
        label: {
            "min": min(taken),
            "median": sorted(taken)[len(taken) // 2],
            "times": len(taken),
            "cores": spent[label] / sum(taken),
        }
        for label, taken in times.items()
    }


def first_weights(grid_size):
    """What all contestants start from, a list of ndarray."""
    from minidqn.recipe import q_network

    return q_network(grid_size, np.random.default_rng(0)).get_weights()


def noise(grid_size, share, rng):
    """A game of random frames, as long as one of Fruit.

    Each cell is on with the probability `share`, at a value uniform in (0, 1].
    """
    for step in range(grid_size - 1):
        on = rng.random((1, grid_size, grid_size)) < share
        frame = np.where(on, 1 - rng.random(on.shape, np.float32), np.float32(0))
        yield frame, int(step == grid_size - 2)


def experiences(grid_size, rng, share=None):
    """Experiences of games played at random, without end.

    Parameters
    ----------
    grid_size : int
        Rows and columns of the grid.
    rng : numpy.random.Generator
        Draws games and actions.
    share : float, optional
        Of the cells that are on in a random frame; by default the game is Fruit.

    Yields
    ------
    (ndarray, int, int, ndarray)
        S, action, reward, S_prime.
    """
    from minidqn.fruit import episode

    while True:
        ep = episode(grid_size, rng) if share is None else noise(grid_size, share, rng)
        S, reward = next(ep)
        while reward == 0:
            action = int(rng.integers(-1, 2))
            S_prime, reward = ep.send(action)
            yield S, action, reward, S_prime
            S = S_prime


def played_batches(grid_size, batch_size, count, share=None):
    """Batches of such experiences from the memory that training uses, one after each game."""
    from minidqn.replay import experience_replay

    rng = np.random.default_rng(0)
    replay = experience_replay(batch_size, rng=rng)
    next(replay)
    games, batches = experiences(grid_size, rng, share), []
    while len(batches) < count:
        experience = next(games)
        batch = replay.send(experience)
        if batch is not None and experience[2] != 0:
            batches.append(batch)
    return batches


def as_arrays(batch):
    """The same batch with arrays of states, as a framework takes them."""
    states, next_states = np.asarray(batch.states), np.asarray(batch.next_states)
    return dataclasses.replace(batch, states=states, next_states=next_states)


def in_child(module, job, threads=1, **environment):
    """Run ``module.measure(job)`` in a process held to so many cores; what it returned.

    Parameters
    ----------
    module : str
        A benchmark, such as "benchmarks.step".
    job : dict
        What to do; JSON.
    threads : int
        Cores and threads.
    environment : str
        Variables to set, such as KERAS_BACKEND.
    """
    variables = {name: str(threads) for name in THREAD_VARIABLES} | environment
    command = [sys.executable, "-m", module, CHILD, json.dumps(job | {"threads": threads})]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | variables | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(description, measure, report, add_flags=None):
    """The command line of a benchmark: parent and child.

    Parameters
    ----------
    description : str
        For --help.
    measure : callable
        In a child: from a job to a result, both JSON.
    report : callable
        In the parent: from the arguments; calls `in_child`.
    add_flags : callable, optional
        Adds to the parser.
    """
    if CHILD in sys.argv:
        job = json.loads(sys.argv[-1])
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))[: job["threads"]]
            os.sched_setaffinity(0, cores)
        print(json.dumps(measure(job)))
        return
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a few rounds, to see that it runs")
    if add_flags is not None:
        add_flags(parser)
    arguments = parser.parse_args()
    if arguments.quick:  # a look does not replace what the documentation shows
        global RESULTS
        RESULTS = RESULTS / "quick"
    print(machine())
    report(arguments)


def machine():
    """The machine, the versions and the day, in two lines."""
    from importlib.metadata import PackageNotFoundError, version

    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    versions = [f"Python {platform.python_version()}"]
    for package in ("numpy", "numba", "torch", "jax", "keras"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    day = datetime.date.today().isoformat()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, {day}\n{', '.join(versions)}"


def write_csv(name, rows):
    """Write rows, dicts with the same keys, to results/NAME.csv."""
    from minidqn import storage

    RESULTS.mkdir(parents=True, exist_ok=True)
    storage.write_csv(RESULTS / f"{name}.csv", rows)


def read_csv(name):
    """The rows of results/NAME.csv: a list of dicts of str."""
    with open(RESULTS / f"{name}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(name, rows):
    """Print rows as a Markdown table, and write it to results/NAME.md below the machine."""
    heads = list(rows[0])
    lines = [f"| {' | '.join(heads)} |", f"|{'|'.join('---' for _ in heads)}|"]
    lines += [f"| {' | '.join(str(row[head]) for head in heads)} |" for row in rows]
    text = "\n".join(lines)
    print(text, flush=True)
    if any(float(row.get("cores", 1)) < 0.95 for row in rows):  # long jobs lose most by that
        print('"cores" below 0.95: other programs ran, and ratios are wrong; measure again')
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.md").write_text(f"{machine()}\n\n{text}\n", encoding="utf-8")
