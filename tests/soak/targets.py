"""A described network on each target: what runs the int8 network here, and what runs its simulation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

import mxquant
from mxquant.graph.attributes import read_int
from mxquant.plan import QuantPlan
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import environment, graph_of
from tests.soak.networks import Description
from tests.soak.networks.description import Material

__all__ = ["Fp32", "Made", "fp32_of", "quantized"]

Arrays = List[np.ndarray]
Values = Mapping[str, np.ndarray]
Shapes = Mapping[str, Tuple[int, ...]]


class Made(NamedTuple):
    """An int8 network: what runs it on the inputs, its plan, and what runs its simulation, where there is one."""

    run: Callable[[Mapping[str, np.ndarray]], Arrays]
    plan: QuantPlan
    simulated: Optional[Callable[[Mapping[str, np.ndarray]], Arrays]]

    def of_values(self, places: Sequence[bool]) -> Made:
        """Return the same of which the outputs that are places of values are left out."""

        def shorter(run: Callable[[Values], Arrays]) -> Callable[[Values], Arrays]:
            return lambda data: [each for is_place, each in zip(places, run(data)) if not is_place]

        return Made(shorter(self.run), self.plan, None if self.simulated is None else shorter(self.simulated))


def quantized(description: Description, material: Material, backend: str = "NONE") -> Made:
    """Return the int8 network that the description's options ask for; one of MXNet's will run with a backend."""
    options = dict(description.options)
    target, accuracy, exclude = options.pop("target"), options.pop("accuracy"), options.pop("exclude", None)
    if exclude in [node.name for node in graph_of(material.symbol).operators]:
        options["exclude_layers"] = [exclude]
    if target == "cudnn":
        # So few operations for each byte that int8 is worthwhile everywhere.
        options["gpu_operations_per_byte"] = 1e-3
    symbol, args, aux = material.checkpoint
    params = {"arg_params": args, "aux_params": aux}
    data = material.data
    if accuracy == "balanced":
        model = mxquant.quantize(symbol, _fed(material), target=target, accuracy=accuracy, **params, **options)
        return Made(_runner(target, model, material, backend), model.plan, None)
    statistics = None
    if options["method"] is not None:
        statistics = mxquant.calibrate(symbol, _fed(material), target=target, **params)
    plan = mxquant.make_plan(symbol, statistics, target=target, **params, **options)
    plan = _through_a_file(plan)
    improving = {"statistics": statistics if accuracy == "fast" else None, **params}
    shapes = {name: value.shape for name, value in data.items()}
    model = mxquant.lower(symbol, plan, input_shapes=shapes, **improving)
    simulated = None
    if statistics is not None:
        simulation = mxquant.lower(symbol, plan, target="simulate", **improving)
        labels = material.labels
        simulated = _on_gpu(simulation, labels) if target == "cudnn" else _here(simulation, labels, backend)
    return Made(_runner(target, model, material, backend), plan, simulated)


def _fed(material: Material) -> Any:
    """Return batches by name: as many times the same as are wanted, in float16 if the network is and they fit there."""
    data = dict(material.data)
    if material.saved is not None:
        with np.errstate(over="ignore"):
            halves = {name: value.astype(np.float16) for name, value in data.items()}
        data = {name: halves[name] if np.array_equal(halves[name], value) else value for name, value in data.items()}
    return [data] * material.batches


def _through_a_file(plan: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        plan.save(Path(folder) / "plan.json")
        again = mxquant.QuantPlan.load(Path(folder) / "plan.json")
    assert again == plan, "the plan is another one after saving and loading"
    return again


def _runner(target: str, model: Any, material: Material, backend: str) -> Any:
    data, labels = material.data, material.labels
    if target == "cudnn":
        given = {**{name: value.shape for name, value in data.items()}, **labels}
        model.symbol.infer_shape(**{name: given[name] for name in given if name in model.symbol.list_arguments()})
        model.symbol.infer_type(**{name: "float32" for name in data if name in model.symbol.list_arguments()})
        return _on_gpu(model, labels)
    return _in_onnxruntime(model) if target == "onnx_qdq" else _here(_saved(model), labels, backend)


def _saved(model: Any) -> Any:
    """Return what MXNet's own functions read of a saved model."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "int8")
        return mx.model.load_checkpoint(str(Path(folder) / "int8"), 0)


class Fp32(NamedTuple):
    """Which of MXNet's backends runs the network in fp32 rightly, and what it returns with it."""

    backend: str
    outputs: Arrays


def fp32_of(material: Material) -> Fp32:
    """Return 'MKLDNN', which is MXNet's default, or 'NONE' where MXNet itself fails or is wrong with that."""
    network = (material.symbol, material.args, material.aux)
    fused, plain = (Bound(*network, each, material.labels) for each in ("MKLDNN", "NONE"))
    expected = plain.run(material.data)
    if any(each.op == "BatchNorm" and read_int(each, "axis", 1) != 1 for each in graph_of(material.symbol).operators):
        # MXNet takes it for one of channels.
        return Fp32("NONE", expected)
    try:
        found = [fused.run(material.data) for _ in range(2)][1]
    except mx.MXNetError:
        return Fp32("NONE", expected)
    same = all(np.allclose(a, b, 1e-3, 1e-5, equal_nan=True) for a, b in zip(found, expected))
    return Fp32("MKLDNN", found) if same else Fp32("NONE", expected)


def _here(model: Any, labels: Shapes, backend: str) -> Any:
    symbol, args, aux = model if isinstance(model, tuple) else (model.symbol, model.arg_params, model.aux_params)
    return Bound(symbol, args, aux, backend, labels).run


class Bound:
    """A network that is bound once, so that what one batch does to its state is seen by the next."""

    def __init__(
        self,
        symbol: Any,
        args: Mapping[str, Any],
        aux: Mapping[str, Any],
        backend: str,
        labels: Optional[Shapes] = None,
    ) -> None:
        self.symbol, self.args, self.aux, self.backend, self.labels = symbol, args, aux, backend, labels or {}
        self.executor: Optional[Any] = None

    def run(self, data: Values) -> Arrays:
        """Return the outputs."""
        names = self.symbol.list_arguments()
        given = {name: value for name, value in data.items() if name in names}
        if self.executor is None:
            arrays: Dict[str, Any] = {name: value for name, value in self.args.items() if name in names}
            arrays.update({name: mx.nd.array(value) for name, value in given.items()})
            arrays.update(_labels(self.symbol, self.args, given, self.labels))
            with environment(MXNET_SUBGRAPH_BACKEND=self.backend):
                self.executor = self.symbol.bind(mx.cpu(), arrays, aux_states=dict(self.aux), grad_req="null")
        else:
            for name, value in given.items():
                self.executor.arg_dict[name][:] = mx.nd.array(value)
        return [output.asnumpy() for output in self.executor.forward(is_train=False)]


def _labels(symbol: Any, args: Mapping[str, Any], data: Values, labels: Shapes) -> Dict[str, Any]:
    """Return zeros for the labels of a network, of which some have known shapes."""
    names = symbol.list_arguments()
    missing = [name for name in names if name.endswith("_label") and name not in args and name not in data]
    if not missing:
        return {}
    known = {name: value.shape for name, value in {**args, **data}.items() if name in names}
    known.update({name: shape for name, shape in labels.items() if name in names})
    shapes = symbol.infer_shape(**known)[0]
    return {name: mx.nd.zeros(shape) for name, shape in zip(names, shapes) if name in missing}


def _on_gpu(model: Any, labels: Shapes) -> Any:
    from tests.lowering.gpu_interpreter import run_as_gpu

    values = {**model.arg_params, **model.aux_params}

    return lambda data: run_as_gpu(model.symbol, {**values, **_labels(model.symbol, values, data, labels)}, **data)


def _in_onnxruntime(model: Any) -> Any:
    import onnx

    from tests.onnx_export.runtimes import in_onnxruntime

    onnx.checker.check_model(model.proto, full_check=True)
    known = {each.name for each in model.proto.graph.input}
    return lambda data: in_onnxruntime(model.proto, False, **{name: data[name] for name in data if name in known})
