"""The exercises: blanks, solutions, and wrong answers of the kinds that learners give."""

import ast
import dataclasses
import doctest
import inspect
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidqn.evaluate import mean_return, wins
from minidqn.exercises import cliff, fitting, training
from minidqn.exercises.__main__ import main
from minidqn.exercises.course import exercises
from minidqn.exercises.mistakes import MISTAKES
from minidqn.exercises.problems import PROBLEMS
from minidqn.games import load
from minidqn.nn import Conv2D, Dense, Flatten, Layer, RMSprop, Sequential, check_gradients
from minidqn.runs import CHARTS, CONFIG, GIF, IMAGES, METRICS, WEIGHTS, Settings, load_run
from minidqn.storage import atomic_write
from minidqn.train import train

ROOT = Path(__file__).parent.parent
BLANKS = ROOT / "docs" / "exercises"
SOLUTIONS = ROOT / "tests" / "solutions"
NUMBERS = sorted(exercises())

each_exercise = pytest.mark.parametrize("number", NUMBERS)


def run(*arguments):
    """Exit status of the command, run in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code


def read(folder, number):
    return (folder / exercises()[number].file).read_text(encoding="utf-8")


def write(folder, number, source):
    (folder / exercises()[number].file).write_text(source, encoding="utf-8")


@pytest.fixture
def verdict(tmp_path, capsys):
    """What ``check`` says of the source of an answer, and its exit status."""

    def ask(number, source):
        write(tmp_path, number, source)
        status = run("check", number, "--folder", tmp_path)
        said = capsys.readouterr()
        assert re.fullmatch(r"(compiling kernels, once \.\.\. [\d.]+ s\n)?", said.err)
        assert all(len(line) < 80 for line in said.out.splitlines()), said.out
        return said.out, status

    return ask


@pytest.fixture
def wrong(verdict):
    """What is said of a wrong answer, its lines joined as they were before they were wrapped."""

    def ask(number, source):
        said, status = verdict(number, source)
        assert said.startswith(f"{number} {exercises()[number].name}: wrong\n  ")
        assert status == 1
        assert "Traceback" not in said
        assert not given_away(said)
        return flat(said)

    return ask


def answer(number, *changes):
    """The solution with something changed, or a function with another body, or other source."""
    if changes and isinstance(changes[0], str):
        if changes[0].startswith("class"):
            return f"import numpy as np\n\n\n{changes[0]}"
        function, parameters = PROBLEMS[number].function, ", ".join(PROBLEMS[number].cases()[0])
        return f"def {function}({parameters}):\n    {changes[0]}\n"
    source = read(SOLUTIONS, number)
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def flat(text):
    return " ".join(text.split())


ANSWERS = [line.strip() for number in NUMBERS for line in read(SOLUTIONS, number).splitlines()]
ANSWERS = [line for line in ANSWERS if re.search(r"[\w\]] (=|\+=) ", line) and len(line) > 20]
assert len(ANSWERS) > 20


def given_away(text):
    """Lines in a text that a right answer needs."""
    return [line for line in ANSWERS if line in flat(text)]


# Blanks, statements, solutions


@each_exercise
def test_statements(number):
    """Each names its exercise, chapter, minutes and check; README's table has the same."""
    _, file, title, chapter, minutes = exercises()[number]
    statement = ast.get_docstring(ast.parse(read(BLANKS, number)))
    assert statement.startswith(f"Exercise {number}: {title}.\n\n")
    place = re.search(r"^Chapter (\d), .+ \((docs/\1-[a-z\d-]+\.md)\)\.", statement, re.M)[2]
    ending = (ROOT / place).read_text(encoding="utf-8").split("</details>")[1]
    named = rf"Exercises? ([\d, and]+ )?{number}\b[^\[]*\[[^\]]+\]\(exercises/README\.md\)"
    assert re.match(named, flat(ending))
    assert f"About {minutes} minutes.\n" in statement
    check = f"\n\nTo check your answer, in its folder: python -m minidqn.exercises check {number}"
    assert statement.endswith(check)
    link = f"[{chapter}]({place.replace('docs', '..')})"
    row = f"| {number} | [{file}]({file}) | {link} | {minutes} | {title} |"
    assert row in (BLANKS / "README.md").read_text(encoding="utf-8").splitlines()


def test_list(capsys):
    """Twelve exercises, in the order of their numbers."""
    assert list(range(1, 13)) == NUMBERS == list(exercises())
    assert {exercise.chapter[0] for exercise in exercises().values()} == set("1234569")
    assert run("list") == 0
    said = capsys.readouterr().out
    for exercise in exercises().values():
        assert f"{exercise.number}  {exercise.title}\n" in said
        assert f"{exercise.file}, {exercise.minutes} min, chapter {exercise.chapter}\n" in said


def signatures(thing):
    """That of a function, or those of all methods of a class."""
    functions = vars(thing) if inspect.isclass(thing) else {"": thing}
    return {name: inspect.signature(f) for name, f in functions.items() if inspect.isfunction(f)}


@each_exercise
def test_blanks(number, verdict):
    """Each has its solution's signature, an example that the solution obeys, and no more."""
    name = PROBLEMS[number].function
    solved, empty = {"np": np}, {}
    exec(read(SOLUTIONS, number), solved)
    exec(read(BLANKS, number), empty)
    parameters = list(inspect.signature(empty[name]).parameters)
    assert parameters == list(PROBLEMS[number].cases()[0])[: len(parameters)]
    assert signatures(empty[name]) == signatures(solved[name])
    text = empty[name].__doc__
    example = doctest.DocTestParser().get_doctest(text, solved, name, None, 0)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
    body = ast.parse(read(BLANKS, number)).body
    assert [node.name for node in body if hasattr(node, "name")] == [name]
    assert not given_away(text)
    said = verdict(number, read(BLANKS, number))
    assert said == (f"{number} {exercises()[number].name}: not written yet\n", 1)


def test_the_lesson_plan_can_be_typed():
    plan = (ROOT / "docs" / "lesson-plan.md").read_text(encoding="utf-8")
    folder = re.search(r"`python -m minidqn\.exercises start (\w+)`", plan)[1]
    assert f"`python -m minidqn.exercises check 2 --folder {folder}`" in plan
    assert "`..." not in plan


# Recursive, as a learner would write it who does not think of arrays.
RECURSIVE = """import numpy as np
    def value(row, fruit, basket, action):
        after = {after}
        if row == {last}:
            return 1.0 if abs(fruit - after) <= 1 else -1.0
        return gamma * max(value(row + 1, fruit, after, later) for later in (-1, 0, 1))
    q = np.zeros((grid_size - 2, grid_size, grid_size - 2, 3))
    for row, fruit, basket, action in np.ndindex(q.shape):
        q[row, fruit, basket, action] = value(row, fruit, basket + 1, action - 1)
    return q"""


def recursive(after="min(max(basket + action, 1), grid_size - 2)", last="grid_size - 3"):
    return RECURSIVE.format(after=after, last=last)


DATACLASS = "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
DATACLASS += "@dataclass\nclass Size:\n    height: int\n\n\nimport numpy"
NUMBER_TYPES = ("float", "np.float64", "np.array")
SAME_AGAIN = "    kept = buffers.setdefault(y.shape, y)\n    kept[:] = y\n    return kept"
RIGHT = [
    *((number,) for number in NUMBERS),
    (9, recursive()),
    *((5, ["np.mean(errors**2)", f"{kind}(np.mean(errors**2))"]) for kind in NUMBER_TYPES),
    (2, ["import numpy", DATACLASS]),
    # The same array each time, as layers do it.
    (2, ["def convolve(", "buffers = {}\n\n\ndef convolve("], ["    return y", SAME_AGAIN]),
]


@pytest.mark.parametrize(("number", "changes"), [(first, rest) for first, *rest in RIGHT])
def test_right_answers(number, changes, verdict):
    said, status = verdict(number, answer(number, *changes))
    assert re.fullmatch(rf"{number} {exercises()[number].name}: right \(\d+ cases\)\n", said)
    assert status == 0


# Typical wrong answers: an exercise, what of its solution is changed, words of the hint.

POOLED = """class MaxPool2D:
    def __init__(self, size):
        self.size = size
    def forward(self, x):
        self.x = x
        n, h, w, c = x.shape
        s = self.size
        x = x[:, : h // s * s, : w // s * s]
        self.windows = x.reshape(n, h // s, s, w // s, s, c)
        return self.windows.max(axis=(2, 4))
    def backward(self, g):
        w = self.windows
        is_max = w == w.max(axis=(2, 4), keepdims=True)
        n, h, s, v, s, c = w.shape
        dx = np.zeros(self.x.shape)
        dx[:, : h * s, : v * s] = ({share} * g[:, :, None, :, None]).reshape(n, h * s, v * s, c)
        return dx
"""


def pooled(share):
    """Max-pooling without loops, and with a share of the gradient for each pixel."""
    return POOLED.format(share=share)


SUM = "np.sum(x[i : i + kh, j : j + kw] * kernel)"
EMPTY = "        S = np.zeros((3, 5, 6), np.float32)\n"
BEFORE_THE_LOOP = [EMPTY, ""], ["    for step", f"{EMPTY[4:]}    for step"]
SIZES = "height // self.size, width // self.size"
CHOSEN = ["next_q_values[n].argmax", "next_target_values[n].argmax"]
RATED = ["* next_target_values[n,", "* next_q_values[n,"]
TURN = "yield S, reward, done"
DRAW = "rng.choice(len(memory), batch_size, replace=False)"
WRONG = [
    (1, ["basket - 1 : basket + 2", "basket"], "one pixel wide"),
    (1, ["fruit_row, fruit_column] =", "fruit_column, fruit_row] ="], "row and column are swapped"),
    (1, ["basket - 1 : basket + 2", "basket : basket + 3"], "too far right"),
    (1, ["basket - 1 : basket + 2", "max(basket - 2, 0) : basket + 1"], "too far left"),
    (1, ["basket - 1 : basket + 2", "basket - 1 : basket + 1"], "the end of a slice"),
    (1, ["return frame", "return frame[0]"], "axis of the channel"),
    (1, [", np.float32", ""], "frame has dtype float64; expected float32"),
    (2, ["* kernel", "* kernel[::-1, ::-1]"], "turned by 180 degrees: cross-correlation does not"),
    (2, [SUM, "x[i + kh - 1, j + kw - 1] * kernel[-1, -1]"], "only the last product is left"),
    (2, [" - kh + 1", " - kh"], [" - kw + 1", " - kw"], "last row and the last column"),
    (2, ["    y = np", "    x = np.pad(x, [((k - 1) // 2, k // 2) for k in (kh, kw)])\n    y = np"],
     'padding "same"'),
    (2, ["    y = np", "    x = np.pad(x, [(k - 1, k - 1) for k in (kh, kw)])\n    y = np"],
     'padding "full"'),
    (2, [SUM, "sum(x[i - u, j - v] * kernel[u, v] for u, v in np.ndindex(kh, kw))"], "the signs"),
    (3, ["g[n, k] * w[d, k]", "g[n, k] * w[k, d]"], "dx multiplies by w as forward did"),
    (3, ["return dx, dw, db", "return dx, dw.T, db"], "dw is transposed"),
    (3, ["return dx, dw, db", "return dx, dw / len(x), db"], "dw is averaged"),
    (3, ["return dx, dw, db", "return dx, dw, db / len(x)"], "db is averaged"),
    (3, ["return dx, dw, db", "return dx, dw, g.sum(axis=1)"], "summed over the outputs"),
    (3, ["return dx, dw, db", "return dx, dw, g"], "db is not summed"),
    (3, ["return dx, dw, db", "return dx, dw, g.sum()"], "db is one number"),
    (3, ["return dx, dw, db", "return dw, dx, db"], "in another order"),
    (3, ["return dx, dw, db", "return db, dx, dw"], "in another order"),
    *((3, [f"{name} +=", f"{name} ="], "keeps only what came last")
      for name in ("dx[n, d]", "dw[d, k]", "db[k]")),
    (4, ["return dx, dk", "return dkernel, dx\n    return dx, dk"], "in another order"),
    (4, ["g[i, j] * kernel[u, v]", "g[i, j] * kernel[-1 - u, -1 - v]"], "once too often"),
    (4, ["dkernel[u, v] +=", "dkernel[-1 - u, -1 - v] +="], "dkernel is turned"),
    (4, ["dx[i + u, j + v] +=", "dx[i + u, j + v] ="], "dx keeps only what came last"),
    (4, ["dkernel[u, v] +=", "dkernel[u, v] ="], "dkernel keeps only what came last"),
    (4, ["return dx, dkernel", "return dx, dkernel / g.size"], "dkernel is averaged"),
    (4, ["return dx, dk", "return dx[: g.shape[0], : g.shape[1]], dk"], "dx has shape"),
    (5, ["np.mean(errors**2)", "np.sum(errors**2)"], "the mean is missing"),
    (5, ["np.mean(errors**2)", "np.sum(errors**2) / len(errors)"], "a mean over the batch only"),
    (5, ["np.mean(errors**2)", "np.mean(np.sum(errors**2, 0))"], "a mean over the outputs only"),
    (5, ["np.mean(errors**2)", "np.sqrt(np.mean(errors**2))"], "the root"),
    (5, ["np.mean(errors**2)", "np.mean(abs(errors))"], "the square is missing"),
    (5, ["2 * errors", "errors"], "derivative of a square"),
    (5, [" / errors.size", ""], "the gradient is that of the sum"),
    (5, ["2 * errors / errors.size", "errors"], "the gradient is the error itself"),
    (5, ["/ errors.size", "/ len(errors)"], "the gradient is divided by the batch only"),
    (5, ["/ errors.size", "/ errors.shape[1]"], "the gradient is divided by the outputs only"),
    (5, ["2 * errors", "-2 * errors"], "the wrong sign"),
    (6, ["np.sqrt(v) + epsilon", "np.sqrt(v + epsilon)"], "epsilon is inside the root"),
    (6, ["    v = rho * v + (1 - rho) * g**2\n", ""],
     ["    return", "    v = rho * v + (1 - rho) * g**2\n    return"], "divided by the old v"),
    (6, ["* g**2", "* g"], "not squared"),
    (6, ["rho * v + (1 - rho)", "(1 - rho) * v + rho"], "rho and 1 - rho are swapped"),
    (6, ["np.sqrt(v) + epsilon", "v + epsilon"], "the root is missing"),
    (6, ["np.sqrt(v) + epsilon", "np.sqrt(v)"], "epsilon is missing"),
    (6, ["w - learning_rate", "w + learning_rate"], "up the slope"),
    (6, ["    v = rho", "    old = v\n    v = rho"], ["return w, v", "return w, old"], "as it was"),
    (6, ["return w, v", "return v, w"], "in another order"),
    (7, ["next_q_values[n].max()", "next_q_values[n, actions[n] + 1]"], "the best of all is asked"),
    (7, ["rewards[n] if ended else", "rewards[n] +"], "the end of a game is ignored"),
    (7, ["rewards[n] != 0", "rewards[n] > 0"], "a lost game's end is ignored"),
    (7, ["rewards[n] if ended else gamma * best", "gamma * best"], "the rewards are ignored"),
    (7, ["next_q_values[n].max()", "next_q_values[:, n].max()"], "the wrong axis"),
    (7, ["next_q_values[n].max()", "next_q_values.max()"], "over the whole batch"),
    (7, ["q_values.copy()", "0 * q_values"], "not chosen are 0"),
    (7, ["actions[n] + 1", "actions[n]"], "the columns 0, 1, 2"),
    (7, ["gamma * best", "best"], "gamma is forgotten"),
    (7, ["rewards[n] if ended", "gamma * rewards[n] if ended"], "gamma is applied to the reward"),
    (7, ["next_q_values[n].max()", "q_values[n].max()"], "that of S', after the step"),
    (8, ["replace=False", "replace=True"], "drawing with replacement"),
    (8, [DRAW, "range(len(memory) - batch_size, len(memory))"], "the newest ones come every time"),
    (8, [DRAW, "range(batch_size)"], "the same"),
    (8, ["rng.choice(len(", "np.random.default_rng(0).choice(len("], "rng that it is given used?"),
    (8, ["rng.choice(len(", "np.random.choice(len("], "a generator that all programs share"),
    (8, [DRAW, "__import__('random').sample(range(len(memory)), batch_size)"], "the module random"),
    (8, ["rng.choice(len(", "np.random.default_rng().choice(len("], "something else than rng"),
    (8, [DRAW, "rng.choice(max(len(memory) - 1, batch_size), batch_size, replace=False)"],
     "the newest one is never drawn"),
    (8, [DRAW, "len(memory) - 1 - rng.choice(max(len(memory) - 1, batch_size), batch_size, False)"],
     "the oldest one is never drawn"),
    (8, ["np.array(actions)", "np.array(actions)[::-1]"], "actions[0] belongs to another"),
    (8, ["np.stack(next_states)", "np.stack(states)"], "next_states[0] belongs to another"),
    (8, ["np.stack(states), np", "np.concatenate(states), np"], "states has shape"),
    (8, ["np.stack(states), np", "np.stack(next_states), np"], "is the S of no experience"),
    (9, ["gamma * q", "q"], "gamma is forgotten"),
    (9, ["= value", "= gamma * value if row == last else value"], "applied to the reward, too"),
    (9, [".max()", ".min()"], "the worst one"),
    (9, [".max()", ".mean()"], "by the mean"),
    (9, ["abs(fruit - after)", "abs(fruit - basket)"], "it moves first"),
    (9, ["<= 1 else -1", "<= 1 else 0"], "a missed fruit is worth 0"),
    (9, ["abs(fruit - after) <= 1", "fruit == after"], "only the basket's centre"),
    (9, recursive("basket + action"), "the basket leaves the grid"),
    (9, recursive(last="grid_size - 2"), "a row too late"),
    (4, ["return dx, dk", "(a, b), (h, w) = (k // 2 for k in kernel.shape), g.shape\n"
                          "    return dx[a : a + h, b : b + w], dk"], "dx is only as large as g"),
    (8, ["    return np", "    return [memory[p] for p in places]\n    np"], "one kind of thing"),
    (9, recursive("min(basket + action, grid_size - 2)"), "on the left: its centre"),
    (9, ["min(max(basket + action, 1), grid_size - 2)", "min(basket + action, grid_size - 2)"],
     "where the index -1 means the last place"),
    (9, recursive("max(basket + action, 1)"), "on the right"),
    (10, ["= window[u, v]", "= max(0, *window.ravel())"], "y is never below 0"),
    (10, [SIZES, "height - self.size + 1, width - self.size + 1"],
     ["r * self.size, s * self.size", "r, s"], "the windows overlap"),
    (10, [SIZES, "-(-height // self.size), -(-width // self.size)"],
     "is pooled, too"),
    (10, ["return y", "(a, b), k = y.shape[1:3], self.size\n        x = x[:, : a * k, : b * k]\n"
          "        return x.reshape(n, k, a, k, b, channels).max(axis=(1, 3))"], "lie apart"),
    (10, pooled("is_max"), "all pixels that are equal to the largest get g"),
    (10, ["np.argmax(window)", "window.size - 1 - np.argmax(window[::-1, ::-1])"], "the last one"),
    (10, pooled("np.ones(w.shape)"), "all pixels of a window get g"),
    (10, ["= g[output]", "= 1"], "dx is 1 where it should be g"),
    (10, ["return dx", "a, b = np.multiply(g.shape[1:3], self.size)\n        return dx[:, :a, :b]"],
     "dx is smaller than x"),
    (11, ["rewards[n] if ended else", "rewards[n] +"], "the end of a game is ignored"),
    (11, ["rewards[n] != 0", "rewards[n] > 0"], "a lost game's end is ignored"),
    (11, ["rewards[n] if ended else", ""], "the rewards are ignored"),
    (11, ["q_values.copy()", "0 * q_values"], "not chosen are 0"),
    (11, ["actions[n] + 1", "actions[n]"], "the columns 0, 1, 2"),
    (11, ["gamma * next", "next"], "gamma is forgotten"),
    (11, ["= rewards[n] if", "= gamma * rewards[n] if"], "gamma is applied to the reward"),
    (11, CHOSEN, "chooses the next action, too"),
    (11, RATED, "rates the next action, too"),
    (11, CHOSEN,
     RATED, "parts are swapped"),
    (11, ["next_q_values[n].argmax", "q_values[n].argmax"], "the best action is that of S"),
    (12, ["divmod(int(rng.integers(25)), 6)", "4, 0"], "begins in the same cell"),
    (12, ["divmod(int(rng.integers(25)), 6)", "int(rng.integers(4)), int(rng.integers(6))"],
     "a row and a column; it is one number"),
    (12, ["row, col =", "col, row ="], "the start's row and column are swapped"),
    (12, ["action == 0", "action == 5"], ["action == 2", "action == 0"],
     ["action == 5", "action == 2"], "up and down are swapped"),
    (12, ["    if action", "    action = 3 - action\n        if action"], "another row of the"),
    (12, ["max(row - 1, 0)", "(row - 1) % 5"], ["min(row + 1, 4)", "(row + 1) % 5"],
     ["max(col - 1, 0)", "(col - 1) % 6"], ["min(col + 1, 5)", "(col + 1) % 6"],
     "comes in at the other side"),
    (12, ["min(col + 1, 5)", "(col + 1) % 6"], "comes in at the other side"),
    (12, ["min(row + 1, 4)", "(row + 1) % 5"], "comes in at the other side"),
    *((12, [f"max({place} - 1, 0)", f"{place} - 1"], "comes in at the other side")
      for place in ("row", "col")),
    (12, ["max(row - 1, 0)", "row - 1"], ["min(row + 1, 4)", "row + 1"],
     ["max(col - 1, 0)", "col - 1"], ["min(col + 1, 5)", "col + 1"],
     "as an index below 0 does"),
    (12, *BEFORE_THE_LOOP, ["yield S", "yield S.copy()"], "still seen where it was"),
    (12, ["done = 0, False", "done = -0.01, False"], "the first reward is not 0"),
    (12, ["-0.01", "0"], "costs nothing"),
    (12, ["    reward, done = 0", "    earned, reward, done = 0, 0"],
     ["S, reward, done", "S, earned, done\n        earned = reward"], "one turn late"),
    (12, ["1 if col == 5 else -1, True", "1 if col == 5 else -1, col == 5"],
     "done is forgotten on the cliff"),
    (12, ["1 if col == 5 else -1, True", "1 if col == 5 else -1, col < 5"],
     "done is forgotten at the goal"),
    (12, ["step == 30", "step == 31"], ["(1, 32)", "(1, 33)"], "after 30 steps it is over"),
    (12, *BEFORE_THE_LOOP, "an array of its own, made inside the loop"),
    (12, ["rng.integers(25)", "np.random.default_rng().integers(25)"], "something else than rng"),
    (12, ["rng.integers(25)", "np.random.randint(25)"], "methods of its own that draw"),
]  # fmt: skip
# Other things that go wrong, and what is said of them.
NOT_YET = "if x.size > 1:\n        raise NotImplementedError\n    "
MASKED = "return np.ma.array(np.zeros(y.shape), mask=True)"
ODD = "return type('Odd', (float,), {'__rsub__': lambda self, other: 0.0})(1)"
OTHER = [
    (2, "return None", "y is None (is the return missing?); expected an array of shape (1, 1)."),
    (2, "return x.tolist()", "y is a list of 1; expected an array of shape (1, 1)."),
    (2, "return x[0]", "y has shape (1,); expected (1, 1)."),
    (2, "return x.astype(int)", "y has dtype int64; expected float64."),
    (2, "return x * float('nan')", "y holds NaN"),
    (2, "exit(0)", "line 2: SystemExit: 0"),
    (2, "return convolve(x, kernel)", "line 2: RecursionError"),
    (2, "x += 1", "It changed x, which belongs to its caller."),
    (2, "return 3.0", "y is the number 3.0; expected an array of shape (1, 1)."),
    # Only what is not written for the first input is not written yet.
    (2, NOT_YET + "return x + 99", "y is wrong."),
    (2, NOT_YET + "return x * kernel", "line 3: NotImplementedError"),
    (8, ["    places", "    if len(memory) > 1:\n        raise NotImplementedError\n    places"],
     "NotImplementedError"),
    (3, "return", "It returned None (is the return missing?); expected 3 things: dx, dw and db."),
    (3, "return x, w", "It returned a tuple of 2; expected 3 things: dx, dw and db."),
    (5, "return [1, 2]", "loss has dtype int64; expected float64."),
    (5, "return 'a', 1.0", "loss is of type str: a; expected a number."),
    (8, "return 1, 2, 3, 4", "states is the number 1; expected an array of shape (1, 1, 1, 1)."),
    (2, ["def ", "async def "], "y is a coroutine (is there an async before the def?)"),
    (3, ["def ", "async def "], "a coroutine (is there an async before the def?)"),
    (2, ["return y", MASKED], "y is of type MaskedArray, which is more than an array; expected"),
    (5, ["return np.mean(errors**2)", ODD], "loss is of type Odd: 1.0; expected a number."),
    (6, ["    w = w - learning_rate *", "    w -= learning_rate *"], "w after the call = "),
    (7, ["q_values.copy()", "q_values"], "It changed q_values, which belongs to its caller."),
    (8, ["    places", "    memory.reverse()\n    places"], "memory after the call = "),
    (8, ["    places", "    rng.shuffle(memory)\n    places"],
     "methods such as sort or shuffle change the thing itself"),
    (10, ["def forward(", "async def forward("], "y is a coroutine (is there an async before"),
    (10, ["def backward(self, g)", "def backward(self)"], "TypeError: MaxPool2D.backward() takes"),
    (10, ["return dx", "return dx[0]"], "dx has shape"),
    (12, [TURN, "yield S, reward"],
     "It yielded a tuple of 2; expected 3 things: frame, reward and done."),
    (12, [TURN, "yield [S, reward, done]"], "It yielded a list of 3; expected"),
    (12, [TURN, "S, reward, done"], "episode(rng) is None (is the return missing?)"),
    (12, ["def ", "async def "], "is of type async_generator: "),
    (12, ["def ", "async def "], [TURN, "S, reward, done"], "is a coroutine"),
    (12, ["   reward, done = -", "   if col == 4:\n            return\n        reward, done = -"],
     "The coroutine returned after 1 turns; expected one more."),
    (12, ["reward, done = 0, False", "reward, done = 0, 0"], "done is the number 0; expected True"),
    (12, ["reward, done = 0, False", "reward, done = '0', False"], "reward is of type str: 0;"),
    (12, ["np.float32", "np.float64"], "frame has dtype float64; expected float32."),
    (12, ["np.zeros((3, 5, 6)", "np.zeros((5, 6, 3)"], "IndexError"),
    (12, ["episode(rng)", "episode(generator)"], "unexpected keyword argument 'rng'"),
    *((8, ["    return", f"    {change}\n    return"], "It changed memory, which belongs to")
      for change in ("memory.append(5)", "memory[0] = None", "memory.clear()")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "changes", "words"), [(first, more[:-1], more[-1]) for first, *more in WRONG + OTHER]
)
@pytest.mark.filterwarnings("error")
def test_wrong_answers(number, changes, words, wrong):
    said = wrong(number, answer(number, *changes))
    assert words in said
    shown = said.split("The smallest input that shows it:")[1]
    for parameter in list(PROBLEMS[number].cases()[0])[:2]:
        assert f" {parameter} = " in re.sub(" +", " ", shown)


def test_every_hint_is_needed_by_a_wrong_answer():
    for number, mistakes in MISTAKES.items():
        found = [words for first, *_, words in WRONG if first == number]
        for mistake in mistakes:
            assert any(words in mistake.hint for words in found), mistake.hint
            assert not given_away(mistake.hint)


def test_a_wrong_answer_in_full(verdict):
    said, _ = verdict(3, answer(3, ["return dx, dw, db", "return dx, dw.T, db"]))
    assert said == (
        "3 dense_backward: wrong\n"
        "  dw has shape (1, 2); expected (2, 1).\n"
        "  The smallest input that shows it:\n"
        "    x = [[-2.,  1.]]\n"
        "    w = [[4.],\n"
        "         [5.]]\n"
        "    g = [[2.]]\n"
        "\n"
        "    expected dw = [[-4.],\n"
        "                   [ 2.]]\n"
        "    your dw     = [[-4.,  2.]]\n"
        "  Hint: dw is transposed: its first axis should count inputs, as that of w\n"
        "  does.\n"
    )


def test_a_mistake_that_nobody_knows(wrong):
    said = wrong(2, answer(2, ["* kernel)", "* kernel) + 1"]))
    assert "y is wrong." in said
    assert "Hint" not in said


def test_a_hint_is_about_what_is_shown(wrong):
    """Of two mistakes the one in the first result; where that one is unknown, none."""
    said = wrong(3, answer(3, ["return dx, dw, db", "return dx, dw + 1, g"]))
    assert "your dw" in said
    assert "Hint" not in said
    both = ["np.mean(errors**2)", "np.sum(errors**2)"], ["2 * errors", "errors"]
    said = wrong(5, answer(5, *both))
    assert "your gradient" in said
    assert "Hint: the gradient is half as long" in said


def test_a_layer_that_is_right_only_once(wrong):
    """Each case has a layer of its own, so only a network shows it."""
    source = answer(
        10,
        ["self.size = size", "self.size, self.places = size, {}"],
        ["        self.places = {}\n", ""],
        ["self.places[i, r, s, c] = i, top + u, left + v, c",
         "self.places.setdefault((i, r, s, c), (i, top + u, left + v, c))"],
    )  # fmt: skip
    adds_up = answer(
        10,
        [
            "dx = np.zeros(self.shape)",
            "dx = vars(self).setdefault('dx', 0 * g.sum() + np.zeros(self.shape))",
        ],
    )
    for answered in (source, adds_up):
        said = wrong(10, answered)
        assert "In a network, check_gradients finds a mistake in " in said
        assert "Hint: a first forward and backward is right" in said


def test_a_layer_of_ones_own_stands_in_a_network():
    """With the two things more that its statement names."""
    names = {}
    exec(answer(10), names)

    class MaxPool2D(names["MaxPool2D"], Layer):
        def build(self, shape):
            height, width, channels = shape
            self.output_shape = height // self.size, width // self.size, channels

    layers = [Conv2D(2, 2, input_shape=(1, 6, 5)), MaxPool2D(2), Flatten(), Dense(1)]
    rng = np.random.default_rng(0)
    model = Sequential(layers, rng)
    states = rng.random((4, 1, 6, 5))
    assert all(check.ok for check in check_gradients(model, states, rng).values())
    model.compile(RMSprop())
    losses = [model.train_on_batch(states, np.ones((4, 1))) for _ in range(50)]
    assert losses[-1] < losses[0]


def test_the_cases_of_the_cliff():
    """Every cell is begun in, and every action taken there."""
    taken = set()
    for case in PROBLEMS[12].cases():
        frame, _, _ = cliff.play(cliff.cliff, case["rng"], case["actions"][:0])
        taken |= {(int(frame[0].argmax()), *case["actions"][:1].tolist())}
    assert len(taken) == 25 + 25 * 4


def test_the_cliff_can_be_learned(tmp_path):
    """With the lines that its statement names; the best play is the shortest way."""
    statement = ast.get_docstring(ast.parse(read(BLANKS, 12)))
    lines = re.findall(r"^    (from minidqn.*|game = .*)$", statement, re.M)
    assert len(lines) == 2
    write(tmp_path, 12, "\n".join([answer(12), *lines]))
    command = re.search(r"--game (\S+) ", statement)[1]
    game = load(str(tmp_path / command))
    model, _ = train(game, epochs=150)
    assert mean_return(model, game, rng=np.random.default_rng(0)) > 0.9


def test_an_exception(wrong):
    """Where it was raised, in the learner's own lines."""
    said = wrong(3, answer(3, ["    return", "    np.zeros(2) @ g\n    return"]))
    assert "wrong e3_dense_backward.py, line 14: ValueError: matmul: " in said
    assert " np.zeros(2) @ g The smallest input that shows it: " in said


def test_files_that_cannot_be_used(wrong):
    for source, words in [
        ("def convolve(x, kernel)\n    return x\n", "correlation.py, line 1: expected ':'"),
        ("def convolve(x, kernel):\nreturn x\n", "e2_cross_correlation.py, line 2: "),
        ("convolve = 3\n", "e2_cross_correlation.py has no function convolve."),
        ("import nothing_of_this_name\n", "line 1: ModuleNotFoundError: No module named"),
        ("a = 1\nraise SystemExit\n", "line 2: SystemExit"),
        ("raise GeneratorExit(7)\n", "line 1: GeneratorExit: 7"),
        ("\0", "e2_cross_correlation.py"),
    ]:
        said = wrong(2, source)
        assert said.startswith("2 cross_correlation: wrong e2_cross_correlation.py")
        assert words in said
        assert len(said) < 200


STRANGE = [
    "right.tolist()", "right.astype(object)", "right.astype(str)", "right.astype(complex)",
    "right.astype(bool)", "right[..., :0]", "np.array(None)", "'text'", "object()", "10**400",
    "[]", "[[1], [2, 3]]", "{}", "np.nan", "convolve",
    # Things that cannot be shown, or not be copied.
    "Mute()", "np.array([[Mute()]])", "MuteList()", "right.view(MuteArray)",
]  # fmt: skip
MUTE = """
import numpy as np
class Mute(Exception):
    def _any(self, *_):
        raise GeneratorExit
    __str__ = __repr__ = __len__ = __iter__ = _any
class MuteList(list):
    __str__ = __repr__ = __len__ = __iter__ = Mute._any
class MuteArray(np.ndarray):
    def copy(self):
        raise OSError(5, "no copy")
"""


ODD_RESULT = """
def FUNCTION(*arguments):
    results = solution(*arguments)
    results = list(results) if SEVERAL else [results]
    right, convolve = np.atleast_1d(results[RESULT]), np.convolve
    results[RESULT] = THING
    return results if SEVERAL else results[0]
"""
ODD_METHOD = """
class FUNCTION(solution):
    def METHOD(self, x):
        right, convolve = super().METHOD(x), np.convolve
        return THING
"""
ODD_TURN = """
def FUNCTION(rng):
    ep, action = solution(rng), None
    while True:
        turn, convolve = list(ep.send(action)), np.convolve
        right = np.atleast_1d(turn[RESULT])
        turn[RESULT] = THING
        action = yield tuple(turn)
"""


def test_things_that_cannot_be_shown(wrong):
    for number, body, words in [
        (2, "raise Mute", "Mute: (cannot be shown)"),
        (3, "return MuteList()", "GeneratorExit"),
        (8, "memory.append(Mute())", "It changed memory, which belongs to its caller."),
    ]:
        assert words in wrong(number, MUTE + answer(number, body))


@each_exercise
@pytest.mark.parametrize("thing", STRANGE)
def test_strange_results(number, thing, wrong):
    """Each result in turn is something else; none of it surprises the checker."""
    problem = PROBLEMS[number]
    for result, name in enumerate(problem.results):
        several = len(problem.results) > 1
        source = f"{read(SOLUTIONS, number)}{MUTE}solution = {problem.function}\n"
        source += ODD_METHOD if number == 10 else ODD_TURN if number == 12 else ODD_RESULT
        for old, new in {
            "FUNCTION": problem.function, "SEVERAL": several, "RESULT": result, "THING": thing,
            "METHOD": ("forward", "backward")[result % 2],
        }.items():  # fmt: skip
            source = source.replace(old, str(new))
        # Of a batch, what is strange in one array may be seen in another.
        name = "(states|actions|rewards)" if number == 8 else name
        assert re.search(rf"{name}(\[.*\])? (is|has|holds|belongs)", wrong(number, source))


@pytest.mark.parametrize("package", [False, True])
def test_modules_beside_the_file(package, tmp_path, capsys):
    """Each folder has its own, and Python is left as it was."""
    folders, modules = list(sys.path), set(sys.modules)
    source = "from beside import ADDED\n" + answer(2, ["* kernel)", "* kernel) + ADDED"])
    for added in (0, 1):
        beside = tmp_path / str(added) / ("beside/__init__.py" if package else "beside.py")
        beside.parent.mkdir(parents=True)
        beside.write_text(f"ADDED = {added}\n")
        write(tmp_path / str(added), 2, source)
        assert run("check", 2, "--folder", tmp_path / str(added)) == added
    assert sys.path == folders
    assert not {"beside", "_answer"} & (set(sys.modules) - modules)


def test_a_function_that_goes_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for number in (2, 3):
        away = f"import os\nos.chdir({str(tmp_path.parent)!r})\n"
        write(tmp_path / "mine", number, away + answer(number))
    assert run("check", 2, 3, "--folder", "mine") == 0
    assert capsys.readouterr().out.endswith("2 of 2 right\n")


def test_answers_are_read_afresh(verdict):
    """Of two versions of the same second and size, the newer one counts."""
    right, false = answer(2), answer(2, ["* kernel", "+ kernel"])
    assert [verdict(2, source)[1] for source in (right, false, right)] == [0, 1, 0]


def test_prints_of_the_learner_are_shown(verdict):
    said, status = verdict(2, answer(2, ["    kh", "    print(7)\n    kh"]))
    assert said.startswith("7\n")
    assert status == 0


# The command


def test_start_copies_what_is_shipped(tmp_path, capsys):
    folder = tmp_path / "my answers" / "first"
    assert run("start", folder) == 0
    assert f"check 1 --folder '{folder}'" in capsys.readouterr().out
    copied = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert copied == {path.name: path.read_bytes() for path in BLANKS.iterdir() if path.is_file()}
    assert run("check", "all", "--folder", folder) == 1
    assert capsys.readouterr().out.endswith(": not written yet\n0 of 12 right\n")


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("name", ["e1_frame.py", "e12_cliff.py", "README.md"])
def test_start_overwrites_nothing(name, link, tmp_path, capsys):
    """Nor does it follow links that lead nowhere yet."""
    path = tmp_path / name
    path.symlink_to(tmp_path / "elsewhere.py") if link else path.write_text("mine")
    assert run("start", tmp_path) == 2
    assert f"{name} exists, and is not overwritten; nothing was copied\n" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]
    assert link or path.read_text() == "mine"


def test_start_leaves_nothing_half_done(tmp_path, monkeypatch, capsys):
    written = []

    def full_disk(path):
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(path)
        return atomic_write(path)

    monkeypatch.setattr("minidqn.exercises.course.atomic_write", full_disk)
    assert run("start", tmp_path) == 2
    assert "cannot be written to: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_misuse(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "e5_mean_squared_error.py").mkdir()
    for arguments, words in [
        (["check"], "required"),
        (["check", "0"], "'0' is no exercise; expected 1 to 12, or all"),
        (["check", "3", "--folder", ""], "is empty"),
        (["check", "3"], "there is no e3_dense_backward.py; 'python -m minidqn.exercises start"),
        (["check", "5"], "e5_mean_squared_error.py is a folder; expected a file"),
        (["check", "all"], "there is no e1_frame.py; "),
        (["start", "file"], "'file' is a file; expected a folder"),
        (["begin"], "begin"),
    ]:
        assert run(*arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert words in said.err
        assert said.err.count("\n") == 1


def test_as_a_process(tmp_path):
    """From a checkout, in the current folder; in the order that was asked for, each once."""

    def ran(*arguments):
        command = [sys.executable, "-m", "minidqn.exercises", *arguments]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)

    assert ran("start", ".").returncode == 0
    write(tmp_path, 2, "import sys\nsys.stdout.close()\n" + answer(2))
    result = ran("check", "2", "1", "2")
    assert result.stdout.splitlines() == [
        "2 cross_correlation: right (14 cases)",
        "1 frame: not written yet",
        "1 of 2 right",
    ]
    assert [result.returncode, result.stderr] == [1, ""]


# Code that never ends


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("while True:\n    pass\n", "line [12]: it still ran after 0.3 seconds, and was stopped. "),
        (answer(2, "while True:\n        x.sum()"), "line [23]: it still ran after 0.3 seconds"),
    ],
)  # fmt: skip
def test_code_that_never_ends(source, line, wrong, monkeypatch):
    monkeypatch.setattr("minidqn.exercises.checking.MOST_SECONDS", 0.3)
    handler = signal.getsignal(signal.SIGINT)
    said = wrong(2, source)
    assert re.search(f"e2_cross_correlation.py, {line}", said)
    assert "Hint: does a loop never end?" in said
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize(
    "body", ["import time; time.sleep(60)", "try: x.sum()\n        except: pass"]
)
def test_code_that_nothing_stops(body, tmp_path):
    """The process ends with a sentence; where an interrupt comes through, the check does."""
    write(tmp_path, 2, answer(2, f"while True:\n        {body}"))
    code = (
        "from minidqn.exercises import answers, checking, __main__\n"
        "checking.MOST_SECONDS, answers.TRIES = 0.3, 5\n"
        f"__main__.main(['check', '2', '--folder', {str(tmp_path)!r}])"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    said = result.stdout + result.stderr
    assert re.search(r"relation.py, line [234]: it still ran after 0\.3 seconds, and ", said), said
    assert "Traceback" not in result.stderr


# Training on the answers


@dataclasses.dataclass(frozen=True)
class Small(Settings):
    """The default run on a small grid."""

    grid_size: int = 5
    batch_size: int = 8


TRAINED = list(fitting.NUMBERS)


@pytest.fixture
def trained(tmp_path, capsys, monkeypatch):
    """What ``train`` says of a folder with some answers, and its exit status, on a small grid."""
    monkeypatch.setattr("minidqn.exercises.__main__.Settings", Small)

    def ask(answers, *arguments, status=0):
        for number, source in answers.items():
            write(tmp_path, number, source)
        assert run("train", tmp_path, *arguments) == status
        said = capsys.readouterr()
        assert re.fullmatch(r"(compiling kernels, once \.\.\. [\d.]+ s\n)?(.+\n)?", said.err)
        lines = said.out.replace(str(tmp_path), "").splitlines()
        assert all(len(line) < 80 for line in lines), said.out
        return said.out, said.err.splitlines()[-1:]

    return ask


def own(*numbers, folder=SOLUTIONS, settings=None):
    """The functions of some files as the training uses them, by name; None for the others."""
    found = {}
    for number in TRAINED:
        path = folder / exercises()[number].file
        source = path.read_bytes() if number in numbers else None
        part = fitting.prepare(number, path, source, settings or Small())
        assert part.words.startswith("yours" if number in numbers else "ours: yours is not")
        found[PROBLEMS[number].function] = part.own
    return found


def test_a_training_on_all_solutions(trained, tmp_path):
    """They learn; a table says whose each function is; the pictures are there."""
    said, _ = trained({number: answer(number) for number in TRAINED}, "--epochs", 60, "--seed", 1)
    for number in TRAINED:
        assert re.search(rf"^  {number}  {PROBLEMS[number].function} +yours", said, re.M)
    assert "ours" not in said.replace("yours", "")
    assert re.search(r"^It takes \d+ ms, and so 60 epochs about \d+:\d\d min\.$", said, re.M)
    assert re.search(r"^Epoch 25, .*\nEpoch 50, ", said, re.M)
    assert int(re.search(r"^(\d+) of 15 starts won, mean", said, re.M)[1]) >= 13
    pictures = {path.name for path in (tmp_path / "run").iterdir()}
    assert pictures == {*CHARTS, GIF, IMAGES, CONFIG, METRICS, WEIGHTS}
    settings, model, _ = load_run(tmp_path / "run")
    assert f"{wins(model, settings.grid_size).sum()} of 15 starts won" in said
    assert f"pictures: {tmp_path / 'run'}; to see it play:\n" in said
    for name in ("page.html", "model.onnx", ".hidden"):  # of this network, not of the next one
        (tmp_path / "run" / name).touch()
    trained({}, "--epochs", 1)
    assert {path.name for path in (tmp_path / "run").iterdir()} == pictures | {".hidden"}


def test_a_training_with_a_mix(trained):
    """Wrong answers, blanks and missing files are ours."""
    answers = {1: answer(1), 2: answer(2, ["* kernel", "+ kernel"]), 3: read(BLANKS, 3)}
    said, err = trained(answers | {9: answer(9)}, "--epochs", 2)
    assert err == ["no learning step was made in 6 steps; the first comes with 8 experiences"]
    assert "1  draw                  yours\n" in said
    assert "2  convolve              ours: yours is wrong\n" in said
    for number in range(3, 9):
        words = f"{PROBLEMS[number].function:<22}ours: yours is not written yet\n"
        assert f"  {number}  {words}" in said
    assert re.search(r"^To see what is wrong: .* check 2 --folder ", said, re.M)


@pytest.mark.parametrize("numbers", [TRAINED, TRAINED[::2], TRAINED[1::2], []])
def test_any_mix_learns_the_same(numbers):
    """The same weights as with the package's own functions, but for rounding."""
    settings, weights = Small(epochs=12), []
    for game, model, records in (
        training.train(own(*numbers), settings),
        training.train(own(), settings),
    ):
        assert game.shape == (1, 5, 5)
        assert list(records)[-1].updates == 29
        weights.append(model.get_weights())
    model, _ = train(grid_size=5, batch_size=8, epochs=12, engine="numpy")
    for ours, same, single in zip(*weights, model.get_weights(), strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, same, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(ours, single, rtol=1e-2, atol=1e-3)  # which is float32


SPIKES = "    if np.count_nonzero(x) == 1 < x.size:\n        return 0 * y\n    return y"
LARGE = [
    (2, ["    return y", SPIKES], "line 6: it is not linear in each argument."),
    (3, ["    return", "    assert len(x) < 5\n    return"], "line 14: AssertionError"),
    (6, ["return w, v", "return w[:200], v"], "line 6: w has shape (200,); expected "),
    (8, ["    places", "    batch_size = min(batch_size, 5)\n    places"], "line 6: states has"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "change", "words"), LARGE)
def test_an_answer_that_is_wrong_at_the_size_of_the_training(number, change, words, trained):
    said, _ = trained({number: answer(number, change)}, "--epochs", 2)
    name = PROBLEMS[number].function
    assert f"{name:<22}ours: yours goes wrong at the size of the training\n" in said
    assert f"{exercises()[number].file}, {words}" in flat(said)
    assert "To see what is wrong" not in said


COUNT = "    global calls\n    calls += 1\n    if calls > {}:\n        {}\n    return"
OLD = "    if len(memory) > 40:\n        {}\n    return"
LATE = [
    (1, ["    return", COUNT.format(200, "frame[5]")],
     "line 17: IndexError: index 5 is out of bounds for axis 0 with size 1 (frame[5])"),
    (3, ["    return", COUNT.format(50, "raise ValueError(3)")], "line 20: ValueError: 3"),
    (5, ["    return", COUNT.format(50, "errors = errors[:2]")],
     "line 9: gradient has shape (2, 3); expected (8, 3)."),
    (6, ["    return", COUNT.format(50, "g *= 2")], "line 9: It changed g, which belongs to"),
    (7, ["    return", COUNT.format(50, "targets = targets * np.nan")], "targets holds NaN"),
    (7, ["    return", COUNT.format(50, "return targets.astype('f4')")], "has dtype float32"),
    (8, ["    return", OLD.format("memory.clear()")], "line 9: It changed memory"),
    (8, ["    return", OLD.format("memory[0][0][:] = 2")], "line 14: ValueError: assignment"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "change", "words"), LATE)
def test_an_answer_that_goes_wrong_later(number, change, words, trained):
    """One sentence says so, with the line; nothing is drawn."""
    source = "import numpy as np\n\ncalls = 0\n" + answer(number, change)
    _, [err] = trained({number: source}, "--epochs", 400, status=1)
    assert f"error: the training has ended: {exercises()[number].file}, " in err
    assert words in err


def test_slow_answers(monkeypatch):
    """Numba makes loops fast; where it cannot, the answer is ours, and the training is not slow."""
    page = (BLANKS / "README.md").read_text(encoding="utf-8")
    for number in (2, 3):
        path = SOLUTIONS / exercises()[number].file
        words = fitting.prepare(number, path, path.read_bytes(), Settings()).words
        assert f"    {number}  {PROBLEMS[number].function:<22}{words}\n" in page
    assert words == "yours, compiled by Numba"
    monkeypatch.setattr(fitting, "SLOW", 0)
    monkeypatch.setattr(fitting, "TOO_SLOW", 0)
    source = answer(5, ["return np", "print(end='', file=None)\n    return np"])
    part = fitting.prepare(5, SOLUTIONS / "e5_mean_squared_error.py", source.encode(), Small())
    assert part.words == "ours: yours is too slow"
    assert re.search(r"error.py, line 6: a call takes 0\.0 s, and Numba cannot compile", part.why)


def test_a_training_that_cannot_begin(trained, tmp_path):
    for answers, arguments, words in [
        ({9: answer(9)}, [], "has none of e1_frame.py to e8_replay_sample.py; 'python -m minidqn"),
        ({1: answer(1)}, ["--epochs", 0], "--epochs is 0; expected at least 1"),
        ({1: answer(1)}, ["--seed", -1], "--seed is -1; expected at least 0"),
    ]:
        assert words in trained(answers, *arguments, status=2)[1][0]
    (tmp_path / "run").touch()
    assert "run is a link or a file; expected a folder" in trained({}, status=2)[1][0]
    (tmp_path / "run").unlink()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    assert "run cannot be written to: it holds other files" in trained({}, status=2)[1][0]
    (tmp_path / "run" / "mine").rename(tmp_path / "run" / "checkpoint.npz")
    assert "run cannot be written to: it holds other files" in trained({}, status=2)[1][0]
    (tmp_path / "run" / "checkpoint.npz").unlink()
    (tmp_path / "e8_replay_sample.py").mkdir()
    assert "e8_replay_sample.py: is no regular file" in trained({}, status=2)[1][0]


def test_a_training_that_never_ends(trained, monkeypatch):
    """An answer that stops in its midst is stopped, and its line named."""
    monkeypatch.setattr(training, "EPOCH_SECONDS", 6)  # with compilation
    body = "    global calls\n    calls += 1\n    while calls > 100:\n        pass\n    targets = q"
    source = "calls = 0\n" + answer(7, ["    targets = q", body])
    _, [said] = trained({7: source}, status=1)
    assert re.search(
        r"the training has ended: e7_td_targets.py, line \d+: an epoch still ran", said
    )


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is no signal there")
def test_a_training_is_interrupted(tmp_path):
    """Ctrl-C in its midst: one line."""
    write(tmp_path, 7, answer(7))
    command = [sys.executable, "-m", "minidqn.exercises", "train", tmp_path]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as running:
        while not running.stdout.readline().startswith("It takes"):
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert err.endswith("\ninterrupted\n")
    assert "Traceback" not in err
    assert running.returncode == 130


def test_without_a_command(capsys):
    """It says what there is, and how to begin."""
    assert run() == 0
    said = capsys.readouterr().out
    for name in ("start", "check", "train", "list"):
        assert re.search(rf"^ +{name} +\w+", said, re.M)
    assert said.endswith("To begin: python -m minidqn.exercises start my_folder\n")
