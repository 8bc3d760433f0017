"""Sweeps: the same runs wherever they are made, none of them lost, none made twice."""

import concurrent.futures
import csv
import json
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn import command, images, page, play, runs, sweep, train
from minidqn.processes import TRIES, Processes
from tests.commands import ROOT, files, names, process, refusal, run, started

posix = pytest.mark.skipif(os.name == "nt", reason="this system has no signals")
CHOSEN = {"seed": range(2), "gamma": [0.5, 0.8], "grid_size": [5], "epochs": [30],
          "batch_size": [8], "eval_every": [10]}  # fmt: skip
FLAGS = ["--seeds", 2, "--gamma", 0.5, 0.8, "--grid-size", 5, "--epochs", 30, "--batch-size", 8,
         "--eval-every", 10]  # fmt: skip
DYING = """
import os, signal, time
from pathlib import Path
from minidqn.fruit import Fruit
from minidqn.games import Game

here, fruit = Path(__file__).parent, Fruit(5)


def episode(rng=None):
    with open(here / "played", "a") as file:
        file.write(".")
    if (here / "die").exists():
        if not (here / "always").exists():
            (here / "die").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if (here / "fail").exists():
        raise RuntimeError("out of fruit")
    time.sleep(float((here / "sleep").read_text()) if (here / "sleep").exists() else 0)
    return fruit.episode(rng=rng)


game = Game(episode, fruit.actions, fruit.shape, max_steps=3)
"""


def outcome(folder):
    """What must be the same: every byte of every run, but for the seconds."""
    found = {}
    for path in sorted(folder.glob("0*/*")):
        data = path.read_bytes()
        if path.name == runs.METRICS:
            data = re.sub(rb",[\d.]+\n", b"\n", data)
        found[path.relative_to(folder).as_posix()] = data
    return found, (folder / sweep.RESULTS).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the sweep comes to, one run after the other."""
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    rows = sweep.sweep(CHOSEN, concurrent.futures.ThreadPoolExecutor(1), folder)
    assert [row["error"] for row in rows] == [None] * 4
    return outcome(folder)


class Elsewhere(concurrent.futures.ThreadPoolExecutor):
    """Workers that see another folder under the same name, or none."""

    def __init__(self, folder):
        super().__init__(2)
        self._folder = str(folder)

    def submit(self, function, job):
        return super().submit(function, job._replace(folder=self._folder))


def test_what_a_sweep_leaves(whole):
    files, results = whole
    names = ["00000-gamma-0.5-seed-0", "00001-gamma-0.8-seed-0", "00002-gamma-0.5-seed-1",
             "00003-gamma-0.8-seed-1"]  # fmt: skip
    kept = ["config.json", "metrics.csv", "weights.npz"]
    assert list(files) == [f"{name}/{file}" for name in names for file in kept]
    rows = list(csv.DictReader(results.decode().splitlines()))
    assert [row["run"] for row in rows] == names
    assert [(row["gamma"], row["seed"]) for row in rows][:2] == [("0.5", "0"), ("0.8", "0")]
    assert {(row["epoch"], row["starts"], row["error"]) for row in rows} == {("30", "15", "")}


def test_a_run_of_a_sweep_is_the_run_alone(whole, tmp_path):
    words = [*FLAGS[5:], "--gamma", 0.8, "--seed", 1, "--no-images", "--out", tmp_path / "run"]
    assert run(command.main, *words) == 0
    weights = (tmp_path / "run" / runs.WEIGHTS).read_bytes()
    assert weights == whole[0]["00003-gamma-0.8-seed-1/weights.npz"]


def test_the_other_commands_take_a_run_of_a_sweep(tmp_path, capsys):
    folder = tmp_path / "sweep"
    [row] = sweep.sweep({"epochs": [20]}, concurrent.futures.ThreadPoolExecutor(1), folder)
    for main in (play.main, images.main, page.main):
        assert run(main, folder / row["run"]) == 0
    made = names(folder / row["run"])
    assert {"game.gif", "curve.png", "wins.png", "page.html"} <= set(made)
    assert " bytes, 1 moment; any browser" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["pool", "processes", "elsewhere", "another sweep there"])
def test_every_executor_gives_the_same_bytes(kind, whole, tmp_path):
    if kind == "pool":
        executor = concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
    elif kind == "processes":
        executor = Processes(2)
    else:
        executor = Elsewhere(tmp_path / "there")
        if kind == "another sweep there":
            sweep.sweep(CHOSEN | {"epochs": [2]}, executor, tmp_path / "there")
    with executor:
        sweep.sweep(CHOSEN, executor, tmp_path / "sweep")
    assert outcome(tmp_path / "sweep") == whole


@pytest.fixture
def dying(tmp_path):
    """The file of a game that kills its process, fails or takes long where it is told to."""
    path = tmp_path / "dying.py"
    path.write_text(DYING)
    return path


def swept(tmp_path, dying, *flags):
    """Exit status and both outputs of a sweep of five runs of that game."""
    words = [
        "--game",
        f"{dying}:game",
        "--seeds",
        5,
        "--epochs",
        12,
        "--batch-size",
        4,
        "--jobs",
        2,
    ]
    return process("-m", "minidqn.sweep", *words, "--out", tmp_path / "sweep", *flags)


@posix
def test_a_worker_that_dies_is_replaced(dying, tmp_path):
    (tmp_path / "die").touch()
    status, out, err = swept(tmp_path, dying)
    assert (status, err) == (0, "")
    assert re.search(r"5 runs, 0 failed, in [\d.]+ s\n", out)
    assert len(out.splitlines()) == 8
    # The one game that was begun in vain was played once more, and no other.
    assert games_played(tmp_path) == GAMES + 1


GAMES = 5 * (12 + 2 * train.EVAL_GAMES)
"""All that the runs play: a game an epoch, and those of two evaluations."""


def games_played(folder):
    """How many games that game has begun."""
    return (folder / "played").stat().st_size


@posix
def test_a_run_whose_worker_always_dies_is_named(dying, tmp_path):
    """And the others, which were beside it, are done."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "dying.py").write_text(DYING)
    for name in ("die", "always"):
        (tmp_path / name).touch()
    status, out, err = swept(tmp_path, dying, "--game", f"{dying}:game", f"{other}/dying.py:game")
    assert (status, len(err.splitlines())) == (1, 5)
    named = (
        r"00000-game-\S+-seed-0 failed: BrokenExecutor: its worker died 3 times, by signal SIGKILL"
    )
    assert re.fullmatch(named, err.splitlines()[0])
    assert "10 runs, 5 failed" in out
    assert games_played(tmp_path) == 5 * TRIES
    assert games_played(other) == GAMES


def test_a_run_that_fails_is_named_and_made_again(dying, tmp_path):
    (tmp_path / "fail").touch()
    words = ["--game", "fruit", f"{dying}:game", "--grid-size", 5, "--epochs", 2]
    status, out, err = swept(tmp_path, dying, *words)
    assert (status, len(err.splitlines())) == (1, 5)
    assert "seed-0 failed: RuntimeError: out of fruit\n" in err
    with open(tmp_path / "sweep" / sweep.RESULTS) as file:
        errors = [(row["game"], "out of fruit" in row["error"]) for row in csv.DictReader(file)]
    assert errors == [("fruit", False), (f"{dying}:game", True)] * 5
    (tmp_path / "fail").unlink()
    before = files(tmp_path / "sweep")
    status, out, err = swept(tmp_path, dying, *words)
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 8
    after = files(tmp_path / "sweep")
    assert [p for p in before if before[p] != after[p] and "fruit" in p.name] == []


@posix
@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_a_sweep_that_is_stopped_goes_on(how, dying, tmp_path):
    swept(tmp_path, dying)
    expected = outcome(tmp_path / "sweep")
    shutil.move(tmp_path / "sweep", tmp_path / "whole")
    (tmp_path / "played").unlink()
    (tmp_path / "sleep").write_text("0.05")  # a run takes three seconds
    words = ["-m", "minidqn.sweep", "--game", f"{dying}:game", "--seeds", 5, "--epochs", 12]
    words += ["--batch-size", 4, "--jobs", 2, "--out", tmp_path / "sweep"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = started(*words, **pipes, start_new_session=True)
    assert "1 of 5" in running.stdout.readline()
    time.sleep(1)  # both workers are at their second run
    if how == "kill":
        running.kill()
    else:  # as a terminal does: the workers get it too
        os.killpg(running.pid, signal.SIGINT)
    running.wait(timeout=30)
    time.sleep(0.5)
    played = games_played(tmp_path)
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "sweep").glob("*/weights.npz")}
    time.sleep(1)
    assert games_played(tmp_path) == played  # no worker has outlived it
    _, err = running.communicate()
    if how == "interrupt":
        found = re.search(r"stopped after (\d) of 5 runs; to go on: python (.*)\n", err)
        assert int(found[1]) == len(done)
        words = [*shlex.split(found[2])]
        assert running.returncode == 130
        assert len(err.splitlines()) == 3  # nothing of the workers
    (tmp_path / "sleep").unlink()
    status, out, err = process(*words)
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 5 - len(done) + 3
    assert {p: p.stat().st_mtime_ns for p in done} == done
    assert outcome(tmp_path / "sweep") == expected


def test_a_run_goes_on_from_its_checkpoint(whole, tmp_path, monkeypatch):
    """Stopped after each epoch: no epoch is played twice."""
    monkeypatch.setattr(sweep, "CHECKPOINT_SECONDS", 0)
    kept, began = command.kept, []

    def stopped(state, *rest):
        began.append(len(state.records))
        record = next(kept(state, *rest), None)
        if record is not None:
            raise OSError("stopped")
        return iter(())

    monkeypatch.setattr(command, "kept", stopped)
    chosen = CHOSEN | {"seed": [0], "gamma": [0.5]}
    for _ in range(31):
        [row] = sweep.sweep(chosen, concurrent.futures.ThreadPoolExecutor(1), tmp_path / "sweep")
    assert began == list(range(31))
    assert row["error"] is None
    weights = (tmp_path / "sweep" / "00000-seed-0" / runs.WEIGHTS).read_bytes()
    assert weights == whole[0]["00000-gamma-0.5-seed-0/weights.npz"]
    assert names(tmp_path / "sweep" / "00000-seed-0") == sorted(sweep.KEPT)


def test_a_run_that_another_worker_is_at(tmp_path):
    """As one of a sweep that was killed may be: it is waited for, and its run not made again."""
    [row] = sweep.sweep(
        {"epochs": [1]}, concurrent.futures.ThreadPoolExecutor(1), tmp_path / "made"
    )
    (tmp_path / "sweep").mkdir()
    [job] = sweep.jobs_left(tmp_path / "sweep", sweep.plan({"epochs": [1]}))
    (tmp_path / "sweep" / sweep.SWEEP).write_text(json.dumps({"id": job.id}))
    folder = tmp_path / "sweep" / row["run"]
    folder.mkdir()
    with concurrent.futures.ThreadPoolExecutor(1) as pool, runs.Lock(folder):
        waiting = pool.submit(sweep.work, job)
        time.sleep(0.5)
        assert names(folder) == [runs.LOCK]
        shutil.copytree(tmp_path / "made" / row["run"], folder, dirs_exist_ok=True)
        before = {path: path.stat().st_mtime_ns for path in folder.glob("*.*z")}
    assert waiting.result().record.epoch == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before != {}


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_a_script_that_processes_cannot_import(how, tmp_path):
    """One line says so, and no run counts as failed."""
    out = str(tmp_path / "out")
    code = f'from minidqn.sweep import sweep\nsweep({{"epochs": [1]}}, out={out!r})\n'
    (tmp_path / "script.py").write_text(code)
    words = [sys.executable, tmp_path / "script.py" if how == "file" else "-"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, input=code, capture_output=True, text=True, env=environment)
    assert ended.returncode == 1
    wanted = "put if __name__ ==" if how == "file" else "the script is <stdin>; expected a file"
    assert wanted in ended.stderr.splitlines()[-1]
    assert ended.stderr.count("Traceback") <= 2  # the script's own
    assert not list(tmp_path.glob("out/*/*"))


@posix
def test_a_reader_that_goes_away(tmp_path):
    """As ``| head -1`` does: it ends quietly, and goes on later."""
    words = ["-m", "minidqn.sweep", "--seeds", 4, "--epochs", 3, "--out", tmp_path / "sweep"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = started(*words, "--jobs", 1, **pipes)
    running.stdout.readline()
    running.stdout.close()
    err = running.stderr.read()
    running.stderr.close()
    assert (running.wait(60), err) == (141, "")
    assert run(sweep.main, "--resume", tmp_path / "sweep", "--jobs", 1) == 0


def test_more_seeds(whole, tmp_path):
    folder = tmp_path / "sweep"
    pool = concurrent.futures.ThreadPoolExecutor(1)
    sweep.sweep(CHOSEN | {"seed": [0]}, pool, folder)
    before = files(folder)
    assert run(sweep.main, "--resume", folder, "--seeds", 2, "--jobs", 1) == 0
    assert outcome(folder) == whole
    after = files(folder)
    assert all(after[path] == before[path] for path in before if path.parent != folder)


def test_refusals(tmp_path, capsys, monkeypatch):
    """Before anything is begun: no folder is made, and none is changed."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "sweep"
    sweep.sweep(CHOSEN | {"epochs": [1]}, concurrent.futures.ThreadPoolExecutor(1), folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").touch()
    before = files(tmp_path)
    for words, wanted in [
        ("--gamma 0.8 0.8", "--gamma is [0.8, 0.8]; expected different values, one or more"),
        ("--gamma x", "argument --gamma: 'x'; expected a number"),
        ("--gamma 0.8 2", "--gamma is 2.0; expected a number in [0, 1)"),
        ("--double yes", "argument --double: 'yes'; expected true or false"),
        ("--units 1.5", "argument --units: '1.5'; expected a whole number"),
        ("--filters 16,16", "'16,16'; expected whole numbers, such as '16 16'"),
        ("--seeds 0", "--seeds is 0; expected at least 1"),
        ("--seeds 2 --seed 1", "--seeds and --seed both choose seeds; expected one of them"),
        ("--seeds 5001 --gamma 0 0.5", "has 10,002 runs; expected at most 10,000"),
        ("--epochs 2 --steps 3", "--epochs and --steps both say when a run ends"),
        ("--jobs 0", "--jobs is 0; expected at least 1"),
        ("--grid-size 5 6 --game fruti", "--game is fruti; expected fruit, snake"),
        ("--grid-size 4 10", "frames of fruit are 4 x 4; expected at least 5 x 5"),
        ("--game nothing", "--game is nothing; expected fruit, snake"),
        ("--out mine", "--out mine holds other files; expected a new folder"),
        ("--out sweep", "--out sweep holds a sweep of seed 0 1; gamma 0.5 0.8; grid_size 5; "),
        ("--resume mine", "--resume mine: it holds no sweep: No such file or directory"),
        ("--resume sweep --gamma 0.5", "--gamma is for a new sweep"),
        ("--resume sweep --seeds 1", "expected a new folder, or more seeds"),
    ]:  # fmt: skip
        assert wanted in refusal(capsys, sweep.main, *words.split())
    assert files(tmp_path) == before
    with pytest.raises(ValueError, match="gama is no setting; expected game, "):
        sweep.sweep({"gama": [0.8]})


def test_a_plan_that_nobody_vouches_for(dying, tmp_path, capsys):
    """It runs no file by itself, follows no link, and asks for no room."""
    folder = tmp_path / "sweep"
    path = folder / sweep.SWEEP

    def told(**settings):
        path.write_text(json.dumps({"id": "1", "settings": settings}))
        return refusal(capsys, sweep.main, "--resume", folder)

    folder.mkdir()
    assert f"it plays {dying}:game, and only goes on if you say so: --game" in told(
        game=[f"{dying}:game"]
    )
    assert "has 1,000,000 runs" in told(seed=[*range(1000)], gamma=[n / 1000 for n in range(1000)])
    for text in ("{}", "[1]", '{"id": 1, "settings": {"seed": 3}}', "{" * 10**6, "x" * 2 * 10**6):
        path.write_text(text)
        assert str(path) in refusal(capsys, sweep.main, "--resume", folder)
    sweep.sweep({"epochs": [1]}, concurrent.futures.ThreadPoolExecutor(1), tmp_path / "other")
    path.write_text((tmp_path / "other" / sweep.SWEEP).read_text())
    if os.name != "nt":
        (folder / "00000-seed-0").symlink_to(tmp_path / "other")
        before = files(tmp_path / "other")
        assert "00000-seed-0 is a link" in refusal(capsys, sweep.main, "--resume", folder)
        assert files(tmp_path / "other") == before


@posix
def test_a_dask_cluster_of_which_a_worker_is_killed(dying, tmp_path):
    """A scheduler and two workers, processes of their own in another folder."""
    pytest.importorskip("distributed")
    swept(tmp_path, dying)
    expected = outcome(tmp_path / "sweep")
    shutil.rmtree(tmp_path / "sweep")
    (tmp_path / "sleep").write_text("0.02")
    (tmp_path / "played").unlink()
    about = tmp_path / "scheduler.json"
    quiet = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    quiet["env"] = os.environ | {"PYTHONPATH": str(ROOT)}

    def of_cluster(kind, *flags):
        words = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", about]
        return subprocess.Popen([*words, "--no-dashboard", *flags], **quiet)

    cluster = [of_cluster("scheduler", "--port", "0")]
    deadline = time.monotonic() + 60
    while not about.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    cluster += [of_cluster("worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
    try:
        words = ["--game", f"{dying}:game", "--seeds", 5, "--epochs", 12, "--batch-size", 4]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        words += ["--dask", about, "--out", tmp_path / "sweep"]
        running = started("-m", "minidqn.sweep", *words, **pipes)
        assert "1 of 5" in running.stdout.readline()
        cluster[1].kill()
        out, err = running.communicate(timeout=120)
    finally:
        for each in cluster:
            each.kill()
            each.wait()
    assert running.returncode == 0, err
    assert "5 runs, 0 failed" in out
    assert outcome(tmp_path / "sweep") == expected


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True))
def test_every_run_has_a_folder_of_its_own(called):
    """Whatever its game is called, and on every system."""
    found = list(sweep.plan({"game": called, "seed": [0, 1]}).runs)
    assert len({name.lower() for name in found}) == 2 * len(called)
    assert all(re.fullmatch(r"\d{5}(-[\w.-]*\w)?", name, re.ASCII) for name in found)
