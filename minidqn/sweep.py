"""Many runs at once: ``python -m minidqn.sweep``, on the cores of this machine or of a cluster.

A sweep is the product of several values of each setting, and every run of it has a folder of
its own in the sweep's. The runs go to any ``concurrent.futures.Executor``. A worker that sees
the sweep's folder writes there, now and then a checkpoint too, and goes on from the one that
it finds; any other worker sends its files back. A run's weights are written last: with them it
is done, and is not begun again.
"""

import argparse
import concurrent.futures
import contextlib
import importlib
import itertools
import json
import math
import re
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from minidqn import cli, command, games, runs, storage
from minidqn.checks import one_line, whole
from minidqn.nn.cache import seal
from minidqn.processes import Processes, WorkersError
from minidqn.runs import Record, Settings
from minidqn.train import DivergenceError

SWEEP, RESULTS = "sweep.json", "results.csv"
KEPT = (runs.CONFIG, runs.METRICS, runs.WEIGHTS)
"""Files of a run that is done, in the order in which they are written."""

CHECKPOINT_SECONDS = 20
"""Seconds between two checkpoints of a run; a shorter run makes none."""

NOT_DONE = "not done"

MOST_RUNS = 10_000


class Plan(NamedTuple):
    """What a sweep consists of.

    Attributes
    ----------
    settings : dict of str to list
        The seeds, then the values of each other setting that is not at its default; of what
        JSON can hold.
    id : str
        What a worker looks for in a folder, to know that it is the sweep's.
    runs : dict of str to Settings
        By the names of their folders all runs, for one seed after the other: more seeds are more
        runs at the end.
    """

    settings: dict[str, list]
    id: str
    runs: dict[str, Settings]

    @property
    def varying(self) -> list[str]:
        """The settings, but for the seed, of which there are several values."""
        return [n for n, values in self.settings.items() if len(values) > 1 and n != "seed"]


def in_words(value: object) -> str:
    """A setting's `value` as the command line has it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def plan(settings: Mapping[str, Iterable], id: str | None = None) -> Plan:
    """The plan of a sweep, checked.

    Parameters
    ----------
    settings : dict of str to iterable
        Values of each setting; one that is not here is at its default.
    id : str, optional
        The plan's, if it has one already.

    Returns
    -------
    Plan
        Of at most `MOST_RUNS` runs.

    Raises
    ------
    TypeError, ValueError
        If a setting is unknown, has no value or one twice, or if values do not go together.
    """
    chosen: dict[str, list] = {"seed": [0]}
    for name, values in settings.items():
        if name not in command.SETTINGS:
            raise ValueError(f"{name} is no setting; expected {', '.join(command.SETTINGS)}")
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(f"{name} is {values!r:.200}; expected several values, such as a list")
        chosen[name] = [getattr(value, "item", lambda value=value: value)() for value in values]
    if (count := math.prod(map(len, chosen.values()))) > MOST_RUNS:
        raise ValueError(f"the sweep has {count:,} runs; expected at most {MOST_RUNS:,}")
    for name, values in chosen.items():
        if len(set(map(repr, values))) < max(len(values), 1):
            raise ValueError(f"{name} is {values!r:.200}; expected different values, one or more")
    found = Plan(chosen, secrets.token_hex(8) if id is None else str(id), {})
    for values in itertools.product(*chosen.values()):
        of = dict(zip(chosen, values, strict=True))
        words = [f"{name}-{in_words(of[name])[-20:]}" for name in [*found.varying, "seed"]]
        name = re.sub(r"[^\w.]+", "-", "-".join(words)[:100], flags=re.ASCII).strip("-.")
        found.runs[f"{len(found.runs):05d}-{name}"] = Settings(**of)
    return found


def read_plan(folder: Path) -> Plan:
    """Read back the plan of a sweep, trusting nothing that it says.

    Parameters
    ----------
    folder : Path
        The sweep's.

    Returns
    -------
    Plan
        As it was written.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no such plan.
    """
    told = storage.read_json(folder / SWEEP)
    with storage.untrusted(folder / SWEEP):
        return plan(told["settings"], told["id"])


def _require_playable(found):
    """Refuse a game that cannot be loaded, and a network that does not fit it."""
    first = found.settings["seed"][0]
    for settings in (each for each in found.runs.values() if each.seed == first):
        settings.q_network(games.load(settings.game, settings.grid_size))
    played = set(found.settings.get("game", games.OWN))
    if "grid_size" in found.settings and not played & games.OWN.keys():
        raise ValueError(f"grid_size is for {' and '.join(games.OWN)}")


def _begin(folder, wanted):
    """The plan of the sweep in a folder, which is locked; the one that is wanted, if there is none.

    A sweep that is there has the same settings, and may get more seeds.
    """
    if (folder / SWEEP).exists():
        had = read_plan(folder)
        settings = json.loads(json.dumps(wanted.settings))  # tuples become lists, as in the file
        longer, seeds = had.settings | {"seed": settings["seed"]}, had.settings["seed"]
        if settings != longer or settings["seed"][: len(seeds)] != seeds:
            words = "; ".join(f"{name} {in_words(each)}" for name, each in had.settings.items())
            raise ValueError(f"holds a sweep of {words:.500}; expected a new folder, or more seeds")
        wanted = plan(longer, had.id)
    elif {p.name for p in folder.iterdir() if not p.name.startswith(".")} - {runs.LOCK}:
        raise ValueError("holds other files; expected a new folder, or that of a sweep")
    told = json.dumps({"id": wanted.id, "settings": wanted.settings})
    with storage.atomic_write(folder / SWEEP) as file:
        file.write(told.encode() + b"\n")
    return wanted


class Job(NamedTuple):
    """A run, as a worker gets it.

    Attributes
    ----------
    folder : str
        The sweep's, where that has begun.
    id : str
        The sweep's.
    name : str
        The run's.
    settings : Settings
        The run's.
    game : str
        As for ``games.load``, whatever folder a worker is in.
    """

    folder: str
    id: str
    name: str
    settings: Settings
    game: str


class Outcome(NamedTuple):
    """What has become of a run.

    Attributes
    ----------
    record : Record or None
        Its last; None if it has failed.
    error : str or None
        Why it has failed.
    files : dict of str to bytes
        Its files, by name, if the worker does not see the sweep's folder.
    """

    record: Record | None
    error: str | None = None
    files: dict[str, bytes] = {}


def work(job: Job) -> Outcome:
    """Make a run, or go on with it, in whatever process this is.

    Parameters
    ----------
    job : Job
        The run.

    Returns
    -------
    Outcome
        Of a run that has failed, too.
    """
    folder = Path(job.folder)
    try:
        with contextlib.ExitStack() as stack:
            shared = _is_shared(job)
            if not shared:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder = runs.subfolder(folder, job.name)
            folder.mkdir(exist_ok=True)
            record = _made(folder, job)
            files = () if shared else KEPT
            return Outcome(record, files={name: (folder / name).read_bytes() for name in files})
    except (OSError, ValueError, DivergenceError) as error:
        return Outcome(None, one_line(error))
    except Exception as error:  # of the game's own code
        return Outcome(None, one_line(f"{type(error).__name__}: {error}"))


def _is_shared(job):
    """Whether this process sees the sweep's folder."""
    with contextlib.suppress(OSError, ValueError):
        return storage.read_json(Path(job.folder) / SWEEP).get("id") == job.id
    return False


def _made(folder, job):
    """The last record of a run, when its files are in its folder."""
    game = games.load(job.game, job.settings.grid_size)
    with _lock(folder) as lock:
        records, _ = _records(folder, job.settings)
        if records:  # the other worker has done it
            return records[-1]
        state, saved = _state(folder, job.settings, game), time.monotonic()

        def is_due(_):
            nonlocal saved
            if due := time.monotonic() - saved >= CHECKPOINT_SECONDS:
                saved = time.monotonic()
            return due

        runs.write_config(folder, job.settings, game)
        for _ in command.kept(state, folder, lock, is_due):
            pass
        lock.require()
        state.model.save_weights(folder / runs.WEIGHTS)
        for name in (runs.CHECKPOINT, runs.PREVIOUS):
            (folder / name).unlink(missing_ok=True)
        seal()  # a worker may be killed, and then does nothing more
        return state.last


def _lock(folder):
    """The lock of a run, as soon as no worker of a sweep that was killed has it."""
    while True:
        with contextlib.suppress(BlockingIOError):
            return runs.Lock(folder)
        time.sleep(1)


def _state(folder, settings, game):
    """Where a run stands: at its last checkpoint that is whole, or at its beginning."""
    with contextlib.suppress(ValueError):
        state, failures = runs.load_latest(folder, game)
        if failures:
            runs.discard_newest(folder)
        if state.settings == settings:
            return state
    return runs.new_state(settings, game)


def sweep(
    settings: Mapping[str, Iterable], executor: Executor | None = None, out: str | Path = "sweep"
) -> list[dict]:
    """Make all runs of a sweep that are not done yet.

    Parameters
    ----------
    settings : dict of str to iterable
        Values of each setting, of which all combinations are run; one that is not here is at
        its default.
    executor : concurrent.futures.Executor, optional
        Where the runs are made; by default `Processes` on the cores of this machine. Of a
        ProcessPoolExecutor one worker that dies fails all runs that are left.
    out : path-like
        The sweep's folder: a new one, or that of a sweep of the same settings, which goes on.
        It may have more seeds now.

    Returns
    -------
    list of dict
        The rows of results.csv: what was chosen for a run, its last record but for the seconds,
        and why it has failed, if it has.

    Raises
    ------
    TypeError, ValueError
        If there is no such sweep, or the folder holds something else.
    OSError
        If the folder cannot be written to.
    WorkersError
        If the script that calls this cannot be imported by processes.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     chosen = {"seed": range(2), "gamma": [0.8, 0.95], "grid_size": [5], "epochs": [3]}
    ...     rows = sweep(chosen, concurrent.futures.ThreadPoolExecutor(1), folder)
    >>> [(row["gamma"], row["seed"], row["steps"]) for row in rows]
    [(0.8, 0, 9), (0.95, 0, 9), (0.8, 1, 9), (0.95, 1, 9)]
    """
    folder, found = Path(out), plan(settings)
    with contextlib.ExitStack() as stack:
        if executor is None:
            executor = stack.enter_context(Processes())
        _require_playable(found)
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(runs.Lock(folder))
        found = _begin(folder, found)
        for _ in outcomes(folder, jobs_left(folder, found), executor):
            pass
        return write_results(folder, found)


def jobs_left(folder: Path, found: Plan) -> list[Job]:
    """What there is to do for a sweep.

    Parameters
    ----------
    folder : Path
        The sweep's.
    found : Plan
        The sweep's.

    Returns
    -------
    list of Job
        The runs that are not done.
    """
    where, left = str(folder.resolve()), (each for each in results(folder, found) if each[3])
    return [Job(where, found.id, n, each, _from_anywhere(each.game)) for n, each, *_ in left]


def _from_anywhere(game):
    """The name of a game, the path of its file in full."""
    path, colon, name = game.rpartition(":")
    return f"{Path(path).resolve()}{colon}{name}" if Path(path).is_file() else game


def outcomes(
    folder: Path, jobs: list[Job], executor: Executor
) -> Iterator[tuple[Job, Outcome] | None]:
    """Have an executor make runs.

    Parameters
    ----------
    folder : Path
        The sweep's, locked.
    jobs : list of Job
        From `jobs_left`.
    executor : concurrent.futures.Executor
        Where the runs are made.

    Yields
    ------
    (Job, Outcome) or None
        A run that has ended, whose files are in its folder now; None once a second, for the
        caller to look around.
    """
    futures = {_submitted(executor, job): job for job in jobs}
    pending = set(futures)
    try:
        while pending:
            done, pending = concurrent.futures.wait(pending, 1, concurrent.futures.FIRST_COMPLETED)
            for future in done:
                try:
                    outcome = future.result()
                except concurrent.futures.CancelledError:  # its cluster is gone: it is not done
                    continue
                except WorkersError:
                    raise
                except Exception as error:  # the executor's, such as that of a worker that died
                    outcome = Outcome(None, one_line(f"{type(error).__name__}: {error}"))
                _keep(runs.subfolder(folder, futures[future].name), futures[future], outcome)
                yield futures[future], outcome
            if not done:
                yield None
    finally:  # also if the caller stops
        for future in pending:
            future.cancel()


def _submitted(executor, job):
    """The future of a run, also if the executor takes no more work."""
    try:
        return executor.submit(work, job)
    except concurrent.futures.BrokenExecutor as error:
        future = concurrent.futures.Future()
        future.set_exception(error)
        return future


def _keep(folder, job, outcome):
    """Write what came back of a run to its folder."""
    folder.mkdir(exist_ok=True)
    for name in KEPT if outcome.files else ():
        with storage.atomic_write(folder / name) as file:
            file.write(outcome.files[name])
    if outcome.error:
        runs.write_config(folder, job.settings, None, outcome.error)


def results(folder: Path, found: Plan) -> Iterator[tuple[str, Settings, list[Record], str | None]]:
    """What the runs of a sweep have come to, read from their folders.

    Parameters
    ----------
    folder : Path
        The sweep's; nothing in it is trusted.
    found : Plan
        The sweep's.

    Yields
    ------
    (str, Settings, list of Record, str or None)
        Of each run its name, its settings and its records, or why there are none.

    Raises
    ------
    OSError
        If a link stands where a run's folder belongs.
    """
    for name, settings in found.runs.items():
        yield name, settings, *_records(runs.subfolder(folder, name), settings)


def _records(folder, settings):
    """The records of a run that is done; of another none, and why there are none."""
    try:
        had, _, error = runs.read_config(folder)
        if had != settings:
            raise ValueError(f"{folder / runs.CONFIG}: these are not its settings")
        if error or not (folder / runs.WEIGHTS).exists():
            return [], error or NOT_DONE
        records = runs.read_metrics(folder, settings.goal)
        done = records and settings.ended(records[-1]) and records[-1].mean_return is not None
        return (records, None) if done else ([], NOT_DONE)
    except FileNotFoundError:
        return [], NOT_DONE
    except (OSError, ValueError) as error:
        return [], str(error)


def write_results(folder: Path, found: Plan) -> list[dict]:
    """Write results.csv, a line for each run.

    Parameters
    ----------
    folder : Path
        The sweep's.
    found : Plan
        The sweep's.

    Returns
    -------
    list of dict
        Its rows: what was chosen for a run, its last record but for the seconds, and why it
        has none.
    """
    names = [*found.varying, "seed"]
    fields = runs.HEADER.split(",")[:-1]
    rows = []
    for name, settings, records, error in results(folder, found):
        row = {"run": name} | {each: getattr(settings, each) for each in names}
        row |= {
            each: in_words(row[each]) for each in names if not isinstance(row[each], (int, float))
        }
        last = records[-1][:-1] if records else [None] * len(fields)
        rows.append(row | dict(zip(fields, last, strict=True)) | {"error": error})
    storage.write_csv(folder / RESULTS, rows)
    return rows


class Progress:
    """Shows how far a sweep is: one moving line on a terminal, a line for each run on a pipe.

    Parameters
    ----------
    done, total : int
        Runs.
    """

    def __init__(self, done: int, total: int):
        self.line, self.began = cli.Line(), time.perf_counter()
        self.before, self.done, self.total, self.failed = done, done, total, 0

    def show(self, job: Job | None, outcome: Outcome | None, workers: int) -> None:
        """Take note of a run that has ended.

        Parameters
        ----------
        job : Job or None
            The run; None if none has ended.
        outcome : Outcome or None
            How.
        workers : int
            How many are there to run the others.
        """
        if outcome is not None:
            self.done += 1
            self.failed += outcome.error is not None
        if not self.line.moving:
            if job is not None:
                self.line.write(f"{self.done} of {self.total}: {job.name}, {_score(outcome)}\n")
            return
        left, made = self.total - self.done, self.done - self.before
        seconds = (time.perf_counter() - self.began) / max(made, 1) * left
        time_left = f"{cli.clock(seconds)} left" if made else "-:-- left"
        running = f"{min(workers, left)} running"
        failed = f", {self.failed} failed" * (self.failed > 0)
        self.line.move(f"run {self.done}/{self.total}{failed}  {running}  {time_left}", left == 0)


def _score(outcome):
    """How well a run plays at its end."""
    if outcome.error:
        return f"failed: {outcome.error}"
    record = outcome.record
    if record.wins is None:
        return f"return {record.mean_return:.2f}"
    return f"wins {record.wins}/{record.starts}"


def _parser():
    """The command line; options that are not given are not in its result."""
    what = "Train with several values of each setting, and several seeds: many runs at once."
    how = {"description": what, "argument_default": argparse.SUPPRESS}
    parser = cli.Parser(prog=cli.as_typed("sweep"), **how)
    for name, field in command.SETTINGS.items():
        words = {"nargs": "+", "type": _reader(field), "metavar": command.letters(name)}
        parser.add_argument(command.flag(name), help=field.metadata["help"], **words)
    add = parser.add_argument
    add("--seeds", type=int, metavar="N", help="seeds 0 to N - 1")
    add("--preset", choices=command.PRESETS, help="settings that belong together")
    folder = {"type": cli.as_folder, "metavar": "FOLDER"}
    add("--out", help="folder of the sweep, where it goes on if it was stopped "
        "(default: sweeps/ and the names of the settings that vary)", **folder)  # fmt: skip
    add("--resume", help="go on with the sweep in this folder; --seeds may be more", **folder)
    add("--jobs", type=int, metavar="N", help="runs at a time (default: one for each core)")
    where = "run on a Dask cluster: the address of its scheduler, or its scheduler file"
    add("--dask", metavar="ADDRESS", help=where)
    return parser


def _reader(field):
    """What reads one of several values of a setting."""
    words = {float: "a number", bool: "true or false", tuple: "whole numbers, such as '16 16'"}

    def read(text):
        with contextlib.suppress(ValueError):
            if field.default is None and text == "none":
                return None
            if field.type is bool:
                return bool(("false", "true").index(text))
            return tuple(map(int, text.split())) if field.type is tuple else field.type(text)
        wanted = words.get(field.type, "a whole number")
        raise argparse.ArgumentTypeError(f"{text!r}; expected {wanted}")

    return read


def _asked(parser, given):
    """The folder of the sweep that is asked for, and its settings."""
    chosen = {name: given[name] for name in given if name in command.SETTINGS}
    with cli.refusing(parser, "--{}".format):
        whole("jobs", given.get("jobs", 1), 1, most=1000)
        if "seeds" in given:
            if "seed" in given:
                raise ValueError("seeds and --seed both choose seeds; expected one of them")
            chosen["seed"] = range(whole("seeds", given["seeds"], 1, MOST_RUNS))
    if "resume" in given:
        return given["resume"], _resumed(parser, given, chosen)
    if {"epochs", "steps"} <= given.keys():
        parser.error("--epochs and --steps both say when a run ends; expected one of them")
    first = {name: values[0] for name, values in chosen.items()}
    beneath = command.preset(first | {name: given[name] for name in ("preset",) if name in given})
    chosen = {n: [v] for n, v in beneath.items() if n in command.SETTINGS} | chosen
    varying = [name for name, values in chosen.items() if len(values) > 1 and name != "seed"]
    return given.get("out", Path("sweeps", "-".join(varying) or "seeds")), chosen


def _resumed(parser, given, chosen):
    """The settings of the sweep in a folder, with more seeds if they are chosen."""
    folder = given["resume"]
    for name in ("out", "preset", *chosen):
        if name in given and name not in ("seed", "game"):
            flag = command.flag(name)
            parser.error(f"{flag} is for a new sweep; --resume goes on with the old one")
    with cli.refusing(parser, f"--resume {folder}: {{}}".format):
        try:
            settings = read_plan(folder).settings
        except OSError as error:
            raise ValueError(f"it holds no sweep: {error.strerror}") from error
        played = settings.get("game", ["fruit"])
        said = " ".join(one_line(game, 200) for game in played)
        if chosen.get("game", played) != played:
            raise ValueError(f"it plays {said}; expected no other --game")
        if "game" not in chosen and not games.OWN.keys() >= set(played):  # a file would be run
            raise ValueError(f"it plays {said}, and only goes on if you say so: --game {said}")
    return settings | {"seed": chosen.get("seed", settings["seed"])}


def _executor(parser, given, stack):
    """An executor, and a function that says how many runs it makes at a time."""
    if "dask" not in given:
        executor = stack.enter_context(Processes(given.get("jobs")))
        return executor, lambda: executor.jobs
    if "jobs" in given:
        parser.error("--jobs is for this machine; a Dask cluster has as many as its workers")
    with cli.refusing(parser, f"--dask {given['dask']}: {{}}".format):
        cluster = importlib.import_module("minidqn.dask").cluster
        return stack.enter_context(cluster(given["dask"]))


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0; 1 if a run has failed or was not made; 130 or 143 after a signal.

    Raises
    ------
    SystemExit
        With status 2 for arguments that cannot be; with 1 if files could not be written.
    """
    began = time.perf_counter()
    parser = _parser()
    given = vars(parser.parse_args(argv))
    folder, settings = _asked(parser, given)
    with contextlib.ExitStack() as stack:
        signals = command.signals_to_stop(stack)
        with cli.refusing(parser, command.as_flags):
            wanted = plan(settings)
            try:
                _require_playable(wanted)
            except MemoryError:
                raise ValueError("a network of these settings does not fit into memory") from None
        executor, workers = _executor(parser, given, stack)
        flag = "--resume" if "resume" in given else "--out" if "out" in given else "without --out:"
        with cli.writing_to(parser, flag, folder):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(runs.Lock(folder))
            with cli.refusing(parser, f"{flag} {folder} {{}}".format):
                found = _begin(folder, wanted)
            jobs = jobs_left(folder, found)
        with cli.announce_compilation():
            for optimizer in found.settings.get("optimizer", ["rmsprop"]):
                command.warm_up("auto", optimizer)
        total = len(found.runs)
        progress = Progress(total - len(jobs), total)
        try:
            for ended in outcomes(folder, jobs, executor):
                job, outcome = ended or (None, None)
                progress.show(job, outcome, workers())
                if signals:
                    break
            rows = write_results(folder, found)
        except BrokenPipeError:  # of the progress: nobody reads it any more
            raise
        except OSError as error:
            parser.error(f"writing to {folder} failed: {error}", 1)
    left = sum(row["error"] == NOT_DONE for row in rows)
    failed = [row for row in rows if row["error"] not in (None, NOT_DONE)]
    for row in failed:
        cli.tell(f"{row['run']} failed: {row['error']}")
    if left:
        words = ["--resume", str(folder)]
        for name in sorted({"game", "jobs", "dask"} & given.keys()):
            values = given[name] if name == "game" else [given[name]]
            words += [f"--{name}", *map(str, values)]
        go_on = cli.as_typed("sweep", *words)
        cli.tell(f"stopped after {total - left} of {total} runs; to go on: {go_on}")
        return 128 + signals[0] if signals else 1
    print(f"{total} runs, {len(failed)} failed, in {time.perf_counter() - began:.1f} s")
    print(f"results: {folder / RESULTS}")
    print(f"to compare them: {cli.as_typed('compare', folder)}")
    return 1 if failed else 0


if __name__ == "__main__":
    # Workers look for `work` under this name.
    cli.run(importlib.import_module("minidqn.sweep").main)
