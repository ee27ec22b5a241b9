"""What to say of a plan where it runs on a CPU of another level than the one that it was made for."""

from __future__ import annotations

from typing import List

from mxquant.lowering.isa import PORTABLE, detect, saturates
from mxquant.lowering.stored_weights import HALVED
from mxquant.lowering.trial import lstm_failure
from mxquant.plan import QuantPlan

__all__ = ["int8_lstms", "level_warnings"]


def level_warnings(plan: QuantPlan) -> List[str]:
    """Return what differs on this CPU from what a plan says; nothing where the codes are the same, or nearly so.

    A plan for 'avx2', 'avx512' or 'portable' is right everywhere, unless an early version has made it: then it needs
    oneDNN to halve weights, which it does only where sums may saturate.
    """
    if plan.isa is None:
        return []
    here, found = detect(), []
    remedy = f"plan again with isa='{PORTABLE}' for CPUs of several kinds, or isa='{here}' for this one"
    if saturates(here) and not saturates(plan.isa):
        found.append(
            f"the plan is made for CPUs with int8 instructions of level '{plan.isa}', this one has '{here}': sums of "
            f"products saturate; {remedy}"
        )
    layers = [layer for layer in plan.layers.values() if layer.weight_codes == HALVED]
    halved = [layer.name for layer in layers if layer.op in ("Convolution", "Deconvolution")]
    if halved and not saturates(here):
        found.append(
            f"the plan is made for '{plan.isa}', where oneDNN halves the weights of {len(halved)} layers ("
            f"'{halved[0]}', ...); on this CPU, '{here}', it does not, so that biases are off by some codes; {remedy}"
        )
    lstms = int8_lstms(plan)
    failure = lstm_failure() if lstms else None
    if failure is not None:
        found.append(
            f"{failure}: {', '.join(map(repr, lstms))} are float32 here; plan with isa='{PORTABLE}' for networks that "
            "are to run everywhere"
        )
    return found


def int8_lstms(plan: QuantPlan) -> List[str]:
    """Return the names of a plan's int8 LSTM layers."""
    return [layer.name for layer in plan.layers.values() if layer.recurrent is not None]
