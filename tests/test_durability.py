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
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidqn import command as training
from minidqn import play, runs, storage, train
from minidqn.fruit import Fruit
from minidqn.recipe import count_weights, q_network
from minidqn.replay import Memory
from minidqn.runs import Settings, State

ROOT = Path(__file__).parent.parent
SMALL = ["--grid-size", "5", "--batch-size", "8", "--eval-every", "7", "--no-images"]
SMALL += ["--capacity", "60", "--checkpoint-every", "3"]  # the ring wraps round
SLOW = (
    "import os, sys, time\n"
    "from minidqn import cli, command, train\n"
    "fsync, replace, learn = os.fsync, os.replace, train.learn\n"
    "os.fsync = lambda file: time.sleep(0.01) or fsync(file)\n"
    "os.replace = lambda *paths: (replace(*paths), time.sleep(0.01))\n"
    "train.learn = lambda *rest: time.sleep(0.001) or learn(*rest)\n"
    "cli.run(lambda: command.main(sys.argv[1:]))\n"
)


def command(*arguments, slow=False):
    """A training in a process of its own, perhaps slowed down by a hook."""
    how = ["-c", SLOW] if slow else ["-m", "minidqn.train"]
    return [sys.executable, *how, *map(str, arguments)]


def trained(*arguments):
    """A training in this process; its exit status."""
    try:
        return training.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return ended.code


def outcome(folder):
    """What must be the same: all weights' bytes, and the metrics but for the seconds."""
    lines = (folder / runs.METRICS).read_text().splitlines()
    kept = {path.name: path.read_bytes() for path in sorted((folder / runs.MOMENTS).iterdir())}
    measured = [line.rsplit(",", 1)[0] for line in lines]
    return (folder / runs.WEIGHTS).read_bytes(), measured, kept


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What 60 epochs come to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert trained(*SMALL, "--epochs", 60, "--out", folder) == 0
    return outcome(folder)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_goes_on_as_if_nothing_had_been(uninterrupted, tmp_path, request):
    """Killed at random moments, also while it saves, and resumed until it ends."""
    kills, rng, began = 0, np.random.default_rng(7), time.perf_counter()
    first = command("--epochs", 1, "--no-images", "--out", tmp_path / "first")
    subprocess.run(first, cwd=ROOT, check=True)
    most = time.perf_counter() - began + 1.2  # the start alone takes seconds on a busy machine
    for attempt in itertools.count():
        folder = tmp_path / str(attempt)
        arguments = [*SMALL, "--epochs", 60, "--out", folder]
        while True:
            process = subprocess.Popen(
                command(*arguments, slow=True), cwd=ROOT, stdout=subprocess.DEVNULL
            )
            try:
                # Some end before they have begun, most while they learn and save.
                process.wait(rng.uniform(0.3, most))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
            else:
                assert process.returncode == 0
                break
            if (folder / runs.CHECKPOINT).exists() or (folder / runs.PREVIOUS).exists():
                arguments = ["--no-images", "--checkpoint-every", 3, "--resume", folder]
            else:  # killed before there was anything to lose
                arguments = [*SMALL, "--epochs", 60, "--out", folder, "--overwrite"]
        assert outcome(folder) == uninterrupted
        assert not (folder / runs.LOCK).exists()
        assert [path.name for path in folder.rglob(".*")] == []
        if kills >= request.config.getoption("--kills"):
            break


@pytest.mark.skipif(os.name == "nt", reason="this system has no signals to send")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_after_its_epoch(number, status, uninterrupted, tmp_path):
    folder = tmp_path / "a run"
    slow = command(*SMALL, "--epochs", 60, "--out", folder, slow=True)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(slow, cwd=ROOT, **pipes)
    while not (folder / runs.METRICS).exists() or len(_lines(folder)) < 10:
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    words = r"stopped after epoch (\d+); to go on: python -m minidqn.train --resume '(.*)' "
    words += "--checkpoint-every 3 --no-images\n"
    found = re.search(words, errors)
    assert found, errors
    assert int(found[1]) == len(_lines(folder)) - 1
    assert Path(found[2]) == folder
    assert trained("--resume", folder, "--no-images") == 0
    assert outcome(folder) == uninterrupted


def _lines(folder):
    return (folder / runs.METRICS).read_text().splitlines()


def test_more_epochs(uninterrupted, tmp_path, capsys):
    """A run that has ended goes on, as one would have that had been longer from the start."""
    assert trained(*SMALL, "--epochs", 25, "--out", tmp_path) == 0
    assert _lines(tmp_path)[-1].split(",")[4] != ""  # measured, as it was the last
    capsys.readouterr()
    assert trained("--resume", tmp_path, "--epochs", 60, "--no-images") == 0
    assert outcome(tmp_path) == uninterrupted
    assert runs.read_config(tmp_path)[0].epochs == 60
    assert trained("--resume", tmp_path, "--no-images") == 0  # nothing is left to do
    assert outcome(tmp_path) == uninterrupted
    assert trained("--resume", tmp_path, "--epochs", 30) == 2
    assert "--epochs is 30; the run in" in capsys.readouterr().err


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
    assert trained(*SMALL, "--epochs", 4, "--out", tmp_path) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert trained("--resume", tmp_path, *flags) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_a_folder_without_a_checkpoint(tmp_path, capsys):
    assert trained("--resume", tmp_path / "nowhere") == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
    assert trained("--resume", tmp_path) == 2
    assert "holds no checkpoint" in capsys.readouterr().err


def test_a_damaged_checkpoint_falls_back(uninterrupted, tmp_path, capsys):
    assert trained(*SMALL, "--epochs", 25, "--out", tmp_path) == 0
    newest = tmp_path / runs.CHECKPOINT
    newest.write_bytes(newest.read_bytes()[:-100])
    assert trained("--resume", tmp_path, "--epochs", 60, "--no-images") == 0
    said = capsys.readouterr()
    assert re.search(r"checkpoint.npz: .*; going back to checkpoint.prev.npz\n", said.err)
    assert "going on after epoch 24 of 60\n" in said.out
    assert outcome(tmp_path) == uninterrupted
    for name in (runs.CHECKPOINT, runs.PREVIOUS):
        (tmp_path / name).write_bytes(b"nothing")
    assert trained("--resume", tmp_path) == 2
    errors = capsys.readouterr().err
    assert "no checkpoint can be read; --out" in errors
    assert errors.count("\n") == 1


# Going on


def test_more_epochs_are_not_forgotten(uninterrupted, tmp_path, monkeypatch):
    """Neither if the run is killed before its next checkpoint."""
    assert trained(*SMALL, "--epochs", 25, "--out", tmp_path) == 0
    with monkeypatch.context() as patched:
        patched.setattr(train, "epsilon_greedy", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained("--resume", tmp_path, "--epochs", 60, "--no-images")
    assert trained("--resume", tmp_path, "--no-images") == 0
    assert outcome(tmp_path) == uninterrupted


def interrupt(*_):
    raise KeyboardInterrupt


def test_an_epoch_that_is_made_the_last_is_measured(tmp_path, monkeypatch, capsys):
    """As it is in a run that had so many epochs from the start."""
    assert trained(*SMALL, "--epochs", 24, "--out", tmp_path / "short") == 0
    folder, real = tmp_path / "long", runs.MetricsWriter.write

    def write(self, record):
        real(self, record)
        if record.epoch == 25:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runs.MetricsWriter, "write", write)
        with pytest.raises(KeyboardInterrupt):
            trained(*SMALL, "--epochs", 60, "--out", folder)
    assert trained("--resume", folder, "--epochs", 24, "--no-images") == 0
    assert "all 24 epochs are done" in capsys.readouterr().out
    assert outcome(folder) == outcome(tmp_path / "short")


@pytest.mark.skipif(os.name == "nt", reason="this system has no such pipes")
def test_a_reader_that_goes_away_loses_nothing(uninterrupted, tmp_path):
    """``| head``: the run ends, and goes on from where it was."""
    slow = command(*SMALL[:-2], "--epochs", 150, "--checkpoint-every", 1000, "--out", tmp_path)
    process = subprocess.Popen(slow, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.close()
    assert process.wait(60) == 141
    state, _ = runs.load_latest(tmp_path)
    assert len(state.records) == 100  # when it first had something to say
    assert len(_lines(tmp_path)) == 101


@pytest.mark.skipif(os.name == "nt", reason="this system has no signals to send")
def test_a_signal_whose_answer_nobody_reads(uninterrupted, tmp_path):
    """Ctrl-C ends ``2>&1 | tee`` too; what it would have shown goes nowhere."""
    slow = command(*SMALL, "--epochs", 60, "--out", tmp_path, slow=True)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(slow, cwd=ROOT, **pipes)
    while not (tmp_path / runs.METRICS).exists() or len(_lines(tmp_path)) < 10:
        time.sleep(0.01)
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    state, _ = runs.load_latest(tmp_path)
    assert len(state.records) == len(_lines(tmp_path)) - 1
    assert trained("--resume", tmp_path, "--no-images") == 0
    assert outcome(tmp_path) == uninterrupted


# One writer


def test_two_runs_do_not_share_a_folder(tmp_path, capsys):
    with runs.Lock(tmp_path):
        for flags in (["--out"], ["--overwrite", "--out"]):
            words = [*SMALL, *flags, str(tmp_path)]
            code = f"import sys; from minidqn import command; sys.exit(command.main({words}))"
            other = subprocess.run(
                [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
            )
            assert other.returncode == 2
            assert f"process {os.getpid()} is training there" in other.stderr
    assert not (tmp_path / runs.LOCK).exists()
    (tmp_path / runs.LOCK).write_text("999999999\n")  # of one that was killed
    assert trained(*SMALL, "--epochs", 2, "--out", tmp_path) == 0


@pytest.mark.parametrize("removed", ["the folder", "its lock"])
def test_a_run_whose_lock_is_taken_away_ends(removed, tmp_path, capsys, monkeypatch):
    """Another training may have begun there, and is left in peace."""
    folder, real = tmp_path / "run", train.epsilon_greedy

    def act(*arguments):
        if not (folder / "other").exists():
            if removed == "the folder":
                shutil.rmtree(folder)
                folder.mkdir()
            else:
                (folder / runs.LOCK).unlink()
            (folder / "other").mkdir()
            (folder / runs.LOCK).write_text("1\n")
        return real(*arguments)

    monkeypatch.setattr(train, "epsilon_greedy", act)
    assert trained(*SMALL, "--epochs", 30, "--out", folder) == 1
    errors = capsys.readouterr().err
    assert "the folder or its lock was removed" in errors
    assert errors.count("\n") == 1
    assert (folder / runs.LOCK).read_text() == "1\n"
    assert not (folder / runs.WEIGHTS).exists()
    if removed == "the folder":
        assert {path.name for path in folder.iterdir()} == {"other", runs.LOCK}


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows all links")
def test_links_are_not_followed(tmp_path, capsys):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / runs.LOCK).symlink_to(victim)
    assert trained(*SMALL, "--epochs", 2, "--out", folder) == 2
    assert re.fullmatch(r".*error: --out .* cannot be written to: .*\n", capsys.readouterr().err)
    (folder / runs.LOCK).unlink()
    (folder / f".{runs.CHECKPOINT}.{os.getpid()}.tmp").symlink_to(victim)
    assert trained(*SMALL, "--epochs", 2, "--out", folder) == 0
    assert victim.read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", [runs.CHECKPOINT, runs.CONFIG, runs.LOCK])
def test_pipes_are_not_waited_for(name, tmp_path, capsys):
    assert trained(*SMALL, "--epochs", 2, "--out", tmp_path) == 0
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    capsys.readouterr()
    if name in (runs.CHECKPOINT, runs.LOCK):
        (tmp_path / runs.PREVIOUS).write_bytes(b"")
        assert trained("--resume", tmp_path) == 2
    else:
        with pytest.raises(SystemExit, match="2"):
            play.main([str(tmp_path)])
    errors = capsys.readouterr().err
    assert "is no regular file" in errors
    assert errors.count("\n") == 1


def test_a_system_without_locks(tmp_path, capsys, monkeypatch):
    """Says so, and not that somebody else is training."""

    def fail(_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(runs, "_lock", fail)
    assert trained(*SMALL, "--epochs", 2, "--out", tmp_path) == 2
    assert "cannot be written to: No locks available" in capsys.readouterr().err


def test_what_killed_processes_leave_is_removed(tmp_path):
    (tmp_path / f".{runs.CHECKPOINT}.12345.tmp").write_bytes(b"half of it")
    (tmp_path / ".mine.tmp").write_text("not the run's")
    assert trained(*SMALL, "--epochs", 2, "--out", tmp_path) == 0
    assert [path.name for path in tmp_path.glob(".*")] == [".mine.tmp"]
    for name in (runs.IMAGES, runs.MOMENTS):  # killed while it drew, or kept a moment
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / ".004.png.12345.tmp").write_bytes(b"half of it")
    assert trained("--resume", tmp_path, "--no-images") == 0
    assert [path.name for path in tmp_path.rglob(".*")] == [".mine.tmp"]


# Numbers that go wrong


def test_numbers_that_are_not_finite_stop_the_run(tmp_path, capsys):
    flags = ["--learning-rate", 1e30, "--epochs", 30, "--out", tmp_path]
    assert trained(*SMALL, *flags) == 1
    errors = capsys.readouterr().err
    assert re.search(r"error: epoch \d+, update \d+: .+ is not finite \(loss ", errors)
    assert errors.count("\n") == 1
    state, failures = runs.load_latest(tmp_path)
    assert not failures
    assert np.isfinite(state.model.parameters).all()
    with pytest.raises(SystemExit, match="2"):
        play.main([str(tmp_path)])
    assert re.search(r"it has failed: epoch \d+, update \d+: ", capsys.readouterr().err)


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_where_it_was_first_seen(engine):
    model = q_network(5, engine=engine)
    batch = np.ones((2, 1, 5, 5)), np.ones((2, 3))
    remembered = model.named_state()
    assert model.first_not_finite(model.train_on_batch(*batch)) is None
    remembered["mean_square/dense_1/bias"][0] = np.inf  # the weight stays as it is
    assert model.first_not_finite(model.train_on_batch(*batch)) == "the mean_square of dense_1/bias"
    remembered["mean_square/conv2d_1/bias"][0] = np.nan  # the weight becomes NaN, too
    assert model.first_not_finite(model.train_on_batch(*batch)) == "conv2d_1/bias"
    model.predict(batch[0])
    assert model.first_not_finite(np.nan) == "the output of conv2d_1"


def test_a_mean_square_that_is_infinite_stops_the_run(tmp_path, capsys):
    """Its squares are beyond float32 long before the losses are."""
    flags = ["--learning-rate", 30, "--epochs", 40, "--out", tmp_path, "--no-images"]
    flags += ["--batch-size", 32, "--checkpoint-every", 2]
    assert trained(*flags) == 1
    assert "is not finite" in capsys.readouterr().err
    runs.load_latest(tmp_path)


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


def some_state(epochs):
    settings = Settings(grid_size=5, epochs=9, batch_size=4, capacity=40, eval_every=2)
    streams = settings.streams()
    model = q_network(5, streams.weights)
    memory, records = Memory(40), []
    for record in itertools.islice(train.training(model, settings, streams, memory=memory), epochs):
        records.append(record)
    return State(settings, Fruit(5), model, streams, memory, records)


def same(one, other):
    """Whether two states are the same, to the last bit."""

    def parts(state):
        arrays = [*state.model.get_weights(), *state.model.named_state().values()]
        arrays += state.memory.arrays()
        generators = [stream.bit_generator.state for stream in state.streams]
        return state.settings, state.records, [a.tobytes() for a in arrays], generators

    return parts(one) == parts(other)


@pytest.mark.parametrize("epochs", [0, 1, 9])
def test_what_is_saved_is_loaded(epochs, tmp_path):
    state = some_state(epochs)
    runs.save_checkpoint(tmp_path, state)
    loaded, failures = runs.load_latest(tmp_path)
    assert same(loaded, state)
    assert failures == []


def test_frames_of_any_numbers_are_saved(state, tmp_path):
    frame = np.full((1, 5, 5), 0.5)
    state.memory.store((frame, 1, -0.25, frame))
    runs.save_checkpoint(tmp_path, state)
    assert same(runs.load_checkpoint(tmp_path / runs.CHECKPOINT), state)


def test_an_optimizer_may_remember_numbers_below_0(state, tmp_path):
    """As Adam's mean gradient is."""
    state.model.named_state()["mean_square/dense/kernel"][...] = -1
    runs.save_checkpoint(tmp_path, state)
    assert same(runs.load_checkpoint(tmp_path / runs.CHECKPOINT), state)


class Failing:
    """Makes the n-th of some calls fail."""

    def __init__(self, at, code):
        self.left, self.code = at, code

    def __call__(self, function):
        def call(*arguments, **named):
            self.left -= 1
            if self.left == 0:
                raise OSError(self.code, os.strerror(self.code))
            return function(*arguments, **named)

        return call


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_every_system_call_of_a_save_may_fail(code, tmp_path, monkeypatch):
    """After each failure the folder holds the state before, or the new one."""
    first, old, new = some_state(1), some_state(2), some_state(4)
    for at in itertools.count(1):
        runs.save_checkpoint(tmp_path, first)
        runs.save_checkpoint(tmp_path, old)
        failing = Failing(at, code)
        with monkeypatch.context() as patched:
            _failing_calls(patched, failing)
            try:
                runs.save_checkpoint(tmp_path, new)
                failed = False
            except OSError as error:
                failed = error.errno == code
        loaded, _ = runs.load_latest(tmp_path)
        assert same(loaded, old) or same(loaded, new)
        assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []
        assert failed == (failing.left <= 0)
        if not failed:  # all calls have had their turn
            assert same(loaded, new)
            break
    assert at > 30


def _failing_calls(patched, failing):
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


@pytest.mark.skipif(os.name == "nt", reason="this system has no folders to flush")
def test_a_save_is_on_the_disk_before_it_has_its_name(state, tmp_path, monkeypatch):
    """Bytes, then names, then the folder."""
    runs.save_checkpoint(tmp_path, state)
    calls = []

    def spy(name):
        real = getattr(os, name)

        def call(*arguments):
            shown = [argument for argument in arguments if not isinstance(argument, int)]
            kinds = ["folder" if stat.S_ISDIR(os.fstat(n).st_mode) else "file"
                     for n in arguments if isinstance(n, int)]  # fmt: skip
            calls.append((name, *kinds, *(path.name for path in shown[1:])))
            return real(*arguments)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, spy(name))
    runs.save_checkpoint(tmp_path, state)
    assert calls == [
        ("fsync", "file"),
        ("replace", runs.PREVIOUS),
        ("replace", runs.CHECKPOINT),
        ("fsync", "folder"),
    ]


def test_a_damaged_checkpoint_never_replaces_a_good_one(tmp_path, capsys, monkeypatch):
    """The first save after going back is killed between its two names."""
    assert trained(*SMALL, "--epochs", 10, "--out", tmp_path) == 0
    newest = tmp_path / runs.CHECKPOINT
    newest.write_bytes(newest.read_bytes()[:-100])
    real, kills = os.replace, []

    def killed(one, other):
        real(one, other)
        if str(other).endswith(runs.PREVIOUS):
            kills.append(other)
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            trained("--resume", tmp_path, "--epochs", 60, "--no-images")
    assert kills
    assert trained("--resume", tmp_path, "--epochs", 60, "--no-images") == 0


LIMITED = (
    "import resource, sys\n"
    "from minidqn import cli, command, train\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
    "cli.run(lambda: command.main(sys.argv[1:]))\n"
)


@pytest.mark.skipif(os.name == "nt", reason="this system has no limits to set")
def test_a_disk_that_is_full(uninterrupted, tmp_path):
    """A limit that the system sets: the files of a run may have 30,000 bytes at most."""
    assert trained(*SMALL, "--epochs", 10, "--out", tmp_path) == 0
    size = (tmp_path / runs.CHECKPOINT).stat().st_size
    assert size > 30_000
    words = [sys.executable, "-c", LIMITED, "--resume", str(tmp_path), "--epochs", "60"]
    words.append("--no-images")
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert re.fullmatch(r".*error: writing to .* failed: .*File too large.*\n", ended.stderr)
    assert trained("--resume", tmp_path, "--no-images", "--epochs", 60) == 0
    assert outcome(tmp_path) == uninterrupted


def test_a_folder_that_vanishes(tmp_path, capsys, monkeypatch):
    folder, real = tmp_path / "run", train.epsilon_greedy

    def vanish(*arguments):
        shutil.rmtree(folder, ignore_errors=True)
        return real(*arguments)

    monkeypatch.setattr(train, "epsilon_greedy", vanish)
    assert trained(*SMALL, "--epochs", 30, "--out", folder) == 1
    assert re.fullmatch(r".*error: writing to .* failed: .*\n", capsys.readouterr().err)


# Hostile files


def rewritten(path, change):
    """The checkpoint with changed contents and a checksum that fits them."""
    arrays = dict(np.load(path))
    arrays.pop("checksum")
    header = json.loads(arrays.pop("json").tobytes())
    change(header, arrays)
    arrays["json"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    storage.write_arrays(path, arrays | {"checksum": runs._checksum(arrays)})


def _set(*keys, value):
    def change(header, arrays):
        place = header
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def _array(name, value):
    def change(header, arrays):
        arrays[name] = value(arrays[name])

    return change


def _with(index, value):
    def change(array):
        array = array.copy()
        array[index] = value
        return array

    return change


def _rows(index, value):
    """Where S begins, S ends and S' begins, and S' ends."""
    return _array("memory/experiences", _with((index, slice(3)), value))


NAN = np.float32(np.nan).view(np.int32)


def _no_experiences(header, arrays):
    arrays["memory/experiences"] = arrays["memory/experiences"][:0]
    arrays["memory/pixels"] = arrays["memory/pixels"][:1]


FORGERIES = {
    "another format": _set("format", value=1),
    "no format": lambda header, arrays: header.pop("format"),
    "a list": lambda header, arrays: header.update(settings=[1]),
    "a huge grid": _set("settings", "grid_size", value=100_000),
    "a grid beyond all": _set("settings", "grid_size", value=10**30),
    "a huge capacity": _set("settings", "capacity", value=10**18),
    "more than the capacity": _set("settings", "capacity", value=10),
    "another game": _set("game", "actions", value=[1, 2]),
    "no game": lambda header, arrays: header.pop("game"),
    "another engine": _set("engine", value="gpu"),
    "a generator's state too large": _set("generators", "game", "state", "state", value=2**128),
    "a generator's state no number": _set("generators", "game", "state", "inc", value=None),
    "half a word too large": _set("generators", "game", "uinteger", value=2**40),
    "another generator": _set("generators", "replay", "bit_generator", value="MT19937"),
    "no generators": lambda header, arrays: header.pop("generators"),
    "a weight that is NaN": _array("weights/dense/bias", _with(0, np.nan)),
    "a mean square that is infinite": _array("optimizer/mean_square/dense/bias", _with(5, np.inf)),
    "an action that is none": _array("memory/experiences", _with((0, 3), 7)),
    "an action beyond int32": _array("memory/experiences", _with((0, 3), 2**32 + 1)),
    "a reward that is NaN": _array("memory/experiences", _with((0, 4), NAN)),
    "a done that is neither": _array("memory/experiences", _with((0, 5), 2)),
    # The first game's rows are (0, 4, 8), (4, 8, 12) and (8, 12, 16).
    "pixels before the first frame": _rows(0, (1, 4, 8)),
    "pixels behind the last frame": _array("memory/experiences", _with((-1, 2), 79)),
    "an S' that ends before it begins": _rows([2, 3], [(8, 12, 8), (8, 16, 20)]),
    "an S that begins in the game before": _rows(3, (15, 20, 24)),
    "rows beyond int64": _rows(3, (2**63 - 1, -(2**63), 24)),
    "pixels of no frame": _no_experiences,
    "a position twice": _array("memory/pixels", lambda old: old[[0, 0, *range(2, 80)]]),
    "a position below 0": _array("memory/pixels", _with((0, 0), -1)),
    "a position outside": _array("memory/pixels", _with((3, 0), 25)),
    "a value that is NaN": _array("memory/pixels", _with((0, 1), NAN)),
    "an epoch twice": _array("records", _with((1, 0), 1)),
    "a loss that is NaN": _array("records", _with((1, 3), np.nan)),
    "a wrong shape": _array("weights/dense/bias", lambda array: array[:-1]),
    "a wrong type": _array("weights/dense/bias", lambda array: array.astype(float)),
    "one array less": lambda header, arrays: arrays.pop("records"),
    "one array more": lambda header, arrays: arrays.update({"../../x": np.zeros(3)}),
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
    assert [path.name for path in tmp_path.iterdir()] == [runs.CHECKPOINT]


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


def test_a_checkpoint_too_large_for_memory_falls_back(state, tmp_path):
    runs.save_checkpoint(tmp_path, state)
    runs.save_checkpoint(tmp_path, state)
    rewritten(tmp_path / runs.CHECKPOINT, _set("settings", "capacity", value=10**18))
    loaded, failures = runs.load_latest(tmp_path)
    assert same(loaded, state)
    assert len(failures) == 1


@pytest.mark.parametrize(
    "damage",
    [_set("game", "shape", value=[1, 6, 6]), _set("game", value=None),
     _set("settings", "game", value="fruis")],
)  # fmt: skip
def test_a_damaged_name_of_a_game_falls_back(damage, state, tmp_path):
    """It is no reason to ask for another game, as long as the checkpoint before is whole."""
    runs.save_checkpoint(tmp_path, state)
    runs.save_checkpoint(tmp_path, state)
    rewritten(tmp_path / runs.CHECKPOINT, damage)
    loaded, failures = runs.load_latest(tmp_path)
    assert same(loaded, state)
    assert len(failures) == 1
    rewritten(tmp_path / runs.PREVIOUS, damage)
    with pytest.raises(runs.WrongGameError):
        runs.load_latest(tmp_path)


def test_what_a_file_says_does_not_steer_the_terminal(state, tmp_path, capsys):
    runs.save_checkpoint(tmp_path, state)
    for name in (runs.CHECKPOINT, runs.PREVIOUS):
        path = tmp_path / name
        shutil.copy(tmp_path / runs.CHECKPOINT, path) if name == runs.PREVIOUS else None
        rewritten(path, _set("format", value="\x1b]0;title\x07" * 5000))
    assert trained("--resume", tmp_path) == 2
    errors = capsys.readouterr().err
    assert errors.rstrip("\n").isprintable()
    assert len(errors) < 2000


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
    damaged = bytearray(one)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        kind = data.draw(st.sampled_from(["truncate", "cut", "flip", "splice", "fill", "repeat"]))
        length = data.draw(st.integers(1, 300))
        if kind == "truncate":
            del damaged[place:]
        elif kind == "cut":
            del damaged[place : place + length]
        elif kind == "flip":
            damaged[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "splice":
            damaged[place : place + length] = other[place : place + length]
        elif kind == "fill":
            damaged[place : place + length] = bytes([data.draw(st.integers(0, 255))]) * length
        else:
            damaged[place:place] = damaged[place : place + length]
        damaged = damaged or bytearray(b"x")
    return bytes(damaged)


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


def forge_checkpoint(saved):
    """With a checksum that fits: the very state that the file says, or a clean error."""
    folder, state, _ = saved
    path = folder / "forged.npz"
    saved_bytes(folder, state, runs.CHECKPOINT)

    def in_header(data, header):
        place = header
        while True:
            key = data.draw(st.sampled_from(sorted(place)))
            leaf = not isinstance(place[key], dict) or not place[key]
            if leaf or data.draw(st.integers(0, 9)) == 0:
                break
            place = place[key]
        if data.draw(st.integers(0, 4)) == 0:
            del place[key]
        else:
            place[key] = data.draw(JSON)

    def in_array(data, arrays):
        name = data.draw(st.sampled_from(sorted(arrays)))
        array = arrays[name].copy()
        kind = data.draw(st.sampled_from(["number", "type", "shape", "less", "more"]))
        if kind == "number" and array.size:
            bits = array.reshape(-1).view(np.uint8)
            bits[data.draw(st.integers(0, len(bits) - 1))] = data.draw(st.integers(0, 255))
        elif kind == "type":
            kind = data.draw(st.sampled_from(["f8", "f4", ">f4", "i8", "u1", "i1", "c16", "S3"]))
            with np.errstate(invalid="ignore"):
                array = array.astype(complex).real.astype(kind)
        elif kind == "shape":
            array = array[: data.draw(st.integers(0, len(array)))]
        arrays[name] = array
        if kind == "less":
            del arrays[name]
        elif kind == "more":
            letters = st.characters(codec="ascii", exclude_characters="\0")
            arrays[data.draw(st.text(letters))] = array

    def check(data):
        def change(header, arrays):
            for _ in range(data.draw(st.integers(1, 2))):
                forge, what = data.draw(st.sampled_from([(in_header, header), (in_array, arrays)]))
                forge(data, what)

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
    model_like = {
        "conv2d/kernel": (3, 3, 1, 16), "conv2d/bias": (16,),
        "conv2d_1/kernel": (3, 3, 16, 16), "conv2d_1/bias": (16,),
        "dense/kernel": ((grid_size - 4) ** 2 * 16, 100), "dense/bias": (100,),
        "dense_1/kernel": (100, 3), "dense_1/bias": (3,),
    }  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        for name, shape in model_like.items():
            header = io.BytesIO()
            like = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, like)
            archive.writestr(f"{name}.npy", header.getvalue())


def test_a_kilobyte_that_claims_100_gigabytes(state, tmp_path, capsys):
    """Refused within 100 ms and 100 MB, as weights and as a checkpoint."""
    grid_size = 4000
    runs.write_config(tmp_path, Settings(grid_size=grid_size), Fruit(grid_size))
    claiming(tmp_path / runs.WEIGHTS, grid_size)
    runs.save_checkpoint(tmp_path, state)
    shutil.copy(tmp_path / runs.CHECKPOINT, tmp_path / runs.PREVIOUS)
    for name in (runs.CHECKPOINT, runs.PREVIOUS):
        rewritten(tmp_path / name, _set("settings", "grid_size", value=grid_size))
        rewritten(tmp_path / name, _set("game", "shape", value=[1, grid_size, grid_size]))
    assert 4 * count_weights(Fruit(grid_size)) > 100e9
    for attempt in (
        lambda: runs.load_run(tmp_path),
        lambda: runs.load_latest(tmp_path),
    ):
        tracemalloc.start()
        began = time.perf_counter()
        with pytest.raises(ValueError, match="expected more than"):
            attempt()
        taken = time.perf_counter() - began
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100e6
        assert taken < 0.1
    assert trained("--resume", tmp_path) == 2


def test_metrics_are_not_read(uninterrupted, tmp_path):
    """They are written anew from the checkpoint, whatever has become of them."""
    assert trained(*SMALL, "--epochs", 25, "--out", tmp_path) == 0
    (tmp_path / runs.METRICS).write_bytes(b"\xff\x00,,,,\n" * 1000)
    (tmp_path / runs.CONFIG).write_bytes(b"{")
    assert trained("--resume", tmp_path, "--epochs", 60, "--no-images") == 0
    assert outcome(tmp_path) == uninterrupted
    assert runs.read_config(tmp_path)[0].epochs == 60
