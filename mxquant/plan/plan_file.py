"""Plans as JSON text that a person can read and edit."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from typing import Any, Dict, Iterable, Mapping, Tuple

from mxquant.errors import PlanError
from mxquant.files.reading import parse_json
from mxquant.plan.layer_plan import LayerPlan
from mxquant.plan.recurrent_plan import RecurrentPlan
from mxquant.plan.tensor_plan import TensorPlan, number

__all__ = ["FORMAT", "VERSION", "read", "written"]

FORMAT, VERSION = "mxquant-plan", 1
# What a plan says of the int8 network that it is saved with.
_OF_NETWORK = ("files", "inputs", "outputs")


def written(fields: Mapping[str, Any], network: Mapping[str, Any]) -> str:
    """Return the fields of a plan, and what is said of an int8 network with it, as indented JSON text."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        **fields,
        "layers": [_layer_entry(layer) for layer in fields["layers"].values()],
        "tensors": [{**asdict(tensor), "scale": tensor.scale} for tensor in fields["tensors"].values()],
    }
    return json.dumps({**document, **network}, indent=1) + "\n"


def read(text: str) -> Dict[str, Any]:
    """Return the fields of a plan from JSON text; see :meth:`mxquant.QuantPlan.from_json`."""
    try:
        document = parse_json(text)
    except ValueError as error:
        raise PlanError(f"the plan is no JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise PlanError(f"not a plan: expected a JSON object with format '{FORMAT}'")
    if document.get("version") != VERSION:
        raise PlanError(f"version is {document.get('version')!r}, this mxquant reads {VERSION}")
    needed = {"format", "version", "target", "network", "layers", "tensors"}
    _check_fields(document, needed | {"settings", "isa", *_OF_NETWORK}, needed, "the plan")
    _check_types(document)
    layers = [_read_layer(entry, i) for i, entry in enumerate(document["layers"])]
    tensors = [_read_tensor(entry, i) for i, entry in enumerate(document["tensors"])]
    return {
        "target": document["target"],
        "network": document["network"],
        "layers": _by_name(layers, "layers"),
        "tensors": _by_name(tensors, "tensors"),
        "settings": document.get("settings", {}),
        "isa": document.get("isa"),
    }


def _layer_entry(layer: LayerPlan) -> Dict[str, Any]:
    order = layer.channel_order
    return {**asdict(layer), "channel_order": None if order is None else " ".join(map(str, order))}


def _read_layer(entry: Any, position: int) -> LayerPlan:
    fields = {field.name for field in dataclass_fields(LayerPlan)}
    _check_fields(entry, fields, {"name", "op", "contains", "precision"}, f"layers[{position}]")
    _check_texts(entry, ("name", "op", "reason"), f"layers[{position}]")
    if not isinstance(entry["contains"], list) or not all(isinstance(name, str) for name in entry["contains"]):
        raise PlanError(f"layers['{entry['name']}'].contains is {entry['contains']!r}, expected a list of names")
    values = {"reason": "", **entry}
    if values.get("recurrent") is not None:
        values["recurrent"] = _read_recurrent(values["recurrent"], f"layers['{entry['name']}']")
    if values.get("channel_order") is not None:
        values["channel_order"] = _read_order(values["channel_order"], f"layers['{entry['name']}']")
    return LayerPlan(**values)


def _read_recurrent(entry: Any, where: str) -> RecurrentPlan:
    try:
        return RecurrentPlan.read(entry)
    except PlanError as error:
        raise PlanError(f"{where}.{error}") from None


def _read_order(entry: Any, where: str) -> Tuple[int, ...]:
    if not isinstance(entry, str) or not all(part.isdecimal() and len(part) < 9 for part in entry.split()):
        raise PlanError(f"{where}.channel_order is {entry!r:.60}, expected whole numbers with blanks between, or null")
    return tuple(map(int, entry.split()))


def _read_tensor(entry: Any, position: int) -> TensorPlan:
    fields = {"name", "dtype", "threshold", "scale", "method", "reason", "group", "codes", "zero_point"}
    _check_fields(entry, fields, {"name", "dtype", "threshold"}, f"tensors[{position}]")
    _check_texts(entry, ("name", "method", "reason"), f"tensors[{position}]")
    values = {"method": "edited", "reason": "", **entry}
    scale = values.pop("scale", None)
    tensor = TensorPlan(**values)
    if scale is not None and not (tensor.scale and math.isclose(number(scale), tensor.scale, rel_tol=1e-6)):
        raise PlanError(
            f"tensors['{tensor.name}'].scale is {scale!r}, but its threshold {tensor.threshold!r} in {tensor.codes} "
            f"steps means {tensor.scale!r}; edit the threshold and leave the scale out"
        )
    return tensor


def _check_fields(entry: Any, known: set[str], needed: set[str], where: str) -> None:
    if not isinstance(entry, dict):
        raise PlanError(f"{where} is {type(entry).__name__}, expected a JSON object")
    where = f"{where} ('{entry['name']}')" if "name" in entry else where
    missing, unknown = sorted(needed - set(entry)), sorted(set(entry) - known)
    if missing:
        raise PlanError(f"{where} has no field '{missing[0]}'")
    if unknown:
        raise PlanError(f"{where} has an unknown field '{unknown[0]}'; known are {', '.join(sorted(known))}")


def _check_types(document: Mapping[str, Any]) -> None:
    for name in ("layers", "tensors"):
        if not isinstance(document[name], list):
            raise PlanError(f"{name} is {type(document[name]).__name__}, expected a list")
    _check_texts(document, ("target", "network"), "the plan")
    if not isinstance(document.get("isa"), (str, type(None))):
        raise PlanError(f"isa is {document['isa']!r}, expected a text or null")
    settings = document.get("settings", {})
    if not isinstance(settings, dict) or not all(isinstance(value, str) for value in settings.values()):
        raise PlanError("settings are expected to be texts by name")


def _check_texts(entry: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    for name in names:
        if not isinstance(entry.get(name, ""), str):
            raise PlanError(f"{where}.{name} is {entry[name]!r}, expected a text")


def _by_name(entries: Any, where: str) -> Dict[str, Any]:
    result: Dict[str, Any] = {}
    for entry in entries:
        if entry.name in result:
            raise PlanError(f"{where}['{entry.name}'] stands twice in the plan")
        result[entry.name] = entry
    return result
