"""The main loop of the 2016 Keras script, ported: its network calls one at a time.

Changed are the imports, ``xrange``, ``print`` and ``.next()``, and one
assignment of an array of one number to a number (NumPy 2.4 refuses it; the
``axis=-1`` of that line's ``max`` is gone). The words of the comments are ours.

    python -m tests.literal

runs all 500 epochs, each time with other random numbers, and prints the share of
starts won; ``learn`` is held against `literal_targets` in tests/test_qlearning.py.
"""

import argparse

import numpy as np

from minidqn.evaluate import win_rate
from minidqn.fruit import episode
from minidqn.nn import Conv2D, Dense, Flatten, RMSprop, Sequential
from minidqn.replay import experience_replay

GRID_SIZE = 10


def literal_targets(model, batch, gamma):
    """Inputs and targets of a batch, sample by sample, as the script makes them."""
    inputs = []
    targets = []
    for s, a, r, s_prime in batch:
        t = model.predict(s[np.newaxis]).flatten()
        t[a + 1] = r
        if not r:
            t[a + 1] = r + gamma * model.predict(s_prime[np.newaxis]).max()
        targets.append(t)
        inputs.append(s)
    return np.array(inputs), np.array(targets)


def literal_network():
    """The script's recipe."""
    model = Sequential()
    model.add(Conv2D(16, 3, input_shape=(1, GRID_SIZE, GRID_SIZE), activation="relu"))
    model.add(Conv2D(16, 3, activation="relu"))
    model.add(Flatten())
    model.add(Dense(100, activation="relu"))
    model.add(Dense(3))
    model.compile(RMSprop(), "MSE")
    return model


def literal_loop(model, nb_epochs=500, batch_size=128, epsilon=0.8, gamma=0.8):
    """The script's main loop; it draws from NumPy's global generator, as the script does."""
    exp_replay = experience_replay(batch_size)
    next(exp_replay)
    losses = []
    for i in range(nb_epochs):
        ep = episode(GRID_SIZE)
        S, reward = next(ep)
        loss = 0.0
        try:
            while True:
                action = np.random.randint(-1, 2)
                if np.random.random() > epsilon:
                    action = np.argmax(model.predict(S[np.newaxis]), axis=-1)[0] - 1

                S_prime, reward = ep.send(action)
                experience = (S, action, reward, S_prime)
                S = S_prime

                batch = exp_replay.send(experience)
                if batch:
                    inputs, targets = literal_targets(model, batch, gamma)
                    loss += model.train_on_batch(inputs, targets)
        except StopIteration:
            pass
        losses.append(loss)
        if (i + 1) % 100 == 0:
            print("Epoch %i, loss: %.6f" % (i + 1, loss))
    return losses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train by the 2016 script's own loop.")
    parser.add_argument("--epochs", type=int, default=500)
    arguments = parser.parse_args()
    network = literal_network()
    literal_loop(network, arguments.epochs)
    print(f"starts won: {win_rate(network, GRID_SIZE):.4f}")
