"""What will be quantized, how, and why: the plan between calibration and lowering.

A plan is JSON that a person can read and edit. It speaks of the layers and tensors of the user's fp32 network. Lowering
obeys it to the letter, or refuses it with the name of the field.

The scale of a tensor is the real value of one code. The threshold T is the outer end of what the last code stands for,
as MXNet has it, half a scale beyond the code itself::

    int8                 codes -127..127   scale = T / 127.5   value = code · scale
    uint8                codes 0..255      scale = T / 255.5   value = code · scale
    int8, zero point z   codes z..127      scale = T / (127.5 - z)   value = (code - z) · scale

A tensor may use fewer codes, n, so that no sum of products saturates on a CPU without VNNI; see
:mod:`mxquant.lowering.saturation`. Then T itself gets the last of them: scale = T / n.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, Dict, Iterable, Mapping, Optional, Tuple, Union

import numpy as np

from mxquant.errors import PlanError
from mxquant.files.reading import parse_json, read_text
from mxquant.files.replacing import write_text
from mxquant.plan.recurrent_plan import RecurrentPlan
from mxquant.shown import html_table

__all__ = ["LayerPlan", "QuantPlan", "TensorPlan"]

FORMAT, VERSION = "mxquant-plan", 1
_CODES = {"int8": 127, "uint8": 255}


@dataclass(frozen=True)
class TensorPlan:
    """How one tensor is stored while int8 layers work on it.

    Parameters
    ----------
    name : str
        The tensor's name in the user's network.
    dtype : {'int8', 'uint8', 'float32'}
        Type of its elements.
    threshold : float or None
        Largest magnitude that can be represented, in the tensor's own unit; a float32 value above 0. None means that
        the range is found at run time, on every forward pass (uncalibrated), or that the tensor is float32.
    method : str
        How the threshold was chosen: 'minmax', 'entropy', 'percentile', 'mse', 'inherited', 'weights', 'runtime', ...
    reason : str
        Why the tensor has this type and threshold.
    group : str or None
        Tensors of one group are quantized with one threshold; the group bears the name of the layer that needs it.
    codes : int or None
        How many steps lead from 0 to the threshold; by default all that the type has: 127 for int8, 255 for uint8 and
        for int8 with a zero point of -128. None for a float32 tensor.
    zero_point : int
        The code that stands for 0. Other than 0 only for int8 tensors without negative values: -128, or -127 on GPUs.
    """

    name: str
    dtype: str
    threshold: Optional[float]
    method: str
    reason: str
    group: Optional[str] = None
    codes: Optional[int] = None
    zero_point: int = 0

    def __post_init__(self) -> None:
        where = f"tensors['{self.name}']"
        if self.dtype not in (*_CODES, "float32"):
            raise PlanError(f"{where}.dtype is {self.dtype!r}, expected 'int8', 'uint8' or 'float32'")
        self._check_codes(where)
        if self.threshold is None:
            return
        if self.dtype == "float32":
            raise PlanError(f"{where}.threshold is {self.threshold!r}, but a float32 tensor has none")
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, (int, float)):
            raise PlanError(f"{where}.threshold is {self.threshold!r}, expected a number or null")
        with np.errstate(over="ignore"):
            value = float(np.float32(_number(self.threshold)))
        if not (math.isfinite(value) and value > 0):
            raise PlanError(f"{where}.threshold is {self.threshold!r}, expected a positive finite float32 number")
        object.__setattr__(self, "threshold", value)

    def _check_codes(self, where: str) -> None:
        if not isinstance(self.group, (str, type(None))):
            raise PlanError(f"{where}.group is {self.group!r}, expected a name or null")
        point = self.zero_point
        if not isinstance(point, int) or (point != 0 and (self.dtype != "int8" or point not in (-127, -128))):
            raise PlanError(f"{where}.zero_point is {self.zero_point!r}, expected 0, or -128 or -127 for int8")
        if self.dtype == "float32":
            if self.codes is not None:
                raise PlanError(f"{where}.codes is {self.codes!r}, but a float32 tensor has none")
            return
        largest = self._largest_code
        if self.codes is None:
            object.__setattr__(self, "codes", largest)
        elif isinstance(self.codes, bool) or not isinstance(self.codes, int) or not 1 <= self.codes <= largest:
            raise PlanError(f"{where}.codes is {self.codes!r}, expected a whole number from 1 to {largest}")

    @property
    def scale(self) -> Optional[float]:
        """The real value of one code, or None for a float32 or uncalibrated tensor."""
        if self.threshold is None or self.codes is None:
            return None
        return self.threshold / (self.codes + 0.5 if self.codes == self._largest_code else self.codes)

    @property
    def _largest_code(self) -> int:
        return _CODES[self.dtype] - self.zero_point


@dataclass(frozen=True)
class LayerPlan:
    """Whether one layer, with all that is fused into it, runs in int8.

    Parameters
    ----------
    name : str
        Name of the main layer in the user's network.
    op : str
        Its operator.
    contains : tuple of str
        Every layer of the user's network that is computed together with it, first to last.
    precision : {'int8', 'float32'}
        How it is computed.
    reason : str
        Why.
    granularity : {'tensor-wise', 'channel-wise'} or None
        Whether its weights have one scale or one per output channel; None where it has no int8 weights.
    weight_codes : int or None
        How many steps lead from 0 to the largest weight: 127, or fewer where that keeps sums of products from
        saturating. 126 and 125 are even codes, which CPUs may halve: beside a channel of zeros, or of all weights but
        the largest; see :mod:`mxquant.lowering.stored_weights`. None where it has no int8 weights.
    pair_codes : int or None
        The largest sum of codes that two weights of one sign may have whose products are added in int16, 128 to 255;
        weights above are made smaller. None where weights stay as they are.
    channel_order : tuple of int or None
        Which channel of its data lies at each place in memory, where neighbours are multiplied in pairs; the tensors
        and weights before are in this order too. None for the network's own. In JSON, a text with blanks between.
    recurrent : RecurrentPlan or None
        What the codes of an int8 LSTM stand for, which has them inside only; None for other layers.
    """

    name: str
    op: str
    contains: Tuple[str, ...]
    precision: str
    reason: str
    granularity: Optional[str] = None
    weight_codes: Optional[int] = None
    pair_codes: Optional[int] = None
    channel_order: Optional[Tuple[int, ...]] = None
    recurrent: Optional[RecurrentPlan] = None

    def __post_init__(self) -> None:
        where = f"layers['{self.name}']"
        object.__setattr__(self, "contains", tuple(self.contains))
        if self.precision not in ("int8", "float32"):
            raise PlanError(f"{where}.precision is {self.precision!r}, expected 'int8' or 'float32'")
        if self.granularity not in (None, "tensor-wise", "channel-wise"):
            raise PlanError(
                f"{where}.granularity is {self.granularity!r}, expected 'tensor-wise', 'channel-wise' or null"
            )
        if self.granularity is not None and self.weight_codes is None:
            object.__setattr__(self, "weight_codes", _CODES["int8"])
        codes = 1 if self.weight_codes is None else self.weight_codes
        is_whole = isinstance(codes, int) and not isinstance(codes, bool) and 1 <= codes <= 127
        if (self.granularity is None) != (self.weight_codes is None) or not is_whole:
            raise PlanError(
                f"{where}.weight_codes is {self.weight_codes!r}, expected a whole number from 1 to 127 where the layer "
                "has a granularity, else null"
            )
        order = self.channel_order
        if order is not None and sorted(order) != list(range(len(order))):
            raise PlanError(f"{where}.channel_order is not each whole number from 0 to that of its last channel once")
        pairs = self.pair_codes
        if pairs is None:
            return
        if isinstance(pairs, bool) or not isinstance(pairs, int) or not 128 <= pairs <= 255:
            raise PlanError(f"{where}.pair_codes is {pairs!r}, expected a whole number from 128 to 255, or null")
        if (self.granularity, self.weight_codes) != ("channel-wise", _CODES["int8"]):
            raise PlanError(
                f"{where}.pair_codes is {pairs!r}, but only channel-wise weights with 127 codes can be limited"
            )


@dataclass(frozen=True)
class QuantPlan:
    """All decisions for one network and one target.

    Parameters
    ----------
    target : str
        Name of the target, for example 'onednn'.
    network : str
        Digest of the fp32 network the plan was made for.
    layers : mapping of str to LayerPlan
        By the layer's name.
    tensors : mapping of str to TensorPlan
        By the tensor's name.
    settings : mapping of str to str
        The choices that the plan was made with, for the reader.
    isa : str or None
        The int8 instructions of the CPU it was made for, or 'portable' for all of them; see
        :mod:`mxquant.lowering.isa`. None where the target is no CPU.
    """

    target: str
    network: str
    layers: Mapping[str, LayerPlan]
    tensors: Mapping[str, TensorPlan]
    settings: Mapping[str, str] = field(default_factory=dict)
    isa: Optional[str] = None

    def __post_init__(self) -> None:
        groups: Dict[str, TensorPlan] = {}
        for tensor in self.tensors.values():
            if tensor.group is None:
                continue
            first = groups.setdefault(tensor.group, tensor)
            if first.threshold != tensor.threshold:
                raise PlanError(
                    f"tensors['{tensor.name}'].threshold is {tensor.threshold!r}, but '{first.name}' of the same group "
                    f"'{tensor.group}' has {first.threshold!r}; give both one threshold or set their group to null"
                )

    def edit_layer(self, name: str, **changes: Any) -> QuantPlan:
        """Return a plan in which fields of one layer are changed.

        Parameters
        ----------
        name : str
            The layer's name.
        **changes
            Fields of :class:`LayerPlan` and their new values.

        Returns
        -------
        QuantPlan
            A new plan.

        Raises
        ------
        PlanError
            If the plan has no such layer or a value is not allowed.
        """
        if name not in self.layers:
            raise PlanError(f"layers['{name}'] does not exist; the plan's layers are {_some(self.layers)}")
        return replace(self, layers={**self.layers, name: replace(self.layers[name], **changes)})

    def edit_tensor(self, name: str, **changes: Any) -> QuantPlan:
        """Return a plan in which fields of one tensor are changed.

        Parameters
        ----------
        name : str
            The tensor's name.
        **changes
            Fields of :class:`TensorPlan` and their new values.

        Returns
        -------
        QuantPlan
            A new plan.

        Raises
        ------
        PlanError
            If the plan has no such tensor or a value is not allowed.
        """
        if name not in self.tensors:
            raise PlanError(f"tensors['{name}'] does not exist; the plan's tensors are {_some(self.tensors)}")
        return replace(self, tensors={**self.tensors, name: replace(self.tensors[name], **changes)})

    def _repr_html_(self) -> str:
        int8 = sum(layer.precision == "int8" for layer in self.layers.values())
        made_for = f" on {self.isa}" if self.isa else ""
        caption = f"QuantPlan for {self.target}{made_for}: {int8} of {len(self.layers)} layers in int8"
        rows = [(layer.name, layer.op, layer.precision, layer.reason) for layer in self.layers.values()]
        return html_table(caption, ("layer", "operator", "precision", "why"), rows)

    def to_json(self, files: Optional[Mapping[str, str]] = None) -> str:
        """Return the plan as indented JSON text.

        Parameters
        ----------
        files : mapping of str to str, optional
            SHA-256 of the files of the int8 network that the plan is saved with, by their role.
        """
        tensors = []
        for tensor in self.tensors.values():
            tensors.append({**asdict(tensor), "scale": tensor.scale})
        document = {
            "format": FORMAT,
            "version": VERSION,
            "target": self.target,
            "network": self.network,
            "isa": self.isa,
            "settings": dict(self.settings),
            "layers": [_layer_entry(layer) for layer in self.layers.values()],
            "tensors": tensors,
        }
        document.update({} if files is None else {"files": dict(files)})
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> QuantPlan:
        """Read a plan from JSON text.

        Parameters
        ----------
        text : str
            What :meth:`to_json` wrote, perhaps edited. ``scale`` may be left out; where it stands it has to agree with
            the threshold. Files that it was saved with are passed over.

        Returns
        -------
        QuantPlan
            The plan.

        Raises
        ------
        PlanError
            Naming the field that is missing, unknown, or has a value that is not allowed.
        """
        try:
            document = parse_json(text)
        except ValueError as error:
            raise PlanError(f"the plan is no JSON: {error}") from None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise PlanError(f"not a plan: expected a JSON object with format '{FORMAT}'")
        if document.get("version") != VERSION:
            raise PlanError(f"version is {document.get('version')!r}, this mxquant reads {VERSION}")
        fields = {"format", "version", "target", "network", "isa", "settings", "layers", "tensors", "files"}
        _check_fields(document, fields, fields - {"settings", "isa", "files"}, "the plan")
        _check_types(document)
        layers = [_read_layer(entry, i) for i, entry in enumerate(document["layers"])]
        tensors = [_read_tensor(entry, i) for i, entry in enumerate(document["tensors"])]
        return cls(
            document["target"],
            document["network"],
            _by_name(layers, "layers"),
            _by_name(tensors, "tensors"),
            document.get("settings", {}),
            document.get("isa"),
        )

    def save(self, path: Union[str, Path]) -> None:
        """Write the plan as JSON.

        Parameters
        ----------
        path : str or Path
            The file; it appears whole or not at all.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: Union[str, Path]) -> QuantPlan:
        """Read a plan from a file.

        Parameters
        ----------
        path : str or Path
            A file written by :meth:`save`, perhaps edited.

        Returns
        -------
        QuantPlan
            The plan.

        Raises
        ------
        PlanError
            If the file cannot be read or is no plan.
        """
        return cls.from_json(read_text(path, PlanError, "the plan"))


def _number(value: Any) -> float:
    """Return a number, infinity for a whole number beyond all, or NaN for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


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
    if scale is not None and not (tensor.scale and math.isclose(_number(scale), tensor.scale, rel_tol=1e-6)):
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


def _some(names: Mapping[str, object]) -> str:
    shown = ", ".join(f"'{name}'" for name in list(names)[:8])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 8 else shown
