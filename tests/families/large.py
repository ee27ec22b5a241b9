"""Full networks that GluonCV does not have: InsightFace's ResNet-100 and EfficientNet-B0."""

from __future__ import annotations

from typing import Any

from mxquant._compat import mx
from tests.families.small import excited, pooled, swish
from tests.networks import conv, dense

__all__ = ["efficientnet_b0", "iresnet100"]

F = mx.sym


def _norm(data: Any, name: str, fixed: bool = False) -> Any:
    return F.BatchNorm(data, fix_gamma=fixed, eps=2e-5, name=name)


def _prelu(data: Any, name: str) -> Any:
    return F.LeakyReLU(data, act_type="prelu", name=name)


def iresnet100(data: Any) -> Any:
    """Return InsightFace's LResNet100E-IR: BatchNorm first in each unit, PReLU, and an embedding of 512 values."""
    x = _prelu(_norm(conv((data - 127.5) * 0.0078125, "conv0", 64, no_bias=True), "bn0"), "relu0")
    for stage, (filters, units) in enumerate(((64, 3), (128, 13), (256, 30), (512, 3)), start=1):
        for unit in range(1, units + 1):
            name, stride = f"stage{stage}_unit{unit}", (2, 2) if unit == 1 else (1, 1)
            y = conv(_norm(x, f"{name}_bn1"), f"{name}_conv1", filters, no_bias=True)
            y = conv(
                _prelu(_norm(y, f"{name}_bn2"), f"{name}_relu1"), f"{name}_conv2", filters, stride=stride, no_bias=True
            )
            y = _norm(y, f"{name}_bn3")
            if unit == 1:
                x = _norm(conv(x, f"{name}_conv1sc", filters, kernel=1, stride=stride, no_bias=True), f"{name}_sc")
            x = y + x
    return _norm(dense(F.Dropout(_norm(x, "bn1"), p=0.4), "pre_fc1", 512), "fc1", fixed=True)


def efficientnet_b0(data: Any) -> Any:
    """Return EfficientNet-B0: swish, depthwise convolutions, squeeze and excitation."""

    def unit(x: Any, name: str, filters: int, kernel: int = 1, **attrs: Any) -> Any:
        return F.BatchNorm(conv(x, f"{name}_conv", filters, kernel, no_bias=True, **attrs), fix_gamma=False, name=name)

    x = swish(unit(data, "stem", 32, 3, stride=(2, 2)))
    before = 32
    blocks = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
    for stage, (repeats, kernel, first, wider, filters) in enumerate((*blocks, (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))):
        for index in range(repeats):
            name, stride, wide = f"block{stage}_{index}", (first,) * 2 if index == 0 else (1, 1), before * wider
            y = swish(unit(x, f"{name}_wide", wide)) if wider > 1 else x
            y = swish(unit(y, f"{name}_depth", wide, kernel, num_group=wide, stride=stride))
            y = unit(excited(y, f"{name}_se", wide, swish, F.sigmoid), f"{name}_narrow", filters)
            x = y + x if before == filters and index else y
            before = filters
    return dense(F.Flatten(pooled(swish(unit(x, "head", 1280)))), "classes", 1000)
