"""The chapters as notebooks, made from their Markdown, which stays the only source.

    python docs/notebooks.py               # docs/notebooks/1-game.ipynb, ...
    python docs/notebooks.py my_folder     # another folder
    python docs/notebooks.py --run         # run them, too, and compare what they print

A block that is run becomes a cell of code; a session is cut behind each line that prints,
since a cell shows its last value only. All else becomes text, with its pictures inside.
Needs the extra: python -m pip install ".[notebook]".
"""

import argparse
import base64
import doctest
import os
import re
import sys
from pathlib import Path

try:
    import nbclient
    import nbformat
except ImportError:
    sys.exit('nbclient is missing: python -m pip install ".[notebook]"')

DOCS = Path(__file__).resolve().parent
BLOCK = re.compile(r"^```(python|python slow|text)\n((?:.*\n)*?)```\n+", re.MULTILINE)
LINK = re.compile(r"(!?\[[^\]]*\])\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
FLAGS = doctest.NORMALIZE_WHITESPACE


def notebook(page, folder):
    """A chapter as a notebook.

    Parameters
    ----------
    page : Path
        The chapter.
    folder : Path
        Where the notebook will be, for its links.

    Returns
    -------
    made : NotebookNode
        Without outputs.
    wanted : list of str or None
        For each cell the output that the page shows; None where it shows none.
    """
    text, end, cells, wanted = page.read_text(encoding="utf-8"), 0, [], []
    for block in BLOCK.finditer(text):
        kind, source = block.groups()
        before = text[end : block.start()].strip()
        if kind == "text":
            if not before:  # the output of the block above it
                wanted[-1], end = source, block.end()
            continue
        if before:
            cells.append(_text_cell(before, page, folder))
            wanted.append(None)
        for code, want, tags in _cut(source) if ">>>" in source else [(source, None, [])]:
            cells.append(nbformat.v4.new_code_cell(code.strip(), metadata={"tags": tags}))
            wanted.append(want)
        end = block.end()
    cells.append(_text_cell(text[end:].strip(), page, folder))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # else drawn at random
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    return made, [*wanted, None]


def _cut(session):
    """The code of a session, cut behind each line that prints, what that is, and tags."""
    code, parts = "", []
    for example in doctest.DocTestParser().get_examples(session):
        code += example.source
        if example.want:
            tags = ["raises-exception"] * (example.exc_msg is not None)
            parts.append((code, example.exc_msg or example.want, tags))
            code = ""
    return parts + [(code, None, [])] * bool(code)


def _text_cell(text, page, folder):
    """Text with its pictures inside, and links that lead from the folder of the notebook."""
    pictures = {}

    def link(match):
        words, path, anchor = match.groups()
        target = (page.parent / path) if path else page
        if words.startswith("!"):
            data, name = base64.b64encode(target.read_bytes()).decode(), path.replace("/", "-")
            pictures[name] = {f"image/{target.suffix[1:]}": data}
            return f"{words}(attachment:{name})"
        if re.match(r"\d-", target.name):  # a chapter, which is a notebook, too
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {_slug(heading): heading.replace(" ", "-") for heading in headings}
            path = f"{target.stem}.ipynb" if target != page else ""
            return f"{words}({path}{'#' if anchor else ''}{slugs[anchor] if anchor else ''})"
        path = Path(os.path.relpath(target, folder)).as_posix()
        return f"{words}({path}{'#' if anchor else ''}{anchor or ''})"

    cell = nbformat.v4.new_markdown_cell(LINK.sub(link, text))
    if pictures:
        cell.attachments = pictures
    return cell


def _slug(heading):
    """The anchor that a code host gives to a heading; Jupyter keeps its capitals."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def run(made, wanted):
    """Run a notebook from top to bottom.

    Parameters
    ----------
    made, wanted
        From `notebook`; the outputs are put into `made`.

    Returns
    -------
    list of str
        What is not as the page says.
    """
    resources = {"metadata": {"path": str(DOCS.parent)}}  # the package beside docs/ is run
    nbclient.NotebookClient(made, timeout=600, record_timing=False, resources=resources).execute()
    check, faults = doctest.OutputChecker(), []
    for cell, want in zip(made.cells, wanted, strict=True):
        got = "".join(map(_printed, cell.get("outputs", ())))
        if want is not None and not check.check_output(want, got, FLAGS):
            faults.append(f"{cell.source}\nprints\n{got}\ninstead of\n{want}")
    return faults


def _printed(output):
    """The text of an output; what a training shows as it goes is none of it."""
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else ""
    if output.output_type == "error":
        return ": ".join(filter(None, (output.ename, output.evalue))) + "\n"
    return output.data["text/plain"] + "\n" if output.output_type == "execute_result" else ""


def main():
    parser = argparse.ArgumentParser(description="Make notebooks of the chapters.")
    parser.add_argument("folder", nargs="?", type=Path, default=DOCS / "notebooks")
    parser.add_argument("--run", action="store_true", help="run them and compare")
    arguments = parser.parse_args()
    try:
        return write_all(arguments.folder, arguments.run)
    except OSError as error:
        parser.error(f"{arguments.folder} cannot be written to: {error.strerror}")


def write_all(folder, also_run):
    """Write all notebooks to a `folder`, and run them, if they are to be `also_run`.

    Returns
    -------
    int
        0, or 1 if one printed something else than its page says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    faults = []
    for page in sorted(DOCS.glob("[0-9]-*.md")):
        made, wanted = notebook(page, folder.resolve())
        found = run(made, wanted) if also_run else []
        path = folder / f"{page.stem}.ipynb"
        nbformat.write(made, path)
        print(path, *found, sep="\n")
        faults += found
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
