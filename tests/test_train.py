"""The commands: what they write, say and refuse."""

import csv
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidqn import cli, command, images, page, play, runs, train
from minidqn.evaluate import q_error, win_rate
from minidqn.recipe import q_network
from minidqn.runs import Record, Settings

SMALL = ["--grid-size", "5", "--epochs", "30", "--batch-size", "8", "--eval-every", "10"]


def run(main, *arguments):
    """Exit status of a command, run in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code


def process(*arguments, **environment):
    """A command, run in a process of its own with pipes."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a small run."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert run(command.main, *SMALL, "--out", folder) == 0
    return folder


@pytest.mark.parametrize("seed", range(3))
def test_a_small_run_learns(seed):
    settings = Settings(grid_size=6, epochs=250, batch_size=32, seed=seed, eval_every=250)
    streams = settings.streams()
    model = q_network(6, streams.weights)
    untrained = q_error(model, 6)
    *_, last = train.training(model, settings, streams)
    assert last.wins >= 0.9 * last.starts
    assert last.wins == round(win_rate(model, 6) * 24)
    assert last.q_error == q_error(model, 6) < 0.6 * untrained


def test_records(rng):
    settings = Settings(grid_size=5, epochs=7, batch_size=4, eval_every=3)
    model = q_network(5, rng)
    records = list(train.training(model, settings, settings.streams()))
    assert [record.epoch for record in records] == [1, 2, 3, 4, 5, 6, 7]
    assert [record.steps for record in records] == [3, 6, 9, 12, 15, 18, 21]
    # The fourth step fills the first batch.
    assert [record.updates for record in records] == [0, 3, 6, 9, 12, 15, 18]
    assert [record.epoch for record in records if record.wins is not None] == [3, 6, 7]
    assert [r.wins is None for r in records] == [r.q_error is None for r in records]
    assert records[0].loss == 0 < records[1].loss
    assert {record.starts for record in records} == {None, 15}
    assert [r.mean_return for r in records if r.wins is not None] == pytest.approx(
        [2 * r.wins / 15 - 1 for r in records if r.wins is not None]
    )
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(records))


def test_the_generator_can_be_cut_short():
    settings = Settings(grid_size=5, epochs=10**9, batch_size=4)
    loop = train.training(q_network(5), settings, settings.streams())
    assert next(loop).epoch == 1
    loop.close()


def test_what_a_run_leaves(finished):
    assert sorted(path.name for path in finished.iterdir()) == [
        "checkpoint.npz", "checkpoint.prev.npz", "config.json", "curve.png", "features.png",
        "filters.png", "game.gif", "images", "metrics.csv", "moments", "values.png", "weights.npz",
        "wins.png",
    ]  # fmt: skip
    frames = sorted(path.name for path in (finished / "images").iterdir())
    assert frames == [f"{number:03d}.png" for number in range(10 * 4)]
    config = json.loads((finished / "config.json").read_text())
    assert config["settings"]["grid_size"] == 5
    assert config["settings"]["learning_rate"] == 0.001
    assert set(config["versions"]) == {"python", "numpy", "numba", "minidqn"}
    assert config["error"] is None
    text = (finished / "metrics.csv").read_text()
    assert text.startswith("epoch,steps,updates,loss,return,wins,starts,q_error,seconds\n")
    rows = list(csv.DictReader(text.splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 31))
    evaluated = [int(row["epoch"]) for row in rows if row["wins"]]
    assert evaluated == [10, 20, 30] == [int(row["epoch"]) for row in rows if row["q_error"]]
    settings, model, _ = runs.load_run(finished)
    assert win_rate(model, 5) == int(rows[-1]["wins"]) / 15
    assert q_error(model, 5, settings.gamma) == float(rows[-1]["q_error"])


def test_play_repeats_the_run_s_games(finished, tmp_path, capsys):
    assert run(play.main, finished, "--out", tmp_path) == 0
    out = capsys.readouterr().out
    assert re.search(r"\d+ of 10 games won; \d+ of all 15 starts", out)
    for path in (finished / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "images" / path.name).read_bytes()
    assert (tmp_path / "game.gif").read_bytes() == (finished / "game.gif").read_bytes()


def test_play_fewer_games_leaves_no_others(finished, tmp_path, capsys):
    assert run(play.main, finished, "--out", tmp_path) == 0
    (tmp_path / "images" / "mine.png").write_bytes(b"")
    assert run(play.main, finished, "--out", tmp_path, "--games", 2) == 0
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == [*(f"{number:03d}.png" for number in range(8)), "mine.png"]


def test_watch_on_a_pipe(finished, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*.*")}
    assert run(play.main, finished, "--watch", "--games", 1, "--no-images") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "game 1 of 1"
    assert lines[5].count("██") == 3
    assert re.fullmatch("game 1 of 1 (caught|missed)", lines[18].strip())
    assert not any("\x1b" in line for line in lines)
    assert before == {path: path.read_bytes() for path in finished.rglob("*.*")}


def test_watch_on_a_terminal(finished, monkeypatch):
    """Each frame is drawn over the last: the cursor goes up by a frame and its title."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    settings, model, _ = runs.load_run(finished)
    games = train.play_test_games(model, settings, 2)
    stream = Stream(True)
    play.watch(games, stream)
    assert stream.text.count("\x1b[6A") == 2 * 4 - 1
    assert stream.text.count("\n") == 2 * 4 * 6


def test_watch_where_blocks_cannot_be_printed(finished):
    stream = Stream(False)
    stream.encoding = "ascii"
    settings, model, _ = runs.load_run(finished)
    play.watch(train.play_test_games(model, settings, 1), stream)
    assert stream.text.isascii()
    assert "##" in stream.text


def test_the_same_seed_gives_the_same_bytes(finished, tmp_path):
    """In another process too."""
    result = process("-m", "minidqn.train", *SMALL, "--out", tmp_path / "again", "--no-images")
    assert (result.returncode, result.stderr) == (0, "")
    again = tmp_path / "again"
    assert (again / "weights.npz").read_bytes() == (finished / "weights.npz").read_bytes()
    assert (again / "config.json").read_bytes() == (finished / "config.json").read_bytes()
    rows = [
        [line.rsplit(",", 1)[0] for line in (folder / "metrics.csv").read_text().splitlines()]
        for folder in (finished, again)
    ]
    assert rows[0] == rows[1]
    assert sorted(path.name for path in again.iterdir()) == [
        "checkpoint.npz", "checkpoint.prev.npz", "config.json", "metrics.csv", "moments",
        "weights.npz",
    ]  # fmt: skip


def weights(folder):
    with np.load(folder / "weights.npz") as file:
        return np.concatenate([file[name].ravel() for name in sorted(file)])


@pytest.mark.parametrize("engines", [["numpy"], ["numpy", "compiled"], ["compiled", "numpy"]])
def test_engines_learn_the_same_to_rounding(engines, finished, tmp_path, monkeypatch):
    """Also if one goes on with a run that the other has begun."""
    used, learn = [], train.learn

    def watched(model, *rest):
        used.append(model.engine)
        return learn(model, *rest)

    monkeypatch.setattr(train, "learn", watched)
    where = [*SMALL, "--epochs", "15", "--out", tmp_path]
    for engine in engines:
        if engine == engines[-1]:
            where += ["--epochs", "30"]
        assert run(command.main, *where, "--no-images", "--engine", engine) == 0
        assert set(used) == {engine}
        used.clear()
        where = ["--resume", tmp_path]
    # A gradient that is 0 but for rounding may have either sign, and RMSprop's step is long.
    assert np.quantile(np.abs(weights(tmp_path) - weights(finished)), 0.99) < 2e-4


def test_numpy_goes_on_to_the_bit(tmp_path):
    numpy = ["--engine", "numpy", "--no-images", "--epochs"]
    for name, epochs in (("a", 14), ("b", 9)):
        assert run(command.main, *SMALL, *numpy, epochs, "--out", tmp_path / name) == 0
    assert run(command.main, *numpy[2:], 14, "--resume", tmp_path / "b") == 0
    one, other = ((tmp_path / name / "weights.npz").read_bytes() for name in "ab")
    assert one == other


def test_another_seed_gives_other_bytes(finished, tmp_path):
    assert run(command.main, *SMALL, "--out", tmp_path / "b", "--seed", 1, "--no-images") == 0
    assert (tmp_path / "b/weights.npz").read_bytes() != (finished / "weights.npz").read_bytes()


def test_overwrite(tmp_path, capsys):
    assert run(command.main, *SMALL, "--out", tmp_path) == 0
    (tmp_path / "notes.txt").write_text("mine")
    before = (tmp_path / "weights.npz").read_bytes()
    assert run(command.main, *SMALL, "--out", tmp_path, "--seed", 1) == 2
    assert "--overwrite" in capsys.readouterr().err
    options = [*SMALL, "--out", tmp_path, "--seed", 1, "--no-images", "--overwrite"]
    (tmp_path / "curve.png").unlink()
    (tmp_path / "curve.png").mkdir()
    assert run(command.main, *options) == 2
    assert "['curve.png'] are folders there" in capsys.readouterr().err
    assert (tmp_path / "weights.npz").read_bytes() == before  # nothing is half removed
    (tmp_path / "curve.png").rmdir()
    assert run(command.main, *options) == 0
    assert (tmp_path / "weights.npz").read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.npz", "checkpoint.prev.npz", "config.json", "images", "metrics.csv",
        "moments", "notes.txt", "weights.npz",
    ]  # fmt: skip
    assert list((tmp_path / "images").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, "holds a run already") for name in ("images/000.png", "curve.png", "game.gif")),
        ("thesis.txt", "holds other files; expected a new folder"),
    ],
)
def test_a_folder_of_other_files_is_left_alone(name, words, tmp_path, capsys):
    """What a run would replace counts as a run."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    assert run(command.main, *SMALL, "--out", tmp_path) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [Path(name).name]


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="no links here")
@pytest.mark.parametrize("name", ["images", "moments"])
def test_links_out_of_a_run_are_refused(name, tmp_path, capsys):
    """The numbered files in another folder are not removed or replaced."""
    other = tmp_path / "other"
    other.mkdir()
    for file in ("000.png", "000001.npz"):
        (other / file).write_bytes(b"mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).symlink_to(other)
    assert run(command.main, *SMALL, "--out", folder, "--overwrite") == 2
    assert re.search("error: --out .* cannot be written to: .* is a link", capsys.readouterr().err)
    assert sorted(path.read_bytes() for path in other.iterdir()) == [b"mine", b"mine"]


def test_images_that_are_no_folder(tmp_path, capsys):
    (tmp_path / "images").write_text("")
    assert run(command.main, *SMALL, "--out", tmp_path) == 2
    assert "cannot be written to" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_settings_reach_the_loop(monkeypatch):
    """Every setting arrives where it belongs."""
    seen = {}

    def spy(name, module, take):
        function = getattr(module, name)

        def watched(*arguments, **options):
            seen[name] = take(arguments, options)
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, watched)

    spy("epsilon_greedy", train, lambda a, o: a[2])
    spy("experience_replay", train, lambda a, o: a[:2])
    spy("learn", train, lambda a, o: a[2:])
    spy("q_error", train, lambda a, o: a[1:])
    spy("wins", train, lambda a, o: a[1])
    settings = Settings(
        grid_size=6, epochs=6, batch_size=9, epsilon=0.55, gamma=0.66, capacity=17, eval_every=5
    )
    list(train.training(q_network(6), settings, settings.streams()))
    assert seen == {
        "epsilon_greedy": 0.55,
        "experience_replay": (9, 17),
        "learn": (0.66, (-1, 0, 1)),
        "q_error": (6, 0.66),
        "wins": 6,
    }


def test_the_loss_is_the_epoch_s_sum(monkeypatch):
    learn, losses = train.learn, []

    def watched(*arguments):
        losses.append(learn(*arguments))
        return losses[-1]

    monkeypatch.setattr(train, "learn", watched)
    settings = Settings(grid_size=6, epochs=3, batch_size=4)
    records = list(train.training(q_network(6), settings, settings.streams()))
    assert len(losses) == 3 * 4 - 3
    expected = [losses[0], sum(losses[1:5]), sum(losses[5:])]
    # From Python 3.12 on, sum is more exact than one addition after the other.
    assert [record.loss for record in records] == pytest.approx(expected, rel=1e-12)


def test_flags_reach_the_settings(tmp_path):
    flags = {
        "grid_size": 6, "epochs": 2, "batch_size": 3, "epsilon": 0.4, "gamma": 0.5,
        "learning_rate": 0.25, "capacity": 7, "seed": 8, "eval_every": 9, "filters": (4, 5, 6),
        "kernel_size": 2, "units": 7, "game": "snake",
    }  # fmt: skip
    words = []
    for name, value in flags.items():
        words += [f"--{name.replace('_', '-')}", *(value if isinstance(value, tuple) else [value])]
    assert run(command.main, *words, "--out", tmp_path, "--no-images") == 0
    settings, model, game = runs.load_run(tmp_path)
    assert settings == Settings(**flags)
    assert game.name == "snake"
    assert [weight.shape for weight in model.get_weights()[::2]] == [
        (2, 2, 3, 4), (2, 2, 4, 5), (2, 2, 5, 6), (3 * 3 * 6, 7), (7, 4)
    ]  # fmt: skip
    assert model.optimizer.learning_rate == 0.25


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid-size", "2"], "--grid-size is 2; expected at least 3"),
        (["--grid-size", "4"], "frames of fruit are 4 x 4; expected 5 x 5 for 2 convolutions"),
        (["--grid-size", "ten"], "--grid-size: invalid int value: 'ten'"),
        (["--epsilon", "1.01"], r"--epsilon is 1.01; expected a number in \[0, 1\]"),
        (["--epsilon", "nan"], "--epsilon is nan"),
        (["--gamma", "1"], r"--gamma is 1.0; expected a number in \[0, 1\)"),
        (["--gamma", "-0.1"], "--gamma is -0.1"),
        (["--batch-size", "0"], "--batch-size is 0; expected at least 1"),
        (["--batch-size", "65", "--capacity", "64"], "--batch-size is 65; expected at most"),
        (["--capacity", "0"], "--capacity is 0"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--eval-every", "0"], "--eval-every is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--learning-rate", "0"], "--learning-rate is 0.0"),
        (["--learning-rate", "inf"], "--learning-rate is inf"),
        (["--learning-rate", "1e39"], "--learning-rate is 1e.39; expected one that float32 holds"),
        (["--engine", "gpu"], "--engine: invalid choice: 'gpu'"),
        (["--threads", "1"], "unrecognized arguments: --threads 1"),
        (["--grid-size", "10000000000"], "a network for frames of .*10000000000.* do not fit"),
        (["--capacity", "1000000000000000"], "--capacity 1000000000000000 and .* do not fit"),
        (["--game", "chess"], "--game is chess; expected fruit, snake, gym:ID, or a file"),
        (["--game", "no.py:game"], "--game is no.py:game; there is no file no.py; expected fruit"),
        (["--filters", "4", "--kernel-size", "11"], "10 x 10; expected 11 x 11 for 1 convo"),
        (["--filters", "16", "0"], "--filters is 0; expected at least 1"),
        (["--units", "0"], "--units is 0"),
        (["--filters", *["2"] * 5], "10 x 10; expected 11 x 11 for 5 convo"),
        (["--out", ""], "argument --out: '' is empty"),
        (["--out", "~nosuchuser/x"], "argument --out: '~nosuchuser/x' is no name"),
    ],
)
def test_bad_settings(arguments, words, tmp_path, capsys):
    assert run(command.main, "--out", tmp_path / "x", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"python -m minidqn\.train: error: .*{words}.*\n", err)
    assert not (tmp_path / "x").exists()


def test_out_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(command.main, "--out", tmp_path / "file" / "run") == 2
    assert re.fullmatch(r".*error: --out .*cannot be written to: .*\n", capsys.readouterr().err)
    assert run(command.main, "--out", tmp_path / "file") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "file").read_text() == ""


def test_a_disk_that_fails_during_the_run(tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs.MetricsWriter, "write", fail)
    assert run(command.main, *SMALL, "--out", tmp_path) == 1
    assert re.fullmatch(".*error: .*No space left on device\n", capsys.readouterr().err)


def _text(text):
    return lambda folder: (folder / "config.json").write_text(text)


def _settings(**changes):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        config["settings"].update(changes)
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def _weights_of_nan(folder):
    with np.load(folder / "weights.npz") as file:
        arrays = dict(file)
    arrays["dense/bias"][3] = np.nan
    np.savez(folder / "weights.npz", **arrays)


DAMAGES = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "a broken config": _text("{"),
    "a config of nothing": _text("[]"),
    "a huge config": _text(" " * 200_000),
    "a nested config": _text("[" * 90_000),
    "a setting more": _settings(more=1),
    "another grid": _settings(grid_size=6),
    "a grid that is text": _settings(grid_size="5"),
    "a huge grid": _settings(grid_size=10**6),
    "a grid beyond arrays": _settings(grid_size=10**20),
    "a number beyond float": _settings(learning_rate=10**400),
    "a setting that is NaN": _settings(epsilon=float("nan")),
    "weights of NaN": _weights_of_nan,
    "no weights": lambda folder: (folder / "weights.npz").unlink(),
    "no folder": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_runs_are_not_played(damage, finished, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.json", "weights.npz"):
        (folder / name).write_bytes((finished / name).read_bytes())
    DAMAGES[damage](folder)
    left = sorted(tmp_path.rglob("*"))
    assert run(play.main, folder) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"python -m minidqn\.play: error: .+\n", err)
    assert str(folder) in err
    assert sorted(tmp_path.rglob("*")) == left


def test_play_mistakes(finished, tmp_path, capsys):
    assert run(play.main, finished, "--games", 0) == 2
    assert "--games is 0" in capsys.readouterr().err
    assert run(play.main) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "file").write_text("")
    assert run(play.main, finished, "--out", tmp_path / "file") == 2
    assert "file' is a file; expected a folder" in capsys.readouterr().err
    (tmp_path / "images").write_text("")
    assert run(play.main, finished, "--out", tmp_path) == 2
    assert re.search("error: --out .* cannot be written to: ", capsys.readouterr().err)
    assert run(play.main, finished, "--games", 10**9) == 2
    assert "--games is 1000000000; expected at most 10000" in capsys.readouterr().err
    assert run(play.main, tmp_path / "none") == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_help_names_every_flag_with_its_default(capsys):
    assert run(command.main, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for flag, default in (
        ("grid-size", 10), ("epochs", 500), ("batch-size", 128), ("epsilon", 0.8), ("gamma", 0.8),
        ("learning-rate", 0.001), ("capacity", 100000), ("seed", 0), ("eval-every", 10),
        ("out", "runs.GAME"), ("engine", "auto"), ("units", 100), ("game", "fruit"),
    ):  # fmt: skip
        assert re.search(rf"--{flag} \S+ [^(]+\(default: {default}\)", text), flag
    assert "--no-images" in text


class Stream:
    """A text stream that may say it is a terminal."""

    encoding = "utf-8"

    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def record(epoch, wins=None):
    measures = (None,) * 4 if wins is None else (0.5, wins, 80, 0.1)
    return Record(epoch, 8 * epoch, 8 * epoch, 0.01671, *measures, epoch / 100)


def test_progress_on_a_pipe():
    stream = Stream(False)
    progress = cli.Progress(250, stream)
    for epoch in range(1, 251):
        progress.show(record(epoch, 69 if epoch % 30 == 0 or epoch == 100 else None))
    assert stream.text.splitlines() == [
        "Epoch 100, loss: 0.016710, wins: 69/80",
        "Epoch 200, loss: 0.016710, wins: 69/80 (epoch 180)",
    ]


@pytest.mark.parametrize("columns", [40, 80])
def test_progress_on_a_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    stream = Stream(True)
    progress = cli.Progress(250, stream)
    for epoch in range(1, 251):
        progress.show(record(epoch, 69 if epoch % 50 == 0 else None))
    lines = stream.text.split("\r")[1:]
    assert len(lines) < 30  # ten a second, not every epoch
    assert max(len(line.rstrip("\n")) for line in lines) <= columns - 1
    for line, after in itertools.pairwise(lines):  # nothing of a longer line is left
        assert len(line.rstrip()) <= len(after.rstrip("\n"))
    assert lines[0].startswith("epoch 1/250  loss 0.016710  return -")
    assert lines[-1].startswith("epoch 250/250  loss 0.016710  wins")
    assert lines[-1].endswith("\n")
    if columns == 80:  # the whole line fits a common terminal
        assert lines[0].rstrip().endswith("0 updates/s  -:-- left")
        assert lines[-1].rstrip().endswith("wins 69/80  800 updates/s  0:00 left")


def test_the_first_compilation_is_announced(tmp_path):
    """Once with an empty cache, never with a full one; the words, not the clock."""
    command = ["-m", "minidqn.train", *SMALL, "--no-images", "--out"]
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    first = process(*command, tmp_path / "a", **cache)
    assert re.fullmatch(r"compiling kernels, once \.\.\. \d+\.\d s\n", first.stderr)
    second = process(*command, tmp_path / "b", **cache)
    assert second.stderr == ""
    assert second.stdout.startswith(first.stdout.split(" in ")[0])


def test_a_reader_that_goes_away(tmp_path):
    code = "from minidqn import cli\ncli.run(lambda: [print('x' * 80) for _ in range(10**5)])"
    pipe = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    pipe.stdout.readline()
    pipe.stdout.close()
    assert pipe.stderr.read() == b""
    assert pipe.wait(timeout=60) == 141
    pipe.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
def test_an_output_that_cannot_be_written():
    code = "from minidqn import cli\ncli.run(lambda: print('x'))"
    with open("/dev/full", "w") as full:
        result = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 1
    assert result.stderr == b"error: [Errno 28] No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="folders have other names there")
def test_a_name_that_the_terminal_cannot_spell(tmp_path):
    """It is escaped; a run that has ended is not lost for that."""
    folder = tmp_path / "früchte"
    arguments = ["-m", "minidqn.train", *SMALL, "--no-images", "--out", folder]
    result = process(*arguments, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (result.returncode, result.stderr) == (0, "")
    assert "fr\\xfcchte" in result.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
def test_an_announcement_that_cannot_be_written(tmp_path):
    """Nor is it missed."""
    command = [
        sys.executable,
        "-m",
        "minidqn.train",
        *SMALL,
        "--no-images",
        "--out",
        tmp_path / "a",
    ]
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=full, env=env)
    assert result.returncode == 0


def test_ctrl_c_is_one_line():
    code = "from minidqn import cli\ndef main(): raise KeyboardInterrupt\ncli.run(main)"
    result = process("-c", code)
    assert (result.returncode, result.stderr) == (130, "interrupted\n")


def test_streams_are_independent_and_fixed():
    """Written down, so that a change that would change every run is seen."""
    streams = Settings(seed=3).streams()
    assert streams._fields == ("game", "exploration", "replay", "weights", "test")
    draws = [int(stream.integers(1000)) for stream in streams]
    expected = [
        int(np.random.default_rng(seed).integers(1000))
        for seed in np.random.SeedSequence(3).spawn(5)
    ]
    assert draws == expected
    assert len(set(draws)) == 5


# Games of one's own

GAME = """
import numpy as np
from minidqn.games import Game

def walk(rng=None):
    row, coins = 0, {1, 3}
    for step in range(8):
        frame = np.zeros((2, 5, 5))
        frame[0, row, 2] = 1
        frame[1, sorted(coins), 2] = 1
        action = yield frame, FOUND if row in coins else 0, row == 4, step == 7
        coins.discard(row)
        row = min(max(row + (action == 10) - (action == 20), 0), 4)

game = Game(walk, actions=[10, 20, 30], shape=(2, 5, 5))
"""
OWN = ["--epochs", 6, "--batch-size", 4, "--filters", 4, "--units", 8, "--eval-every", 3]


@pytest.fixture
def own(tmp_path):
    """A file with a game, and the flags of a short run of it."""
    path = tmp_path / "my game.py"
    path.write_text(GAME.replace("FOUND", "1"))
    return path, ["--game", f"{path}:game", *OWN, "--out", tmp_path / "run"]


def test_a_game_in_a_file(own, tmp_path, capsys):
    """Trained, drawn, played; and its code only runs where the command line names it."""
    path, flags = own
    folder = tmp_path / "run"
    assert run(command.main, *flags) == 0
    said = capsys.readouterr().out
    assert re.search(r"mean return -?\d\.\d\d, of random play \d\.\d\d, in", said)
    assert {"curve.png", "features.png", "filters.png", "game.gif"} < set(os.listdir(folder))
    assert not {"wins.png", "values.png"} & set(os.listdir(folder))
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows if row["return"]] == ["3", "6"]
    assert {row["wins"] + row["starts"] + row["q_error"] for row in rows} == {""}
    path.write_text("import sys; sys.exit('must not run')")
    assert run(page.main, folder) == 2
    assert "expected fruit and two convolutions of 3 x 3" in capsys.readouterr().err
    for main, words in (
        (play.main, [folder]), (images.main, [folder]),
        (command.main, ["--resume", folder, "--epochs", 8]),
    ):  # fmt: skip
        assert run(main, *words) == 2
        assert f"--game {path}:game" in capsys.readouterr().err
    path.write_text(GAME.replace("FOUND", "1"))
    game = ["--game", f"{path}:game"]
    assert run(play.main, folder, *game, "--games", 3, "--watch") == 0
    assert "mean return of 3 games: " in capsys.readouterr().out
    assert run(images.main, folder, *game) == 0


def test_a_game_in_a_file_goes_on(own, tmp_path, capsys):
    """To the same bytes as in one go."""
    path, flags = own
    assert run(command.main, *flags, "--no-images") == 0
    game = ["--game", f"{path}:game", "--no-images"]
    path.rename(path.with_name("moved.py"))  # what counts is what the game is like
    moved = ["--game", f"{path.with_name('moved.py')}:game", "--no-images"]
    assert run(command.main, "--resume", tmp_path / "run", *moved, "--epochs", 12) == 0
    path.with_name("moved.py").rename(path)
    again = tmp_path / "again"
    assert run(command.main, *flags, "--no-images", "--epochs", 12, "--out", again) == 0
    for name in ("weights.npz", "checkpoint.npz"):
        if name == "weights.npz":
            assert (again / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    assert run(command.main, "--resume", tmp_path / "run", "--game", "snake") == 2
    assert "moved.py:game" in capsys.readouterr().err  # where it was found last
    path.write_text(path.read_text().replace("30]", "30, 40]"))
    for words in ([command.main, "--resume"], [play.main]):
        assert run(*words, tmp_path / "run", *game[:2]) == 2
        err = capsys.readouterr().err
        assert "'actions': [10, 20, 30]}; expected {'shape': [2, 5, 5], 'actions': [10, 20" in err


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (GAME.replace("FOUND", "1").replace("np.zeros", "np.zero"), 1, "has no attribute 'zero'"),
        (GAME.replace("FOUND", "np.nan"), 1, "walk, step 2: its reward is nan"),
        ("import nothing_of_this_name", 2, "ModuleNotFoundError in line 1: No module"),
        ("game = 3", 2, "expected a Game of"),
        ("def game(:", 2, "SyntaxError: "),
    ],
)
def test_games_that_go_wrong(text, status, words, own, capsys):
    """A line that says where; the training's own mistakes keep the last checkpoint."""
    path, flags = own
    path.write_text(text)
    if "np.zero(" in text:  # the user's own bug: Python's traceback shows where
        with pytest.raises(AttributeError, match=words):
            run(command.main, *flags)
        return
    assert run(command.main, *flags) == status
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
