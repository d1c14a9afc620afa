"""Training is that of PyTorch: step by step for drawn settings, in distribution for a recipe."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, mannwhitneyu

from pipeline.base.params import VariantSettings
from pipeline.nn.compiled.engine import CompiledEngine
from pipeline.nn.dropout import factors
from tests.nn.test_compiled import (
    assert_close,
    by_definition,
    double,
    draws_of,
    images_of,
    lr_of,
    network_of,
    variants,
)
from tests.training import trained

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

FUNCTIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax": lambda z: torch.softmax(z, dim=1),
}


def by_pytorch(network, variant, inputs, labels, order):
    """Train for an epoch with PyTorch in float64; return the cost and the parameters by name."""
    tensors = {
        name: torch.tensor(array, dtype=torch.float64, requires_grad=True)
        for name, array in network.parameters.items()
    }
    size = len(labels) if variant.batch_size == "all" else variant.batch_size
    steps = math.ceil(len(labels) / size)
    optimizer = optimizer_of(variant, tensors)
    end = 0.0 if variant.schedule == "linear" else 1.0
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, end, total_iters=steps)
    words, cost = draws_of(variant, len(labels)).drops, 0.0
    for rows in np.split(order, range(size, len(labels), size)):
        x = torch.tensor(inputs[rows], dtype=torch.float64)
        for at in range(len(variant.hidden) + 1):
            x = x @ tensors[f"layer{at + 1}.weight"] + tensors[f"layer{at + 1}.bias"]
            if at < len(variant.hidden):
                x = FUNCTIONS[variant.activation](x)
                if words is not None:
                    neurons = variant.hidden[at]
                    x = x * torch.tensor(factors(words[rows, at], neurons, variant.dropout))
        loss, smoothed = losses(x, torch.tensor(labels[rows].astype(np.int64)), variant)
        optimizer.zero_grad()
        smoothed.backward()
        clip(tensors, variant)
        optimizer.step()
        schedule.step()
        cost += loss.item() * len(rows)
    return cost, {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def optimizer_of(variant, tensors):
    kinds = {
        "sgd": ("SGD", {"momentum": variant.momentum, "nesterov": variant.nesterov}, variant.l2),
        "adam": ("Adam", {"betas": (variant.beta1, variant.beta2)}, variant.l2),
        "adamw": ("AdamW", {"betas": (variant.beta1, variant.beta2)}, variant.weight_decay),
    }
    kind, options, decay = kinds[variant.optimizer]
    weights = [tensor for name, tensor in tensors.items() if name.endswith("weight")]
    biases = [tensor for name, tensor in tensors.items() if name.endswith("bias")]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    return getattr(torch.optim, kind)(groups, lr=variant.lr, **options)


def losses(x, labels, variant):
    """Return the mean cost that is reported, and the one with smoothed labels."""
    if variant.loss == "cross_entropy":
        return tuple(
            torch.nn.functional.cross_entropy(x, labels, label_smoothing=share)
            for share in (0.0, variant.label_smoothing)
        )
    targets = torch.nn.functional.one_hot(labels, 10).to(x.dtype)
    return (torch.nn.functional.mse_loss(FUNCTIONS[variant.output](x), targets),) * 2


def clip(tensors, variant):
    if variant.clip_value is not None:
        torch.nn.utils.clip_grad_value_(tensors.values(), variant.clip_value)
    if variant.clip_norm is not None:
        # PyTorch's own function adds 1e-6 to the norm, which Adam can magnify.
        norm = torch.nn.utils.get_total_norm([tensor.grad for tensor in tensors.values()])
        for tensor in tensors.values():
            tensor.grad *= min(1.0, variant.clip_norm / norm.item())
    if variant.optimizer == "adamw":  # PyTorch's has no L2 beside its weight decay
        for name, tensor in tensors.items():
            if name.endswith("weight"):
                tensor.grad += variant.l2 * tensor.detach()


@pytest.mark.parametrize("examples", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_an_epoch_is_that_of_pytorch_for_any_settings(digits, examples):
    @settings(max_examples=examples, deadline=None)
    @given(variants(), st.sampled_from([0, 0.3]), st.integers(0, 99))
    def check(variant, shift, seed):
        size = 300 if variant.batch_size == "all" else variant.batch_size
        count = min(300, 10 * size + size // 2)
        inputs, labels = images_of(digits, count, shift)
        network = network_of(variant, seed)
        drawn = np.random.default_rng(seed)
        for layer in network.layers:
            # Clipped steps up and down would leave a bias of 0 in ReLU's kink, but for rounding.
            layer.bias[:] = drawn.normal(0, 0.1, layer.bias.shape)
        defined = double(network)
        order = drawn.permutation(count)
        cost, theirs = by_pytorch(network, variant, inputs, labels, order)
        ours, _, _ = by_definition(defined, variant, inputs, labels, order)
        assert ours == pytest.approx(cost, rel=1e-9)
        for name, parameter in defined.parameters.items():
            np.testing.assert_allclose(parameter, theirs[name], rtol=0, atol=1e-9)
        engine = CompiledEngine(network, variant, threads=2)
        images = engine.hold([(inputs, labels)], count)
        rates, draws = lr_of(variant, count), draws_of(variant, count)
        compiled, _ = engine.train(images, None if size == 300 else order, rates, draws)
        assert_close(compiled, network.parameters, cost, theirs, variant)

    check()


RECIPE = VariantSettings(
    hidden=[64], lr=0.1, momentum=0.9, l2=1e-4, batch_size=32, epochs=6, initializer="he"
)


@pytest.mark.slow
def test_final_accuracies_are_distributed_like_those_of_pytorch(digits):
    rows = np.random.default_rng(0).permutation(5000)
    inputs = (digits.images.reshape(-1, 784) / 255).astype(np.float32)
    training, unseen = ((inputs[part], digits.labels[part]) for part in (rows[:1500], rows[1500:]))
    ours = [
        trained(RECIPE, training, unseen, seed=seed)[1][-1].validation.accuracy
        for seed in range(SEEDS)
    ]
    theirs = [accuracy_by_pytorch(training, unseen, seed) for seed in range(SEEDS)]
    for test in (ks_2samp, mannwhitneyu):
        assert test(ours, theirs).pvalue > 0.01, (np.mean(ours), np.mean(theirs))
    assert np.std(ours) == pytest.approx(np.std(theirs), rel=0.5)


SEEDS = 30


def accuracy_by_pytorch(training, unseen, seed):
    """Train RECIPE with PyTorch's own random numbers; return the accuracy on unseen images."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    for layer in (model[0], model[2]):
        torch.nn.init.kaiming_normal_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    tensors = {f"{layer}.weight": model[layer].weight for layer in (0, 2)}
    tensors |= {f"{layer}.bias": model[layer].bias for layer in (0, 2)}
    optimizer = optimizer_of(RECIPE, tensors)
    x, y = torch.tensor(training[0]), torch.tensor(training[1].astype(np.int64))
    for _ in range(RECIPE.epochs):
        for rows in torch.randperm(len(y)).split(RECIPE.batch_size):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return float((model(torch.tensor(unseen[0])).argmax(1).numpy() == unseen[1]).mean())
