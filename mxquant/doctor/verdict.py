"""Whether an int8 network can be trusted, by rules that the page states.

=========  =========================================================================================================
level      when
=========  =========================================================================================================
distrust   SQNR below 10 dB; or another top-1 class than fp32 on more than 10 % of the examples; or an accuracy that is
           more than 3 points lower; or this CPU returns something else than the plan says
care       SQNR below 20 dB; or another class on more than 2 %; or an accuracy that is more than 1 point lower
trust      otherwise
=========  =========================================================================================================
"""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

__all__ = ["LEVELS", "RULES", "verdict_of"]

LEVELS = {
    "trust": "This int8 network can be trusted",
    "care": "Trust it with care",
    "distrust": "Do not use it as it is",
}
# By level: SQNR in dB that it needs, share of equal classes, and by how much accuracy may be lower.
RULES = {"trust": (20.0, 0.98, 0.01), "care": (10.0, 0.90, 0.03)}


def verdict_of(
    sqnr: float,
    agreement: Optional[float],
    accuracy: Tuple[Optional[float], Optional[float]],
    warnings: Sequence[str],
    milliseconds: Sequence[float],
) -> Tuple[str, str, Tuple[str, ...]]:
    """Return the level, the verdict as a sentence, and what speaks against the network.

    Parameters
    ----------
    sqnr : float
        Of the output in dB.
    agreement : float or None
        Share of examples with the class of fp32.
    accuracy : tuple of float or None
        Top-1 accuracy in fp32 and int8.
    warnings : sequence of str
        Of the comparison: sums that saturate on this CPU among them.
    milliseconds : sequence of float
        Of a batch in fp32 and int8; empty where int8 did not run here.
    """
    fp32, int8 = accuracy
    drop = 0.0 if fp32 is None or int8 is None else fp32 - int8
    level, reasons = "trust", []
    for name, worse in (("care", "trust"), ("distrust", "care")):
        needed, same, most = RULES[worse]
        found = _misses(sqnr, agreement, drop, needed, same, most)
        if found:
            level, reasons = name, found
    if any("on this CPU" in warning for warning in warnings):
        level = "distrust"
    reasons += list(warnings)
    told = [f"{sqnr:.1f} dB SQNR"]
    if agreement is not None:
        told.append(f"the class of fp32 for {100 * agreement:.1f} % of the examples")
    if fp32 is not None and int8 is not None:
        told.append(f"top-1 accuracy {100 * int8:.1f} % instead of {100 * fp32:.1f} %")
    if milliseconds:
        told.append(f"{milliseconds[0] / milliseconds[1]:.1f} times as fast as fp32")
    return level, f"{LEVELS[level]}: {', '.join(told)}.", tuple(reasons)


def _misses(sqnr: float, agreement: Optional[float], drop: float, needed: float, same: float, most: float) -> List[str]:
    found = []
    if sqnr < needed:
        found.append(f"The SQNR of the output is {sqnr:.1f} dB, below {needed:.0f} dB.")
    if agreement is not None and agreement < same:
        found.append(f"{100 * (1 - agreement):.1f} % of the examples have another class than in fp32.")
    if drop > most:
        found.append(f"Top-1 accuracy is {100 * drop:.1f} points lower than in fp32.")
    return found
