"""What a user may choose of a plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

from mxquant.errors import InputError
from mxquant.lowering.cudnn_cost import OPERATIONS_PER_BYTE
from mxquant.lowering.isa import check
from mxquant.thresholds import METHODS

__all__ = ["PlanOptions", "reasons"]


def reasons(layers: Union[Mapping[str, str], Sequence[str], None]) -> Dict[str, str]:
    """Return why layers stay float32, by their names or patterns; raise InputError where these are none."""
    if isinstance(layers, Mapping):
        found = dict(layers)
    elif layers is None or isinstance(layers, (list, tuple, set, frozenset)):
        found = dict.fromkeys(layers or (), "named in float32_layers")
    else:
        found = {}
    known = [isinstance(name, str) and isinstance(why, str) for name, why in found.items()]
    if not all(known) or (layers and not found):
        raise InputError(f"float32_layers is {layers!r:.80}, expected names of layers, or reasons by name")
    return found


def _is_range(value: Any) -> bool:
    """Whether a value is a largest magnitude, or a smallest and a largest value."""
    ends = value if isinstance(value, (tuple, list)) else (0.0, value)
    if len(ends) != 2 or any(isinstance(end, bool) or not isinstance(end, (int, float)) for end in ends):
        return False
    return bool(-float("inf") < ends[0] <= 0 <= ends[1] < float("inf") and ends[0] < ends[1])


@dataclass(frozen=True)
class PlanOptions:
    """The choices of the user.

    Parameters
    ----------
    method : str or None
        How thresholds are chosen: 'minmax', 'entropy', 'percentile' or 'mse'; None for no calibration: ranges are
        found at run time.
    tensor_methods : mapping of str to str
        Other methods for single tensors, by the tensor's name.
    dtype : {'int8', 'uint8', 'auto'}
        Type of quantized tensors where it is free to choose. 'auto' and 'uint8' mean uint8 for tensors that calibration
        has never seen negative, int8 for the rest.
    mode : {'smart', 'full'}
        Whether operators that gain nothing by themselves run in int8 only between others, or wherever they can.
    granularity : {'tensor-wise', 'channel-wise'}
        Whether the weights of FullyConnected layers have one scale or one per output. Convolutions have one per output
        channel always.
    exclude_layers : tuple of str
        Layers that stay float32, by their name in the user's network; wildcards as in file names.
    exclude_operators : tuple of str
        Operators that stay float32.
    percentile : float
        For the method 'percentile': percentage of the values that are to be representable.
    isa : str or None
        The int8 instructions of the CPU that will run the network: 'avx2' (or older), 'avx512', 'avx2_vnni', 'vnni',
        'amx' or, on 64-bit ARM, 'neon'; or 'portable', for one network that runs on all of them. None for those of this
        machine.
    float32_layers : mapping of str to str, or sequence of str
        Layers that stay float32, as `exclude_layers`, and why: what was measured.
    gpu_operations_per_byte : float
        For the target 'cudnn': how many float32 operations the GPU does while it moves one byte. The more, the more
        products for each value a layer must have so that int8 is worthwhile; see :mod:`mxquant.lowering.cudnn_cost`.
    largest_values : mapping of str to float or tuple of two floats
        For single tensors, by name, the largest magnitude that a code is to stand for, instead of a threshold by a
        method; or the smallest value, at most 0, and the largest, of which a target without zero points takes the
        larger magnitude. Names that
        are no tensor's are errors, but in what :mod:`mxquant.plan.tables` has read: tables have many.
    """

    method: Optional[str] = "mse"
    dtype: str = "auto"
    mode: str = "smart"
    granularity: str = "channel-wise"
    exclude_layers: Tuple[str, ...] = ()
    exclude_operators: Tuple[str, ...] = ()
    percentile: float = 99.99
    isa: Optional[str] = None
    tensor_methods: Mapping[str, str] = field(default_factory=dict)
    float32_layers: Mapping[str, str] = field(default_factory=dict)
    largest_values: Mapping[str, Union[float, Tuple[float, float]]] = field(default_factory=dict)
    gpu_operations_per_byte: float = OPERATIONS_PER_BYTE

    def __post_init__(self) -> None:
        allowed: Mapping[str, Sequence[Optional[str]]] = {
            "method": (*METHODS, None),
            "dtype": ("int8", "uint8", "auto"),
            "mode": ("smart", "full"),
            "granularity": ("tensor-wise", "channel-wise"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                known = ", ".join(repr(value) for value in values)
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {known}")
        object.__setattr__(self, "float32_layers", reasons(self.float32_layers))
        for key in ("tensor_methods", "largest_values"):
            if not isinstance(getattr(self, key), Mapping):
                raise InputError(f"{key} is {getattr(self, key)!r:.80}, expected a dictionary by name of the tensor")
        for name, method in self.tensor_methods.items():
            if method not in METHODS:
                known = ", ".join(map(repr, METHODS))
                raise InputError(f"tensor_methods['{name}'] is {method!r}, expected one of {known}")
        for name, value in self.largest_values.items():
            if not _is_range(value):
                expected = "a positive number, or two numbers with 0 between them"
                raise InputError(f"largest_values['{name}'] is {value!r:.80}, expected {expected}")
        ratio = self.gpu_operations_per_byte
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 < ratio < float("inf"):
            raise InputError(f"gpu_operations_per_byte is {ratio!r}, expected a positive number")
        for name in ("exclude_layers", "exclude_operators"):
            names = getattr(self, name) or ()
            if isinstance(names, str) or not all(isinstance(each, str) for each in names):
                raise InputError(f"{name} is {names!r}, expected a list of names")
            object.__setattr__(self, name, tuple(names))
        if not (isinstance(self.percentile, (int, float)) and 0 < self.percentile <= 100):
            raise InputError(f"percentile is {self.percentile!r}, expected a number above 0 and up to 100")
        object.__setattr__(self, "isa", check(self.isa))
