"""Passes over a network, and the one order in which they bring it into canonical form.

A pass works on a :class:`~mxquant.graph.rewriter.Rewriter`, a private copy of the network. A rule is a pass with
three parts: which nodes it looks at, whether it may change one, and the change. A rule that may not tells the user
why. The graph is verified before and after every pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, FrozenSet, List, Mapping, Sequence, Tuple

from mxquant.errors import GraphError
from mxquant.graph.ir import Graph
from mxquant.graph.network import Network
from mxquant.graph.rewriter import Pass, Refusal, Rewriter
from mxquant.graph.rules.classic_operators import ClassicOperators
from mxquant.graph.rules.cut_labels import CutLabels
from mxquant.graph.rules.deconvolution_as_convolution import DeconvolutionAsConvolution
from mxquant.graph.rules.drop_dropout import DropDropout
from mxquant.graph.rules.drop_identity import DropIdentity
from mxquant.graph.rules.explicit_gamma import ExplicitGamma
from mxquant.graph.rules.flatten_forms import FlattenForms
from mxquant.graph.rules.fold_batch_norm import FoldBatchNorm
from mxquant.graph.rules.fold_constants import FoldConstants
from mxquant.graph.rules.fold_pad import FoldPad
from mxquant.graph.rules.global_pooling import GlobalPooling
from mxquant.graph.rules.inline_fused import InlineFused
from mxquant.graph.rules.positive_axis import PositiveAxis
from mxquant.graph.rules.relu_forms import ReluForms
from mxquant.graph.rules.split_activation import SplitActivation
from mxquant.graph.rules.split_recurrent import SplitRecurrent
from mxquant.graph.rules.sums_of_alike import SumsOfAlike
from mxquant.graph.rules.unique_names import UniqueNames

__all__ = ["CANONICAL", "Canonical", "apply", "canonicalize"]

# Names are made unique before anything relies on them; what stands between a convolution and its BatchNorm goes before
# the two are folded, as what weights are computed from does, and a Deconvolution's, with the activation behind it,
# before it becomes a convolution; gamma is made explicit for the BatchNorms that are left. What a mean reads is known
# better once identities are gone.
CANONICAL: Tuple[Pass, ...] = (
    InlineFused(),
    UniqueNames(),
    CutLabels(),
    ClassicOperators(),
    DropIdentity(),
    DropDropout(),
    FoldConstants(),
    SplitActivation(),
    ReluForms(),
    SumsOfAlike(),
    FoldBatchNorm(),
    FoldPad(),
    DeconvolutionAsConvolution(),
    SplitRecurrent(),
    ExplicitGamma(),
    GlobalPooling(),
    FlattenForms(),
    PositiveAxis(),
)

_INT8_PREFIXES = ("_contrib_quantize", "_contrib_requantize", "_contrib_dequantize", "_contrib_quantized_")


@dataclass(frozen=True)
class Canonical:
    """What passes make of a network.

    Parameters
    ----------
    network : Network
        The new network.
    modified : bool
        Whether anything was changed.
    refusals : tuple of Refusal
        What could not be done, and why.
    aliases : mapping of str to frozenset of str
        For layers of the user's network that go by other names now: the new names.
    dropped : frozenset of str
        Layers of the user's network that nothing computes any more.
    operators : frozenset of str
        Every operator of the user's network and of this one.
    rewritten : mapping of str to frozenset of str
        By operators of the user's network: the layers that had one and have another now.
    notes : mapping of str to str
        What was done to the user's network before, for the settings of plans.
    """

    network: Network
    modified: bool
    refusals: Tuple[Refusal, ...]
    aliases: Mapping[str, FrozenSet[str]]
    dropped: FrozenSet[str]
    operators: FrozenSet[str]
    rewritten: Mapping[str, FrozenSet[str]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def canonicalize(network: Network) -> Canonical:
    """Return the network in canonical form: unique names, BatchNorms folded, identities gone.

    Parameters
    ----------
    network : Network
        The user's fp32 network; it is not changed.

    Returns
    -------
    Canonical
        A network that computes the same, up to the rounding of folded weights.

    Raises
    ------
    GraphError
        If the network is quantized already, or breaks an invariant.
    """
    _refuse_int8(network)
    return apply(network, CANONICAL)


def apply(network: Network, passes: Sequence[Pass]) -> Canonical:
    """Run passes over a copy of the network.

    Parameters
    ----------
    network : Network
        Any network; it is not changed.
    passes : sequence of Pass
        In the order in which they run.

    Returns
    -------
    Canonical
        The new network and what happened.

    Raises
    ------
    GraphError
        If the graph breaks an invariant before or after a pass.
    """
    network.graph.verify()
    rewriter = Rewriter.of(network)
    refusals: List[Refusal] = []
    for each in passes:
        refusals += each.run(rewriter)
        rewriter.settle()
    result = rewriter.network()
    left = {layer for node in result.graph.operators for layer in node.layers}
    dropped = {node.name for node in network.graph.operators} - left - set(rewriter.aliases)
    operators = {node.op for graph in (network.graph, result.graph) for node in graph.operators}
    return Canonical(
        result,
        rewriter.modified,
        tuple(refusals),
        dict(rewriter.aliases),
        frozenset(dropped),
        frozenset(operators),
        _rewritten(network.graph, result.graph),
    )


def _rewritten(before: Graph, after: Graph) -> Mapping[str, FrozenSet[str]]:
    """Return the layers that have another operator now, by the one that they had."""
    operators = {node.name: node.op for node in before.operators}
    found: Dict[str, FrozenSet[str]] = {}
    for node in after.operators:
        old = operators.get(node.name, node.op)
        if old != node.op:
            found[old] = found.get(old, frozenset()) | {node.name}
    return found


def _refuse_int8(network: Network) -> None:
    for node in network.graph.operators:
        if node.op.startswith(_INT8_PREFIXES) or node.attrs.get("quantized", "").lower() in ("true", "1"):
            raise GraphError(
                f"the network is quantized already: layer '{node.name}' is {node.op}; pass the fp32 network"
            )
