"""``python -m minidqn.compare SWEEP ...``: what runs with several seeds prove, and what not.

A setting has scores: of each game those of its runs, which differ in their seeds alone. Every
number that is made of them has an interval: 95% of the numbers lie in it that come of scores
drawn again with replacement, as many of each game as there are (a stratified bootstrap, its
percentiles).

References
----------
Agarwal et al. (2021), *Deep Reinforcement Learning at the Edge of the Statistical Precipice*.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minidqn import cli, command, storage, sweep

RESAMPLES = 2000
"""Drawings with replacement behind an interval."""

GAMES = 100
"""Games of a training whose mean return is its score under `training_return`."""

METRICS = {
    "wins": "share of starts won by greedy play",
    "return": "mean return of greedy play",
    "training_return": f"mean return of the last {GAMES} games of the training",
    "q_error": "mean |Q - Q*|",
}
POINTS = 100
"""Points of a curve or a profile, at most."""


class Group(NamedTuple):
    """The runs of one setting.

    Attributes
    ----------
    scores : list of ndarray [shape=(n,)]
        For each game the last scores of its n runs.
    curves : list of ndarray [shape=(n, points)]
        The same while they learned.
    x : ndarray [shape=(points,)]
        When that was: after so many epochs, or environment steps.
    failed, left : int
        How many runs have failed, and how many are not done.
    """

    scores: list[np.ndarray]
    curves: list[np.ndarray]
    x: np.ndarray
    failed: int
    left: int


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """The mean of the middle half: a quarter of the scores is dropped at each end.

    Parameters
    ----------
    scores : ndarray [shape=(..., n)]
        At least one.

    Returns
    -------
    ndarray [shape=(...)]
        float64.
    """
    dropped = scores.shape[-1] // 4
    kept = np.sort(scores, axis=-1)[..., dropped : scores.shape[-1] - dropped]
    return kept.mean(axis=-1, dtype=np.float64)


def probability_of_improvement(x: Sequence[np.ndarray], y: Sequence[np.ndarray]) -> float:
    """How probable it is that a run of x scores higher than one of y; a draw counts half.

    Parameters
    ----------
    x, y : list of ndarray [shape=(n,)]
        For each game the scores of both settings, which may have different n.

    Returns
    -------
    float
        The mean over games of P(X > Y) + P(X = Y) / 2, which is Mann and Whitney's U / (n m).
    """
    pairs = [(a[:, np.newaxis], b) for a, b in zip(x, y, strict=True)]
    return np.mean([((a > b) + 0.5 * (a == b)).mean() for a, b in pairs])


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which share of the scores is above each threshold.

    Parameters
    ----------
    scores : ndarray [shape=(..., n)]
        Of all games.
    thresholds : ndarray [shape=(m,)]
        In the unit of the scores.

    Returns
    -------
    ndarray [shape=(..., m)]
    """
    return np.stack([(scores > threshold).mean(axis=-1) for threshold in thresholds], axis=-1)


def draws(
    scores: Sequence[np.ndarray], rng: np.random.Generator, resamples: int = RESAMPLES
) -> list[np.ndarray]:
    """Which runs are drawn, with replacement, as many of each game as there are.

    Parameters
    ----------
    scores : list of ndarray [shape=(n, ...)]
        For each game.
    rng : numpy.random.Generator
        Draws.
    resamples : int
        How often.

    Returns
    -------
    list of ndarray [shape=(resamples, n)]
        Indices, for each game.
    """
    return [rng.integers(len(each), size=(resamples, len(each))) for each in scores]


def interval(values: npt.ArrayLike) -> np.ndarray:
    """Between which bounds 95% of the values lie, along the first axis.

    Parameters
    ----------
    values : array_like [shape=(resamples, ...)]
        The same number of each resample.

    Returns
    -------
    low, high : ndarray [shape=(...)]
    """
    return np.quantile(np.asarray(values), (0.025, 0.975), axis=0)


def chance(x: Sequence[np.ndarray], y: Sequence[np.ndarray], rng: np.random.Generator) -> float:
    """How often runs that are dealt anew to both sides differ by as much: a permutation test.

    Parameters
    ----------
    x, y : list of ndarray [shape=(n,)]
        For each game the scores of both settings, which may have different n.
    rng : numpy.random.Generator
        Deals.

    Returns
    -------
    float
        The p-value of the probability of improvement, two-sided; each game is dealt by itself.
    """
    seen, dealt = probability_of_improvement(x, y), np.zeros(RESAMPLES)
    for a, b in zip(x, y, strict=True):
        both = np.concatenate([a, b])
        above = ((both[:, np.newaxis] > both) + 0.5 * (both[:, np.newaxis] == both)).sum(axis=1)
        sides = rng.permuted(np.tile(above, (RESAMPLES, 1)), axis=1)[:, : len(a)]
        within = len(a) ** 2 / 2  # of the wins, those over its own side
        dealt += (sides.sum(axis=1) - within) / (len(a) * len(b) * len(x))
    as_far = np.abs(dealt - 0.5) >= abs(seen - 0.5) - 1e-9
    return (1 + as_far.sum()) / (1 + RESAMPLES)


def improvement(
    x: Sequence[np.ndarray], y: Sequence[np.ndarray], rng: np.random.Generator
) -> dict[str, float]:
    """The probability of improvement of x over y, with its interval.

    Parameters
    ----------
    x, y : list of ndarray [shape=(n,)]
        For each game the scores of both, the greater the better.
    rng : numpy.random.Generator
        Draws the resamples.

    Returns
    -------
    dict
        improvement, improvement_low and improvement_high; and chance, as from `chance`.
    """
    drawn = [
        zip(*(each[i] for each, i in zip(side, draws(side, rng), strict=True)), strict=True)
        for side in (x, y)
    ]
    low, high = interval([probability_of_improvement(*pair) for pair in zip(*drawn, strict=True)])
    seen = {"improvement": probability_of_improvement(x, y)}
    return seen | {"improvement_low": low, "improvement_high": high, "chance": chance(x, y, rng)}


def read(
    folders: Sequence[Path], metric: str | None = None, across: Sequence[str] = ("game",)
) -> tuple[dict[str, Group], list[str], str, str]:
    """Read the runs of sweeps, trusting nothing that their files say.

    Parameters
    ----------
    folders : list of Path
        Of the sweeps.
    metric : str, optional
        One of `METRICS`; by default wins, or return if a run has none.
    across : sequence of str
        Settings whose values are games, in the words of this module: one setting's runs have
        all of them. Returns of several games are scaled: 0 is a game's worst run, 1 its best.

    Returns
    -------
    groups : dict of str to Group
        By what the setting is.
    left_out : list of str
        Of which settings no run is done, and so there is no group.
    metric : str
        What the scores are.
    unit : str
        What x counts: "epochs" or "steps".

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If it is damaged, or the runs cannot be compared.
    """
    names = [folder.resolve().name for folder in folders]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError("a sweep is given twice; expected different ones")
    made = [
        ([str(folder) if names.count(name) > 1 else name] * (len(folders) > 1), *of_run[1:])
        for folder, name in zip(folders, names, strict=True)
        for of_run in sweep.results(folder, sweep.read_plan(folder))
    ]
    every = [settings for _, settings, *_ in made]
    differing = [n for n in command.SETTINGS if len({repr(getattr(s, n)) for s in every}) > 1]
    if metric == "q_error" and not {"gamma", "grid_size"}.isdisjoint(differing):
        raise ValueError("metric is q_error; expected one gamma and one grid_size, as Q* has them")
    units = {settings.unit for settings in every}
    if len(units) > 1:
        raise ValueError("some runs are counted in epochs, others in steps; expected one of them")
    if metric is None:
        metric = "return" if any(r and r[-1].wins is None for _, _, r, _ in made) else "wins"
    shown = [name for name in differing if name not in ("seed", *across)]
    series, ended = [], []
    for prefix, settings, records, error in made:
        words = [f"{name} {sweep.in_words(getattr(settings, name))}" for name in shown]
        label = ", ".join(prefix + words) or names[0]
        game = tuple(getattr(settings, each) for each in across)
        ended.append((label, game, error))
        if records:
            series.append((label, game, *_series(records, settings.unit, metric)))
    games = dict.fromkeys(game for _, game, _ in ended)
    if len(games) > 1 and metric.endswith("return"):
        for game in games:
            ends = [values[-1] for _, each, _, values in series if each == game]
            for *_, values in (each for each in series if each[1] == game):
                values -= min(ends)
                values /= max(ends) - min(ends) or 1
        metric += ", scaled"
    groups, left_out = {}, []
    for label in dict.fromkeys(label for label, *_ in ended):
        runs_of = [[each[2:] for each in series if each[:2] == (label, game)] for game in games]
        errors = [error for each, _, error in ended if each == label and error]
        left = errors.count(sweep.NOT_DONE)
        if all(runs_of):
            groups[label] = _group(runs_of, len(errors) - left, left)
        else:
            [first, *_] = (each for each, made in zip(games, runs_of, strict=True) if not made)
            of = ", ".join(f"{n} {sweep.in_words(v)}" for n, v in zip(across, first, strict=True))
            left_out.append(f"left out: {label} has no run that is done, of {of}")
    if not groups:
        raise ValueError("; ".join(left_out))
    return groups, left_out, metric, units.pop()


def _series(records, unit, metric):
    """When a run's score was measured, and what it was."""
    when = [getattr(record, unit.replace("epochs", "epoch")) for record in records]
    if metric == "training_return":
        sums = np.cumsum([0.0, *(record.episode_return for record in records)])
        ends = np.arange(1, len(sums))
        first = np.maximum(ends - GAMES, 0)
        return np.array(when), (sums[ends] - sums[first]) / (ends - first)
    measured = [(x, record) for x, record in zip(when, records, strict=True)
                if record.mean_return is not None]  # fmt: skip
    name = "mean_return" if metric == "return" else metric
    values = [getattr(record, name) for _, record in measured]
    if None in values:
        raise ValueError(f"metric is {metric}; expected return, since a game has no {metric}")
    per = measured[-1][1].starts if metric == "wins" else 1
    return np.array([x for x, _ in measured]), np.array(values, float) / per


def _group(games, failed, left):
    """The runs of one setting, which are (when, scores) for each of its games."""
    every = [run for runs_of in games for run in runs_of]
    first, last = max(x[0] for x, _ in every), min(x[-1] for x, _ in every)
    if first > last:
        raise ValueError(f"some runs are measured first after {first}, others never after {last}")
    x = np.unique(np.concatenate([x for x, _ in every]).clip(first, last))
    x = x[np.linspace(0, len(x) - 1, min(len(x), POINTS)).round().astype(int)]
    held = [[v[np.searchsorted(when, x, "right") - 1] for when, v in each] for each in games]
    scores = [np.array([values[-1] for _, values in each]) for each in games]
    return Group(scores, list(map(np.array, held)), x, failed, left)


def tables(
    groups: dict[str, Group], baseline: str, rng: np.random.Generator, metric: str
) -> dict[str, list[dict]]:
    """All that the runs say, with its intervals, as rows of CSV files.

    Parameters
    ----------
    groups : dict of str to Group
        From `read`.
    baseline : str
        The one that the others are held against.
    rng : numpy.random.Generator
        Draws the resamples.
    metric : str
        What a score is; a smaller q_error is better, and a greater score of any other kind.

    Returns
    -------
    dict of str to list of dict
        scores, the last ones' interquartile means and the probability of improvement over the
        baseline; curves, the interquartile means on the way; profiles.
    """
    made, sign = {"scores": [], "curves": [], "profiles": []}, -1 if metric == "q_error" else 1
    ends = np.concatenate([each for group in groups.values() for each in group.scores])
    below = ends.min() - 0.02 * (np.ptp(ends) or 1)  # where all runs are above
    thresholds = np.linspace(below, ends.max(), POINTS)
    held = [sign * each for each in groups[baseline].scores]
    for label, (scores, curves, when, failed, left) in groups.items():
        indices = draws(scores, rng)

        def told(name, values, statistic, indices=indices):
            """A statistic of the runs of all games under this name, and its interval."""
            drawn = [each[i] for each, i in zip(values, indices, strict=True)]
            low, high = interval(statistic(np.concatenate(drawn, axis=1)))
            return {name: statistic(np.concatenate(values)), "low": low, "high": high}

        row = {"setting": label, "runs": sum(map(len, scores)), "failed": failed, "left": left}
        row["metric"] = metric
        row |= told("score", scores, interquartile_mean)
        if label != baseline:
            row |= improvement([sign * each for each in scores], held, rng)
        made["scores"].append(row)
        for x, *values in zip(when, *(each.T for each in curves), strict=True):
            of = told("score", values, interquartile_mean)
            made["curves"].append({"setting": label, "x": x} | of)
        profile = told("share", scores, lambda values: performance_profile(values, thresholds))
        for threshold, *of in zip(thresholds, *profile.values(), strict=True):
            of = dict(zip(profile, of, strict=True))
            made["profiles"].append({"setting": label, "threshold": threshold} | of)
    return made


def verdict(rows: list[dict], baseline: str) -> list[str]:
    """What the rows of scores prove about the baseline, in words.

    A setting differs from it if chance, times the number of settings for which that is not shown
    yet, is at most 0.05 (Holm's method): so one baseline in twenty is called different from a
    setting that is the same, however many settings there are.

    Parameters
    ----------
    rows : list of dict
        From `tables`.
    baseline : str
        As there.

    Returns
    -------
    list of str
        Lines.
    """
    others = sorted((r for r in rows if r["setting"] != baseline), key=lambda row: row["chance"])
    found = {"better than": [], "worse than": [], "the same scores as": []}
    found["with so few seeds not to be told from"] = unknown = []
    better, worse, same, _ = found.values()
    for place, row in enumerate(others):
        if not unknown and row["chance"] * (len(others) - place) <= 0.05:
            (better if row["improvement"] > 0.5 else worse).append(row["setting"])
        else:
            equal = row["improvement_low"] == row["improvement_high"] == 0.5
            (same if equal else unknown).append(row["setting"])
    order = [row["setting"] for row in rows]
    lines = ((words, sorted(them, key=order.index)) for words, them in found.items() if them)
    return [f"{words} {baseline}: {'; '.join(them)}" for words, them in lines]


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0.

    Raises
    ------
    SystemExit
        With status 2 for arguments that cannot be, or sweeps that cannot be compared.
    """
    what = "What the runs of sweeps prove: scores with their intervals, a figure and its numbers."
    parser = cli.Parser(prog=cli.as_typed("compare"), description=what)
    add = parser.add_argument
    add("sweeps", nargs="+", type=cli.as_folder, metavar="SWEEP", help="folder of a sweep")
    words = "; ".join(f"{name}, {words}" for name, words in METRICS.items()).replace("%", "%%")
    add("--metric", choices=METRICS, help=f"{words} (default: wins, or return)")
    add("--baseline", metavar="SETTING", help="the setting that others are held against, as the "
        "table has it (default: the first)")  # fmt: skip
    add("--across", nargs="+", default=["game"], metavar="NAME",
        choices=[name for name in command.SETTINGS if name != "seed"],
        help="settings whose values are put together (default: game)")  # fmt: skip
    add("--out", type=cli.as_folder, metavar="FOLDER", help="folder for the table, the "
        "figure and its numbers (default: the SWEEP, if it is one)")  # fmt: skip
    arguments = parser.parse_args(argv)
    with cli.refusing(parser):
        try:
            groups, left_out, metric, unit = read(
                arguments.sweeps, arguments.metric, arguments.across
            )
        except OSError as error:
            parser.error(f"cannot read {error.filename}: {error.strerror}")
    scaled = ", scaled" * metric.endswith(", scaled")
    title = METRICS[metric.removesuffix(", scaled")] + scaled
    if len(arguments.sweeps) > 1 and arguments.out is None:
        parser.error("--out is not given; expected a folder, with several sweeps")
    baseline = arguments.baseline or next(iter(groups))
    if baseline not in groups:
        parser.error(f"--baseline is {baseline}; expected one of: {'; '.join(groups)}")
    made = tables(groups, baseline, np.random.default_rng(0), metric)
    lines = [markdown(made["scores"], baseline), "", *verdict(made["scores"], baseline), *left_out]
    print("\n".join(lines))
    folder = arguments.out or arguments.sweeps[0]
    with cli.writing_to(parser, "--out", folder):
        from minidqn.pictures import save_comparison

        folder.mkdir(parents=True, exist_ok=True)
        with storage.atomic_write(folder / "compare.md") as file:
            file.write(("\n".join(lines) + "\n").encode())
        for name, rows in made.items():
            storage.write_csv(folder / f"compare-{name}.csv", rows)
        save_comparison(folder / "compare.png", made, baseline, title, unit)
    print(f"\nfigure: {folder / 'compare.png'}; its numbers: {folder / 'compare-*.csv'}")
    return 0


def markdown(rows: list[dict], baseline: str) -> str:
    """The rows of scores as a table of Markdown.

    Parameters
    ----------
    rows : list of dict
        From `tables`.
    baseline : str
        As there.

    Returns
    -------
    str
        With a line for each setting.
    """
    heads = ["setting", "runs", rows[0]["metric"], "95%"]
    heads += [f"P(better than {baseline})", "95%", "chance"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        runs = f"{row['runs']}" + f", {row['failed']} failed" * (row["failed"] > 0)
        runs += f", {row['left']} not done" * (row["left"] > 0)
        bounds = f"{row['low']:.3f} to {row['high']:.3f}"
        line = [row["setting"], runs, f"{row['score']:.3f}", bounds]
        if "improvement" in row:
            bounds = f"{row['improvement_low']:.2f} to {row['improvement_high']:.2f}"
            line += [f"{row['improvement']:.2f}", bounds, f"{row['chance']:.4f}"]
        lines.append(line + [""] * (len(heads) - len(line)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    cli.run(main)
