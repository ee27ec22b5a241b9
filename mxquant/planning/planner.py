"""From a network, its statistics and what a target can do, to a plan.

In four steps, each with a reason for the reader:

1. the target fuses; what runs in int8 is settled, and the types of tensors: :mod:`mxquant.planning.settling`;
2. an addition in place whose operands differ in type is kept apart, and the target fuses again;
3. nothing may saturate: :mod:`mxquant.planning.prevention`; a clip that keeps a tensor from being limited is kept
   apart, and the target fuses again;
4. tensors get their thresholds: :mod:`mxquant.planning.ranges`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, FrozenSet, Mapping, Optional, Set

from mxquant.errors import InputError
from mxquant.graph.passes import Canonical
from mxquant.lowering.channel_order import arranged
from mxquant.lowering.isa import check, saturates
from mxquant.lowering.rest_channel import may_rest
from mxquant.lowering.target import Target
from mxquant.plan import QuantPlan
from mxquant.planning.code_limits import CodeLimits
from mxquant.planning.draft import Draft
from mxquant.planning.exclusions import check_operators, excluded_layers, layers_of, rewritten_layers
from mxquant.planning.finishing import Finishing
from mxquant.planning.plan_options import PlanOptions
from mxquant.planning.prevention import Prevention
from mxquant.planning.saturation_choices import channel_orders
from mxquant.planning.settling import Settling
from mxquant.planning.spectra import spectral_layers
from mxquant.stats import Histogram

__all__ = ["make_plan"]


def make_plan(
    canonical: Canonical,
    digest: str,
    statistics: Optional[Mapping[str, Histogram]],
    target: Target,
    options: PlanOptions,
) -> QuantPlan:
    """Decide how every layer and tensor of a network is quantized.

    Parameters
    ----------
    canonical : Canonical
        The canonical fp32 network.
    digest : str
        Digest of the user's network, which goes into the plan.
    statistics : mapping of str to Histogram, or None
        Calibration by tensor name; needed unless ``options.method`` is None.
    target : Target
        What will run the network.
    options : PlanOptions
        The user's choices.

    Returns
    -------
    QuantPlan
        The plan.

    Raises
    ------
    InputError
        If an exclusion matches nothing, a tensor is unknown, or statistics are missing.
    """
    if options.method is not None and statistics is None:
        raise InputError(f"method '{options.method}' needs statistics; calibrate first, or use method=None")
    orders = channel_orders(canonical.network, statistics or {}, target, options)
    network = arranged(canonical.network, orders)
    resting = may_rest(network) if target.pairs and saturates(check(options.isa)) else set()
    check_operators(options.exclude_operators, canonical.operators)
    apart: FrozenSet[str] = frozenset()
    excluded: Optional[FrozenSet[str]] = None
    reasons = {refusal.layer: f"{refusal.rule} was not possible: {refusal.reason}" for refusal in canonical.refusals}
    while True:
        fused = target.prepare(network, options.method is not None, apart)
        if excluded is None:
            known = layers_of(canonical, fused)
            excluded = excluded_layers(options.exclude_layers, known)
            excluded |= rewritten_layers(options.exclude_operators, canonical)
            left = {**spectral_layers(network), **_by_layer(options.float32_layers, known)}
            options = replace(options, float32_layers=left)
        draft = Draft(fused, statistics or {}, target, options, excluded, reasons, orders, resting)
        settling, limits = Settling(draft), CodeLimits(draft)
        settling.settle()
        prevention = Prevention(draft, settling, limits)
        if not target.has_uint8:
            prevention.use_zero_points()
        conflicts = _additions_in_place(draft) or prevention.prevent_saturation()
        if not conflicts:
            plan = Finishing(draft, limits).finish(digest)
            return replace(plan, settings={**plan.settings, **canonical.notes})
        apart = apart | conflicts


def _by_layer(reasons: Mapping[str, str], known: Mapping[str, FrozenSet[str]]) -> Dict[str, str]:
    """Return reasons by the layers that names and patterns mean."""
    found: Dict[str, str] = {}
    for pattern, reason in reasons.items():
        found.update(dict.fromkeys(sorted(excluded_layers([pattern], known, "float32_layers")), reason))
    return found


def _additions_in_place(draft: Draft) -> FrozenSet[str]:
    """Return the additions that have to be computed apart: they read uint8 and return int8.

    The other way round, int8 into uint8, is right as long as no code is above 127; see
    :mod:`mxquant.planning.ranges`.
    """
    layers: Set[str] = set()
    for node in draft.int8:
        operator = draft.operators[node]
        if operator.sum_input is None or not (draft.calibrated and operator.fuses_requantize):
            continue
        summand = draft.dtypes[node.inputs[operator.sum_input]]
        if (summand, draft.dtypes[node.output]) == ("uint8", "int8"):
            inner = node.subgraphs[0].operators
            layers.update(n.name for n in inner if n.op == "elemwise_add")
    return frozenset(layers)
