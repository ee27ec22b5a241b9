"""Networks, parameters and measurements that many tests share."""

from __future__ import annotations

import re
import warnings
from typing import Any, Dict, Iterable, List, Set, Tuple

import numpy as np

from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment
from mxquant.runtime.mxnet_bridge import network_of as network_of  # tests take it from here too
from tests.decibels import sqnr as sqnr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mxnet.gluon.model_zoo import vision

Params = Dict[str, Any]

# Side of the square images that a network's fixed pooling windows ask for; others take any.
IMAGE_SIZES = {"squeezenet1.0": 224, "squeezenet1.1": 224, "inceptionv3": 299}
IMAGE_SIZES.update({f"densenet{depth}": 224 for depth in (121, 161, 169, 201)})

ZOO = (
    *(f"resnet{depth}_v{version}" for version in (1, 2) for depth in (18, 34, 50, 101, 152)),
    *(f"vgg{depth}{suffix}" for suffix in ("", "_bn") for depth in (11, 13, 16, 19)),
    *("alexnet", "inceptionv3", "squeezenet1.0", "squeezenet1.1"),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *(f"mobilenet{version}{width}" for version in ("", "v2_") for width in ("1.0", "0.75", "0.5", "0.25")),
)


def conv(data: Any, name: str, filters: int = 8, kernel: int = 3, **attrs: Any) -> Any:
    """Return a 2D convolution that keeps height and width."""
    attrs.setdefault("pad", (kernel // 2, kernel // 2))
    return mx.sym.Convolution(data, num_filter=filters, kernel=(kernel, kernel), name=name, **attrs)


def dense(data: Any, name: str, units: int = 16, **attrs: Any) -> Any:
    """Return a FullyConnected layer."""
    return mx.sym.FullyConnected(data, num_hidden=units, name=name, **attrs)


def relu(data: Any, name: str | None = None) -> Any:
    """Return a ReLU."""
    return mx.sym.Activation(data, act_type="relu", name=name)


def random_params(symbol: Any, seed: int = 0, **shapes: Tuple[int, ...]) -> Tuple[Params, Params]:
    """Return arguments and auxiliary states for inputs of the given shapes; activations keep their magnitude."""
    rng = np.random.RandomState(seed)
    arg_shapes, _, aux_shapes = symbol.infer_shape(**shapes)

    def value(name: str, shape: Tuple[int, ...]) -> Any:
        if len(shape) > 1:
            return mx.nd.array(rng.randn(*shape) / np.sqrt(np.prod(shape[1:])))
        return mx.nd.array(rng.randn(*shape) * 0.1 + ("gamma" in name))

    args = {n: value(n, s) for n, s in zip(symbol.list_arguments(), arg_shapes) if n not in shapes}
    aux = {n: mx.nd.array(rng.rand(*s) + 0.5) for n, s in zip(symbol.list_auxiliary_states(), aux_shapes)}
    return args, aux


def own(names: Iterable[str]) -> Set[str]:
    """Return the names of a network's parameters, of those of an int8 network: on some CPUs it holds them as codes."""
    return {re.sub("_quantize(_min|_max)?$", "", name) for name in names}


def images(*shape: int, seed: int = 1) -> np.ndarray:
    """Return float32 values of a normal distribution."""
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


def forward(symbol: Any, args: Params, aux: Params, fused: bool = False, **inputs: np.ndarray) -> List[np.ndarray]:
    """Return the outputs of a Symbol for inputs by name; without MXNet's own fusion unless `fused`."""
    data = {name: mx.nd.array(value, dtype=value.dtype) for name, value in inputs.items()}
    with environment(MXNET_SUBGRAPH_BACKEND="MKLDNN" if fused else "NONE"):
        executor = symbol.bind(mx.cpu(), {**args, **data}, aux_states=aux, grad_req="null")
    return [output.asnumpy() for output in executor.forward(is_train=False)]


def zoo(name: str, batch: int = 2) -> Tuple[Any, Params, Params, np.ndarray]:
    """Return a network of the Gluon zoo with random weights, and data."""
    size = IMAGE_SIZES.get(name, 96)
    data = images(batch, 3, size, size)
    return (*zoo_network(name, data), data)


def zoo_network(name: str, data: np.ndarray) -> Tuple[Any, Params, Params]:
    """Return a network of the zoo for images like `data`; its random weights keep the magnitude of activations."""
    mx.random.seed(0)
    net = vision.get_model(name, pretrained=False, prefix=f"{name.replace('.', '_')}_")
    net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    net(mx.nd.array(data)).wait_to_read()
    symbol = net(mx.sym.var("data"))
    values = {key: parameter.data() for key, parameter in net.collect_params().items()}
    args = {key: values[key] for key in symbol.list_arguments() if key in values}
    aux = {key: values[key] for key in symbol.list_auxiliary_states()}
    rng = np.random.RandomState(2)
    spreads = {"gamma": (0.5, 0.1), "beta": (0.0, 0.2), "running_mean": (0.0, 0.2), "running_var": (1.0, 0.1)}
    for key, value in {**args, **aux}.items():
        for suffix, (centre, spread) in spreads.items():
            if key.endswith(suffix):
                value[:] = mx.nd.array(centre + spread * rng.standard_normal(value.shape))
    return symbol, args, aux
