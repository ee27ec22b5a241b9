"""Small networks of many forms: detectors, segmentation, poses, video, faces, mobile networks."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Tuple

import numpy as np

from mxquant.runtime.mxnet import mx
from tests.networks import Params, conv, dense, images, random_params, relu

__all__ = ["SMALL", "Small", "built"]

F = mx.sym


def norm(data: Any, name: str, **attrs: Any) -> Any:
    return F.BatchNorm(data, fix_gamma=False, name=name, **attrs)


def unit(data: Any, name: str, filters: int = 16, act: Callable[..., Any] = relu, **attrs: Any) -> Any:
    """Return convolution, BatchNorm and activation."""
    return act(norm(conv(data, f"{name}_conv", filters, no_bias=True, **attrs), f"{name}_bn"))


def halved(data: Any, name: str, filters: int = 16, **attrs: Any) -> Any:
    return unit(data, name, filters, stride=(2, 2), **attrs)


def pooled(data: Any) -> Any:
    return F.Pooling(data, global_pool=True, kernel=(1, 1), pool_type="avg")


def leaky(data: Any) -> Any:
    return F.LeakyReLU(data, act_type="leaky", slope=0.1)


# ---- detectors


def predicted(data: Any, name: str, channels: int) -> Any:
    """Return a layer of predictions, one row for each image."""
    return F.Flatten(F.transpose(conv(data, name, channels), axes=(0, 2, 3, 1)))


def suppressed(rows: Any) -> Any:
    """Return classes, scores and boxes that are left of rows of them."""
    limits = {"overlap_thresh": 0.45, "topk": 40, "valid_thresh": 0.05}
    found = F.contrib.box_nms(rows, id_index=0, score_index=1, coord_start=2, name="nms", **limits)
    return F.Group([F.slice_axis(found, axis=-1, begin=b, end=e) for b, e in ((0, 1), (1, 2), (2, 6))])


def ssd(data: Any, classes: int = 3, per_place: int = 2) -> Any:
    """Return GluonCV's form: anchors are parameters, of which as many are used as the data have places."""
    scales = [halved(halved(data, "stem"), "scale0", 24)]
    scales.append(halved(scales[0], "scale1", 24))
    scores = [predicted(s, f"class{i}", per_place * (classes + 1)) for i, s in enumerate(scales)]
    boxes = [predicted(s, f"box{i}", per_place * 4) for i, s in enumerate(scales)]
    anchors = [
        F.Reshape(F.slice_like(F.var(f"anchors{i}"), s * 0, axes=(2, 3)), shape=(1, -1)) for i, s in enumerate(scales)
    ]
    score = F.softmax(F.Reshape(F.Concat(*scores, dim=1), shape=(0, -1, classes + 1)), axis=-1)
    box = F.contrib.box_decode(
        F.Reshape(F.Concat(*boxes, dim=1), shape=(0, -1, 4)),
        F.Reshape(F.Concat(*anchors, dim=1), shape=(1, -1, 4)),
        format="center",
    )
    rows = []
    for each in range(classes):
        own = F.slice_axis(score, axis=-1, begin=each + 1, end=each + 2)
        label = F.where(own > 0.05, F.ones_like(own) * each, F.ones_like(own) * -1)
        rows.append(F.concat(label, F.where(own > 0.05, own, F.zeros_like(own)), box, dim=-1))
    return suppressed(F.concat(*rows, dim=1))


def multibox(data: Any, classes: int = 3, per_place: int = 3) -> Any:
    """Return the form of MXNet's own SSD: anchors are computed from the shape of the data."""
    scales = [halved(halved(data, "stem"), "scale0", 24)]
    scales.append(halved(scales[0], "scale1", 24))
    scores = [predicted(s, f"class{i}", per_place * (classes + 1)) for i, s in enumerate(scales)]
    boxes = [predicted(s, f"box{i}", per_place * 4) for i, s in enumerate(scales)]
    priors = [
        F.Flatten(F.contrib.MultiBoxPrior(s, sizes=(0.2 * (i + 1), 0.3 * (i + 1)), ratios=(1, 2), clip=True))
        for i, s in enumerate(scales)
    ]
    score = F.transpose(F.Reshape(F.Concat(*scores, dim=1), shape=(0, -1, classes + 1)), axes=(0, 2, 1))
    return F.contrib.MultiBoxDetection(
        F.softmax(score, axis=1),
        F.Concat(*boxes, dim=1),
        F.Reshape(F.Concat(*priors, dim=1), shape=(0, -1, 4)),
        nms_threshold=0.45,
        nms_topk=40,
        threshold=0.05,
        name="detection",
    )


def yolo(data: Any, classes: int = 3, per_place: int = 2) -> Any:
    stem = halved(halved(data, "stem", act=leaky), "down", 24, act=leaky)
    stem = unit(unit(stem, "res0", 12, kernel=1, act=leaky), "res1", 24, act=leaky) + stem
    deep = halved(stem, "deep", 32, act=leaky)
    lateral = unit(deep, "lateral", 12, kernel=1, act=leaky)
    up = F.repeat(F.repeat(lateral, axis=-1, repeats=2), axis=-2, repeats=2)
    joined = unit(F.concat(up, stem, dim=1), "joined", 24, act=leaky)
    rows = []
    for index, scale in enumerate((deep, joined)):
        raw = conv(scale, f"yolo{index}", per_place * (classes + 5), kernel=1)
        raw = F.transpose(F.Reshape(raw, shape=(0, per_place * (classes + 5), -1)), axes=(0, 2, 1))
        raw = F.Reshape(raw, shape=(0, -1, per_place, classes + 5))
        centre, size, sure, kinds = (
            F.slice_axis(raw, axis=-1, begin=b, end=e) for b, e in ((0, 2), (2, 4), (4, 5), (5, None))
        )
        places = F.slice_axis(F.var(f"offsets{index}"), axis=1, begin=0, end=None)
        middle = F.broadcast_add(F.sigmoid(centre), places) * (8.0 / (index + 1))
        half = F.broadcast_mul(F.exp(size), F.var(f"sizes{index}")) / 2
        box = F.Reshape(F.concat(middle - half, middle + half, dim=-1), shape=(0, -1, 4))
        score = F.Reshape(F.broadcast_mul(F.sigmoid(kinds), F.sigmoid(sure)), shape=(0, -1, classes))
        for each in range(classes):
            own = F.slice_axis(score, axis=-1, begin=each, end=each + 1)
            rows.append(F.concat(F.ones_like(own) * each, own, box, dim=-1))
    return suppressed(F.concat(*rows, dim=1))


def faster_rcnn(data: Any, classes: int = 3, per_place: int = 3) -> Any:
    feature = halved(halved(data, "stem"), "feature", 24)
    hidden = relu(conv(feature, "rpn"))
    score = F.Reshape(conv(hidden, "rpn_score", 2 * per_place, kernel=1), shape=(0, 2, -1, 0))
    score = F.Reshape(F.softmax(score, axis=1), shape=(0, 2 * per_place, -1, 0))
    shift = conv(hidden, "rpn_shift", 4 * per_place, kernel=1)
    size = F.var("im_info")
    regions = F.contrib.MultiProposal(
        score,
        shift,
        size,
        feature_stride=4,
        scales=(4,),
        ratios=(0.5, 1, 2),
        rpn_pre_nms_top_n=40,
        rpn_post_nms_top_n=8,
        rpn_min_size=2,
        name="proposal",
    )
    regions = F.BlockGrad(regions)
    region = F.contrib.ROIAlign(feature, regions, pooled_size=(4, 4), spatial_scale=0.25)
    top = pooled(unit(region, "top", 32))
    top = relu(dense(F.Flatten(top), "hidden", 32))
    kinds = F.softmax(dense(top, "kind", classes + 1))
    return F.Group([regions, kinds, dense(top, "shift", 4 * classes), F.argmax(kinds, axis=1)])


def center_net(data: Any, classes: int = 3, most: int = 10) -> Any:
    feature = halved(halved(data, "stem"), "deep", 128)
    feature = relu(norm(F.Deconvolution(feature, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=16), "up_bn"))
    heat = F.sigmoid(conv(relu(conv(feature, "heat0")), "heat1", classes, kernel=1))
    size = conv(relu(conv(feature, "size0")), "size1", 2, kernel=1)
    offset = conv(relu(conv(feature, "offset0")), "offset1", 2, kernel=1)
    peaks = F.broadcast_equal(F.Pooling(heat, kernel=(3, 3), stride=(1, 1), pad=(1, 1), pool_type="max"), heat) * heat
    score, place = F.topk(F.Reshape(peaks, shape=(0, -1)), k=most, ret_typ="both", axis=-1)
    place = F.cast(place, "int32")
    area = F.cast(F.prod(F.slice_axis(F.shape_array(heat), axis=0, begin=2, end=4)), "int32")
    kind = F.cast(F.broadcast_div(place, area), "float32")
    place = F.broadcast_mod(place, area)
    row = F.broadcast_like(F.expand_dims(F.contrib.arange_like(score, axis=0), axis=1), score)
    index = F.stack(F.cast(row, "int32"), place, axis=0)

    def at(values: Any) -> Any:
        return F.gather_nd(F.Reshape(F.transpose(values, axes=(0, 2, 3, 1)), shape=(0, -1, 2)), index)

    return F.Group([kind, score, F.concat(at(offset), at(size), dim=2)])


# ---- maps of values


def resized(data: Any, like: Any) -> Any:
    return F.contrib.BilinearResize2D(data, like, mode="like")


def deeplab(data: Any) -> Any:
    stem = halved(halved(data, "stem"), "deep", 24)
    branches = [unit(stem, "near", kernel=1)]
    branches += [unit(stem, f"far{rate}", dilate=(rate, rate), pad=(rate, rate)) for rate in (2, 3)]
    branches.append(resized(unit(pooled(stem), "all", kernel=1), stem))
    joined = F.Dropout(unit(F.concat(*branches, dim=1), "joined", 24, kernel=1))
    shallow = resized(conv(unit(stem, "aux"), "aux_out", 5, kernel=1), data)
    return F.Group([resized(conv(joined, "out", 5, kernel=1), data), shallow])


def simple_pose(data: Any) -> Any:
    feature = halved(halved(halved(data, "stem"), "down", 24), "deep", 128)
    for index, filters in enumerate((128, 24)):
        up = F.Deconvolution(
            feature, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=filters, no_bias=True, name=f"up{index}"
        )
        feature = relu(norm(up, f"up{index}_bn"))
    return conv(feature, "joints", 5, kernel=1)


def hrnet(data: Any) -> Any:
    """Return branches of two resolutions that exchange what they have."""
    fine = halved(data, "stem")
    coarse = halved(fine, "coarse", 24)
    up = F.UpSampling(norm(conv(coarse, "up", 16, kernel=1, no_bias=True), "up_bn"), scale=2, sample_type="nearest")
    down = norm(conv(fine, "down", 24, stride=(2, 2), no_bias=True), "down_bn")
    return F.Group([conv(relu(fine + up), "fine", 4, kernel=1), conv(relu(coarse + down), "last", 4, kernel=1)])


# ---- video


def i3d(data: Any) -> Any:
    def block(x: Any, name: str, filters: int, **attrs: Any) -> Any:
        x = F.Convolution(x, num_filter=filters, kernel=(3, 3, 3), pad=(1, 1, 1), no_bias=True, name=name, **attrs)
        return relu(norm(x, f"{name}_bn"))

    x = block(data, "stem", 16, stride=(1, 2, 2))
    x = F.Pooling(x, kernel=(1, 3, 3), stride=(1, 2, 2), pad=(0, 1, 1), pool_type="max")
    x = relu(norm(F.Convolution(block(x, "res0", 16), num_filter=16, kernel=(1, 1, 1), name="res1"), "res_bn") + x)
    left, right = block(x, "left", 8), block(F.Pooling(x, kernel=(3, 3, 3), pad=(1, 1, 1), pool_type="max"), "right", 8)
    x = F.Pooling(F.concat(left, right, dim=1), kernel=(2, 8, 8), pool_type="avg")
    return dense(F.Dropout(F.mean(F.Reshape(F.squeeze(x, axis=(3, 4)), shape=(0, 0, -1)), axis=2)), "action", 5)


# ---- faces


def arcface(data: Any) -> Any:
    """Return InsightFace's form: BatchNorm first in each unit, PReLU, Dropout, and an embedding that is normalized."""

    def prelu(x: Any, name: str) -> Any:
        return F.LeakyReLU(x, act_type="prelu", name=name)

    x = prelu(norm(conv((data - 127.5) * 0.0078125, "conv0", 16, no_bias=True), "bn0", eps=2e-5), "relu0")
    for index, (filters, stride) in enumerate(((16, 2), (16, 1), (24, 2))):
        name = f"unit{index}"
        y = conv(norm(x, f"{name}_bn1", eps=2e-5), f"{name}_conv1", filters, no_bias=True)
        y = prelu(norm(y, f"{name}_bn2", eps=2e-5), f"{name}_relu1")
        y = norm(conv(y, f"{name}_conv2", filters, stride=(stride,) * 2, no_bias=True), f"{name}_bn3", eps=2e-5)
        if stride > 1:
            x = conv(x, f"{name}_conv1sc", filters, kernel=1, stride=(stride,) * 2, no_bias=True)
            x = norm(x, f"{name}_sc", eps=2e-5)
        x = y + x
    x = F.Dropout(norm(x, "bn1", eps=2e-5), p=0.4)
    return F.BatchNorm(dense(x, "pre_fc1", 32), fix_gamma=True, eps=2e-5, momentum=0.9, name="fc1")


# ---- mobile networks


def hard_sigmoid(data: Any) -> Any:
    return F.clip(data + 3, 0, 6) / 6


def hard_swish(data: Any) -> Any:
    return data * hard_sigmoid(data)


def swish(data: Any) -> Any:
    return data * F.sigmoid(data)


def excited(data: Any, name: str, filters: int, inner: Callable[[Any], Any], gate: Callable[[Any], Any]) -> Any:
    """Return squeeze and excitation: channels scaled by what is computed of their means."""
    scale = inner(conv(pooled(data), f"{name}_squeeze", 8, kernel=1))
    return F.broadcast_mul(data, gate(conv(scale, f"{name}_excite", filters, kernel=1)))


def mobilenet_v3(data: Any) -> Any:
    x = halved(data, "stem", act=hard_swish)
    y = unit(unit(x, "wide", 32, kernel=1, act=hard_swish), "depth", 32, num_group=32, act=hard_swish)
    y = excited(y, "se", 32, relu, hard_sigmoid)
    x = norm(conv(y, "narrow", 16, kernel=1, no_bias=True), "narrow_bn") + x
    x = hard_swish(conv(pooled(unit(x, "last", 32, kernel=1, act=hard_swish)), "head", 32, kernel=1))
    return F.Flatten(conv(x, "classes", 10, kernel=1))


def efficientnet(data: Any) -> Any:
    x = halved(data, "stem", act=swish)
    y = unit(unit(x, "wide", 32, kernel=1, act=swish), "depth", 32, kernel=5, num_group=32, act=swish)
    y = excited(y, "se", 32, swish, F.sigmoid)
    x = norm(conv(y, "narrow", 16, kernel=1, no_bias=True), "narrow_bn") + x
    return dense(F.Dropout(F.Flatten(pooled(unit(x, "head", 48, kernel=1, act=swish)))), "classes", 10)


def shufflenet(data: Any) -> Any:
    """Return both versions of ShuffleNet: groups of channels that are shuffled, and halves that go two ways."""

    def shuffled(x: Any, groups: int) -> Any:
        x = F.Reshape(x, shape=(0, -4, groups, -1, -2))
        return F.Reshape(F.SwapAxis(x, dim1=1, dim2=2), shape=(0, -3, -2))

    x = halved(data, "stem", 24)
    y = shuffled(unit(x, "group0", 24, kernel=1, num_group=3), 3)
    y = norm(conv(y, "depth", 24, num_group=24, no_bias=True), "depth_bn")
    x = relu(norm(conv(y, "group1", 24, kernel=1, num_group=3, no_bias=True), "group_bn") + x)
    kept = F.slice_axis(x, axis=1, begin=0, end=12)
    x = unit(F.slice_axis(x, axis=1, begin=12, end=24), "branch0", 12, kernel=1)
    x = norm(conv(x, "branch1", 12, num_group=12, no_bias=True), "branch1_bn")
    x = shuffled(F.concat(kept, unit(x, "branch2", 12, kernel=1), dim=1), 2)
    return dense(F.Flatten(pooled(unit(x, "last", 32, kernel=1))), "classes", 10)


def resnest(data: Any) -> Any:
    """Return split attention: two groups of channels, weighted by a softmax over the groups."""
    x = halved(data, "stem")
    y = unit(unit(x, "in", 16, kernel=1), "split", 32, num_group=2)
    parts = F.SliceChannel(F.Reshape(y, shape=(0, -4, 2, 16, 0, 0)), axis=1, num_outputs=2, squeeze_axis=True)
    gap = unit(pooled(parts[0] + parts[1]), "attention0", 8, kernel=1)
    weights = F.softmax(F.Reshape(conv(gap, "attention1", 32, kernel=1), shape=(0, 2, 16, 1, 1)), axis=1)
    y = F.sum(F.broadcast_mul(F.Reshape(y, shape=(0, -4, 2, 16, 0, 0)), weights), axis=1)
    x = relu(norm(conv(y, "out", 16, kernel=1, no_bias=True), "out_bn") + x)
    return dense(F.Flatten(pooled(x)), "classes", 10)


class Small(NamedTuple):
    """A small network: how it is built, its data, and what of its parameters is no weight."""

    build: Callable[[Any], Any]
    shape: Tuple[int, ...] = (4, 3, 32, 32)
    constants: Callable[[], Dict[str, np.ndarray]] = dict
    detects: bool = False


def anchors() -> Dict[str, np.ndarray]:
    """Return more anchors than there are places, as GluonCV does: centre and size, shape (1, 1, rows, columns, 8)."""
    found = {}
    for index, (side, step) in enumerate(((10, 4), (6, 8))):
        y, x = np.meshgrid(*[(np.arange(side) + 0.5) * step] * 2, indexing="ij")
        sizes = [(step * 2.0, step * 2.0), (step * 3.0, step * 1.5)]
        rows = np.stack([np.stack([x, y, np.full_like(x, w), np.full_like(x, h)], -1) for w, h in sizes], 2)
        found[f"anchors{index}"] = rows.reshape(1, 1, side, side, -1).astype(np.float32)
    return found


def grids() -> Dict[str, np.ndarray]:
    """Return places and sizes of boxes for the two scales of the small YOLO."""
    found = {}
    for index, side in enumerate((4, 8)):
        y, x = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
        found[f"offsets{index}"] = np.stack([x, y], -1).reshape(1, -1, 1, 2).astype(np.float32)
        found[f"sizes{index}"] = np.array([[8, 8], [12, 6]], np.float32).reshape(1, 1, 2, 2) / (index + 1)
    return found


def sizes_of_images() -> Dict[str, np.ndarray]:
    return {"im_info": np.tile(np.array([[32, 32, 1]], np.float32), (4, 1))}


SMALL: Dict[str, Small] = {
    "SSD, anchors as parameters": Small(ssd, constants=anchors, detects=True),
    "SSD, MultiBox": Small(multibox, detects=True),
    "YOLOv3": Small(yolo, constants=grids, detects=True),
    "Faster R-CNN": Small(faster_rcnn, constants=sizes_of_images, detects=True),
    "CenterNet": Small(center_net, detects=True),
    "DeepLab": Small(deeplab),
    "SimplePose": Small(simple_pose),
    "HRNet": Small(hrnet),
    "I3D": Small(i3d, (2, 3, 4, 32, 32)),
    "ArcFace": Small(arcface),
    "MobileNetV3": Small(mobilenet_v3),
    "EfficientNet": Small(efficientnet),
    "ShuffleNet": Small(shufflenet),
    "ResNeSt": Small(resnest),
}


def built(name: str) -> Tuple[Any, Params, Params, np.ndarray]:
    """Return a small network, its parameters, and data."""
    small = SMALL[name]
    symbol = small.build(mx.sym.var("data"))
    constants = {key: mx.nd.array(value) for key, value in small.constants().items()}
    shapes = {key: value.shape for key, value in constants.items()}
    args, aux = random_params(symbol, data=small.shape, **shapes)
    for key, value in args.items():
        if value.ndim == 1 and key.endswith("_gamma"):
            # PReLU's is the slope of negative values.
            value[:] = value if "bn" in key or "_sc_" in key else 0.25 + 0.1 * mx.nd.random.normal(shape=value.shape)
        if small.detects and key.startswith(("class", "yolo", "heat1", "rpn_score", "kind")):
            # Scores that differ, as those of trained networks do; YOLO's layer has exponents of sizes, too.
            value *= 2 if key.startswith("yolo") else 12
    for key, value in aux.items():
        if key.endswith("_moving_mean"):
            # As far from 0 as what the layers return, or ReLUs return nothing but zeros.
            value[:] = 0.2 * mx.nd.random.normal(shape=value.shape)
    return symbol, {**args, **constants}, aux, images(*small.shape)
