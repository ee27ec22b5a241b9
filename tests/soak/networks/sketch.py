"""A network in the making: the shape of each tensor, and what can be put on top of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional, Sequence, Tuple

from hypothesis import strategies as st

from mxquant.runtime.mxnet import mx
from tests.soak.networks.description import Description, Input, Layer

__all__ = ["Sketch"]

Shape = Tuple[int, ...]
# Values of one tensor; larger ones cost time and show nothing more.
_LARGEST = 6000


@dataclass
class Sketch:
    """Inputs, layers, and the shapes of their tensors."""

    inputs: List[Input]
    layers: List[Layer] = field(default_factory=list)
    shapes: List[Shape] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shapes = [each.shape for each in self.inputs]

    def add(self, layer: Optional[Layer]) -> bool:
        """Add a layer if MXNet accepts it and its result is not too large; return whether it was added."""
        if layer is None:
            return False
        layers = (*self.layers, layer)
        try:
            tensor = Description(tuple(self.inputs), layers, ()).tensors()[-1]
            shapes = {**{each.name: each.shape for each in self.inputs}, **Description((), layers, ()).labels}
            known = {name: shape for name, shape in shapes.items() if name in tensor.list_inputs()}
            shape = tensor.infer_shape(**known)[1][0] if layer.op != "parameter" else layer.attrs["shape"]
        except (mx.MXNetError, TypeError):
            return False
        if not shape or not 0 < _size(shape) <= _LARGEST:
            return False
        self.layers.append(layer)
        self.shapes.append(tuple(shape))
        return True

    @property
    def number(self) -> int:
        """The number of the next layer."""
        return len(self.layers)

    def some(self, draw: st.DrawFn, ranks: Sequence[int] = (2, 3, 4, 5)) -> Optional[int]:
        """Draw a tensor with one of some numbers of axes, a recent one more often than not; None if there is none."""
        # A parameter is read by combinations only, so that what is made depends on data.
        fixed = {number + len(self.inputs) for number, layer in enumerate(self.layers) if layer.op == "parameter"}
        fitting = [n for n, shape in enumerate(self.shapes) if len(shape) in ranks and n not in fixed]
        if not fitting:
            return None
        return draw(st.sampled_from((*fitting, *fitting[-2:], *(fitting[-1:] * (3 + 3 * len(fitting))))))

    def like(self, draw: st.DrawFn, tensor: int) -> int:
        """Draw a tensor of the same shape, perhaps the same one."""
        same = [number for number, shape in enumerate(self.shapes) if shape == self.shapes[tensor]]
        others = [number for number in same if number != tensor] or same
        return draw(st.sampled_from((*same, *others, *others)))


def _size(shape: Shape) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
