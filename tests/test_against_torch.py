"""The engine against PyTorch, where it is installed: it is no dependency of anything here."""

import copy

import numpy as np
import pytest

from minidqn.nn import Conv2D, Dense, Flatten, losses, optimizers
from minidqn.recipe import q_network
from tests.test_layers import frames, network

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is optional")


def as_torch(weight):
    """Our layout to torch's: OIHW kernels, (out, in) matrices."""
    return weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T


def forward(model, parameters, states):
    """The same layers; Flatten in our order, (h, w, c)."""
    x, parameters = torch.tensor(states, dtype=torch.float64), iter(parameters)
    for layer in model.layers:
        if isinstance(layer, Flatten):
            x = x.permute(0, 2, 3, 1).flatten(1)
            continue
        apply = torch.nn.functional.conv2d if x.ndim == 4 else torch.nn.functional.linear
        x = apply(x, next(parameters), next(parameters))
        x = x.relu() if layer.relu else x
    return x


LAYERS = [Conv2D(5, (3, 2), input_shape=(2, 9, 11)), Conv2D(18, (1, 4), "relu"), Flatten()]
LAYERS += [Dense(20, "relu"), Dense(7), Dense(3)]


def huber(outputs, goal):
    """Summed over the actions, as ours is."""
    return torch.nn.functional.smooth_l1_loss(outputs, goal, reduction="sum") / len(goal)


@pytest.mark.parametrize("kind", ["sparse", "any numbers"])
@pytest.mark.parametrize("layers", [(), LAYERS], ids=["recipe", "two channels"])
@pytest.mark.parametrize(
    ("rule", "loss", "options", "loss_of"),
    [
        ("rmsprop", "mse", {"alpha": 0.9, "eps": 1e-8}, torch.nn.functional.mse_loss),
        ("rmsprop rho=0.95 epsilon=0.01 centered=true", "huber",
         {"alpha": 0.95, "eps": 0.01, "centered": True}, huber),
    ],
    ids=["recipe's rule", "MinAtar's rule"],
)  # fmt: skip
def test_five_updates(layers, kind, rule, loss, options, loss_of, rng):
    """Outputs, losses and gradients of the first, and the weights after all."""
    model = network(*copy.deepcopy(layers)) if layers else q_network(10, rng)
    model.compile(optimizers.get(rule), loss, engine="compiled")
    model.set_weights([w + 0.05 * rng.standard_normal(w.shape) for w in model.get_weights()])
    states = frames(kind, (32, *model.input_shape), rng)
    targets = rng.standard_normal((32, 3)).astype(np.float32)
    weights = [as_torch(weight).astype(np.float64) for weight in model.get_weights()]
    parameters = [torch.tensor(weight, requires_grad=True) for weight in weights]
    goal = torch.tensor(targets, dtype=torch.float64)
    optimizer = torch.optim.RMSprop(parameters, lr=1e-3, **options)
    names = list(model.named_weights())
    for n in range(5):
        optimizer.zero_grad()
        outputs = forward(model, parameters, states)
        exact_loss = loss_of(outputs, goal)
        exact_loss.backward()
        expected = outputs.detach().numpy()
        np.testing.assert_allclose(model.predict(states), expected, atol=1e-5 if n == 0 else 1e-4)
        assert np.isclose(model.train_on_batch(states, targets), exact_loss.item(), rtol=1e-4)
        for name, parameter in zip(names, parameters if n == 0 else (), strict=n == 0):
            gradient, exact = as_torch(model.named_gradients()[name]), parameter.grad.numpy()
            assert np.abs(gradient - exact).max() < 1e-4 * np.abs(exact).max(), name
        optimizer.step()
    for name, parameter in zip(names, parameters, strict=True):
        weight = as_torch(model.named_weights()[name])
        assert np.abs(weight - parameter.detach().numpy()).max() < 1e-4, name


@pytest.mark.parametrize(
    ("words", "rule", "options"),
    [
        ("sgd", "SGD", {}),
        ("rmsprop epsilon=0.01", "RMSprop", {"alpha": 0.9, "eps": 0.01}),
        ("rmsprop rho=0.5 momentum=0.9", "RMSprop", {"alpha": 0.5, "momentum": 0.9}),
        ("rmsprop rho=0.95 centered=true epsilon=0.01", "RMSprop",
         {"alpha": 0.95, "centered": True, "eps": 0.01}),
        ("rmsprop momentum=0.9 centered=true epsilon=1e-4", "RMSprop",
         {"alpha": 0.9, "momentum": 0.9, "centered": True, "eps": 1e-4}),
        ("adam", "Adam", {"eps": 1e-7}),
        ("adam beta_1=0.5 beta_2=0.9 epsilon=0.01", "Adam", {"betas": (0.5, 0.9), "eps": 0.01}),
    ],
)  # fmt: skip
def test_fifty_updates(words, rule, options, rng):
    """Of every rule and its options, in float64."""
    weights = rng.standard_normal(64)
    ours, theirs = weights.copy(), torch.tensor(weights, requires_grad=True)
    optimizer = optimizers.get(words, learning_rate=0.01)
    optimizer.build(ours)
    other = getattr(torch.optim, rule)([theirs], lr=0.01, **options)
    for _ in range(50):
        gradient = rng.standard_normal(64) * 10 ** rng.uniform(-3, 3)
        assert optimizer.update(ours, gradient)
        theirs.grad = torch.tensor(gradient)
        other.step()
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("mse", torch.nn.functional.mse_loss),
        ("huber", lambda x, y: torch.nn.functional.smooth_l1_loss(x, y, reduction="sum") / len(x)),
    ],
)
def test_losses(name, theirs, rng):
    for _ in range(50):
        targets = rng.standard_normal((5, 3)) * 3
        outputs = torch.tensor(rng.standard_normal((5, 3)), requires_grad=True)
        expected = theirs(outputs, torch.tensor(targets))
        expected.backward()
        loss, numbers = losses.get(name), outputs.detach().numpy()
        assert np.isclose(loss.value(numbers, targets), expected.item(), rtol=1e-12)
        np.testing.assert_allclose(loss.gradient(numbers, targets), outputs.grad, rtol=1e-12)
