"""Eager PyTorch on a GPU."""

import torch

from benchmarks.contestants import pytorch
from benchmarks.job import Epochs, Job


def make(job: Job) -> Epochs:
    """Prepare to train a variant on the GPU."""
    torch.set_default_device("cuda")
    return pytorch.make(job)
