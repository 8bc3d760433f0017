"""The package as a whole: who imports whom, what is documented, what is not shipped."""

import ast
import configparser
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

PACKAGE = Path(minidqn.__file__).parent
# An import points to a module further up in this list, never down.
ROOMS = [
    "minidqn",
    "minidqn.checks",
    "minidqn.storage",
    "minidqn.nn.cache",
    "minidqn.nn.convolution",
    "minidqn.nn.kernels",
    "minidqn.nn.pixels",
    "minidqn.nn.layers",
    "minidqn.nn.engine",
    "minidqn.nn.losses",
    "minidqn.nn.optimizers",
    "minidqn.nn.models",
    "minidqn.nn.gradcheck",
    "minidqn.nn",
    "minidqn.games",
    "minidqn.fruit",
    "minidqn.snake",
    "minidqn.replay",
    "minidqn.qlearning",
    "minidqn.exact",
    "minidqn.evaluate",
    "minidqn.recipe",
    "minidqn.runs",
    "minidqn.cli",
    "minidqn.moments",
    "minidqn.pictures",
    "minidqn.train",
    "minidqn.command",
    "minidqn.play",
    "minidqn.images",
    "minidqn.page",
    "minidqn.exercises",
    "minidqn.exercises.course",
    "minidqn.exercises.problems",
    "minidqn.exercises.mistakes",
    "minidqn.exercises.answers",
    "minidqn.exercises.sampling",
    "minidqn.exercises.checking",
    "minidqn.exercises.report",
    "minidqn.exercises.__main__",
]
EXTRAS = {"minidqn.gym"}  # modules that need an extra, which no other module imports
# Rooms that know nothing of networks. The memory keeps its frames as a network takes them.
STRANGERS = {
    "minidqn.games",
    "minidqn.fruit",
    "minidqn.snake",
    "minidqn.replay",
    "minidqn.qlearning",
    "minidqn.exact",
}
IMAGES = {"minidqn.nn.pixels", "minidqn.nn.kernels"}


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
            if name in STRANGERS and imported.startswith("minidqn.nn"):
                assert name == "minidqn.replay"
                assert imported in IMAGES
            if name.startswith("minidqn.nn"):
                shared = ("minidqn", "minidqn.checks", "minidqn.storage")
                assert imported.startswith("minidqn.nn") or imported in shared


def test_the_order_of_the_readme():
    """The map in README lists the modules in the order in which they may import."""
    text = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"`minidqn/([\w/]+)\.py`", text.split("## The map")[1].split("\n## ")[0])
    listed = [f"minidqn.{row.replace('/', '.')}" for row in rows]
    listed = list(dict.fromkeys(listed))  # names come up again in the text below the table
    packages = ("minidqn", "minidqn.nn", "minidqn.exercises")
    assert listed == [room for room in ROOMS if room not in packages]


def test_imports_stay_light():
    for modules, absent in (
        ("minidqn.train, minidqn.play, minidqn.images", "matplotlib"),
        ("minidqn.fruit, minidqn.qlearning, minidqn.exact", "numba"),
    ):
        code = f"import {modules}, sys; print('{absent}' in sys.modules)"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert result.stdout == "False\n", modules


def public():
    """Every public name of every module, and every public method."""
    for room in ROOMS:
        module = importlib.import_module(room)
        yield room, module
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if not callable(thing):
                continue
            yield f"{room}.{name}", thing
            if inspect.isclass(thing):
                for method, value in vars(thing).items():
                    if not method.startswith("_") and callable(value):
                        yield f"{room}.{name}.{method}", value


def test_public_names_have_docstrings():
    for name, thing in public():
        assert inspect.getdoc(thing), name


def test_parameters_are_documented():
    """Every parameter of every public function is named in its docstring, or its class's."""
    for name, thing in public():
        written_here = inspect.isfunction(thing) or "__init__" in vars(thing)
        if not written_here:
            continue
        doc = inspect.getdoc(thing)
        for parameter in inspect.signature(thing).parameters.values():
            if parameter.name not in ("self", "_"):
                assert parameter.name in doc, f"{name}: {parameter.name}"


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
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert (result.stdout, result.stderr) == ("[[0.0, 0.0, 0.0]]\n", "")


def test_every_package_is_shipped():
    """setup.cfg names its packages one by one, because the blanks live elsewhere."""
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg")
    found = {
        ".".join(path.parent.relative_to(PACKAGE.parent).parts)
        for path in PACKAGE.rglob("__init__.py")
    }
    named = settings["options"]["packages"].split()
    assert set(named) == found | {"minidqn.exercises.blanks"}
