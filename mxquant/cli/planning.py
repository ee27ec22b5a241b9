"""Options of how a network is quantized, which several commands take."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Dict, List, Mapping, Optional

from mxquant.cli.options import option

__all__ = ["Dtype", "Granularity", "Isa", "Method", "Mode", "PlanningOptions", "Target"]

_PANEL = "Quantization"


class Target(str, Enum):
    """What runs the int8 network."""

    ONEDNN = "onednn"
    ONNX_QDQ = "onnx_qdq"
    CUDNN = "cudnn"


class Method(str, Enum):
    """How thresholds are chosen."""

    MINMAX = "minmax"
    ENTROPY = "entropy"
    PERCENTILE = "percentile"
    MSE = "mse"
    AUTO = "auto"


class Dtype(str, Enum):
    """Types of quantized tensors."""

    AUTO = "auto"
    INT8 = "int8"
    UINT8 = "uint8"


class Mode(str, Enum):
    """Which operators run in int8."""

    SMART = "smart"
    FULL = "full"


class Granularity(str, Enum):
    """Of weights of FullyConnected layers."""

    CHANNEL = "channel-wise"
    TENSOR = "tensor-wise"


class Isa(str, Enum):
    """int8 instructions of CPUs, or all CPUs."""

    AVX2 = "avx2"
    AVX512 = "avx512"
    AVX2_VNNI = "avx2_vnni"
    VNNI = "vnni"
    AMX = "amx"
    NEON = "neon"
    PORTABLE = "portable"


@dataclass(frozen=True)
class PlanningOptions:
    """How the network is quantized."""

    target: Target = field(
        default=Target.ONEDNN,
        metadata=option(
            "--target",
            help="What will run it: MXNet on a CPU, what reads ONNX, or MXNet on a GPU.",
            panel=_PANEL,
        ),
    )
    isa: Optional[Isa] = field(
        default=None,
        metadata=option(
            "--isa",
            help="int8 instructions of the CPU that will run it; portable: one network for all. Default: this CPU's.",
            panel=_PANEL,
        ),
    )
    method: Optional[Method] = field(
        default=None,
        metadata=option(
            "--method",
            help="How thresholds are chosen; auto: for each tensor the one with the least error. Default: mse.",
            panel=_PANEL,
        ),
    )
    percentile: Optional[float] = field(
        default=None,
        metadata=option("--percentile", metavar="P", help="For that method. Default: 99.99.", panel=_PANEL),
    )
    exclude: Optional[List[str]] = field(
        default=None,
        metadata=option(
            "--exclude", metavar="LAYER", help="A layer that stays float32; wildcards; repeatable.", panel=_PANEL
        ),
    )
    exclude_op: Optional[List[str]] = field(
        default=None,
        metadata=option("--exclude-op", metavar="OP", help="An operator that stays float32; repeatable.", panel=_PANEL),
    )

    dtype: Dtype = field(
        default=Dtype.AUTO,
        metadata=option(
            "--dtype",
            help="Type of quantized tensors where it is free: auto is uint8 for those that are never negative. "
            "TensorRT wants int8.",
            panel=_PANEL,
        ),
    )
    mode: Mode = field(
        default=Mode.SMART,
        metadata=option(
            "--mode",
            help="Whether operators that gain nothing alone are int8 only between others, or all.",
            panel=_PANEL,
        ),
    )
    granularity: Granularity = field(
        default=Granularity.CHANNEL,
        metadata=option(
            "--granularity",
            help="Whether weights of FullyConnected layers have a scale for each output, or one.",
            panel=_PANEL,
        ),
    )

    @property
    def options(self) -> Dict[str, Any]:
        """What the user has chosen, as keyword arguments of the library's calls, `target` aside."""
        found: Mapping[str, Any] = {
            "isa": self.isa,
            "method": self.method,
            "percentile": self.percentile,
            "exclude_layers": self.exclude or None,
            "exclude_operators": self.exclude_op or None,
            "dtype": self.dtype if self.dtype is not Dtype.AUTO else None,
            "mode": self.mode if self.mode is not Mode.SMART else None,
            "granularity": self.granularity if self.granularity is not Granularity.CHANNEL else None,
        }
        chosen = {name: value for name, value in found.items() if value is not None}
        return {name: value.value if isinstance(value, Enum) else value for name, value in chosen.items()}
