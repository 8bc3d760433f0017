"""Curves of a training for TensorBoard: ``python -m minidqn.train --tensorboard``.

Needs the extra: ``python -m pip install "minidqn[tensorboard]"``. The names are CleanRL's,
and so is the horizontal axis: environment steps.

References
----------
https://docs.cleanrl.dev/rl-algorithms/dqn/#explanation-of-the-logged-metrics
"""

import contextlib
import time
from pathlib import Path

import numpy as np

from minidqn.qlearning import columns
from minidqn.runs import TENSORBOARD, Record, State, subfolder

try:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
except ImportError:
    missing = 'TensorBoard is missing: python -m pip install "minidqn[tensorboard]"'
    raise ImportError(missing) from None


class Curves(contextlib.AbstractContextManager):
    """Writes the records of a run as curves, into a folder of the run's.

    Parameters
    ----------
    folder : Path
        The run's folder.
    state : State
        Where the run stands. It is looked at after each epoch, and does not change.
    """

    def __init__(self, folder: Path, state: State):
        self._state, (self._last, last) = state, ([None, None, *state.records])[-2:]
        self._writer = EventFileWriter(str(subfolder(folder, TENSORBOARD)))
        # A run that goes on from a checkpoint plays some games again: these replace the old.
        begin = SessionLog(status=SessionLog.START)
        self._add(last.steps if last else 0, session_log=begin)
        if last:  # it was measured, if the run was to end with it; now it may not be
            self.write(last)

    def write(self, record: Record) -> None:
        """Add the points of an epoch, as its `record` has them."""
        before, self._last = self._last, record
        points = {"charts/episodic_return": record.episode_return}
        points["charts/SPS"] = record.steps / max(record.seconds, 1e-9)
        measured = ("episodic_return", "mean_return"), ("wins", "wins"), ("q_error", "q_error")
        for name, field in measured:
            if (value := getattr(record, field)) is not None:
                points[f"eval/{name}"] = value
        if updates := record.updates - (before.updates if before else 0):
            points["losses/td_loss"] = record.loss / updates
            points["losses/q_values"] = self._mean_q_value(record.epoch)
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in points.items()]
        self._add(record.steps, summary=Summary(value=values))

    def _mean_q_value(self, epoch):
        """The mean of Q(S, a) for the actions taken, over a batch from the memory."""
        settings, game, model, _, memory, *_ = self._state
        rng = np.random.default_rng([settings.seed, epoch])  # of no other use in the run
        batch = memory.take(rng.integers(memory.count, size=settings.batch_size))
        chosen = columns(batch.actions, game.actions)
        return model.predict(batch.states)[np.arange(len(chosen)), chosen].mean()

    def _add(self, step, **what):
        self._writer.add_event(Event(wall_time=time.time(), step=step, **what))

    def __exit__(self, *exception):
        self._writer.close()
