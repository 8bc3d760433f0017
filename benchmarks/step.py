"""One learning step, and one action: this package beside PyTorch, JAX and Keras.

    python -m benchmarks.step            # some minutes; --quick for a look

All contestants start from the same weights and learn from the same batches: of Fruit,
where four cells of a frame are on, and of random frames with 30% and with 100% of them
on. This package gets a batch as the memory gives it, and the frameworks get arrays,
which are made before the clock starts. This package runs on one core, also beside
frameworks on two. Writes results/step.csv, step.md and step.png beside this file.
"""

from benchmarks import harness

BACKENDS = {"keras": ("jax", "torch"), "keras, one by one": ("jax",)}
PLAIN = ["minidqn", "torch eager", "torch channels-last", "torch.compile", "jax"]
CELLS_ON = {"Fruit": None, "30%": 0.3, "100%": 1.0}


def measure(job):
    """In a child: all contestants of one job take turns."""
    grid_size, rounds = job["grid_size"], job["rounds"]
    weights = harness.first_weights(grid_size)
    present, absent = harness.contestants(job["labels"], weights, grid_size, job["threads"])
    share = CELLS_ON[job["cells on"]]
    batches = harness.played_batches(grid_size, job["batch_size"], 16, share)
    arrays = [harness.as_arrays(batch) for batch in batches]
    frame = arrays[0].states[0]

    def learner(label):
        contestant, given = present[label], batches if label == "minidqn" else arrays
        return lambda number: contestant.learn(given[number % len(given)])

    def actor(label):
        return lambda _: present[label].act(frame)

    jobs = {label: learner(label) for label in present}
    steps = harness.take_turns(jobs, rounds, seconds=job["seconds"])
    jobs = {label: actor(label) for label in present if label != "keras, one by one"}
    actions = harness.take_turns(jobs, rounds, warm_up=30, seconds=job["seconds"] / 4)
    return {"steps": steps, "actions": actions, "absent": absent}


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
            "cells on": job["cells on"],
            "batch": job["batch_size"],
            "threads": 1 if label == "minidqn" else job["threads"],
            "contestant": f"{label} on {backend}" if backend else label,
            "step ms, min": f"{1e3 * step['min']:.3f}",
            "step ms, median": f"{1e3 * step['median']:.3f}",
            "over ours, min": f"{step['min'] / ours[0]['min']:.2f}",
            "over ours, median": f"{step['median'] / ours[0]['median']:.2f}",
            "cores": f"{step['cores']:.2f}",
            "act us, min": f"{1e6 * action['min']:.1f}" if action else "",
            "act over ours": f"{action['min'] / ours[1]['min']:.2f}" if action else "",
        }


def report(arguments):
    """In the parent: every job, in a child of its own."""
    rows = []
    jobs = [(10, threads, "Fruit") for threads in arguments.threads]
    jobs += [(grid_size, 1, "Fruit") for grid_size in arguments.grids]
    jobs += [(grid_size, 1, cells) for grid_size in (10, 20) for cells in ("30%", "100%")]
    for grid_size, threads, cells in jobs:
        if arguments.quick and grid_size > 20:
            continue
        job = {
            "grid_size": grid_size,
            "cells on": cells,
            "batch_size": 128,
            "threads": threads,
            "rounds": 8 if arguments.quick else 300,
            "seconds": 5 if arguments.quick else arguments.seconds,
        }
        children = [("", PLAIN)]
        if (grid_size, cells) == (10, "Fruit"):
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
    """A bar for each contestant, one picture a job."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    jobs = []
    for row in rows:
        if row["contestant"] == "minidqn":  # the first of its job
            jobs.append([])
        if "one by one" not in row["contestant"]:
            jobs[-1].insert(0, row)
    lines = -(-len(jobs) // 2)
    figure = Figure(figsize=(10, 2.4 * lines), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, 2, squeeze=False).ravel()
    for axes in panels[len(jobs) :]:
        axes.set_visible(False)
    for axes, shown in zip(panels, jobs, strict=False):
        times = [float(row["step ms, min"]) for row in shown]
        colours = ["#d55e00" if row["contestant"] == "minidqn" else "#0072b2" for row in shown]
        bars = axes.barh([row["contestant"] for row in shown], times, color=colours)
        axes.bar_label(bars, [f" {time:.2f}" for time in times])
        axes.set_xlim(0, max(times) * 1.2)
        last, cells = shown[0], shown[0]["cells on"]
        cells = cells if CELLS_ON[cells] is None else f"{cells} of cells on"
        cores = "frameworks on two cores" if last["threads"] == 2 else "one core"
        axes.set_title(f"grid {last['grid']}, {cells}, {cores}")
        axes.set_xlabel("a learning step, ms (the fastest)")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(harness.RESULTS / "step.png")


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument(
        "--threads", type=int, nargs="*", default=[1, 2], help="of the frameworks, at grid size 10"
    )
    parser.add_argument("--grids", type=int, nargs="*", default=[20, 40, 84], help="on one core")
    parser.add_argument("--seconds", type=float, default=30, help="for each job")


if __name__ == "__main__":
    harness.main("One learning step and one action.", measure, report, add_flags)
