"""``minidqn train``, ``minidqn play``, ...: the commands under one name."""

import argparse
import importlib
import sys

from minidqn import __version__, use_one_core

use_one_core()
from minidqn import cli  # noqa: E402, which imports NumPy

COMMANDS = {
    "train": ("minidqn.command", "train a network to play a game"),
    "play": ("minidqn.play", "play a saved run's test games again"),
    "images": ("minidqn.images", "draw a saved run's figures again"),
    "page": ("minidqn.page", "make a page in which a run's network plays in a browser"),
    "export": ("minidqn.export", "write a run's network for another library"),
    "sweep": ("minidqn.sweep", "make many runs"),
    "compare": ("minidqn.compare", "say what they prove"),
    "exercises": ("minidqn.exercises.__main__", "write parts of it, and have them checked"),
}
"""Module and purpose of each."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status of the command; 0 if there is none.
    """
    words = "".join(f"  {name:<12}{purpose}\n" for name, (_, purpose) in COMMANDS.items())
    parser = cli.Parser(
        prog="minidqn", description="Deep Q-learning from scratch.",
        epilog=f"commands:\n{words}\n'minidqn COMMAND --help' says more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"minidqn {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    argv = sys.argv[1:] if argv is None else argv
    if not argv:
        parser.print_help()
        return 0
    arguments = parser.parse_args(argv)
    module, _ = COMMANDS[arguments.command]
    return importlib.import_module(module).main(arguments.arguments)


def run() -> None:
    """Run the command ``minidqn``, and exit with its status."""
    cli.run(main)


if __name__ == "__main__":
    run()
