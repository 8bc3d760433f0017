"""Commands as users run them: in this process or another, to their end or refused."""

import os
import re
import subprocess
import sys
from pathlib import Path

from minidqn import command

ROOT = Path(__file__).parent.parent
SMALL = ["--grid-size", 5, "--epochs", 30, "--batch-size", 8, "--eval-every", 10]
RING = ["--grid-size", 5, "--batch-size", 8, "--eval-every", 7, "--no-images"]
RING += ["--capacity", 60, "--checkpoint-every", 3]  # the memory soon forgets


def run(main, *arguments):
    """Exit status of a command, run in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code


def trained(*arguments):
    """Exit status of a training in this process."""
    return run(command.main, *arguments)


def refusal(capsys, main, *arguments, status=2):
    """What a command says as it fails: one line, and nothing else if nothing was begun."""
    capsys.readouterr()
    assert run(main, *arguments) == status
    out, err = capsys.readouterr()
    assert out == "" or status == 1
    assert re.fullmatch(r"python -m minidqn\.\w+: error: .+\n", err)
    return err


def started(*arguments, environment=(), **options):
    """Python in a process of its own, which runs on."""
    words = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(words, cwd=ROOT, env=os.environ | dict(environment), **options)


def process(*arguments, **environment):
    """Exit status and both outputs of Python in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = started(*arguments, environment=environment, **pipes)
    out, err = running.communicate(timeout=120)
    return running.returncode, out, err


def disk_full(*_):
    """What a system call does on a full disk."""
    raise OSError(28, "No space left on device")


def names(folder, pattern="*"):
    """The names of what is in a folder."""
    return sorted(path.name for path in folder.glob(pattern))


def files(folder):
    """All files below a folder, with their bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
