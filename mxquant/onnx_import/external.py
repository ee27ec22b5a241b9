"""Values that an ONNX file keeps in files beside it: read from its own folder, and from nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator, Union

from mxquant.errors import InputError

__all__ = ["load_external"]


def load_external(onnx: Any, model: Any, path: Union[str, Path]) -> None:
    """Put the values of other files into a model.

    Parameters
    ----------
    onnx : module
        The package.
    model : onnx.ModelProto
        As it was read from `path`, without graphs inside of operators.
    path : str or Path
        The file.

    Raises
    ------
    InputError
        If a place is outside of the folder, also by a link, or is no file.
    """
    folder = Path(path).resolve().parent
    for tensor in _tensors(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        named = next((each.value for each in tensor.external_data if each.key == "location"), "")
        place = (folder / named).resolve() if named and "\0" not in named else folder
        if folder not in place.parents or not place.is_file():
            raise InputError(
                f"cannot read '{path}' as ONNX: the values of '{tensor.name}' are said to be in {named!r}, expected a "
                "file in its folder"
            )
        onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
