"""The loop on one page, run in small, and the API that users of Keras expect."""

import numpy as np

from minidqn.nn import Conv2D, Dense, Flatten, RMSprop, Sequential
from tests.test_docs import ROOT, blocks


def test_the_loop_on_one_page(capsys):
    """It is run as it stands but for its size."""
    (loop,) = [
        source for _, kind, source in blocks(ROOT / "docs/python.md") if kind == "python slow"
    ]
    assert len(loop.splitlines()) <= 25
    for shown, other in (("range(500)", "range(60)"), ("=128", "=16")):
        assert loop.count(shown) == 1, shown
        loop = loop.replace(shown, other)
    exec(compile(loop, "python.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out) <= 1


def test_the_api_that_was_promised(tmp_path, monkeypatch):
    """The lines that a user of Keras would write."""
    monkeypatch.chdir(tmp_path)
    states, targets = np.zeros((4, 1, 10, 10)), np.zeros((4, 3))
    model = Sequential()
    model.add(Conv2D(16, 3, activation="relu", input_shape=(1, 10, 10)))
    model.add(Conv2D(16, 3, activation="relu"))
    model.add(Flatten())
    model.add(Dense(100, activation="relu"))
    model.add(Dense(3))
    model.compile(RMSprop(), "mse")
    model.summary()
    q_values = model.predict(states)
    assert (q_values.shape, q_values.dtype) == ((4, 3), np.float32)
    assert isinstance(model.train_on_batch(states, targets), float)
    model.set_weights(model.get_weights())
    model.save_weights("w.npz")
    model.load_weights("w.npz")
