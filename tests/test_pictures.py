"""Pictures of a run: right pixels and sizes, the same bytes, nothing half-written; the command."""

import re
import shutil
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from PIL import Image

from minidqn import images, pictures, runs
from minidqn.evaluate import margins, q_table, wins
from minidqn.exact import q_star
from minidqn.fruit import Fruit, draw
from minidqn.pictures import BACKGROUND, CHANNELS, SIDE, frame_pixels, save_gif, save_img
from minidqn.recipe import q_network
from minidqn.runs import MetricsWriter, Record, Settings, read_metrics
from minidqn.snake import Snake
from tests.commands import SMALL, disk_full, names, process, refusal, run, trained

SIZES = {
    "curve.png": (340, 1100, 4), "wins.png": (720, 760, 4), "values.png": (980, 1000, 4),
    "filters.png": (960, 820, 4), "features.png": (520, 1040, 4),
}  # fmt: skip
UNMEASURED = (None,) * 4
CURVE = [
    Record(e, 8 * e, 0, 1 / e, -1, *((0.1, e, 80, 0.5) if e % 10 == 0 else UNMEASURED), 1.0)
    for e in range(1, 31)
]
WON = np.arange(15).reshape(5, 3) % 4 > 0
MARGIN = np.where(WON, 1, -1) * np.linspace(0.1, 1, 15).reshape(5, 3)
KERNEL = np.linspace(-0.5, 0.5, 9 * 16).reshape(3, 3, 1, 16)
MAPS = [("conv2d", np.ones((3, 3, 16))), ("conv2d_1", np.zeros((1, 1, 16)))]
FRAME = frame_pixels(draw(5, 1, 3, 1))
FIGURES = {
    "curve.png": lambda path: pictures.save_curve(path, CURVE),
    "wins.png": lambda path: pictures.save_wins(path, WON, MARGIN),
    "values.png": lambda path: pictures.save_values(path, 0.9 * q_star(5), q_star(5)),
    "filters.png": lambda path: pictures.save_filters(path, KERNEL),
    "features.png": lambda path: pictures.save_feature_maps(path, FRAME, MAPS),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a small run with its pictures."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert trained(*SMALL, "--out", folder) == 0
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
    (tmp_path / name).write_bytes(b"old")
    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        FIGURES[name](tmp_path / name)
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"old"


@pytest.mark.parametrize(("grid_size", "scale"), [(5, 1), (6, 1), (10, 1), (15, 1), (5, 1e30)])
def test_every_grid_size(grid_size, scale, tmp_path):
    """And weights that explode, as the last learning step may leave them."""
    model = q_network(grid_size, np.random.default_rng(0))
    model.set_weights([scale * weight for weight in model.get_weights()])
    options, played = Settings(grid_size=grid_size), [([draw(grid_size, 0, 0, 1)], 0)]
    with np.errstate(over="ignore", invalid="ignore"):
        charts = pictures.save_charts(tmp_path, model, Fruit(grid_size), options, CURVE, played)
    drawn = {path.name: imread(path).shape for path in charts}
    assert drawn == SIZES | {"features.png": drawn["features.png"]}


def test_save_charts_draws_this_run(tmp_path):
    """Each figure is of this network, these settings and these records."""
    model, options = q_network(6, np.random.default_rng(0)), Settings(grid_size=6, gamma=0.5)
    frame, game = draw(6, 2, 4, 2), Fruit(6)
    pictures.save_charts(tmp_path, model, game, options, CURVE, [([frame], 0)])
    maps = model.layer_outputs(frame[np.newaxis])
    kernel, *_ = model.get_weights()
    again = tmp_path / "again"
    again.mkdir()
    pictures.save_curve(again / "curve.png", CURVE)
    learned = q_table(model, 6)
    pictures.save_wins(again / "wins.png", wins(model, 6), margins(learned))
    pictures.save_values(again / "values.png", learned, q_star(6, 0.5))
    pictures.save_filters(again / "filters.png", kernel)
    both = [(name, maps[name][0]) for name in ("conv2d", "conv2d_1")]
    pictures.save_feature_maps(again / "features.png", frame_pixels(game.picture(frame)), both)
    for name in SIZES:
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_nothing_but_zeros(tmp_path):
    """A weight of 0 is white, an output of 0 has the darkest colour, in every tile."""
    pictures.save_filters(tmp_path / "filters.png", np.zeros((3, 3, 1, 16)))
    pictures.save_feature_maps(tmp_path / "features.png", FRAME, [("a", np.zeros((3, 3, 16)))])
    for name, places, low, high in (
        ("filters", [(95, 60), (805, 770)], 0.95, 1),
        ("features", [(100, 325), (365, 600)], 0, 0.2),
    ):
        pixels = imread(tmp_path / f"{name}.png")[..., :3]
        assert all(low < pixels[place].mean() < high for place in places)


UNLEARNED = [record._replace(loss=0.0) if record.epoch < 16 else record for record in CURVE]
ODD = [
    CURVE[-1]._replace(epoch=31, **change)
    for change in (
        {"wins": 2**53 - 1}, {"loss": 1e308}, {"loss": 5e-324}, {"q_error": 1e308},
        {"q_error": float("inf")}, {"wins": None, "starts": None, "mean_return": -1e308},
    )
]  # fmt: skip


@pytest.mark.parametrize(
    "records",
    [[], UNLEARNED[:1], UNLEARNED, *([record] for record in ODD), *([*CURVE, r] for r in ODD)],
)
def test_save_curve(records, tmp_path):
    """Also for a run so short that it never learned, and of any numbers in metrics.csv."""
    pictures.save_curve(tmp_path / "curve.png", records)
    assert imread(tmp_path / "curve.png").shape == SIZES["curve.png"]


@pytest.mark.parametrize(
    ("records", "panels"), [([], (0.25, 0.77)), (UNLEARNED[:1], (0.25, 0.77)), (UNLEARNED, ())]
)
def test_a_panel_with_nothing_to_show_says_so(records, panels, tmp_path):
    """In words, in its middle, and no numbers are beside it."""
    pictures.save_curve(tmp_path / "curve.png", records)
    dark = imread(tmp_path / "curve.png")[..., :3].mean(axis=-1) < 0.6
    words = [dark[150:172, round(1100 * x) - 40 : round(1100 * x) + 40].sum() for x in panels]
    assert all(count > 50 for count in words)
    assert dark[60:250, :50].any() == (not panels)


def cell(pixels, fruit, basket, place=0.15):
    """The colour of a start's cell, near a corner and so beside any cross, or elsewhere."""
    height, width, _ = pixels.shape
    x = 0.1 * width + (fruit + place) * 0.86 * width / 5
    y = 0.76 * height - (basket + place) * 0.7 * height / 3
    return pixels[round(y), round(x), :3]


def test_wins_are_where_they_belong(tmp_path):
    """Blue where a start is won, red and with a cross where it is lost."""
    pictures.save_wins(tmp_path / "wins.png", WON, MARGIN)
    pixels = imread(tmp_path / "wins.png")
    for fruit, basket in np.ndindex(WON.shape):
        red, _, blue = colour = cell(pixels, fruit, basket)
        assert blue > red + 0.1 if WON[fruit, basket] else red > blue + 0.1
        crossed = np.abs(cell(pixels, fruit, basket, 0.5) - colour).max() > 0.3
        assert crossed == (not WON[fruit, basket])


def test_wins_say_how_narrow_they_are(tmp_path):
    """The wider, the darker, also beside one that is far off; grey where no action loses."""
    margin = np.linspace(0.1, 1, 15).reshape(5, 3)
    margin[4, 2], margin[4, 1] = 1e9, np.inf
    pictures.save_wins(tmp_path / "wins.png", np.ones((5, 3), bool), margin)
    pixels = imread(tmp_path / "wins.png")
    light = [cell(pixels, fruit, basket).mean() for fruit, basket in np.ndindex(5, 3)][:-2]
    assert np.diff(light).max() < -0.01
    assert np.ptp(cell(pixels, 4, 1)) == 0
    assert 0.8 < cell(pixels, 4, 1).mean() < 0.9


def test_one_value_that_is_far_off_leaves_the_others_their_colours(tmp_path):
    q = q_star(10)
    drawn = []
    for far in (0.5, 1e6):
        learned = 0.9 * q
        learned[-3, 4, 4, 1] = far
        pictures.save_values(tmp_path / "values.png", learned, q)
        drawn.append(imread(tmp_path / "values.png"))
    assert (drawn[0] != drawn[1]).any(axis=-1).sum() < 2 * 29 * 27  # two cells


def test_filters_show_signs(tmp_path):
    """Red below 0, blue above; and the numbers can be read on every colour."""
    pictures.save_filters(tmp_path / "filters.png", KERNEL)
    pixels = imread(tmp_path / "filters.png")[..., :3]
    lowest, greatest = pixels[90, 60], pixels[810, 770]
    assert lowest[0] > lowest[2] + 0.2
    assert greatest[2] > greatest[0] + 0.2
    light = pixels @ (0.299, 0.587, 0.114)
    for tile, row, column in np.ndindex(16, 3, 3):
        top, left = 84 + 196 * (tile // 4) + 49 * row, 50 + 196 * (tile % 4) + 49 * column
        assert np.ptp(light[top : top + 45, left : left + 45]) > 0.4


@pytest.mark.parametrize(
    "shapes", [[(8, 8, 1)], [(8, 8, 64)], [(2, 38, 16), (1, 36, 1)], [(38, 2, 4)], 4 * [(3, 3, 7)]]
)
def test_feature_maps_are_as_wide_as_they_have_to_be(shapes, tmp_path):
    """Nowhere is there a wide strip with nothing in it."""
    maps = [("conv2d", np.random.default_rng(0).random(shape)) for shape in shapes]
    pictures.save_feature_maps(tmp_path / "features.png", FRAME, maps)
    pixels = imread(tmp_path / "features.png")[..., :3]
    drawn = np.flatnonzero(pixels.min(axis=(0, 2)) < 0.9)
    assert np.diff(drawn, prepend=0, append=pixels.shape[1]).max() < 75


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300])
def test_values_without_bounds(number, tmp_path):
    q = q_star(5)
    learned = q.copy()
    learned[:, 2] = number
    pictures.save_values(tmp_path / "values.png", learned, q)
    pictures.save_values(tmp_path / "values.png", np.full_like(q, number), q)
    pictures.save_feature_maps(tmp_path / "features.png", FRAME, [("a", learned[..., 0])])


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 3, 1, 10), (2, 4, 4, 16), (8, 8, 3, 4)])
@pytest.mark.parametrize("scale", [0, 1e-30, 1, 1e30])
def test_filters_of_any_shape(shape, scale, tmp_path):
    kernel = scale * np.random.default_rng(0).standard_normal(shape)
    pictures.save_filters(tmp_path / "filters.png", kernel)
    assert imread(tmp_path / "filters.png").shape == SIZES["filters.png"]


def test_the_command(copied, tmp_path, capsys):
    """Draws what the training drew."""
    drawn = {name: (copied / name).read_bytes() for name in runs.CHARTS}
    for name in drawn:
        (copied / name).unlink()
    for flags, folder in (([], copied), (["--out", tmp_path / "a" / "b"], tmp_path / "a" / "b")):
        assert run(images.main, copied, *flags) == 0
        out, err = capsys.readouterr()
        assert out.splitlines() == [str(folder / name) for name in runs.CHARTS]
        assert err == ""
        assert {name: (folder / name).read_bytes() for name in drawn} == drawn


def _replace(name, data):
    return lambda folder: (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "there is no such folder"),
        (lambda run: (run / "metrics.csv").unlink(), "cannot read .*metrics.csv: No such file"),
        (
            lambda run: (run / "weights.npz").unlink(),
            "it has not ended yet; python -m minidqn.train --resume .* goes on",
        ),
        (_replace("metrics.csv", b"epoch"), "metrics.csv: its first line is not epoch,"),
        (_replace("weights.npz", b"PK"), "weights.npz: "),
        (_replace("config.json", b"{"), "config.json: "),
    ],
)
def test_runs_that_cannot_be_drawn(damage, words, copied, capsys):
    damage(copied)
    left = names(copied, "**/*")
    said = refusal(capsys, images.main, copied)
    assert re.search(words, said)
    assert str(copied) in said
    assert names(copied, "**/*") == left


def test_a_full_disk(finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.fsync", disk_full)
    words = refusal(capsys, images.main, finished, "--out", tmp_path, status=1)
    assert re.search("--out .*: No space left on device", words)
    assert list(tmp_path.iterdir()) == []


counts = st.integers(0, 2**53 - 1)
floats = st.floats(0, 1e299)


@st.composite
def records(draw):
    """Records of epochs 1 to E, some of them not measured."""
    earned = st.floats(-1e300, 1e300)
    measured = st.just(UNMEASURED) | st.tuples(earned, *[st.none()] * 3)
    measured |= st.tuples(earned, counts, counts, floats)
    return [
        Record(
            epoch, draw(counts), draw(counts), draw(floats), draw(earned), *draw(measured), seconds
        )
        for epoch, seconds in enumerate(draw(st.lists(st.floats(0, 1e9), max_size=5)), start=1)
    ]


@given(records())
def test_metrics_are_read_as_they_were_written(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("metrics")
    with MetricsWriter(folder, written[:2]) as metrics:
        for record in written[2:]:
            metrics.write(record)
    rounded = [record._replace(seconds=float(f"{record.seconds:.3f}")) for record in written]
    assert read_metrics(folder, len(written)) == rounded


HEADER = b"epoch,steps,updates,loss,episode_return,return,wins,starts,q_error,seconds\n"
LINES = b"1,8,0,0.0,-1,,,,,0.001\n2,16,7,1e-05,1,-0.2,79,80,0.5,0.002\n"


@given(st.binary(max_size=60), st.integers(0, len(HEADER + LINES)), st.integers(0, 20))
@settings(max_examples=300)
def test_any_bytes_give_records_or_one_line(tmp_path_factory, put, place, less):
    folder = tmp_path_factory.getbasetemp()
    data = (HEADER + LINES)[:place] + put + (HEADER + LINES)[place + less :]
    (folder / "metrics.csv").write_bytes(data)
    try:
        read, words = read_metrics(folder, 9), None
    except ValueError as error:
        read, words = [], str(error)
    for record in read:
        assert record.wins is None or 0 <= record.wins < 2**53
    if words is not None:
        assert words.startswith(f"{folder / 'metrics.csv'}: ")
        assert words.isprintable()
        assert len(words) < 1000


NONE_SUCH = "record 2 holds what no epoch does"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (HEADER + LINES, b"", "its first line is not epoch,"),
        (b"wins", b"won", "its first line is not epoch,"),
        (b"0.002\n", b"0.002", "a line without an end"),
        (b"0.002\n", b"1" * 20_000 + b"\n", "a line without an end"),
        (b",0.5", b"", "record 2 has 9 numbers"),
        (b"79", b"many", "could not convert"),
        (b"16", "\N{ARABIC-INDIC DIGIT ONE}".encode(), "ascii"),
        (LINES, 2 * LINES, "record 3 holds what no epoch does"),
        (b"79", b"nan", NONE_SUCH),
        (b"16", b"-16", NONE_SUCH),
        (b"16", b"", NONE_SUCH),
        (b"79", b"7.9", NONE_SUCH),
        (b"1e-05", b"1e+999", NONE_SUCH),
        (b"79", b"", NONE_SUCH),
        (b"-0.2", b"", NONE_SUCH),
    ],
)
def test_metrics_that_are_none(old, new, words, tmp_path):
    (tmp_path / "metrics.csv").write_bytes((HEADER + LINES).replace(old, new))
    with pytest.raises(ValueError, match=re.escape(words)) as raised:
        read_metrics(tmp_path, 9)
    assert str(raised.value).startswith(f"{tmp_path / 'metrics.csv'}: ")


def test_no_more_metrics_are_read_than_there_are_epochs(tmp_path):
    """Of a file that goes on and on, the first record too many ends it."""
    (tmp_path / "metrics.csv").write_bytes(HEADER + LINES + LINES * 100_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match="has more than 2 records"):
        read_metrics(tmp_path, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


DRAWING = """
import sys
import numpy as np
from minidqn.pictures import save_curve, save_gif, save_img
from minidqn.runs import Record

save_curve(sys.argv[1] + "/a.png", [Record(1, 8, 0, 1.0, 1.0, 0.1, 1, 80, 0.5, 1.0)])
saver = save_img(sys.argv[1] + "/frames")
next(saver), saver.send(np.eye(5))
save_gif(sys.argv[1] + "/a.gif", [[np.eye(5)]])
"""


def test_what_a_user_has_set_does_not_count(tmp_path):
    """A backend that cannot be loaded, as notebooks export it, and TeX for every text."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.facecolor: red\n")
    drawn = []
    odd = {"MPLBACKEND": "module://nowhere", "MATPLOTLIBRC": str(tmp_path)}
    for number, own in enumerate([{}, odd]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert process("-c", DRAWING, folder, **own)[0] == 0
        drawn.append([path.read_bytes() for path in sorted(folder.rglob("*.*"))])
    assert len(drawn[0]) == 3
    assert drawn[0] == drawn[1]


# Frames


CELL = SIDE // 5  # for the grids of 5 x 5 drawn here


def centre(pixels, row, column):
    return tuple(pixels[row * CELL + CELL // 2, column * CELL + CELL // 2])


def test_frame_pixels():
    pixels = frame_pixels(draw(5, 1, 3, 2))
    assert pixels.shape == (5 * CELL, 5 * CELL, 3)
    assert centre(pixels, 1, 3) == CHANNELS[0] == centre(pixels, 4, 2)
    assert len({centre(pixels, 4, 0), centre(pixels, 0, 0), centre(pixels, 1, 2)}) == 1
    pixels = frame_pixels(Fruit(5).picture(draw(5, 1, 3, 2)))  # the basket in another colour
    assert centre(pixels, 1, 3) == CHANNELS[0]
    assert {centre(pixels, 4, column) for column in (1, 2, 3)} == {CHANNELS[1]}


def test_frames_of_any_numbers():
    """Each channel has its colour; numbers beyond 1 are shares of the greatest."""
    frame = np.zeros((9, 5, 5))
    for channel in range(9):
        frame[channel].flat[channel] = 7
    pixels = frame_pixels(frame)
    colours = [centre(pixels, *divmod(channel, 5)) for channel in range(9)]
    assert colours == [CHANNELS[channel % len(CHANNELS)] for channel in range(9)]
    half = np.array(centre(frame_pixels(np.eye(5) / 2), 0, 0), int)
    assert np.abs(2 * half - np.add(CHANNELS[0], BACKGROUND)).max() <= 1
    assert centre(frame_pixels(-np.eye(5)), 0, 0) == BACKGROUND
    photo = np.arange(75, dtype=np.uint8).reshape(3, 5, 5)
    assert centre(frame_pixels(photo), 1, 2) == (7, 32, 57)


@pytest.fixture
def saver(tmp_path):
    saver = save_img(tmp_path / "a" / "b")
    assert next(saver) is None
    return saver


def test_save_img(saver, tmp_path, monkeypatch):
    """In the folder that is named, or in images."""
    for number in range(3):
        path = saver.send(draw(5, number, 0, 1))
        assert path == tmp_path / "a" / "b" / f"00{number}.png"
    picture = (imread(path)[..., :3] * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(picture, frame_pixels(draw(5, 2, 0, 1)))
    assert len(list(path.parent.iterdir())) == 3
    monkeypatch.chdir(tmp_path)
    saver = save_img()
    next(saver)
    saver.send(draw(5, 0, 0, 1))
    assert (tmp_path / "images" / "000.png").exists()


def test_a_picture_that_fails_leaves_nothing(saver, tmp_path, monkeypatch):
    def fail(file, *_, **__):
        file.write(b"half")
        disk_full()

    monkeypatch.setattr("matplotlib.image.imsave", fail)
    with pytest.raises(OSError, match="No space"):
        saver.send(draw(5, 0, 0, 1))
    assert names(tmp_path, "**/*.*") == []


@pytest.mark.parametrize("shape", [3, (0, 0), (2, 2, 3, 3)])
def test_frames_that_are_no_pictures(shape, saver, tmp_path):
    with pytest.raises(ValueError, match="shape"):
        saver.send(np.zeros(shape))
    assert names(tmp_path, "**/*.*") == []


def test_save_gif(tmp_path):
    games = [[draw(5, row, 2, 2) for row in range(4)], [draw(5, row, 0, 3) for row in range(4)]]
    save_gif(tmp_path / "g.gif", games)
    assert [path.name for path in tmp_path.iterdir()] == ["g.gif"]
    with Image.open(tmp_path / "g.gif") as gif:
        assert gif.size == (5 * CELL, 5 * CELL)
        assert gif.info["loop"] == 0
        durations = []
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
            picture = np.asarray(gif.convert("RGB")).astype(int)
            expected = frame_pixels(games[number // 4][number % 4]).astype(int)
            assert np.abs(picture - expected).max() < 8  # a GIF has 256 colours
    assert durations == [200, 200, 200, 800] * 2


def moments(path):
    """The pictures of a GIF, each [shape=(H, W, 3)]."""
    with Image.open(path) as gif:
        return [
            (gif.seek(n), np.asarray(gif.convert("RGB")).astype(int))[1]
            for n in range(gif.n_frames)
        ]


@pytest.mark.parametrize(("shape", "left"), [((5, 5), 0), ((84, 84), 36), ((40, 4), 108)])
def test_captions(shape, left, tmp_path):
    """Below the frames, which stay as they are; the words of the end with the last."""
    frames = [np.full((1, *shape), share) for share in (0, 0.5, 1)]
    save_gif(tmp_path / "g.gif", [frames], [("", "game 12: return -12.35, mean -123.4")])
    shown = moments(tmp_path / "g.gif")
    for picture, frame in zip(shown, frames, strict=True):
        expected = frame_pixels(frame).astype(int)
        height, width, _ = expected.shape
        assert picture.shape == (height + 28, 240, 3)
        assert np.abs(picture[:height, left : left + width] - expected).max() < 8
    white = [(picture[-28:] > 200).all(axis=-1) for picture in shown]
    assert [strip.any() for strip in white] == [False, False, True]
    columns = np.flatnonzero(white[-1].any(axis=0))
    assert 150 < np.ptp(columns) < 230
    assert 5 < columns[0] < columns[-1] < 235


@pytest.mark.parametrize(
    ("game", "returns", "captions"),
    [
        (Fruit(5), [1, -1, 1], ["won, score 1 of 1", "lost, score 1 of 2", "won, score 2 of 3"]),
        (Snake(5), [1, 0, 4], ["return 1, mean 1", "return 0, mean 0.5", "goes on"]),
    ],
)
def test_games_say_how_they_end(game, returns, captions, tmp_path, monkeypatch):
    """Won or lost, or the return, and all games so far; also if the last is not shown whole."""
    frames = [np.eye(5)[np.newaxis].repeat(game.shape[0], 0)] * 4
    if "goes on" in captions:
        monkeypatch.setattr(pictures, "MOST_FRAMES", 10)
    pictures.save_games(tmp_path, game, [(frames, total) for total in returns])
    words = [(f"game {n}", f"game {n}: {end}") for n, end in enumerate(captions, start=1)]
    shown = [[game.picture(frame) for frame in frames]] * 3
    shown[2] = shown[2][: 2 if "goes on" in captions else 4]
    save_gif(tmp_path / "again.gif", shown, words)
    assert (tmp_path / "game.gif").read_bytes() == (tmp_path / "again.gif").read_bytes()
    assert imread(tmp_path / "images" / "000.png").shape == (240, 240, 4)


@pytest.mark.parametrize(("grid_size", "side"), [(3, 240), (10, 240), (40, 240), (84, 168)])
def test_pictures_stay_small(grid_size, side):
    pixels = frame_pixels(draw(grid_size, 0, 0, 1))
    assert pixels.shape == (side, side, 3)
    assert tuple(pixels[side // grid_size - 1, side // grid_size - 1]) == CHANNELS[0]
