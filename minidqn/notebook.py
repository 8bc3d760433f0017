"""A training in a notebook: below its cell stand its progress and its curve, and they move.

``minidqn.train.train`` imports this module where it runs in a notebook, which has IPython.
"""

import tempfile
from pathlib import Path

from minidqn import cli
from minidqn.pictures import save_curve
from minidqn.runs import Record, Settings

try:
    from IPython.display import Image, display
except ImportError:
    raise ImportError('IPython is missing: python -m pip install "minidqn[notebook]"') from None


class _Line(cli.Line):
    """A line below a cell that is written over."""

    moving = True

    def __init__(self):
        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def move(self, text, last):
        self._handle.update({"text/plain": text}, raw=True)


class Progress(cli.Progress):
    """Shows a run as it goes, as in a terminal, and its curve so far.

    Parameters
    ----------
    settings : Settings
        The run's, which say when it ends.
    """

    CURVE_SECONDS = 2.0
    """From one curve to the next; to draw one takes up to two tenths of a second."""

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self.line, self._curve = _Line(), display({"text/plain": ""}, raw=True, display_id=True)
        self._records, self._drawn = [], 0.0

    def show(self, record: Record) -> None:
        """Take note of a `record` and show it, if it is time to."""
        super().show(record)
        self._records.append(record)
        if self.settings.ended(record) or record.seconds - self._drawn >= self.CURVE_SECONDS:
            self._drawn = record.seconds
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "curve.png"
                save_curve(path, self._records)
                self._curve.update(Image(path.read_bytes()))
