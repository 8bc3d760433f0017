"""Weights of moments of a training: rounded little, kept and removed with their run."""

import re
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minidqn import moments, runs, storage
from minidqn.recipe import q_network
from tests.commands import RING as SMALL
from tests.commands import trained


@pytest.fixture
def model():
    return q_network(5, rng=np.random.default_rng(0))


@given(st.integers(0, 10**15))
def test_is_moment(epoch):
    expected = {0} | {odd << power for odd in (1, 3) for power in range(50)}
    assert moments.is_moment(epoch) == (epoch in expected)


GREATEST = 3.4028234663852886e38
"""The greatest float32; a 127th of it is rounded up."""


@pytest.mark.parametrize(("greatest", "kind"), [(15, "int8"), (127, "int8"), (32_767, "int16")])
@example([GREATEST, 1.0, -GREATEST, -GREATEST, 0.0, 2.0])
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=6, max_size=6))
def test_rounding(greatest, kind, numbers):
    """By at most half a scale, and a little for float32 itself."""
    kernel = np.array(numbers, np.float32).reshape(3, 2)
    arrays = moments.quantized({"kernel": kernel, "bias": kernel[0]}, greatest)
    assert arrays["kernel"].dtype == kind
    assert np.abs(arrays["kernel"].astype(int)).max() <= greatest
    back = moments.dequantized(arrays)
    assert list(back) == ["kernel", "bias"]
    assert back["kernel"].dtype == np.float32
    most = np.abs(kernel).max(axis=0).astype(np.float64)
    error = np.abs(back["kernel"].astype(np.float64) - kernel)
    # Numbers so small that float32 has few digits for their scale may be lost.
    assert (error <= most * (0.5 / greatest + 1e-6) + greatest * 1e-44).all()
    np.testing.assert_array_equal(back["bias"], kernel[0])


def require_rounded(folder, epoch, model):
    """A file holds a network's weights, rounded."""
    arrays = moments.load(folder, epoch, model)
    expected = moments.quantized(model.named_weights())
    assert list(arrays) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)


def test_save_and_load(model, tmp_path):
    """What is kept is what was rounded; what is later than an epoch can be discarded."""
    for epoch in (0, 3, 4, 6):
        moments.save(tmp_path, epoch, model)
    require_rounded(tmp_path, 3, model)
    assert moments.saved_epochs(tmp_path, 5) == [0, 3, 4]
    moments.discard_after(tmp_path, 3)
    assert moments.saved_epochs(tmp_path, 500) == [0, 3]


def test_the_greatest_weights_can_be_read_again(model, tmp_path):
    model.set_weights([np.full_like(weight, GREATEST) for weight in model.get_weights()])
    moments.save(tmp_path, 1, model)
    for name, array in moments.dequantized(moments.load(tmp_path, 1, model)).items():
        np.testing.assert_allclose(array, GREATEST, rtol=1e-6, err_msg=name)


def test_a_moment_is_small(tmp_path):
    moments.save(tmp_path, 0, q_network(10))
    assert runs.moment_path(tmp_path, 0).stat().st_size < 65_000


def test_damaged_moments(model, tmp_path):
    """Nothing in such a file is trusted: it is refused with one line that names it."""
    path = runs.moment_path(tmp_path, 1)
    moments.save(tmp_path, 1, model)
    whole = path.read_bytes()
    arrays = moments.load(tmp_path, 1, model)

    def require_refused(words):
        with pytest.raises(ValueError, match=rf"\A{re.escape(str(path))}.*{words}.*\Z"):
            moments.load(tmp_path, 1, model)

    for name, other, words in [
        ("dense/kernel", arrays["dense/kernel"][:-1], "of shape"),
        ("dense/kernel", arrays["dense/kernel"].astype(np.float32), "expected int8"),
        ("dense/kernel/scale", np.full(100, np.nan, np.float32), "holds NaN or infinity"),
        ("dense/kernel/scale", np.full(100, 3e38, np.float32), "overflow"),
        ("dense/bias", np.full(100, np.inf, np.float32), "holds NaN or infinity"),
        ("another", np.zeros(1), "expected conv2d"),
    ]:
        storage.write_arrays(path, arrays | {name: other})
        require_refused(words)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        require_refused("")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dense/kernel.npy", b"0" * 1000)
    require_refused("compressed")


# In a run


def kept(folder):
    return {int(path.stem): path.read_bytes() for path in runs.numbered(folder, runs.MOMENTS)}


def test_a_run_keeps_its_moments(tmp_path):
    """Those after which something has been learned; the first is the untrained network."""
    assert trained(*SMALL, "--epochs", 40, "--out", tmp_path / "long") == 0
    long = kept(tmp_path / "long")
    # With these settings the memory fills a batch in the third epoch.
    assert set(long) == {epoch for epoch in range(41) if moments.is_moment(epoch)} - {1, 2}
    settings, *_ = runs.read_config(tmp_path / "long")
    first = q_network(5, settings.streams().weights)
    require_rounded(tmp_path / "long", 0, first)
    # They do not depend on the number of epochs.
    assert trained(*SMALL, "--epochs", 13, "--out", tmp_path / "short") == 0
    assert kept(tmp_path / "short") == {epoch: long[epoch] for epoch in long if epoch <= 13}


def test_moments_after_the_checkpoint_are_made_anew(tmp_path):
    """A run that was killed later than its checkpoint, and is then made shorter, has no others."""
    assert trained(*SMALL, "--epochs", 30, "--out", tmp_path / "a") == 0
    for later in (32, 48):
        shutil.copy(runs.moment_path(tmp_path / "a", 24), runs.moment_path(tmp_path / "a", later))
    (tmp_path / "a" / runs.MOMENTS / ".minidqn.999.000048.npz").write_bytes(b"half")
    assert trained("--resume", tmp_path / "a", "--epochs", 40, "--no-images") == 0
    assert trained(*SMALL, "--epochs", 40, "--out", tmp_path / "b") == 0
    assert kept(tmp_path / "a") == kept(tmp_path / "b")
    assert list((tmp_path / "a").rglob(".*")) == []


def test_moments_go_with_their_run(tmp_path, capsys):
    """--overwrite removes them, and only them; alone they are no run, and stay."""
    assert trained(*SMALL, "--epochs", 40, "--out", tmp_path) == 0
    mine = tmp_path / runs.MOMENTS / "mine.npz"
    mine.write_bytes(b"mine")
    assert trained(*SMALL, "--epochs", 5, "--overwrite", "--out", tmp_path) == 0
    assert max(kept(tmp_path)) == 4
    assert mine.read_bytes() == b"mine"
    other = tmp_path / "other"
    shutil.copytree(tmp_path / runs.MOMENTS, other / runs.MOMENTS)
    for flags in ([], ["--overwrite"]):
        assert trained(*SMALL, "--epochs", 5, *flags, "--out", other) == 2
        assert "holds other files" in capsys.readouterr().err
