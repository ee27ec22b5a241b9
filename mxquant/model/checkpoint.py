"""Checkpoints: a symbol's file and a file of parameters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

from mxquant.errors import InputError
from mxquant.files.params_file import read_params_file
from mxquant.files.regular import missing
from mxquant.model.compact import COMPACT, expand
from mxquant.runtime.mxnet import mx
from mxquant.runtime.symbol_file import read_symbol

__all__ = ["load_checkpoint", "load_params"]


def load_checkpoint(prefix: str) -> Tuple[Any, Mapping[str, Any], Mapping[str, Any]]:
    """Read a checkpoint.

    Parameters
    ----------
    prefix : str
        ``PREFIX`` or ``PREFIX:EPOCH``.

    Returns
    -------
    tuple
        The Symbol, arguments and auxiliary states.

    Raises
    ------
    InputError
        If a file is missing or its parameters cannot be read.
    GraphError
        If the symbol cannot be read.
    """
    match = re.fullmatch(r"(.+):(\d+)", prefix)
    prefix, epoch = (match.group(1), int(match.group(2))) if match else (prefix, 0)
    for path in (f"{prefix}-symbol.json", f"{prefix}-{epoch:04d}.params"):
        if not Path(path).is_file():
            raise InputError(f"checkpoint '{prefix}': {missing(path)}")
    symbol = read_symbol(f"{prefix}-symbol.json")
    arg_params, aux_params = load_params(f"{prefix}-{epoch:04d}.params")
    return symbol, arg_params, aux_params


def load_params(path: str) -> Tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Read a ``.params`` file.

    Parameters
    ----------
    path : str
        A file written by ``mx.model.save_checkpoint``, ``HybridBlock.export``, ``mx.nd.save``, or
        :meth:`~mxquant.QuantizedModel.save`, compact or not.

    Returns
    -------
    tuple of dict
        Arguments and auxiliary states by name.

    Raises
    ------
    InputError
        If the file cannot be read or holds no named arrays.
    """
    saved = read_params_file(path)
    args: Dict[str, Any] = {}
    aux: Dict[str, Any] = {}
    parts: Dict[str, Any] = {}
    # Taken out one after the other, so that there are never two copies of all.
    for key in list(saved):
        kind, _, name = key.rpartition(":")
        value = saved.pop(key)
        if key.startswith(COMPACT):
            parts[key[len(COMPACT) :]] = value
        else:
            (aux if kind == "aux" else args)[name] = mx.nd.array(value, dtype=value.dtype)
    try:
        expanded = expand(parts)
    except InputError as error:
        raise InputError(f"cannot read the parameters '{path}': {error}") from error
    args.update({name: mx.nd.array(value, dtype=value.dtype) for name, value in expanded.items()})
    return args, aux
