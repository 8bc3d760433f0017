"""A run that nothing can lose: killed, interrupted, out of space, its files damaged."""

import dataclasses
import errno
import io
import itertools
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidqn import command, games, play, runs, storage, train
from minidqn.fruit import Fruit
from minidqn.recipe import count_weights, q_network
from minidqn.replay import Memory
from minidqn.runs import Settings, State
from tests.commands import RING, SMALL, files, names, process, refusal, started, trained

posix = pytest.mark.skipif(os.name == "nt", reason="this system has no signals, pipes or limits")
TO_60 = ["--epochs", 60, "--no-images"]
SLOW = """
import os, sys, time
from minidqn import cli, command, train
fsync, replace, learn = os.fsync, os.replace, train.learn
os.fsync = lambda file: time.sleep(0.01) or fsync(file)
os.replace = lambda *paths: (replace(*paths), time.sleep(0.01))
train.learn = lambda *rest: time.sleep(0.001) or learn(*rest)
cli.run(lambda: command.main(sys.argv[1:]))
"""


def measured(folder):
    """The lines of metrics.csv, without the seconds."""
    return [line.rsplit(",", 1)[0] for line in (folder / runs.METRICS).read_text().splitlines()]


def outcome(folder):
    """What must be the same: all weights' bytes, and the metrics but for the seconds."""
    weights = (folder / runs.WEIGHTS).read_bytes()
    kept = {path.name: data for path, data in files(folder / runs.MOMENTS).items()}
    return weights, measured(folder), kept


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What 60 epochs come to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert trained(*RING, *TO_60, "--out", folder) == 0
    return outcome(folder)


@posix
def test_a_killed_run_goes_on_as_if_nothing_had_been(uninterrupted, tmp_path, request):
    """Killed at random moments, also while it saves, and resumed until it ends."""
    kills, rng, began = 0, np.random.default_rng(7), time.perf_counter()
    process("-m", "minidqn.train", "--epochs", 1, "--no-images", "--out", tmp_path / "first")
    most = time.perf_counter() - began + 1.2  # the start alone takes seconds on a busy machine
    for attempt in itertools.count():
        folder = tmp_path / str(attempt)
        flags = [*RING, *TO_60, "--out", folder]
        while True:
            running = started("-c", SLOW, *flags, stdout=subprocess.DEVNULL)
            try:
                # Some end before they have begun, most while they learn and save.
                running.wait(rng.uniform(0.3, most))
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
                kills += 1
            else:
                assert running.returncode == 0
                break
            if (folder / runs.CHECKPOINT).exists() or (folder / runs.PREVIOUS).exists():
                flags = ["--no-images", "--checkpoint-every", 3, "--resume", folder]
            else:  # killed before there was anything to lose
                flags = [*RING, *TO_60, "--out", folder, "--overwrite"]
        assert outcome(folder) == uninterrupted
        assert not (folder / runs.LOCK).exists()
        assert list(folder.rglob(".*")) == []
        if kills >= request.config.getoption("--kills"):
            break


@posix
@pytest.mark.parametrize(
    ("number", "status", "read"),
    [(signal.SIGINT, 130, True), (signal.SIGTERM, 143, True), (signal.SIGINT, 130, False)],
)
def test_a_signal_ends_the_run_after_its_epoch(number, status, read, uninterrupted, tmp_path):
    """Also if nobody reads what it says, as Ctrl-C ends ``2>&1 | tee`` too."""
    folder = tmp_path / "a run"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = started("-c", SLOW, *RING, *TO_60, "--out", folder, **pipes)
    while not (folder / runs.METRICS).exists() or len(measured(folder)) < 10:
        time.sleep(0.01)
    if not read:
        running.stdout.close()
        running.stderr.close()
    running.send_signal(number)
    if read:
        words = r"stopped after epoch (\d+); to go on: python -m minidqn.train --resume '(.*)' "
        words += "--checkpoint-every 3 --no-images\n"
        found = re.search(words, running.communicate(timeout=60)[1])
        assert int(found[1]) == len(measured(folder)) - 1
        assert Path(found[2]) == folder
    assert running.wait(60) == status
    assert len(runs.load_latest(folder)[0].records) == len(measured(folder)) - 1
    assert trained("--resume", folder, "--no-images") == 0
    assert outcome(folder) == uninterrupted


@posix
def test_a_reader_that_goes_away_loses_nothing(tmp_path):
    """``| head``: the run ends, and goes on from where it was."""
    flags = ["--epochs", 150, "--checkpoint-every", 1000, "--out", tmp_path]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    running = started("-m", "minidqn.train", *RING, *flags, **pipes)
    running.stdout.close()
    assert running.wait(60) == 141
    assert len(runs.load_latest(tmp_path)[0].records) == 100  # when it first said something
    assert len(measured(tmp_path)) == 101


# Going on


def truncate(folder):
    """Damage the newest checkpoint."""
    newest = folder / runs.CHECKPOINT
    newest.write_bytes(newest.read_bytes()[:-100])


def interrupted(folder, place, name, *flags, when=lambda *_: True):
    """A run that goes on until a function of this name is called and, in effect, killed there."""
    real, calls = getattr(place, name), []

    def stop(*arguments, **named):
        result = real(*arguments, **named)
        if when(*arguments):
            calls.append(arguments)
            raise KeyboardInterrupt
        return result

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(place, name, stop)
        with pytest.raises(KeyboardInterrupt):
            trained(*flags, *TO_60, "--out" if flags else "--resume", folder)
    assert calls


def nothing(folder):
    """A run that has ended goes on as one that had more epochs from the start."""
    assert measured(folder)[-1].split(",")[4] != ""  # measured, as it was the last


def killed_at_once(folder):
    interrupted(folder, train, "epsilon_greedy")
    assert trained("--resume", folder, "--no-images") == 0
    assert len(measured(folder)) == 61  # how many epochs were asked for is not forgotten


def killed_between_two_names(folder):
    """In the first save after going back: a damaged file never replaces the good one."""
    truncate(folder)
    when = lambda one, other: str(other).endswith(runs.PREVIOUS)  # noqa: E731
    interrupted(folder, os, "replace", when=when)


def damaged_text(folder):
    """Metrics are written anew from the checkpoint, whatever has become of them."""
    (folder / runs.METRICS).write_bytes(b"\xff\x00,,,,\n" * 1000)
    (folder / runs.CONFIG).write_bytes(b"{")


LIMITED = """
import resource, sys
from minidqn import cli, command
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
cli.run(lambda: command.main(sys.argv[1:]))
"""


def disk_full(folder):
    """A limit that the system sets: the files of a run may have 30,000 bytes at most."""
    assert (folder / runs.CHECKPOINT).stat().st_size > 30_000
    status, _, errors = process("-c", LIMITED, "--resume", folder, *TO_60)
    assert status == 1
    assert re.fullmatch(r".*error: writing to .* failed: .*File too large.*\n", errors)


@pytest.mark.parametrize(
    "event",
    [nothing, killed_at_once, killed_between_two_names, damaged_text,
     pytest.param(disk_full, marks=posix)],
)  # fmt: skip
def test_a_run_goes_on_after(event, uninterrupted, tmp_path, capsys):
    assert trained(*RING, "--epochs", 25, "--out", tmp_path) == 0
    event(tmp_path)
    for _ in range(2):  # the second time nothing is left to do
        assert trained("--resume", tmp_path, *TO_60) == 0
        assert outcome(tmp_path) == uninterrupted
    assert runs.read_config(tmp_path)[0].epochs == 60
    words = refusal(capsys, command.main, "--resume", tmp_path, "--epochs", 30)
    assert "--epochs is 30; the run in" in words


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--grid-size", 6], "--grid-size is 6; the run in"),
        (["--seed", 3], "--seed is 3; the run in"),
        (["--batch-size", 9], "--batch-size is 9; the run in"),
        (["--gamma", 0.5], "--gamma is 0.5; the run in"),
        (["--epsilon", 0.5], "--epsilon is 0.5; the run in"),
        (["--capacity", 61], "--capacity is 61; the run in"),
        (["--eval-every", 8], "--eval-every is 8; the run in"),
        (["--learning-rate", 0.5], "--learning-rate is 0.5; the run in"),
        (["--out", "x"], "--out is for a new run"),
        (["--overwrite"], "--overwrite is for a new run"),
        (["--checkpoint-every", 0], "--checkpoint-every is 0"),
    ],
)
def test_what_contradicts_the_checkpoint_is_refused(flags, words, tmp_path, capsys):
    assert trained(*RING, "--epochs", 4, "--out", tmp_path) == 0
    before = files(tmp_path)
    assert words in refusal(capsys, command.main, "--resume", tmp_path, *flags)
    assert files(tmp_path) == before


def test_a_folder_without_a_checkpoint(tmp_path, capsys):
    nowhere = tmp_path / "nowhere"
    assert "does not exist" in refusal(capsys, command.main, "--resume", nowhere)
    assert not nowhere.exists()
    runs.write_config(tmp_path, Settings(), Fruit(10))  # of a run that was killed at once
    assert "holds no checkpoint" in refusal(capsys, command.main, "--resume", tmp_path)
    assert "holds a run already" in refusal(capsys, command.main, *RING, "--out", tmp_path)


def test_a_damaged_checkpoint_falls_back(uninterrupted, tmp_path, capsys):
    assert trained(*RING, "--epochs", 25, "--out", tmp_path) == 0
    truncate(tmp_path)
    assert trained("--resume", tmp_path, *TO_60) == 0
    said = capsys.readouterr()
    assert re.search(r"checkpoint.npz: .*; going back to checkpoint.prev.npz\n", said.err)
    assert "going on after epoch 24 of 60\n" in said.out
    assert outcome(tmp_path) == uninterrupted
    for name in (runs.CHECKPOINT, runs.PREVIOUS):
        (tmp_path / name).write_bytes(b"nothing")
    words = refusal(capsys, command.main, "--resume", tmp_path)
    assert "no checkpoint can be read; --out" in words


def test_an_epoch_that_is_made_the_last_is_measured(tmp_path, capsys):
    """As it is in a run that had so many epochs from the start."""
    short, long = tmp_path / "short", tmp_path / "long"
    assert trained(*RING, "--epochs", 24, "--out", short) == 0
    after_24 = lambda _, record: record.epoch == 25  # noqa: E731
    interrupted(long, runs.MetricsWriter, "write", *RING, when=after_24)
    assert trained("--resume", long, "--epochs", 24, "--no-images") == 0
    assert "all 24 epochs are done" in capsys.readouterr().out
    assert outcome(long) == outcome(short)


# One writer


def test_two_runs_do_not_share_a_folder(tmp_path):
    with runs.Lock(tmp_path):
        for flags in ([], ["--overwrite"]):
            status, _, errors = process("-m", "minidqn.train", *RING, "--out", tmp_path, *flags)
            assert status == 2
            assert f"process {os.getpid()} is training there" in errors
    assert not (tmp_path / runs.LOCK).exists()
    (tmp_path / runs.LOCK).write_text("999999999\n")  # of one that was killed
    assert trained(*RING, "--epochs", 2, "--out", tmp_path) == 0


@pytest.mark.parametrize("removed", ["the folder for good", "the folder", "its lock"])
def test_a_run_whose_place_is_taken_away_ends(removed, tmp_path, capsys, monkeypatch):
    """Another training may have begun there, and is left in peace."""
    folder, real = tmp_path / "run", train.epsilon_greedy

    def act(*arguments):
        if (folder / runs.LOCK).exists() and not (folder / "other").exists():
            if removed == "its lock":
                (folder / runs.LOCK).unlink()
            else:
                shutil.rmtree(folder)
            if removed != "the folder for good":
                (folder / "other").mkdir(parents=True)
                (folder / runs.LOCK).write_text("1\n")
        return real(*arguments)

    monkeypatch.setattr(train, "epsilon_greedy", act)
    flags = [*RING, "--epochs", 30, "--out", folder]
    words = refusal(capsys, command.main, *flags, status=1)
    assert re.search("error: writing to .* failed: .*the folder or its lock was removed", words)
    if removed == "the folder for good":
        assert not folder.exists()
    else:
        assert (folder / runs.LOCK).read_text() == "1\n"
        assert not (folder / runs.WEIGHTS).exists()
    if removed == "the folder":
        assert names(folder) == ["other", runs.LOCK]


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows all links")
def test_links_are_not_followed(tmp_path, capsys):
    folder, victim = tmp_path / "run", tmp_path / "victim"
    victim.write_text("precious")
    folder.mkdir()
    (folder / runs.LOCK).symlink_to(victim)
    flags = [*RING, "--epochs", 2, "--out", folder]
    assert re.search("--out .* cannot be written to: ", refusal(capsys, command.main, *flags))
    (folder / runs.LOCK).unlink()
    (folder / f".minidqn.{os.getpid()}.{runs.CHECKPOINT}").symlink_to(victim)
    assert trained(*flags) == 0
    assert victim.read_text() == "precious"


@posix
@pytest.mark.parametrize("name", [runs.CHECKPOINT, runs.CONFIG, runs.LOCK])
def test_pipes_are_not_waited_for(name, tmp_path, capsys):
    assert trained(*RING, "--epochs", 2, "--out", tmp_path) == 0
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    (tmp_path / runs.PREVIOUS).write_bytes(b"")
    shown = [play.main] if name == runs.CONFIG else [command.main, "--resume"]
    assert "is no regular file" in refusal(capsys, *shown, tmp_path)


def test_a_system_without_locks(tmp_path, capsys, monkeypatch):
    """Says so, and not that somebody else is training."""

    def fail(_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(runs, "_lock", fail)
    words = refusal(capsys, command.main, *RING, "--out", tmp_path)
    assert "cannot be written to: No locks available" in words


def test_what_killed_processes_leave_is_removed(tmp_path):
    for name in (f".minidqn.12345.{runs.CHECKPOINT}", ".minidqn.12345.game.gif"):
        (tmp_path / name).write_bytes(b"half of it")
    (tmp_path / ".mine.tmp").write_text("not the run's")
    assert trained(*RING, "--epochs", 2, "--out", tmp_path) == 0
    assert names(tmp_path, ".*") == [".mine.tmp"]
    for name in (runs.IMAGES, runs.MOMENTS):  # killed while it drew, or kept a moment
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / ".minidqn.12345.004.png").write_bytes(b"half of it")
    assert trained("--resume", tmp_path, "--no-images") == 0
    assert names(tmp_path, "**/.*") == [".mine.tmp"]


# Numbers that go wrong


@pytest.mark.parametrize(
    "flags",
    [
        ["--learning-rate", 1e30],
        # Mean squares are beyond float32 long before the losses are.
        ["--learning-rate", 30, "--grid-size", 10, "--batch-size", 32, "--checkpoint-every", 2],
    ],
)
def test_numbers_that_are_not_finite_stop_the_run(flags, tmp_path, capsys):
    flags = [*RING, "--capacity", 1000, "--epochs", 40, *flags, "--out", tmp_path]
    words = refusal(capsys, command.main, *flags, status=1)
    found = r"error: epoch \d+, update \d+: .+ is not finite \(loss .* smaller --learning-rate$"
    assert re.search(found, words.rstrip())
    state, failures = runs.load_latest(tmp_path)
    assert not failures
    assert np.isfinite(state.model.parameters).all()
    found = r"it has failed: epoch \d+, update \d+: "
    assert re.search(found, refusal(capsys, play.main, tmp_path))


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_where_it_was_first_seen(engine):
    model = q_network(5, engine=engine)
    batch = np.ones((2, 1, 5, 5)), np.ones((2, 3))
    remembered = model.named_state()
    for name, value, found in (
        ("dense_1/bias", 1, None),
        ("dense_1/bias", np.inf, "the mean_square of dense_1/bias"),  # the weight stays as it is
        ("conv2d_1/bias", np.nan, "conv2d_1/bias"),  # the weight becomes NaN, too
    ):
        remembered[f"mean_square/{name}"][0] = value
        assert model.first_not_finite(model.train_on_batch(*batch)) == found
    model.predict(batch[0])
    assert model.first_not_finite(np.nan) == "the output of conv2d_1"


def test_a_weight_that_is_not_finite_stops_the_loop():
    """Also while the losses are finite."""
    settings = Settings(grid_size=5, epochs=9, batch_size=4)
    streams = settings.streams()
    model = q_network(5, streams.weights)
    model.named_state()["mean_square/conv2d/kernel"][...] = np.nan
    with pytest.raises(train.DivergenceError, match=r"conv2d/kernel is not finite \(loss 0\."):
        list(train.training(model, settings, streams))


# The disk


@pytest.fixture
def state():
    return some_state(5)


def some_state(epochs, game="fruit"):
    settings = Settings(game, grid_size=5, epochs=9, batch_size=4, capacity=40, eval_every=2)
    streams, game = settings.streams(), games.load(game, 5)
    model, memory = q_network(rng=streams.weights, game=game), Memory(40, game.shape)
    loop = train.training(model, settings, streams, memory=memory)
    return State(settings, game, model, streams, memory, list(itertools.islice(loop, epochs)))


def same(one, other):
    """Whether two states are the same, to the last bit."""

    def parts(state):
        arrays = [*state.model.get_weights(), *state.model.named_state().values()]
        arrays += state.memory.arrays()
        generators = [stream.bit_generator.state for stream in state.streams]
        return state.settings, state.records, [a.tobytes() for a in arrays], generators

    return parts(one) == parts(other)


@pytest.mark.parametrize("epochs", [0, 1, 9])
@pytest.mark.parametrize("kind", ["fruit", "snake", "odd"])
def test_what_is_saved_is_loaded(epochs, kind, tmp_path):
    """Also frames of any numbers, and numbers below 0, as Adam remembers them."""
    state = some_state(epochs, "snake" if kind == "snake" else "fruit")
    if kind == "odd":
        frame = np.full((1, 5, 5), 0.5)
        state.memory.store((frame, 1, -0.25, frame))
        state.model.named_state()["mean_square/dense/kernel"][...] = -1
    runs.save_checkpoint(tmp_path, state)
    loaded, failures = runs.load_latest(tmp_path)
    assert same(loaded, state)
    assert failures == []


class Failing:
    """Makes the n-th call of some functions fail."""

    def __init__(self, at, code):
        self.left, self.code = at, code

    def __call__(self, function):
        def call(*arguments, **named):
            self.left -= 1
            if self.left == 0:
                raise OSError(self.code, os.strerror(self.code))
            return function(*arguments, **named)

        return call


def failing_calls(patched, failing):
    """Have the calls that a save makes counted, and one of them fail."""
    real = open

    def opened(path, mode, **named):
        failing(real)(path, mode, **named).close()

        class Written(io.FileIO):
            def write(self, data):
                return failing(super().write)(data)

        return io.BufferedWriter(Written(path, "w"), buffer_size=4096)

    patched.setattr(storage, "open", opened, raising=False)
    for name in ("fsync", "replace", "open"):
        patched.setattr(storage.os, name, failing(getattr(os, name)))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_every_system_call_of_a_save_may_fail(code, tmp_path, monkeypatch):
    """After each failure the folder holds the state before, or the new one."""
    first, old, new = some_state(1), some_state(2), some_state(4)
    for at in itertools.count(1):
        runs.save_checkpoint(tmp_path, first)
        runs.save_checkpoint(tmp_path, old)
        failing = Failing(at, code)
        with monkeypatch.context() as patched:
            failing_calls(patched, failing)
            try:
                runs.save_checkpoint(tmp_path, new)
                failed = False
            except OSError as error:
                failed = error.errno == code
        loaded, _ = runs.load_latest(tmp_path)
        assert same(loaded, old) or same(loaded, new)
        assert names(tmp_path, ".tmp*") == []
        assert failed == (failing.left <= 0)
        if not failed:  # all calls have had their turn
            assert same(loaded, new)
            break
    assert at > 30


@posix
def test_a_save_is_on_the_disk_before_it_has_its_name(state, tmp_path, monkeypatch):
    """Bytes, then names, then the folder."""
    runs.save_checkpoint(tmp_path, state)
    calls, fsync, replace = [], os.fsync, os.replace

    def flushed(file):
        calls.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        fsync(file)

    def renamed(one, other):
        calls.append(other.name)
        replace(one, other)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    runs.save_checkpoint(tmp_path, state)
    assert calls == ["file", runs.PREVIOUS, runs.CHECKPOINT, "folder"]


# Hostile files


def rewritten(path, change):
    """The checkpoint with changed contents and a checksum that fits them."""
    arrays = dict(np.load(path))
    parts = json.loads(arrays.pop("json").tobytes()) | arrays
    del parts["checksum"]
    change(parts)
    arrays = {name: part for name, part in parts.items() if isinstance(part, np.ndarray)}
    header = {name: part for name, part in parts.items() if name not in arrays}
    arrays["json"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    storage.write_arrays(path, arrays | {"checksum": runs._checksum(arrays)})


def _set(*keys, value):
    def change(place):
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def _array(name, change):
    return lambda parts: parts.update({name: change(parts[name])})


def _experience(index, value):
    return _set("memory/experiences", index, value=value)


def _rows(index, value):
    """Where S begins, S ends and S' begins, and S' ends."""
    return _experience((index, slice(3)), value)


NAN = np.float32(np.nan).view(np.int32)


def _no_experiences(parts):
    parts["memory/experiences"] = parts["memory/experiences"][:0]
    parts["memory/pixels"] = parts["memory/pixels"][:1]


FORGERIES = {
    "another format": _set("format", value=1),
    "no format": lambda parts: parts.pop("format"),
    "a list": _set("settings", value=[1]),
    "a huge grid": _set("settings", "grid_size", value=100_000),
    "a grid beyond all": _set("settings", "grid_size", value=10**30),
    "a huge capacity": _set("settings", "capacity", value=10**18),
    "more than the capacity": _set("settings", "capacity", value=10),
    "another game": _set("game", "actions", value=[1, 2]),
    "no game": lambda parts: parts.pop("game"),
    "another engine": _set("engine", value="gpu"),
    "a generator's state too large": _set("generators", "game", "state", "state", value=2**128),
    "a generator's state no number": _set("generators", "game", "state", "inc", value=None),
    "half a word too large": _set("generators", "game", "uinteger", value=2**40),
    "another generator": _set("generators", "replay", "bit_generator", value="MT19937"),
    "no generators": lambda parts: parts.pop("generators"),
    "a weight that is NaN": _set("weights/dense/bias", 0, value=np.nan),
    "a mean square that is infinite": _set("optimizer/mean_square/dense/bias", 5, value=np.inf),
    "an action that is none": _experience((0, 3), 7),
    "an action beyond int32": _experience((0, 3), 2**32 + 1),
    "a reward that is NaN": _experience((0, 4), NAN),
    "a done that is neither": _experience((0, 5), 2),
    # The first game's rows are (0, 4, 8), (4, 8, 12) and (8, 12, 16).
    "pixels before the first frame": _rows(0, (1, 4, 8)),
    "pixels behind the last frame": _experience((-1, 2), 79),
    "an S' that ends before it begins": _rows([2, 3], [(8, 12, 8), (8, 16, 20)]),
    "an S that begins in the game before": _rows(3, (15, 20, 24)),
    "rows beyond int64": _rows(3, (2**63 - 1, -(2**63), 24)),
    "pixels of no frame": _no_experiences,
    "a position twice": _array("memory/pixels", lambda old: old[[0, 0, *range(2, 80)]]),
    "a position below 0": _set("memory/pixels", (0, 0), value=-1),
    "a position outside": _set("memory/pixels", (3, 0), value=25),
    "a value that is NaN": _set("memory/pixels", (0, 1), value=NAN),
    "an epoch twice": _set("records", (1, 0), value=1),
    "a loss that is NaN": _set("records", (1, 3), value=np.nan),
    "a wrong shape": _array("weights/dense/bias", lambda array: array[:-1]),
    "a wrong type": _array("weights/dense/bias", lambda array: array.astype(float)),
    "one array less": lambda parts: parts.pop("records"),
    "one array more": _set("../../x", value=np.zeros(3)),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_checkpoints(forgery, state, tmp_path):
    runs.save_checkpoint(tmp_path, state)
    path = tmp_path / runs.CHECKPOINT
    rewritten(path, FORGERIES[forgery])
    with pytest.raises((ValueError, MemoryError)) as raised:
        runs.load_checkpoint(path)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert names(tmp_path) == [runs.CHECKPOINT]


def test_updates_that_no_optimizer_has_done(tmp_path):
    """Adam's count stands in exponents; it must be that of the records."""
    assert trained(*SMALL, "--optimizer", "adam", "--no-images", "--out", tmp_path) == 0
    path = tmp_path / runs.CHECKPOINT
    assert runs.load_checkpoint(path).model.optimizer.state["updates"] > 0
    for wrong in (-1, 2**63 - 1):
        rewritten(path, _set("optimizer/updates", value=np.array([wrong])))
        with pytest.raises(ValueError, match="optimizer/updates is not how many"):
            runs.load_checkpoint(path)


def test_a_checksum_that_does_not_fit(state, tmp_path):
    """Every number is one that a run may have, and the archive is whole."""
    runs.save_checkpoint(tmp_path, state)
    path = tmp_path / runs.CHECKPOINT
    with np.load(path) as file:
        arrays = dict(file)
    arrays["weights/dense/bias"][0] += 1
    storage.write_arrays(path, arrays)
    with pytest.raises(ValueError, match="its checksum is not that of its contents"):
        runs.load_checkpoint(path)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (_set("settings", "capacity", value=10**18), ValueError),
        (_set("game", "shape", value=[1, 6, 6]), runs.WrongGameError),
        (_set("game", value=None), runs.WrongGameError),
        (_set("settings", "game", value="fruis"), runs.WrongGameError),
    ],
)
def test_what_cannot_be_loaded_falls_back(damage, error, state, tmp_path):
    """No memory or another game is no excuse, as long as the checkpoint before is whole."""
    runs.save_checkpoint(tmp_path, state)
    runs.save_checkpoint(tmp_path, state)
    rewritten(tmp_path / runs.CHECKPOINT, damage)
    loaded, failures = runs.load_latest(tmp_path)
    assert same(loaded, state)
    assert len(failures) == 1
    rewritten(tmp_path / runs.PREVIOUS, damage)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        runs.load_latest(tmp_path)
    assert type(raised.value) is error


def test_what_a_file_says_does_not_steer_the_terminal(state, tmp_path, capsys):
    runs.save_checkpoint(tmp_path, state)
    runs.save_checkpoint(tmp_path, state)
    for name in (runs.CHECKPOINT, runs.PREVIOUS):
        rewritten(tmp_path / name, _set("format", value="\x1b]0;title\x07" * 5000))
    words = refusal(capsys, command.main, "--resume", tmp_path)
    assert words.rstrip("\n").isprintable()
    assert len(words) < 2000


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder, and two states that were saved there."""
    return tmp_path_factory.mktemp("saved"), some_state(5), some_state(8)


def saved_bytes(folder, state, name):
    """The bytes of a file of a run's folder."""
    runs.save_checkpoint(folder, state)
    state.model.save_weights(folder / runs.WEIGHTS)
    runs.write_config(folder, state.settings, Fruit(5))
    return (folder / name).read_bytes()


def damaged(data, one, other):
    """A file's bytes, damaged in ways that hypothesis chooses; parts may be another file's."""
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(one) - 1))
        end = start + data.draw(st.integers(1, 300))
        before, part, after = one[:start], one[start:end], one[end:]
        flipped = bytes([part[0] ^ 1 << data.draw(st.integers(0, 7))]) + part[1:]
        filled = bytes([data.draw(st.integers(0, 255))]) * len(part)
        puts = [b"", flipped, filled, other[start:end], 2 * part]
        put = data.draw(st.sampled_from([None, *puts]))
        one = before + (b"" if put is None else put + after) or b"x"
    return one


def damage_checkpoint(saved):
    """The right state or a clean error."""
    folder, state, other_state = saved
    one, other = (saved_bytes(folder, each, runs.CHECKPOINT) for each in (state, other_state))
    path = folder / "damaged.npz"

    def check(data):
        path.write_bytes(damaged(data, one, other))
        loaded = runs.load_checkpoint(path)
        assert same(loaded, state) or same(loaded, other_state)

    return check


def damage_weights(saved):
    """Weights that are numbers, or a clean error and the weights of before."""
    folder, state, other_state = saved
    one, other = (saved_bytes(folder, each, runs.WEIGHTS) for each in (state, other_state))
    path, model = folder / "damaged.npz", q_network(5)
    before = model.get_weights()

    def check(data):
        path.write_bytes(damaged(data, one, other))
        model.set_weights(before)
        try:
            model.load_weights(path)
        except ValueError:
            for weights, was in zip(model.get_weights(), before, strict=True):
                np.testing.assert_array_equal(weights, was)
            raise
        assert all(np.isfinite(weights).all() for weights in model.get_weights())

    return check


def damage_config(saved):
    """Settings that a run may have, or a clean error."""
    folder, state, _ = saved
    other = dataclasses.replace(state.settings, grid_size=123, learning_rate=2e-5)
    one, other = (
        saved_bytes(folder, state._replace(settings=each), runs.CONFIG)
        for each in (state.settings, other)
    )

    def check(data):
        (folder / runs.CONFIG).write_bytes(damaged(data, one, other))
        settings, *_ = runs.read_config(folder)
        assert settings == Settings(**dataclasses.asdict(settings))

    return check


LEAVES = [st.none(), st.booleans(), st.integers(), st.integers(10**9, 10**40), st.floats()]
JSON = st.recursive(
    st.one_of(*LEAVES, st.text()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def forged(data, array):
    """An array with one byte changed, of another type, or shorter."""
    kind = data.draw(st.sampled_from(["byte", "type", "shape"]))
    if kind == "shape":
        return array[: data.draw(st.integers(0, len(array)))]
    if kind == "type":
        kind = data.draw(st.sampled_from(["f8", "f4", ">f4", "i8", "u1", "i1", "c16", "S3"]))
        with np.errstate(invalid="ignore"):
            return array.astype(complex).real.astype(kind)
    array = array.copy()
    if array.size:
        bits = array.reshape(-1).view(np.uint8)
        bits[data.draw(st.integers(0, len(bits) - 1))] = data.draw(st.integers(0, 255))
    return array


def forge(data, parts):
    """Change, add or remove a part of a checkpoint: an array, or something in its header."""
    is_array = data.draw(st.booleans())
    keys = [key for key, part in parts.items() if isinstance(part, np.ndarray) == is_array]
    place, key = parts, data.draw(st.sampled_from(sorted(keys)))
    while isinstance(place[key], dict) and place[key] and data.draw(st.integers(0, 9)):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place)))
    kind = data.draw(st.integers(0, 4))
    if kind == 0:
        del place[key]
    elif kind == 1 and is_array:
        place[data.draw(st.text(st.characters(codec="ascii", exclude_characters="\0")))] = place[
            key
        ]
    else:
        place[key] = forged(data, place[key]) if is_array else data.draw(JSON)


def forge_checkpoint(saved):
    """With a checksum that fits: the very state that the file says, or a clean error."""
    folder, state, _ = saved
    path = folder / "forged.npz"
    saved_bytes(folder, state, runs.CHECKPOINT)

    def check(data):
        def change(parts):
            for _ in range(data.draw(st.integers(1, 2))):
                forge(data, parts)

        shutil.copy(folder / runs.CHECKPOINT, path)
        rewritten(path, change)
        loaded = runs.load_checkpoint(path)
        runs.save_checkpoint(folder / "again", loaded)
        with np.load(path) as forged, np.load(folder / "again" / runs.CHECKPOINT) as again:
            assert sorted(forged) == sorted(again)
            texts = [json.loads(file["json"].tobytes()) for file in (forged, again)]
            assert texts[0] == texts[1]
            for name in set(forged) - {"json", "checksum"}:
                np.testing.assert_array_equal(forged[name], again[name])

    (folder / "again").mkdir()
    return check


@pytest.mark.parametrize(
    "kind", [damage_checkpoint, damage_weights, damage_config, forge_checkpoint]
)
def test_no_file_does_harm(kind, saved, request):
    check, cases = kind(saved), request.config.getoption("--fuzz")
    refused = done = 0

    @settings(max_examples=cases, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.data())
    def damage(data):
        nonlocal refused, done
        done += 1
        try:
            check(data)
        except (ValueError, MemoryError) as error:
            refused += 1
            words = str(error)
            assert "\n" not in words
            assert len(words) < 1000

    damage()
    assert done >= cases
    assert refused > cases / 4


def claiming(path, grid_size):
    """A file of a kilobyte that says it holds the weights of a network of any size."""
    shapes = {name: weights.shape for name, weights in q_network(5).named_weights().items()}
    shapes["dense/kernel"] = (grid_size - 4) ** 2 * 16, 100
    with zipfile.ZipFile(path, "w") as archive:
        for name, shape in shapes.items():
            header = io.BytesIO()
            like = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, like)
            archive.writestr(f"{name}.npy", header.getvalue())


def test_a_kilobyte_that_claims_100_gigabytes(state, tmp_path, capsys):
    """Refused within 100 MB, as weights and as a checkpoint."""
    grid_size = 4000
    runs.write_config(tmp_path, Settings(grid_size=grid_size), Fruit(grid_size))
    claiming(tmp_path / runs.WEIGHTS, grid_size)
    runs.save_checkpoint(tmp_path, state)
    shutil.copy(tmp_path / runs.CHECKPOINT, tmp_path / runs.PREVIOUS)
    for name in (runs.CHECKPOINT, runs.PREVIOUS):
        rewritten(tmp_path / name, _set("settings", "grid_size", value=grid_size))
        rewritten(tmp_path / name, _set("game", "shape", value=[1, grid_size, grid_size]))
    assert 4 * count_weights(Fruit(grid_size)) > 100e9
    for load in (runs.load_run, runs.load_latest):
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"^\S+(weights|checkpoint)\S*: has .* expected more"):
            load(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100e6
    assert trained("--resume", tmp_path) == 2


def test_a_number_of_3501_digits(state, tmp_path):
    """No message repeats all of it."""
    runs.save_checkpoint(tmp_path, state)
    rewritten(tmp_path / runs.CHECKPOINT, _set("settings", "units", value=10**3500))
    with pytest.raises(ValueError, match=r"^\S+checkpoint.npz: has .* expected more") as raised:
        runs.load_checkpoint(tmp_path / runs.CHECKPOINT)
    assert len(str(raised.value)) < 1000


def test_arrays_in_either_order_are_read(tmp_path):
    array = np.arange(6.0).reshape(2, 3)
    np.savez(tmp_path / "a.npz", c=array, fortran=np.asfortranarray(array))
    for read in storage.read_arrays(tmp_path / "a.npz").values():
        np.testing.assert_array_equal(read, array)
        assert read.flags.c_contiguous
