"""One learning step, and one action: this package beside PyTorch, JAX and Keras.

    python -m benchmarks.step            # a few minutes; --quick for a look

All contestants start from the same weights and learn from the same batches of
games. Writes results/step.csv, step.md and step.png beside this file.
"""

import numpy as np

from benchmarks import harness

BACKENDS = {"keras": ("jax", "torch"), "keras, one by one": ("jax",)}
PLAIN = ["minidqn", "torch eager", "torch channels-last", "torch.compile", "jax"]


def measure(job):
    """In a child: all contestants of one job take turns."""
    grid_size, batch_size, rounds = job["grid_size"], job["batch_size"], job["rounds"]
    weights = harness.first_weights(grid_size)
    present, absent = harness.contestants(job["labels"], weights, grid_size, job["threads"])
    batches = harness.played_batches(grid_size, batch_size, 16)
    frame = batches[0].states[0]

    def learner(contestant):
        return lambda number: contestant.learn(batches[number % len(batches)])

    def actor(contestant):
        return lambda _: contestant.act(frame)

    sgemm, sgemm_operations = harness.sgemm_job()
    jobs = {label: learner(c) for label, c in present.items()} | {"sgemm": sgemm}
    steps = harness.take_turns(jobs, rounds, seconds=job["seconds"])
    product = steps.pop("sgemm")
    actions = harness.take_turns(
        {label: actor(c) for label, c in present.items() if label != "keras, one by one"},
        rounds,
        warm_up=30,
        seconds=job["seconds"] / 4,
    )
    going_on = float(np.mean([(batch.rewards == 0).sum() for batch in batches]))
    return {
        "steps": steps,
        "actions": actions,
        "absent": absent,
        "operations": harness.step_operations(grid_size, batch_size, going_on),
        "peak": sgemm_operations / product["min"],
    }


def rows_of(result, job, backend=""):
    """A row for each contestant of a child."""
    steps, actions = result["steps"], result["actions"]
    ours = steps["minidqn"], actions["minidqn"]
    for label, step in steps.items():
        if backend and label == "minidqn":
            continue
        action = actions.get(label)
        yield {
            "grid": job["grid_size"],
            "batch": job["batch_size"],
            "threads": job["threads"],
            "contestant": f"{label} on {backend}" if backend else label,
            "step ms, min": f"{1e3 * step['min']:.3f}",
            "step ms, median": f"{1e3 * step['median']:.3f}",
            "over ours, min": f"{step['min'] / ours[0]['min']:.2f}",
            "over ours, median": f"{step['median'] / ours[0]['median']:.2f}",
            "GFLOP/s": f"{result['operations'] / step['min'] / 1e9:.1f}",
            "of sgemm": f"{result['operations'] / step['min'] / result['peak']:.2f}",
            "cores": f"{step['cores']:.2f}",
            "act us, min": f"{1e6 * action['min']:.1f}" if action else "",
            "act over ours": f"{action['min'] / ours[1]['min']:.2f}" if action else "",
        }


def report(arguments):
    """In the parent: every job, in a child of its own."""
    rows = []
    jobs = [(10, threads) for threads in arguments.threads]
    jobs += [
        (grid_size, 1) for grid_size in arguments.grids if grid_size <= 20 or not arguments.quick
    ]
    for grid_size, threads in jobs:
        job = {
            "grid_size": grid_size,
            "batch_size": 128,
            "threads": threads,
            "rounds": 8 if arguments.quick else 300,
            "seconds": 5 if arguments.quick else arguments.seconds,
        }
        children = [("", PLAIN)]
        if grid_size == 10:
            children += [(b, ["minidqn", k]) for k, names in BACKENDS.items() for b in names]
        for backend, labels in children:
            job["labels"] = labels
            if labels[-1] == "keras, one by one":
                job["rounds"], job["seconds"] = 5, 1
            variables = {"KERAS_BACKEND": backend} if backend else {}
            result = harness.in_child("benchmarks.step", job, threads, **variables)
            for label, reason in result["absent"].items():
                print(f"{label} {backend}: {reason}")
            rows += rows_of(result, job, backend)
    harness.write_csv("step", rows)
    harness.write_table("step", rows)
    draw(rows)


def draw(rows):
    """A bar for each contestant: its step over ours, one picture a job."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    jobs = list(dict.fromkeys((row["grid"], row["threads"]) for row in rows))
    lines = -(-len(jobs) // 2)
    figure = Figure(figsize=(10, 2.9 * lines), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, 2, squeeze=False).ravel()
    for axes in panels[len(jobs) :]:
        axes.set_visible(False)
    for axes, (grid, threads) in zip(panels, jobs, strict=False):
        shown = [row for row in rows if (row["grid"], row["threads"]) == (grid, threads)]
        shown = [row for row in shown if "one by one" not in row["contestant"]][::-1]
        times = [float(row["step ms, min"]) for row in shown]
        colours = ["#d55e00" if row["contestant"] == "minidqn" else "#0072b2" for row in shown]
        bars = axes.barh([row["contestant"] for row in shown], times, color=colours)
        axes.bar_label(bars, [f" {time:.2f}" for time in times])
        axes.set_xlim(0, max(times) * 1.2)
        axes.set_title(f"grid {grid}, {threads} thread{'s' * (threads > 1)}")
        axes.set_xlabel("a learning step, ms (the fastest)")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(harness.RESULTS / "step.png")


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2], help="at grid size 10")
    parser.add_argument("--grids", type=int, nargs="*", default=[20, 40, 84], help="on one thread")
    parser.add_argument("--seconds", type=float, default=30, help="for each job")


if __name__ == "__main__":
    harness.main("One learning step and one action.", measure, report, add_flags)
