"""What a comparison of an int8 network with the fp32 network tells, as data, as text and for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional, Tuple

from mxquant.shown import decibels, html_table, percent, printable

__all__ = ["Comparison", "LayerComparison", "OutputComparison", "plain"]


@dataclass(frozen=True)
class LayerComparison:
    """What int8 does to one layer.

    Parameters
    ----------
    layer, op, precision, reason : str
        Name, operator, precision ('int8' or 'float32') and the reason for it, as in the plan.
    dtype : str
        Type of its result: 'int8', 'uint8' or 'float32'.
    codes : int or None
        How many steps the range of the result has from 0 to its end; None for float32.
    sqnr : float
        SQNR of its result in dB, all layers before it being as the plan wants them.
    local : float or None
        SQNR of its result in dB on the data of the fp32 network: its data, weights and result are rounded, and nothing
        before. Biases that make up for errors of layers before count as errors here. None for float32.
    clipped, clipped_data : float or None
        Share of the fp32 values of its result, and of that one of its inputs where most are, that lie beyond the codes
        and are clipped to the nearest; None for float32.
    """

    layer: str
    op: str
    precision: str
    reason: str
    dtype: str
    codes: Optional[int]
    sqnr: float
    local: Optional[float]
    clipped: Optional[float]
    clipped_data: Optional[float]


@dataclass(frozen=True)
class OutputComparison:
    """What int8 does to one output of the network, or to one of its heads where it decides by them.

    Parameters
    ----------
    name : str
        Name of the tensor.
    sqnr : float
        SQNR in dB of the simulation against fp32.
    top1 : float or None
        Share of examples whose largest value the simulation has at the same place as fp32; None for an output that is
        not of shape (examples, classes).
    int8_sqnr, int8_top1 : float or None
        The same of the int8 network as it runs on this CPU; None where there was only a plan.
    int8_simulated : float or None
        SQNR in dB of the int8 network on this CPU against its simulation; infinite where they return the same.
    """

    name: str
    sqnr: float
    top1: Optional[float]
    int8_sqnr: Optional[float] = None
    int8_top1: Optional[float] = None
    int8_simulated: Optional[float] = None


@dataclass(frozen=True)
class Comparison:
    """An int8 network beside the fp32 network.

    Parameters
    ----------
    layers : tuple of LayerComparison
        In the order in which the network computes them.
    outputs : tuple of OutputComparison
        In the network's order.
    int8_layers : float
        Share of layers in int8.
    int8_macs : float or None
        Share of multiplications in int8; None for a network without any.
    num_examples : int
        How many examples it was measured on.
    isa : str or None
        The int8 instructions that the plan is made for.
    cpu : str
        Those of this CPU.
    warnings : tuple of str
        Sentences for the user.
    """

    layers: Tuple[LayerComparison, ...]
    outputs: Tuple[OutputComparison, ...]
    int8_layers: float
    int8_macs: Optional[float]
    num_examples: int
    isa: Optional[str]
    cpu: str
    warnings: Tuple[str, ...]

    def worst(self, count: int = 3) -> Tuple[LayerComparison, ...]:
        """Return the int8 layers that lose most by themselves, the worst first.

        Parameters
        ----------
        count : int
            How many at most.

        Returns
        -------
        tuple of LayerComparison
            Those of the lowest local SQNR.
        """
        measured = [row for row in self.layers if row.local is not None]
        return tuple(sorted(measured, key=_local)[:count])

    def table(self) -> str:
        """Return a text table: a line per layer, those that lose most by themselves marked, then the summary."""
        names = [(printable(row.layer), printable(row.op)) for row in self.layers]
        width = max([len("layer"), *(len(layer) for layer, _ in names)])
        widest = max([len("operator"), *(len(op) for _, op in names)])
        head = f"{'layer':<{width}}  {'operator':<{widest}}  {'result':<12}"
        lines = [f"{head}{'SQNR dB':>9}{'local':>8}{'clipped':>10}{'of data':>10}"]
        worst = self.worst()
        for row, (layer, op) in zip(self.layers, names):
            result = row.dtype if row.codes is None else f"{row.dtype} 0..{row.codes}"
            numbers = (
                f"{row.sqnr:9.1f}{decibels(row.local):>8}{percent(row.clipped):>10}{percent(row.clipped_data):>10}"
            )
            note = f"  float32: {printable(row.reason)}" if row.precision == "float32" else ""
            note = f"  <- {worst.index(row) + 1}. lowest" if row in worst else note
            lines.append(f"{layer:<{width}}  {op:<{widest}}  {result:<12}{numbers}{note}")
        return "\n".join([*lines, "", *map(printable, self._summary())])

    def _repr_html_(self) -> str:
        outputs = "; ".join(f"{each.name}: {decibels(each.sqnr)} dB" for each in self.outputs)
        caption = f"Comparison on {self.num_examples} examples; {outputs}"
        heads = ("layer", "operator", "result", "SQNR, dB", "by itself, dB", "clipped")
        rows = [
            (row.layer, row.op, row.dtype, decibels(row.sqnr), decibels(row.local), percent(row.clipped))
            for row in self.layers
        ]
        return html_table(caption, heads, rows, self.warnings)

    def _summary(self) -> List[str]:
        lines = [f"output '{output.name}': {_sentence(output)}" for output in self.outputs]
        macs = "" if self.int8_macs is None else f", {percent(self.int8_macs)} of multiplications"
        lines.append(f"int8: {percent(self.int8_layers)} of layers{macs}; {self.num_examples} examples")
        lines.append(f"plan for '{self.isa}', this CPU is '{self.cpu}'")
        return [*lines, *(f"warning: {warning}" for warning in self.warnings)]

    def to_dict(self) -> Dict[str, Any]:
        """Return everything as dictionaries, lists, numbers and text for JSON; infinite levels are 'inf' or '-inf'."""
        document: Dict[str, Any] = plain(asdict(self))
        return document


def plain(value: Any) -> Any:
    """Return a value as JSON takes it: infinite and undefined numbers are texts."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _local(row: LayerComparison) -> float:
    assert row.local is not None
    return row.local


def _sentence(output: OutputComparison) -> str:
    parts = [f"{output.sqnr:.1f} dB" + ("" if output.top1 is None else f", top-1 as in fp32 {percent(output.top1)}")]
    if output.int8_sqnr is not None:
        top1 = "" if output.int8_top1 is None else f", top-1 as in fp32 {percent(output.int8_top1)}"
        parts.append(f"on this CPU {output.int8_sqnr:.1f} dB{top1}")
        parts.append(f"{decibels(output.int8_simulated)} dB between the two")
    return "; ".join(parts)
