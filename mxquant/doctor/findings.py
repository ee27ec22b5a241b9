"""What the doctor finds, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Mapping, Optional, Tuple

from mxquant.analysis.comparison import plain

__all__ = ["Bars", "Change", "Findings", "LayerFindings", "Saturation", "WeightRanges"]


@dataclass(frozen=True)
class Bars:
    """A histogram for drawing.

    Parameters
    ----------
    start, width : float
        Where the first bar begins, and the width of each, in the unit of the tensor.
    counts : tuple of int
        How many values are in each.
    zeros : int
        How many values are exactly 0; they are in `counts` too.
    """

    start: float
    width: float
    counts: Tuple[int, ...]
    zeros: int


@dataclass(frozen=True)
class WeightRanges:
    """The smallest and the largest weight of output channels.

    Parameters
    ----------
    channels : int
        How many there are.
    low, high : tuple of float
        Of each, in their order; of every n-th where there are very many.
    """

    channels: int
    low: Tuple[float, ...]
    high: Tuple[float, ...]


@dataclass(frozen=True)
class Saturation:
    """Whether sums of products of a layer may saturate on CPUs without VNNI.

    Parameters
    ----------
    safe_code : int
        The largest uint8 code of its data that the weights, as they are in fp32, bear on AVX2; 255 for all.
    codes : int or None
        Where the codes of its data end in the plan.
    given_up : str
        What the plan gives up so that nothing saturates on the CPU that it is made for; '' for nothing.
    at_risk : bool
        Whether the layer would saturate on AVX2 with this plan.
    """

    safe_code: int
    codes: Optional[int]
    given_up: str
    at_risk: bool


@dataclass(frozen=True)
class LayerFindings:
    """What was found of one layer.

    Parameters
    ----------
    name, op, precision, reason : str
        As in the plan.
    contains : tuple of str
        The fp32 layers that are computed together as this one.
    reads : tuple of str
        The layers whose results it reads; inputs of the network are not among them.
    remedy : str
        What can be done to run it in int8, or to lose less; '' for nothing.
    dtype : str
        Type of its result.
    codes : int or None
        How many steps its range has.
    sqnr, local : float or None
        SQNR of its result in dB, with the layers before it in int8 too, and by itself.
    clipped : float or None
        Share of values beyond its range.
    sensitivity : float or None
        SQNR of the network's output in dB with this layer alone in int8.
    fp32_ms, int8_ms : float or None
        Milliseconds for a batch on this CPU.
    macs : float
        Its share of the network's multiplications.
    threshold : float or None
        Of its result.
    method : str
        How the threshold was chosen.
    thresholds : mapping of str to float
        What each method would choose.
    bars : Bars or None
        Histogram of its result.
    weights : WeightRanges or None
        None for a layer without weights.
    saturation : Saturation or None
        None for a layer without weights.
    """

    name: str
    op: str
    precision: str
    reason: str
    contains: Tuple[str, ...]
    reads: Tuple[str, ...]
    remedy: str
    dtype: str
    codes: Optional[int]
    sqnr: Optional[float]
    local: Optional[float]
    clipped: Optional[float]
    sensitivity: Optional[float]
    fp32_ms: Optional[float]
    int8_ms: Optional[float]
    macs: float
    threshold: Optional[float]
    method: str
    thresholds: Mapping[str, float]
    bars: Optional[Bars]
    weights: Optional[WeightRanges]
    saturation: Optional[Saturation]


@dataclass(frozen=True)
class Change:
    """Something that would make the int8 network better, with its measured effect.

    Parameters
    ----------
    title : str
        What it is.
    command : str
        For a shell.
    before, after : float
        SQNR of the network's output in dB, by the simulation.
    macs : float
        Share of multiplications that leave int8 with it.
    """

    title: str
    command: str
    before: float
    after: float
    macs: float = 0.0


@dataclass(frozen=True)
class Findings:
    """The findings of a whole network.

    Parameters
    ----------
    level : {'trust', 'care', 'distrust'}
        The verdict in a word.
    verdict : str
        In a sentence.
    reasons : tuple of str
        What speaks against the int8 network, a sentence each.
    sqnr : float
        SQNR of the output in dB against fp32; of the worst, if there are several.
    simulated : bool
        Whether it was measured in the simulation, for a target or CPU that is not here.
    agreement : float or None
        Share of examples with the same top-1 class as fp32; None for outputs that are no classes.
    fp32_top1, int8_top1 : float or None
        Accuracy; None for data without labels.
    fp32_ms, int8_ms : float or None
        Median milliseconds of a batch on this CPU, in turns; fp32 is the network as the user has it.
    batch : int
        How many examples that batch had.
    fp32_bytes, int8_bytes : int
        Of the parameters.
    int8_macs : float or None
        Share of multiplications in int8.
    target : str
        What the plan is for.
    isa : str or None
        int8 instructions that it is made for; None for a GPU.
    cpu : str
        Those of this CPU.
    num_examples : int
        How many were looked at.
    fresh : bool or None
        Whether the network was quantized with other examples; None where it was given.
    warnings : tuple of str
        Of the comparison.
    layers : tuple of LayerFindings
        In the order of the network.
    changes : tuple of Change
        What would help most, first.
    """

    level: str
    verdict: str
    reasons: Tuple[str, ...]
    sqnr: float
    simulated: bool
    agreement: Optional[float]
    fp32_top1: Optional[float]
    int8_top1: Optional[float]
    fp32_ms: Optional[float]
    int8_ms: Optional[float]
    batch: int
    fp32_bytes: int
    int8_bytes: int
    int8_macs: Optional[float]
    target: str
    isa: Optional[str]
    cpu: str
    num_examples: int
    fresh: Optional[bool] = None
    warnings: Tuple[str, ...] = ()
    layers: Tuple[LayerFindings, ...] = ()
    changes: Tuple[Change, ...] = field(default=())

    def to_dict(self) -> Dict[str, Any]:
        """Return everything as dictionaries, lists, numbers and text for JSON; infinite levels are 'inf' or '-inf'."""
        document: Dict[str, Any] = plain(asdict(self))
        return document
