"""An ONNX file as the message that it holds, without what is in files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Union

from mxquant.errors import InputError
from mxquant.files.regular import content_of
from mxquant.onnx_export.writer import import_onnx

__all__ = ["MOST_BYTES", "read_model"]

# Protobuf takes no more; nor is more read together with what is in files beside it.
MOST_BYTES = (1 << 31) - 1


def read_model(path: Union[str, Path]) -> Any:
    """Read an ONNX file.

    Parameters
    ----------
    path : str or Path
        The file, in protobuf's binary form whatever its name is.

    Returns
    -------
    onnx.ModelProto
        Unchecked.

    Raises
    ------
    InputError
        If it cannot be read, or has 2 GB.
    LoweringError
        Without the package onnx.
    """
    onnx = import_onnx()
    try:
        return onnx.load_model_from_string(content_of(path, MOST_BYTES))
    except Exception as error:  # protobuf and the operating system have one each
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [repr(error)])[0]
        raise InputError(f"cannot read '{path}' as ONNX: {reason}") from error
