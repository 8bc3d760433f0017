"""The exercises: blanks, solutions, and wrong answers of the kinds that learners give."""

import ast
import configparser
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidqn.exercises.__main__ import main
from minidqn.exercises.answers import close
from minidqn.exercises.course import exercises
from minidqn.exercises.mistakes import MISTAKES
from minidqn.exercises.problems import PROBLEMS

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


def solution(number):
    return (SOLUTIONS / exercises()[number].file).read_text(encoding="utf-8")


@pytest.fixture
def verdict(tmp_path, capsys):
    """What ``check`` says of the source of an answer, and its exit status."""

    def ask(number, source):
        (tmp_path / exercises()[number].file).write_text(source, encoding="utf-8")
        status = run("check", number, "--folder", tmp_path)
        said = capsys.readouterr()
        assert re.fullmatch(r"(compiling kernels, once \.\.\. [\d.]+ s\n)?", said.err)
        assert all(len(line) < 80 for line in said.out.splitlines()), said.out
        return said.out, status

    return ask


def edited(number, *changes):
    """The solution with something changed."""
    source = solution(number)
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def flat(text):
    """Text with its lines joined, as they were before they were wrapped."""
    return " ".join(text.split())


# Blanks, statements, solutions


@each_exercise
def test_statements(number):
    """Each names its exercise, chapter, minutes and check; README's table has the same."""
    exercise = exercises()[number]
    text = (BLANKS / exercise.file).read_text(encoding="utf-8")
    statement = ast.get_docstring(ast.parse(text))
    assert statement.startswith(f"Exercise {number}: {exercise.title}.\n\n")
    chapter = re.search(r"^Chapter (\d), (.+) \((docs/(\d)-[a-z-]+\.md)\)\.", statement, re.M)
    assert chapter[1] == chapter[4]
    assert f"About {exercise.minutes} minutes.\n" in statement
    check = f"\n\nTo check your answer, in its folder: python -m minidqn.exercises check {number}"
    assert statement.endswith(check)
    row = (
        f"| {number} | [{exercise.file}]({exercise.file}) "
        f"| [{exercise.chapter}]({chapter[3].replace('docs', '..')}) "
        f"| {exercise.minutes} | {exercise.title} |"
    )
    assert row in (BLANKS / "README.md").read_text(encoding="utf-8").splitlines()


def test_numbers_are_complete(capsys):
    assert NUMBERS == list(range(1, 10)) == sorted(PROBLEMS)
    assert sorted({exercise.chapter[0] for exercise in exercises().values()}) == list("123456")
    assert run("list") == 0
    said = capsys.readouterr().out
    for exercise in exercises().values():
        assert f"{exercise.number}  {exercise.title}\n" in said
        assert f"{exercise.file}, {exercise.minutes} min, chapter {exercise.chapter}\n" in said


@each_exercise
def test_blanks_are_not_written_yet(number, verdict):
    blank = (BLANKS / exercises()[number].file).read_text(encoding="utf-8")
    assert verdict(number, blank) == (f"{number} {exercises()[number].name}: not written yet\n", 1)


@each_exercise
def test_solutions_are_right(number, verdict):
    said, status = verdict(number, solution(number))
    assert re.fullmatch(rf"{number} {exercises()[number].name}: right \(\d+ cases\)\n", said)
    assert status == 0


def functions(folder, number):
    """A file's names, once it has run."""
    names = {}
    source = (folder / exercises()[number].file).read_text(encoding="utf-8")
    exec(compile(source, exercises()[number].file, "exec"), names)
    return names


@each_exercise
def test_blanks_have_the_signatures_of_their_solutions(number):
    name = PROBLEMS[number].function
    blank, solved = (functions(folder, number)[name] for folder in (BLANKS, SOLUTIONS))
    assert inspect.signature(blank) == inspect.signature(solved)
    assert list(inspect.signature(blank).parameters) == list(PROBLEMS[number].cases()[0])
    body = ast.parse((BLANKS / exercises()[number].file).read_text(encoding="utf-8")).body
    assert [node.name for node in body if isinstance(node, ast.FunctionDef)] == [name]


@each_exercise
def test_worked_examples(number):
    """What a blank shows is what its solution does."""
    name = PROBLEMS[number].function
    names = functions(SOLUTIONS, number) | {"np": np}
    text = functions(BLANKS, number)[name].__doc__
    example = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_pages_about_the_exercises():
    """The lesson plan's commands can be typed as they are; lines of text are short."""
    plan = (ROOT / "docs" / "lesson-plan.md").read_text(encoding="utf-8")
    folder = re.search(r"`python -m minidqn\.exercises start (\w+)`", plan)[1]
    assert f"`python -m minidqn.exercises check 2 --folder {folder}`" in plan
    assert "`..." not in plan
    page = (BLANKS / "README.md").read_text(encoding="utf-8")
    assert all(len(line) <= 110 for line in page.splitlines() if not line.startswith("|"))
    assert "Ctrl-C" in page


# Typical wrong answers: an exercise, what of its solution is changed, words of the hint.

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
    (2, ["y[i, j] = np.sum(x[i : i + kh, j : j + kw] * kernel)",
         "for u, v in np.ndindex(kh, kw): y[i, j] = x[i + u, j + v] * kernel[u, v]"],
        "only the last product is left"),
    (2, [" - kh + 1", " - kh"], [" - kw + 1", " - kw"], "last row and the last column"),
    (2, ["    y = np", "    x = np.pad(x, [((k - 1) // 2, k // 2) for k in (kh, kw)])\n    y = np"],
     'padding "same"'),
    (2, ["    y = np", "    x = np.pad(x, [(k - 1, k - 1) for k in (kh, kw)])\n    y = np"],
     'padding "full"'),
    (2, ["np.sum(x[i : i + kh, j : j + kw] * kernel)",
         "sum(x[i - u, j - v] * kernel[u, v] for u, v in np.ndindex(kh, kw))"], "at the signs"),
    (3, ["g[n, k] * w[d, k]", "g[n, k] * w[k, d]"], "dx multiplies by w as forward did"),
    (3, ["return dx, dw, db", "return g @ w, dw, db"], "dx multiplies by w as forward did"),
    (3, ["return dx, dw, db", "return dx, dw.T, db"], "dw is transposed"),
    (3, ["return dx, dw, db", "return dx, dw / len(x), db"], "dw is averaged"),
    (3, ["return dx, dw, db", "return dx, dw, db / len(x)"], "db is averaged"),
    (3, ["return dx, dw, db", "return dx, dw, g.sum(axis=1)"], "summed over the outputs"),
    (3, ["return dx, dw, db", "return dx, dw, g"], "db is not summed"),
    (3, ["return dx, dw, db", "return dx, dw, g.sum()"], "db is one number"),
    (3, ["return dx, dw, db", "return dw, dx, db"], "in another order"),
    (3, ["return dx, dw, db", "return dx, db, dw"], "in another order"),
    (3, ["return dx, dw, db", "return db, dx, dw"], "in another order"),
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
    (7, ["rewards[n] if ended else gamma * best",
      "rewards[n] + gamma * best"], "the end of a game is ignored"),
    (7, ["rewards[n] != 0", "rewards[n] > 0"], "a lost game's end is ignored"),
    (7, ["rewards[n] if ended else gamma * best", "gamma * best"], "the rewards are ignored"),
    (7, ["next_q_values[n].max()", "next_q_values[:, n].max()"], "the wrong axis"),
    (7, ["next_q_values[n].max()", "next_q_values.max(axis=0)[n]"], "the wrong axis"),
    (7, ["next_q_values[n].max()", "next_q_values.max()"], "over the whole batch"),
    (7, ["q_values.copy()", "np.zeros(q_values.shape)"], "not chosen are 0"),
    (7, ["actions[n] + 1", "actions[n]"], "the columns 0, 1, 2"),
    (7, ["gamma * best", "best"], "gamma is forgotten"),
    (7, ["rewards[n] if ended", "gamma * rewards[n] if ended"], "gamma is applied to the reward"),
    (7, ["next_q_values[n].max()", "q_values[n].max()"], "that of S', after the step"),
    (8, ["replace=False", "replace=True"], "drawing with replacement"),
    (8, [DRAW, "range(len(memory) - batch_size, len(memory))"], "the newest ones come every time"),
    (8, [DRAW, "range(batch_size)"], "the same"),
    (8, ["rng.choice(len(", "np.random.default_rng(0).choice(len("], "rng that it is given used?"),
    (8, ["rng.choice(len(", "np.random.choice(len("], "a generator that all programs share"),
    (8, [DRAW, "__import__('random').sample(range(len(memory)), batch_size)"],
     "the module random, a generator that all programs share"),
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
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "changes", "words"), [(first, more[:-1], more[-1]) for first, *more in WRONG]
)
def test_wrong_answers_are_pointed_at(number, changes, words, verdict):
    said, status = verdict(number, "import numpy as np\n" + edited(number, *changes))
    assert said.startswith(f"{number} {exercises()[number].name}: wrong\n")
    assert words in flat(said), said
    assert status == 1
    assert "The smallest input that shows it:" in said
    for parameter in list(PROBLEMS[number].cases()[0])[:2]:
        assert re.search(rf"^ +{parameter} += ", said, re.M)


# Recursive, as a learner would write it who does not think of arrays.
RECURSIVE = """
import numpy as np

def q_star(grid_size, gamma):
    def value(row, fruit, basket, action):
        after = {after}
        if row == {last}:
            return 1.0 if abs(fruit - after) <= 1 else -1.0
        return gamma * max(value(row + 1, fruit, after, later) for later in (-1, 0, 1))

    q = np.zeros((grid_size - 2, grid_size, grid_size - 2, 3))
    for row, fruit, basket, action in np.ndindex(q.shape):
        q[row, fruit, basket, action] = value(row, fruit, basket + 1, action - 1)
    return q
"""


@pytest.mark.parametrize(
    ("after", "last", "words"),
    [
        ("basket + action", "grid_size - 3", "the basket leaves the grid"),
        ("min(max(basket + action, 0), grid_size - 1)", "grid_size - 3", "the basket leaves"),
        ("min(max(basket + action, 1), grid_size - 2)", "grid_size - 2", "a row too late"),
    ],
)
def test_wrong_recursions(after, last, words, verdict):
    said, status = verdict(9, RECURSIVE.format(after=after, last=last))
    assert words in flat(said)
    assert status == 1


def test_a_right_recursion(verdict):
    clipped = "min(max(basket + action, 1), grid_size - 2)"
    assert verdict(9, RECURSIVE.format(after=clipped, last="grid_size - 3"))[1] == 0


def test_dx_as_large_as_g(verdict):
    source = (
        "import numpy as np\n\n"
        "def convolution_backward(x, kernel, g):\n"
        "    kh, kw = kernel.shape\n"
        "    windows = np.lib.stride_tricks.sliding_window_view(x, g.shape)\n"
        "    dkernel = np.sum(windows * g, axis=(2, 3))\n"
        "    padded = np.pad(g, [((k - 1) // 2, k // 2) for k in (kh, kw)])\n"
        "    dx = np.zeros(g.shape)\n"
        "    for h, w in np.ndindex(g.shape):\n"
        "        dx[h, w] = np.sum(padded[h : h + kh, w : w + kw] * kernel[::-1, ::-1])\n"
        "    return dx, dkernel\n"
    )
    said, status = verdict(4, source)
    assert "dx has shape (1, 1); expected (1, 2)." in said
    assert "dx is only as large as g" in flat(said)
    assert status == 1


@each_exercise
def test_mistakes_can_be_told_apart(number):
    """No two mistakes give the same wrong results in all cases; each is wrong in one."""
    problem = PROBLEMS[number]
    for result in range(len(problem.results)):
        seen = []
        for mistake in MISTAKES.get(number, ()):
            given = []
            for arguments in problem.cases():
                try:
                    with np.errstate(all="ignore"):
                        given.append(mistake.wrong(*arguments.values())[result])
                except (ValueError, IndexError):
                    given.append(None)
            if all(each is None for each in given):
                continue
            right = [problem.answer(**arguments)[result] for arguments in problem.cases()]
            for other in [right, *seen]:
                pairs = [(a, b) for a, b in zip(given, other, strict=True) if a is not None]
                assert any(b is None or not close(a, b) for a, b in pairs), mistake.hint
            seen.append(given)


def test_nothing_is_given_away(verdict):
    """No line that a right answer needs is in what any wrong answer is told."""
    answers = [line.strip() for number in NUMBERS for line in solution(number).splitlines()]
    answers = [line for line in answers if re.search(r"[\w\]] (=|\+=) ", line) and len(line) > 20]
    assert len(answers) > 20
    hints = [mistake.hint for mistakes in MISTAKES.values() for mistake in mistakes]
    blanks = [(BLANKS / exercise.file).read_text(encoding="utf-8").split("def ")[1]
              for exercise in exercises().values()]  # fmt: skip
    for number, *changes, _ in WRONG:
        said, _ = verdict(number, "import numpy as np\n" + edited(number, *changes))
        hints.append(said)
    for text in (*hints, *blanks):
        assert not [line for line in answers if line in flat(text)]


# Other things that go wrong


def test_a_wrong_answer_in_full(verdict):
    said, _ = verdict(3, edited(3, ["return dx, dw, db", "return dx, dw.T, db"]))
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


def test_a_mistake_that_nobody_knows(verdict):
    said, status = verdict(2, edited(2, ["* kernel)", "* kernel) + 1"]))
    assert "y is wrong." in said
    assert "Hint" not in said
    assert status == 1


def test_an_exception(verdict):
    said, status = verdict(3, edited(3, ["    return", "    np.zeros(2) @ g\n    return"]))
    lines = said.splitlines()
    assert lines[0] == "3 dense_backward: wrong"
    assert re.match(r"  e3_dense_backward\.py, line 14: ValueError: matmul: ", lines[1])
    assert "    np.zeros(2) @ g" in lines
    assert "  The smallest input that shows it:" in lines
    assert "Traceback" not in said
    assert status == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def convolve(x, kernel)\n    return x\n", "_correlation.py, line 1: expected ':'"),
        ("def convolve(x, kernel):\nreturn x\n", "e2_cross_correlation.py, line 2: "),
        ("def convolved(x, kernel):\n    return x\n", "has no function convolve."),
        ("convolve = 3\n", "has no function convolve."),
        ("import nothing_of_this_name\n", "line 1: ModuleNotFoundError: No module named"),
        ("a = 1\nraise SystemExit\n", "line 2: SystemExit"),
        ("raise GeneratorExit(7)\n", "line 1: GeneratorExit: 7"),
        ("raise BaseException(7)\n", "line 1: BaseException: 7"),
        ("\0", "e2_cross_correlation.py"),
    ],
)
def test_files_that_cannot_be_used(source, words, verdict):
    said, status = verdict(2, source)
    assert said.startswith("2 cross_correlation: wrong\n  e2_cross_correlation.py")
    assert words in flat(said)
    assert len(said.splitlines()) <= 4
    assert status == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return None", "y is None (is the return missing?); expected an array of shape (1, 1)."),
        ("return x.tolist()", "y is a list of 1; expected an array of shape (1, 1)."),
        ("return x[0]", "y has shape (1,); expected (1, 1)."),
        ("return x.astype(int)", "y has dtype int64; expected float64."),
        ("return x * float('nan')", "y holds NaN"),
        ("return x / 0 * 0", "y holds NaN"),
        ("exit(0)", "line 2: SystemExit: 0"),
        ("raise GeneratorExit(7)", "line 2: GeneratorExit: 7"),
        ("raise BaseException(7)", "line 2: BaseException: 7"),
        ("return convolve(x, kernel)", "line 2: RecursionError"),
        ("x += 1", "It changed x, which belongs to its caller."),
        ("return 3.0", "y is the number 3.0; expected an array of shape (1, 1)."),
    ],
)
def test_other_results(body, words, verdict):
    said, status = verdict(2, f"def convolve(x, kernel):\n    {body}\n")
    assert words in flat(said)
    assert re.search(r"^    x +=", said, re.M)
    assert status == 1


@pytest.mark.parametrize(
    ("number", "body", "words"),
    [
        (3, "None", "It returned None (is the return missing?); expected 3 things: dx, dw and db."),
        (3, "x, w", "It returned a tuple of 2; expected 3 things: dx, dw and db."),
        (3, "x", "It returned an array of shape (1, 1); expected 3 things"),
        (5, "[1, 2]", "loss has dtype int64; expected float64."),
        (5, "'a', 1.0", "loss is of type str: a; expected a number."),
        (8, "1, 2, 3, 4", "states is the number 1; expected an array of shape (1, 1, 1, 1)."),
    ],
)
def test_other_tuples(number, body, words, verdict):
    problem = PROBLEMS[number]
    parameters = ", ".join(problem.cases()[0])
    said, status = verdict(number, f"def {problem.function}({parameters}):\n    return {body}\n")
    assert words in flat(said)
    assert status == 1


STRANGE = [
    "right.tolist()", "right.astype(object)", "right.astype(str)", "right.astype(complex)",
    "right.astype(bool)", "right[..., :0]", "np.array(None)", "'text'", "object()", "10**400",
    "[]", "[[1], [2, 3]]", "{}", "np.nan", "convolve",
]  # fmt: skip


@pytest.mark.parametrize("number", sorted(set(NUMBERS) - {8}))
@pytest.mark.parametrize("thing", STRANGE)
def test_strange_results(number, thing, verdict):
    """Each result in turn is something else; none of it surprises the checker."""
    problem = PROBLEMS[number]
    for result in range(len(problem.results)):
        source = (
            f"import numpy as np\n\nfrom minidqn.exercises.problems import PROBLEMS\n\n"
            f"def {problem.function}(*arguments):\n"
            f"    results = list(PROBLEMS[{number}].answer(*arguments))\n"
            f"    right, convolve = np.atleast_1d(results[{result}]), np.convolve\n"
            f"    results[{result}] = {thing}\n"
            f"    return results if len(results) > 1 else results[0]\n"
        )
        said, status = verdict(number, source)
        assert said.startswith(f"{number} {exercises()[number].name}: wrong\n  ")
        assert re.search(problem.results[result] + r"(\[.*\])? (is|has|holds)", flat(said)), said
        assert status == 1


@pytest.mark.parametrize("thing", STRANGE)
@pytest.mark.parametrize("result", range(4))
def test_strange_samples(result, thing, verdict):
    returned = "np.stack(states), np.array(actions), np.array(rewards), np.stack(next_states)"
    changed = f"batch = [{returned}]\n    right, convolve = batch[{result}], np.convolve\n"
    changed += f"    batch[{result}] = {thing}\n    return batch"
    said, status = verdict(8, edited(8, ["return " + returned, changed]))
    assert re.search(r"(states|actions|rewards)(\[.*\])? (is|has|belongs)", flat(said)), said
    assert status == 1


@pytest.mark.parametrize("change", ["memory.append(5)", "memory[0] = None", "memory.clear()"])
def test_strange_memories(change, verdict):
    said, status = verdict(8, edited(8, ["    return", f"    {change}\n    return"]))
    assert "It changed memory, which belongs to its caller." in said
    assert status == 1


@pytest.mark.parametrize(
    ("number", "old", "new", "changed"),
    [
        (6, "    w = w - learning_rate *", "    w -= learning_rate *", "w"),
        (7, "q_values.copy()", "q_values", "q_values"),
        (8, "    places", "    memory.reverse()\n    places", "memory"),
    ],
)
def test_inputs_that_are_changed(number, old, new, changed, verdict):
    said, status = verdict(number, edited(number, [old, new]))
    assert f"It changed {changed}, which belongs to its caller." in said
    assert f"{changed} after the call = " in said
    assert status == 1


def test_only_plain_arrays_are_right(verdict):
    """A masked array equals anything."""
    masked = ["return y", "return np.ma.array(np.zeros(y.shape), mask=True)"]
    said, status = verdict(2, edited(2, masked))
    assert "y is of type MaskedArray, which is more than an array; expected a plain" in said
    assert re.search(r"your y +=.*masked_array\(data=\[\[--\]\]", said.replace("( ", "("))
    assert status == 1
    odd = "type('Odd', (float,), {'__rsub__': lambda self, other: 0.0})"
    said, status = verdict(5, edited(5, ["return np.mean(errors**2)", f"return {odd}(1)"]))
    assert "loss is of type Odd: 1.0; expected a number." in said
    assert status == 1


def test_numbers_of_both_kinds_are_right(verdict):
    for kind in ("float", "np.float64", "np.array"):
        changed = ["np.mean(errors**2)", f"{kind}(np.mean(errors**2))"]
        assert verdict(5, edited(5, changed))[1] == 0


UNSHOWN = """
import numpy as np

class Mute:
    def _any(self, *_):
        raise GeneratorExit
    __str__ = __repr__ = __len__ = __iter__ = _any

class Odd(Mute, Exception):
    pass

class OddList(Mute, list):
    pass

class OddArray(np.ndarray):
    def copy(self):
        raise OSError(5, "no copy")
"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise Odd", "Odd: (cannot be shown)"),
        ("return Odd()", "of type Odd: (cannot be shown)"),
        ("return np.array([[Odd()]])", "has dtype object; expected float"),
        ("return np.zeros((1, 1)).view(OddArray)", "of type OddArray"),
        ("a.append(Odd()) if isinstance(a, list) else a.fill(99)", "It changed "),
    ],
)
@pytest.mark.parametrize("number", [2, 3, 8])
def test_things_that_cannot_be_shown(number, body, words, verdict):
    name, count = PROBLEMS[number].function, len(PROBLEMS[number].results)
    body = body.replace("return ", "x = ") + f"\n    return [x] * {count}"
    if count == 1:
        body = body.replace("[x] * 1", "x")
    if number == 8:
        words = words.replace("has dtype object; expected float", "states has shape (1, 1)")
    source = f"{UNSHOWN}\ndef {name}(a, *_):\n    x = 0\n    {body}\n"
    said, status = verdict(number, source)
    assert words in flat(said)
    assert status == 1


def test_a_list_that_cannot_be_taken_apart(verdict):
    source = UNSHOWN + "\ndef dense_backward(x, w, g):\n    return OddList()\n"
    said, status = verdict(3, source)
    assert "GeneratorExit" in said
    assert status == 1


@pytest.mark.parametrize(("number", "words"), [(2, "y is a coroutine"), (3, "a coroutine (is")])
@pytest.mark.filterwarnings("error")
def test_async_functions(number, words, verdict):
    said, status = verdict(number, edited(number, ["def ", "async def "]))
    assert words in said
    assert "is there an async before the def?" in flat(said)
    assert status == 1


def test_a_closed_output(tmp_path):
    source = "import sys\nsys.stdout.close()\n" + solution(2)
    (tmp_path / exercises()[2].file).write_text(source)
    command = [sys.executable, "-m", "minidqn.exercises", "check", "2", "--folder", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.stdout == "2 cross_correlation: right (14 cases)\n"
    assert result.returncode == 0


def test_dataclasses_with_annotations_as_text(verdict):
    dataclass = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n\n"
        "@dataclass\nclass Size:\n    height: int\n\n"
    )
    said, status = verdict(2, dataclass + solution(2))
    assert status == 0, said


@pytest.mark.parametrize("package", [False, True])
def test_modules_beside_the_file(package, tmp_path, capsys):
    """Each folder has its own, and Python is left as it was."""
    folders, modules = list(sys.path), set(sys.modules)
    source = "from beside import ADDED\n" + edited(2, ["* kernel)", "* kernel) + ADDED"])
    for added in (0, 1):
        folder = tmp_path / str(added)
        beside = folder / ("beside/__init__.py" if package else "beside.py")
        beside.parent.mkdir(parents=True)
        beside.write_text(f"ADDED = {added}\n")
        (folder / exercises()[2].file).write_text(source)
        assert run("check", 2, "--folder", folder) == added
    assert sys.path == folders
    assert not [name for name in set(sys.modules) - modules if name in ("beside", "_answer")]


def test_a_function_that_goes_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for number in (2, 3):
        source = f"import os\nos.chdir({str(tmp_path.parent)!r})\n" + solution(number)
        (tmp_path / "mine" / exercises()[number].file).write_text(source)
    assert run("check", 2, 3, "--folder", "mine") == 0
    assert capsys.readouterr().out.endswith("2 of 2 right\n")


@pytest.mark.parametrize(
    ("first", "words"), [("x + 99", "y is wrong."), ("x * kernel", "line 3: NotImplementedError")]
)
def test_answers_for_some_inputs(first, words, verdict):
    """Only what is not written for the first input is not written yet."""
    body = f"if x.size > 1:\n        raise NotImplementedError\n    return {first}"
    said, status = verdict(2, f"def convolve(x, kernel):\n    {body}\n")
    assert words in said
    assert "not written yet" not in said
    assert status == 1


def test_batches_for_some_inputs(verdict):
    more = "    if len(memory) > 1:\n        raise NotImplementedError\n    places"
    said, _ = verdict(8, edited(8, ["    places", more]))
    assert "NotImplementedError" in said


def test_shapes_of_many_axes(verdict):
    """Both shapes say it all; the numbers would fill a page."""
    said, status = verdict(9, edited(9, ["return q", "return q[:, :, :, 0]"]))
    assert "q has shape (1, 3, 1); expected (1, 3, 1, 3)." in said
    assert "your q" not in said
    assert status == 1


def test_a_changed_list(verdict):
    said, _ = verdict(8, edited(8, ["    places", "    rng.shuffle(memory)\n    places"]))
    assert "methods such as sort or shuffle change the thing itself" in flat(said)


def test_answers_are_read_afresh(verdict):
    """Of two versions of the same second and size, the newer one counts."""
    right = solution(2)
    wrong = edited(2, ["* kernel", "+ kernel"])
    assert [verdict(2, source)[1] for source in (right, wrong, right)] == [0, 1, 0]


def test_results_that_are_used_again(verdict):
    """An answer may return the same array each time, as layers do."""
    kept = "buffers = {}\n\n\ndef convolve("
    again = "    kept = buffers.setdefault(y.shape, y)\n    kept[:] = y\n    return kept"
    used = ["    return y", again]
    said, status = verdict(2, edited(2, ["def convolve(", kept], used))
    assert status == 0, said


def test_prints_of_the_learner_are_shown(tmp_path, capsys):
    (tmp_path / "e2_cross_correlation.py").write_text(edited(2, ["    kh", "    print(7)\n    kh"]))
    assert run("check", 2, "--folder", tmp_path) == 0
    assert capsys.readouterr().out.startswith("7\n")


# The command


def test_start_copies_what_is_shipped(tmp_path, capsys):
    folder = tmp_path / "my answers" / "first"
    assert run("start", folder) == 0
    assert f"check 1 --folder '{folder}'" in capsys.readouterr().out
    copied = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert copied == {path.name: path.read_bytes() for path in BLANKS.iterdir() if path.is_file()}
    assert run("check", "all", "--folder", folder) == 1
    assert capsys.readouterr().out.endswith(": not written yet\n0 of 9 right\n")


@pytest.mark.parametrize("name", ["e1_frame.py", "e9_exact_q.py", "README.md"])
def test_start_overwrites_nothing(name, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    assert run("start", tmp_path) == 2
    assert capsys.readouterr().err.endswith(f"{name} exists, and is not overwritten; "
                                            "nothing was copied\n")  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_start_does_not_follow_links(tmp_path):
    (tmp_path / "e2_cross_correlation.py").symlink_to(tmp_path / "elsewhere.py")
    assert run("start", tmp_path) == 2
    assert not (tmp_path / "elsewhere.py").exists()


def test_start_leaves_nothing_half_done(tmp_path, monkeypatch, capsys):
    course = importlib.import_module("minidqn.exercises.course")
    write, written = course.atomic_write, []

    def full_disk(path):
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(path)
        return write(path)

    monkeypatch.setattr(course, "atomic_write", full_disk)
    assert run("start", tmp_path) == 2
    assert "cannot be written to: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required"),
        (["check"], "required"),
        (["check", "0"], "'0' is no exercise; expected 1 to 9, or all"),
        (["check", "10"], "'10' is no exercise; expected 1 to 9, or all"),
        (["check", "3", "--folder", ""], "it is empty"),
        (["check", "3"], "there is no e3_dense_backward.py; 'python -m minidqn.exercises start"),
        (["check", "5"], "e5_mean_squared_error.py is a folder; expected a file"),
        (["check", "all"], "there is no e1_frame.py; "),
        (["start"], "required"),
        (["start", "file"], "file is a file; expected a folder"),
        (["begin"], "begin"),
    ],
)
def test_misuse(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "e5_mean_squared_error.py").mkdir()
    assert run(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1


def test_some_are_right(tmp_path, monkeypatch, capsys):
    """In the order that was asked for, each once; the current folder by default."""
    monkeypatch.chdir(tmp_path)
    run("start", ".")
    (tmp_path / "e5_mean_squared_error.py").write_text(solution(5))
    capsys.readouterr()
    assert run("check", 5, 2, 5) == 1
    assert capsys.readouterr().out.splitlines() == [
        "5 mean_squared_error: right (8 cases)",
        "2 cross_correlation: not written yet",
        "1 of 2 right",
    ]


def test_as_a_process(tmp_path):
    """From a checkout, answers elsewhere."""
    command = [sys.executable, "-m", "minidqn.exercises"]
    subprocess.run([*command, "start", str(tmp_path)], check=True, cwd=ROOT, stdout=-3)
    command += ["check", "1", "--folder", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    said = result.returncode, result.stdout, result.stderr
    assert said == (1, "1 frame: not written yet\n", "")
    expected = {exercise.file for exercise in exercises().values()} | {"README.md"}
    assert {path.name for path in tmp_path.iterdir()} == expected


def test_every_package_is_shipped():
    """setup.cfg names its packages one by one, because the blanks live elsewhere."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "minidqn").rglob("__init__.py")
    }
    named = settings["options"]["packages"].split()
    assert set(named) == found | {"minidqn.exercises.blanks"}
