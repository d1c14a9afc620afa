"""PyTorch with `torch.compile`: forward, loss, backward and optimiser step in one graph.

The step is written with `torch.func` on plain tensors. This form compiles without graph breaks, and
needs neither autograd's tape nor an optimiser object. A C++ compiler is required.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch._dynamo.exc import TorchDynamoException
from torch.nn import functional

from benchmarks.contestants.pytorch import Scores, loss_function, put, run_epochs
from benchmarks.job import Epoch, Epochs, Job, UnableError

FUNCTIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


class Compiled:
    """A variant's parameters, and its compiled steps: `step` trains and `score` measures."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        settings, loss = job.settings, loss_function(job)
        activation = FUNCTIONS[settings["activation"]]
        lr, momentum, l2 = settings["lr"], settings["momentum"], settings["l2"]
        limit = settings["clip_value"]
        self._first = [part.T for layer in job.weights for part in layer]
        self._parameters = [torch.empty(part.shape) for part in self._first]
        self._velocities = [torch.empty_like(parameter) for parameter in self._parameters]

        def score_with(
            parameters: list[torch.Tensor],
            x: torch.Tensor,
            targets: torch.Tensor,
            labels: torch.Tensor,
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
            for parameter, velocity, gradient in zip(
                parameters, velocities, gradients, strict=True
            ):
                if limit is not None:
                    gradient = gradient.clamp(-limit, limit)
                if l2 and parameter.ndim == 2:
                    gradient = gradient + l2 * parameter
                if momentum:
                    gradient = velocity.mul_(momentum).add_(gradient)
                parameter.sub_(lr * gradient)
            return scores

        differentiate = torch.func.grad_and_value(score_with, has_aux=True)
        self._step = torch.compile(train_step, fullgraph=True, dynamic=False)
        self._score = torch.compile(score_with, fullgraph=True, dynamic=False)

    def step(self, x: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor) -> Scores:
        """Take a step and return the scores before it."""
        scores: Scores = self._step(self._parameters, self._velocities, x, targets, labels)
        return scores

    def score(self, x: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor) -> Scores:
        """Return the scores."""
        scores: Scores = self._score(self._parameters, x, targets, labels)
        return scores

    def reset(self) -> None:
        """Set the initial weights of the job again, in place."""
        for parameter, velocity, values in zip(
            self._parameters, self._velocities, self._first, strict=True
        ):
            parameter.copy_(put(values))
            velocity.zero_()


@contextmanager
def unable_to_compile() -> Iterator[None]:
    """Raise UnableError, with the reason in one line, if PyTorch cannot compile."""
    try:
        yield
    except TorchDynamoException as error:
        reason = getattr(error, "inner_exception", error)
        line = next(iter(str(reason).splitlines()), "")
        raise UnableError(f"cannot compile: {type(reason).__name__}: {line}") from error


def make(job: Job) -> Epochs:
    """Prepare to train a variant."""
    compiled = Compiled(job)

    def epochs(scored: int) -> Iterator[Epoch]:
        compiled.reset()
        with unable_to_compile():
            yield from run_epochs(job, compiled.step, compiled.score, scored)

    return epochs
