"""What README and docs/ show is what happens: every Python block is run."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "benchmarks/README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page):
    """The Python blocks of a page, with the line that each begins at."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield text[: match.start()].count("\n") + 2, match.group(1)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks(page):
    """Sessions must print what is shown; they go on from block to block."""
    names = {}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for line, source in blocks(page):
        if ">>>" in source:
            session = doctest.DocTestParser().get_doctest(source, names, page.name, str(page), line)
            assert runner.run(session, clear_globs=False).failed == 0
            names = session.globs


def test_the_loop_of_the_readme(capsys):
    """The loop is run as it stands but for its size; then with the game of one's own in it."""
    loop, dodge = [source for _, source in blocks(ROOT / "README.md") if ">>>" not in source]
    assert len(loop.splitlines()) <= 25
    small = _replaced(loop, ("range(500)", "range(60)"), ("=128", "=16"))
    exec(compile(small, "README.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out) <= 1
    names = {}
    definition, rest = dodge.split("rng = ")
    exec(compile(definition, "README.md", "exec"), names)
    other = _replaced(
        small,
        ("q_network(grid_size=10, rng=rng)", "q_network(grid_size=8, rng=rng)"),
        ("episode(grid_size=10, rng=rng)", "dodge(rng)"),
        ("print(win_rate(model, grid_size=10))", ""),
    )
    exec(compile(other, "README.md", "exec"), names)
    names["model_for_dodge"] = names["model"]
    exec(compile("rng = " + rest, "README.md", "exec"), names)
    assert re.fullmatch(r"\d+ of 100 survived\n", capsys.readouterr().out)


def _replaced(text, *changes):
    for shown, other in changes:
        assert text.count(shown) == 1, shown
        text = text.replace(shown, other)
    return text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_left_to_fill_in(page):
    assert not re.findall(r"^[A-Z]{4,}$", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    named = re.findall(r"`((?:minidqn|tests|benchmarks|docs)/[\w/.-]*)`", text)
    assert links
    for path in links:
        assert (page.parent / path).exists(), path
    for path in named:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    "name", ["step", "run", "parity", "scaling", "replay", "processors", "durability", "saves"]
)
def test_tables_are_what_the_benchmarks_wrote(name):
    page = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    written = (ROOT / f"benchmarks/results/{name}.md").read_text(encoding="utf-8")
    assert written.split("\n\n")[1].strip() in page
    assert all(line in page for line in written.splitlines()[:2])


def test_the_api_that_was_promised(tmp_path, monkeypatch):
    """The lines that a user of Keras would write."""
    monkeypatch.chdir(tmp_path)
    from minidqn.nn import Conv2D, Dense, Flatten, RMSprop, Sequential

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
    assert q_values.shape == (4, 3)
    assert q_values.dtype == np.float32
    loss = model.train_on_batch(states, targets)
    assert isinstance(loss, float)
    model.set_weights(model.get_weights())
    model.save_weights("w.npz")
    model.load_weights("w.npz")
