"""How good an int8 network is, on examples that had no part in its calibration where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Tuple

from mxquant.analysis.at_heads import AtHeads
from mxquant.analysis.predictor import Predictor
from mxquant.analysis.scores import Faithfulness, Tally
from mxquant.cli.examples import NO_LABELS, Data, Labelled
from mxquant.cli.network import Net
from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.lowering.level_warnings import level_warnings
from mxquant.onnx_export.onnx_model import OnnxModel
from mxquant.progress import progress_bar
from mxquant.runtime.mxnet import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Quality", "quality", "top1_of"]

# How many examples a summary looks at: they tell a dB, and take seconds.
_EXAMPLES = 64
_SIMULATED = 16
Outputs = List["NDArray[Any]"]


@dataclass(frozen=True)
class Quality:
    """What an int8 network reaches.

    Parameters
    ----------
    sqnr : float
        Against fp32, in dB, the lowest of all outputs, or of the heads of a network that decides by them.
    agreement : float or None
        Share of examples with the same class as in fp32.
    top1_drop : float or None
        By how much the top-1 accuracy is lower than in fp32, as a share; None without labels.
    examples : int
        How many it was measured on.
    held : bool
        Whether these had no part in the calibration.
    how : str
        What ran it.
    """

    sqnr: float
    agreement: Optional[float]
    top1_drop: Optional[float]
    examples: int
    held: bool
    how: str

    def __str__(self) -> str:
        parts = [f"{self.sqnr:.1f} dB"]
        parts += [f"same class as in fp32 {self.agreement:.1%}"] if self.agreement is not None else []
        parts += [f"top-1 accuracy lower by {self.top1_drop:.2%}"] if self.top1_drop is not None else []
        which = "held out of calibration" if self.held else "that it was calibrated on"
        return f"{', '.join(parts)}; {self.examples} examples {which}, {self.how}"


def quality(net: Net, data: Data, calibrated: int, model: Any, with_labels: bool) -> Optional[Quality]:
    """Measure an int8 network.

    Parameters
    ----------
    net : Net
        The fp32 network.
    data : Data
        All examples, those of the calibration first.
    calibrated : int
        How many these are.
    model : QuantizedModel or OnnxModel
        The int8 network.
    with_labels : bool
        Whether the top-1 accuracy is asked for: then of all held examples, however many.

    Returns
    -------
    Quality or None
        None where this machine cannot run the network.
    """
    run, how, most = _runner(net, model)
    if run is None:
        return None
    limit = 1 << 62 if with_labels else most
    held = [batch for batch in [next(iter(data.after(calibrated, 1).labelled()), None)] if batch is not None]
    chosen = data.after(calibrated if held else 0, limit if held else min(limit, calibrated))
    fp32 = Predictor(net.symbol, net.arg_params, net.aux_params, fused=True)
    judged = _at_heads(net, model)
    faithful, tallies = Faithfulness(), (Tally(), Tally())
    with progress_bar("measuring", chosen.count) as report:
        for batch in chosen.labelled():
            pair = (fp32(batch.arrays, batch.size), run(batch))
            faithful.add(*(pair if judged is None else judged(batch.arrays, batch.size)))
            for tally, outputs in zip(tallies, pair):
                if with_labels and batch.labels is not None:
                    tally.add(outputs[0], batch.labels)
            if report is not None:
                report(faithful.examples)
    assert faithful.sqnr is not None
    drop = None if tallies[0].top1 is None or tallies[1].top1 is None else tallies[0].top1 - tallies[1].top1
    return Quality(faithful.sqnr, faithful.agreement, drop, faithful.examples, bool(held), how)


def _runner(net: Net, model: Any) -> Tuple[Optional[Callable[[Labelled], Outputs]], str, int]:
    """Return what runs an int8 network here, a word on it, and on how many examples."""
    if isinstance(model, OnnxModel):
        return _onnxruntime(net, model), "by ONNX Runtime on this CPU", _EXAMPLES
    if model.plan.target != "onednn":
        return None, "", 0
    if not level_warnings(model.plan):
        int8 = Predictor(model.symbol, model.arg_params, model.aux_params)
        return (lambda batch: int8(batch.arrays, batch.size)), "on this CPU", _EXAMPLES
    return _simulation(net, model), f"simulated for '{model.plan.isa}'", _SIMULATED


def _onnxruntime(net: Net, model: OnnxModel) -> Optional[Callable[[Labelled], Outputs]]:
    try:
        onnxruntime: Any = import_module("onnxruntime")
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda batch: list(session.run(None, dict(batch.arrays)))


def _at_heads(net: Net, model: Any) -> Optional[AtHeads]:
    """Return what runs both networks to their heads, where they are judged there."""
    if isinstance(model, OnnxModel):
        return None
    from mxquant.model.quantized_model import unlabelled

    canonical = _canonical(net)
    if level_warnings(model.plan):
        return AtHeads.of(canonical, partial(_simulated, canonical, model))
    return AtHeads.of(canonical, partial(unlabelled, model))


def _simulation(net: Net, model: Any) -> Callable[[Labelled], Outputs]:
    from mxquant.runtime.forward import outputs

    simulated = _simulated(_canonical(net), model)
    return lambda batch: outputs(simulated, batch.arrays)


def _simulated(canonical: Network, model: Any) -> Network:
    """Return the integer simulation of a network for another CPU, with the weights that it was made from."""
    from mxquant.analysis.int8_weights import weights_of
    from mxquant.lowering.simulate import simulate
    from mxquant.model.quantized_model import unlabelled

    return simulate(weights_of(canonical, model.plan, unlabelled(model)), model.plan)


def _canonical(net: Net) -> Network:
    from mxquant.model import load

    return load(net.symbol, net.arg_params, net.aux_params).canonical.network


def _why(data: Data) -> str:
    return f"'{data.title}' has none" if data.unlabelled == NO_LABELS else data.unlabelled


def top1_of(data: Data) -> Callable[[Any], float]:
    """Return a function of a Gluon block: its top-1 accuracy on examples, which are read once.

    Raises
    ------
    InputError
        If the data have no labels.
    """
    batches = list(data.labelled())
    if not batches or any(batch.labels is None for batch in batches):
        raise InputError(f"--max-drop needs labels, but {_why(data)}")

    def top1(block: Any) -> float:
        tally = Tally()
        for batch in batches:
            found = block(*[mx.nd.array(batch.arrays[name], dtype=batch.arrays[name].dtype) for name in data.inputs])
            first = found[0] if isinstance(found, (list, tuple)) else found
            assert batch.labels is not None
            tally.add(first.asnumpy(), batch.labels)
        return tally.first / tally.examples

    return top1
