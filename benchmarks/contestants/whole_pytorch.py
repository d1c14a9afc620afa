"""PyTorch as a whole process, eager or with `torch.compile`, including distortions.

It is written to be fast on a CPU. Pixels stay bytes until their batch is chosen. Places of all
pixels of a batch are one batched product of affine matrices and coordinates, to which displacement
fields are added in the same call; `affine_grid` takes longer. The optimiser is one fused kernel.
Subnormal numbers, to which Adam's moments decay, are set to 0.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.attempt import Attempt, Pixels, take_part

SIDE = 28
FIELDS = 256
SIGMA = 4.0
"""Standard deviation, in pixels, of the Gaussian that smooths the displacement fields."""
HALF = (SIDE - 1) / 2
"""Pixels per unit of the coordinates of `grid_sample`, which are from -1 to 1."""


def train(attempt: Attempt, path: Path) -> None:
    """Train a network and save its weights."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(attempt.threads)
    torch.manual_seed(attempt.seed)
    settings = attempt.settings
    pixels, labels = (torch.from_numpy(part) for part in attempt.part("train"))
    targets = labels.long()
    model = make_model(attempt)
    distortions = Distortions(settings["augment"]) if settings["augment"] else None

    def cost(
        pixels: torch.Tensor, targets: torch.Tensor, drawn: list[torch.Tensor]
    ) -> torch.Tensor:
        inputs = pixels.float().div_(255)
        if distortions is not None:
            inputs = distortions.distort(inputs, *drawn)
        return functional.cross_entropy(
            model(inputs), targets, label_smoothing=settings["label_smoothing"]
        )

    if attempt.mode == "compiled":
        cost = torch.compile(cost, fullgraph=True, dynamic=False)
    optimizer = make_optimizer(model, settings)
    size, rates, count = settings["batch_size"], iter(attempt.rates), len(labels)
    for _ in range(settings["epochs"]):
        drawn = distortions.draw(count) if distortions is not None else []
        batches = zip(*(of.split(size) for of in (torch.randperm(count), *drawn)), strict=True)
        for rows, *of_batch in batches:
            rate = next(rates)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            batch = pixels.index_select(0, rows), targets.index_select(0, rows)
            cost(*batch, of_batch).backward()
            optimizer.step()
    torch.save(model.state_dict(), path)


def make_model(attempt: Attempt) -> torch.nn.Sequential:
    """Return a network with He's initial weights and biases of 0. Its outputs are logits."""
    modules: list[torch.nn.Module] = []
    for n_in, n_out in zip(attempt.sizes, attempt.sizes[1:], strict=False):
        linear = torch.nn.Linear(n_in, n_out)
        torch.nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        torch.nn.init.zeros_(linear.bias)
        modules += [linear, torch.nn.ReLU()]
        if attempt.settings["dropout"]:
            modules.append(torch.nn.Dropout(attempt.settings["dropout"]))
    while not isinstance(modules[-1], torch.nn.Linear):
        modules.pop()
    return torch.nn.Sequential(*modules)


def make_optimizer(model: torch.nn.Module, settings: dict[str, Any]) -> torch.optim.Optimizer:
    """Return the optimiser. Only weights decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim == 2]},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    betas = settings["beta1"], settings["beta2"]
    decay = settings["weight_decay"]
    return torch.optim.AdamW(groups, betas=betas, weight_decay=decay, fused=True)


class Distortions:
    """Random affine maps and smooth displacements, in the coordinates of `grid_sample`."""

    def __init__(self, strengths: dict[str, float]) -> None:
        self._strengths = strengths
        along = torch.linspace(-1, 1, SIDE)
        x, y = along.repeat(SIDE), along.repeat_interleave(SIDE)
        self._places = torch.stack([x, y, torch.ones_like(x)])
        self._fields = torch.zeros(0)
        if strengths["elastic"]:
            fields = smooth_fields() * (strengths["elastic"] / HALF)
            self._fields = torch.cat([fields, -fields])

    def draw(self, count: int) -> list[torch.Tensor]:
        """Return a matrix (2, 3) for each of `count` images, and the fields for its x and y."""
        most = self._strengths
        angle, width, height, lean, right, down = torch.rand(6, count).mul_(2).sub_(1)
        angle = angle * math.radians(most["rotate"])
        width, height = 1 + width * most["scale"], 1 + height * most["scale"]
        lean, cos, sin = lean * most["shear"], angle.cos(), angle.sin()
        shift = most["shift"] / HALF
        rows = [
            torch.stack([width * cos, height * (lean * cos - sin), right * shift], 1),
            torch.stack([width * sin, height * (lean * sin + cos), down * shift], 1),
        ]
        drawn = [torch.stack(rows, 1)]
        if len(self._fields):
            drawn.append(torch.randint(len(self._fields), (count, 2)))
        return drawn

    def distort(
        self, inputs: torch.Tensor, matrices: torch.Tensor, fields: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return inputs (n, 784) distorted by matrices (n, 2, 3) and fields (n, 2)."""
        places = self._places.expand(len(matrices), 3, SIDE * SIDE)
        if fields is None:
            grid = torch.bmm(matrices, places)
        else:
            grid = torch.baddbmm(self._fields[fields], matrices, places)
        grid = grid.view(-1, 2, SIDE, SIDE).permute(0, 2, 3, 1)
        images = inputs.view(-1, 1, SIDE, SIDE)
        return functional.grid_sample(images, grid, align_corners=True).view(-1, SIDE * SIDE)


def smooth_fields() -> torch.Tensor:
    """Return noise smoothed with a Gaussian, (FIELDS, 784), of standard deviation 1."""
    reach = round(3 * SIGMA)
    taps = torch.arange(-reach, reach + 1).div(SIGMA).square().mul(-0.5).exp()
    taps /= taps.norm()
    noise = torch.randn(FIELDS, 1, SIDE + 2 * reach, SIDE + 2 * reach)
    smooth = functional.conv2d(
        functional.conv2d(noise, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1)
    )
    return smooth.view(FIELDS, SIDE * SIDE)


def probabilities(attempt: Attempt, path: Path, pixels: Pixels) -> torch.Tensor:
    """Return the logits of images by a saved network."""
    model = make_model(attempt)
    model.load_state_dict(torch.load(path, weights_only=True))
    with torch.inference_mode():
        return model.eval()(torch.from_numpy(pixels).float().div_(255))


if __name__ == "__main__":
    take_part(train, probabilities)
