"""What shapes and types a network takes, by MXNet's inference; so that it need not be run to find out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Set, Tuple

import numpy as np

from mxquant.errors import InputError

if TYPE_CHECKING:
    from mxquant.cli.network import Net

__all__ = ["Fitting", "refusal"]

Shapes = Mapping[str, Tuple[int, ...]]
# In MXNet's messages, for its developers.
_PLACE = re.compile(r"MXNetError: |\[\d\d:\d\d:\d\d\] \S+:\d+: (Check failed: )?")
_CAST = ("float16", "float64")


def refusal(net: Net, shapes: Shapes) -> Tuple[str, Tuple[Optional[Tuple[int, ...]], ...]]:
    """Ask whether a network takes inputs of some shapes.

    Parameters
    ----------
    net : Net
        The network.
    shapes : mapping of str to tuple of int
        By name of the input.

    Returns
    -------
    tuple
        MXNet's reason why not, or '' if it does; and the shapes of its outputs then, where they are known.
    """
    from mxquant.runtime.mxnet import mx
    from mxquant.runtime.mxnet_bridge import first_line, graph_of, semantics
    from mxquant.runtime.sizes import check_sizes

    names = set(net.symbol.list_arguments())
    known = {name: value.shape for name, value in net.arg_params.items()}
    given = {name: shape for name, shape in {**known, **shapes}.items() if name in names and shape}
    try:
        with semantics(graph_of(net.symbol)):
            # Without 'partial' MXNet prints all arguments to standard output where it fails.
            _, outputs, _ = net.symbol.infer_shape_partial(**given)
    except (mx.MXNetError, ValueError) as error:
        return _PLACE.sub("", first_line(error)), ()
    try:
        check_sizes(net.network, shapes)
    except InputError as error:
        return str(error), ()
    return "", tuple(shape if shape and all(side > 0 for side in shape) else None for shape in outputs or ())


@dataclass
class Fitting:
    """Batches as a network takes them: refused where it does not, before MXNet runs it.

    Parameters
    ----------
    net : Net
        The network.
    title : str
        What the user calls the data.
    """

    net: Net
    title: str
    _seen: Set[Any] = field(default_factory=set)
    _whole: Dict[str, bool] = field(default_factory=dict)

    def __call__(self, arrays: Dict[str, Any]) -> Dict[str, Any]:
        """Return a batch, its whole numbers as float32 where the network takes no whole numbers.

        Raises
        ------
        InputError
            If the network does not take arrays of these shapes.
        """
        shapes = {name: tuple(value.shape) for name, value in arrays.items()}
        key = tuple(sorted(shapes.items()))
        if key not in self._seen:
            self._check(shapes)
            self._seen.add(key)
        whole = {name: value for name, value in arrays.items() if value.dtype.kind == "i"}
        return {
            **arrays,
            **{name: value.astype("float32") for name, value in whole.items() if not self._takes(value, name)},
        }

    def _check(self, shapes: Shapes) -> None:
        reason, _ = refusal(self.net, shapes)
        if not reason:
            return
        found = ", ".join(f"{shape} for '{name}'" for name, shape in shapes.items())
        alone = {name: (1, *shape[1:]) for name, shape in shapes.items()}
        hint = ""
        if alone != shapes and not refusal(self.net, alone)[0]:
            hint = "; it takes one example at once"
        raise InputError(
            f"--data: the network does not take batches of '{self.title}' with shape {found}: {reason}{hint}"
        )

    def _takes(self, value: Any, name: str) -> bool:
        """Whether the network takes an input of this whole-number type."""
        key = f"{name} {value.dtype}"
        if key not in self._whole:
            self._whole[key] = self._inferred(name, value.dtype.name) or not self._inferred(name, "float32")
        return self._whole[key]

    def _inferred(self, name: str, dtype: str) -> bool:
        from mxquant.runtime.mxnet import mx

        names = set(self.net.symbol.list_arguments())
        known = {key: array.dtype for key, array in self.net.arg_params.items() if key in names}
        types: Dict[str, Any] = {
            key: "float32" if np.dtype(each).name in _CAST else each for key, each in known.items()
        }
        try:
            self.net.symbol.infer_type_partial(**{**types, name: dtype})
        except (mx.MXNetError, ValueError, TypeError):
            return False
        return True
