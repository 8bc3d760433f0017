"""MinAtar Breakout on one core: frames a second, and seconds to a return of 5.

    python -m pip install ".[gym,benchmarks]"
    python -m benchmarks.time_to_score    # an hour; --quick for frames a second alone

This package and the same agent in PyTorch, eager and under torch.compile, play the same game
with the settings of ``benchmarks.minatar``. Each has a process on one core; they take turns,
some thousand frames at a time, so that a machine that slows down slows down for all, and
stop as soon as the mean return of their last 100 games is 5. The agent in PyTorch is
written as its users write one: a ring of bool frames in one array, batches by indices, no
gradient where none is needed, actions from a traced network on one frame. Its first weights
come from the distributions of this package.

Seconds are all that a run takes, imports and compiling included. Frames a second are those
after the first turn, up to the last that all three have had: a player whose epsilon has fallen
asks the network more often, so only the same frames compare. (With --quick nearly all actions
are still random.) Writes
results/time_to_score.csv and time_to_score.md.

rejax (https://github.com/keraJLi/rejax) reports 20 minutes for a million frames of this game
with CleanRL's DQN in PyTorch on an A100. That agent has the same network and batches of 32; it
learns from frame 80,000 on, at every fourth frame (230,000 updates, where there are 995,000
here), and has Adam, a squared error and a memory of a million.
"""

import collections
import json
import os
import subprocess
import sys
import time

import numpy as np

from benchmarks import harness
from benchmarks.minatar import LEARNING_RATES

GAME = "gym:MinAtar/Breakout-v0"
ENTRIES = ("minidqn", "torch eager", "torch.compile")
GOAL = 5.0
"""Mean return of the last 100 games."""


def settings_of(seed):
    """The settings of the preset, with this seed."""
    from minidqn.command import PRESETS, SETTINGS
    from minidqn.runs import Settings

    others = {"learning_rate": LEARNING_RATES["Breakout"], "eval_every": 10**9, "seed": seed}
    preset = {n: v for n, v in PRESETS["minatar"].items() if n in SETTINGS}
    return Settings(**preset | others)


def ours(seed):
    """Yields (steps, game's return) after each game of this package's loop."""
    from minidqn.games import load
    from minidqn.train import training

    settings = settings_of(seed)
    game, streams = load(GAME, settings.grid_size), settings.streams()
    model = settings.q_network(game, streams.weights)
    for record in training(model, settings, streams, game):
        yield record.steps, record.episode_return


def torch_agent(seed, compiled):
    """The same by the agent in PyTorch, in one function, as its users write it."""
    import copy

    import gymnasium
    import minatar.gym
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    s, rng = settings_of(seed), np.random.default_rng(seed)
    minatar.gym.register_envs()
    env = gymnasium.make(GAME.removeprefix("gym:"))
    height, width, channels = env.observation_space.shape

    def pixels(frames):
        return torch.from_numpy(frames).permute(0, 3, 1, 2).float()

    network = nn.Sequential(
        nn.Conv2d(channels, s.filters[0], s.kernel_size), nn.ReLU(), nn.Flatten(),
        nn.Linear(s.filters[0] * (height - 2) * (width - 2), s.units), nn.ReLU(),
        nn.Linear(s.units, int(env.action_space.n)),
    )  # fmt: skip
    for layer in network:
        if hasattr(layer, "weight"):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    network = network.to(memory_format=torch.channels_last)  # as the frames are
    target = copy.deepcopy(network)
    act = torch.jit.trace(network, pixels(np.zeros((1, height, width, channels), bool)))
    optimizer = torch.optim.RMSprop(
        network.parameters(), lr=s.learning_rate, alpha=0.95, eps=0.01, centered=True, foreach=True
    )
    frames = np.zeros((2, s.capacity, height, width, channels), bool)  # S and S'
    actions = np.zeros(s.capacity, np.int64)
    rewards, goes_on = np.zeros((2, s.capacity), np.float32)

    def loss_of(states, actions, rewards, next_states, goes_on):
        with torch.no_grad():
            targets = rewards + s.gamma * goes_on * target(next_states).amax(dim=1)
        q_values = network(states).gather(1, actions[:, None]).squeeze(1)
        return functional.smooth_l1_loss(q_values, targets)

    step = optimizer.step
    if compiled:
        loss_of, step = torch.compile(loss_of), torch.compile(optimizer.step)

    steps = 0
    while True:
        observation, _ = env.reset(seed=int(rng.integers(2**31)))
        done, earned = False, 0.0
        while not done:
            if rng.random() < s.epsilon_at(steps):
                action = int(rng.integers(env.action_space.n))
            else:
                with torch.inference_mode():
                    action = act(pixels(observation[np.newaxis])).argmax().item()
            place = steps % s.capacity
            frames[0, place] = observation
            observation, reward, terminated, truncated, _ = env.step(action)
            frames[1, place], done = observation, terminated or truncated
            actions[place], rewards[place], goes_on[place] = action, reward, not terminated
            steps, earned = steps + 1, earned + reward
            if s.learns_at(steps):
                drawn = rng.choice(min(steps, s.capacity), s.batch_size, replace=False)
                states, next_states = (pixels(array[drawn]) for array in frames)
                chosen, earnings, going = map(
                    torch.from_numpy, (actions[drawn], rewards[drawn], goes_on[drawn])
                )
                optimizer.zero_grad()
                loss_of(states, chosen, earnings, next_states, going).backward()
                step()
            if steps % s.target_update_interval == 0:
                target.load_state_dict(network.state_dict())
        yield steps, earned


def child(label, seed):
    """In a child: for each line on stdin, some frames more; what they came to."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    games = ours(seed) if label == "minidqn" else torch_agent(seed, "compile" in label)
    returns, steps, seconds = collections.deque(maxlen=100), 0, 0.0
    for line in sys.stdin:
        wanted = steps + int(line)
        began = time.perf_counter()
        while steps < wanted:
            steps, earned = next(games)
            returns.append(earned)
            if len(returns) == 100 and np.mean(returns) >= GOAL:
                break
        seconds += time.perf_counter() - began
        told = {"frames": steps, "return": float(np.mean(returns)), "seconds": seconds}
        print(json.dumps(told), flush=True)


def report(arguments):
    """In the parent: children take turns until all have reached the goal."""
    turn, limit = (6000, 12_000) if arguments.quick else (20_000, max(arguments.frames, 40_000))
    rows = []
    for seed in range(1 if arguments.quick else arguments.seeds):
        rows += race(seed, turn, limit)
    harness.write_csv("time_to_score", rows)
    harness.write_table("time_to_score", summary(rows))


def summary(rows):
    """The table: a line for each run, with ours over it."""
    rates = {r["seed"]: float(r["frames a second"]) for r in rows if r["contestant"] == "minidqn"}
    return [
        {
            "contestant": row["contestant"],
            "seed": row["seed"],
            "frames": f"{int(row['frames']):,}",
            "return": f"{float(row['return']):.2f}",
            "reached 5": "yes" if float(row["return"]) >= GOAL else "no",
            "seconds": f"{float(row['seconds']):.0f}",
            "frames a second": f"{(rate := float(row['frames a second'])):.0f}",
            "a million frames, min": f"{1e6 / rate / 60:.1f}",
            "ours over it": f"{rates[row['seed']] / rate:.2f}",
        }
        for row in rows
    ]


def race(seed, turn, limit):
    """One run of each contestant, in turns: a row for each."""
    one_core = os.environ | dict.fromkeys(harness.THREAD_VARIABLES, "1")
    running = {}
    for label in ENTRIES:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.time_to_score"]
        running[label] = subprocess.Popen(
            [*command, harness.CHILD, label, str(seed)], env=one_core, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
    told = {label: [] for label in ENTRIES}  # after each turn
    while running:
        for label, process in list(running.items()):
            process.stdin.write(f"{turn}\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{label} ended with status {process.wait()}")
            told[label].append(now := json.loads(line))
            print(f"seed {seed}, {label}: {now}", file=sys.stderr, flush=True)
            if now["return"] >= GOAL or now["frames"] >= limit:
                process.stdin.close()
                process.wait()
                del running[label]
    rows, common = [], min(map(len, told.values()))
    for label, turns in told.items():
        first, last = turns[0], turns[common - 1]
        rate = (last["frames"] - first["frames"]) / (last["seconds"] - first["seconds"])
        rows.append({"contestant": label, "seed": seed, **turns[-1], "frames a second": rate})
    return rows


def add_flags(parser):
    """The flags of this benchmark."""
    parser.add_argument("--seeds", type=int, default=2, help="runs of each contestant")
    parser.add_argument("--frames", type=int, default=2_000_000, help="of a run, at most")


if __name__ == "__main__":
    if harness.CHILD in sys.argv:
        child(sys.argv[-2], int(sys.argv[-1]))
    else:
        harness.main("MinAtar Breakout on one core.", None, report, add_flags)
