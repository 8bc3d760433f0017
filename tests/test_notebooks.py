"""Chapters as notebooks, and a training in one; skipped where nbclient is not installed."""

import base64
import importlib.util
import os
import re
from pathlib import Path

import pytest

from tests.test_docs import ROOT, every_chapter, read

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def notebooks():
    """The script."""
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "docs/notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUN = re.compile(r"^```python(?: slow)?\n((?:.*\n)*?)```\n(?:\n```text\n(?:.*\n)*?```\n)?", re.M)
TARGET = re.compile(r"\]\(([^)]*)\)")


@every_chapter
def test_a_chapter_as_a_notebook(page, notebooks):
    """All of its code and of its words; its pictures inside; links that lead somewhere."""
    folder = ROOT / "docs" / "notebooks"
    made, _ = notebooks.notebook(page, folder)
    nbformat.validate(made)
    code, text = (
        "\n".join(cell.source for cell in made.cells if cell.cell_type == kind)
        for kind in ("code", "markdown")
    )
    sessions = (re.sub(r"^(?!>>>|\.\.\.).*\n|^....?", "", s, flags=re.M) if ">>>" in s else s
                for s in RUN.findall(read(page)))  # fmt: skip
    assert code.split() == "\n".join(sessions).split()
    assert TARGET.sub("", text).split() == TARGET.sub("", RUN.sub("", read(page))).split()
    pictures = {
        name: data for cell in made.cells for name, data in cell.get("attachments", {}).items()
    }
    shown = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", read(page))
    files = {(page.parent / path).read_bytes() for path in shown}
    assert {base64.b64decode(data["image/png"]) for data in pictures.values()} == files
    for target in TARGET.findall(text):
        path, _, anchor = target.partition("#")
        if target.startswith("attachment:"):
            assert target.removeprefix("attachment:") in pictures
        elif path.endswith(".ipynb") or not path:  # Jupyter's anchors are whole headings
            headings = read(page.parent / f"{Path(path or page).stem}.md").replace(" ", "-")
            assert not anchor or f"#-{anchor}\n" in headings, target
        elif not path.startswith("https:"):
            assert Path(os.path.normpath(folder / path)).exists(), target


def executed(*sources):
    """The outputs of cells, after they were run."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    made = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(made, timeout=120, kernel_name="python3", resources=resources).execute()
    return [cell.outputs for cell in made.cells]


def test_a_notebook_is_run_and_compared(notebooks):
    page = ROOT / "docs/4-learning-rules.md"
    made, wanted = notebooks.notebook(page, ROOT / "docs/notebooks")
    shown = [number for number, want in enumerate(wanted) if want is not None]
    wrong = [*wanted]
    wrong[shown[-1]] = "something else\n"
    assert notebooks.run(made, wanted) == []
    [fault] = notebooks.run(made, wrong)
    assert fault.endswith("instead of\nsomething else\n")


def test_a_training_in_a_notebook():
    """Its last line and its curve stand below the cell, once each."""
    small = "grid_size=5, epochs=30, batch_size=8, eval_every=10"
    outputs, silent = executed(
        f"from minidqn.train import train\nmodel, records = train({small})",
        f"model, records = train({small}, verbose=False)",
    )
    line, curve = [output for output in outputs if output.output_type == "display_data"]
    assert re.match(r"epoch 30/30  loss [\d.]+  wins \d+/15  ", line.data["text/plain"])
    assert base64.b64decode(curve.data["image/png"]).startswith(PNG)
    others = [output for output in outputs if output not in (line, curve)]
    assert all(output.text.startswith("compiling kernels") for output in others[:1])
    assert len(others) <= 1 or others[1].text.endswith(" s\n")
    assert silent == []
