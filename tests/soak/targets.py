"""A described network on each target: what runs the int8 network here, and what runs its simulation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

import numpy as np

import mxquant
from mxquant._compat import mx
from mxquant.mxnet_bridge import graph_of
from mxquant.plan import QuantPlan
from tests.soak.networks import Description
from tests.soak.networks.description import Material

__all__ = ["Made", "quantized"]

Arrays = List[np.ndarray]
Values = Mapping[str, np.ndarray]


class Made(NamedTuple):
    """An int8 network: what runs it on the inputs, its plan, and what runs its simulation, where there is one."""

    run: Callable[[Mapping[str, np.ndarray]], Arrays]
    plan: QuantPlan
    simulated: Optional[Callable[[Mapping[str, np.ndarray]], Arrays]]


def quantized(description: Description, material: Material) -> Made:
    """Return the int8 network that the description's options ask for."""
    options = dict(description.options)
    target, accuracy, exclude = options.pop("target"), options.pop("accuracy"), options.pop("exclude", None)
    if exclude in [node.name for node in graph_of(material.symbol).operators]:
        options["exclude_layers"] = [exclude]
    if target == "cudnn":
        # So few operations for each byte that int8 is worthwhile everywhere.
        options["gpu_operations_per_byte"] = 1e-3
    params = {"arg_params": material.args, "aux_params": material.aux}
    data = material.data
    if accuracy == "balanced":
        model = mxquant.quantize(material.symbol, _fed(data), target=target, accuracy=accuracy, **params, **options)
        return Made(_runner(target, model, data), model.plan, None)
    statistics = None
    if options["method"] is not None:
        statistics = mxquant.calibrate(material.symbol, _fed(data), target=target, **params)
    plan = mxquant.make_plan(material.symbol, statistics, target=target, **params, **options)
    plan = _through_a_file(plan)
    improving = {"statistics": statistics if accuracy == "fast" else None, **params}
    shapes = {name: value.shape for name, value in data.items()}
    model = mxquant.lower(material.symbol, plan, input_shapes=shapes, **improving)
    simulated = None
    if statistics is not None:
        simulation = mxquant.lower(material.symbol, plan, target="simulate", **improving)
        simulated = _on_gpu(simulation) if target == "cudnn" else _here(simulation)
    return Made(_runner(target, model, data), plan, simulated)


def _fed(data: Values) -> Any:
    """Return data as one batch by name."""
    return [dict(data)]


def _through_a_file(plan: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        plan.save(Path(folder) / "plan.json")
        again = mxquant.QuantPlan.load(Path(folder) / "plan.json")
    assert again == plan, "the plan is another one after saving and loading"
    return again


def _runner(target: str, model: Any, data: Values) -> Any:
    if target == "cudnn":
        model.symbol.infer_shape(**{name: data[name].shape for name in data if name in model.symbol.list_arguments()})
        model.symbol.infer_type(**{name: "float32" for name in data if name in model.symbol.list_arguments()})
        return _on_gpu(model)
    return _in_onnxruntime(model) if target == "onnx_qdq" else _here(_saved(model))


def _saved(model: Any) -> Any:
    """Return what MXNet's own functions read of a saved model."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "int8")
        return mx.model.load_checkpoint(str(Path(folder) / "int8"), 0)


def _here(model: Any) -> Any:
    symbol, args, aux = model if isinstance(model, tuple) else (model.symbol, model.arg_params, model.aux_params)
    return Bound(symbol, args, aux).run


class Bound:
    """A network that is bound once, so that what one batch does to its state is seen by the next."""

    def __init__(self, symbol: Any, args: Mapping[str, Any], aux: Mapping[str, Any]) -> None:
        self.symbol, self.args, self.aux = symbol, args, aux
        self.executor: Optional[Any] = None

    def run(self, data: Values) -> Arrays:
        """Return the outputs."""
        names = self.symbol.list_arguments()
        given = {name: value for name, value in data.items() if name in names}
        if self.executor is None:
            arrays: Dict[str, Any] = {name: value for name, value in self.args.items() if name in names}
            arrays.update({name: mx.nd.array(value) for name, value in given.items()})
            arrays.update(_labels(self.symbol, self.args, given))
            self.executor = self.symbol.bind(mx.cpu(), arrays, aux_states=dict(self.aux), grad_req="null")
        else:
            for name, value in given.items():
                self.executor.arg_dict[name][:] = mx.nd.array(value)
        return [output.asnumpy() for output in self.executor.forward(is_train=False)]


def _labels(symbol: Any, args: Mapping[str, Any], data: Values) -> Dict[str, Any]:
    """Return zeros for the labels of a network."""
    names = symbol.list_arguments()
    missing = [name for name in names if name.endswith("_label") and name not in args and name not in data]
    if not missing:
        return {}
    shapes = symbol.infer_shape_partial(**{name: value.shape for name, value in data.items() if name in names})[0]
    return {name: mx.nd.zeros(shape) for name, shape in zip(names, shapes) if name in missing}


def _on_gpu(model: Any) -> Any:
    from tests.lowering.gpu_interpreter import run_as_gpu

    values = {**model.arg_params, **model.aux_params}

    return lambda data: run_as_gpu(model.symbol, {**values, **_labels(model.symbol, values, data)}, **data)


def _in_onnxruntime(model: Any) -> Any:
    import onnx

    from tests.export.runtimes import in_onnxruntime

    onnx.checker.check_model(model.proto, full_check=True)
    known = {each.name for each in model.proto.graph.input}
    return lambda data: in_onnxruntime(model.proto, False, **{name: data[name] for name in data if name in known})
