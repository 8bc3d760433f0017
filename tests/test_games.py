"""Games: what a coroutine may do, what is said of one that does something else; and Snake."""

import re
import sys

import numpy as np
import pytest

from minidqn import games, snake
from minidqn.evaluate import mean_return, random_return
from minidqn.fruit import Fruit
from minidqn.games import Game, GameError
from minidqn.qlearning import learn
from minidqn.recipe import q_network
from minidqn.replay import experience_replay
from minidqn.train import train


def frame(number=0):
    return np.full((2, 3, 4), number, np.float32)


def told(*turns, returns=True, **options):
    """A game that yields these turns, whatever is sent."""

    def script(rng=None):
        for turn in turns:  # noqa: UP028, what is sent must not reach the tuple's iterator
            yield turn
        while not returns:
            yield turns[-1][0].copy(), *turns[-1][1:]

    return Game(script, [0, 1], (2, 3, 4), **options)


def played(game):
    """Its turns."""
    ep = game.start()
    turns = [next(ep)]
    while not turns[-1].done:
        turns.append(ep.send(0))
    with pytest.raises(StopIteration):
        ep.send(0)
    return turns


def test_turns_of_two_three_and_four():
    """A pair ends the game with its first reward; more items say it themselves."""
    pairs = played(told((frame(), 0), (frame(), 0), (frame(), -0.5)))
    assert [turn[1:] for turn in pairs] == [(0, False, False)] * 2 + [(-0.5, True, False)]
    coins = played(told((frame(), 0, False), (frame(), 2, np.False_), (frame(), 0, True)))
    assert [turn[1:] for turn in coins] == [(0, False, False), (2, False, False), (0, True, False)]
    late = played(told((frame(), 0, False, False), (frame(), np.float32(1), False, True)))
    assert late[-1][1:] == (1.0, False, True)
    assert type(late[-1].reward) is float
    again = frame()  # a coroutine may draw into its array again
    first, second = played(told((again, 0), (again, True)))
    assert not np.shares_memory(first.frame, second.frame)
    assert second.reward == 1


def test_the_first_reward_is_no_action_s():
    """A return is the sum of the rewards that actions earn."""
    game, network = told((frame(), 7, False), (frame(), 2, False), (frame(), 1, True)), Nothing()
    assert mean_return(network, game, 2) == random_return(game, 2) == 3


class Nothing:
    """A network to which all actions are alike."""

    def predict(self, states):
        return np.zeros((len(states), 2))


MISTAKES = {
    "step 0: it ends before any action; with pairs, by a reward": [(frame(), 0.1)],
    "step 0: its frame has shape (2, 3); expected (2, 3, 4)": [(frame()[:, :, 0], 0)],
    "step 1: its frame holds nan; expected finite float32": [(frame(), 0), (frame(np.nan), 0)],
    "step 0: its frame holds 1e+39; expected finite float32": [(np.full((2, 3, 4), 1e39), 0)],
    "step 0: its frame holds <U1; expected numbers": [(frame().astype("U1"), 0)],
    "step 1: its reward is 1e+39": [(frame(), 0), (frame(), 1e39)],
    "step 0: its reward is nan; expected a finite number": [(frame(), np.nan)],
    "step 0: its reward is '1'": [(frame(), "1")],
    "step 0: its terminated is 0; expected a bool": [(frame(), 0, 0)],
    "step 0: its truncated is None; expected a bool": [(frame(), 0, False, None)],
    "step 0: it yields array(": [frame()],
    "step 0: it yields (1,); expected (frame, reward, terminated)": [(1,)],
    "step 1: it has returned; expected a turn that ends it": [(frame(), 0)],
}


@pytest.mark.parametrize("words", MISTAKES)
def test_what_no_game_may_do(words):
    """One line, with the game's name and the step."""
    with pytest.raises(GameError, match=re.escape(f"my game, {words}")) as raised:
        played(told(*MISTAKES[words], name="my game"))
    assert "\n" not in str(raised.value)


def test_a_game_that_never_ends():
    endless = told((frame(), 0, False), returns=False, max_steps=5)
    with pytest.raises(GameError, match="script, step 5: it still goes on"):
        played(endless)


def test_what_is_sent_is_one_of_the_actions():
    ep = told((frame(), 0), (frame(), 1)).start()
    next(ep)
    with pytest.raises(ValueError, match=r"action is 2; expected one of \(0, 1\)"):
        ep.send(2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"episode": 3}, "episode is 3"),
        ({"episode": lambda chance: None}, "expected one that takes rng, as in def game.rng"),
        ({"actions": []}, r"actions is \(\)"),
        ({"actions": [1, 1]}, r"actions is \(1, 1\); expected different"),
        ({"actions": [0.5]}, "an action is 0.5; expected a whole number"),
        ({"actions": [2**31]}, "an action is 2147483648"),
        ({"shape": (3, 3)}, r"shape is \(3, 3\); expected \(C, H, W\)"),
        ({"shape": (0, 3, 3)}, "a length of shape is 0"),
        ({"max_steps": 0}, "max_steps is 0"),
    ],
)
def test_what_is_no_game(change, words):
    right = {"episode": snake.episode, "actions": [0, 1], "shape": (1, 2, 3)}
    with pytest.raises((TypeError, ValueError), match=words):
        Game(**(right | change))


def test_an_episode_that_is_no_coroutine():
    with pytest.raises(GameError, match="<lambda>: episode returned int; expected yield in it"):
        next(Game(lambda rng: 7, [0], (1, 2, 3)).start())


def test_names():
    assert isinstance(games.load("fruit", 7), Fruit)
    assert games.load("snake", 7).shape == (3, 7, 7)
    with pytest.raises(ValueError, match="game is tetris; expected fruit, snake, gym:ID, or a"):
        games.load("tetris")


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "minidqn.gym", raising=False)
    with pytest.raises(
        ImportError, match="game is gym:A/B-v1; Gymnasium is missing: python -m pip"
    ):
        games.load("gym:A/B-v1")


def corridor(rng=None):
    """A coin at both ends, one worth more; the way back costs. Actions 7 and -7."""
    place = 2
    for step in range(20):
        seen = np.zeros((1, 1, 5))
        seen[0, 0, place] = 1
        reward = {0: 1, 4: 2}.get(place, -0.1) if step else 0
        action = yield seen, reward, place in (0, 4), step == 19
        place += action // 7


def test_any_game_is_learned():
    """Rewards on the way, strange actions: greedy play takes the better coin."""
    game = Game(corridor, [-7, 7], (1, 1, 5))
    sizes = {"filters": (), "units": 16}
    model, records = train(game, epochs=150, batch_size=16, epsilon=0.5, **sizes)
    assert records[-1].mean_return == pytest.approx(2 - 0.1)
    assert records[-1].wins is None
    assert mean_return(model, game, 3) == pytest.approx(2 - 0.1)
    assert random_return(game, 300, np.random.default_rng(0)) < 1.6


def test_what_is_broken_off_is_not_the_end(rng):
    """The value of a truncated game's last frame counts, that of a terminated one's does not."""
    model = q_network(rng=rng, game=Game(corridor, [-7, 7], (1, 1, 5)), filters=(), units=4)
    S, S_prime = np.zeros((2, 1, 1, 5))
    S[..., 0] = S_prime[..., 1] = 1
    best = model.predict(S_prime[np.newaxis]).max()
    replay, targets = experience_replay(1, 1), []
    next(replay)

    class Watched:
        predict = model.predict

        def train_on_batch(self, states, chosen):
            targets.append(chosen)
            return 0

    for done, wanted in ((True, 3), (False, 3 + 0.5 * best)):
        learn(Watched(), replay.send((S, 7, 3, S_prime, done)), 0.5, (-7, 7))
        assert targets[-1][0, 1] == pytest.approx(wanted, rel=1e-6)
    with pytest.raises(ValueError, match=r"actions holds \[5\]; expected \(-7, 7\) only"):
        learn(model, replay.send((S, 5, 3, S_prime)), 0.5, (-7, 7))


# Snake


def test_snake_one_by_one():
    """Against a second Snake that keeps a list of cells; the tail moves away in the same step."""
    seen = set()
    for seed in range(100):
        rng = np.random.default_rng(seed)
        grid_size = int(rng.integers(3, 8))
        ep = snake.Snake(grid_size).start(rng)
        turn, body, hungry = next(ep), [], 0
        while not turn.done:
            head, food = (tuple(np.argwhere(turn.frame[c])[0].tolist()) for c in (1, 2))
            body = body or [head]
            assert body[0] == head
            assert {tuple(cell) for cell in np.argwhere(turn.frame[0])} == set(body[1:])
            moves = [(head[0] + y, head[1] + x) for y, x in ((-1, 0), (0, 1), (1, 0), (0, -1))]
            safe = [m for m in moves if set(m) <= set(range(grid_size)) and m not in body[:-1]]
            new = moves[rng.integers(4)]
            if rng.random() < 0.95:  # to the food, or after its own tail
                goal = body[-1] if len(body) > 3 and rng.random() < 0.3 else food
                distance = lambda cell: abs(np.subtract(cell, goal)).sum()  # noqa: B023, E731
                new = min(safe, key=distance, default=new)
            turn = ep.send(moves.index(new))
            if new not in safe:
                seen.add("hit")
                assert turn[1:3] == (-1, True)
                continue
            seen.add("followed" if new == body[-1] else "moved")
            body = [new, *(body if new == food else body[:-1])]
            hungry = 0 if new == food else hungry + 1
            full, starved = len(body) == grid_size**2, hungry == grid_size**2
            assert turn[1:] == (new == food, full, starved)
            seen.add("full" if turn.terminated else "not full")
    assert seen >= {"hit", "followed", "full"}


def test_snake_that_goes_round_is_taken_off():
    ep = snake.Snake(4).start(np.random.default_rng(1))
    turn, steps = next(ep), 0
    while not turn.done:
        row, column = np.argwhere(turn.frame[1])[0] % 2
        turn = ep.send([[1, 2], [0, 3]][row][column])  # round four cells
        steps += 1
        hungry = steps if turn.reward == 0 else 0
        steps = hungry
    assert (turn.terminated, turn.truncated, steps) == (False, True, 16)
