"""How both runtimes are set for a benchmark: so many threads, no waiting by spinning, float32 in float32."""

from __future__ import annotations

from typing import Any, Dict

__all__ = ["onnxruntime_options", "openvino_config"]


def onnxruntime_options(threads: int) -> Any:
    """Return SessionOptions of ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    # Threads that wait for work by spinning would take the processors from what runs in turns with this session.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def openvino_config(threads: int) -> Dict[str, Any]:
    """Return what OpenVINO compiles a network with: on CPUs with bfloat16 it would else take that."""
    return {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
