"""Pixels are an array of the images that they were made of, in every way that they offer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from minidqn.nn import Pixels

pytestmark = pytest.mark.uncompiled

SHAPES = st.one_of(
    st.tuples(st.integers(0, 6), *[st.integers(1, 4)] * 3),  # images, none or some
    st.tuples(st.integers(0, 6), st.integers(1, 5)),  # vectors
)
NUMBERS = st.just(0) | st.floats(allow_nan=False, allow_infinity=False, width=32)
images = SHAPES.flatmap(lambda shape: hn.arrays(np.float32, shape, elements=NUMBERS))


def same(pixels, array):
    assert (len(pixels), pixels.shape, pixels.dtype) == (len(array), array.shape, np.float32)
    np.testing.assert_array_equal(np.asarray(pixels), array)


@given(images)
def test_there_and_back(array):
    pixels = Pixels.of(array)
    same(pixels, array)
    for image, other in zip(pixels, array, strict=True):
        np.testing.assert_array_equal(image, other)
    active = array.any(axis=1).reshape(len(array), int(np.prod(array.shape[2:])))
    assert pixels.active == len(pixels.positions) == active.sum()
    np.testing.assert_array_equal(pixels.positions, np.nonzero(active)[1])
    np.testing.assert_array_equal(pixels.last - pixels.first, active.sum(axis=1))


@given(images, st.data())
def test_any_part_of_them(array, data):
    """Slices, masks and lists of places, and parts of parts."""
    pixels, count = Pixels.of(array), len(array)
    index = st.one_of(st.slices(count), hn.arrays(bool, count))
    if count:
        index |= hn.arrays(np.intp, st.integers(0, 9), elements=st.integers(-count, count - 1))
    part = data.draw(index, "part")
    same(pixels[part], array[part])
    assert pixels[part].active == Pixels.of(array[part]).active
    same(pixels[part][1:], array[part][1:])
    if count:
        place = data.draw(st.integers(-count, count - 1), "place")
        np.testing.assert_array_equal(pixels[place], array[place])
        np.testing.assert_array_equal(pixels[np.int8(place)], array[place])
    with pytest.raises(IndexError):
        pixels[count]


@given(images, st.data())
def test_one_after_the_other(array, data):
    cut = data.draw(st.integers(0, len(array)), "cut")
    pixels = Pixels.of(array)
    whole = Pixels.join(pixels[:cut], pixels[cut:])
    assert whole.values is pixels.values  # parts of the same are not copied
    same(whole, array)
    same(Pixels.join(pixels[cut:], pixels), np.concatenate([array[cut:], array]))
    rows = pixels.first, pixels.last, pixels.positions[::-1], pixels.values
    shifted = Pixels(pixels.shape[1:], *rows)
    same(Pixels.join(pixels, shifted), np.concatenate([array, shifted]))
    same(Pixels.join(Pixels.of(array[cut:]), pixels), np.concatenate([array[cut:], array]))


@given(images, images, st.data())
def test_in_the_memory_of_others(one, other, data):
    """Whatever was there before, and how much room there was."""
    memory = Pixels.of(np.ones(data.draw(st.sampled_from([one.shape, other.shape]), "room")))
    for array in one, other, other[::-1]:
        pixels = Pixels.of(array, memory)
        same(pixels, array)
        assert pixels is memory or memory.shape != array.shape
    same(Pixels.of(Pixels.of(one, memory), Pixels.of(other)), one)
    same(Pixels.of(one, Pixels.of(np.zeros_like(one))), one)  # where there is no room at all


@given(images, st.data())
def test_on_a_background(array, data):
    """It stands where no pixel is, and is added where one is."""
    pixels = Pixels.of(array)
    colours = hn.arrays(np.float32, array.shape[1], elements=st.integers(-3, 3))
    pixels.background = data.draw(colours, "background")
    expected = array + pixels.background.reshape(-1, *[1] * (array.ndim - 2))
    same(pixels, expected)
    same(pixels[::-1], expected[::-1])
    same(Pixels.of(pixels), expected)
    assert Pixels.of(pixels).background is None


@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool, np.float64, ">f4"])
def test_numbers_of_any_kind(kind, rng):
    array = rng.integers(0, 2, (3, 2, 4, 5)).astype(kind)
    array.flags.writeable = False
    for part in array, array[::2, :, ::-1, 1:3]:
        same(Pixels.of(part), part)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("where", [0, 17, -1])
def test_what_is_not_finite_is_refused(bad, where):
    array = np.zeros((3, 2, 3, 3))
    array.flat[where] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        Pixels.of(array)


def test_they_count_as_an_array_elsewhere():
    array = np.arange(24.0).reshape(2, 3, 2, 2)
    pixels = Pixels.of(array)
    assert np.asarray(pixels, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.mean(pixels, axis=0), array.mean(axis=0))
    same(pixels, array)
    np.asarray(pixels)[...] = array[...] = 7  # neither is theirs
    assert np.asarray(pixels)[0, 0, 0, 1] == 1
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        with pytest.raises(ValueError, match="copy"):
            np.asarray(pixels, copy=False)
