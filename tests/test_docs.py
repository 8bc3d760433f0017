"""What the pages show is what happens: blocks are run, names and links exist.

A block that begins with

    ```python           is run, in order, and prints what is shown: a session (>>>) within
                        itself, a plain block in a ```text block that follows it;
    ```python slow      is run with --slow only, as .ci/run does;
    ```python needs LIB is run where these libraries are installed; slow may stand before needs;
    ```python of FILE:NAME    is quoted: its lines stand in the source of that name.
"""

import ast
import contextlib
import csv
import doctest
import importlib.util
import io
import itertools
import re
import textwrap
from pathlib import Path

import pytest

from benchmarks import harness
from minidqn import compare
from minidqn.command import SETTINGS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
PAGES = [ROOT / "README.md", ROOT / "benchmarks/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if page.name != "compare.md"]  # which a command writes
CHAPTERS = sorted((ROOT / "docs").glob("[0-9]-*.md"))
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
every_chapter = pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.name)


def read(page):
    return page.read_text(encoding="utf-8")


def prose(page):
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", read(page), flags=re.S | re.M)


def blocks(page):
    """The fenced blocks of a page: line, what follows the backticks, text."""
    text = read(page)
    for match in re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
        yield text[: match.start()].count("\n") + 2, match[1].strip(), match[2]


def is_run(kind, slow):
    """Whether a block of a kind is run, if slow ones are or are not."""
    found = re.fullmatch(r"python( slow)?(?: needs ([\w ]+))?", kind)
    here = found and all(map(importlib.util.find_spec, (found[2] or "").split()))
    return here and (slow or not found[1])


@pytest.mark.filterwarnings("ignore:.*__array__ implementation:DeprecationWarning")  # of Keras
@every_page
def test_blocks(page, request, tmp_path, monkeypatch):
    """A page's Python blocks are run as a reader would, one after the other, in a new folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    names = {"__name__": "__main__"}
    found = list(blocks(page))
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    slow = request.config.getoption("--slow")
    for (line, kind, source), after in itertools.zip_longest(found, found[1:]):
        if not is_run(kind, slow):
            continue
        if ">>>" in source:
            session = doctest.DocTestParser().get_doctest(source, names, page.name, str(page), line)
            assert runner.run(session, clear_globs=False).failed == 0
            names = session.globs
            continue
        printed = io.StringIO()
        code = compile("\n" * (line - 1) + source, str(page), "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        if after is not None and after[1] == "text":
            assert printed.getvalue() == after[2]


def named(tree, path):
    """The part of a module that a dotted name stands for, or None."""
    name, _, rest = path.partition(".")
    for node in ast.iter_child_nodes(tree):
        nodes = [node, *getattr(node, "targets", [getattr(node, "target", None)])]
        if name in {getattr(each, key, None) for each in nodes for key in ("name", "id")}:
            return named(node, rest) if rest else node
    return None


def part(reference):
    """The source of what ``minidqn/file.py:Class.method`` names."""
    file, name = reference.split(":")
    source = read(ROOT / file)
    node = named(ast.parse(source), name)
    assert node is not None, f"{reference} does not exist"
    return textwrap.dedent(" " * node.col_offset + ast.get_source_segment(source, node))


@every_page
def test_every_block_is_checked(page):
    """It is run, or stands in the code, or is text."""
    for line, kind, text in blocks(page):
        assert re.fullmatch(r"text|python( of .+|( slow)?( needs [\w ]+)?)", kind), line
        assert kind != "text" or ">>>" not in text, line
        if kind.startswith("python of "):
            source = part(kind.removeprefix("python of ")).splitlines()
            size = len(text.splitlines())
            windows = ("\n".join(source[at : at + size]) for at in range(len(source)))
            assert text.rstrip("\n") in map(textwrap.dedent, windows), f"{page.name}, line {line}"
    assert ">>>" not in prose(page)
    # A line that happens to begin with a number becomes a list of its own.
    assert not re.findall(r"^.+\n1\. ", prose(page), re.MULTILINE)
    assert not re.findall(r"^[A-Z]{4,}$|\bXX\b", read(page), re.MULTILINE)  # left to fill in


@every_page
def test_commands_exist(page):
    """Every ``python -m`` is a module, and every flag is one of a command's."""
    text = read(page)
    for module in re.findall(r"python -m ((?:minidqn|benchmarks|tests)[\w.]*\w)", text):
        assert importlib.util.find_spec(module), module
    sources = [*ROOT.glob("minidqn/**/*.py"), *ROOT.glob("benchmarks/*.py")]
    sources += [ROOT / "docs/figures.py", ROOT / "tests/conftest.py"]
    known = " ".join(map(read, sources))
    known += " ".join(f'"{name.replace("_", "-")}"' for name in SETTINGS)
    for flag in re.findall(r"`[^`\n]*?(--[a-z][a-z-]+)", text):
        name = flag.removeprefix("--")
        assert f'"{flag}"' in known or f'"{name}"' in known, flag
    for path in re.findall(r"`(nn/\w+\.py)`", text):
        assert (ROOT / "minidqn" / path).exists(), path


def anchors(page):
    """What a code host makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page):
    """Links to pages and headings, paths of files, names in a file of code."""
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", read(page))
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    ours = "`((?:minidqn|tests|benchmarks|docs)/"
    for path in re.findall(ours + r"[\w/.-]*)`", read(page)):
        assert (ROOT / path).exists(), path
    for reference in re.findall(ours + r"[\w/.-]+\.py:[\w.]+)`", read(page)):
        part(reference)


TABLES = {
    "benchmarks/README.md": "step scaling replay processors run busy cache durability saves parity "
    "sb3 minatar time_to_score page",
    "docs/7-fast.md": "ladder",
    "docs/8-experiments.md": "seeds",
    "docs/many-runs.md": "sweeps sweep-sizes",
    "docs/9-after-2013.md": "rungs",
    "docs/from-here-on.md": "grids",
}


@pytest.mark.parametrize(
    ("page", "name"), [(page, name) for page, names in TABLES.items() for name in names.split()]
)
def test_tables_are_what_the_benchmarks_wrote(page, name):
    written = read(RESULTS / f"{name}.md")
    text = read(ROOT / page)
    assert written.split("\n\n")[1].strip() in text
    assert all(line in text for line in written.splitlines()[:2])


@pytest.mark.parametrize("name", [path.stem for path in RESULTS.glob("*.csv")])
def test_tables_are_of_the_numbers_beside_them(name):
    """Pictures are drawn from the one, and pages show the other."""
    rows = harness.read_csv(name)
    if name in ("minatar", "rungs", "seeds", "time_to_score"):
        rows = importlib.import_module(f"benchmarks.{name}").summary(rows)
    written = read(RESULTS / f"{name}.md").split("\n\n")[1].splitlines()
    for row, line in zip(rows, written[2:], strict=True):
        assert line == f"| {' | '.join(str(value) for value in row.values())} |"


@pytest.mark.parametrize("folder", sorted((ROOT / "docs/sweeps").iterdir()), ids=lambda f: f.name)
def test_tables_of_sweeps(folder):
    """A page shows what ``minidqn.compare`` printed of the numbers that are kept."""
    with open(folder / "compare-scores.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = [{n: _number(value) for n, value in row.items() if value} for row in rows]
    [baseline] = [row["setting"] for row in numbers if "improvement" not in row]
    assert all(row["runs"] >= 10 and row["failed"] == row["left"] == 0 for row in numbers)
    text = read(ROOT / "docs/8-experiments.md") + read(ROOT / "docs/from-here-on.md")
    table = compare.markdown(numbers, baseline)
    assert table in text
    assert table in read(folder / "compare.md")
    assert all(line in text for line in compare.verdict(numbers, baseline))


def _number(text):
    """What a CSV file says, as a number where it is one."""
    if text in ("True", "False"):
        return text == "True"
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


@every_chapter
def test_a_chapter_is_whole(page):
    """What one will be able to do; three questions; their answers, folded away."""
    text = read(page)
    number = page.name[0]
    assert re.match(rf"# {number}\. .+\n\n\*\w+ minutes?\. Afterwards you can ", text)
    questions = text.split("## Questions\n")[1]
    for half in questions.split("<details><summary>Answers</summary>"):
        assert re.findall(r"^(\d)\. ", half, re.MULTILINE) == ["1", "2", "3"]
    assert "</details>" in half
    assert "](exercises/README.md)" in text or number in "78"


def test_the_index_lists_every_chapter():
    listed = re.findall(r"^\| \d \| \[.*\]\((\d-[\w-]+\.md)\)", read(ROOT / "docs/README.md"), re.M)
    assert listed == [page.name for page in CHAPTERS]


GLOSSARY = re.compile(r"^\| (\$.+?\$) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def test_the_glossary():
    """Every symbol's name is a name in the code that the row points to."""
    rows = GLOSSARY.findall(read(ROOT / "docs/glossary.md"))
    assert len(rows) > 20
    for symbol, names, _, places in rows:
        references = re.findall(r"`([\w/]+\.py:[\w.]+)`", places)
        assert references, symbol
        nodes = [node for each in references for node in ast.walk(ast.parse(part(each)))]
        found = {getattr(node, kind, None) for node in nodes for kind in ("id", "arg", "attr")}
        listed = re.findall(r"`([^`]+)`", names)
        for name in listed:
            assert name in found, f"{symbol}: {name} is not in {references}"
        # Where the code has a name that is the symbol itself, that is its name.
        for letter in re.findall(r"\$\\?(?:var)?(\w+)\$", symbol):
            assert letter not in found or letter in listed, f"{symbol} is called {letter} there"


GREEK = (
    "alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|"
    "sigma|tau|upsilon|phi|varphi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Pi|Phi|Psi|Omega"
)


def symbols(page):
    """The letters of a page's formulas."""
    found = set()
    for formula in re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", prose(page), re.DOTALL):
        inside = "".join(formula)
        inside = re.sub(
            r"\\(?:text|operatorname|mathrm)\{[^}]*\}|\\begin\{\w+\}|\\end\{\w+\}", " ", inside
        )
        found |= set(re.findall(rf"\\(?:{GREEK})\b", inside))
        found |= set(re.findall(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", inside))
    return found


@every_chapter
def test_every_symbol_is_in_the_glossary(page):
    listed = symbols(ROOT / "docs/glossary.md")
    assert symbols(page) <= listed, sorted(symbols(page) - listed)
