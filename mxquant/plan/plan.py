"""What will be quantized, how, and why: the plan between calibration and lowering.

A plan is JSON that a person can read and edit. It speaks of the layers and tensors of the user's fp32 network. Lowering
obeys it to the letter, or refuses it with the name of the field.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Union

from mxquant.errors import PlanError
from mxquant.files.reading import read_text
from mxquant.files.replacing import write_text
from mxquant.plan.layer_plan import LayerPlan
from mxquant.plan.plan_file import read, written
from mxquant.plan.tensor_plan import TensorPlan
from mxquant.shown import html_table, printable

__all__ = ["QuantPlan"]


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
            if first.zero_point != tensor.zero_point:
                raise PlanError(
                    f"tensors['{tensor.name}'].zero_point is {tensor.zero_point!r}, but '{first.name}' of the same "
                    f"group '{tensor.group}' has {first.zero_point!r}; give both one, or set their group to null"
                )
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

    @property
    def summary(self) -> str:
        """In a few words, for what it was made and how many layers are int8."""
        int8 = sum(layer.precision == "int8" for layer in self.layers.values())
        made_for = f" on {self.isa}" if self.isa else ""
        return printable(f"{self.target}{made_for}: {int8} of {len(self.layers)} layers in int8")

    def __repr__(self) -> str:
        return printable(f"QuantPlan({self.summary}; network {self.network[:12]})")

    def _repr_html_(self) -> str:
        return self.table(f"QuantPlan for {self.summary}")

    def table(self, caption: str) -> str:
        """Return its layers as a table in HTML, below a caption."""
        rows = [(layer.name, layer.op, layer.precision, layer.reason) for layer in self.layers.values()]
        return html_table(caption, ("layer", "operator", "precision", "why"), rows)

    def to_json(self, files: Optional[Mapping[str, str]] = None, interface: Optional[Mapping[str, Any]] = None) -> str:
        """Return the plan as indented JSON text.

        Parameters
        ----------
        files : mapping of str to str, optional
            SHA-256 of the files of the int8 network that the plan is saved with, by their role.
        interface : mapping, optional
            How that network is fed and what it returns: its 'inputs' and 'outputs'.
        """
        return written(
            {
                "target": self.target,
                "network": self.network,
                "isa": self.isa,
                "settings": dict(self.settings),
                "layers": self.layers,
                "tensors": self.tensors,
            },
            {**({} if files is None else {"files": dict(files)}), **(interface or {})},
        )

    @classmethod
    def from_json(cls, text: str) -> QuantPlan:
        """Read a plan from JSON text.

        Parameters
        ----------
        text : str
            What :meth:`to_json` wrote, perhaps edited. ``scale`` may be left out; where it stands it has to agree with
            the threshold. What it says of the network that it was saved with is passed over.

        Returns
        -------
        QuantPlan
            The plan.

        Raises
        ------
        PlanError
            Naming the field that is missing, unknown, or has a value that is not allowed.
        """
        return cls(**read(text))

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


def _some(names: Mapping[str, object]) -> str:
    shown = ", ".join(f"'{name}'" for name in list(names)[:8])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 8 else shown
