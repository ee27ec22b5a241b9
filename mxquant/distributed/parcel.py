"""Networks on their way to workers: JSON and arrays, with a digest that tells whether they arrive as they were."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple

from mxquant.errors import ClusterError
from mxquant.graph import Network, symbol_json
from mxquant.model import Source
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of, numpy_params, split_params, text_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Packed", "Parcel", "pack", "pack_symbol"]


@dataclass(frozen=True, eq=False)
class Packed:
    """A network.

    Parameters
    ----------
    text : str
        The symbol's JSON.
    params : mapping of str to numpy.ndarray
        Its parameters.
    inputs, labels : tuple of str
        As for :class:`mxquant.model.Source`.
    digest : str
        Of structure and parameters.
    """

    text: str
    params: Mapping[str, NDArray[Any]]
    inputs: Tuple[str, ...]
    labels: Tuple[str, ...]
    digest: str

    @property
    def name(self) -> str:
        """SHA-256 of all that this is, hexadecimal."""
        return sha256("\0".join((self.digest, self.text, *self.inputs, "", *self.labels)).encode()).hexdigest()

    def source(self) -> Source:
        """Return the network as :func:`mxquant.model.read` does.

        Raises
        ------
        ClusterError
            If it is not what was packed.
        """
        network = Network(graph_of(mx.sym.load_json(self.text)), dict(self.params))
        if network.digest() != self.digest:
            raise ClusterError(
                f"a network with digest {self.digest} has become {network.digest()} on its way to a worker"
            )
        return Source(network, self.inputs, self.labels)

    def symbol(self) -> Tuple[Any, Dict[str, Any], Dict[str, Any]]:
        """Return the network as a Symbol with arguments and auxiliary states; raises as :meth:`source` does."""
        network = self.source().network
        symbol = mx.sym.load_json(self.text)
        return (symbol, *split_params(network, symbol))


@dataclass(frozen=True, eq=False)
class Parcel:
    """What every worker has to have: an fp32 network, and perhaps the int8 network that was made of it."""

    fp32: Packed
    int8: Optional[Packed] = None

    @property
    def networks(self) -> Tuple[Packed, ...]:
        """All that are in it, the fp32 one first."""
        return (self.fp32,) if self.int8 is None else (self.fp32, self.int8)


def pack(source: Source) -> Packed:
    """Return a network that can be sent."""
    network = source.network
    return Packed(symbol_json.dumps(network.graph), network.params, source.inputs, source.labels, network.digest())


def pack_symbol(symbol: Any, arg_params: Mapping[str, Any], aux_params: Mapping[str, Any]) -> Packed:
    """Return a Symbol with parameters that can be sent."""
    params = {**numpy_params(arg_params, "arg_params"), **numpy_params(aux_params, "aux_params")}
    network = Network(graph_of(symbol), params)
    return Packed(text_of(symbol), params, (), (), network.digest())
