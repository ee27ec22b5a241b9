"""Full networks that GluonCV does not have: InsightFace's ResNet-100, EfficientNet-B0, MXNet's own SSD."""

from __future__ import annotations

from typing import Any

from mxquant.runtime.mxnet import mx
from tests.families.small import excited, pooled, swish
from tests.networks import conv, dense

__all__ = ["efficientnet_b0", "iresnet100", "ssd300_vgg16"]

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


def ssd300_vgg16(data: Any, classes: int = 20) -> Any:
    """Return MXNet's own SSD on 300 x 300 pixels: VGG-16 with dilated layers for the dense ones, and 8,732 anchors."""

    def layer(x: Any, name: str, filters: int, kernel: int = 3, **attrs: Any) -> Any:
        return F.Activation(conv(x, name, filters, kernel, **attrs), act_type="relu", name=f"relu_{name}")

    x = data
    for stage, (filters, units) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for unit in range(1, units + 1):
            x = layer(x, f"conv{stage}_{unit}", filters)
        if stage == 4:
            shallow = x
        last = stage == 5
        pooling = {"kernel": (3, 3), "stride": (1, 1), "pad": (1, 1)} if last else {"kernel": (2, 2), "stride": (2, 2)}
        x = F.Pooling(x, pool_type="max", pooling_convention="full", name=f"pool{stage}", **pooling)
    x = layer(layer(x, "fc6", 1024, dilate=(6, 6), pad=(6, 6)), "fc7", 1024, 1)
    scale = F.var("scale4_3", shape=(1, 512, 1, 1))
    maps = [F.broadcast_mul(scale, F.L2Normalization(shallow, mode="channel", name="normal4_3")), x]
    for number, (narrow, wide, stride, pad) in enumerate(
        ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0)), start=8
    ):
        x = layer(x, f"conv{number}_1", narrow, 1)
        x = layer(x, f"conv{number}_2", wide, stride=(stride, stride), pad=(pad, pad))
        maps.append(x)
    sizes = ((0.1, 0.141), (0.2, 0.272), (0.37, 0.447), (0.54, 0.619), (0.71, 0.79), (0.88, 0.961))
    few, many = (1, 2, 0.5), (1, 2, 0.5, 3, 1 / 3)
    scores, offsets, anchors = [], [], []
    for number, (each, size, ratios) in enumerate(zip(maps, sizes, (few, many, many, many, few, few))):
        count = len(size) + len(ratios) - 1
        for rows, name, width in ((scores, "class", classes + 1), (offsets, "box", 4)):
            row = F.transpose(conv(each, f"{name}{number}", count * width), axes=(0, 2, 3, 1))
            rows.append(F.Flatten(row))
        anchors.append(F.Flatten(F.contrib.MultiBoxPrior(each, sizes=size, ratios=ratios, clip=False)))
    score = F.transpose(F.Reshape(F.Concat(*scores, dim=1), shape=(0, -1, classes + 1)), axes=(0, 2, 1))
    return F.contrib.MultiBoxDetection(
        F.SoftmaxActivation(score, mode="channel", name="probabilities"),
        F.Concat(*offsets, dim=1),
        F.Reshape(F.Concat(*anchors, dim=1), shape=(0, -1, 4)),
        nms_threshold=0.5,
        nms_topk=400,
        name="detection",
    )
