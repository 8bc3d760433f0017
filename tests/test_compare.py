"""Comparisons: numbers against naive ones and rliable's, and what is said of runs."""

import csv
import itertools
import json
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn import compare, games, runs, sweep
from tests.commands import files, names, refusal, run

scores_of_a_game = st.lists(st.integers(-9, 9), min_size=1, max_size=12)


def made(folder, wins, failed=(), **settings):
    """A sweep whose runs have won so many of 15 starts, by gamma and seed; nothing is trained."""
    seeds = max(map(len, wins.values()))
    chosen = {"seed": [*range(seeds)], "gamma": list(wins), "grid_size": [5], "epochs": [4],
              "eval_every": [2], **settings}  # fmt: skip
    plan = sweep.plan(chosen, "1")
    folder.mkdir()
    (folder / sweep.SWEEP).write_text(json.dumps({"id": "1", "settings": plan.settings}))
    for name, each in plan.runs.items():
        place = folder / name
        place.mkdir()
        game = games.load(each.game, each.grid_size)
        if each.seed < len(wins[each.gamma]):
            last = int(wins[each.gamma][each.seed])
            runs.write_config(place, each, game)
            with runs.MetricsWriter(place) as metrics:
                for epoch in range(1, 5):
                    won = {2: last // 2, 4: last}.get(epoch)
                    none = won is None
                    measures = (None,) * 4 if none else (2 * won / 15 - 1, won, 15, 1 - won / 15)
                    metrics.write(runs.Record(epoch, 3 * epoch, 0, 0.0, epoch % 2, *measures, 0.0))
            (place / runs.WEIGHTS).touch()
    return folder


def rows(folder, name):
    """The lines of one of a comparison's CSV files."""
    with open(folder / f"compare-{name}.csv") as file:
        return list(csv.DictReader(file))


@given(scores_of_a_game)
def test_interquartile_mean(scores):
    quarter = len(scores) // 4
    expected = statistics.fmean(sorted(scores)[quarter : len(scores) - quarter])
    assert compare.interquartile_mean(np.array(scores)) == pytest.approx(expected)
    both = np.stack([scores, np.negative(scores)])
    assert compare.interquartile_mean(both)[1] == pytest.approx(-expected)


@given(st.lists(st.tuples(scores_of_a_game, scores_of_a_game), min_size=1, max_size=3))
def test_probability_of_improvement(of_games):
    expected = statistics.fmean(
        statistics.fmean((a > b) + (a == b) / 2 for a, b in itertools.product(x, y))
        for x, y in of_games
    )
    x, y = ([np.array(each) for each in side] for side in zip(*of_games, strict=True))
    assert compare.probability_of_improvement(x, y) == pytest.approx(expected)
    assert compare.probability_of_improvement(y, x) == pytest.approx(1 - expected)


@given(scores_of_a_game, scores_of_a_game)
def test_performance_profile(scores, thresholds):
    expected = [statistics.fmean(s > threshold for s in scores) for threshold in thresholds]
    found = compare.performance_profile(np.array(scores), np.array(thresholds))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m"), [(1, 6), (3, 3), (4, 4), (3, 5), (5, 2)])
def test_chance(n, m, rng):
    """Counted: of all ways to deal the scores to n and m runs, those that differ by as much."""
    for _ in range(5):
        x, y = rng.integers(0, 6, n), rng.integers(0, 6, m)
        both, seen = np.concatenate([x, y]), compare.probability_of_improvement([x], [y])
        ways = [np.isin(np.arange(n + m), way) for way in itertools.combinations(range(n + m), n)]
        dealt = [compare.probability_of_improvement([both[way]], [both[~way]]) for way in ways]
        as_far = [abs(each - 0.5) >= abs(seen - 0.5) - 1e-9 for each in dealt]
        assert compare.chance([x], [y], rng) == pytest.approx(np.mean(as_far), abs=0.05)


@pytest.mark.parametrize(("games", "n", "m"), [(1, 4, 4), (1, 1, 20), (3, 2, 2)])
def test_chance_is_no_smaller_than_it_says(games, n, m, rng):
    """Of pairs of settings that are the same it finds one in twenty different, or fewer."""
    found = 0
    for _ in range(300):
        x, y = (list(rng.normal(size=(games, runs))) for runs in (n, m))
        found += compare.chance(x, y, rng) <= 0.05
    assert found / 300 < 0.1


def test_many_settings_are_held_against_the_baseline_together():
    """Holm: the least of three chances counts three times, the next twice."""

    def said(*chances):
        rows = [{"setting": "base"}]
        ends = {"improvement": 0.9, "improvement_low": 0.4, "improvement_high": 1}
        rows += [{"setting": f"{c}", "chance": c} | ends for c in chances]
        return compare.verdict(rows, "base")

    assert said(0.016, 0.02, 0.04) == ["better than base: 0.016; 0.02; 0.04"]
    unknown = "with so few seeds not to be told from base: "
    assert said(0.016, 0.03, 0.04) == ["better than base: 0.016", f"{unknown}0.03; 0.04"]
    assert said(0.04, 0.018) == ["better than base: 0.04; 0.018"]
    drawn = {"setting": "x", "improvement": 0.5, "improvement_low": 0.5, "improvement_high": 0.5}
    rows = [{"setting": "base"}, drawn | {"chance": 1.0}]
    assert compare.verdict(rows, "base") == ["the same scores as base: x"]
    assert said(0.03, 0.026) == [f"{unknown}0.03; 0.026"]


def test_resamples_stay_within_their_game(rng):
    drawn = compare.draws([np.zeros(3), np.zeros(5)], rng, 1000)
    assert [each.shape for each in drawn] == [(1000, 3), (1000, 5)]
    assert [set(each.flat) for each in drawn] == [set(range(3)), set(range(5))]
    counts = np.bincount(drawn[1].ravel()) / 5000
    assert counts == pytest.approx(0.2, abs=0.03)
    low, high = compare.interval(np.arange(1001))
    assert (low, high) == (25, 975)


def test_against_rliable(rng):
    """The same scores; point estimates, single resamples, and intervals."""
    pytest.importorskip("rliable")
    from rliable import library, metrics

    x, y = rng.normal(size=(12, 3)).round(1), rng.normal(0.4, size=(9, 3)).round(1)
    ours = [list(each.T) for each in (x, y)]
    assert compare.interquartile_mean(x.ravel()) == pytest.approx(
        metrics.aggregate_iqm(x), abs=1e-9
    )
    improvement = metrics.probability_of_improvement(x, y)
    assert compare.probability_of_improvement(*ours) == pytest.approx(improvement, abs=1e-9)
    thresholds = np.linspace(-2, 2, 21)
    profile = library.score_distributions(x, thresholds)
    found = compare.performance_profile(x.ravel(), thresholds)
    assert found == pytest.approx(profile, abs=1e-9)
    indices = compare.draws(ours[0], rng, 20)
    for drawn in zip(*indices, strict=True):
        resample = np.stack([x[each, game] for game, each in enumerate(drawn)], axis=1)
        iqm = compare.interquartile_mean(resample.ravel())
        assert iqm == pytest.approx(metrics.aggregate_iqm(resample), abs=1e-9)
    groups = {
        "x": compare.Group(ours[0], [each[:, None] for each in ours[0]], np.array([1]), 0, 0),
        "y": compare.Group(ours[1], [each[:, None] for each in ours[1]], np.array([1]), 0, 0),
    }
    first, _ = compare.tables(groups, "y", rng, "return")["scores"]
    np.random.seed(0)  # noqa: NPY002, which the library draws from
    _, theirs = library.get_interval_estimates(
        {"x": x}, lambda scores: np.array([metrics.aggregate_iqm(scores)]), reps=2000
    )
    assert [first["low"], first["high"]] == pytest.approx(theirs["x"].ravel(), abs=0.05)
    _, theirs = library.get_interval_estimates(
        {"x,y": [x, y]},
        lambda x, y: np.array([metrics.probability_of_improvement(x, y)]),
        reps=2000,
    )
    bounds = [first["improvement_low"], first["improvement_high"]]
    assert bounds == pytest.approx(theirs["x,y"].ravel(), abs=0.03)


def test_what_a_comparison_says(tmp_path, capsys):
    wins = {0.5: [9, 10, 8, 9, 10], 0.8: [15, 14, 15, 15, 13], 0.9: [15, 15, 14, 15]}
    folder = made(tmp_path / "gamma", wins)
    assert run(compare.main, folder, "--baseline", "gamma 0.8") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| setting | runs | wins | 95% | P(better than gamma 0.8) | 95% | chance |"
    start, chance = lines[2].removesuffix(" |").rsplit(" | ", 1)
    assert start == "| gamma 0.5 | 5 | 0.622 | 0.556 to 0.667 | 0.00 | 0.00 to 0.00"
    assert 0.001 < float(chance) < 0.02  # of 252 ways to deal ten runs two
    assert lines[3].startswith("| gamma 0.8 | 5 | 0.978 | ")
    assert lines[3].endswith(" |  |  |  |")
    assert lines[4].startswith("| gamma 0.9 | 4, 1 not done | 1.000 | ")
    assert lines[5] == ""
    assert lines[6] == "worse than gamma 0.8: gamma 0.5"
    assert lines[7] == "with so few seeds not to be told from gamma 0.8: gamma 0.9"
    first = rows(folder, "scores")[0]
    assert float(first["score"]) == pytest.approx(28 / 45)
    curve = [row for row in rows(folder, "curves") if row["setting"] == "gamma 0.5"]
    assert [row["x"] for row in curve] == ["2", "4"]
    assert float(curve[0]["score"]) == pytest.approx((4 + 4 + 5) / 45)
    profile = [row for row in rows(folder, "profiles") if row["setting"] == "gamma 0.8"]
    assert [float(profile[0]["share"]), float(profile[-1]["share"])] == [1, 0]
    assert names(folder, "compare*") == [
        "compare-curves.csv", "compare-profiles.csv", "compare-scores.csv", "compare.md",
        "compare.png",
    ]  # fmt: skip


def test_a_distance_is_better_when_it_is_smaller(tmp_path, capsys):
    wins = [9, 10, 8, 9, 10], [15, 14, 15, 15, 13]
    folders = [made(tmp_path / f"{n}", {0.8: each}, units=[n]) for n, each in enumerate(wins, 1)]
    before = files(tmp_path)
    words = ["--metric", "q_error", "--out", tmp_path / "other"]
    assert run(compare.main, *folders, *words) == 0
    assert "better than 1, units 1: 2, units 2" in capsys.readouterr().out
    assert float(rows(tmp_path / "other", "scores")[0]["score"]) == pytest.approx(1 - 28 / 45)
    assert before.items() <= files(tmp_path).items()


def test_so_few_runs_differ_by_chance(tmp_path, capsys):
    """Three of each are all above the others in one of ten cases."""
    folder = made(tmp_path / "gamma", {0.5: [1, 2, 3], 0.8: [13, 14, 15]})
    assert run(compare.main, folder) == 0
    assert "with so few seeds not to be told from gamma 0.5: gamma 0.8" in capsys.readouterr().out


def test_several_sweeps_and_several_games(tmp_path):
    """Returns of each game are scaled, from its worst run to its best."""
    made(tmp_path / "one", {0.8: [3, 6, 9]}, game=["fruit", "snake"])
    made(tmp_path / "two", {0.8: [9, 12, 15]}, game=["fruit", "snake"])
    folders = [tmp_path / "one", tmp_path / "two"]
    groups, _, metric, unit = compare.read(folders, "return")
    assert (list(groups), metric, unit) == (["one", "two"], "return, scaled", "epochs")
    assert np.array(groups["one"].scores) == pytest.approx(np.array([[0, 0.25, 0.5]] * 2))
    assert np.array(groups["two"].scores) == pytest.approx(np.array([[0.5, 0.75, 1]] * 2))
    groups, *_ = compare.read(folders, "training_return", across=())
    assert list(groups)[:2] == ["one, game fruit", "one, game snake"]
    assert groups["one, game fruit"].curves[0][0] == pytest.approx([1, 0.5, 2 / 3, 0.5])


def test_curves_of_steps_are_held_until_the_next_measure():
    """Runs are measured at different times."""
    runs_of = [(np.array([10, 30]), np.array([1.0, 3.0])), (np.array([20, 25]), np.array([4.0, 5]))]
    group = compare._group([runs_of], 0, 0)
    assert group.x.tolist() == [20, 25]
    assert group.curves[0].tolist() == [[1, 1], [4, 5]]
    assert group.scores[0].tolist() == [3, 5]


def test_refusals(tmp_path, capsys):
    folder = made(tmp_path / "gamma", {0.5: [9, 10], 0.8: [15]})
    nothing = tmp_path / "nothing"
    steps = made(tmp_path / "steps", {0.8: [3]}, steps=[12], eval_every=[4])
    for words, wanted in [
        ([nothing], f"cannot read {nothing}"),
        ([folder, "--baseline", "gamma 0.7"], "gamma 0.7; expected one of: gamma 0.5; gamma 0.8"),
        ([folder, steps], "some runs are counted in epochs, others in steps"),
        ([folder, "--metric", "score"], "invalid choice: 'score'"),
        ([folder, "--across", "seed"], "invalid choice: 'seed'"),
        (
            [folder, "--metric", "q_error"],
            "metric is q_error; expected one gamma and one grid_size",
        ),
        ([folder, folder], "a sweep is given twice; expected different ones"),
        (
            [made(tmp_path / "none", {0.8: [0]}, seed=[5])],
            "none has no run that is done, of game fruit",
        ),
    ]:
        assert wanted in refusal(capsys, compare.main, *words)


def test_runs_that_are_not_there(tmp_path, capsys):
    folder = made(tmp_path / "gamma", {0.5: [9, 10], 0.8: [15], 0.9: []})
    place = next(folder.glob("00000*"))
    (place / runs.METRICS).write_text("nonsense")
    assert run(compare.main, folder) == 0
    out = capsys.readouterr().out
    assert "| gamma 0.5 | 1, 1 failed |" in out
    assert "left out: gamma 0.9 has no run that is done, of game fruit\n" in out
