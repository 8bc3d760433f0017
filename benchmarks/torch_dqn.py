"""The network of `minidqn.train` in PyTorch, and its learning step, as its users write them."""

import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.harness import Contestant
from minidqn.fruit import ACTIONS

__all__ = ["MODES", "TorchDQN"]

FILTERS = 16
"""Channels of both convolutions."""

MODES = ("eager", "channels-last", "compile")
"""How a network computes; see `TorchDQN`."""


class TorchDQN(Contestant):
    """Deep Q-learning in PyTorch, on the CPU.

    The rule of the steps is PyTorch's own RMSprop, epsilon outside the root as in
    minidqn, all weights in one list of tensors (``foreach``), which is faster
    than one by one; there is no fused kernel for it.

    "eager" runs every operation when it comes, images channels first.
    "channels-last" keeps images channels last in memory, so that flattening them
    is no copy. "compile" is "channels-last" under ``torch.compile``: one graph
    from a batch to its loss and back, and one for the update. That graph wants
    fixed shapes, so it forwards all next states and masks those that ended a
    game; the other modes forward only those that go on. Outside of learning
    steps, the three run alike.

    ``act`` runs a traced graph in every mode. ``torch.jit`` is called deprecated,
    but it is a quarter to a third faster here than the same network run eagerly,
    and ``torch.compile`` is slower than both: its guards cost more than they save
    on one frame.

    Parameters
    ----------
    weights : list of ndarray
        First weights, as ``minidqn.nn.Sequential.get_weights`` returns them; copied.
    grid_size : int
        Rows and columns of the grid, G.
    learning_rate : float
        RMSprop's.
    gamma : float
        Discount factor.
    threads : int
        How many threads PyTorch uses from now on, in the whole process.
    mode : str
        "eager", "channels-last" or "compile".
    dtype : torch.dtype
        Of the weights and all arithmetic; torch.float64 to compare updates closely.

    Raises
    ------
    ValueError
        If there is no such mode.
    """

    name = "PyTorch"

    def __init__(
        self,
        weights,
        grid_size,
        learning_rate=1e-3,
        gamma=0.8,
        threads=1,
        mode="eager",
        *,
        dtype=torch.float32,
    ):
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; expected one of {MODES}")
        torch.set_num_threads(threads)
        self.gamma, self.dtype = gamma, dtype
        self._side, self._channels_last = grid_size - 4, mode != "eager"
        self.network = nn.Sequential(
            nn.Conv2d(1, FILTERS, 3),
            nn.ReLU(),
            nn.Conv2d(FILTERS, FILTERS, 3),
            nn.ReLU(),
            _FlattenChannelsLast() if self._channels_last else nn.Flatten(),
            nn.Linear(self._side**2 * FILTERS, 100),
            nn.ReLU(),
            nn.Linear(100, 3),
        ).to(dtype)
        if self._channels_last:
            self.network.to(memory_format=torch.channels_last)
        with torch.no_grad():
            values = self._to_torch(weights)
            for parameter, value in zip(self.network.parameters(), values, strict=True):
                parameter.copy_(torch.from_numpy(value))
        self.optimizer = torch.optim.RMSprop(
            self.network.parameters(), lr=learning_rate, alpha=0.9, eps=1e-8, foreach=True
        )
        if mode == "compile":
            self._td_loss = torch.compile(self._masked_loss)
            self._update = torch.compile(self.optimizer.step)
        else:
            self._td_loss, self._update = self._indexed_loss, self.optimizer.step
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore", DeprecationWarning)
            frame = torch.zeros(1, grid_size, grid_size, dtype=dtype)
            self._greedy = torch.jit.trace(_Greedy(self.network), frame)

    def learn(self, batch):
        loss = self._td_loss(
            self._tensor(batch.states),
            torch.from_numpy(batch.actions),
            self._tensor(batch.rewards),
            self._tensor(batch.next_states),
        )
        return self._descend(loss)

    def _indexed_loss(self, states, actions, rewards, next_states):
        """The loss of a batch; only next states that go on are forwarded."""
        goes_on = rewards == 0
        with torch.no_grad():
            targets = rewards.clone()
            targets[goes_on] = self.gamma * self.network(next_states[goes_on]).amax(dim=1)
        return self._loss_of_chosen(states, actions, targets)

    def _masked_loss(self, states, actions, rewards, next_states):
        """The same in fixed shapes: all next states are forwarded."""
        with torch.no_grad():
            bootstrapped = self.gamma * self.network(next_states).amax(dim=1)
            targets = torch.where(rewards == 0, bootstrapped, rewards)
        return self._loss_of_chosen(states, actions, targets)

    def _loss_of_chosen(self, states, actions, targets):
        """The mean over all actions; the errors of those not chosen are 0."""
        chosen = actions.long() - ACTIONS[0]
        q_values = self.network(states).gather(1, chosen[:, None]).squeeze(1)
        return functional.mse_loss(q_values, targets) / len(ACTIONS)

    def _descend(self, loss):
        """One update against the gradient of a loss; its value."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._update()
        return loss.item()

    def predict(self, states):
        with torch.inference_mode():
            return self.network(self._tensor(states)).numpy()

    def act(self, state):
        with torch.inference_mode():
            return self._greedy(self._tensor(state)).item() + ACTIONS[0]

    def train_on_batch(self, states, targets):
        outputs = self.network(self._tensor(states))
        return self._descend(functional.mse_loss(outputs, self._tensor(targets)))

    def get_weights(self):
        return self._from_torch([p.detach().numpy() for p in self.network.parameters()])

    def _tensor(self, array):
        """The numbers of an array; the same memory if they are of this dtype already."""
        return torch.from_numpy(np.asarray(array)).to(self.dtype)

    def _to_torch(self, weights):
        """Our layout to PyTorch's: OIHW kernels, (out, in) matrices."""
        *before, dense, dense_bias, last, last_bias = weights
        if not self._channels_last:
            image = dense.reshape(self._side, self._side, FILTERS, -1)
            dense = image.transpose(2, 0, 1, 3).reshape(dense.shape)
        weights = [*before, dense, dense_bias, last, last_bias]
        return [w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T for w in weights]

    def _from_torch(self, weights):
        """PyTorch's layout to ours, copied."""
        weights = [w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T for w in weights]
        *before, dense, dense_bias, last, last_bias = weights
        if not self._channels_last:
            image = dense.reshape(FILTERS, self._side, self._side, -1)
            dense = image.transpose(1, 2, 0, 3).reshape(dense.shape)
        return [w.copy() for w in (*before, dense, dense_bias, last, last_bias)]


class _FlattenChannelsLast(nn.Module):
    """(N, C, H, W) to (N, H * W * C): no copy where images are channels last."""

    def forward(self, images):
        return images.permute(0, 2, 3, 1).flatten(1)


class _Greedy(nn.Module):
    """One frame to the column of the best action."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, frame):
        return self.network(frame[None]).argmax()
