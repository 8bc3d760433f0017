"""Stable-Baselines3's DQN on Fruit, beside this package's default run: wins of all 80 starts.

    python -m pip install ".[gym]" stable-baselines3
    python -m benchmarks.sb3_dqn          # some minutes

Both play the same number of environment steps, `STEPS`, a learning step after each, with
batches of 128 and gamma 0.8. The rest is as each comes: Stable-Baselines3 has two hidden
layers of 64 units, Adam, Huber's loss, a target network and an epsilon that falls to 0.05.
Writes results/sb3.csv and sb3.md beside this file.
"""

import time

from benchmarks import harness

STEPS = 4000
SEEDS = 3


def measure(job):
    """In a child: one training; what it wins."""
    import numpy as np

    from minidqn.evaluate import wins
    from minidqn.train import train

    began = time.perf_counter()
    if job["label"] == "minidqn":
        model, _ = train("fruit", epochs=STEPS // 8, eval_every=STEPS, seed=job["seed"])
    else:
        import stable_baselines3
        import torch

        import minidqn.gym  # noqa: F401, registers the environments

        torch.set_num_threads(1)
        agent = stable_baselines3.DQN(
            "MlpPolicy", "minidqn/Fruit-v0", batch_size=128, gamma=0.8, seed=job["seed"],
            learning_starts=128, train_freq=1, target_update_interval=500, learning_rate=1e-3,
            exploration_fraction=0.5,
        )  # fmt: skip
        agent.learn(STEPS)

        class Network:
            def predict(self, states):
                with torch.no_grad():
                    return agent.q_net(torch.from_numpy(states)).numpy()

        model = Network()
    seconds = time.perf_counter() - began
    won = wins(model, 10)
    return {"won": int(np.sum(won)), "starts": won.size, "seconds": seconds}


def report(arguments):
    """In the parent: a child for each training."""
    rows = []
    for label in ("minidqn", "stable-baselines3 DQN"):
        found = [
            harness.in_child("benchmarks.sb3_dqn", {"label": label, "seed": seed})
            for seed in range(1 if arguments.quick else SEEDS)
        ]
        rows.append(
            {
                "contestant": label,
                "steps": STEPS,
                "wins, each seed": ", ".join(f"{one['won']}/{one['starts']}" for one in found),
                "s, min": f"{min(one['seconds'] for one in found):.1f}",
            }
        )
    harness.write_csv("sb3", rows)
    harness.write_table("sb3", rows)


if __name__ == "__main__":
    harness.main("Stable-Baselines3 on Fruit.", measure, report)
