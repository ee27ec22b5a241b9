"""Running ONNX in ONNX Runtime and OpenVINO."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np
import onnxruntime

__all__ = ["executed", "in_onnxruntime", "in_openvino"]


def in_onnxruntime(proto: Any, optimized: bool = True, **inputs: np.ndarray) -> List[np.ndarray]:
    """Return a model's outputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def compiled(proto: Any) -> Any:
    import openvino

    core = openvino.Core()
    model = core.read_model(proto.SerializeToString())
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def in_openvino(proto: Any, data: np.ndarray) -> np.ndarray:
    """Return the first output of a model with one input, computed in float32 where it is not int8."""
    return np.array(compiled(proto)([data])[0])


def executed(proto: Any) -> Dict[str, Tuple[str, str]]:
    """Return the kind and precision of every layer that OpenVINO executes, by the name of its first ONNX node."""
    layers = {}
    for node in compiled(proto).get_runtime_model().get_ops():
        info = {key: str(node.rt_info[key].value) for key in node.rt_info}
        layers[info["originalLayersNames"].split(",")[0]] = (info["layerType"], info["runtimePrecision"])
    return layers
