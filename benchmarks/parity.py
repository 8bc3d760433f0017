"""Do all contestants compute the same? Losses and weights after 1, 10 and 200 updates.

    python -m benchmarks.parity

The same weights and the same 200 batches of games go through this package in
float32, through its definition in float64, and through every framework. Shown
is the largest difference from the float64 definition: of the loss, relative, and
of a weight, relative to the largest weight of its array. float32 rounding grows
as the updates feed on each other, so the package's own row says how much of a
difference means nothing.

Keras puts RMSprop's epsilon inside the root; its rows differ by that rule, and the
second reference, the definition with Keras's rule, shows that nothing else does.
"""

import numpy as np

from benchmarks import harness

MARKS = (1, 10, 200)
KERAS = ("keras",)


class Reference:
    """The float64 definition, with RMSprop's epsilon outside or inside the root."""

    def __init__(self, weights, grid_size, inside):
        from minidqn.train import q_network

        model = q_network(grid_size, threads=1)
        model.set_weights(weights)
        self.model, self.inside = model.astype(np.float64), inside
        self.mean_square = np.zeros_like(self.model.parameters)

    def learn(self, batch, gamma=0.8):
        """One learning step, written out; its loss."""
        from minidqn.qlearning import td_targets

        model = self.model
        next_q_values = model.forward(batch.next_states)
        q_values = model.forward(batch.states)
        targets = td_targets(
            q_values, batch.actions, batch.rewards.astype(float), next_q_values, gamma
        )
        errors = q_values - targets
        model.backward(2 * errors / errors.size, wants_input_gradient=False)
        g, v = model.gradients, self.mean_square
        v[...] = 0.9 * v + 0.1 * g * g
        root = np.sqrt(v + 1e-8) if self.inside else np.sqrt(v) + 1e-8
        model.parameters[...] -= 1e-3 * g / root
        return float(np.mean(errors**2))

    def get_weights(self):
        """Copies of all weights."""
        return self.model.get_weights()


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
    from minidqn.train import q_network

    weights = q_network(10, np.random.default_rng(0), threads=1).get_weights()
    batches = harness.played_batches(10, 128, job["updates"])
    references = {}
    for inside in (False, True):
        reference, losses, at = Reference(weights, 10, inside), [], {}
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
        definition = Reference(weights, 10, True)
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
