"""The weights of a network as safetensors, with the description of the model as metadata."""

import json

import numpy as np

from pipeline.base.errors import SettingsError
from pipeline.nn.model_file import Model, describe


def safetensors_bytes(model: Model) -> bytes:
    """Return a file of weights `(in, out)` and biases `(out,)`, named as in the model file.

    The metadata has one entry, `model.json`: what it is in the model file. The same model gives the
    same bytes. Raises SettingsError if the package is missing.
    """
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise SettingsError(
            "--safetensors needs safetensors, not installed: pip install -e '.[export]'"
        ) from error
    arrays = {name: np.ascontiguousarray(each) for name, each in model.network.parameters.items()}
    content: bytes = save(arrays, metadata={"model.json": json.dumps(describe(model))})
    return content
