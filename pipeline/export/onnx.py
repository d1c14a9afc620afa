"""A network as ONNX, for ONNX Runtime and others: grey values in, probabilities out.

The graph contains the normalisation and the softmax, so a program needs to know nothing else. It
computes in float32, in an order of sums of its own; probabilities agree to about 1e-6.
"""

import json

import numpy as np

from pipeline.base.errors import SettingsError
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH
from pipeline.nn.model_file import Model

OPSET, IR_VERSION = 17, 8
"""Versions of the format that runtimes from 2022 on read."""
_OPERATORS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softmax": "Softmax"}


def onnx_bytes(model: Model) -> bytes:
    """Return the content of an ONNX file. The same model gives the same bytes.

    Input `images`: float32 `(N, 28, 28)`, grey values from 0 (background) to 255. Output
    `probabilities`: float32 `(N, classes)`. Raises SettingsError if the package is missing.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError as error:
        raise SettingsError(
            "--onnx needs onnx, not installed: pip install -e '.[export]'"
        ) from error
    architecture, normalization = model.network.architecture, model.normalization
    classes = len(model.class_names)
    constants = {
        "flat": np.array([-1, PIXELS], np.int64),
        "white": np.float32(255),
        "mean": np.float32(normalization.mean),
        "std": np.float32(normalization.std),
        **model.network.parameters,
    }
    nodes = [
        helper.make_node("Reshape", ["images", "flat"], ["pixels"]),
        helper.make_node("Div", ["pixels", "white"], ["brightness"]),
        helper.make_node("Sub", ["brightness", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["layer0"]),
    ]
    last = len(architecture.sizes) - 1
    for number in range(1, last + 1):
        linear, below = f"layer{number}.linear", f"layer{number - 1}"
        parameters = [f"layer{number}.weight", f"layer{number}.bias"]
        nodes.append(helper.make_node("Gemm", [below, *parameters], [linear]))
        if number < last:
            operator = _OPERATORS[architecture.activation]
            nodes.append(helper.make_node(operator, [linear], [f"layer{number}"]))
    outputs = f"layer{last}.linear"
    if architecture.loss == "cross_entropy":
        nodes.append(helper.make_node("Softmax", [outputs], ["probabilities"], axis=1))
    else:
        # The outputs divided by their sum; if all are 0, all classes are equally likely.
        constants |= {"one": np.array([1], np.int64), "zero": np.float32(0)}
        constants["count"] = np.float32(classes)
        activated, operator = f"layer{last}", _OPERATORS[architecture.output]
        nodes += [
            helper.make_node(operator, [outputs], [activated]),
            helper.make_node("ReduceSum", [activated, "one"], ["total"], keepdims=1),
            helper.make_node("Equal", ["total", "zero"], ["is_silent"]),
            helper.make_node("Cast", ["is_silent"], ["silent"], to=TensorProto.FLOAT),
            helper.make_node("Add", [activated, "silent"], ["shares"]),
            helper.make_node("Mul", ["silent", "count"], ["silent_total"]),
            helper.make_node("Add", ["total", "silent_total"], ["whole"]),
            helper.make_node("Div", ["shares", "whole"], ["probabilities"]),
        ]
    graph = helper.make_graph(
        nodes,
        model.variant,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    exported = helper.make_model(
        graph,
        producer_name="handwritten-digits",
        producer_version=model.versions.get("handwritten-digits", ""),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(
        exported,
        {
            "class_names": json.dumps(model.class_names),
            "pictures": model.pictures,
            "training": json.dumps(model.training),
        },
    )
    checker.check_model(exported, full_check=True)
    content: bytes = exported.SerializeToString(deterministic=True)
    return content
