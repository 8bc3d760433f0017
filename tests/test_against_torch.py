"""The recipe against PyTorch, where it is installed: it is no dependency of anything here."""

import numpy as np
import pytest

from minidqn.train import q_network
from tests.test_convolution import as_float32

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is optional")

BATCH = 32


def torch_network(weights, grid_size):
    """The recipe in torch, with our weights: OIHW kernels, (out, in) matrices."""
    nn = torch.nn
    flat = (grid_size - 4) ** 2 * 16
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
        nn.Linear(flat, 100), nn.ReLU(), nn.Linear(100, 3),
    )  # fmt: skip
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(as_torch(weight).copy()))
    return model


def as_torch(weight):
    """Our layout to torch's."""
    return weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T


def forward(model, states):
    """Flatten in our order, (h, w, c), between convolutions and dense layers."""
    features = model[:4](torch.from_numpy(states))
    return model[4:](features.permute(0, 2, 3, 1).flatten(1))


@pytest.fixture(params=[(10, 0), (10, 1), (13, 2)], ids=["10", "10 again", "13"])
def problem(request):
    grid_size, seed = request.param
    rng = np.random.default_rng(seed)
    model = q_network(grid_size, rng)
    model.set_weights([w + 0.05 * rng.standard_normal(w.shape) for w in model.get_weights()])
    states, targets = as_float32(
        rng.random((BATCH, 1, grid_size, grid_size)), rng.standard_normal((BATCH, 3))
    )
    return model, torch_network(model.get_weights(), grid_size), states, targets


def test_outputs(problem):
    model, theirs, states, _ = problem
    with torch.no_grad():
        expected = forward(theirs, states).numpy()
    np.testing.assert_allclose(model.predict(states), expected, atol=1e-5)


def test_gradients(problem):
    model, theirs, states, targets = problem
    loss = torch.nn.functional.mse_loss(forward(theirs, states), torch.from_numpy(targets))
    loss.backward()
    ours = model.train_on_batch(states, targets)
    assert np.isclose(ours, loss.item(), rtol=1e-5)
    for (name, gradient), parameter in zip(
        model.named_gradients().items(), theirs.parameters(), strict=True
    ):
        expected = parameter.grad.numpy()
        error = np.abs(as_torch(gradient) - expected).max() / np.abs(expected).max()
        assert error < 1e-4, name


def test_five_updates(problem):
    model, theirs, states, targets = problem
    optimizer = torch.optim.RMSprop(theirs.parameters(), lr=1e-3, alpha=0.9, eps=1e-8)
    for _ in range(5):
        model.train_on_batch(states, targets)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(forward(theirs, states), torch.from_numpy(targets)).backward()
        optimizer.step()
    for (name, weight), parameter in zip(
        model.named_weights().items(), theirs.parameters(), strict=True
    ):
        assert np.abs(as_torch(weight) - parameter.detach().numpy()).max() < 1e-4, name
