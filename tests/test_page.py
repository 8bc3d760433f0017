"""The page of a run, in a real browser: what it computes, shows, and never does."""

import base64
import json
import os
import re
import shlex
import shutil
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from numpy.testing import assert_allclose, assert_array_equal

from minidqn import command, games, moments, page, runs
from minidqn.evaluate import q_error, q_table, recorded_games, wins
from minidqn.exact import q_star
from minidqn.fruit import draw, episode
from minidqn.games import Game
from minidqn.pictures import cell_colours
from minidqn.qlearning import greedy, learn
from minidqn.recipe import q_network
from minidqn.replay import Batch
from minidqn.runs import load_run
from minidqn.train import play_test_games
from tests.browser import Browser, find

ROOT = Path(__file__).parent.parent
SMALL = ["--batch-size", "8", "--epochs", "20", "--no-images"]
EVIL = "</script><script>pwned = 1</script>"


def done(module, *arguments):
    """Run a module's command in this process; it must succeed."""
    assert module.main([str(argument) for argument in arguments]) == 0


@pytest.fixture
def refusal(capsys):
    """The line in which the page command refuses its arguments."""

    def refused(*arguments):
        with pytest.raises(SystemExit, match=r"^2$"):
            page.main([str(argument) for argument in arguments])
        return re.fullmatch(r"python -m minidqn.page: error: (.*)\n", capsys.readouterr().err)[1]

    return refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A default run, with its page."""
    folder = tmp_path_factory.mktemp("runs") / "fruit"
    done(command, "--no-images", "--out", folder)
    done(page, folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    """The network of the default run; tests leave its weights alone."""
    return load_run(folder)[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run on a grid of 5 x 5, without a page; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    done(command, *SMALL, "--grid-size", 5, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def learner(small, tmp_path_factory):
    """The small run with its page, whose network learns fast."""
    folder = shutil.copytree(small, tmp_path_factory.mktemp("runs") / "learner")
    done(page, folder)
    return folder


@pytest.fixture(scope="module")
def snake(tmp_path_factory):
    """A small run of Snake, with its page."""
    folder = tmp_path_factory.mktemp("runs") / "snake"
    done(command, *SMALL, "--game", "snake", "--grid-size", 6, "--out", folder)
    done(page, folder)
    return folder


@pytest.fixture
def run(small, tmp_path):
    """A copy of the small run, to be changed."""
    return shutil.copytree(small, tmp_path / "run")


@pytest.fixture(scope="module")
def chromium():
    path = find()
    if path is None and os.environ.get("CI_BROWSER") != "1":
        pytest.skip("no chromium, chrome or edge is installed, or none that can be driven here")
    browser = Browser(path)
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium):
    """The browser; its test fails if the page complains, or asks for more than itself."""
    yield chromium
    chromium.evaluate("0")  # all events before this answer have been received
    kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    assert [event for event in chromium.events if event.get("method") in kinds] == []
    assert {url[:5] for url in requests(chromium)} <= {"file:", "blob:"}  # a Worker is a blob


@pytest.fixture
def view(browser, folder):
    """The browser, with the page of the default run in it."""
    opened(browser, folder)
    return browser


def requests(browser):
    sent = [e["params"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    return [each["request"]["url"] for each in sent if each["request"]["url"] != "data:,"]


def opened(browser, folder, **how):
    """Open the page of a run; it does not play by itself."""
    browser.open(folder / runs.PAGE, **({"prefers_reduced_motion": "reduce"} | how))
    until(browser, "document.body.dataset.ready === ''")


def until(browser, condition, patience=60):
    """Wait until something is true in the page."""
    end = time.monotonic() + patience
    while not browser.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.02)


def start(browser, fruit, basket, duel=False):
    browser.evaluate(f"newGame([{fruit}, {basket}], {json.dumps(duel)}), 0")


def steps(browser, count):
    for _ in range(count):
        browser.click("#step")


def press(browser, name, *keys):
    """Press keys on an element."""
    browser.evaluate(f"byId('{name}').focus()")
    for key in keys:
        browser.key(key)


def game(browser):
    """Row and column of the fruit, and the basket, as the pieces lie on the board."""
    at, lies = browser.evaluate(
        "(() => { const at = (id) => byId(id).transform.baseVal[0].matrix; return ["
        "[page.game.row, page.game.fruit, page.game.basket],"
        "[at('fruit').f / CELL, at('fruit').e / CELL, at('basket').e / CELL + 1]]; })()"
    )
    assert at == lies
    return at


def all_values(browser):
    """The page's Q-values of all states in which a game goes on."""
    rows = "Array.from({length: G - 2}, (_, row) => qTable(page.engine, G, row))"
    return np.array(browser.evaluate(rows))


def require_bars(browser, learned, grid_size=10):
    """The numbers, the bars and the mark are those of the state on the board: Q beside Q*."""
    row, fruit, basket = game(browser)
    pairs = np.stack([learned, q_star(grid_size)], -1)[row, fruit, basket - 1]
    rows = browser.evaluate(
        "[...document.querySelectorAll('#bars tbody tr')].map((row) => [row.className,"
        "...[...row.querySelectorAll('.mark, .unseen, .number')].map((e) => e.textContent),"
        "...[...row.querySelectorAll('.bar')].flatMap((b) => [b.style.left, b.style.width])])"
    )
    for place, ((*marks, q, exact), bars) in enumerate((row[:5], row[5:]) for row in rows):
        chosen = place == pairs[:, 0].argmax()
        assert marks == (["chosen", "\u25b6", "chosen: "] if chosen else ["", "", ""])
        words = "Q {:.2f} Q* {:.2f}".format(*pairs[place]).replace("-0.00", "0.00")
        assert f"{q} {exact}" == words.replace("-", "\N{MINUS SIGN}")
        for value, left, width in zip(pairs[place].clip(-1, 1), bars[::2], bars[1::2], strict=True):
            assert float(width.removesuffix("%")) == pytest.approx(50 * abs(value), abs=0.01)
            assert float(left.removesuffix("%")) == pytest.approx(50 + 50 * min(value, 0), abs=0.01)


def text(browser, selector):
    return browser.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")


def attribute(browser, name, attribute):
    return browser.evaluate(f"byId('{name}').getAttribute('{attribute}')")


def cell(browser, row, column):
    """Where the middle of a cell of the board is on the window."""
    return browser.evaluate(
        "(() => { const b = byId('board').querySelector('.ground').getBoundingClientRect();"
        f"return [b.x + b.width * ({column} + 0.5) / G, b.y + b.height * ({row} + 0.5) / G]; }})()"
    )


# What it computes


@pytest.mark.parametrize(
    ("grid_size", "flags"),
    [(10, None), (5, ["--filters", 4, 5, 6, "--kernel-size", 2]), (5, ["--filters"]), (15, [])],
)
def test_numbers_are_those_of_python(browser, folder, tmp_path, grid_size, flags):
    """Q-values, exact values, the learning curve; it fits into the window, as every grid does."""
    if flags is not None:
        folder = tmp_path
        done(command, *SMALL, "--grid-size", grid_size, *flags, "--out", folder)
        done(page, folder)
    opened(browser, folder)
    settings, model, _ = load_run(folder)
    assert_allclose(all_values(browser), q_table(model, grid_size), rtol=0, atol=1e-5)
    exact = q_star(grid_size, settings.gamma)
    assert_allclose(browser.evaluate("page.exact"), exact, rtol=0, atol=1e-12)
    records = runs.read_metrics(folder, 10**6)
    updates = np.diff([0, *(record.updates for record in records)]).tolist()
    measured = [pair for pair in zip(records, updates, strict=True) if pair[0].wins is not None]
    points = [[r.epoch, r.wins, r.q_error, r.loss / n if n else None] for r, n in measured]
    assert browser.evaluate("run.curve") == points
    lines = "['value', 'error', 'loss'].map((kind) => document.querySelector(`polyline.${kind}`)"
    # Of the untrained network there is no loss.
    counts = [len(points) + 1] * 2 + [sum(point[3] is not None for point in points)]
    assert browser.evaluate(f"{lines}.points.length)") == counts
    assert browser.evaluate("document.documentElement.scrollHeight") == 720
    start(browser, 1, 2)
    steps(browser, grid_size - 2)
    assert text(browser, "#score-alone").endswith("of 1")
    assert browser.evaluate("byId('map-row').options.length") == grid_size - 1


def test_every_moment(view, folder):
    """A slider steps through them: their values, and their marks on the curve."""
    settings, model, _ = load_run(folder)
    kept = moments.saved_epochs(folder, settings.epochs - 1)
    epochs = [kept[round(place)] for place in np.linspace(0, len(kept), page.MOST_MOMENTS)[:-1]]
    saved = {each: moments.dequantized(moments.load(folder, each, model)) for each in epochs}
    saved[500] = {name: array.copy() for name, array in model.named_weights().items()}
    press(view, "moment", "Home")
    for epoch, weights in saved.items():
        model.set_weights(list(weights.values()))
        expected = q_table(model)
        assert_allclose(all_values(view), expected, rtol=0, atol=1e-5)
        require_bars(view, expected)
        facts = text(view, "#moment-facts")
        error = np.abs(expected - q_star()).mean()
        assert float(facts.rsplit(" ", 1)[1]) == pytest.approx(error, abs=6e-4)
        wins = int(re.match(r"Wins (\d+) of 80 starts", facts)[1])
        left, right, top, bottom, x, y = view.evaluate(
            "(() => { const c = byId('curve'), m = c.querySelector('circle.value');"
            "return [2.7 * 14, c.clientWidth - 3.6 * 14, 10, c.clientHeight - 38,"
            "+m.getAttribute('cx'), +m.getAttribute('cy')]; })()"
        )
        assert x == pytest.approx(left + (right - left) * epoch / 500, abs=0.1)
        assert y == pytest.approx(bottom - (bottom - top) * wins / 80, abs=0.1)
        assert f"epoch {epoch}." in attribute(view, "curve", "aria-label")
        view.key("ArrowRight")
    assert text(view, "#moment-name") == "epoch 500, trained"


@pytest.mark.parametrize("place", [(0, 1), (7, 2), (9, 8), (4, 4)])
def test_a_game_is_the_coroutines(view, model, place):
    """Frame by frame, played with the button."""
    start(view, *place)
    ep = episode(10, start=place)
    frame, reward = next(ep)
    while True:
        got = view.evaluate("[Array.from(page.game.S.data), page.game.reward]")
        assert_array_equal(np.reshape(got[0], (1, 10, 10)), frame)
        assert got[1] == reward
        assert_array_equal(draw(10, *game(view)), frame)
        if reward != 0:
            break
        frame, reward = ep.send(int(greedy(model.predict(frame[np.newaxis]))[0]))
        steps(view, 1)
    assert text(view, "#result") == ("Caught." if reward > 0 else "Missed.")
    assert text(view, "#score-alone") == f"{int(reward > 0)} of 1"
    assert text(view, "#bars .learned.number") == "Q \N{EN DASH}"
    steps(view, 1)
    assert game(view)[0] == 0


# What a visitor does


def test_it_plays_by_itself(browser, folder):
    """From the beginning, where motion is welcome; with a clock that the test turns."""
    opened(browser, folder, prefers_reduced_motion="no-preference")
    assert [browser.evaluate("page.playing"), text(browser, "#play")] == [True, "Pause"]
    browser.click("#play")
    assert [browser.evaluate("page.playing"), text(browser, "#play")] == [False, "Play"]
    browser.evaluate(
        "showMaps = () => {}; globalThis.waits = []; globalThis.tick = null;"
        "setTimeout = (f, ms = 0) => { waits.push(ms); tick = f; return 1; };"
        "clearTimeout = () => { tick = null; };"
    )
    start(browser, 2, 6)
    browser.click("#play")
    for row in (1, 2, 3, 4, 5, 6, 7, 8, 0):
        # The end of a game is shown longer.
        assert browser.evaluate("waits.at(-1)") == (750 if row == 0 else 250)
        browser.evaluate("tick()")
        assert game(browser)[0] == row
    press(browser, "speed", *["ArrowRight"] * 6)
    assert browser.evaluate("waits.at(-1)") == 100
    browser.click("#play")
    assert browser.evaluate("tick") is None
    start(browser, 7, 2)
    browser.click("#play")
    browser.drag(cell(browser, 0, 7), cell(browser, 3, 3))
    assert [browser.evaluate("page.playing"), browser.evaluate("tick")] == [False, None]


def test_a_new_game(view):
    """It begins anywhere; the page of a visitor who dislikes motion waits for the button."""
    assert [view.evaluate("page.playing"), text(view, "#play")] == [False, "Play"]
    steps(view, 1)
    view.evaluate("page.chances.random = () => 0.35, 0")
    view.click("#new")
    assert game(view) == [0, 3, 3]


MOVES = {"ArrowLeft": -1, "ArrowDown": 0, "ArrowRight": 1}


@pytest.mark.parametrize("by", ["keys", "buttons"])
def test_a_person_against_the_network(view, by):
    """Both scores count: two games that both catch, one that the person misses."""

    def move(key):
        view.key(key) if by == "keys" else view.click(f".move[data-action='{MOVES[key]}']")

    view.evaluate("page.chances.random = () => 0.75, 0")  # the fruit in column 7, basket 7
    for keys in (["ArrowDown"] * 8, ["ArrowLeft"] * 8, ["ArrowRight"] + ["ArrowDown"] * 7):
        move("ArrowRight")  # begins the game, so that the fall is seen before the first move
        assert [*game(view), view.evaluate("page.person.basket")] == [0, 7, 7, 7]
        mine = episode(10, start=(7, 7))
        next(mine)
        for row, key in enumerate(keys, 1):
            frame, reward = mine.send(MOVES[key])
            move(key)
            got = view.evaluate("Array.from(page.person.S.data)")
            assert_array_equal(np.reshape(got, (1, 10, 10)), frame)
            assert game(view)[:2] == [row, 7]
        words = {1: "caught", -1: "missed"}
        assert text(view, "#result") == f"You {words[reward]} it; the network caught it."
    scores = [text(view, f"#score-{name}") for name in ("network", "you", "alone")]
    assert scores == ["3 of 3", "2 of 3", "0 of 0"]
    steps(view, 1)
    assert view.evaluate("page.person") is None  # the network plays alone again


def test_baskets_are_told_apart_without_colour(view):
    assert view.evaluate("getComputedStyle(byId('you')).display") == "none"
    start(view, 3, 3, duel=True)
    assert [text(view, "#basket text"), text(view, "#you text")] == ["network", "you"]
    tops = view.evaluate("['basket', 'you'].map((id) => byId(id).getBoundingClientRect().top)")
    assert tops[1] > tops[0] + 20
    assert "hatch" in view.evaluate("getComputedStyle(document.querySelector('#you rect')).fill")


def test_scores_are_those_of_the_moment(view):
    """What one network did is not counted for another."""
    start(view, 4, 4)
    steps(view, 8)
    assert text(view, "#score-alone") == "1 of 1"
    press(view, "moment", "Home")
    assert text(view, "#score-alone") == "0 of 0"
    start(view, 4, 4)
    steps(view, 1)
    press(view, "moment", "End")
    assert text(view, "#score-alone") == "1 of 1"
    steps(view, 7)
    assert text(view, "#score-alone") == "1 of 1"
    assert "Not counted" in text(view, "#result")


@pytest.mark.parametrize("pointer", ["mouse", "finger"])
def test_dragging(browser, folder, model, pointer):
    """The fruit or the basket goes to any legal cell, and the network is asked at once."""
    opened(browser, folder, touch=pointer == "finger")
    move = browser.drag if pointer == "mouse" else browser.swipe
    expected = q_table(model)
    start(browser, 7, 2)
    for piece, target, becomes in [
        ("fruit", (3, 0), [3, 0, 2]),
        ("fruit", (0, 9), [0, 9, 2]),
        ("fruit", (9, 5), [7, 5, 2]),  # no lower: there the game is over
        ("fruit", (4, 12), [4, 9, 2]),  # not over the edge
        ("basket", (9, 5), [4, 9, 5]),
        ("basket", (9, 0), [4, 9, 1]),
        ("basket", (9, 9), [4, 9, 8]),
    ]:
        row, fruit, basket = game(browser)
        begin = (row, fruit) if piece == "fruit" else (9, basket)
        move(cell(browser, *begin), cell(browser, *target))
        assert game(browser) == becomes
        require_bars(browser, expected)
    steps(browser, 4)
    assert "Not counted" in text(browser, "#result")
    assert text(browser, "#score-alone") == "0 of 0"


def test_pieces_by_key(view):
    start(view, 7, 2)
    for piece, key, becomes in [
        ("fruit", "ArrowDown", [1, 7, 2]), ("fruit", "ArrowDown", [2, 7, 2]),
        ("fruit", "ArrowUp", [1, 7, 2]), ("fruit", "ArrowRight", [1, 8, 2]),
        ("basket", "ArrowRight", [1, 8, 3]), ("basket", "ArrowLeft", [1, 8, 2]),
        ("basket", "Home", [1, 8, 1]), ("basket", "ArrowLeft", [1, 8, 1]),
        ("fruit", "PageDown", [7, 8, 1]), ("fruit", "PageUp", [0, 8, 1]),
        ("fruit", "Home", [0, 0, 1]), ("fruit", "End", [0, 9, 1]),
    ]:  # fmt: skip
        press(view, piece, key)
        assert game(view) == becomes
        row, fruit, basket = becomes
        assert attribute(view, "fruit", "aria-valuetext") == f"row {row}, column {fruit}"
        assert attribute(view, "basket", "aria-valuenow") == str(basket)
    assert view.evaluate("page.person") is None  # none of these was a move


def test_a_visitor_who_leaves_a_duel_is_told(view):
    start(view, 4, 4, duel=True)
    view.key("ArrowLeft")
    row, fruit, network = game(view)  # where it goes depends on its training
    assert text(view, "#result") == f"Row {row}: fruit column {fruit}, you 3, network {network}."
    steps(view, 1)
    assert text(view, "#result") == "You left; this game is not counted."
    steps(view, 6)
    assert game(view)[0] == 8
    assert "Not counted" in text(view, "#result")
    assert text(view, "#score-alone") == "0 of 0"


def test_arrows_begin_a_duel(view):
    """Any that the hint names, but none with another key, which stays the browser's."""
    stolen = view.evaluate(
        "['ctrlKey', 'altKey', 'metaKey'].filter((other) => !document.body.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'ArrowLeft', [other]: true, bubbles: true,"
        "cancelable: true})))"
    )
    assert [stolen, view.evaluate("page.person")] == [[], None]
    view.key("ArrowDown")
    assert view.evaluate("[page.person !== null, scrollY]") == [True, 0]


@pytest.mark.parametrize("clicked", ["#basket", "#conv2d"])
def test_keys_play_after_a_click(view, clicked):
    """Arrows belong to a piece or to a map only if it was reached by Tab."""
    start(view, 4, 4, duel=True)
    view.click(clicked)
    view.key("ArrowLeft")
    assert [game(view)[0], view.evaluate("page.person.basket")] == [1, 3]


# What the network sees

LAYERS = [("conv2d", 8, 3), ("conv2d_1", 6, 5)]
each_layer = pytest.mark.parametrize(("layer", "side", "reach"), LAYERS)


def unit_at(browser, layer, number, i, j):
    """Where the middle of a unit of a feature map is on its canvas."""
    return browser.evaluate(
        f"(() => {{ const m = mosaic('{layer}'), e = m.edge,"
        f"[x, y] = corner('{layer}', {number});"
        f"return [x + ({j} + 0.5) * e, y + ({i} + 0.5) * e]; }})()"
    )


@each_layer
@pytest.mark.parametrize("width", [1280, 390])
def test_pointing_at_units(browser, folder, layer, side, reach, width):
    """The board shows which pixels change the unit; ReLU, which hides changes, is left out."""
    opened(browser, folder, width=width)
    browser.center(f"#{layer}")  # scrolls to it
    last = side - 1
    for number, i, j in [(0, 0, 0), (5, 1, 4), (15, last, last), (8, 0, last), (3, 2, 0)]:
        box = browser.evaluate(f"(({{x, y}}) => [x, y])(byId('{layer}').getBoundingClientRect())")
        browser.mouse("Moved", *np.add(box, unit_at(browser, layer, number, i, j)).tolist())
        assert browser.evaluate("page.unit") == {"layer": layer, "map": number, "i": i, "j": j}
        field, value, pixels = browser.evaluate(
            "(() => { const engine = new Engine(LAYERS.map((layer) => ({...layer, relu: false})),"
            "  run.game.shape);"
            "engine.parameters.set(page.engine.parameters);"
            "const at = (k) => { const data = new Float32Array(100); data[k] = 1;"
            f"  return engine.layerOutputs({{shape: [1, 10, 10], data}}).{layer}.data[place]; }},"
            f"place = ({i} * {side} + {j}) * 16 + {number};"
            "return [['x', 'y', 'width', 'height'].map((k) => pieces.field.getAttribute(k) / CELL),"
            f"page.outputs.{layer}.data[place].toFixed(3),"
            "[...Array(100).keys()].filter((k) => at(k) !== at(-1))]; })()"
        )
        assert field == [j, i, reach, reach]
        rows, columns = range(i, i + reach), range(j, j + reach)
        assert pixels == [10 * row + column for row in rows for column in columns]
        sees = f"It sees rows {i} to {rows[-1]}, columns {j} to {columns[-1]}."
        assert text(browser, "#unit") == f"Map {number}, unit ({i}, {j}): {value}. {sees}"
    browser.mouse("Moved", *browser.center("h1"))
    assert browser.evaluate("[page.unit, pieces.field.style.display]") == [None, "none"]


def test_units_by_key(view):
    press(view, "conv2d")
    assert view.evaluate("page.unit") == {"layer": "conv2d", "map": 0, "i": 0, "j": 0}
    press(view, "conv2d", *["ArrowRight"] * 8, *["ArrowDown"] * 9, "ArrowUp", "ArrowLeft")
    assert view.evaluate("page.unit") == {"layer": "conv2d", "map": 8, "i": 0, "j": 7}
    assert text(view, "#unit-said") == text(view, "#unit")
    assert view.evaluate("page.person") is None
    view.key("Tab")
    assert view.evaluate("page.unit.layer") == "conv2d_1"
    view.key("Tab")
    assert view.evaluate("page.unit") is None


def colour(browser, canvas, x, y):
    """The red, green and blue of a place on a canvas."""
    return browser.evaluate(  # from a copy, since reading from the canvas itself is warned of
        "(() => { const copy = new OffscreenCanvas(1, 1).getContext('2d');"
        f"copy.drawImage(byId('{canvas}'), -{int(x)}, -{int(y)});"
        "return Array.from(copy.getImageData(0, 0, 1, 1).data); })()"
    )[:3]


def cividis(share):
    """The pictures' colour of a number from 0 to 1; it is the brighter the larger the number."""
    return 255 * np.array(colormaps["cividis"](float(share))[:3])


@each_layer
def test_feature_maps_are_what_the_layers_make(view, model, layer, side, reach):
    """Colours on the canvas, before and after a step."""
    for _ in range(3):
        output = model.layer_outputs(draw(10, *game(view))[np.newaxis])[layer][0]
        for number, i, j in [(0, 0, 0), (3, side - 1, 2), (12, 2, side - 1), (9, 3, 3)]:
            got = colour(view, layer, *unit_at(view, layer, number, i, j))
            assert_allclose(got, cividis(output[i, j, number] / output.max()), atol=9)
        assert text(view, f"#{layer}-range") == f"dark: 0, bright: {output.max():.2f}"
        steps(view, 1)


def test_filters_are_coloured_by_their_weights(view, model):
    """Sixteen tiles side by side; white is 0, red below and blue above, as in filters.png."""
    for name, map_ in (("RDBU", "RdBu"), ("CIVIDIS", "cividis")):
        places = np.array(view.evaluate(name))
        shares = np.linspace(0, 1, len(places))
        assert_allclose(places, 255 * colormaps[map_](shares)[:, :3], atol=1)
    kernel, most = model.get_weights()[0], np.abs(model.get_weights()[0]).max()
    width = view.evaluate("byId('filters').clientWidth")
    edge = (width - 6 * 15) / 16 / 3
    for number, u, v in [(0, 0, 0), (3, 2, 1), (8, 1, 1), (15, 2, 2)]:
        x, y = number * (3 * edge + 6) + (v + 0.5) * edge, (u + 0.5) * edge
        share = 0.5 + 0.5 * kernel[u, v, 0, number] / most
        expected = 255 * np.array(colormaps["RdBu"](float(share))[:3])
        assert_allclose(colour(view, "filters", x, y), expected, atol=15)


def test_maps_of_values(view, model):
    """Learned, exact, error: of the game's row, and of a row that the visitor chooses.

    A small frame lies on the cell of the game's fruit and basket.
    """
    learned, exact = q_table(model).max(axis=-1), q_star().max(axis=-1)
    values_of_row = "[rowOfMaps(), learnedValues(rowOfMaps())]"
    edge = (view.evaluate("byId('map-exact').clientWidth") - 38) / 10
    view.evaluate("place(3, 0, 6), 0")
    x, y = 36 + 3 * edge, 2 + (8 - 6) * edge
    places = [(x + edge / 2, y + edge / 2), (x + 2, y + 2), (x + 2, y + edge + 4)]
    inside, frame, below = np.array([colour(view, "map-exact", *place) for place in places])
    assert np.abs(frame - inside).max() > 20  # the frame's own colour
    assert np.abs(below - inside).max() < 5  # and none of it a cell further down
    for row, key in ((0, "Home"), (0, "ArrowDown"), (1, "ArrowDown")):
        press(view, "map-row", key)
        shown, values = view.evaluate(values_of_row)
        assert shown == row
        assert_allclose(values, learned[row], rtol=0, atol=1e-5)
        for name, shares in {
            "map-learned": (learned[row] + 1) / 2,
            "map-exact": (exact[row] + 1) / 2,
            "map-error": abs(learned[row] - exact[row]),
        }.items():
            for fruit, basket in [(0, 1), (9, 8), (3, 6), (7, 2)]:
                got = colour(view, name, 36 + (fruit + 0.5) * edge, 2 + (8.5 - basket) * edge)
                assert_allclose(got, cividis(shares[fruit, basket - 1]), atol=9)
            assert f"fruit in row {row}: from " in attribute(view, name, "aria-label")
    press(view, "moment", "Home")  # the maps follow to another moment
    row, values = view.evaluate(values_of_row)
    assert_array_equal(values, all_values(view)[1].max(axis=-1))
    assert np.abs(values - learned[1]).max() > 0.1


# For everybody

CONTROLS = ["what", "fruit", "basket", "play", "step", "new", "speed", "left", "stay", "right"]
CONTROLS += ["moment", "scratch", "go", "once", "epsilon", "gamma", "seed", "rate", "batch"]
CONTROLS += ["conv2d", "conv2d_1", "map-row"]


def test_by_keyboard_alone(view):
    """Tab visits all controls in the order of the page, and it is seen which one has the keys."""
    visited = []
    for _ in CONTROLS:
        view.key("Tab")
        name, outline, stroke = view.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            "const r = e.querySelector('rect');"
            "return [e.id || e.textContent.split(' ')[1], s.outlineStyle + s.outlineWidth,"
            "r ? getComputedStyle(r).strokeWidth : '']; })()"
        )
        visited.append(name)
        assert outline == "solid3px" or float(stroke.removesuffix("px")) > 1
    assert visited == CONTROLS
    press(view, "play", " ")
    assert view.evaluate("page.playing")
    press(view, "step", "Enter")
    assert not view.evaluate("page.playing")


def test_everything_has_a_name(view):
    """What a screen reader finds: roles and names, and what it says of controls."""
    found = {}
    for node in view.send("Accessibility.getFullAXTree")["nodes"]:
        if not node["ignored"]:
            name = node.get("name", {}).get("value", "")
            found.setdefault(node["role"]["value"].replace("img", "image"), []).append(name)
    counts = {"button": 10, "slider": 9, "application": 2, "combobox": 1, "image": 5}
    assert {role: len(found[role]) for role in counts} == counts
    for role in (*counts, "region", "table"):
        assert all(found[role]), (role, found[role])
    assert found["heading"][0] == "A network that learns a game"
    assert found["figure"] == ["learned: max Q", "exact: max Q*", "error"]
    assert view.evaluate("document.documentElement.lang") == "en"
    for name, least, most in (("fruit", "0", "9"), ("basket", "1", "8")):
        assert attribute(view, name, "aria-valuemin") == least
        assert attribute(view, name, "aria-valuemax") == most
    assert attribute(view, "speed", "aria-valuetext") == "4 steps a second"


def ratios(pairs):
    """How much brighter one of two CSS colours is than the other, as WCAG 2.2 measures it."""
    parts = np.array([[re.findall(r"\d+", each)[:3] for each in pair] for pair in pairs], int) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    dark, light = np.sort(linear @ [0.2126, 0.7152, 0.0722], axis=1).T
    return (light + 0.05) / (dark + 0.05)


SIZES = [(1920, 1080), (1280, 720), (1280, 600), (1024, 768), (390, 844), (320, 600)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["fruit", "snake"])
def test_it_can_be_read(browser, folder, snake, name, size, scheme):
    """No scrolling sideways; none at all on a projector; large letters, and contrast.

    Every text has at least 4.5 to 1 against what is behind it (WCAG 2.2, AA).
    """
    width, height = size
    folder = {"fruit": folder, "snake": snake}[name]
    opened(browser, folder, width=width, height=height, prefers_color_scheme=scheme)
    if scheme == "dark":  # there are other words when it has learned, and when a person plays
        reported(browser, lambda: browser.evaluate("byId('once').click()"))
        until(browser, "page.live.updates === 1")
        browser.evaluate("personMoves(ACTIONS[0]), 0")
    elif name == "fruit":
        start(browser, 7, 2)
    bars = browser.evaluate("byId('bars').getBoundingClientRect().bottom + scrollY")
    assert bars <= height or size == (320, 600)
    wide, high, texts = browser.evaluate(
        "(({scrollWidth, scrollHeight}) => [scrollWidth, scrollHeight,"
        "[...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && "
        "[...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())).map((e) => {"
        "let s = getComputedStyle(e), size = parseFloat(s.fontSize), b = e;"
        "const board = e.closest('#board');"
        "if (board) size *= board.getBoundingClientRect().width / board.viewBox.baseVal.width;"
        "while (getComputedStyle(b).backgroundColor === 'rgba(0, 0, 0, 0)') b = b.parentElement;"
        "return [size, e.closest('svg') ? null : [s.color, getComputedStyle(b).backgroundColor]];"
        "})])(document.documentElement)"
    )
    assert wide <= width
    assert high <= height or width < 1280
    assert min(size for size, _ in texts) >= (14 if width >= 390 and height > 600 else 11.5)
    pairs = [pair for _, pair in texts if pair]
    assert len(pairs) > 30
    contrast = ratios(pairs)
    assert contrast.min() >= 4.5, pairs[contrast.argmin()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_that_the_system_forces(browser, folder, scheme):
    """Bars and lines, whose colours mean something, are still there, and are seen (3 to 1)."""
    opened(browser, folder, forced_colors="active", prefers_color_scheme=scheme)
    start(browser, 4, 4)
    ground = browser.evaluate("getComputedStyle(byId('training')).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(0, 0, 0)"}[scheme]
    colours = browser.evaluate(
        "[['.bar.learned', 'backgroundColor'], ['.bar.exact', 'borderTopColor'],"
        "['.swatch.learned', 'backgroundColor'], ['.swatch.error', 'borderTopColor'],"
        "['.swatch.value', 'backgroundColor'], ['.swatch.loss', 'borderTopColor'],"
        "['polyline.value', 'stroke'], ['polyline.error', 'stroke'], ['polyline.loss', 'stroke'],"
        "['#curve .moment.now', 'fill'], ['#curve .tick', 'fill'], ['#curve .moment', 'stroke']]"
        ".map(([selector, kind]) => getComputedStyle(document.querySelector(selector))[kind])"
    )
    contrast = ratios([(each, ground) for each in colours])
    assert contrast.min() >= 3, colours[contrast.argmin()]
    for canvas in ("filters", "conv2d", "map-learned"):  # which are pictures, as they were
        inside = [colour(browser, canvas, x, 8) for x in range(40, 120, 9)]
        assert len({tuple(each) for each in inside}) > 2


@pytest.mark.parametrize(("motion", "takes"), [("reduce", "0s"), ("no-preference", "0.12s, 0.12s")])
def test_motion_is_reduced(browser, folder, motion, takes):
    opened(browser, folder, prefers_reduced_motion=motion)
    bar = "getComputedStyle(document.querySelector('.bar')).transitionDuration"
    assert browser.evaluate(f"[page.playing, {bar}]") == [motion != "reduce", takes]


def test_the_curve_has_a_key(view):
    """Each line and each mark is explained."""
    key = "[...document.querySelectorAll('#curve-key span')].map((e) => e.textContent)"
    words = ["wins", "|Q \u2212 Q*|", "loss (right)"]
    assert view.evaluate(key) == [*words, "kept"]
    kinds = ["swatch value", "swatch error", "swatch loss", "swatch kept"]
    assert (
        view.evaluate("[...byId('curve-key').querySelectorAll('i')].map((e) => e.className)")
        == kinds
    )
    assert view.evaluate("document.querySelectorAll('#curve .moment').length") == 3
    right = "[...document.querySelectorAll('#curve .tick.loss')].map((e) => e.textContent)"
    assert view.evaluate(right) == ["1e\u22124", "1e\u22121"]
    reported(view, lambda: view.click("#once"))
    until(view, "page.live.updates === 1")
    *said, loss = view.evaluate(key)
    assert said == words[:2]
    assert re.fullmatch(r"loss 0\.\d+ \(right\)", loss)
    assert view.evaluate("document.querySelectorAll('#curve .moment').length") == 0


def test_a_run_of_one_epoch(browser, view, tmp_path):
    ticks = "[...document.querySelectorAll('#curve .tick')].slice(5).map((e) => e.textContent)"
    assert view.evaluate(ticks) == ["0", "250", "epoch", "500"]
    done(command, *SMALL, "--grid-size", 5, "--epochs", 1, "--out", tmp_path)
    done(page, tmp_path)
    opened(browser, tmp_path)
    assert browser.evaluate(ticks) == ["0", "epoch", "1"]
    assert text(browser, "#moment-name") == "epoch 1, not trained yet"
    assert " 1 epoch, " in text(browser, "#about")


def test_great_numbers_are_short(view):
    shown = view.evaluate("[-0.5, -3.4e38, -0.001].map((number) => signed(number))")
    assert shown == ["\N{MINUS SIGN}0.50", "\N{MINUS SIGN}3.40e+38", "0.00"]


# How it learns


def played(game, rng, count):
    """Experiences of random play."""
    turn, experiences = None, []
    while len(experiences) < count:
        if turn is None or turn.done:
            ep = game.start(rng)
            turn = next(ep)
        before, action = turn, int(rng.choice(game.actions))
        turn = ep.send(action)
        experiences.append((before.frame, action, turn.reward, turn.frame, turn.terminated))
    return experiences


def noise_game(rng):
    """Frames without background, some rewards, and two ways to end."""
    for step in range(1, 20):
        yield rng.normal(size=(2, 8, 7)), step % 3 - 1, step == 7 and rng.random() < 0.5, step == 12


LEARN = """(({layers, shape, actions, weights, experiences, batches}) => {
  const engine = new Engine(layers, shape);
  const optimizer = new RMSprop({learningRate: 0.0001}, engine.parameters.length);
  for (const [name, {data}] of Object.entries(engine.named())) data.set(weights[name]);
  const plain = (arrays) =>
    Object.entries(arrays).map(([name, {shape, data}]) => [name, shape, Array.from(data)]);
  const frame = (data) => ({shape, data: Float32Array.from(data)});
  const outputs = plain(engine.layerOutputs(frame(experiences[0][0])));
  const memory = experiences.map(([S, [action], [reward], S_prime, [done]]) =>
    [engine.scan(frame(S)), action, reward, engine.scan(frame(S_prime)), done]);
  const q = engine.predict(memory.map(([S]) => S));
  const losses = batches.map((places) =>
    learn(engine, optimizer, places.map((place) => memory[place]), 0.9, actions));
  return {outputs, q, losses, learned: plain(engine.named())};
})"""


@pytest.mark.parametrize(
    ("game", "filters", "side"),
    [
        (games.load("fruit"), (16, 16), 3),
        (games.load("snake"), (16, 16), 3),
        (games.load("snake"), (), 3),
        (Game(noise_game, (5, -1, 2), (2, 8, 7)), (), 3),
        (Game(noise_game, (5, -1, 2), (2, 8, 7)), (6,), 2),
        (Game(noise_game, (5, -1, 2), (2, 8, 7)), (3, 4, 5), 3),
    ],
)
def test_it_learns_as_python_does(view, rng, game, filters, side):
    """Outputs of every layer, and then ten learning steps: losses, and all weights after them.

    Batches have experiences twice; some games have ended in them, some were broken off. Steps are
    short, as RMSprop makes a step of any gradient, even of one that is nothing but rounding.
    """
    model = q_network(rng=rng, game=game, filters=filters, kernel_size=side, learning_rate=0.0001)
    model.set_weights([w + 0.03 * rng.normal(size=w.shape) for w in model.get_weights()])
    experiences, batches = played(game, rng, 60), rng.integers(60, size=(10, 32))
    told = {
        "layers": [
            {"name": each.name, "relu": each.relu, "kernel": each.weight_shapes["kernel"]}
            for each in model.layers
            if each.weight_shapes
        ],
        "shape": game.shape,
        "actions": game.actions,
        "weights": {name: array.ravel().tolist() for name, array in model.named_weights().items()},
        "experiences": [[np.array(x).ravel().tolist() for x in each] for each in experiences],
        "batches": batches.tolist(),
    }
    got = view.evaluate(f"{LEARN}({json.dumps(told)})")
    columns = [np.array(column) for column in zip(*experiences, strict=True)]
    assert_allclose(got["q"], model.predict(columns[0]), rtol=0, atol=1e-5)
    expected = model.layer_outputs(columns[0][:1])
    for name, shape, data in got["outputs"]:
        assert_allclose(np.reshape(data, shape), expected.pop(name)[0], rtol=0, atol=1e-5)
    assert set(expected) == {"flatten"}
    losses = [learn(model, Batch(*(c[b] for c in columns)), 0.9, game.actions) for b in batches]
    assert_allclose(got["losses"], losses, rtol=1e-5)
    for name, shape, data in got["learned"]:
        array = model.named_weights()[name]
        assert_allclose(np.reshape(data, shape), array, rtol=0, atol=1e-5, err_msg=name)


def xoshiro128(words):
    """The published algorithm: https://prng.di.unimi.it/xoshiro128starstar.c"""

    def rotated(x, k):
        return (x << k | x >> 32 - k) & 0xFFFFFFFF

    s = list(words)
    while True:
        yield rotated(s[1] * 5 & 0xFFFFFFFF, 7) * 9 & 0xFFFFFFFF
        shifted = s[1] << 9 & 0xFFFFFFFF
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = rotated(s[3], 11)


def mixed(counter):
    """A step of SplitMix32: the counter through the finalizer of MurmurHash3."""
    z = counter & 0xFFFFFFFF
    z = (z ^ z >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    z = (z ^ z >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return z ^ z >> 16


def test_chances(view):
    """Those of the published generator; batches are drawn without replacement, and evenly."""
    numbers = xoshiro128([1, 2, 3, 4])
    expected = [next(numbers) for _ in range(1000)]
    assert expected[:4] == [11520, 0, 5927040, 70819200]
    begin = "(() => { const random = new Random(7);"
    drawn = begin + "random.words.set([1, 2, 3, 4]);"
    draw_all = "return Array.from({length: 1000}, () => random.%s); })()"
    assert view.evaluate(drawn + draw_all % "next()") == expected
    assert view.evaluate(drawn + draw_all % "integers(80)") == [n * 80 >> 32 for n in expected]
    for seed in (0, 7, 2**32 - 1):
        words = view.evaluate(f"Array.from(new Random({seed}).words)")
        assert words == [mixed(seed + n * 0x9E3779B9) for n in (1, 2, 3, 4)]
    chosen = np.array(view.evaluate(begin + draw_all % "choice(6, 3)"))
    assert (np.diff(np.sort(chosen), axis=1) > 0).all()
    counts = np.unique(np.sort(chosen), axis=0, return_counts=True)[1]
    assert len(counts) == 20  # sets
    assert ((counts - 50) ** 2 / 50).sum() < 44  # of 20 sets; more has a probability of 0.001
    assert sorted(view.evaluate("new Random(0).choice(5, 5)")) == [0, 1, 2, 3, 4]


def weights_of(browser):
    return browser.evaluate("Array.from(page.engine.parameters)")


def learned(browser, seed, epochs):
    """The weights after some epochs from scratch."""
    browser.evaluate(f"settings.seed = {seed}; beginLearning(null, {epochs}), 0")
    until(browser, f"page.live.epoch === {epochs}")
    return weights_of(browser)


@pytest.mark.parametrize("game", ["fruit", "snake"])
def test_a_seed_repeats_a_training(browser, learner, snake, game):
    """In two Workers, and on the page itself, without any: the same numbers to the last bit."""
    opened(browser, {"fruit": learner, "snake": snake}[game])
    first = learned(browser, 3, 30)
    assert learned(browser, 3, 30) == first
    assert learned(browser, 4, 30) != first
    assert browser.evaluate("page.live.updates") > 10
    here = browser.evaluate(
        "(() => { const engine = new Engine(LAYERS, run.game.shape), random = new Random(3);"
        "initialize(engine, random);"
        "for (const { epoch } of training(engine, GAME, G, { ...settings }, random))"
        "  if (epoch === 30) return Array.from(engine.parameters); })()"
    )
    assert here == first


def test_first_weights(view):
    """Glorot's: uniform up to a limit of each layer; biases 0. They win what Python counts."""
    view.evaluate("initialize(page.engine, new Random(0)), 0")
    weights, model = named_weights(view), q_network(10)
    model.set_weights(list(weights.values()))
    measured = view.evaluate("evaluate(page.engine, GAME, G, settings)")
    assert measured == {
        "wins": wins(model).sum(),
        "qError": pytest.approx(q_error(model), abs=1e-6),
    }
    for layer in ("conv2d", "conv2d_1", "dense", "dense_1"):
        kernel = weights[f"{layer}/kernel"]
        *taps, inputs, outputs = kernel.shape
        limit = (6 / (np.prod(taps) * (inputs + outputs))) ** 0.5
        assert 0.95 * limit < np.abs(kernel).max() <= limit
        assert abs(kernel.mean()) < 3 * limit / (3 * kernel.size) ** 0.5
        assert not weights[f"{layer}/bias"].any()


def named_weights(browser):
    named = "Object.entries(page.engine.named()).map(([n, x]) => [n, x.shape, Array.from(x.data)])"
    return {n: np.reshape(data, shape) for n, shape, data in browser.evaluate(named)}


def test_it_learns_to_play(view):
    """The recipe from scratch, by the button; the game and its buttons go on meanwhile."""
    view.click("#scratch")
    until(view, "page.live.updates > 0")
    assert text(view, "#go") == "Pause"
    start(view, 4, 4)
    for row in range(1, 9):
        steps(view, 1)
        assert game(view)[0] == row
    view.click("#play")
    until(view, "page.game.row === 3")
    view.click("#play")
    view.drag(cell(view, *game(view)[:2]), cell(view, 2, 6))
    assert game(view)[:2] == [2, 6]
    assert view.evaluate("page.live.epoch < 400")  # it was learning all the time
    until(view, "page.live.epoch === 500", 600)
    last = view.evaluate("page.live.points.at(-1)")
    assert last["epoch"] == 500
    assert last["wins"] >= 76
    model = q_network(10)
    model.set_weights(list(named_weights(view).values()))
    assert last["wins"] == wins(model).sum()
    facts = f"Wins {last['wins']} of 80 starts; mean |Q \u2212 Q*| {q_error(model):.3f}"
    assert text(view, "#moment-facts") == facts
    assert re.fullmatch(r"Epoch 500, \d+ updates, done", text(view, "#live"))
    losses = view.evaluate("page.live.points.map(({ loss }) => loss)")
    assert losses[0] is None
    assert losses[-1] < losses[2] / 3
    counts = view.evaluate("['value', 'error', 'loss'].map((kind) =>"
                           "document.querySelector(`polyline.${kind}`).points.length)")  # fmt: skip
    assert counts == [51, 51, 49]  # no loss in the first 10 epochs: the memory fills


def reported(browser, then):
    """Do something; the weights and updates of the Worker's next report."""
    browser.evaluate(
        "globalThis.report = null; globalThis.take ??= takeReport;"
        "takeReport = (worker, data) => {"
        "  globalThis.report ??= [Array.from(data.weights), data.updates]; take(worker, data); }, 0"
    )
    then()
    until(browser, "report !== null")
    return browser.evaluate("report")


def test_buttons_of_learning(browser, learner):
    """Go on from what is shown, pause, go on again, one step, back to the recorded training."""
    opened(browser, learner)
    press(browser, "moment", "ArrowLeft")
    shown = "[Array.from(page.engine.parameters), page.exact,"
    shown += "byId('kept').innerText, byId('moment-facts').textContent]"
    before = browser.evaluate(shown)
    assert browser.evaluate("byId('reset').disabled")
    assert reported(browser, lambda: browser.click("#go")) == [before[0], 0]
    until(browser, "page.live.updates > 0")
    assert text(browser, "#go") == "Pause"
    browser.evaluate("setGoal(1e9), 0")  # it learns faster than this test clicks
    browser.click("#go")
    time.sleep(1)  # until the Worker has read it
    assert text(browser, "#go") == "Go on"
    updates = browser.evaluate("page.live.updates")
    assert text(browser, "#live").endswith(f", {updates} updates, paused")
    for count in (1, 2):
        now = weights_of(browser)
        after, more = reported(browser, lambda: browser.click("#once"))
        assert more == updates + count
        assert after != now
    browser.click("#go")
    until(browser, f"page.live.updates > {updates + 10}")
    press(browser, "gamma", "Home")
    browser.click("#once")  # pauses, too
    assert text(browser, "#go") == "Go on"
    browser.click("#reset")
    assert browser.evaluate(shown) == before
    # One step, right away.
    assert reported(browser, lambda: browser.click("#once")) == [before[0], 0]
    until(browser, "page.live.updates === 1")


@pytest.mark.parametrize(
    ("slider", "key", "setting", "shown"),
    [
        ("epsilon", "Home", "epsilon", "0"),
        ("gamma", "Home", "gamma", "0"),
        ("rate", "Home", "learningRate", "0.00001"),
        ("batch", "End", "batchSize", "256"),
    ],
)
def test_sliders_reach_the_worker(browser, learner, slider, key, setting, shown):
    """It learns on as it does in the page itself, with the same settings from the same step on."""
    opened(browser, learner)
    browser.evaluate(
        "globalThis.mine = new Engine(LAYERS, run.game.shape), globalThis.told = { ...settings };"
        "mine.parameters.set(page.engine.parameters);"
        "globalThis.loop = training(mine, GAME, G, told, new Random(told.seed));"
        "globalThis.once = () => { while (loop.next().value.loss === null); }; 0"
    )
    for updates in (12, 24):
        for _ in range(12):
            browser.click("#once")
            browser.evaluate("once(), 0")
        until(browser, f"page.live.updates === {updates}")
        assert weights_of(browser) == browser.evaluate("Array.from(mine.parameters)")
        press(browser, slider, key)
        assert text(browser, f"output[for={slider}]") == shown
        value = browser.evaluate(f"told.{setting} = settings.{setting}")
        assert value == pytest.approx(float(shown))


def test_sliders_that_the_page_itself_obeys(browser, learner):
    """Another gamma is another Q*; another seed counts from the next start on."""
    opened(browser, learner)
    press(browser, "seed", "End")
    press(browser, "gamma", "End")
    start(browser, 1, 2)
    assert_allclose(browser.evaluate("page.exact"), q_star(5, 0.8), rtol=0, atol=1e-12)
    first, _ = reported(browser, lambda: browser.click("#scratch"))
    assert_allclose(browser.evaluate("page.exact"), q_star(5, 0.99), rtol=0, atol=1e-12)
    drawn = "initialize(page.engine, new Random(20)), Array.from(page.engine.parameters)"
    assert browser.evaluate(drawn) == first
    press(browser, "gamma", "Home")
    assert_allclose(browser.evaluate("page.exact"), q_star(5, 0), rtol=0, atol=1e-12)
    shown = text(browser, "#bars tbody tr:last-child .number.exact")
    assert shown == "Q* 0.00"


def test_a_learning_that_fails_says_so(browser, learner):
    """It stops, and everything else goes on."""
    opened(browser, learner)
    browser.evaluate("settings.learningRate = 1e30, 0")
    browser.click("#scratch")
    until(browser, "page.live.finite === false")
    for _ in range(2):
        assert text(browser, "#live").startswith("The loss is no number any more. A smaller")
        assert text(browser, "#go") == "Go on"
        updates = browser.evaluate("page.live.updates")
        browser.click("#new")
        steps(browser, 4)
        assert game(browser)[0] == 0
        for button in ("#go", "#once"):
            assert browser.evaluate(f"document.querySelector('{button}').disabled")
            browser.click(button)
        assert browser.evaluate("page.live.updates") == updates
    assert browser.evaluate("document.documentElement.scrollHeight") == 720
    browser.click("#reset")
    assert not browser.evaluate("byId('go').disabled || byId('once').disabled")
    require_bars(browser, all_values(browser), 5)


# Other games


class Scripted(np.random.Generator):
    """Chances that were drawn before, numbers in [0, 1), used as the page uses its own."""

    def __init__(self, numbers):
        super().__init__(np.random.PCG64())
        self._numbers = iter(numbers)

    def integers(self, n):
        return int(next(self._numbers) * n)

    def permutation(self, cells):
        return np.array([cells.pop(self.integers(len(cells))) for _ in range(2)])


def chased(frame):
    """The action that brings the head closer to the food."""
    (row, column), (to_row, to_column) = np.argwhere(frame[1:])[:, 1:]
    if row != to_row:
        return 0 if row > to_row else 2
    return 1 if column < to_column else 3


SNAKE_KEYS = ["ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft"]


@pytest.mark.parametrize("by", ["network", "keys", "buttons"])
def test_snake_is_the_coroutines(browser, snake, rng, by):
    """Frame by frame with the same chances, played by the network or by a person."""
    opened(browser, snake)
    model, chances, eaten = load_run(snake)[1], rng.random(1000).tolist(), 0
    browser.evaluate(f"(() => {{ const c = {chances}; page.chances.random = () => c.shift(); }})()")
    scripted = Scripted(chances)

    def move(action):
        if by == "keys":
            browser.key(SNAKE_KEYS[action])
        else:
            browser.click("#step" if by == "network" else f".move[data-action='{action}']")

    browser.click("#new") if by == "network" else move(0)  # a first move only begins a game
    for number in range(1, 7):
        ep = games.load("snake", 6).episode(rng=scripted)
        frame, reward, *ends = next(ep)
        total = 0
        while True:
            data, *rest = browser.evaluate(
                "[Array.from(page.game.S.data), page.game.reward, page.game.over, page.q]"
            )
            assert_array_equal(np.reshape(data, frame.shape), frame)
            assert rest[:2] == [reward, any(ends)]
            q_values = model.predict(frame[np.newaxis])
            assert_allclose(rest[2], q_values[0], rtol=0, atol=1e-5)
            total += reward
            if any(ends):
                break
            action = int(q_values.argmax()) if by == "network" else chased(frame)
            move(action)
            frame, reward, *ends = ep.send(action)
            eaten += reward > 0
        assert text(browser, "#result") == f"The end: return {total}.".replace("-", "\u2212")
        score = "alone" if by == "network" else "games"
        assert text(browser, f"#score-{score}") == str(number)
        move(0)  # begins the next game
    assert eaten > 5 or by == "network"


def test_a_browser_that_cannot(view):
    """It has no Workers, or cannot unpack: a sentence says so."""
    view.evaluate("Worker = class { constructor() { throw new Error('no Workers'); } }; 0")
    for button in ("#scratch", "#go", "#once"):
        view.click(button)
        assert text(view, "#otherwise") == "The browser cannot learn here: no Workers"
        assert view.evaluate("page.live") is None
    view.evaluate("delete globalThis.DecompressionStream, begin()")
    assert text(view, "#intro") == "This page needs a browser of 2023 or later."


def test_a_large_grid_does_not_learn_here(browser, tmp_path):
    """Its tests would take longer than its learning; the page says so, and plays."""
    done(command, *SMALL, "--grid-size", 41, "--epochs", 1, "--filters", 2, "--out", tmp_path)
    done(page, tmp_path)
    opened(browser, tmp_path)
    assert "more than 40" in text(browser, "#otherwise")
    assert not browser.evaluate("byId('scratch').checkVisibility()")
    steps(browser, 1)
    assert game(browser)[0] == 1


def test_snake_learns_in_the_page(browser, snake):
    """It has no table of exact values: a mean return says how well it plays."""
    opened(browser, snake)
    hidden = "[...document.querySelectorAll('.fruit')].every((e) => !e.checkVisibility())"
    assert browser.evaluate(f"{hidden} && document.querySelectorAll('.fruit').length > 1")
    shown = browser.evaluate("document.body.innerText")
    assert not re.search(r"Q\*|[Ff]ruit|[Bb]asket|[Cc]aught|Wins", shown)
    drawn = browser.evaluate(
        "(() => { const random = new Random(settings.seed ^ 0x7e57);"
        "return Array.from({length: 5000}, () => random.random()); })()"
    )
    browser.evaluate("initialize(page.engine, new Random(1)), 0")
    model, chances, own = load_run(snake)[1], Scripted(drawn), games.load("snake", 6)
    model.set_weights(list(named_weights(browser).values()))
    returns = [recorded_games(model, [own.start(chances)], own.actions)[0][1] for _ in range(20)]
    assert sum(returns) != 0
    measured = {"meanReturn": sum(returns) / 20}
    assert browser.evaluate("evaluate(page.engine, GAME, G, settings)") == measured
    browser.click("#scratch")
    until(browser, "page.live.points.length > 3")
    browser.click("#go")
    points = browser.evaluate("page.live.points")
    assert [point["epoch"] for point in points[:4]] == [0, 10, 20, 30]
    assert all(-1 <= point["meanReturn"] <= 35 for point in points)
    assert points[3]["loss"] > 0
    assert re.search(r"Mean return \u2212?\d+\.\d\d$", text(browser, "#moment-facts"))
    assert browser.evaluate("document.querySelectorAll('polyline').length") == 2  # value, loss
    assert browser.evaluate("document.querySelectorAll('#bars .bar').length") == 4


def test_a_recorded_game_is_shown(browser, noise):
    """Step by step: what it looks like, what the network expects, what was done and earned."""
    folder, name = noise
    done(page, folder, "--game", name)
    settings, model, game = load_run(folder, games.load(name))
    opened(browser, folder)
    shown = "['learn', 'moves', 'worth'].filter((id) => byId(id).checkVisibility())"
    assert browser.evaluate(shown) == []
    assert "cannot play this game" in text(browser, "#otherwise")
    for number, (frames, total) in enumerate(play_test_games(model, settings, game=game)[:2], 1):
        frames = np.array(frames, np.float32)
        expected = model.predict(frames)
        for at, frame in enumerate(frames):
            data, q, chosen = browser.evaluate(
                "[Array.from(page.game.S.data), page.q,"
                "document.querySelector('#bars .chosen')?.rowIndex ?? null]"
            )
            assert_array_equal(np.reshape(data, game.shape), frame)
            assert_allclose(q, expected[at], rtol=0, atol=1e-5)
            if at == len(frames) - 1:
                break
            assert chosen == 1 + expected[at].argmax()
            if at in (0, 7):
                require_recorded(browser, model, frame)
            steps(browser, 1)
            told = f"Game {number} of 10, step {at + 1}, reward {1 + (at + 1) / 2:.2f}; "
            if at + 2 < len(frames):
                assert text(browser, "#result").startswith(told)
        assert text(browser, "#result") == f"The end: return {total:.2f}."
        assert text(browser, "#score-alone") == str(number)
        steps(browser, 1)
    assert browser.evaluate("page.game.number") == 2
    press(browser, "moment", "Home")  # another network than that which has played these games
    browser.click("#new")
    steps(browser, 39)
    assert text(browser, "#score-alone") == "0"
    ticks = "[...document.querySelectorAll('#curve .tick.end')].map((e) => e.getBBox().x >= 0)"
    assert browser.evaluate(ticks) == [True] * 3


def require_recorded(browser, model, frame):
    """A frame's cells on the board, and its feature maps."""
    cells = np.full((4, 6, 3), cell_colours(np.zeros((1, 1)))[0, 0])
    paths = "[...pieces.cells.children].map((e) => ['d', 'fill'].map((a) => e.getAttribute(a)))"
    for path, fill in browser.evaluate(paths):
        for x, y in re.findall(r"M(\S+) ([^h]+)", path):
            cells[int(float(y) // 10), int(float(x) // 10)] = re.findall(r"\d+", fill)
    assert_array_equal(cells, cell_colours(frame[0]))
    output = model.layer_outputs(frame[np.newaxis])["conv2d"][0]
    for number, i, j in [(0, 0, 0), (1, 1, 3), (0, 1, 2)]:
        got = colour(browser, "conv2d", *unit_at(browser, "conv2d", number, i, j))
        assert_allclose(got, cividis(output[i, j, number] / output.max()), atol=9)


# What it never does


HOSTILE = [EVIL, "</script><script>pwned = 1<!--<script>", "'\"><img src=x onerror=pwned=1>"]
HOSTILE += ["&lt;b&gt; {{script}} {{run}}", "\U0001f34e \u05e9\u05dc\u05d5\u05dd \u202e\u2028 line"]


@pytest.mark.parametrize("name", [*HOSTILE, "a" * 255])
def test_a_name_stays_a_name(browser, small, tmp_path, name):
    """None is markup, nor too wide for a phone."""
    html = page.assemble(page.describe(small) | {"name": name})
    (tmp_path / runs.PAGE).write_text(html, encoding="utf-8")
    opened(browser, tmp_path, width=390, height=844)
    assert text(browser, "#run-name") == name
    assert text(browser, "h1") == "A network that learns a game"
    assert browser.evaluate("[typeof pwned, document.scripts.length]") == ["undefined", 3]
    assert browser.evaluate("document.querySelectorAll('img, b').length") == 0
    assert browser.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_a_name_that_is_no_text(browser, small, tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff'><img src=x onerror=pwned=1>")
    try:
        shutil.copytree(small, folder)
    except OSError:
        pytest.skip("no such names on this disk")
    done(page, folder, "--out", tmp_path / runs.PAGE)
    opened(browser, tmp_path)
    assert text(browser, "#run-name").endswith("'><img src=x onerror=pwned=1>")


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (runs.CONFIG, '"gamma": 0.8', f'"gamma": "{EVIL}"', "gamma"),
        (runs.CONFIG, '"gamma": 0.8', f'"gamma": 0.8, "{EVIL}": 1', "pwned"),
        (runs.CONFIG, '"grid_size": 5', '"grid_size": 5e400', "grid_size"),
        (runs.METRICS, "\n1,", f"\n{EVIL},", "could not convert"),
        (runs.METRICS, "\n1,", "\n=1+1,", "could not convert"),
        # A run that goes on: its weights are of another epoch than its metrics.
        (runs.CONFIG, '"epochs": 20', '"epochs": 30', "20 of 30 epochs are done; it has not ended"),
    ],
)
def test_settings_and_metrics_that_no_run_has(run, refusal, file, old, new, words):
    text = (run / file).read_text()
    assert old in text
    (run / file).write_text(text.replace(old, new, 1))
    assert words in refusal(run)
    assert not (run / runs.PAGE).exists()


def test_what_versions_say_is_not_on_the_page(run):
    text, found = re.subn('("python": ").*(?=")', rf"\1{EVIL}", (run / runs.CONFIG).read_text())
    assert found == 1
    (run / runs.CONFIG).write_text(text)
    done(page, run)
    assert "pwned" not in (run / runs.PAGE).read_text()


def test_nothing_is_let_out_or_in(chromium, folder):
    """Its policy blocks requests, other scripts and styles, even from within."""
    opened(chromium, folder)
    assert requests(chromium) == [(folder / runs.PAGE).resolve().as_uri()]
    blocked = chromium.evaluate(
        "new Promise((done) => { const seen = [];"
        "document.addEventListener('securitypolicyviolation', (event) => {"
        "  seen.push(event.effectiveDirective); if (seen.length === 6) done(seen.sort()); });"
        "fetch('http://127.0.0.1:9/').catch(() => {});"
        "new Worker('data:text/javascript,');"
        "for (const [name, more] of [['img', {src: 'http://127.0.0.1:9/x.png'}],"
        "['iframe', {src: 'http://127.0.0.1:9/'}], ['script', {textContent: 'pwned = 1'}],"
        "['style', {textContent: 'body { display: none }'}]])"
        "document.body.append(Object.assign(document.createElement(name), more)); })"
    )
    kinds = ["connect-src", "frame-src", "img-src", "script-src-elem", "style-src-elem"]
    assert blocked == [*kinds, "worker-src"]
    assert chromium.evaluate("typeof pwned") == "undefined"
    # Nor from the Worker that a page makes of itself.
    script = "addEventListener('securitypolicyviolation', (event) =>"
    script += "  postMessage(event.effectiveDirective));"
    script += "fetch('http://127.0.0.1:9/').catch(() => {});"
    blocked = chromium.evaluate(
        "new Promise((done) => new Worker(URL.createObjectURL(new Blob(["
        f"{json.dumps(script)}]))).onmessage = ({{ data }}) => done(data))"
    )
    assert blocked == "connect-src"


def test_it_names_no_other_place(folder):
    """No address, no import, no font, and no way to make code of text."""
    html = (folder / runs.PAGE).read_text()
    for word in ("https:", "@import", "@font-face", "innerHTML", "eval(", "Function("):
        assert word not in html, word
    assert re.findall(r"http:[^\"]*", html) == ["http://www.w3.org/2000/svg"]


# Its data


def unpacked(text, kind, *shape):
    """The numbers in a text of the page."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind).reshape(shape)


def carried(moment):
    """The weights of a moment on the page."""
    weights = {}
    for name, told in moment["weights"].items():
        array = unpacked(told["data"], np.dtype(told["type"]).newbyteorder("<"), *told["shape"])
        weights[name] = array * unpacked(told["scale"], "<f4", -1) if "scale" in told else array
    return weights


def described(folder, game=None):
    """What the page is told, as JSON has it."""
    return json.loads(json.dumps(page.describe(folder, game), allow_nan=False))


@pytest.mark.parametrize("name", ["fruit", "snake"])
@pytest.mark.parametrize(("filters", "side"), [((), 3), ((4,), 5), ((3, 4, 5), 2)])
def test_any_network_is_described(tmp_path, name, filters, side):
    """With its weights as they are, and what they are worth."""
    sizes = ["--grid-size", 5, "--kernel-size", side, "--units", 8, "--filters", *filters]
    done(command, *SMALL, "--game", name, *sizes, "--out", tmp_path)
    told = described(tmp_path)
    _, model, game = load_run(tmp_path)
    layers = [*("conv2d", "conv2d_1", "conv2d_2")[: len(filters)], "dense", "dense_1"]
    assert told["layers"] == [{"name": each, "relu": each != "dense_1"} for each in layers]
    about = {"name": name, "actions": list(game.actions), "shape": list(game.shape)}
    assert told["game"] == about | {"gridSize": 5}
    about = {"epsilon": 0.8, "gamma": 0.8, "learningRate": 0.001, "batchSize": 8}
    assert told["settings"] == about | {"seed": 0, "capacity": 100_000}
    assert (told["otherwise"], told["epochs"], told["recorded"]) == ("", 20, None)
    first, *_, last = told["moments"]
    assert (first["epoch"], last["epoch"]) == (0, 20)
    weights, record = carried(last), runs.read_metrics(tmp_path, 20)[-1]
    for each, array in model.named_weights().items():
        assert_array_equal(weights[each], array, strict=True)
    measures = record.wins, record.mean_return, record.q_error
    assert (last["wins"], last["meanReturn"], last["qError"]) == measures
    before = runs.read_metrics(tmp_path, 20)[-2]
    loss = record.loss / (record.updates - before.updates)
    assert told["curve"][-1] == [20, measures[name == "snake"], record.q_error, loss]
    assert (told["starts"], told["updates"]) == (record.starts, record.updates)


@pytest.mark.parametrize(("grid_size", "kind"), [(22, "float32"), (30, "int16")])
def test_large_pages_have_a_limit(tmp_path, grid_size, kind):
    """The last weights are exact, or have sixteen bits where they would take too much room."""
    done(command, *SMALL, "--grid-size", grid_size, "--epochs", 4, "--out", tmp_path)
    told = page.describe(tmp_path)
    assert told["moments"][-1]["weights"]["dense/kernel"]["type"] == kind
    assert len(page.assemble(told)) < 3_000_000


@pytest.mark.parametrize(("room", "count"), [(page.MOST_BYTES, 3), (21_000, 2), (1, 1)])
def test_a_moment_is_worth_what_the_page_carries(small, monkeypatch, room, count):
    """Its weights are rounded; of the last one 16 bits are left if there is no more room."""
    monkeypatch.setattr(page, "MOST_BYTES", room)
    told, model = described(small)["moments"], load_run(small)[1]
    assert (len(told), told[0]["epoch"]) == (count, 0 if count > 1 else 20)
    parts = [json.dumps(moment["weights"], separators=(",", ":")) for moment in told]
    assert sum(map(len, parts)) <= room or count == 1
    for name, exact in model.named_weights().items():
        most = np.abs(exact).max(axis=tuple(range(exact.ndim - 1)))
        error = np.abs(carried(told[-1])[name] - exact).max(axis=tuple(range(exact.ndim - 1)))
        assert (error <= most * (1 / 65_534 + 1e-7) * (count < 3)).all()
    for moment in told:
        model.set_weights(list(carried(moment).values()))
        assert moment["wins"] == wins(model, 5).sum()
        assert moment["qError"] == q_error(model, 5)


def test_what_a_run_has_done_otherwise(tmp_path):
    flags = ["--optimizer", "rmsprop rho=0.95", "--loss", "huber", "--target-update-interval", 9,
             "--double", "--n-step", 3, "--train-freq", 2, "--learning-starts", 9,
             "--exploration-final-eps", 0.1, "--exploration-steps", 40,
             "--final-learning-rate", 0.0001]  # fmt: skip
    done(command, *SMALL, "--grid-size", 5, *flags, "--out", tmp_path)
    assert page.describe(tmp_path)["otherwise"] == (
        "rmsprop rho=0.95, huber, double Q-learning, a target network, n-step returns of 3, "
        "a learning step every 2 steps, no learning before step 9, epsilon falling to 0.1, "
        "a learning rate falling to 0.0001"
    )


NOISE = """
import numpy as np
from minidqn.games import Game

def noise(rng):
    for step in range(40):
        action = yield rng.random((2, 4, 6)), 1 + step / 2, False, step == 39

game = Game(noise, [3, -3], (2, 4, 6), picture=lambda frame: frame[0])
"""


@pytest.fixture
def noise(tmp_path):
    """A run of a game in a file, whose frames zlib cannot make smaller; and how it is named."""
    (tmp_path / "noise.py").write_text(NOISE)
    flags = ["--game", f"{tmp_path / 'noise.py'}:game", "--filters", 2, "--epochs", 2]
    done(command, *SMALL, *flags, "--out", tmp_path / "run")
    return tmp_path / "run", flags[1]


def test_another_game_is_recorded(noise, refusal):
    """Its test games, as they are seen, played and drawn; its code runs if you say so."""
    folder, name = noise
    assert f"only runs if you say so: --game {name}" in refusal(folder)
    done(page, folder, "--game", name)
    settings, model, game = load_run(folder, games.load(name))
    told = described(folder, game)
    about = {"name": "noise.py:game", "actions": [3, -3], "shape": [2, 4, 6]}
    assert told["game"] == about | {"gridSize": None}
    assert (told["starts"], told["moments"][-1]["wins"], told["moments"][-1]["qError"]) == (
        None,
    ) * 3
    played = play_test_games(model, settings, game=game)
    for recorded, (frames, total) in zip(told["recorded"], played, strict=True):
        got = unpacked(recorded["frames"], "<f4", -1, 2, 4, 6)
        assert_array_equal(got, np.array(frames, np.float32))
        drawn = [cell_colours(frame[0]) for frame in frames]
        assert_array_equal(unpacked(recorded["pictures"], np.uint8, -1, 4, 6, 3), drawn)
        assert (len(recorded["rewards"]), sum(recorded["rewards"][1:])) == (len(frames), total)
        assert recorded["cut"] is False


@pytest.mark.parametrize(("room", "lengths"), [(5_000, [10]), (40_000, [40, 40, 40]), (1, [1])])
def test_recorded_games_have_limits(noise, monkeypatch, room, lengths):
    """As many as there is room for; of the first one its beginning in any case."""
    folder, name = noise
    monkeypatch.setattr(page, "MOST_RECORDED", room)
    recorded = page.describe(folder, games.load(name))["recorded"]
    assert [len(each["rewards"]) for each in recorded] == lengths
    assert [each["cut"] for each in recorded] == [length < 40 for length in lengths]
    assert len(json.dumps(recorded)) < room or lengths == [1]


def test_a_picture_of_another_size_is_left_out(noise):
    folder, name = noise
    game = games.load(name)
    game.picture = lambda frame: frame.repeat(2, axis=1)
    assert page.describe(folder, game)["recorded"][0]["pictures"] is None


# The file


def test_size_and_bytes(folder, tmp_path, capsys):
    path = tmp_path / "again.html"
    done(page, folder, "--out", path)
    written = (folder / runs.PAGE).read_bytes()
    assert path.read_bytes() == written
    assert len(written) < 600_000
    size = f"{len(written):,} bytes, 3 moments"
    assert capsys.readouterr().out == f"{path}: {size}; any browser opens it\n"


def test_the_course(browser, run, tmp_path, monkeypatch):
    """A page in a clone leads to it; elsewhere, there is nothing to lead to."""
    for clone in (tmp_path, tmp_path / "other"):
        (clone / "docs").mkdir(parents=True)
        (clone / "docs/README.md").touch()
    links = "[...document.links].map((a) => [a.getAttribute('href'), a.textContent])"
    for place, expected in [
        ("docs", [["../docs/README.md", "The course"]]),
        ("other/docs", []),  # of another clone
        ("nowhere", []),
    ]:
        monkeypatch.setattr(page, "COURSE", tmp_path / place / "README.md")
        done(page, run)
        opened(browser, run)
        assert browser.evaluate(links) == expected
        assert "The course" in text(browser, "#which")


def test_an_overwritten_run_loses_its_page(run):
    done(page, run)
    done(command, *SMALL, "--grid-size", 5, "--seed", 4, "--overwrite", "--out", run)
    assert not (run / runs.PAGE).exists()


def test_a_run_without_moments(browser, run, monkeypatch):
    """Such as one that is older than they are; and its weights have 16 bits if they are many."""
    shutil.rmtree(run / runs.MOMENTS)
    monkeypatch.setattr(page, "MOST_BYTES", 1)
    done(page, run)
    opened(browser, run)
    assert browser.evaluate("[run.moments.length, page.moment]") == [1, 0]
    model, (moment,) = load_run(run)[1], described(run)["moments"]
    model.set_weights(list(carried(moment).values()))
    assert_allclose(all_values(browser), q_table(model, 5), rtol=0, atol=1e-5)


def test_mistakes(run, tmp_path, refusal):
    assert refusal(tmp_path / "nowhere") == f"RUN {tmp_path / 'nowhere'}: there is no such folder"
    (tmp_path / "folder.html").mkdir()
    for out, words in [
        (run / runs.WEIGHTS, "expected .html"),
        (tmp_path / "no" / "page.html", "cannot be written to"),
        (tmp_path / "folder.html", "cannot be written to"),
    ]:
        assert words in refusal(run, "--out", out)
    (run / runs.MOMENTS / "000000.npz").write_bytes(b"PK")
    assert "000000.npz: File is not a zip file" in refusal(run)
    (run / runs.WEIGHTS).unlink()
    resume = f"it has not ended yet; python -m minidqn.train --resume {shlex.quote(str(run))}"
    assert resume in refusal(run)
    assert not (run / runs.PAGE).exists()


def without_data(html):
    """A page but for what comes from its run."""
    data = r'(<script type="application/json" id="run">).*(?=</script>\n)'
    html, found = re.subn(data, r"\1", html)
    assert found == 1
    return html


def test_the_example_is_what_the_command_makes(browser):
    """Its markup, style and script are those of now; its weights are a run's."""
    example = ROOT / "docs/page.html"
    assert without_data(example.read_text(encoding="utf-8")) == without_data(page.assemble({}))
    assert example.stat().st_size < 600_000
    browser.open(example, prefers_reduced_motion="reduce")
    assert browser.evaluate("[run.name, run.moments.length, run.epochs]") == ["fruit", 3, 500]
    assert browser.evaluate("run.moments.at(-1).wins") >= 76
