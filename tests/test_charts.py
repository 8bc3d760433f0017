"""Figures of a run: right sizes, the same bytes, nothing half-written; and the command."""

import re
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from minidqn import charts, images, runs, train
from minidqn.charts import save_curve, save_feature_maps, save_filters, save_values, save_wins
from minidqn.evaluate import q_table, wins
from minidqn.exact import q_star
from minidqn.fruit import draw
from minidqn.runs import MetricsWriter, Record, Settings, read_metrics
from tests.test_train import SMALL, run

SIZES = {
    "curve.png": (340, 1100, 4), "wins.png": (620, 760, 4), "values.png": (980, 1000, 4),
    "filters.png": (960, 820, 4), "features.png": (520, 1050, 4),
}  # fmt: skip
CURVE = [Record(e, 8 * e, 0, 1 / e, e if e % 10 == 0 else None, 80, 0.5, 1.0) for e in range(1, 31)]
WON = np.arange(15).reshape(5, 3) % 4 > 0
KERNEL = np.linspace(-0.5, 0.5, 9 * 16).reshape(3, 3, 1, 16)
MAPS = [("conv2d", np.ones((3, 3, 16))), ("conv2d_1", np.zeros((1, 1, 16)))]
FIGURES = {
    "curve.png": lambda path: save_curve(path, CURVE),
    "wins.png": lambda path: save_wins(path, WON),
    "values.png": lambda path: save_values(path, 0.9 * q_star(5), q_star(5)),
    "filters.png": lambda path: save_filters(path, KERNEL),
    "features.png": lambda path: save_feature_maps(path, draw(5, 1, 3, 1), MAPS),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a small run without pictures."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert run(train.main, *SMALL, "--out", folder, "--no-images") == 0
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """Another folder with the same run."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize("name", FIGURES)
def test_size_and_bytes(name, tmp_path):
    FIGURES[name](tmp_path / name)
    assert imread(tmp_path / name).shape == SIZES[name]
    FIGURES[name](tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_a_failure_leaves_the_old_file(name, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / name).write_bytes(b"old")
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        FIGURES[name](tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"old"


@pytest.mark.parametrize("grid_size", [5, 6, 10, 15])
def test_every_grid_size(grid_size, tmp_path):
    model = train.q_network(grid_size, np.random.default_rng(0))
    written = charts.save_charts(tmp_path, model, Settings(grid_size=grid_size), CURVE)
    assert {path.name: imread(path).shape for path in written} == SIZES


def test_save_charts_draws_this_run(tmp_path):
    """Each figure is of this network, these settings and these records."""
    model, options = train.q_network(6, np.random.default_rng(0)), Settings(grid_size=6, gamma=0.5)
    charts.save_charts(tmp_path, model, options, CURVE)
    frame = draw(6, 2, 4, 2)
    maps = model.layer_outputs(frame[np.newaxis])
    kernel, *_ = model.get_weights()
    again = tmp_path / "again"
    again.mkdir()
    save_curve(again / "curve.png", CURVE)
    save_wins(again / "wins.png", wins(model, 6))
    save_values(again / "values.png", q_table(model, 6), q_star(6, 0.5))
    save_filters(again / "filters.png", kernel)
    both = [(name, maps[name][0]) for name in ("conv2d", "conv2d_1")]
    save_feature_maps(again / "features.png", frame, both)
    for name in SIZES:
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_nothing_but_zeros(tmp_path):
    """A weight of 0 has the colour of the middle, an output of 0 the darkest, in every tile."""
    save_filters(tmp_path / "filters.png", np.zeros((3, 3, 1, 16)))
    pixels = imread(tmp_path / "filters.png")[..., :3]
    for row, column in ((95, 60), (825, 790)):
        assert 0.4 < pixels[row, column].mean() < 0.6
    save_feature_maps(tmp_path / "features.png", draw(5, 1, 3, 1), [("a", np.zeros((3, 3, 16)))])
    pixels = imread(tmp_path / "features.png")[..., :3]
    for row, column in ((100, 345), (365, 610)):
        assert pixels[row, column].mean() < 0.2


@pytest.mark.parametrize("epochs", [0, 1, 30])
def test_save_curve(tmp_path, epochs):
    """Also for a run so short that it never learned."""
    records = [record._replace(loss=0.0) if record.epoch < 16 else record for record in CURVE]
    save_curve(tmp_path / "curve.png", records[:epochs])
    assert imread(tmp_path / "curve.png").shape == SIZES["curve.png"]


@pytest.mark.parametrize(
    "change",
    [{"starts": 0, "wins": 0}, {"wins": 2**53 - 1}, {"loss": 1e308}, {"loss": 5e-324},
     {"q_error": 1e308}, {"q_error": float("inf")}],
)  # fmt: skip
def test_a_curve_of_strange_numbers(change, tmp_path):
    """What metrics.csv may hold is drawn, without a warning."""
    records = [*CURVE[:20], Record(21, 0, 0, 0.5, 5, 80, 0.5, 1.0)._replace(**change)]
    save_curve(tmp_path / "curve.png", records)
    save_curve(tmp_path / "curve.png", [records[-1]._replace(epoch=1)])
    assert imread(tmp_path / "curve.png").shape == SIZES["curve.png"]


def middle(pixels, fruit, basket):
    """The colour near a corner of a start's cell, beside any cross."""
    height, width, _ = pixels.shape
    left, right, top, bottom = 0.1 * width, 0.96 * width, 0.08 * height, 0.83 * height
    x = left + (fruit + 0.15) * (right - left) / 5
    y = bottom - (basket - 1 + 0.15) * (bottom - top) / 3
    return pixels[round(y), round(x), :3].mean()


def test_wins_are_where_they_belong(tmp_path):
    """Light where a start is won, dark where it is lost, and a cross there."""
    save_wins(tmp_path / "wins.png", WON)
    pixels = imread(tmp_path / "wins.png")
    for fruit, basket in np.ndindex(WON.shape):
        light = middle(pixels, fruit, basket + 1)
        assert light > 0.8 if WON[fruit, basket] else light < 0.4
    save_wins(tmp_path / "all.png", np.ones((5, 3), bool))
    cross = round(0.08 * 620 + 0.75 * 620 * 5 / 6), round(0.1 * 760 + 0.86 * 760 / 10)
    assert imread(tmp_path / "all.png")[(*cross, 0)] < 0.9
    assert pixels[(*cross, 0)] > 0.95


def test_values_hang_on_what_is_drawn(tmp_path):
    """Another row, other values and other exact values are other pictures; the default is one."""
    q = q_star(10)
    for name, arguments in (
        ("default", (q, q)), ("row", (q, q, 5)), ("first", (q, q, 0)),
        ("learned", (0.5 * q, q)), ("exact", (q, 0.5 * q)),
    ):  # fmt: skip
        save_values(tmp_path / f"{name}.png", *arguments)
    drawn = {path.stem: path.read_bytes() for path in tmp_path.iterdir()}
    assert drawn["default"] == drawn["row"]
    assert len(set(drawn.values())) == 4


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300])
def test_values_without_bounds(number, tmp_path):
    q = q_star(5)
    learned = q.copy()
    learned[:, 2] = number
    save_values(tmp_path / "values.png", learned, q)
    save_values(tmp_path / "values.png", np.full_like(q, number), q)
    save_feature_maps(tmp_path / "features.png", draw(5, 0, 0, 1), [("a", learned[..., 0])])


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 3, 1, 10), (2, 4, 1, 64), (8, 8, 1, 4)])
@pytest.mark.parametrize("scale", [0, 1e-30, 1, 1e30])
def test_filters_of_any_shape(shape, scale, tmp_path):
    kernel = scale * np.random.default_rng(0).standard_normal(shape)
    save_filters(tmp_path / "filters.png", kernel)
    assert imread(tmp_path / "filters.png").shape == SIZES["filters.png"]


@pytest.mark.parametrize(
    ("save", "arguments", "words"),
    [
        (save_wins, [np.ones((5, 3))], r"won is float64 of shape \(5, 3\); expected bool"),
        (save_wins, [np.ones((5, 5), bool)], r"won is bool of shape \(5, 5\)"),
        (save_wins, [np.ones((2, 0), bool)], "won is bool of shape"),
        (save_values, [q_star(5), q_star(6)], "learned has shape .*, as exact"),
        (save_values, [q_star(5)[..., :2], q_star(5)], "learned has shape .*G - 2"),
        (save_values, [q_star(5), q_star(5)[0]], "exact has shape"),
        (save_values, [0.5, q_star(5)], "learned has shape"),
        (save_values, [q_star(5), q_star(5), 3], "row is 3; expected at most 2"),
        (save_values, [q_star(5), q_star(5), -1], "row is -1; expected at least 0"),
        (save_filters, [KERNEL[:, :, 0]], "kernel has shape"),
        (save_filters, [np.ones((3, 3, 2, 16))], r"expected \(kh, kw, 1, F\)"),
        (save_filters, [KERNEL[..., :0]], "kernel has shape"),
        (save_filters, [KERNEL * np.nan], "kernel holds NaN"),
        (save_feature_maps, [np.ones((5, 5)), MAPS], "frame has shape"),
        (save_feature_maps, [np.ones((1, 5, 5)), []], "maps is empty"),
        (save_feature_maps, [np.ones((1, 5, 5)), [("a", np.ones((3, 3)))]], "maps of a has shape"),
    ],
)
def test_what_is_no_figure(save, arguments, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        save(tmp_path / "a.png", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_command(copied, tmp_path, capsys):
    assert run(images.main, copied) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(copied / name) for name in runs.CHARTS]
    assert err == ""
    assert run(images.main, copied, "--out", tmp_path / "a" / "b") == 0
    for name in SIZES:
        assert imread(copied / name).shape == SIZES[name]
        assert (tmp_path / "a" / "b" / name).read_bytes() == (copied / name).read_bytes()


def test_the_command_draws_what_the_training_drew(tmp_path):
    assert run(train.main, *SMALL, "--out", tmp_path / "run") == 0
    assert run(images.main, tmp_path / "run", "--out", tmp_path / "again") == 0
    for name in runs.CHARTS:
        drawn = (tmp_path / "again" / name).read_bytes()
        assert drawn == (tmp_path / "run" / name).read_bytes(), name


def _remove(name):
    return lambda folder: (folder / name).unlink()


def _replace(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def _unfinished(folder):
    shutil.copy(folder / "config.json", folder / "checkpoint.npz")
    (folder / "weights.npz").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "there is no such folder"),
        (_remove("metrics.csv"), "cannot read .*metrics.csv: No such file"),
        (_remove("config.json"), "cannot read .*config.json: No such file"),
        (_unfinished, "it has not ended yet; python -m minidqn.train --resume .* goes on with it"),
        (_replace("metrics.csv", b"epoch"), "metrics.csv: its first line is not epoch,"),
        (_replace("weights.npz", b"PK"), "weights.npz: "),
        (_replace("config.json", b"{"), "config.json: "),
    ],
)
def test_runs_that_cannot_be_drawn(damage, words, copied, capsys):
    damage(copied)
    left = sorted(copied.rglob("*"))
    assert run(images.main, copied) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"python -m minidqn\.images: error: .*{words}.*\n", err)
    assert str(copied) in err
    assert sorted(copied.rglob("*")) == left


def test_out_that_cannot_be_written(finished, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(images.main, finished, "--out", tmp_path / "file" / "a") == 2
    assert re.fullmatch(r".*error: --out .* cannot be written to: .*\n", capsys.readouterr().err)
    assert run(images.main, finished, "--out", tmp_path / "file") == 2
    assert "file is a file; expected a folder" in capsys.readouterr().err
    assert run(images.main) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_full_disk(finished, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    assert run(images.main, finished, "--out", tmp_path) == 1
    assert re.fullmatch(r".*--out .*: No space left on device\n", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_explode_are_drawn(tmp_path):
    """The last learning step may leave weights that only the next one would find fault with."""
    settings = Settings(grid_size=5)
    model = train.q_network(5, np.random.default_rng(0))
    model.set_weights([weight * 1e30 for weight in model.get_weights()])
    with np.errstate(over="ignore", invalid="ignore"):
        charts.save_charts(tmp_path, model, settings, CURVE)
    assert len(list(tmp_path.iterdir())) == len(runs.CHARTS)


def test_clear_removes_the_figures(tmp_path):
    for name in runs.CHARTS:
        (tmp_path / name).write_bytes(b"")
        assert runs.holds_run(tmp_path)
        runs.clear(tmp_path)
        assert list(tmp_path.iterdir()) == []


counts = st.integers(0, 2**53 - 1)
floats = st.floats(0, allow_infinity=False)


@st.composite
def records(draw):
    """Records of epochs 1 to E, some of them not measured."""
    measured = st.tuples(counts, floats) | st.just((None, None))
    return [
        Record(
            epoch, draw(counts), draw(counts), draw(floats), wins, draw(counts), q_error, seconds
        )
        for epoch, ((wins, q_error), seconds) in enumerate(
            draw(st.lists(st.tuples(measured, st.floats(0, 1e9)), max_size=5)), start=1
        )
    ]


@given(records())
def test_metrics_are_read_as_they_were_written(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("metrics")
    with MetricsWriter(folder, written[:2]) as metrics:
        for record in written[2:]:
            metrics.write(record)
    rounded = [record._replace(seconds=float(f"{record.seconds:.3f}")) for record in written]
    assert read_metrics(folder) == rounded


HEADER = b"epoch,steps,updates,loss,wins,starts,q_error,seconds\n"
LINES = b"1,8,0,0.0,,80,,0.001\n2,16,7,1e-05,79,80,0.5,0.002\n"


@given(st.binary(max_size=60), st.integers(0, len(HEADER + LINES)), st.integers(0, 20))
@settings(max_examples=300)
def test_any_bytes_give_records_or_one_line(tmp_path_factory, put, place, less):
    folder = tmp_path_factory.getbasetemp()
    data = (HEADER + LINES)[:place] + put + (HEADER + LINES)[place + less :]
    (folder / "metrics.csv").write_bytes(data)
    try:
        read, words = read_metrics(folder), None
    except ValueError as error:
        read, words = [], str(error)
    for record in read:
        assert record.wins is None or 0 <= record.wins < 2**53
    if words is not None:
        assert words.startswith(f"{folder / 'metrics.csv'}: ")
        assert words.isprintable()
        assert len(words) < 1000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "its first line is not epoch,"),
        (HEADER.replace(b"wins", b"won"), "its first line is not epoch,"),
        (HEADER + LINES[:-1], "its last line has no end"),
        (HEADER + LINES.replace(b",0.5", b""), "line 3 has 7 fields; expected 8"),
        (HEADER + LINES.replace(b"79", b"nan"), "line 3: wins is 'nan'; expected a number"),
        (HEADER + LINES.replace(b"79", b" 79"), "line 3: wins is ' 79'"),
        (HEADER + LINES.replace(b"16", b"1_6"), "line 3: steps is '1_6'"),
        (HEADER + LINES.replace(b"16", b"-16"), "line 3: steps is '-16'"),
        (HEADER + LINES.replace(b"16", b""), "line 3: steps is ''"),
        (HEADER + LINES.replace(b"79", b"7.9"), "records are not those of epochs 1 to 2"),
        (HEADER + LINES.replace(b"1e-05", b"1e+999"), "record 2 holds what no epoch does"),
        (HEADER + LINES.replace(b"79", b""), "record 2 holds what no epoch does"),
        (HEADER + LINES + LINES, "records are not those of epochs 1 to 4"),
        (HEADER + LINES.replace(b"16", "\N{ARABIC-INDIC DIGIT ONE}".encode()), "ascii"),
    ],
)
def test_metrics_that_are_none(data, words, tmp_path):
    (tmp_path / "metrics.csv").write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(words)) as raised:
        read_metrics(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path / 'metrics.csv'}: ")


def test_metrics_have_a_limit(tmp_path, monkeypatch):
    (tmp_path / "metrics.csv").write_bytes(HEADER + LINES)
    monkeypatch.setattr(runs, "MOST_METRICS", len(HEADER + LINES))
    assert len(read_metrics(tmp_path)) == 2
    monkeypatch.setattr(runs, "MOST_METRICS", len(HEADER + LINES) - 1)
    with pytest.raises(ValueError, match=r"metrics.csv: longer than 10\d bytes"):
        read_metrics(tmp_path)
