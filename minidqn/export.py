"""``python -m minidqn.export RUN --to FORMAT``: a run's network for other libraries."""

import textwrap
from pathlib import Path

from minidqn import cli, exchange, runs

USE = {
    "safetensors": """import safetensors.numpy
weights = safetensors.numpy.load_file({path!r})""",
    "onnx": """import onnxruntime
session = onnxruntime.InferenceSession({path!r})
[q_values] = session.run(None, {{"states": states}})""",
    "torch": """import torch
network = {code}
network.load_state_dict(torch.load({path!r}))
q_values = network(torch.from_numpy(states))""",
    "keras": """import keras
network = keras.saving.load_model({path!r})
q_values = network.predict(states.transpose(0, 2, 3, 1))""",
}
"""Lines of Python that take up a file of each format."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status 0.
    """
    what = "Write a run's network for another library, and say how to use it there."
    default = "RUN/" + ", RUN/".join(runs.EXPORTS.values())
    parser = cli.run_parser("export", what, "the file, which is replaced", Path, default)
    parser.add_argument("--to", required=True, choices=exchange.FORMATS, help="the format")
    arguments = parser.parse_args(argv)
    name = runs.EXPORTS[arguments.to]
    flag, path = "--out" if arguments.out else "RUN", arguments.out or arguments.run / name
    if path.suffix != Path(name).suffix:  # so that no other file is replaced
        parser.error(f"--out {path} has another ending; expected {Path(name).suffix}")
    _, model, _ = cli.loaded_run(parser, arguments)
    with cli.refusing(parser), cli.writing_to(parser, flag, path):
        exchange.save(model, path, arguments.to)
    code = exchange.torch_code(model) if arguments.to == "torch" else ""
    shape = ", ".join(map(str, ("N", *model.input_shape)))
    print(
        f"{path}: {path.stat().st_size:,} bytes. For float32 states ({shape}) as games draw them:"
    )
    print(textwrap.indent(USE[arguments.to].format(path=str(path), code=code), "    "))
    return 0


if __name__ == "__main__":
    cli.run(main)
