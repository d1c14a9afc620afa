"""Train a model with PyTorch, from files to a saved model, like the stage `train`.

python -m benchmarks.contestants.pytorch_script JOB_FOLDER EPOCHS MODEL.pt
"""

import sys
from itertools import islice
from pathlib import Path

import torch

from benchmarks.contestants.pytorch import prepare
from benchmarks.job import read_job


def main(folder: str, epochs: str, target: str) -> None:
    """Train a model and save it."""
    job = read_job(Path(folder))
    model, train = prepare(job)
    for number, epoch in enumerate(islice(train(len(job.validation_labels)), int(epochs)), start=1):
        accuracy = epoch.validation_accuracy
        print(f"epoch {number}: cost {epoch.cost:.4f}, validation accuracy {accuracy:.2%}")
    torch.save(model.state_dict(), target)


if __name__ == "__main__":
    main(*sys.argv[1:])
