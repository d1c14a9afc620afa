"""PyTorch with `torch.compile`: forward, loss, backward and optimiser step in one graph.

The step is written with `torch.func` on plain tensors. This form compiles without graph breaks, and
needs neither autograd's tape nor an optimiser object. A C++ compiler is required.
"""

from collections.abc import Iterator

import torch
from torch._dynamo.exc import TorchDynamoException
from torch.nn import functional

from benchmarks.contestants.pytorch import Scores, loss_function, run_epochs
from benchmarks.job import Epoch, Epochs, Job, UnableError

FUNCTIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


def make(job: Job) -> Epochs:
    """Prepare to train a variant."""
    torch.set_num_threads(job.threads)
    settings, loss = job.settings, loss_function(job)
    activation = FUNCTIONS[settings["activation"]]
    lr, momentum, l2 = settings["lr"], settings["momentum"], settings["l2"]
    limit = settings["clip_value"]
    parameters = [torch.empty(part.T.shape) for layer in job.weights for part in layer]
    velocities = [torch.empty_like(parameter) for parameter in parameters]

    def score_with(
        parameters: list[torch.Tensor], x: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor
    ) -> Scores:
        for at in range(0, len(parameters) - 2, 2):
            x = activation(functional.linear(x, parameters[at], parameters[at + 1]))
        outputs = functional.linear(x, parameters[-2], parameters[-1])
        if settings["loss"] == "mean_squared_error":
            outputs = torch.sigmoid(outputs)
        return loss(outputs, targets), (outputs.argmax(1) == labels).sum()

    def train_step(
        parameters: list[torch.Tensor],
        velocities: list[torch.Tensor],
        x: torch.Tensor,
        targets: torch.Tensor,
        labels: torch.Tensor,
    ) -> Scores:
        gradients, scores = differentiate(parameters, x, targets, labels)
        for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
            if limit is not None:
                gradient = gradient.clamp(-limit, limit)
            if l2 and parameter.ndim == 2:
                gradient = gradient + l2 * parameter
            if momentum:
                gradient = velocity.mul_(momentum).add_(gradient)
            parameter.sub_(lr * gradient)
        return scores

    differentiate = torch.func.grad_and_value(score_with, has_aux=True)
    compiled_step = torch.compile(train_step, fullgraph=True, dynamic=False)
    compiled_score = torch.compile(score_with, fullgraph=True, dynamic=False)

    def step(x: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor) -> Scores:
        return compiled_step(parameters, velocities, x, targets, labels)

    def score(x: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor) -> Scores:
        return compiled_score(parameters, x, targets, labels)

    def epochs(scored: int) -> Iterator[Epoch]:
        first = (part.T for layer in job.weights for part in layer)
        for parameter, velocity, values in zip(parameters, velocities, first, strict=True):
            parameter.copy_(torch.from_numpy(values))
            velocity.zero_()
        try:
            yield from run_epochs(job, step, score, scored)
        except TorchDynamoException as error:
            reason = getattr(error, "inner_exception", error)
            line = next(iter(str(reason).splitlines()), "")
            raise UnableError(f"cannot compile: {type(reason).__name__}: {line}") from error

    return epochs
