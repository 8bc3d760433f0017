"""Do all contestants compute the same? Losses and weights after 1, 10 and 200 updates.

    python -m benchmarks.parity

The same weights and the same 200 batches of games go through this package in float32,
through its layers in NumPy and float64, which are the definition, and through every
framework. Shown is the largest difference from the definition: of the loss, relative,
and of a weight, relative to the largest weight of its array. float32 rounding grows as
the updates feed on each other, so the package's own row says how much of a difference
means nothing.

Keras puts RMSprop's epsilon inside the root; its rows differ by that rule, and the
second reference, the definition with Keras's rule, shows that nothing else does.
"""

import numpy as np

from benchmarks import harness
from minidqn.nn import Optimizer
from minidqn.qlearning import learn

MARKS = (1, 10, 200)
KERAS = ("keras",)


class Rule(Optimizer):
    """RMSprop, written out, with epsilon outside or inside the root."""

    remembers = ("mean_square",)

    def __init__(self, inside):
        super().__init__(learning_rate=1e-3)
        self.inside = inside

    def update(self, parameters, gradients):
        v = self.state["mean_square"]
        v[...] = 0.9 * v + 0.1 * gradients**2
        root = np.sqrt(v + 1e-8) if self.inside else np.sqrt(v) + 1e-8
        parameters -= self.learning_rate * gradients / root


class Definition(harness.Contestant):
    """The layers in NumPy and float64, with RMSprop's epsilon outside or inside the root."""

    def __init__(self, weights, grid_size, inside):
        self.model = harness.MiniDQN(weights, grid_size).model.astype(np.float64)
        self.model.compile(Rule(inside), "mse", engine="numpy")
        self.get_weights = self.model.get_weights

    def learn(self, batch):
        return learn(self.model, batch)


def differences(contestant, reference_losses, reference_weights, batches):
    """Largest relative differences of loss and weights so far, at each mark."""
    found, loss_error = {}, 0.0
    for number, batch in enumerate(batches, start=1):
        loss = contestant.learn(batch)
        expected = reference_losses[number - 1]
        loss_error = max(loss_error, abs(loss - expected) / abs(expected))
        if number in MARKS:
            pairs = zip(contestant.get_weights(), reference_weights[number], strict=True)
            weight_error = max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)
            found[number] = loss_error, float(weight_error)
    return found


def measure(job):
    """In a child: the contestants of one backend."""
    weights = harness.first_weights(10)
    batches = harness.played_batches(10, 128, job["updates"])
    references = {}
    for inside in (False, True):
        reference, losses, at = Definition(weights, 10, inside), [], {}
        for number, batch in enumerate(batches, start=1):
            losses.append(reference.learn(batch))
            if number in MARKS:
                at[number] = reference.get_weights()
        references[inside] = losses, at
    present, absent = harness.contestants(job["labels"], weights, 10, 1)
    if "torch float64" in job["labels"]:
        try:
            import torch

            from benchmarks.torch_dqn import TorchDQN

            present["torch float64"] = TorchDQN(weights, 10, dtype=torch.float64)
        except ImportError as error:
            absent["torch float64"] = f"not installed: {error.name}"
    found = {}
    for label, contestant in present.items():
        rule = label in KERAS
        found[label] = differences(contestant, *references[rule], batches)
    if job["labels"][0] == "minidqn":
        definition = Definition(weights, 10, True)
        found["definition, epsilon inside"] = differences(definition, *references[False], batches)
    return {"found": found, "absent": absent}


def report(arguments):
    """In the parent: a table of all."""
    rows = []
    updates = 10 if arguments.quick else 200
    plain = ["minidqn", "torch eager", "torch channels-last", "torch.compile", "torch float64"]
    for backend, labels in (("", [*plain, "jax"]), ("jax", ["keras"]), ("torch", ["keras"])):
        variables = {"KERAS_BACKEND": backend} if backend else {}
        job = {"labels": labels, "updates": updates}
        result = harness.in_child("benchmarks.parity", job, 1, **variables)
        for label, reason in result["absent"].items():
            print(f"{label} {backend}: {reason}")
        for label, found in result["found"].items():
            inside = "inside" in label or label in KERAS
            row = {
                "contestant": f"{label} on {backend}" if backend else label,
                "epsilon": "inside the root" if inside else "outside the root",
                "held against": "float64, epsilon " + ("inside" if label in KERAS else "outside"),
            }
            for mark, (loss, weight) in found.items():
                row[f"loss, {mark}"] = f"{loss:.1e}"
                row[f"weights, {mark}"] = f"{weight:.1e}"
            rows.append(row)
    harness.write_csv("parity", rows)
    harness.write_table("parity", rows)


if __name__ == "__main__":
    harness.main("Losses and weights of all contestants.", measure, report)
