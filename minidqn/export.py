"""``python -m minidqn.export RUN --to FORMAT``: a run's network for other libraries."""

import os
import textwrap
from pathlib import Path

from minidqn import cli, exchange, runs

USE = {
    "safetensors": """import safetensors.numpy
weights = safetensors.numpy.load_file({path!r})
# and back: minidqn.exchange.load_safetensors({path!r}, model)""",
    "onnx": """import onnxruntime
# states: float32 {shape}, as the game draws them
session = onnxruntime.InferenceSession({path!r})
[q_values] = session.run(None, {{"states": states}})""",
    "torch": """import torch
# states: float32 {shape}, as the game draws them
network = {code}
network.load_state_dict(torch.load({path!r}))
q_values = network(torch.from_numpy(states))""",
    "keras": """import os
os.environ["KERAS_BACKEND"] = {backend!r}
import keras
# states: {shape}, as the game draws them; Keras has the channels last
network = keras.saving.load_model({path!r})
q_values = network.predict(states.transpose(0, 2, 3, 1))""",
}
"""Lines of Python that take up a file of each format."""


def _file(text):
    return Path(text).expanduser()


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
    parser = cli.run_parser("export", what, "the file, which is replaced", _file, default)
    parser.add_argument("--to", required=True, choices=exchange.FORMATS, help="the format")
    arguments = parser.parse_args(argv)
    name = runs.EXPORTS[arguments.to]
    flag, path = "--out" if arguments.out else "RUN", arguments.out or arguments.run / name
    if path.suffix != Path(name).suffix:  # so that no other file is replaced
        parser.error(f"--out {path} has another ending; expected {Path(name).suffix}")
    _, model, _ = cli.loaded_run(parser, arguments)
    with cli.refusing(parser), cli.writing_to(parser, flag, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        exchange.save(model, path, arguments.to)
    what = {
        "path": str(path),
        "shape": f"({', '.join(map(str, ('N', *model.input_shape)))})",
        "code": exchange.torch_code(model) if arguments.to == "torch" else "",
        "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
    }
    print(f"{path}: {path.stat().st_size:,} bytes; in Python:")
    print(textwrap.indent(USE[arguments.to].format(**what), "    "))
    return 0


if __name__ == "__main__":
    cli.run(main)
