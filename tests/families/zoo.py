"""Networks of GluonCV that are more than classifiers, with random weights under which activations keep their size."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from mxquant.compat import repair
from mxquant.graph import Network
from mxquant.model import read
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import split_params
from mxquant.runtime.walk import Walk
from tests.families.large import efficientnet_b0, iresnet100
from tests.networks import Params, images, network_of, random_params

__all__ = ["FAMILIES", "Entry", "loaded"]


class Entry(NamedTuple):
    """A network of a family: GluonCV's name for it, and the shape of its data."""

    family: str
    name: str
    shape: Tuple[int, ...]
    detects: bool = False


FAMILIES: Dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("detection", "ssd_300_vgg16_atrous_voc", (1, 3, 300, 300), True),
        Entry("detection", "ssd_512_mobilenet1.0_voc", (1, 3, 512, 512), True),
        Entry("detection", "yolo3_darknet53_voc", (1, 3, 320, 320), True),
        Entry("detection", "faster_rcnn_resnet50_v1b_voc", (1, 3, 224, 224), True),
        Entry("detection", "faster_rcnn_fpn_resnet50_v1b_coco", (1, 3, 224, 224), True),
        Entry("detection", "center_net_resnet18_v1b_voc", (1, 3, 256, 256), True),
        Entry("segmentation", "fcn_resnet50_voc", (1, 3, 160, 160)),
        Entry("segmentation", "deeplab_resnet50_citys", (1, 3, 160, 160)),
        Entry("pose", "simple_pose_resnet18_v1b", (2, 3, 256, 192)),
        Entry("pose", "mobile_pose_mobilenet1.0", (2, 3, 256, 192)),
        Entry("video", "i3d_resnet50_v1_kinetics400", (1, 3, 8, 112, 112)),
        Entry("faces", "iresnet100", (1, 3, 112, 112)),
        Entry("mobile", "mobilenetv3_large", (4, 3, 224, 224)),
        Entry("mobile", "shufflenet_v2", (4, 3, 224, 224)),
        Entry("mobile", "efficientnet_b0", (2, 3, 224, 224)),
        Entry("attention", "resnest50", (2, 3, 224, 224)),
    )
}
# Networks that GluonCV does not have.
OWN = {"iresnet100": iresnet100, "efficientnet_b0": efficientnet_b0}
_REGIONS = 16
# So many values of a channel have a mean and a variance that other data have too.
_ENOUGH = 64
# What a residual adds is small, as in trained networks; training often starts with a gamma of 0 there.
_RESIDUAL_GAMMA = np.float32(0.2)


def loaded(name: str, shape: Optional[Tuple[int, ...]] = None) -> Tuple[Any, Params, Params, np.ndarray]:
    """Return a network of GluonCV with random weights, and data of a normal distribution.

    Parameters
    ----------
    name : str
        One of :data:`FAMILIES`.
    shape : tuple of int, optional
        Of the data; default: the entry's.
    """
    entry = FAMILIES[name]
    data = images(*(shape or entry.shape), seed=3)
    mx.random.seed(0)
    if name in OWN:
        symbol = OWN[name](mx.sym.var("data"))
        args, aux = random_params(symbol, data=data.shape)
        network = network_of(symbol, args, aux)
    else:
        net = _of_gluoncv(entry, data.shape)
        for key, parameter in net.collect_params().items():
            if parameter._data is None and not parameter._deferred_init:
                parameter.initialize(default_init=_initializer(key))
        network = read(net, example=[data]).network
    return (*warmed(network, data), data)


def _of_gluoncv(entry: Entry, shape: Tuple[int, ...]) -> Any:
    repair("gluoncv")
    from gluoncv import model_zoo

    options: Dict[str, Any] = {} if entry.family in ("mobile", "attention") else {"pretrained_base": False}
    if entry.family == "segmentation":
        options.update(crop_size=shape[-1], height=shape[-2], width=shape[-1])
    if entry.family == "video":
        options.update(nclass=400, num_segments=1)
    net = model_zoo.get_model(entry.name, pretrained=False, **options)
    if entry.name.startswith("faster_rcnn"):
        # Each region takes a forward pass of the second stage; 300 of them take half a minute.
        net.rpn._test_post_nms = net._rpn_test_post_nms = _REGIONS
    return net


def _initializer(name: str) -> Any:
    if name.endswith("weight"):
        return mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2)
    return mx.init.One() if name.endswith(("gamma", "var")) else mx.init.Zero()


def warmed(network: Network, data: np.ndarray) -> Tuple[Any, Params, Params]:
    """Return a network whose BatchNorms have the mean and variance of what they read, and small residuals."""
    from mxquant.runtime.mxnet_bridge import symbol_of

    network = _with_small_residuals(network)
    walk = Walk(network, {"data": data})
    params: Dict[str, Any] = dict(network.params)
    pending: List[Any] = walk.pending
    while pending:
        node = pending[-1]
        if node.op == "BatchNorm":
            value = walk.value(node.inputs[0]).asnumpy()
            axes = tuple(axis for axis in range(value.ndim) if axis != 1)
            mean, variance = value.mean(axes), value.var(axes)
            if value.size // value.shape[1] < _ENOUGH:
                # The variance of a few values may be next to nothing, and next to nothing it is of no use.
                mean, variance = mean * 0 + mean.mean(), variance * 0 + value.var()
            for tensor, found in zip(node.inputs[3:5], (mean, variance + 1e-3)):
                params[tensor.node.name] = walk.params[tensor.node.name] = found.astype(np.float32)
        walk.step()
    symbol = symbol_of(network.graph)
    return (symbol, *split_params(Network(network.graph, params), symbol))


def _with_small_residuals(network: Network) -> Network:
    """Return a network in which one summand of each addition comes from a BatchNorm with a small gamma, if any does."""
    params = dict(network.params)
    for node in network.graph.operators:
        makers = [tensor.node for tensor in node.inputs] if node.op in ("elemwise_add", "broadcast_add") else []
        makers = [each.inputs[0].node if each.op in ("Activation", "LeakyReLU") else each for each in makers]
        gamma = next((each.inputs[1].node.name for each in makers if each.op == "BatchNorm"), "")
        if gamma in params:
            params[gamma] = np.full_like(params[gamma], _RESIDUAL_GAMMA)
    return Network(network.graph, params)
