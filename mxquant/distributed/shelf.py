"""What a worker keeps of networks: the last two that came, by name, so that none goes over the wire to it twice.

A name is the digest of all that is sent, so that what lies here under it is what would be sent again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Dict, List, Sequence, Tuple, Union

from mxquant.distributed.parcel import Packed, Parcel

__all__ = ["MissingNetwork", "clear", "lacking", "parcel_of", "put"]

# An fp32 network and the int8 network that was made of it.
_MOST = 2
_lock = Lock()
_kept: OrderedDict[str, Packed] = OrderedDict()


@dataclass(frozen=True)
class MissingNetwork:
    """A worker does not have a network: it has come later, or others have had more to send to it.

    It is returned and not raised, since it is no error: Dask would write a traceback to the worker's log.

    Parameters
    ----------
    worker : str
        Its address.
    names : tuple of str
        What it lacks.
    """

    worker: str
    names: Tuple[str, ...]


def put(network: Packed) -> None:
    """Keep a network; runs on workers."""
    with _lock:
        _kept[network.name] = network
        _kept.move_to_end(network.name)
        while len(_kept) > _MOST:
            _kept.popitem(last=False)


def lacking(names: Sequence[str]) -> List[str]:
    """Return which of these networks this worker does not have; those that it has are kept before others."""
    with _lock:
        for name in names:
            if name in _kept:
                _kept.move_to_end(name)
        return [name for name in names if name not in _kept]


def parcel_of(worker: str, names: Sequence[str]) -> Union[Parcel, MissingNetwork]:
    """Return networks, the fp32 one first; or which of them are not here."""
    with _lock:
        found: Dict[str, Packed] = {name: _kept[name] for name in names if name in _kept}
    missing = tuple(name for name in names if name not in found)
    if missing:
        return MissingNetwork(worker, missing)
    return Parcel(*(found[name] for name in names))


def clear() -> None:
    """Let go of all of them."""
    with _lock:
        _kept.clear()
