"""Learning in the page of a run, beside Python: steps a second, and how the page goes on drawing.

    python -m benchmarks.page             # a minute; --quick for one round

Python and the page learn in turns, each from first weights of its own for 500 epochs, and in
each round with another seed. Python is the training loop on one core, timed after the epoch of
its first update, so that nothing that is compiled or loaded counts. The page is opened in
headless Chromium, may use every core as it does for a visitor, and plays and draws while it
learns: "Train from scratch" is clicked, and a clock in the page runs from the click until the
last epoch is drawn. That the Worker starts and its JavaScript is compiled counts. Gaps are the
time from one drawn frame of the page to the next (requestAnimationFrame) in these seconds.
Writes results/page.csv and page.md.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import harness

GOAL = 76
"""Starts won, of 80; the recipe wins at least so many."""

WATCH = """
globalThis.seen = { reached: null, gaps: [], done: false };
byId("scratch").addEventListener("click", () => {
  seen.began = seen.drawn = performance.now();
  requestAnimationFrame(look);
}, { capture: true });

function look() {
  const now = performance.now(), { live } = page, seconds = (now - seen.began) / 1000;
  seen.gaps.push(now - seen.drawn);
  seen.drawn = now;
  if (seen.reached === null && live.points.some(({ wins }) => wins >= GOAL)) seen.reached = seconds;
  if (live.epoch < live.goal) requestAnimationFrame(look);
  else Object.assign(seen, { done: true, seconds, updates: live.updates, epochs: live.epoch,
    wins: live.points.at(-1).wins });
}
"""
"""In the page: it looks at the learning once in each drawn frame, from the click on."""


def measure(job):
    """In a child: one learning, by Python or in the page."""
    return in_page(job["seed"]) if job["page"] else in_python(job["seed"])


def in_python(seed):
    """The default run without its files: what it won, and how fast it was."""
    from minidqn.command import warm_up
    from minidqn.recipe import q_network
    from minidqn.runs import Settings
    from minidqn.train import training

    settings = Settings(seed=seed)
    streams = settings.streams()
    model = q_network(settings.grid_size, streams.weights, settings.learning_rate)
    warm_up(model.engine)
    records = list(training(model, settings, streams))
    first, last = next(record for record in records if record.updates), records[-1]
    reached = (r.seconds for r in records if r.wins is not None and r.wins >= GOAL)
    return {
        "contestant": "Python",
        "epochs": last.epoch,
        "rate": (last.updates - first.updates) / (last.seconds - first.seconds),
        "reached": next(reached, None),
        "wins": last.wins,
    }


def in_page(seed):
    """The same in the page of a short run with this seed."""
    from minidqn import command, page
    from tests.browser import Browser, find

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        command.main([*f"--epochs 20 --no-images --seed {seed} --out".split(), str(run)])
        page.main([str(run)])
        browser = Browser(find())
        try:
            browser.open(run / "page.html")
            for domain in ("Accessibility", "DOM", "Log", "Network"):  # reports cost the page time
                browser.send(f"{domain}.disable")
            while browser.evaluate("document.body.dataset.ready") is None:
                time.sleep(0.1)
            browser.evaluate(WATCH.replace("GOAL", str(GOAL)))
            browser.click("#scratch")
            while not browser.evaluate("seen.done"):
                time.sleep(0.5)
            seen = browser.evaluate("seen")
            version = browser.send("Browser.getVersion")["product"]
        finally:
            browser.close()
    return {
        "contestant": f"page in {version}",
        "epochs": seen["epochs"],
        "rate": seen["updates"] / seen["seconds"],
        "reached": seen["reached"],
        "wins": seen["wins"],
        "gaps": seen["gaps"],
    }


def report(arguments):
    """In the parent: Python and the page take turns."""
    from tests.browser import find

    if find() is None:
        sys.exit("no Chromium, Chrome or Edge is installed, or none that can be driven here")
    python, page = [], []
    for seed in range(1 if arguments.quick else arguments.rounds):
        for results, job, threads in (
            (python, {"page": False, "seed": seed}, 1),
            (page, {"page": True, "seed": seed}, os.cpu_count()),
        ):
            results.append(harness.in_child("benchmarks.page", job, threads))
    rows = [row(results, python) for results in (python, page)]
    harness.write_csv("page", rows)
    harness.write_table("page", rows)


def row(results, python):
    """A line of the table; shares are of Python's rate in the same round."""
    rates = [result["rate"] for result in results]
    shares = [rate / ours["rate"] for rate, ours in zip(rates, python, strict=True)]
    reached = [result["reached"] for result in results if result["reached"] is not None]
    gaps = [result["gaps"] for result in results if "gaps" in result]
    return {
        "contestant": results[0]["contestant"],
        "epochs": results[0]["epochs"],
        "steps a second, most": f"{max(rates):.0f}",
        "steps a second, median": f"{statistics.median(rates):.0f}",
        "of Python's, least": f"{min(shares):.2f}",
        "of Python's, median": f"{statistics.median(shares):.2f}",
        f"s to {GOAL} of 80 starts, min": f"{min(reached):.1f}" if reached else "",
        f"s to {GOAL}, median": f"{statistics.median(reached):.1f}" if reached else "",
        "wins, each seed": ", ".join(f"{result['wins']}/80" for result in results),
        "longest gap ms": f"{max(map(max, gaps)):.0f}" if gaps else "",
        "gaps over 50 ms": over(gaps, 50),
        "gaps over 100 ms": over(gaps, 100),
    }


def over(gaps, limit):
    """Gaps longer than so many milliseconds, in the round that has most of them."""
    return max(sum(gap > limit for gap in each) for each in gaps) if gaps else ""


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, with other seeds")


if __name__ == "__main__":
    harness.main("Learning in a page, beside Python.", measure, report, add_flags)
