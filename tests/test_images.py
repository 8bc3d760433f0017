"""Pictures: right files, right pixels."""

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from minidqn.fruit import draw
from minidqn.images import BASKET, FRUIT, SIDE, frame_pixels, save_gif, save_img

CELL = SIDE // 5  # for the grids of 5 x 5 drawn here


def middle(pixels, row, column):
    return tuple(pixels[row * CELL + CELL // 2, column * CELL + CELL // 2])


def test_frame_pixels():
    pixels = frame_pixels(draw(5, 1, 3, 2))
    assert pixels.shape == (5 * CELL, 5 * CELL, 3)
    assert middle(pixels, 1, 3) == FRUIT
    assert {middle(pixels, 4, column) for column in (1, 2, 3)} == {BASKET}
    assert len({middle(pixels, 4, 0), middle(pixels, 0, 0), middle(pixels, 1, 2)}) == 1


def test_save_img(tmp_path):
    saver = save_img(tmp_path / "a" / "b")
    assert next(saver) is None
    for number in range(3):
        path = saver.send(draw(5, number, 0, 1))
        assert path == tmp_path / "a" / "b" / f"00{number}.png"
    saver.close()
    picture = (imread(path)[..., :3] * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(picture, frame_pixels(draw(5, 2, 0, 1)))
    assert len(list((tmp_path / "a" / "b").iterdir())) == 3


def test_save_img_manners(tmp_path):
    with pytest.raises(TypeError, match="just-started"):
        save_img(tmp_path).send(draw(5, 0, 0, 1))
    saver = save_img(tmp_path)
    next(saver)
    saver.close()
    with pytest.raises(StopIteration):
        saver.send(draw(5, 0, 0, 1))


def test_a_picture_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(file, *_, **__):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.image.imsave", fail)
    saver = save_img(tmp_path)
    next(saver)
    with pytest.raises(OSError, match="No space"):
        saver.send(draw(5, 0, 0, 1))
    assert list(tmp_path.iterdir()) == []


def test_save_img_writes_to_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saver = save_img()
    next(saver)
    saver.send(draw(5, 0, 0, 1))
    assert (tmp_path / "images" / "000.png").exists()


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros(3), "shape"),
        (np.zeros((0, 0)), "shape"),
        (np.zeros((2, 3, 3)), "shape"),
        (np.full((3, 3), np.nan), "outside"),
    ],
)
def test_frames_that_are_no_pictures(frame, words, tmp_path):
    saver = save_img(tmp_path)
    next(saver)
    with pytest.raises(ValueError, match=words):
        saver.send(frame)
    assert list(tmp_path.iterdir()) == []


def test_save_gif(tmp_path):
    games = [[draw(5, row, 2, 2) for row in range(4)], [draw(5, row, 0, 3) for row in range(4)]]
    save_gif(tmp_path / "g.gif", games, frames_per_second=10)
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
    assert durations == [100, 100, 100, 400] * 2


@pytest.mark.parametrize(("grid_size", "side"), [(3, 240), (10, 240), (40, 240), (84, 168)])
def test_pictures_stay_small(grid_size, side):
    pixels = frame_pixels(draw(grid_size, 0, 0, 1))
    assert pixels.shape == (side, side, 3)
    assert tuple(pixels[side // grid_size - 1, side // grid_size - 1]) == FRUIT


def test_gif_mistakes(tmp_path):
    with pytest.raises(ValueError, match=r"\.gif"):
        save_gif(tmp_path / "g.png", [[draw(5, 0, 0, 1)]])
    with pytest.raises(ValueError, match="no frames"):
        save_gif(tmp_path / "g.gif", [])
    with pytest.raises(ValueError, match="several shapes"):
        save_gif(tmp_path / "g.gif", [[draw(5, 0, 0, 1), draw(7, 0, 0, 1)]])
    with pytest.raises(ValueError, match="frames_per_second is 0"):
        save_gif(tmp_path / "g.gif", [[draw(5, 0, 0, 1)]], frames_per_second=0)
    assert list(tmp_path.iterdir()) == []
