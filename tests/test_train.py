"""The commands: what they write, say and refuse."""

import csv
import dataclasses
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import types

import numpy as np
import pytest

from minidqn import cli, command, images, page, play, runs, train
from minidqn.evaluate import q_error, win_rate
from minidqn.fruit import Fruit
from minidqn.recipe import q_network
from minidqn.runs import Record, Settings
from tests.commands import SMALL, disk_full, files, names, process, refusal, run, started, trained

FILES = ["checkpoint.npz", "checkpoint.prev.npz", "config.json", "metrics.csv", "moments",
         "weights.npz"]  # fmt: skip
PICTURES = ["curve.png", "features.png", "filters.png", "game.gif", "images", "values.png",
            "wins.png"]  # fmt: skip
unix = pytest.mark.skipif(os.name == "nt", reason="links and names are others there")
full_device = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a small run."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert trained(*SMALL, "--out", folder) == 0
    return folder


def rows(folder):
    """The lines of metrics.csv."""
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


@pytest.mark.parametrize("seed", range(3))
def test_a_small_run_learns(seed):
    settings = Settings(grid_size=6, epochs=250, batch_size=32, gamma=0.7, seed=seed)
    streams = settings.streams()
    model = q_network(6, streams.weights)
    untrained = q_error(model, 6, 0.7)
    *_, last = train.training(model, settings, streams)
    assert last.wins >= 0.9 * last.starts
    assert last.wins == round(win_rate(model, 6) * 24)
    assert last.q_error == q_error(model, 6, 0.7) < 0.6 * untrained


def watch(monkeypatch, module, name, note):
    """Have a function of a module note its arguments and its result."""
    function = getattr(module, name)

    def watched(*arguments):
        result = function(*arguments)
        note(arguments, result)
        return result

    monkeypatch.setattr(module, name, watched)


def test_records(rng, monkeypatch):
    losses = []
    watch(monkeypatch, train, "learn", lambda _, loss: losses.append(loss))
    settings = Settings(grid_size=5, epochs=7, batch_size=4, eval_every=3)
    records = list(train.training(q_network(5, rng), settings, settings.streams()))
    # The fourth step fills the first batch.
    updates = [0, 3, 6, 9, 12, 15, 18]
    assert [record[:3] for record in records] == [
        (epoch, 3 * epoch, done) for epoch, done in enumerate(updates, start=1)
    ]
    sums = [0, *(sum(losses[done - 3 : done]) for done in updates[1:])]
    # From Python 3.12 on, sum is more exact than one addition after the other.
    assert [record.loss for record in records] == pytest.approx(sums, rel=1e-12)
    measured = [record for record in records if record.wins is not None]
    assert [record.epoch for record in measured] == [3, 6, 7]
    assert [r.wins is None for r in records] == [r.q_error is None for r in records]
    assert {record.starts for record in records} == {None, 15}
    returns = [2 * record.wins / 15 - 1 for record in measured]
    assert [record.mean_return for record in measured] == pytest.approx(returns)
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(records))


def test_what_a_run_leaves(finished):
    assert names(finished) == sorted(FILES + PICTURES)
    assert names(finished / "images") == [f"{number:03d}.png" for number in range(10 * 4)]
    config = json.loads((finished / "config.json").read_text())
    assert config["settings"]["grid_size"] == 5
    assert config["settings"]["learning_rate"] == 0.001
    assert set(config["versions"]) == {"python", "numpy", "numba", "minidqn"}
    assert config["error"] is None
    text = (finished / "metrics.csv").read_text()
    assert text.startswith(
        "epoch,steps,updates,loss,episode_return,return,wins,starts,q_error,seconds\n"
    )
    lines = rows(finished)
    assert [int(row["epoch"]) for row in lines] == list(range(1, 31))
    for name in ("wins", "q_error"):
        assert [int(row["epoch"]) for row in lines if row[name]] == [10, 20, 30]
    settings, model, _ = runs.load_run(finished)
    assert win_rate(model, 5) == int(lines[-1]["wins"]) / 15
    assert q_error(model, 5, settings.gamma) == float(lines[-1]["q_error"])


def test_play_repeats_the_run_s_games(finished, tmp_path, capsys):
    """And leaves no others, if there are fewer now."""
    assert run(play.main, finished, "--out", tmp_path) == 0
    assert re.search(r"\d+ of 10 games won; \d+ of all 15 starts", capsys.readouterr().out)
    for path in (finished / "game.gif", *(finished / "images").iterdir()):
        assert path.read_bytes() == (tmp_path / path.relative_to(finished)).read_bytes()
    (tmp_path / "images" / "mine.png").write_bytes(b"")
    assert run(play.main, finished, "--out", tmp_path, "--games", 2) == 0
    assert names(tmp_path / "images") == [*(f"{n:03d}.png" for n in range(8)), "mine.png"]


def test_watch_on_a_pipe(finished, capsys):
    before = files(finished)
    assert run(play.main, finished, "--watch", "--games", 1, "--no-images") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "game 1 of 1"
    assert lines[5].count("██") == 3
    assert re.fullmatch("game 1 of 1 (caught|missed)", lines[18].strip())
    assert not any("\x1b" in line for line in lines)
    assert files(finished) == before


@pytest.mark.parametrize(("encoding", "block"), [("utf-8", "██"), ("ascii", "##")])
def test_watch_on_a_terminal(encoding, block, finished, monkeypatch):
    """Each frame is drawn over the last: the cursor goes up by a frame and its title."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    settings, model, _ = runs.load_run(finished)
    stream = Stream(True)
    stream.encoding = encoding
    play.watch(train.play_test_games(model, settings, 2), stream)
    assert stream.text.count("\x1b[6A") == 2 * 4 - 1
    assert stream.text.count("\n") == 2 * 4 * 6
    assert block in stream.text.encode(encoding).decode()


def test_a_seed_and_its_bytes(finished, tmp_path):
    """The same seed gives the same in another process too; another seed does not."""
    again, other = tmp_path / "again", tmp_path / "other"
    flags = [*SMALL, "--no-images", "--out"]
    assert process("-m", "minidqn.train", *flags, again)[0] == 0
    for name in ("weights.npz", "config.json"):
        assert (again / name).read_bytes() == (finished / name).read_bytes()
    lines = [[row | {"seconds": 0} for row in rows(folder)] for folder in (finished, again)]
    assert lines[0] == lines[1]
    assert names(again) == FILES
    assert trained(*flags, other, "--seed", 1) == 0
    assert (other / "weights.npz").read_bytes() != (again / "weights.npz").read_bytes()


def weights(folder):
    with np.load(folder / "weights.npz") as file:
        return np.concatenate([file[name].ravel() for name in sorted(file)])


@pytest.mark.parametrize("engines", [["numpy"], ["numpy", "compiled"], ["compiled", "numpy"]])
def test_engines_learn_the_same_to_rounding(engines, tmp_path, monkeypatch):
    """Also if one goes on with a run that the other has begun."""
    # RMSprop makes a whole step of a gradient that is 0 but for rounding.
    flags = [*SMALL, "--optimizer", "sgd", "--learning-rate", 0.1, "--no-images", "--out"]
    assert trained(*flags, tmp_path / "expected") == 0
    used = []
    watch(monkeypatch, train, "learn", lambda arguments, _: used.append(arguments[0].engine))
    where = [*flags, tmp_path / "run", "--epochs", 15]
    for engine in engines:
        if engine == engines[-1]:
            where += ["--epochs", 30]
        assert trained(*where, "--no-images", "--engine", engine) == 0
        assert set(used) == {engine}
        used.clear()
        where = ["--resume", tmp_path / "run"]
    found, expected = weights(tmp_path / "run"), weights(tmp_path / "expected")
    np.testing.assert_allclose(found, expected, atol=1e-6)


LADDER = {
    "exploration_final_eps": 0.1, "exploration_steps": 20, "n_step": 2, "double": True,
    "target_update_interval": 5, "loss": "huber", "learning_starts": 7, "train_freq": 2,
    "optimizer": "rmsprop momentum=0.5 centered=true",
}  # fmt: skip


def as_words(settings):
    """Settings as a command line has them."""
    words = []
    for name, value in settings.items():
        values = value if isinstance(value, tuple) else [value] * (value is not True)
        words += [f"--{name.replace('_', '-')}", *values]
    return words


def test_schedules():
    """Epsilon falls along a line from the first learning step on, the rate over the whole run."""
    preset = {n: v for n, v in command.PRESETS["minatar"].items() if n != "checkpoint_every"}
    settings = Settings(**preset)
    steps = (0, 5_000, 55_000, 105_000, 5_000_000)
    assert [settings.epsilon_at(n) for n in steps] == pytest.approx([1, 1, 0.55, 0.1, 0.1])
    assert [settings.learns_at(n) for n in (1, 4_999, 5_000, 5_001)] == [False, False, True, True]
    every_fourth = Settings(train_freq=4)
    assert [n for n in range(1, 13) if every_fourth.learns_at(n)] == [4, 8, 12]
    assert {every_fourth.epsilon_at(n) for n in steps} == {0.8}
    falling = Settings(epochs=4, learning_rate=0.5, final_learning_rate=0.1)
    records = [None, *(runs.Record(n, 10 * n, *[0] * 8) for n in (1, 2, 4))]
    for length in ({}, {"steps": 40}):
        rates = [*map(dataclasses.replace(falling, **length).learning_rate_at, records)]
        assert rates == pytest.approx([0.5, 0.4, 0.3, 0.1])
    assert {*map(settings.learning_rate_at, records)} == {0.00025}
    with pytest.raises(TypeError, match="no optimizer"):
        next(train.training(object(), falling, falling.streams()))


def test_a_preset_gives_way(tmp_path):
    """To another length of the run, and to a game that has no grid size."""
    (tmp_path / "walk.py").write_text(GAME)
    (tmp_path / "neighbour.py").write_text("COINS = {1, 3}")
    own = ["--game", tmp_path / "walk.py:game", "--epochs", 2]
    for flags, steps in ((["--steps", 40], 40), (own, 0)):
        words = ["--preset", "big", *flags, "--no-images", "--out", tmp_path / str(steps)]
        assert trained(*words) == 0
        config = json.loads((tmp_path / str(steps) / "config.json").read_text())["settings"]
        assert (config["steps"], config["gamma"]) == (steps, 0.97)


def test_a_run_too_short_to_learn_says_so(tmp_path, capsys):
    words = ["--grid-size", 5, "--epochs", 3, "--train-freq", 50, "--no-images", "--out", tmp_path]
    assert trained(*words) == 0
    assert re.search(r"made in 9 steps: .* comes after step 150$", capsys.readouterr().err, re.M)


@pytest.mark.parametrize("preset", command.PRESETS)
def test_every_preset_is_a_run(preset, tmp_path, capsys):
    """Fruit in the place of a game of Gymnasium; what goes wrong names the preset."""
    words = ["--preset", preset, "--game", "fruit", "--epochs", 1, "--no-images"]
    if preset != "huge":  # whose evaluation takes half a minute
        assert trained(*words, "--out", tmp_path) == 0
    said = refusal(capsys, command.main, *words, "--gamma", 1)
    assert said.rstrip().endswith(f"(--preset {preset} sets the others)")


def test_a_preset_and_what_is_given_beside_it(tmp_path):
    words = ["--preset", "minatar", "--game", "fruit", "--gamma", 0.9, "--no-images"]
    assert trained(*words, "--epochs", 3, "--out", tmp_path) == 0
    settings, model, _ = runs.load_run(tmp_path)
    assert (settings.epochs, settings.steps, settings.gamma) == (3, 0, 0.9)
    assert (settings.target_update_interval, settings.loss, settings.units) == (1000, "huber", 128)
    assert (model.optimizer.rho, model.optimizer.epsilon, model.optimizer.centered) == (
        0.95, 0.01, True
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "length", "lengths"),
    [
        (["--engine", "numpy"], "--epochs", (14, 9)),
        (as_words(LADDER), "--epochs", (14, 9)),
        (as_words(LADDER | {"optimizer": "adam"}), "--steps", (40, 25)),
    ],
)
def test_it_goes_on_to_the_bit(flags, length, lengths, tmp_path):
    for name, count in zip("ab", lengths, strict=True):
        words = [*SMALL[:2], *SMALL[4:], *flags, "--no-images", length, count]
        assert trained(*words, "--out", tmp_path / name) == 0
    assert trained("--no-images", length, lengths[0], "--resume", tmp_path / "b") == 0
    one, other = ((tmp_path / name / "weights.npz").read_bytes() for name in "ab")
    assert one == other


def test_overwrite(tmp_path, capsys):
    assert trained(*SMALL, "--out", tmp_path) == 0
    (tmp_path / "notes.txt").write_text("mine")
    before = weights(tmp_path)
    options = [*SMALL, "--out", tmp_path, "--seed", 1, "--no-images"]
    assert "--overwrite" in refusal(capsys, command.main, *options)
    options.append("--overwrite")
    (tmp_path / "curve.png").unlink()
    (tmp_path / "curve.png").mkdir()
    assert "curve.png is a folder there" in refusal(capsys, command.main, *options)
    assert (weights(tmp_path) == before).all()  # nothing is half removed
    (tmp_path / "curve.png").rmdir()
    assert trained(*options) == 0
    assert (weights(tmp_path) != before).any()
    assert names(tmp_path) == sorted([*FILES, "images", "notes.txt"])
    assert names(tmp_path / "images") == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("images/000.png", "holds other files"),
        ("weights.npz", "holds other files"),
        ("config.json", "holds other files"),
        ("thesis.txt", "holds other files; expected a new folder"),
        ("images", "cannot be written to"),
    ],
)
def test_a_folder_of_other_files_is_left_alone(name, words, tmp_path, capsys):
    """Also with --overwrite, and if they have the names of a run's files."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    for flags in ([], ["--overwrite"]):
        assert words in refusal(capsys, command.main, *SMALL, *flags, "--out", tmp_path)
    assert files(tmp_path) == {tmp_path / name: b"mine"}


@unix
@pytest.mark.parametrize("name", ["images", "moments"])
def test_links_out_of_a_run_are_refused(name, tmp_path, capsys):
    """The numbered files in another folder are not removed or replaced."""
    folder, other = tmp_path / "run", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    for file in ("000.png", "000001.npz"):
        (other / file).write_bytes(b"mine")
    (folder / name).symlink_to(other)
    words = refusal(capsys, command.main, *SMALL, "--out", folder, "--overwrite")
    assert re.search("error: --out .* cannot be written to: .* is a link", words)
    assert list(files(other).values()) == [b"mine", b"mine"]


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 9}, {"epsilon": 0.3}, {"gamma": 0.6}, {"capacity": 17}, {"seed": 1},
        {"exploration_steps": 30, "exploration_final_eps": 0.1}, {"learning_starts": 20},
        {"n_step": 2}, {"target_update_interval": 10}, {"loss": "huber"}, {"optimizer": "adam"},
        {"train_freq": 2}, {"target_update_interval": 10, "double": True}, {"steps": 30},
        {"final_learning_rate": 0.0001},
    ],
)  # fmt: skip
def test_every_setting_counts(change):
    """What is learned is another with any of them."""
    losses = []
    without = {"target_update_interval": 10} if "double" in change else {}
    for options in (without, change):
        settings = Settings(**({"grid_size": 6, "epochs": 12, "batch_size": 8} | options))
        streams = settings.streams()
        model = settings.q_network(Fruit(6), np.random.default_rng(0))
        losses.append([record.loss for record in train.training(model, settings, streams)])
    assert losses[0] != losses[1]


def test_flags_reach_the_settings(tmp_path):
    flags = {
        "grid_size": 6, "epochs": 2, "batch_size": 3, "epsilon": 0.4, "gamma": 0.5,
        "learning_rate": 0.25, "capacity": 7, "seed": 8, "eval_every": 9, "filters": (4, 5, 6),
        "kernel_size": 2, "units": 7, "game": "snake", **LADDER,
    }  # fmt: skip
    assert trained(*as_words(flags), "--out", tmp_path, "--no-images") == 0
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
        (
            ["--grid-size", "4"],
            "frames of fruit are 4 x 4; expected at least 5 x 5 for 2 convolutions",
        ),
        (["--epsilon", "1.01"], r"--epsilon is 1.01; expected a number in \[0, 1\]"),
        (["--epsilon", "nan"], "--epsilon is nan"),
        (["--gamma", "1"], r"--gamma is 1.0; expected a number in \[0, 1\)"),
        (["--batch-size", "65", "--capacity", "64"], "--batch-size is 65; expected at most"),
        (["--learning-rate", "1e39"], "--learning-rate is 1e.39; expected one that float32 holds"),
        (["--engine", "gpu"], "--engine: invalid choice: 'gpu'"),
        (["--grid-size", "10000000000"], "--units for frames of .*10000000000.* do not fit"),
        (["--capacity", "1000000000000000"], "--capacity, --filters and --units .* do not fit"),
        (["--game", "chess"], "--game is chess; expected fruit, snake, gym:ID, or a file"),
        (["--game", "no.py:game"], "--game is no.py:game; there is no file no.py; expected fruit"),
        (["--learning-rate", "0"], "--learning-rate is 0.0"),
        (["--final-learning-rate", "0.01"], "--final-learning-rate is 0.01; expected at most --l"),
        (["--final-learning-rate", "1e-50"], r"-rate is 1e-50; expected a number in \[1e-38, inf"),
        (["--double"], "--double is True; expected a --target-update-interval above 0"),
        (
            ["--exploration-steps", "9"],
            "--exploration-steps is 9 and --exploration-final-eps None",
        ),
        (
            ["--exploration-final-eps", "0.9", "--exploration-steps", "9"],
            "-eps is 0.9; expected at most epsilon, 0.8",
        ),
        (["--learning-starts", "9", "--steps", "9"], "--learning-starts is 9; expected fewer than"),
        (["--exploration-final-eps", "2", "--exploration-steps", "9"], "-eps is 2.0; expected a"),
        (["--loss", "mae"], "--loss is 'mae'; expected 'mse', 'huber'"),
        (["--optimizer", "lion"], "--optimizer is 'lion'; expected one of sgd, rmsprop, adam"),
        (["--optimizer", "adam beta1=0.5"], "beta1 is none of its parameters: beta_1, beta_2, eps"),
        (["--optimizer", "rmsprop centered=True"], "centered=True: expected a number, true or"),
        (["--optimizer", "adam beta_1=2"], "--optimizer is 'adam beta_1=2'; beta_1 is 2.0; exp"),
        (
            ["--optimizer", "sgd learning_rate=1"],
            "learning_rate is none of its parameters: none",
        ),
        (["--optimizer", "adam beta_1=.9 beta_1=.8"], "beta_1 is there twice"),
        (["--preset", "big", "--epsilon", "0"], "-eps is 0.1; .* .--preset big sets the others"),
        (["--optimizer", f"adam epsilon={'1' * 400}"], "--optimizer is .*; epsilon is inf"),
        (["--n-step", "0"], "--n-step is 0; expected at least 1"),
        (["--train-freq", "0"], "--train-freq is 0; expected at least 1"),
        (["--steps", "9", "--epochs", "9"], "--epochs and --steps both say when the run ends"),
        (["--preset", "atari"], "--preset: invalid choice: 'atari'"),
        (["--out", ""], "argument --out: '' is empty"),
        (["--out", "~nosuchuser/x"], "argument --out: '~nosuchuser/x' is no name"),
    ],
)
def test_bad_settings(arguments, words, tmp_path, capsys):
    said = refusal(capsys, command.main, "--out", tmp_path / "x", *arguments)
    assert re.fullmatch(rf"python -m minidqn\.train: error: .*{words}.*\n", said)
    assert not (tmp_path / "x").exists()


def test_out_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    for out, words in ((file / "run", "--out .*cannot be written to: "), (file, "is a file")):
        assert re.search(words, refusal(capsys, command.main, "--out", out))
    assert file.read_text() == ""
    monkeypatch.setattr(runs.MetricsWriter, "write", disk_full)
    words = refusal(capsys, command.main, *SMALL, "--out", tmp_path / "run", status=1)
    assert words.endswith("No space left on device\n")


def _text(text):
    return lambda folder: (folder / "config.json").write_text(text)


def _settings(**changes):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        config["settings"].update(changes)
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def _weights_of_nan(folder):
    arrays = dict(np.load(folder / "weights.npz"))
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
        shutil.copy(finished / name, folder)
    DAMAGES[damage](folder)
    left = sorted(tmp_path.rglob("*"))
    assert str(folder) in refusal(capsys, play.main, folder)
    assert sorted(tmp_path.rglob("*")) == left


def test_play_mistakes(finished, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "images").write_text("")
    for words, *flags in (
        ("--games is 0", finished, "--games", 0),
        ("--games is 1000000000; expected at most 10000", finished, "--games", 10**9),
        ("--game is snake; the run in .* plays fruit", finished, "--game", "snake"),
        ("file' is a file; expected a folder", finished, "--out", tmp_path / "file"),
        ("error: --out .* cannot be written to: ", finished, "--out", tmp_path),
        ("there is no such folder", tmp_path / "none"),
    ):
        assert re.search(words, refusal(capsys, play.main, *flags))


def test_help_names_every_flag_with_its_default(capsys):
    assert trained("--help") == 0
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
    return Record(epoch, 8 * epoch, 8 * epoch, 0.01671, 1.0, *measures, epoch / 100)


def test_progress_on_a_pipe():
    stream = Stream(False)
    progress = cli.Progress(Settings(epochs=250), stream)
    for epoch in range(1, 251):
        progress.show(record(epoch, 69 if epoch % 30 == 0 or epoch == 100 else None))
    assert stream.text.splitlines() == [
        "Epoch 100, loss: 0.016710, wins: 69/80",
        "Epoch 200, loss: 0.016710, wins: 69/80 (epoch 180)",
    ]


def test_progress_of_a_run_of_steps_before_it_is_evaluated():
    stream = Stream(False)
    progress = cli.Progress(Settings(steps=5000), stream)
    for epoch in range(1, 201):
        progress.show(record(epoch)._replace(episode_return=float(epoch > 150)))
    assert stream.text.splitlines() == [
        "Epoch 100, step 800 of 5000, loss: 0.016710, return: 0.00 (in training, last 100 games)",
        "Epoch 200, step 1600 of 5000, loss: 0.016710, return: 0.50 (in training, last 100 games)",
    ]


@pytest.mark.parametrize("columns", [40, 80])
def test_progress_on_a_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    stream = Stream(True)
    progress = cli.Progress(Settings(epochs=250), stream)
    for epoch in range(1, 251):
        progress.show(record(epoch, 69 if epoch % 50 == 0 else None))
    lines = stream.text.split("\r")[1:]
    assert len(lines) < 30  # ten a second, not every epoch
    assert max(len(line.rstrip("\n")) for line in lines) <= columns - 1
    for line, after in itertools.pairwise(lines):  # nothing of a longer line is left
        assert len(line.rstrip()) <= len(after.rstrip("\n"))
    assert lines[0].startswith("epoch 1/250  loss 0.016710  return 1.00")
    assert lines[-1].startswith("epoch 250/250  loss 0.016710  wins")
    assert lines[-1].endswith("\n")
    if columns == 80:  # the whole line fits a common terminal
        assert lines[0].rstrip().endswith("0 updates/s  -:-- left")
        assert lines[-1].rstrip().endswith("wins 69/80  800 updates/s  0:00 left")


def test_the_first_compilation_is_announced(tmp_path):
    """Once with an empty cache, never with a full one; the words, not the clock."""
    command = ["-m", "minidqn.train", *SMALL, "--no-images", "--out"]
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    _, first, words = process(*command, tmp_path / "a", **cache)
    assert re.fullmatch(r"compiling kernels, once \.\.\. \d+\.\d s\n", words)
    _, second, words = process(*command, tmp_path / "b", **cache)
    assert words == ""
    assert second.startswith(first.split(" in ")[0])


RUN = "from minidqn import cli\ncli.run(lambda: %s)"


def test_a_reader_that_goes_away():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = started("-c", RUN % "[print('x' * 80) for _ in range(10**5)]", **pipes)
    running.stdout.readline()
    running.stdout.close()
    assert running.communicate(timeout=60)[1] == b""
    assert running.returncode == 141


@full_device
def test_outputs_that_cannot_be_written(tmp_path):
    """An announcement is not missed; all else is one line and status 1."""
    with open("/dev/full", "w") as full:
        running = started("-c", RUN % "print('x')", stdout=full, stderr=subprocess.PIPE)
        errors = running.communicate(timeout=60)[1]
        assert (running.returncode, errors) == (1, b"error: [Errno 28] No space left on device\n")
        cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": full, "environment": cache}
        flags = [*SMALL, "--no-images", "--out", tmp_path / "a"]
        assert started("-m", "minidqn.train", *flags, **pipes).wait(120) == 0


@unix
def test_a_name_that_the_terminal_cannot_spell(tmp_path):
    """It is escaped; a run that has ended is not lost for that."""
    arguments = ["-m", "minidqn.train", *SMALL, "--no-images", "--out", tmp_path / "früchte"]
    status, out, err = process(*arguments, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (status, err) == (0, "")
    assert "fr\\xfcchte" in out


def test_ctrl_c_is_one_line():
    code = "from minidqn import cli\ndef main(): raise KeyboardInterrupt\ncli.run(main)"
    assert process("-c", code) == (130, "", "\ninterrupted\n")


def test_streams_are_independent_and_fixed():
    """Written down, so that a change that would change every run is seen."""
    streams = Settings(seed=3).streams()
    assert streams._fields == ("game", "exploration", "replay", "weights", "test")
    draws = [int(stream.integers(1000)) for stream in streams]
    seeds = np.random.SeedSequence(3).spawn(5)
    assert draws == [int(np.random.default_rng(seed).integers(1000)) for seed in seeds]
    assert len(set(draws)) == 5


# Games of one's own

GAME = """
import numpy as np
from minidqn.games import Game
from neighbour import COINS

def walk(rng=None):
    row, coins = 0, set(COINS)
    for step in range(8):
        frame = np.zeros((2, 5, 5))
        frame[0, row, 2] = 1
        frame[1, sorted(coins), 2] = 1
        action = yield frame, 1 if row in coins else 0, row == 4, step == 7
        coins.discard(row)
        row = min(max(row + (action == 10) - (action == 20), 0), 4)

game = Game(walk, actions=[10, 20, 30], shape=(2, 5, 5))
"""
OWN = ["--epochs", 6, "--batch-size", 4, "--filters", 4, "--units", 8, "--eval-every", 3]


@pytest.fixture
def own(tmp_path):
    """A file with a game, how it is named, and the folder and flags of a short run of it."""
    path, folder = tmp_path / "my game.py", tmp_path / "run"
    path.write_text(GAME)
    path.with_name("neighbour.py").write_text("COINS = {1, 3}")
    game = ["--game", f"{path}:game"]
    return path, game, folder, [*game, *OWN, "--out", folder]


def test_a_game_in_a_file(own, capsys):
    """Trained, drawn, played; and its code only runs where the command line names it."""
    path, game, folder, flags = own
    assert trained(*flags) == 0
    said = capsys.readouterr().out
    assert re.search(r"mean return -?\d\.\d\d, of random play \d\.\d\d, in", said)
    assert set(PICTURES) & set(names(folder)) == set(PICTURES) - {"wins.png", "values.png"}
    assert [row["epoch"] for row in rows(folder) if row["return"]] == ["3", "6"]
    assert {row["wins"] + row["starts"] + row["q_error"] for row in rows(folder)} == {""}
    path.write_text("import sys; sys.exit('must not run')")
    drawers = [play.main], [images.main], [page.main]
    for words in (*drawers, [command.main, "--epochs", 8, "--resume"]):
        assert " ".join(game) in refusal(capsys, *words, folder)
    path.write_text(GAME)
    assert run(play.main, folder, *game, "--games", 3, "--watch") == 0
    assert "mean return of 3 games: " in capsys.readouterr().out
    assert run(images.main, folder, *game) == 0


def test_a_game_in_a_file_goes_on(own, tmp_path, capsys):
    """To the same bytes as in one go, also from another file: what counts is what it is like."""
    path, game, folder, flags = own
    assert trained(*flags, "--no-images") == 0
    moved = path.rename(tmp_path / "moved.py")
    more = ["--no-images", "--epochs", 12]
    assert trained("--resume", folder, "--game", f"{moved}:game", *more) == 0
    moved.rename(path)
    assert trained(*flags, *more, "--out", tmp_path / "again") == 0
    assert (weights(tmp_path / "again") == weights(folder)).all()
    words = refusal(capsys, command.main, "--resume", folder, "--game", "snake")
    assert "moved.py:game" in words  # where it was found last
    path.write_text(GAME.replace("30]", "30, 40]"))
    for words in ([command.main, "--resume"], [play.main]):
        expected = "'actions': [10, 20, 30]}; expected {'shape': [2, 5, 5], 'actions': [10, 20"
        assert expected in refusal(capsys, *words, folder, *game)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (GAME.replace("1 if", "np.nan if"), 1, "walk, step 2: its reward is nan"),
        (GAME.replace("np.zeros", "np.zero"), 1, "walk, step 0: AttributeError in line 9: module"),
        ("import nothing_of_this_name", 2, "ModuleNotFoundError in line 1: No module"),
        ("import sys; sys.exit(3)", 2, "SystemExit in line 1: 3"),
        ("game = 3", 2, "expected a Game of"),
        ("def game(:", 2, "SyntaxError: "),
    ],
)
def test_games_that_go_wrong(text, status, words, own, capsys):
    """A line that says where."""
    path, *_, flags = own
    path.write_text(text)
    assert words in refusal(capsys, command.main, *flags, status=status)


def test_a_run_of_steps_stays_one(tmp_path, capsys):
    """It may be longer, and is not counted in epochs from then on."""
    words = [*SMALL[:2], *SMALL[4:], "--steps", 20, "--no-images", "--out", tmp_path]
    assert trained(*words) == 0
    for flags, words in (
        (["--epochs", 9], "--epochs is 9; the run in .* is counted in steps"),
        (["--steps", 0], "--steps is 0; the run in .* has 20, and keeps it"),
        (["--steps", 7], "--steps is 7; the run in .* has done 2[01] already"),
    ):
        assert re.search(words, refusal(capsys, command.main, "--resume", tmp_path, *flags))


def test_the_target_network_is_renewed_every_five_steps():
    settings = Settings(
        grid_size=6, epochs=12, batch_size=8, target_update_interval=5, train_freq=2
    )
    model = settings.q_network(Fruit(6), np.random.default_rng(0))
    target = settings.target_network(model)
    renew, same, first = target.set_weights, [], target.parameters.copy()

    def noted(weights):
        renew(weights)
        same.append((target.parameters == model.parameters).all())

    target.set_weights = noted
    last = list(train.training(model, settings, settings.streams(), target=target))[-1]
    assert same == [True] * (last.steps // 5)
    assert (target.parameters != first).any()
    assert (target.parameters != model.parameters).any()


def test_what_follows_three_rewards_is_discounted_three_times(monkeypatch):
    told = []
    monkeypatch.setattr(train, "learn", lambda _, batch, gamma, *others: told.append(gamma) or 0.0)
    train.train(grid_size=6, epochs=3, batch_size=4, gamma=0.5, n_step=3)
    assert set(told) == {0.125}


def test_a_training_from_python(capsys, monkeypatch):
    """It is silent unless somebody looks on, or asks."""
    small = {"grid_size": 5, "epochs": 100, "batch_size": 8, "eval_every": 50}
    for verbose, words in (("auto", ""), (False, ""), (True, "Epoch 100, loss: ")):
        train.train(**small, verbose=verbose)
        out = capsys.readouterr().out
        assert out.startswith(words)
        assert bool(out) == bool(words)
    with pytest.raises(ValueError, match="verbose is 'loud'; expected 'auto', True or False"):
        train.train(**small, verbose="loud")
    for stdout in (None, io.StringIO(), types.SimpleNamespace(write=len, flush=int)):
        monkeypatch.setattr("sys.stdout", stdout)
        train.train(**small)
        train.train(**small, verbose=True)


@pytest.mark.parametrize("shape", [(1, 4), (1, 2), (3,)])
def test_a_network_whose_outputs_do_not_fit(shape):
    """It is told before it learns anything."""
    model = types.SimpleNamespace(predict=lambda states: np.zeros(shape))
    settings = Settings(grid_size=5, epochs=3)
    with pytest.raises(
        ValueError, match=r"model.predict gives .* of fruit; expected \(1, 3\), one"
    ):
        next(train.training(model, settings, settings.streams()))
