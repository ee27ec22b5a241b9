"""Examples in .npy and .npz files; no pickle is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional, Sequence, Tuple

import numpy as np

from mxquant.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Arrays", "read_arrays"]

_LABELS = ("label", "labels")


@dataclass(frozen=True)
class Arrays:
    """Examples along axis 0 of arrays, one for each input, and of labels where there are any."""

    inputs: Tuple[NDArray[Any], ...]
    labels: Optional[NDArray[Any]] = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def batches(self, size: int) -> Iterator[Tuple[Any, ...]]:
        """Yield the examples as batches of arrays, the labels last."""
        parts = self.inputs if self.labels is None else (*self.inputs, self.labels)
        for begin in range(0, len(self), size):
            yield tuple(np.asarray(part[begin : begin + size]) for part in parts)


def read_arrays(path: Path, inputs: Sequence[str]) -> Arrays:
    """Read a file of arrays.

    Parameters
    ----------
    path : Path
        A .npy file with one array, or a .npz file with arrays by the name of the input, or the first array for a
        network with one input; labels under 'label' or 'labels'.
    inputs : sequence of str
        Names of the network's inputs.

    Returns
    -------
    Arrays
        The examples.

    Raises
    ------
    InputError
        If it cannot be read, or does not have what the network takes.
    """
    try:
        found = _load(path)
    except Exception as error:  # of zipfile, zlib, NumPy and the operating system
        objects = any(word in str(error) for word in ("pickle", "Python objects"))
        reason = "it holds Python objects" if objects else (str(error).splitlines() or [repr(error)])[0]
        raise InputError(f"--data: cannot read '{path}': {reason}") from error
    labels = next((found.pop(name) for name in _LABELS if name in found and name not in inputs), None)
    if len(inputs) == 1 and inputs[0] not in found and found:
        values = [next(iter(found.values()))]
    else:
        missing = [name for name in inputs if name not in found]
        if missing:
            names = ", ".join(map(repr, found)) or "none"
            raise InputError(f"--data: '{path}' has no array '{missing[0]}' for the network's input, only {names}")
        values = [found[name] for name in inputs]
    for value in (*values, *([] if labels is None else [labels])):
        if value.dtype.kind not in "fiub" or value.ndim == 0 or len(value) != len(values[0]) or not len(value):
            shapes = ", ".join(f"{each.dtype} of shape {each.shape}" for each in values)
            raise InputError(f"--data: '{path}' holds {shapes}; expected numbers, one row for each example and label")
    if labels is not None and labels.size != len(labels):
        raise InputError(f"--data: the labels in '{path}' have shape {labels.shape}, expected one number an example")
    return Arrays(tuple(values), None if labels is None else labels.reshape(-1))


def _load(path: Path) -> Dict[str, NDArray[Any]]:
    if path.suffix == ".npz":
        with np.load(str(path), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    # It may be larger than memory.
    return {"": np.load(str(path), mmap_mode="r", allow_pickle=False)}
