"""The targets by name: whoever adds one lists it here."""

from __future__ import annotations

from typing import Any, Mapping

from mxquant.errors import InputError
from mxquant.lowering.cudnn import CuDNN
from mxquant.lowering.onednn import OneDNN
from mxquant.lowering.onnx_qdq import OnnxQDQ
from mxquant.lowering.target import Target
from mxquant.runtime.mxnet_bridge import context

__all__ = ["TARGETS", "target_named", "target_of"]

TARGETS: Mapping[str, Target] = {target.name: target for target in (OneDNN(), OnnxQDQ(), CuDNN())}


def target_named(name: str) -> Target:
    """Return a target; raise InputError if there is none of that name."""
    if name not in TARGETS:
        raise InputError(f"target is {name!r}, expected one of {', '.join(map(repr, TARGETS))}")
    return TARGETS[name]


def target_of(ctx: Any) -> str:
    """Return the name of MXNet's target for a context; raise InputError for a GPU that is not there."""
    return CuDNN.name if context(ctx).device_type == "gpu" else OneDNN.name
