"""Eager PyTorch with sparse matrices in the first layer, which leave out zero pixels.

Images are stored as compressed rows (CSR). The weight gradient multiplies by their transpose, also
as compressed rows; PyTorch's own gradient would transpose at every step, which takes several times
as long as the product. SciPy selects the batches and transposes them, because PyTorch cannot do the
former and is slow at the latter.
"""

import warnings
from functools import cached_property
from typing import Any, Self

import torch
from scipy.sparse import csr_array

from benchmarks.contestants.pytorch import make_model, train_with
from benchmarks.job import Epochs, Job

TOGETHER = 4096
"""Images per partial sum of a weight gradient. A single sum takes twice as long, because the deltas
of all images do not fit into the cache."""


def make(job: Job) -> Epochs:
    """Prepare to train a variant."""
    model = make_model(job)
    model[0] = SparseLinear(*job.weights[0][0].shape)
    return train_with(job, model, lambda inputs: SparseImages(csr_array(inputs)))


class SparseImages:
    """Images (N, 784) and their transpose as compressed rows, each created when it is needed."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def index_select(self, _dim: int, chosen: torch.Tensor) -> Self:
        """Return some of the images."""
        return type(self)(self.rows[chosen.numpy()])

    @cached_property
    def matrix(self) -> torch.Tensor:
        """The images as a tensor."""
        return as_tensor(self.rows, self.rows.shape)

    @cached_property
    def transposed(self) -> list[torch.Tensor]:
        """The transpose, (784, N), in pieces of TOGETHER images."""
        pieces = (self.rows[at : at + TOGETHER] for at in range(0, len(self), TOGETHER))
        return [as_tensor(piece.tocsc(), piece.shape[::-1]) for piece in pieces]


def as_tensor(compressed: Any, shape: tuple[int, int]) -> torch.Tensor:
    """Return a tensor of compressed rows that shares the memory of a SciPy matrix."""
    parts = (torch.from_numpy(getattr(compressed, it)) for it in ("indptr", "indices", "data"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(*parts, shape, check_invariants=False)


class Product(torch.autograd.Function):  # type: ignore[misc]  # mypy sees no PyTorch
    """Product of images and weights (784, n_out)."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, images: SparseImages) -> torch.Tensor:
        """Return the product."""
        ctx.images = images
        return images.matrix @ weight

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the gradient of the weights."""
        first, *others = zip(ctx.images.transposed, gradient.split(TOGETHER), strict=True)
        total = first[0] @ first[1]
        for transposed, part in others:
            total.addmm_(transposed, part)
        return total, None


class SparseLinear(torch.nn.Linear):  # type: ignore[misc]
    """A linear layer for sparse images. Its weights are stored in the order that products need."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        self.weight = torch.nn.Parameter(torch.empty(n_in, n_out).t())

    def forward(self, images: SparseImages) -> torch.Tensor:
        """Return the pre-activations."""
        return Product.apply(self.weight.t(), images) + self.bias
