"""Mixed precision: the cheapest layers to leave in float32 so that a target is met.

1. If int8 everywhere meets the target, nothing is left in float32.
2. Layers are ranked by what leaving them in float32 saves: the noise power that each adds alone
   (:mod:`mxquant.analysis.sensitivity`) per second that it takes in float32.
3. The shortest prefix of that ranking that meets the target is found by bisection.
4. From the most expensive on, each of its layers goes back to int8 if the target is still met.

Every measurement goes into the trade-off curve. If float32 for every layer that can be ranked does not meet the target,
the best that was measured is the answer, and says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Union

from mxquant.errors import InputError
from mxquant.files.reading import read_json
from mxquant.files.replacing import write_text
from mxquant.model.mixed_precision import MixedPrecision, Trial

__all__ = ["MixedPrecision", "Trial", "search"]

FORMAT = "mxquant-mixed-precision-1"


def search(
    measure: Callable[[FrozenSet[str]], float],
    target: float,
    noise: Mapping[str, float],
    seconds: Mapping[str, float],
    *,
    key: str = "",
    checkpoint: Optional[Union[str, Path]] = None,
    progress: Optional[Callable[[int], None]] = None,
) -> MixedPrecision:
    """Find the cheapest layers to leave in float32.

    Parameters
    ----------
    measure : callable
        Returns what the network reaches with a set of layers in float32; more is better.
    target : float
        What it has to reach.
    noise : mapping of str to float
        Noise power that each int8 layer adds alone.
    seconds : mapping of str to float
        What each of them takes in float32.
    key : str
        What was measured, on what; a checkpoint of something else is refused.
    checkpoint : str or Path, optional
        A file that keeps every measurement, so that an interrupted search goes on where it was.
    progress : callable, optional
        Called with the number of measurements.

    Returns
    -------
    MixedPrecision
        The layers, and how the search went.

    Raises
    ------
    InputError
        If the checkpoint is of another search.
    """
    trials = _Trials(measure, seconds, key, Path(checkpoint) if checkpoint is not None else None, progress)
    ranking = sorted(noise, key=lambda name: -noise[name] / max(seconds.get(name, 0.0), 1e-9))
    if trials.value(()) >= target:
        return trials.result((), target)
    if trials.value(ranking) < target:
        best = max(trials.known, key=lambda names: (trials.known[names], -len(names)))
        return trials.result(best, target)
    too_few, enough = 0, len(ranking)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if trials.value(ranking[:middle]) >= target:
            enough = middle
        else:
            too_few = middle
    kept = list(ranking[:enough])
    for name in sorted(kept, key=lambda name: -seconds.get(name, 0.0)):
        fewer = [other for other in kept if other != name]
        if trials.value(fewer) >= target:
            kept = fewer
    return trials.result(kept, target)


@dataclass
class _Trials:
    measure: Callable[[FrozenSet[str]], float]
    seconds: Mapping[str, float]
    key: str
    checkpoint: Optional[Path]
    progress: Optional[Callable[[int], None]]
    known: Dict[FrozenSet[str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        document = read_json(self.checkpoint, InputError, "the checkpoint")
        if not isinstance(document, dict) or (document.get("format"), document.get("key")) != (FORMAT, self.key):
            raise InputError(f"checkpoint: '{self.checkpoint}' is of another search; remove it or name another file")
        try:
            self.known = {frozenset(map(str, names)): float(value) for names, value in document["trials"]}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"checkpoint: '{self.checkpoint}' is damaged; remove it ({error!r})") from None

    def value(self, names: Iterable[str]) -> float:
        float32 = frozenset(names)
        if float32 not in self.known:
            self.known[float32] = float(self.measure(float32))
            self._save()
        if self.progress is not None:
            self.progress(len(self.known))
        return self.known[float32]

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        trials: List[object] = [[sorted(names), value] for names, value in self.known.items()]
        write_text(self.checkpoint, json.dumps({"format": FORMAT, "key": self.key, "trials": trials}))

    def result(self, names: Iterable[str], target: float) -> MixedPrecision:
        float32 = frozenset(names)
        value = self.known[float32]
        curve = tuple(
            Trial(tuple(sorted(each)), found, sum(self.seconds.get(name, 0.0) for name in each))
            for each, found in self.known.items()
        )
        met = value >= target
        if not met:
            reason = f"no choice of layers reaches {target:.4g}; the best that was found reaches {value:.4g}"
        elif float32:
            reason = f"{len(float32)} layers in float32 reach {value:.4g}, the target is {target:.4g}"
        else:
            reason = f"int8 everywhere reaches {value:.4g}, the target is {target:.4g}"
        return MixedPrecision(
            tuple(sorted(float32)), value, met, reason, tuple(sorted(curve, key=lambda trial: trial.seconds))
        )
