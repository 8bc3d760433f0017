"""The page of a run, in a real browser: what it computes, shows, and never does."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from minidqn import command, moments, page, runs
from minidqn.evaluate import q_table
from minidqn.exact import q_star
from minidqn.fruit import draw, episode
from minidqn.qlearning import greedy
from minidqn.runs import load_run
from tests.browser import Browser, find

ROOT = Path(__file__).parent.parent
SMALL = ["--batch-size", "8", "--epochs", "20", "--no-images"]
HOSTILE = [
    "</script><script>pwned = 1<!--",
    "'\"><img src=x onerror=pwned=1>",
    "&lt;b&gt; {{script}} {{run}}",
    "\U0001f34e \u05e9\u05dc\u05d5\u05dd \u202e\u2028 line",
]
if os.name == "nt" or os.sep in HOSTILE[0]:  # a slash is no part of a name
    HOSTILE[0] = HOSTILE[0].replace("/", "\N{FRACTION SLASH}")


def trained(*arguments):
    assert command.main([str(argument) for argument in arguments]) == 0


def made(*arguments):
    """The page command in this process; its exit status."""
    try:
        return page.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return ended.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A default run, with its page."""
    folder = tmp_path_factory.mktemp("runs") / "fruit"
    trained("--no-images", "--out", folder)
    assert made(folder) == 0
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run on a grid of 5 x 5, without a page."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    trained(*SMALL, "--grid-size", 5, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def chromium():
    path = find()
    if path is None:
        words = "no chromium, chrome or edge is installed, or none that can be driven here"
        assert os.environ.get("CI_BROWSER") != "1", words
        pytest.skip(words)
    browser = Browser(path)
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium):
    """The browser; a test that uses it fails if anything was complained of or asked for."""
    yield chromium
    assert complaints(chromium) == []
    assert all(url.startswith("file:") for url in requests(chromium))
    assert len(requests(chromium)) <= 1


def complaints(browser):
    """What the page has written to the console, and what the browser has to say of it."""
    browser.evaluate("0")  # whatever comes before the answer has been received
    kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    return [event for event in browser.events if event.get("method") in kinds]


def requests(browser):
    sent = [e for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    urls = [event["params"]["request"]["url"] for event in sent]
    return [url for url in urls if url != "data:,"]


def opened(browser, folder, **how):
    """The page of a run, which does not play by itself."""
    browser.open(folder / runs.PAGE, **({"prefers_reduced_motion": "reduce"} | how))


def start(browser, fruit, basket, duel=False):
    browser.evaluate(f"newGame([{fruit}, {basket}], {json.dumps(duel)}), 0")


def game(browser):
    """Row and column of the fruit, and the basket: what the page is at."""
    return browser.evaluate("[page.game.row, page.game.fruit, page.game.basket]")


def shown(browser):
    """The same, as the pieces lie on the board."""
    return browser.evaluate(
        "(() => { const at = (id) => byId(id).transform.baseVal[0].matrix; return ["
        "at('fruit').f / CELL, at('fruit').e / CELL, at('basket').e / CELL + 1]; })()"
    )


def all_values(browser):
    """The page's Q-values of all states in which a game goes on."""
    return np.array(
        browser.evaluate(
            "Array.from({length: G - 2}, (_, row) =>"
            "table(G, (fruit, basket) => predict(model(), draw(G, row, fruit, basket))))"
        )
    )


def numbers(browser, kind):
    """The three numbers beside the bars, as they can be read."""
    words = browser.evaluate(
        f"[...document.querySelectorAll('#bars .number.{kind}')].map((e) => e.textContent)"
    )
    return [word.split(" ")[1].replace("\N{MINUS SIGN}", "-") for word in words]


def text(browser, selector):
    return browser.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")


def cell(browser, row, column):
    """Where the middle of a cell of the board is on the window."""
    return browser.evaluate(
        "(() => { const b = byId('board').querySelector('.ground').getBoundingClientRect();"
        f"return [b.x + b.width * ({column} + 0.5) / G, b.y + b.height * ({row} + 0.5) / G]; }})()"
    )


# What it computes


def test_q_values_are_those_of_the_network(browser, folder):
    opened(browser, folder)
    settings, model, _ = load_run(folder)
    expected = q_table(model)
    assert expected.shape == (8, 10, 8, 3)
    np.testing.assert_allclose(all_values(browser), expected, rtol=0, atol=1e-5)
    exact = np.array(browser.evaluate("EXACT"))
    np.testing.assert_allclose(exact, q_star(10, settings.gamma), rtol=0, atol=1e-12)


def test_layers_are_those_of_the_network(browser, folder):
    opened(browser, folder)
    _, model, _ = load_run(folder)
    rng = np.random.default_rng(3)
    frame = rng.random((1, 10, 10))
    listed = json.dumps(frame.ravel().tolist())
    outputs = browser.evaluate(
        f"Object.entries(layerOutputs(model(), {{shape: [10, 10, 1], data: {listed}}}))"
        ".map(([name, x]) => [name, x.shape, Array.from(x.data)])"
    )
    expected = model.layer_outputs(frame[np.newaxis])
    assert [name for name, _, _ in outputs] == list(expected)
    for name, shape, data in outputs:
        got = np.reshape(data, shape)
        np.testing.assert_allclose(got, expected[name][0], rtol=0, atol=1e-5, err_msg=name)


def test_every_moment(browser, folder):
    """The slider steps through them by key; values are those of the weights kept."""
    opened(browser, folder)
    settings, model, _ = load_run(folder)
    final = model.get_weights()
    browser.evaluate("byId('moment').focus()")
    browser.key("Home")
    kept = moments.saved_epochs(folder, settings.epochs - 1)
    assert kept[0] == 0
    epochs = []
    for place in range(8):
        if place:
            browser.key("ArrowRight")
        assert browser.evaluate("page.moment") == place
        epochs.append(browser.evaluate("run.moments[page.moment].epoch"))
        weights = final
        if place < 7:
            kept_then = moments.load(folder, epochs[-1], model)
            weights = list(moments.dequantized(kept_then).values())
        model.set_weights(weights)
        expected = q_table(model)
        np.testing.assert_allclose(all_values(browser), expected, rtol=0, atol=1e-5)
        assert _same_as_shown(browser, expected)
        _require_marked(browser, epochs[-1], expected)
    assert epochs[0] == 0
    assert epochs == sorted(set(epochs))
    assert epochs[-1] == settings.epochs
    assert set(epochs[:-1]) <= set(kept)
    assert text(browser, "#moment-name") == "epoch 500, trained"


def _same_as_shown(browser, expected):
    """Whether the numbers beside the bars are those of the state on the board."""
    row, fruit, basket = game(browser)
    q = expected[row, fruit, basket - 1]
    return numbers(browser, "learned") == [f"{value:.2f}" for value in q]


def _require_marked(browser, epoch, expected):
    """The moment's words, and its marks on the learning curve."""
    facts = text(browser, "#moment-facts")
    error = np.abs(expected - q_star()).mean()
    assert float(facts.rsplit(" ", 1)[1]) == pytest.approx(error, abs=6e-4)
    wins = int(re.match(r"Wins (\d+) of 80 starts", facts)[1])
    left, right, top, bottom, x, y = browser.evaluate(
        "(() => { const c = byId('curve'), m = c.querySelector('circle.wins');"
        "const n = (e, k) => Number(e.getAttribute(k)); return [34, c.clientWidth - 14, 10,"
        "c.clientHeight - 42, n(m, 'cx'), n(m, 'cy')]; })()"
    )
    assert x == pytest.approx(left + (right - left) * epoch / 500, abs=0.1)
    assert y == pytest.approx(bottom - (bottom - top) * wins / 80, abs=0.1)
    assert f"epoch {epoch}." in browser.evaluate("byId('curve').getAttribute('aria-label')")


def test_the_learning_curve_is_that_of_the_metrics(browser, folder):
    opened(browser, folder)
    measured = [r for r in runs.read_metrics(folder, 10**6) if r.wins is not None]
    assert browser.evaluate("run.curve") == [[r.epoch, r.wins, r.q_error] for r in measured]
    for kind in ("wins", "error"):
        points = browser.evaluate(f"byId('curve').querySelector('polyline.{kind}').points.length")
        assert points == len(measured) + 1  # and the untrained network


@pytest.mark.parametrize("place", [(0, 1), (7, 2), (9, 8), (4, 4)])
def test_a_game_is_the_coroutines(browser, folder, place):
    """Frame by frame, played with the button."""
    opened(browser, folder)
    _, model, _ = load_run(folder)
    start(browser, *place)
    ep = episode(10, start=place)
    frame, reward = next(ep)
    while True:
        got = browser.evaluate("[Array.from(page.game.S.data), page.game.reward]")
        np.testing.assert_array_equal(np.reshape(got[0], (1, 10, 10)), frame)
        assert got[1] == reward
        np.testing.assert_array_equal(draw(10, *shown(browser)), frame)
        if reward != 0:
            break
        frame, reward = ep.send(int(greedy(model.predict(frame[np.newaxis]))[0]))
        browser.click("#step")
    assert text(browser, "#result") == ("Caught." if reward > 0 else "Missed.")
    assert text(browser, "#score-alone") == f"{int(reward > 0)} of 1"
    assert numbers(browser, "learned") == ["\N{EN DASH}"] * 3
    browser.click("#step")
    assert game(browser)[0] == 0


@pytest.mark.parametrize("grid_size", [5, 15])
def test_other_grids(browser, tmp_path, grid_size):
    trained(*SMALL, "--grid-size", grid_size, "--out", tmp_path)
    assert made(tmp_path) == 0
    opened(browser, tmp_path)
    _, model, _ = load_run(tmp_path)
    expected = q_table(model, grid_size)
    np.testing.assert_allclose(all_values(browser), expected, rtol=0, atol=1e-5)
    start(browser, 1, 2)
    while game(browser)[0] < grid_size - 2:
        browser.click("#step")
    assert text(browser, "#score-alone").endswith("of 1")
    assert browser.evaluate("byId('map-row').options.length") == grid_size - 1


# What a visitor does

CLOCK = (
    "globalThis.waits = []; globalThis.tick = null;"
    "setTimeout = (f, ms = 0) => { waits.push(ms); tick = f; return 1; };"
    "clearTimeout = () => { tick = null; };"
)


def test_it_plays_by_itself(browser, folder):
    """From the beginning, where motion is welcome; with a clock that the test turns."""
    opened(browser, folder, prefers_reduced_motion="no-preference")
    assert browser.evaluate("page.playing")
    assert text(browser, "#play") == "Pause"
    browser.click("#play")
    assert not browser.evaluate("page.playing")
    assert text(browser, "#play") == "Play"
    browser.evaluate("showMaps = () => {};" + CLOCK)
    start(browser, 2, 6)
    browser.click("#play")
    for row in range(1, 9):
        assert browser.evaluate("waits.at(-1)") == 250
        browser.evaluate("tick()")
        assert game(browser)[0] == row
    assert browser.evaluate("waits.at(-1)") == 750  # the end is shown longer
    browser.evaluate("tick()")
    assert game(browser)[0] == 0
    browser.evaluate("byId('speed').focus()")
    for _ in range(6):
        browser.key("ArrowRight")
    assert browser.evaluate("waits.at(-1)") == 100
    browser.click("#play")
    assert browser.evaluate("tick") is None


def test_who_dislikes_motion_begins_it(browser, folder):
    opened(browser, folder)
    assert not browser.evaluate("page.playing")
    assert text(browser, "#play") == "Play"


def test_new_game(browser, folder):
    opened(browser, folder)
    browser.click("#step")
    browser.evaluate("Math.random = () => 0.35, 0")
    browser.click("#new")
    assert game(browser) == [0, 3, 3]


MOVES = {"ArrowLeft": -1, "ArrowDown": 0, "ArrowRight": 1}


@pytest.mark.parametrize("by", ["keys", "buttons"])
def test_a_person_against_the_network(browser, folder, by):
    """Both scores count: one game that both catch, one that the person misses."""
    opened(browser, folder)
    _, model, _ = load_run(folder)

    def press(key):
        if by == "keys":
            browser.key(key)
        else:
            browser.click(f".move[data-action='{MOVES[key]}']")

    browser.evaluate("Math.random = () => 0.75, 0")  # the fruit in column 7, basket 7
    score = {"network": 0, "you": 0}
    for keys in (["ArrowDown"] * 8, ["ArrowLeft"] * 8, ["ArrowRight"] + ["ArrowDown"] * 7):
        press("ArrowRight")  # begins the game, so that the fall is seen before the first move
        assert game(browser) == [0, 7, 7]
        assert browser.evaluate("page.person.basket") == 7
        ep, mine = episode(10, start=(7, 7)), episode(10, start=(7, 7))
        (frame, reward), (my_frame, my_reward) = next(ep), next(mine)
        for key in keys:
            frame, reward = ep.send(int(greedy(model.predict(frame[np.newaxis]))[0]))
            my_frame, my_reward = mine.send(MOVES[key])
            press(key)
            got = browser.evaluate("[page.game, page.person].map((g) => Array.from(g.S.data))")
            np.testing.assert_array_equal(np.reshape(got, (2, 1, 10, 10)), [frame, my_frame])
        score["network"] += reward > 0
        score["you"] += my_reward > 0
        words = {1: "caught", -1: "missed"}
        said = f"You {words[my_reward]} it; the network {words[reward]} it."
        assert text(browser, "#result") == said
    assert score == {"network": 3, "you": 2}
    assert text(browser, "#score-network") == "3 of 3"
    assert text(browser, "#score-you") == "2 of 3"
    assert text(browser, "#score-alone") == "0 of 0"
    browser.click("#step")
    assert browser.evaluate("page.person") is None  # the network plays alone again


def test_baskets_are_told_apart_without_colour(browser, folder):
    opened(browser, folder)
    assert browser.evaluate("getComputedStyle(byId('you')).display") == "none"
    start(browser, 3, 3, duel=True)
    assert text(browser, "#basket text") == "network"
    assert text(browser, "#you text") == "you"
    tops = browser.evaluate("['basket', 'you'].map((id) => byId(id).getBoundingClientRect().top)")
    assert tops[1] > tops[0] + 20
    assert "hatch" in browser.evaluate("getComputedStyle(document.querySelector('#you rect')).fill")


def test_scores_are_those_of_the_moment(browser, folder):
    """What one network did is not counted for another."""
    opened(browser, folder)
    start(browser, 4, 4)
    for _ in range(8):
        browser.click("#step")
    assert text(browser, "#score-alone") == "1 of 1"
    browser.evaluate("byId('moment').focus()")
    browser.key("Home")
    assert text(browser, "#score-alone") == "0 of 0"
    start(browser, 4, 4)
    browser.click("#step")
    browser.key("Tab")
    browser.evaluate("byId('moment').focus()")
    browser.key("End")
    assert text(browser, "#score-alone") == "1 of 1"
    for _ in range(7):
        browser.click("#step")
    assert text(browser, "#score-alone") == "1 of 1"
    assert "Not counted" in text(browser, "#result")


@pytest.mark.parametrize("pointer", ["mouse", "finger"])
def test_dragging(browser, folder, pointer):
    """The fruit or the basket goes to any legal cell, and the network is asked at once."""
    opened(browser, folder, touch=pointer == "finger")
    _, model, _ = load_run(folder)
    expected = q_table(model)
    move = browser.drag if pointer == "mouse" else browser.swipe
    start(browser, 7, 2)
    for target, becomes in [
        ((3, 0), [3, 0, 2]),
        ((0, 9), [0, 9, 2]),
        ((7, 5), [7, 5, 2]),
        ((9, 5), [7, 5, 2]),  # no lower: there the game is over
        ((4, 12), [4, 9, 2]),  # not over the edge
    ]:
        row, fruit, _ = game(browser)
        move(cell(browser, row, fruit), cell(browser, *target))
        assert game(browser) == shown(browser) == becomes
        assert _same_as_shown(browser, expected)
        _require_exact_shown(browser)
    for column, basket in [(5, 5), (0, 1), (9, 8), (3, 3)]:
        move(cell(browser, 9, game(browser)[2]), cell(browser, 9, column))
        assert game(browser) == shown(browser) == [4, 9, basket]
        assert _same_as_shown(browser, expected)
        _require_exact_shown(browser)
    while game(browser)[0] < 8:
        browser.click("#step")
    assert "Not counted" in text(browser, "#result")
    assert text(browser, "#score-alone") == "0 of 0"


def _require_exact_shown(browser):
    """The exact numbers, the bars' lengths and the mark are those of the state."""
    row, fruit, basket = game(browser)
    exact = q_star()[row, fruit, basket - 1]
    assert numbers(browser, "exact") == [f"{value:.2f}" for value in exact]
    q = np.array(browser.evaluate("predict(model(), page.game.S)"))
    bars = browser.evaluate(
        "[...document.querySelectorAll('#bars tbody tr')].map((row) => "
        "[...row.querySelectorAll('.bar')].map((b) => "
        "[parseFloat(b.style.left), parseFloat(b.style.width)]))"
    )
    for place, pair in enumerate(bars):
        for value, (left, width) in zip((q[place], exact[place]), pair, strict=True):
            assert width == pytest.approx(50 * min(abs(value), 1), abs=0.01)
            assert left == pytest.approx(50 + 50 * max(min(value, 0), -1), abs=0.01)
    chosen = browser.evaluate(
        "[...document.querySelectorAll('#bars tbody tr')].map((r) => [r.className, "
        "r.querySelector('.mark').textContent, r.querySelector('.unseen').textContent])"
    )
    for place, marks in enumerate(chosen):
        marked = ["chosen", "\u25b6", "chosen: "]
        assert marks == (marked if place == q.argmax() else ["", "", ""])


def test_pieces_by_key(browser, folder):
    opened(browser, folder)
    start(browser, 7, 2)
    browser.evaluate("byId('fruit').focus()")
    browser.key("ArrowDown")
    browser.key("ArrowDown")
    browser.key("ArrowUp")
    browser.key("ArrowRight")
    assert game(browser) == [1, 8, 2]
    assert browser.evaluate("byId('fruit').getAttribute('aria-valuetext')") == "row 1, column 8"
    browser.evaluate("byId('basket').focus()")
    browser.key("ArrowRight")
    assert game(browser) == shown(browser) == [1, 8, 3]
    browser.key("ArrowLeft")
    browser.key("ArrowLeft")
    browser.key("ArrowLeft")
    assert game(browser) == [1, 8, 1]
    assert browser.evaluate("byId('basket').getAttribute('aria-valuenow')") == "1"
    browser.evaluate("byId('fruit').focus()")
    for key, then in [
        ("PageDown", [7, 8, 1]), ("PageUp", [0, 8, 1]), ("Home", [0, 0, 1]), ("End", [0, 9, 1]),
    ]:  # fmt: skip
        browser.evaluate(
            "byId('fruit').dispatchEvent(new KeyboardEvent('keydown', "
            f"{{key: '{key}', bubbles: true, cancelable: true}})), 0"
        )
        assert game(browser) == then
    assert browser.evaluate("page.person") is None  # none of these was a move


def test_who_leaves_a_duel_is_told(browser, folder):
    opened(browser, folder)
    start(browser, 4, 4, duel=True)
    browser.key("ArrowLeft")
    row, fruit, network = game(browser)  # where it goes is a matter of its training
    assert text(browser, "#result") == f"Row {row}: fruit column {fruit}, you 3, network {network}."
    browser.click("#step")
    assert text(browser, "#result") == "You left; this game is not counted."
    for _ in range(6):
        browser.click("#step")
    assert game(browser)[0] == 8
    assert "Not counted" in text(browser, "#result")
    assert text(browser, "#score-alone") == "0 of 0"


def test_any_arrow_of_the_hint_begins_a_duel(browser, folder):
    opened(browser, folder)
    browser.key("ArrowDown")
    assert browser.evaluate("[page.person !== null, scrollY]") == [True, 0]


@pytest.mark.parametrize("with_key", ["ctrlKey", "altKey", "metaKey"])
def test_arrows_with_other_keys_stay_the_browsers(browser, folder, with_key):
    opened(browser, folder)
    stolen = browser.evaluate(
        "!document.body.dispatchEvent(new KeyboardEvent('keydown', "
        f"{{key: 'ArrowLeft', {with_key}: true, bubbles: true, cancelable: true}}))"
    )
    assert [stolen, browser.evaluate("page.person")] == [False, None]


@pytest.mark.parametrize("clicked", ["#basket", "#conv2d"])
def test_keys_play_after_a_click(browser, folder, clicked):
    """Arrows belong to a piece or to a map only if it was reached by Tab."""
    opened(browser, folder)
    start(browser, 4, 4, duel=True)
    browser.click(clicked)
    browser.key("ArrowLeft")
    assert game(browser)[0] == 1
    assert browser.evaluate("page.person.basket") == 3


def test_dragging_pauses(browser, folder):
    opened(browser, folder)
    browser.evaluate(CLOCK)
    start(browser, 7, 2)
    browser.click("#play")
    browser.drag(cell(browser, 0, 7), cell(browser, 3, 3))
    assert not browser.evaluate("page.playing")


# What the network sees


def unit_place(browser, layer, unit):
    """Where the middle of a unit of a feature map is on the window."""
    browser.evaluate(f"byId('{layer}').scrollIntoView({{block: 'center'}})")
    return browser.evaluate(
        f"(() => {{ const b = byId('{layer}').getBoundingClientRect();"
        f"const [x, y] = corner('{layer}', {unit[0]}), m = mosaic('{layer}'), e = m.size / m.side;"
        f"return [b.x + x + ({unit[2]} + 0.5) * e, b.y + y + ({unit[1]} + 0.5) * e]; }})()"
    )


UNITS = [("conv2d", 8, 3), ("conv2d_1", 6, 5)]


@pytest.mark.parametrize(("layer", "side", "reach"), UNITS)
@pytest.mark.parametrize("width", [1280, 390])
def test_pointing_at_units(browser, folder, layer, side, reach, width):
    opened(browser, folder, width=width)
    for unit in [(0, 0, 0), (5, 1, 4), (15, side - 1, side - 1), (8, 0, side - 1), (3, 2, 0)]:
        browser.mouse("Moved", *unit_place(browser, layer, unit))
        chosen = browser.evaluate("page.unit")
        assert chosen == dict(zip(("layer", "map", "i", "j"), (layer, *unit), strict=True))
        _, i, j = unit
        rect = browser.evaluate(
            "['x', 'y', 'width', 'height'].map((k) => +pieces.field.getAttribute(k) / CELL)"
        )
        assert rect == [j, i, reach, reach]
        value = browser.evaluate(
            f"page.outputs.{layer}.data[({i} * {side} + {j}) * 16 + {unit[0]}].toFixed(3)"
        )
        sees = f"It sees rows {i} to {i + reach - 1}, columns {j} to {j + reach - 1}."
        assert text(browser, "#unit") == f"Map {unit[0]}, unit ({i}, {j}): {value}. {sees}"
    browser.mouse("Moved", *browser.center("h1"))
    assert browser.evaluate("page.unit") is None
    assert browser.evaluate("pieces.field.style.display") == "none"


@pytest.mark.parametrize(("layer", "side", "reach"), UNITS)
def test_a_receptive_field_is_what_changes_a_unit(browser, folder, layer, side, reach):
    """Pixel by pixel, without ReLU, which hides changes."""
    opened(browser, folder)
    changing = browser.evaluate(
        "(() => { const w = model(), at = (S) => { "
        "  const one = convolve(S, w['conv2d/kernel'], w['conv2d/bias']);"
        "  const two = convolve(one, w['conv2d_1/kernel'], w['conv2d_1/bias']);"
        f" return ('{layer}' === 'conv2d' ? one : two).data; }};"
        "const before = at(zeros(10, 10, 1)), found = [];"
        f"const unit = {{layer: '{layer}', map: 2, i: 1, j: 3}};"
        f"const place = (unit.i * {side} + unit.j) * 16 + unit.map;"
        "for (let k = 0; k < 100; k++) { const S = zeros(10, 10, 1); S.data[k] = 1;"
        "  if (at(S)[place] !== before[place]) found.push([Math.floor(k / 10), k % 10]); }"
        "return [found, receptiveField(unit)]; })()"
    )
    found = np.array(changing[0])
    assert len(found) == reach**2
    assert changing[1] == {
        "top": found[:, 0].min(),
        "bottom": found[:, 0].max(),
        "left": found[:, 1].min(),
        "right": found[:, 1].max(),
    }


def test_units_by_key(browser, folder):
    opened(browser, folder)
    browser.evaluate("byId('conv2d').focus()")
    assert browser.evaluate("page.unit") == {"layer": "conv2d", "map": 0, "i": 0, "j": 0}
    for key in ["ArrowRight"] * 8 + ["ArrowDown"] * 9 + ["ArrowUp"] + ["ArrowLeft"]:
        browser.key(key)
    assert browser.evaluate("page.unit") == {"layer": "conv2d", "map": 8, "i": 0, "j": 7}
    assert text(browser, "#unit-said") == text(browser, "#unit")
    assert browser.evaluate("page.person") is None
    browser.key("Tab")
    assert browser.evaluate("page.unit.layer") == "conv2d_1"
    browser.key("Tab")
    assert browser.evaluate("page.unit") is None


def colours(browser, canvas, x, y):
    """The red, green and blue of a place on a canvas."""
    return browser.evaluate(  # from a copy, since reading from the canvas itself is warned of
        "(() => { const copy = new OffscreenCanvas(1, 1).getContext('2d');"
        f"copy.drawImage(byId('{canvas}'), -{x}, -{y});"
        "return Array.from(copy.getImageData(0, 0, 1, 1).data); })()"
    )[:3]


def cividis(browser, share):
    found = browser.evaluate(f"cividis({share})")
    return [int(part) for part in re.findall(r"\d+", found)]


@pytest.mark.parametrize(("layer", "side", "reach"), UNITS)
def test_feature_maps_are_what_the_layers_make(browser, folder, layer, side, reach):
    """Colours on the canvas, before and after a step."""
    opened(browser, folder)
    _, model, _ = load_run(folder)
    for _ in range(3):
        frame = draw(10, *game(browser))
        output = model.layer_outputs(frame[np.newaxis])[layer][0]
        for unit in [(0, 0, 0), (3, side - 1, 2), (12, 2, side - 1), (9, 3, 3)]:
            number, i, j = unit
            x, y, edge = browser.evaluate(
                f"(() => {{ const m = mosaic('{layer}'); return [...corner('{layer}', {number}),"
                "m.size / m.side]; })()"
            )
            got = colours(browser, layer, int(x + (j + 0.5) * edge), int(y + (i + 0.5) * edge))
            share = float(output[i, j, number] / output.max())
            np.testing.assert_allclose(got, cividis(browser, share), atol=1)
        assert text(browser, f"#{layer}-range") == f"dark: 0, bright: {output.max():.2f}"
        browser.click("#step")


def test_the_colours_are_those_of_the_pictures(browser, folder):
    """And the brighter the larger, so that they can be told apart in greyscale."""
    from matplotlib import colormaps

    opened(browser, folder)
    shares = np.linspace(0, 1, 33)
    got = np.array([cividis(browser, share) for share in shares])
    np.testing.assert_allclose(got, 255 * colormaps["cividis"](shares)[:, :3], atol=9)
    assert (np.diff(got @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_maps_of_values(browser, folder):
    """Learned, exact, error: of the game's row, and of one that is chosen."""
    opened(browser, folder)
    _, model, _ = load_run(folder)
    learned, exact = q_table(model).max(axis=-1), q_star().max(axis=-1)
    browser.evaluate("byId('map-row').focus()")
    for row in range(3):
        if row:
            browser.key("ArrowDown")
        browser.evaluate("new Promise((done) => { const look = () => drawn() ? done() : "
                         "setTimeout(look, 10); const drawn = () => learnedValues(rowOfMaps())"
                         ".complete && (showMaps(), true); look(); })")  # fmt: skip
        at = max(row - 1, 0)
        assert browser.evaluate("rowOfMaps()") == at
        got = browser.evaluate("learnedValues(rowOfMaps()).values")
        np.testing.assert_allclose(got, learned[at], rtol=0, atol=1e-5)
        values = {"map-learned": (learned[at] + 1) / 2, "map-exact": (exact[at] + 1) / 2}
        values["map-error"] = abs(learned[at] - exact[at])
        for name, shares in values.items():
            edge = (browser.evaluate(f"byId('{name}').clientWidth") - 38) / 10
            for fruit, basket in [(0, 1), (9, 8), (3, 6), (7, 2)]:
                x, y = 36 + (fruit + 0.5) * edge, 2 + (8 - basket + 0.5) * edge
                colour = colours(browser, name, int(x), int(y))
                expected = cividis(browser, float(shares[fruit, basket - 1]))
                np.testing.assert_allclose(colour, expected, atol=1)
            label = browser.evaluate(f"byId('{name}').getAttribute('aria-label')")
            assert f"fruit in row {at}: from " in label
    browser.evaluate("byId('moment').focus()")
    browser.key("Home")  # the maps follow to another moment
    assert browser.evaluate("page.moment") == 0
    browser.evaluate("while (!learnedValues(1).complete); 0")
    got = np.array(browser.evaluate("learnedValues(1).values"))
    here = browser.evaluate("Math.max(...predict(model(), draw(G, 1, 3, 6)))")
    assert got[3, 5] == here
    assert np.abs(got - learned[1]).max() > 0.1


def test_where_the_game_is_in_the_maps(browser, folder):
    """The small frame lies on the cell of the game's fruit and basket."""
    opened(browser, folder)
    browser.evaluate("place(3, 0, 6); showMaps(); 0")
    edge = (browser.evaluate("byId('map-exact').clientWidth") - 38) / 10
    x, y = 36 + 3 * edge, 2 + (8 - 6) * edge
    inside = colours(browser, "map-exact", int(x + edge / 2), int(y + edge / 2))
    corner = colours(browser, "map-exact", int(x + 2), int(y + 2))
    below = colours(browser, "map-exact", int(x + 2), int(y + edge + 4))
    assert np.abs(np.subtract(corner, inside)).max() > 20  # the frame's own colour
    assert np.abs(np.subtract(below, inside)).max() < 5  # and none of it a cell further down


# For everybody

CONTROLS = ["fruit", "basket", "play", "step", "new", "speed", "left", "stay", "right"]
CONTROLS += ["moment", "conv2d", "conv2d_1", "map-row"]


def test_by_keyboard_alone(browser, folder):
    """Tab visits all that can be used, in the order of the page, and it is seen where one is."""
    opened(browser, folder)
    visited = []
    for _ in CONTROLS:
        browser.key("Tab")
        name, outline, stroke = browser.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            "const r = e.querySelector('rect');"
            "return [e.id || e.textContent.split(' ')[1], s.outlineStyle + s.outlineWidth,"
            "r ? getComputedStyle(r).strokeWidth : '']; })()"
        )
        visited.append(name)
        assert outline == "solid3px" or float(stroke.removesuffix("px")) > 1
    assert visited == CONTROLS
    for name, then in (("play", "page.playing"), ("step", "!page.playing")):
        browser.evaluate(f"byId('{name}').focus()")
        browser.key(" ")
        assert browser.evaluate(then)
    browser.evaluate("document.querySelector('.move').focus()")
    browser.key("Enter")
    assert browser.evaluate("page.person !== null")


def test_everything_has_a_name(browser, folder):
    """What a screen reader finds: roles and names."""
    opened(browser, folder)
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    found = {}
    for node in nodes:
        if not node["ignored"]:
            role, name = node["role"]["value"], node.get("name", {}).get("value", "")
            found.setdefault(role, []).append(name)
    assert len(found["button"]) == 6
    assert len(found["slider"]) == 4  # fruit, basket, speed, moment
    assert len(found["application"]) == 2
    assert len(found["combobox"]) == 1
    assert sum(len(found.get(role, [])) for role in ("image", "img")) == 4  # curve and maps
    for role in ("button", "slider", "application", "combobox", "image", "img", "region", "table"):
        assert all(found.get(role, [])), (role, found[role])
    assert found["heading"][0] == "A network that learned to catch fruit"
    assert browser.evaluate("document.documentElement.lang") == "en"


SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@SCHEMES
@pytest.mark.parametrize(
    ("width", "height"), [(1920, 1080), (1280, 720), (1024, 768), (390, 844), (320, 600)]
)
def test_it_fits(browser, folder, width, height, scheme):
    """No scrolling sideways; none at all on a projector; letters that can be read."""
    opened(browser, folder, width=width, height=height, prefers_color_scheme=scheme)
    start(browser, 7, 2, duel=True)
    wide, high = browser.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert wide <= width
    if width >= 1280:
        assert high <= height
    sizes = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && "
        "[...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())).map((e) => "
        "parseFloat(getComputedStyle(e).fontSize) * (e.closest('#board') ? "
        "byId('board').getBoundingClientRect().width / byId('board').viewBox.baseVal.width : 1))"
    )
    assert min(sizes) >= (14 if width >= 390 else 12)


@SCHEMES
def test_contrast(browser, folder, scheme):
    """Every text has at least 4.5 to 1 against what is behind it (WCAG 2.2, AA)."""
    opened(browser, folder, prefers_color_scheme=scheme)
    pairs = browser.evaluate(
        "[...document.querySelectorAll('main *, header *')].filter((e) => !e.closest('svg') && "
        "[...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())).map((e) => {"
        "let b = e; while (getComputedStyle(b).backgroundColor === 'rgba(0, 0, 0, 0)')"
        "b = b.parentElement;"
        "return [getComputedStyle(e).color, getComputedStyle(b).backgroundColor]; })"
    )
    assert len(pairs) > 30
    for pair in {tuple(pair) for pair in pairs}:
        light, dark = sorted((_luminance(colour) for colour in pair), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, pair


def _luminance(colour):
    parts = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_what_a_screen_reader_says_of_controls(browser, folder):
    opened(browser, folder)
    said = "(id, name) => byId(id).getAttribute(`aria-${name}`)"
    bounds = (
        f"['fruit', 'basket'].map((id) => ['valuemin', 'valuemax'].map((n) => ({said})(id, n)))"
    )
    assert browser.evaluate(bounds) == [["0", "9"], ["1", "8"]]
    assert browser.evaluate(f"({said})('speed', 'valuetext')") == "4 steps a second"
    figures = [
        node["name"]["value"]
        for node in browser.send("Accessibility.getFullAXTree")["nodes"]
        if not node["ignored"] and node["role"]["value"] == "figure"
    ]
    assert figures == ["learned: max Q", "exact: max Q*", "error"]


def ticks(browser):
    """What stands below the learning curve."""
    return browser.evaluate(
        "[...document.querySelectorAll('#curve .tick')].slice(3).map((e) => e.textContent)"
    )


def test_a_run_of_one_epoch(browser, folder, tmp_path):
    opened(browser, folder)
    assert ticks(browser) == ["0", "250", "epoch", "500"]
    trained(*SMALL, "--grid-size", 5, "--epochs", 1, "--out", tmp_path)
    assert made(tmp_path) == 0
    opened(browser, tmp_path)
    assert ticks(browser) == ["0", "epoch", "1"]
    assert text(browser, "#moment-name") == "epoch 1, not trained yet"
    assert " 1 epoch, " in text(browser, "#about")
    assert text(browser, "h1") == "A network that plays"


def test_great_numbers_are_short(browser, folder):
    opened(browser, folder)
    assert browser.evaluate("[signed(-0.5), signed(-3.4e38)]") == [
        "\N{MINUS SIGN}0.50", "\N{MINUS SIGN}3.40e+38"
    ]  # fmt: skip


def test_moments_are_spread():
    assert page._spread(list(range(13)), 7) == [0, 2, 4, 6, 8, 10, 12]


# What it never does


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_stays_a_name(browser, small, tmp_path, name):
    folder = tmp_path / name
    shutil.copytree(small, folder)
    assert made(folder) == 0
    opened(browser, folder)
    assert text(browser, "#run-name") == name
    assert browser.evaluate("typeof pwned") == "undefined"
    counts = browser.evaluate(
        "[document.scripts.length, document.images.length, document.querySelectorAll('b').length]"
    )
    assert counts == [2, 0, 0]
    assert text(browser, "h1") == "A network that learned to catch fruit"


@pytest.mark.parametrize("name", ["</script><script>pwned = 1</script>", "<!--<script>", "a" * 255])
def test_no_text_is_markup(browser, small, tmp_path, name):
    """Nor if it could not be the name of a folder."""
    run = page.describe(small) | {"name": name}
    (tmp_path / runs.PAGE).write_text(page.assemble(run), encoding="utf-8")
    opened(browser, tmp_path, width=390, height=844)
    assert text(browser, "#run-name") == name
    assert browser.evaluate("[typeof pwned, document.scripts.length]") == ["undefined", 2]
    assert browser.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_a_name_that_is_no_text(browser, small, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff<b>"))
    try:
        shutil.copytree(small, folder)
    except OSError:
        pytest.skip("no such names on this disk")
    assert made(folder, "--out", tmp_path / "page.html") == 0
    browser.open(tmp_path / "page.html", prefers_reduced_motion="reduce")
    assert text(browser, "#run-name").endswith("<b>")


EVIL = "</script><script>pwned = 1</script>"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (runs.CONFIG, '"gamma": 0.8', f'"gamma": "{EVIL}"'),
        (runs.CONFIG, '"gamma": 0.8', f'"gamma": 0.8, "{EVIL}": 1'),
        (runs.CONFIG, '"grid_size": 5', '"grid_size": 5e400'),
        (runs.METRICS, "\n1,", f"\n{EVIL},"),
        (runs.METRICS, "\n1,", "\n=1+1,"),
    ],
)
def test_settings_and_metrics_that_no_run_has(small, tmp_path, capsys, file, old, new):
    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    assert made(folder) == 2
    errors = capsys.readouterr().err
    assert re.fullmatch(r"python -m minidqn.page: error: .*\n", errors)
    assert not (folder / runs.PAGE).exists()


def test_what_versions_say_is_not_on_the_page(small, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    config = json.loads((folder / runs.CONFIG).read_text())
    config["versions"]["python"] = EVIL
    (folder / runs.CONFIG).write_text(json.dumps(config))
    assert made(folder) == 0
    assert "pwned" not in (folder / runs.PAGE).read_text()


def test_nothing_is_let_out_or_in(chromium, folder):
    """Its policy blocks requests, other scripts and styles, even from within."""
    opened(chromium, folder)
    assert requests(chromium) == [(folder / runs.PAGE).resolve().as_uri()]
    blocked = chromium.evaluate(
        "new Promise((done) => { const seen = [];"
        "document.addEventListener('securitypolicyviolation', (event) => {"
        "  seen.push(event.effectiveDirective); if (seen.length === 5) done(seen.sort()); });"
        "fetch('http://127.0.0.1:9/').catch(() => {});"
        "const add = (name, more) => document.body.append("
        "  Object.assign(document.createElement(name), more));"
        "add('img', {src: 'http://127.0.0.1:9/x.png'});"
        "add('script', {textContent: 'pwned = 1'});"
        "add('style', {textContent: 'body { display: none }'});"
        "add('iframe', {src: 'http://127.0.0.1:9/'}); })"
    )
    expected = ["connect-src", "frame-src", "img-src", "script-src-elem", "style-src-elem"]
    assert blocked == expected
    assert chromium.evaluate("typeof pwned") == "undefined"
    assert len(requests(chromium)) == 1 or all(
        "127.0.0.1" not in url for url in _answered(chromium)
    )


def _answered(browser):
    received = [e for e in browser.events if e.get("method") == "Network.responseReceived"]
    return [event["params"]["response"]["url"] for event in received]


def test_it_names_no_other_place(folder):
    """No address, no import, no font, and no way to make code of text."""
    html = (folder / runs.PAGE).read_text()
    for word in ("https:", "@import", "@font-face", "innerHTML", "eval(", "Function("):
        assert word not in html, word
    assert re.findall(r"http:[^\"]*", html) == ["http://www.w3.org/2000/svg"]


# The file


def test_size_and_bytes(folder, tmp_path, capsys):
    path = tmp_path / "again.html"
    assert made(folder, "--out", path) == 0
    written = (folder / runs.PAGE).read_bytes()
    assert path.read_bytes() == written
    assert len(written) < 1_000_000
    assert capsys.readouterr().out == (
        f"{path}: {len(written):,} bytes, 8 moments; any browser opens it\n"
    )


def test_an_overwritten_run_has_a_page_of_its_own(browser, folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    trained(*SMALL, "--grid-size", 5, "--seed", 4, "--overwrite", "--out", run)
    assert not (run / runs.PAGE).exists()
    assert made(run) == 0
    opened(browser, run)
    _, model, _ = load_run(run)
    np.testing.assert_allclose(all_values(browser), q_table(model, 5), rtol=0, atol=1e-5)
    assert browser.evaluate("run.moments.map((moment) => moment.epoch)").count(20) == 1


def test_a_run_without_moments(browser, small, tmp_path):
    """Such as one that is older than they are."""
    run = tmp_path / "run"
    shutil.copytree(small, run)
    shutil.rmtree(run / runs.MOMENTS)
    assert made(run) == 0
    opened(browser, run)
    assert browser.evaluate("[run.moments.length, page.moment]") == [1, 0]


def test_mistakes(small, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(small, run)

    def refusal(*arguments):
        assert made(*arguments) == 2
        return re.fullmatch(r"python -m minidqn.page: error: (.*)\n", capsys.readouterr().err)[1]

    assert refusal(tmp_path / "nowhere") == f"RUN {tmp_path / 'nowhere'}: there is no such folder"
    assert "expected .html" in refusal(run, "--out", run / runs.WEIGHTS)
    assert "cannot be written to" in refusal(run, "--out", tmp_path / "no" / "page.html")
    (tmp_path / "folder.html").mkdir()
    assert "cannot be written to" in refusal(run, "--out", tmp_path / "folder.html")
    (run / runs.MOMENTS / "000000.npz").write_bytes(b"PK")
    assert "000000.npz: File is not a zip file" in refusal(run)
    (run / runs.WEIGHTS).unlink()
    assert "it has not ended yet; python -m minidqn.train --resume" in refusal(run)
    assert not (run / runs.PAGE).exists()


def test_a_run_that_goes_on_has_no_page_yet(small, tmp_path, capsys):
    """Its weights are of another epoch than its metrics."""
    run = tmp_path / "run"
    shutil.copytree(small, run)
    config = json.loads((run / runs.CONFIG).read_text())
    config["settings"]["epochs"] = 30
    (run / runs.CONFIG).write_text(json.dumps(config))
    assert made(run) == 2
    errors = capsys.readouterr().err
    assert "20 of 30 epochs are done; it has not ended yet; python -m minidqn.train" in errors
    assert shlex.quote(str(run)) in errors


def without_data(html):
    """A page but for what comes from its run."""
    html, found = re.subn(
        r'(<script type="application/json" id="run">).*(?=</script>\n)', r"\1", html
    )
    assert found == 1
    return html


def test_the_example_is_what_the_command_makes(browser):
    """Its markup, style and script are those of now; its weights are a run's."""
    example = ROOT / "docs/page.html"
    assert without_data(example.read_text(encoding="utf-8")) == without_data(page.assemble({}))
    assert example.stat().st_size < 1_000_000
    browser.open(example, prefers_reduced_motion="reduce")
    assert browser.evaluate("[run.name, run.moments.length, run.epochs]") == ["fruit", 8, 500]
    assert browser.evaluate("run.moments.at(-1).wins") >= 76
