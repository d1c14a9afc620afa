"""PyTorch on a GPU with `torch.compile`, and all steps of an epoch recorded as one CUDA graph.

This is the fastest form of the same training that we know: the host launches a single graph per
epoch. Warming up on a side stream before the recording follows PyTorch's notes on CUDA graphs,
https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from collections.abc import Iterator

import torch

from benchmarks.contestants.pytorch import make_targets, put
from benchmarks.contestants.pytorch_compiled import Compiled, unable_to_compile
from benchmarks.job import Epoch, Epochs, Job


def make(job: Job) -> Epochs:
    """Prepare to train a variant on the GPU."""
    torch.set_default_device("cuda")
    compiled = Compiled(job)
    x, labels, targets = put(job.inputs), put(job.labels), make_targets(job, job.labels)
    count = len(x)
    order = torch.arange(count)
    batches = order.split(job.batch_size)
    total, right = torch.zeros(()), torch.zeros((), dtype=torch.int64)

    def step(rows: torch.Tensor) -> None:
        whole = len(rows) == count
        batch = (part if whole else part.index_select(0, rows) for part in (x, targets, labels))
        cost, hits = compiled.step(*batch)
        total.add_(cost * len(rows))
        right.add_(hits)

    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    compiled.reset()
    with unable_to_compile(), torch.cuda.stream(side):
        for rows in (batches[0], batches[-1], batches[0]):
            step(rows)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=side):
        for rows in batches:
            step(rows)

    def epochs(scored: int) -> Iterator[Epoch]:
        compiled.reset()
        validation = (
            put(job.validation_inputs[:scored]),
            make_targets(job, job.validation_labels[:scored]),
            put(job.validation_labels[:scored]),
        )
        rng = job.order()
        while True:
            if job.batch_size < count:
                order.copy_(put(rng.permutation(count)))
            total.zero_()
            right.zero_()
            graph.replay()
            with torch.inference_mode(), unable_to_compile():
                cost, hits = compiled.score(*validation)
            yield Epoch(
                total.item() / count,
                right.item() / count,
                cost.item(),
                hits.item() / len(validation[0]),
            )

    return epochs
