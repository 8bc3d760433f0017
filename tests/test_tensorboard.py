"""Curves for TensorBoard; skipped where it is not installed, but for the line that says so."""

import os
import sys

import numpy as np
import pytest

from minidqn import command, runs
from tests.commands import RING, files, names, refusal, trained


@pytest.fixture
def curves():
    """What TensorBoard itself reads of a run: for each name the steps and the values."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(module).EventAccumulator

    def read(folder):
        found = accumulator(str(folder / runs.TENSORBOARD), {"scalars": 0}).Reload()
        tags = found.Tags()["scalars"]
        return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in tags}

    return read


def test_curves(tmp_path, curves):
    """They are the metrics, under CleanRL's names, and change nothing in the run."""
    for flags in ([], ["--tensorboard"]):
        out = tmp_path / f"run{len(flags)}"
        assert trained(*RING, "--epochs", 40, "--out", out, *flags) == 0
    plain, run = ((tmp_path / f"run{n}" / runs.WEIGHTS).read_bytes() for n in (0, 1))
    assert plain == run
    records, found = runs.read_metrics(out, 40), curves(out)
    assert set(found) == {
        "charts/episodic_return", "charts/SPS", "losses/td_loss", "losses/q_values",
        "eval/episodic_return", "eval/wins", "eval/q_error",
    }  # fmt: skip
    expected = [(record.steps, record.episode_return) for record in records]
    assert found["charts/episodic_return"] == expected
    assert [step for step, _ in found["eval/episodic_return"]] == [
        record.steps for record in records if record.mean_return is not None
    ]
    learned = [record for record in records if record.updates]
    losses = [r.loss / 3 for r in learned[1:]]  # a game has three steps
    steps, values = zip(*found["losses/td_loss"], strict=True)
    assert list(steps) == [record.steps for record in learned]
    np.testing.assert_allclose(values[1:], losses, rtol=1e-6)
    assert [step for step, _ in found["losses/q_values"]] == list(steps)
    assert all(abs(value) < 1 for _, value in found["losses/q_values"])


def test_a_run_that_goes_on(tmp_path, curves, capsys):
    """Of an epoch that is played twice the second is shown, and one that begins anew begins."""
    assert trained(*RING, "--epochs", 9, "--out", tmp_path / "run", "--tensorboard") == 0
    older = (tmp_path / "run" / runs.PREVIOUS).read_bytes()
    assert trained("--resume", tmp_path / "run", "--epochs", 12, "--tensorboard") == 0
    assert trained(*RING, "--epochs", 12, "--out", tmp_path / "whole", "--tensorboard") == 0
    whole, run = curves(tmp_path / "whole"), curves(tmp_path / "run")
    for found in (whole, run):
        del found["charts/SPS"]
    assert run == whole
    (tmp_path / "run" / runs.CHECKPOINT).write_bytes(older)
    assert trained("--resume", tmp_path / "run", "--epochs", 12, "--tensorboard") == 0
    steps = [step for step, _ in curves(tmp_path / "run")["charts/episodic_return"]]
    assert steps == list(range(3, 37, 3))
    flags = ["--epochs", 5, "--out", tmp_path / "run", "--tensorboard", "--overwrite"]
    assert trained(*RING, *flags) == 0
    assert len(names(tmp_path / "run" / runs.TENSORBOARD)) == 1


@pytest.mark.skipif(os.name == "nt", reason="a link is a privilege there")
def test_a_link_leads_nowhere(tmp_path, curves, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / runs.TENSORBOARD).symlink_to(tmp_path / "elsewhere")
    said = refusal(capsys, command.main, *RING, "--out", tmp_path / "run", "--tensorboard")
    assert "tensorboard is a link or a file; expected a folder" in said
    assert files(tmp_path / "elsewhere") == {}


def test_without_tensorboard(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    monkeypatch.delitem(sys.modules, "minidqn.tensorboard", raising=False)
    said = refusal(capsys, command.main, *RING, "--out", tmp_path / "run", "--tensorboard")
    assert said.endswith('TensorBoard is missing: python -m pip install "minidqn[tensorboard]"\n')
    assert not (tmp_path / "run").exists()
