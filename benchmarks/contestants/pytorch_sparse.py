"""Eager PyTorch whose first layer multiplies sparse matrices, sparing it every pixel that is 0.

Images are compressed rows (CSR). The weight gradient multiplies by their transpose, again as
compressed rows: PyTorch's own gradient would transpose anew at every step, which takes several
times as long as the product. SciPy takes batches and transposes them, because PyTorch cannot do
the one and is slow at the other.
"""

import warnings
from functools import cached_property
from typing import Any, Self

import torch
from scipy.sparse import csr_array

from benchmarks.contestants.pytorch import make_model, train_with
from benchmarks.job import Epochs, Job

TOGETHER = 4096
"""Images of which a weight gradient is added up at a time: all at once takes twice as long, because
their errors are more than a cache holds."""


def make(job: Job) -> Epochs:
    """Prepare to train a variant."""
    model = make_model(job)
    model[0] = SparseLinear(*job.weights[0][0].shape)
    return train_with(job, model, lambda inputs: SparseImages(csr_array(inputs)))


class SparseImages:
    """Images (N, 784) as compressed rows, and their transpose as such, each made when needed."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def index_select(self, _dim: int, chosen: torch.Tensor) -> Self:
        """Take some images."""
        return type(self)(self.rows[chosen.numpy()])

    @cached_property
    def matrix(self) -> torch.Tensor:
        """The images."""
        return as_tensor(self.rows, self.rows.shape)

    @cached_property
    def transposed(self) -> list[torch.Tensor]:
        """The transpose, (784, N), in pieces of TOGETHER images."""
        pieces = (self.rows[at : at + TOGETHER] for at in range(0, len(self), TOGETHER))
        return [as_tensor(piece.tocsc(), piece.shape[::-1]) for piece in pieces]


def as_tensor(compressed: Any, shape: tuple[int, int]) -> torch.Tensor:
    """Return a tensor of compressed rows in the memory of SciPy's matrix."""
    parts = (torch.from_numpy(getattr(compressed, it)) for it in ("indptr", "indices", "data"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(*parts, shape, check_invariants=False)


class Product(torch.autograd.Function):  # type: ignore[misc]  # mypy sees no PyTorch
    """Images times weights, (784, n_out)."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, images: SparseImages) -> torch.Tensor:
        """Return the product."""
        ctx.images = images
        return images.matrix @ weight

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the weights' gradient."""
        first, *others = zip(ctx.images.transposed, gradient.split(TOGETHER), strict=True)
        total = first[0] @ first[1]
        for transposed, part in others:
            total.addmm_(transposed, part)
        return total, None


class SparseLinear(torch.nn.Linear):  # type: ignore[misc]
    """A linear layer that takes sparse images. Its weights lie as their products want them."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        self.weight = torch.nn.Parameter(torch.empty(n_in, n_out).t())

    def forward(self, images: SparseImages) -> torch.Tensor:
        """Return pre-activations."""
        return Product.apply(self.weight.t(), images) + self.bias
