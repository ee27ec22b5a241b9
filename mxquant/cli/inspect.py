"""``mxquant inspect``: what a file of mxquant holds.

``--json``: ``files``, a list of ``file``, ``kind`` ('statistics', 'plan', 'symbol', 'checkpoint', 'parameters' or
'onnx'), and besides

===========  =============================================================================================
statistics   ``network``, ``examples``, ``batches``, ``tensors``, ``mxquant_version``, ``mxnet_version``
plan         ``network``, ``target``, ``isa``, ``settings``, ``layers``, ``int8_layers``, ``float32``
symbol       ``inputs``, ``outputs``, ``operators`` (how many of each), ``int8_operators``
checkpoint   the same, ``network``, ``parameters``, ``bytes``, and ``plan`` (as above, or null)
parameters   ``parameters``, ``bytes``
onnx         ``inputs`` and ``outputs`` (shapes by name), ``operators``, ``opset``, ``int8_tensors``, ``metadata``
===========  =============================================================================================
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Collection, Dict, List, Mapping

from mxquant.cli.command import Result, command
from mxquant.cli.files import prefix_and_epoch
from mxquant.cli.options import Common, argument
from mxquant.cli.plan import float32_layers
from mxquant.cli.text import facts, megabytes, plain
from mxquant.errors import InputError
from mxquant.files.reading import read_json
from mxquant.files.regular import missing
from mxquant.shown import printable

__all__ = ["EXAMPLES", "InspectOptions", "inspect"]

EXAMPLES = (
    "mxquant inspect stats.npz plan.json net-int8 net.onnx",
    "mxquant inspect net:0 --json",
)
_INT8 = ("quantize", "_sg_mkldnn", "requantize")
Found = Dict[str, Any]


@dataclass(frozen=True)
class InspectOptions:
    """What is looked at."""

    files: List[str] = field(
        metadata=argument(
            "Statistics (.npz, .partial), plans and symbols (.json), parameters (.params), ONNX files, and checkpoints "
            "as PREFIX[:EPOCH].",
            metavar="FILE...",
        )
    )


@command
def inspect(own: InspectOptions, common: Common) -> Result:
    """Tell what statistics, plans, checkpoints and ONNX files hold."""
    found = [{"file": name, **_look(name)} for name in own.files]
    return Result({"files": found}, "\n\n".join(map(_text, found)))


def _look(name: str) -> Found:
    path = Path(name)
    prefix, epoch = prefix_and_epoch(name)
    if not path.is_file() and Path(f"{prefix}-symbol.json").is_file():
        return _checkpoint(prefix, epoch)
    if not path.is_file():
        raise InputError(f"{missing(path)}, and there is no checkpoint '{prefix}-symbol.json'")
    readers = {".npz": _statistics, ".partial": _statistics, ".json": _json, ".params": _params, ".onnx": _onnx}
    if path.suffix not in readers:
        raise InputError(f"'{name}' ends in '{path.suffix}', expected {', '.join(readers)}, or a checkpoint's prefix")
    return readers[path.suffix](path)


def _statistics(path: Path) -> Found:
    from mxquant.stats import Statistics

    found = Statistics.load(path)
    return {
        "kind": "statistics",
        "network": found.network,
        "examples": found.num_examples,
        "batches": found.num_batches,
        "tensors": len(found),
        "mxquant_version": found.mxquant_version,
        "mxnet_version": found.mxnet_version,
    }


def _json(path: Path) -> Found:
    document = read_json(path, InputError, "the file")
    if isinstance(document, Mapping) and "nodes" in document:
        from mxquant.runtime.symbol_file import read_symbol

        return {"kind": "symbol", **_symbol(read_symbol(str(path)))}
    return _plan(path)


def _plan(path: Path) -> Found:
    from mxquant.plan import QuantPlan

    found = QuantPlan.load(path)
    float32 = float32_layers(found)
    return {
        "kind": "plan",
        "network": found.network,
        "target": found.target,
        "isa": found.isa,
        "settings": dict(found.settings),
        "layers": len(found.layers),
        "int8_layers": len(found.layers) - len(float32),
        "float32": float32,
    }


def _symbol(symbol: Any, params: Collection[str] = ()) -> Found:
    from mxquant.runtime.mxnet_bridge import graph_of

    graph = graph_of(symbol)
    operators = Counter(node.op for node in graph.operators)
    int8 = sum(
        any(word in node.op for word in _INT8) and node.attrs.get("quantized", "True") == "True"
        for node in graph.operators
    )
    return {
        "inputs": [node.name for node in graph.variables if node.name not in params],
        "outputs": [tensor.name for tensor in graph.outputs],
        "operators": dict(operators.most_common()),
        "int8_operators": int8,
    }


def _checkpoint(prefix: str, epoch: int) -> Found:
    from mxquant.model import load_checkpoint, read

    symbol, args, aux = load_checkpoint(f"{prefix}:{epoch}")
    source = read(symbol, args, aux)
    plan = Path(f"{prefix}-plan.json")
    return {
        "kind": "checkpoint",
        **_symbol(symbol, {**args, **aux}),
        "network": source.network.digest(),
        **_counted(args, aux),
        "plan": _plan(plan) if plan.is_file() else None,
    }


def _params(path: Path) -> Found:
    from mxquant.model import load_params

    return {"kind": "parameters", **_counted(*load_params(str(path)))}


def _counted(args: Mapping[str, Any], aux: Mapping[str, Any]) -> Found:
    values = [*args.values(), *aux.values()]
    return {"parameters": len(values), "bytes": sum(value.size * value.dtype().itemsize for value in values)}


def _onnx(path: Path) -> Found:
    from mxquant.onnx_import.model_file import read_model

    model = read_model(path)
    operators = Counter(node.op_type for node in model.graph.node)
    weights = {each.name for each in model.graph.initializer}
    return {
        "kind": "onnx",
        "inputs": {each.name: _shape(each) for each in model.graph.input if each.name not in weights},
        "outputs": {each.name: _shape(each) for each in model.graph.output},
        "operators": dict(operators.most_common()),
        "opset": max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=None),
        "int8_tensors": operators["QuantizeLinear"],
        "metadata": {each.key: each.value for each in model.metadata_props},
    }


def _shape(value: Any) -> List[Any]:
    return [each.dim_value or each.dim_param or None for each in value.type.tensor_type.shape.dim]


def _text(found: Found) -> str:
    rows = []
    for name, value in found.items():
        if name in ("file", "kind") or value in (None, {}, []):
            continue
        rows.append((name.replace("_", " "), _said(name, value)))
    return f"{printable(found['file'])}: {found['kind']}\n{facts([(f'  {name}', text) for name, text in rows])}"


def _said(name: str, value: Any) -> str:
    if name == "bytes":
        return megabytes(value)
    if name == "float32":
        return "; ".join(f"{each['layer']}: {each['reason']}" for each in value)
    if name == "plan":
        made_for = f"for {value['target']}" + (f" on '{value['isa']}'" if value["isa"] else "")
        return f"{made_for}, {value['int8_layers']} of {value['layers']} layers in int8"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said('', item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join("?" if each is None else str(plain(each)) for each in value)
    return str(value)
