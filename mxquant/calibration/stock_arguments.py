"""Arguments of ``mxnet.contrib.quantization`` as options of plans, and errors in the words of who gave them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from mxquant.errors import InputError, MXQuantError
from mxquant.runtime.mxnet_bridge import context

__all__ = [
    "OF_NETS",
    "OF_PRIVATE",
    "OF_SYMBOLS",
    "Arguments",
    "checked_names",
    "containing",
    "in_words_of",
    "method_of",
]

_METHODS: Mapping[Optional[str], Optional[str]] = {
    None: None,
    "none": None,
    "naive": "minmax",
    "minmax": "minmax",
    "entropy": "entropy",
    "percentile": "percentile",
    "mse": "mse",
}
_NONFINITE = ", or pass nonfinite='ignore' to leave these values out"


class Arguments(NamedTuple):
    """What a function of ``mxnet.contrib.quantization`` calls its arguments.

    Parameters
    ----------
    layers, operators : str
        Those that name what stays float32.
    inputs : str
        What tells it how many inputs a network has.
    """

    layers: str
    operators: str
    inputs: str

    def options(
        self,
        calib_mode: Optional[str],
        layers: Optional[Sequence[str]],
        operators: Optional[Sequence[str]],
        dtype: str,
        mode: str,
        granularity: str,
    ) -> Dict[str, Any]:
        """Return fields of PlanOptions for values of arguments, in this order."""
        return {
            "method": method_of(calib_mode),
            "exclude_layers": checked_names(layers, self.layers),
            "exclude_operators": checked_names(operators, self.operators),
            "dtype": dtype,
            "mode": mode,
            "granularity": granularity,
        }


OF_SYMBOLS = Arguments("excluded_sym_names", "excluded_op_names", "data_names")
OF_NETS = Arguments(
    "exclude_layers, exclude_layers_match", "exclude_operators", "data_shapes, or calib_data of all inputs"
)
OF_PRIVATE = Arguments("excluded_symbols", "excluded_operators", "params")


def method_of(calib_mode: Optional[str]) -> Optional[str]:
    """Return the method for thresholds that a calibration mode means; raise InputError for one that there is not."""
    if calib_mode not in _METHODS:
        known = ", ".join(repr(mode) for mode in _METHODS if mode is not None)
        raise InputError(f"calib_mode is {calib_mode!r}, expected one of {known}")
    return _METHODS[calib_mode]


def checked_names(names: Optional[Sequence[str]], argument: str) -> List[str]:
    """Return names as a list; raise InputError, which says what the argument is called, for something else."""
    if names is None:
        return []
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{argument} is {names!r}, expected a list of names")
    return list(names)


def check_cpu(ctx: Any) -> None:
    """Raise InputError for a context that is no CPU."""
    if context(ctx).device_type != "cpu":
        raise InputError(f"ctx is {ctx}, but what a later call calibrates is for CPUs; use quantize_model for a GPU")


def without(params: Optional[Mapping[str, Any]], names: Sequence[str]) -> Dict[str, Any]:
    """Return parameters without those of some names, data that an executor has among its arguments."""
    return {name: value for name, value in (params or {}).items() if name not in names}


def containing(text: str) -> str:
    """Return the pattern of all names that contain a text, which may be a pattern itself."""
    return text if set(text) & set("*?[") else f"*{text}*"


@contextmanager
def in_words_of(arguments: Arguments) -> Iterator[None]:
    """Let errors inside the block speak of these arguments, instead of those of mxquant's own functions."""
    try:
        yield
    except MXQuantError as error:
        if error.args and isinstance(error.args[0], str):
            error.args = (_translated(error.args[0], arguments), *error.args[1:])
        raise


def _translated(text: str, arguments: Arguments) -> str:
    begins = {
        "dtype is ": "quantized_dtype is ",
        "mode is ": "quantize_mode is ",
        "granularity is ": "quantize_granularity is ",
        "exclude: no layer": f"{arguments.layers}: no layer",
        "exclude: the network": f"{arguments.operators}: the network",
    }
    for old, new in begins.items():
        if text.startswith(old):
            return new + text[len(old) :]
    parts = {
        _NONFINITE: "",
        "give data_names, and": f"give {arguments.inputs}, and",
        "; give data_names": f"; give {arguments.inputs}",
        "method=None": "calib_mode='none'",
    }
    for old, new in parts.items():
        text = text.replace(old, new)
    return text
