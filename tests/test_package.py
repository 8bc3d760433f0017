"""The package as a whole: who imports whom, what is documented, what is not shipped."""

import ast
import configparser
import dataclasses
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minidqn
from minidqn.__main__ import COMMANDS, main
from tests.commands import run

PACKAGE = Path(minidqn.__file__).parent
# The map lists the modules; an import points to a module further up there, never down.
MAP = (PACKAGE.parent / "docs" / "map.md").read_text(encoding="utf-8")
FOUND = re.findall(r"`minidqn/([\w/]+)\.py`", MAP.split("\n## ")[0])
# Names come up again in the text below the table.
ROOMS = ["minidqn", *dict.fromkeys(f"minidqn.{name.replace('/', '.')}" for name in FOUND)]
ROOMS.insert(max(place for place, room in enumerate(ROOMS) if ".nn." in room) + 1, "minidqn.nn")
ROOMS.append("minidqn.exercises")
# Modules that need an extra, which no other module imports.
EXTRAS = {"minidqn.gym", "minidqn.dask", "minidqn.tensorboard", "minidqn.notebook"}
# Rooms that know nothing of networks. The memory keeps its frames as a network takes them.
STRANGERS = {"games", "fruit", "snake", "replay", "qlearning", "exact"}
KERNELS = "minidqn.nn.kernels"  # its docstring explains its functions, which are the engine's
IMAGES = {"minidqn.nn.pixels", KERNELS}
# Hints would say nothing in code that Numba compiles.
UNTYPED = {"kernels.py"}
TYPED = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if UNTYPED.isdisjoint(path.relative_to(PACKAGE).parts)
]


def imports(name):
    """Modules that a module's source imports, anywhere in it."""
    tree = ast.parse(Path(importlib.import_module(name).__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in ROOMS else node.module


def test_every_module_has_its_place():
    found = {module.name for module in pkgutil.walk_packages([str(PACKAGE)], "minidqn.")}
    assert found | {"minidqn"} == set(ROOMS) | EXTRAS


@pytest.mark.parametrize("name", ROOMS)
def test_imports_point_up(name):
    for imported in imports(name):
        top = imported.split(".")[0]
        # llvmlite is Numba's own code generator, and comes with it.
        allowed = {"minidqn", "numpy", "numba", "matplotlib", "llvmlite"}
        assert top in allowed | sys.stdlib_module_names
        if top == "minidqn":
            assert ROOMS.index(imported) < ROOMS.index(name), f"{name} imports {imported}"
            if name.removeprefix("minidqn.") in STRANGERS and imported.startswith("minidqn.nn"):
                assert name == "minidqn.replay"
                assert imported in IMAGES
            if name.startswith("minidqn.nn"):
                shared = ("minidqn", "minidqn.checks", "minidqn.storage")
                assert imported.startswith("minidqn.nn") or imported in shared


def python(code):
    """What a program prints, and what it complains of."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent)
    return result.stdout, result.stderr


def test_imports_stay_light():
    for modules, absent in (
        ("minidqn.train, minidqn.play, minidqn.images", "matplotlib"),
        ("minidqn.fruit, minidqn.qlearning, minidqn.exact", "numba"),
    ):
        said = python(f"import {modules}, sys; print('{absent}' in sys.modules)")
        assert said == ("False\n", ""), modules


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_are_documented(room):
    """All of a module, and every parameter in its function's docstring, or its class's."""
    module = importlib.import_module(room)
    assert inspect.getdoc(module)
    things = {n: t for n, t in vars(module).items() if getattr(t, "__module__", None) == room}
    for name, thing in list(things.items()):
        if inspect.isclass(thing):
            things |= {f"{name}.{method}": value for method, value in vars(thing).items()}
    for name, thing in things.items():
        if name.startswith("_") or "._" in name or not callable(thing) or room == KERNELS:
            continue
        doc = inspect.getdoc(thing)
        assert doc, name
        function = vars(thing).get("__init__") if inspect.isclass(thing) else thing
        if dataclasses.is_dataclass(thing):  # a field may be described where it stands
            doc += " ".join(f.name for f in dataclasses.fields(thing) if f.metadata)
        if inspect.isfunction(function) and function.__module__ == room:
            for parameter in set(inspect.signature(function).parameters) - {"self", "_"}:
                assert parameter in doc, f"{name}: {parameter}"


def functions(tree):
    """The public functions of a module, methods of its public classes and all."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node)
            yield from (each for each in node.body if getattr(each, "name", "") == "__init__")


@pytest.mark.parametrize("path", TYPED, ids=lambda path: path.name)
def test_public_functions_have_type_hints(path):
    """Every parameter, and what is returned; mypy, which .ci/run runs, looks whether they hold."""
    for function in functions(ast.parse(path.read_text(encoding="utf-8"))):
        given = function.args
        parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        bare = {p.arg for p in parameters if p and not p.annotation} - {"self", "cls"}
        assert not bare, f"{function.name}, line {function.lineno}"
        assert function.returns or function.name == "__init__", function.name


@pytest.mark.parametrize("name", ROOMS)
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    extra = {"np": importlib.import_module("numpy")}
    assert doctest.testmod(module, extraglobs=extra).failed == 0


def test_uncompiled():
    """The tests of the kernels once more, run as plain Python."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "uncompiled", "-p", "no:cacheprovider"]
    command.append(str(Path(__file__).parent))
    env = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    assert result.returncode == 0, result.stdout[-3000:]
    assert " passed" in result.stdout


def test_a_cache_that_cannot_be_written():
    """Kernels still compile where Numba finds no folder for its cache."""
    code = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "import numpy as np\n"
        "from minidqn.recipe import q_network\n"
        "print(q_network(5).predict(np.zeros((1, 1, 5, 5))).tolist())\n"
    )
    assert python(code) == ("[[0.0, 0.0, 0.0]]\n", "")


def test_one_name_for_all_commands(capsys, monkeypatch):
    """Every module that is a command has its word, and takes the rest of the line."""
    commands = {path.stem for path in PACKAGE.glob("*.py") if "\ndef main(" in path.read_text()}
    commands |= {"train", "exercises"}
    assert set(COMMANDS) == commands - {"command", "__main__"}
    assert run(main) == 0
    told = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in told
        assert run(main, name, "--help") == 0
        assert capsys.readouterr().out.startswith(f"usage: python -m minidqn.{name} ")
    monkeypatch.setattr("sys.argv", ["/usr/bin/minidqn"])
    assert run(main, "train", "--epochs", "no") == 2  # in the words of the one who typed it
    assert capsys.readouterr().err.startswith("minidqn train: error: argument --epochs: invalid")
    assert run(main, "fly") == 2
    assert re.fullmatch(r"minidqn: error: .*'fly'.*\n", capsys.readouterr().err)


def test_every_package_is_shipped():
    """setup.cfg names its packages one by one, because the blanks live elsewhere."""
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg")
    folders = (path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py"))
    found = {".".join(folder.parts) for folder in folders}
    named = settings["options"]["packages"].split()
    assert set(named) == found | {"minidqn.exercises.blanks"}
