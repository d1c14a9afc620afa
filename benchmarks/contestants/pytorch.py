"""Eager PyTorch as its users write it: modules, autograd and an optimiser.

It is written to be fast. Tensors stay in the memory of PyTorch's default device. Batches are
selected with `index_select`, which on a CPU takes less than half the time of `x[rows]`. The
optimiser step is one fused kernel. Costs are read once per epoch.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional

from benchmarks.job import Epoch, Epochs, Floats, Job, Labels

Scores = tuple[torch.Tensor, torch.Tensor]
"""The mean cost and the number of correct predictions."""
Step = Callable[[Any, torch.Tensor, torch.Tensor], Scores]
"""Takes inputs, the targets of the loss, and labels."""
Hold = Callable[[Floats], Any]
"""Takes inputs (N, 784) and returns an object with a length and `index_select`, like a tensor."""

ACTIVATIONS = {
    "relu": torch.nn.ReLU,
    "sigmoid": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
}


def put(array: Any) -> torch.Tensor:
    """Return an array as a tensor on the default device."""
    return torch.from_numpy(array).to(torch.get_default_device())


def make(job: Job) -> Epochs:
    """Prepare to train a variant."""
    return prepare(job)[1]


def prepare(job: Job) -> tuple[torch.nn.Sequential, Epochs]:
    """Return the network of a variant and the function that trains it."""
    model = make_model(job)
    return model, train_with(job, model, put)


def train_with(job: Job, model: torch.nn.Sequential, hold: Hold) -> Epochs:
    """Prepare to train a network. hold: converts inputs to what its first layer takes."""
    torch.set_num_threads(job.threads)
    loss = loss_function(job)
    limit = job.settings["clip_value"]

    def score(x: Any, targets: torch.Tensor, labels: torch.Tensor) -> Scores:
        outputs = model(x)
        return loss(outputs, targets), (outputs.argmax(1) == labels).sum()

    def epochs(scored: int) -> Iterator[Epoch]:
        set_weights(model, job)
        optimizer = make_optimizer(model, job)

        def step(x: Any, targets: torch.Tensor, labels: torch.Tensor) -> Scores:
            optimizer.zero_grad()
            cost, right = score(x, targets, labels)
            cost.backward()
            if limit is not None:
                torch.nn.utils.clip_grad_value_(model.parameters(), limit)
            optimizer.step()
            return cost.detach(), right

        return run_epochs(job, step, score, scored, hold)

    return epochs


def make_model(job: Job) -> torch.nn.Sequential:
    """Return the network of a variant. With cross-entropy its outputs are logits."""
    modules: list[torch.nn.Module] = []
    for weight, _ in job.weights:
        modules.append(torch.nn.Linear(*weight.shape))
        modules.append(ACTIVATIONS[job.settings["activation"]]())
    modules.pop()
    if job.settings["loss"] == "mean_squared_error":
        modules.append(torch.nn.Sigmoid())
    return torch.nn.Sequential(*modules)


def set_weights(model: torch.nn.Module, job: Job) -> None:
    """Reset a network to the initial weights of the job."""
    linear = [module for module in model if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        for module, (weight, bias) in zip(linear, job.weights, strict=True):
            module.weight.copy_(put(weight.T))
            module.bias.copy_(put(bias))


def make_optimizer(model: torch.nn.Module, job: Job) -> torch.optim.Optimizer:
    """Return the optimiser. L2 applies to weights only."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim == 2], "weight_decay": job.settings["l2"]},
        {"params": [p for p in parameters if p.ndim == 1]},
    ]
    lr, momentum = job.settings["lr"], job.settings["momentum"]
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=True)


def loss_function(job: Job) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the function that computes the mean cost from outputs and targets."""
    if job.settings["loss"] == "cross_entropy":
        return functional.cross_entropy
    return functional.mse_loss


def make_targets(job: Job, labels: Labels) -> torch.Tensor:
    """Return the targets of the loss: labels, or one-hot rows for mean squared error."""
    tensor = put(labels)
    if job.settings["loss"] == "cross_entropy":
        return tensor
    return functional.one_hot(tensor, job.classes).float()


def run_epochs(job: Job, step: Step, score: Step, scored: int, hold: Hold = put) -> Iterator[Epoch]:
    """Train with `step` without end, and validate with `score` after every epoch."""
    x, labels = hold(job.inputs), put(job.labels)
    targets = make_targets(job, job.labels)
    validation = (
        hold(job.validation_inputs[:scored]),
        make_targets(job, job.validation_labels[:scored]),
        put(job.validation_labels[:scored]),
    )
    rng, count = job.order(), len(x)
    while True:
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        if job.batch_size == count:
            cost, hits = step(x, targets, labels)
            total += cost * count
            right += hits
        else:
            for rows in put(rng.permutation(count)).split(job.batch_size):
                batch = (part.index_select(0, rows) for part in (x, targets, labels))
                cost, hits = step(*batch)
                total += cost * len(rows)
                right += hits
        with torch.inference_mode():
            cost, hits = score(*validation)
        yield Epoch(
            total.item() / count,
            right.item() / count,
            cost.item(),
            hits.item() / len(validation[0]),
        )
