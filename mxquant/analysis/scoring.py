"""Networks that are scored: an fp32 network, and perhaps an int8 network, which take turns on every batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple

from mxquant.analysis.at_heads import AtHeads
from mxquant.analysis.predictor import Predictor
from mxquant.analysis.scores import Scores
from mxquant.model import load
from mxquant.runtime.mxnet_bridge import network_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scoring"]

# A Symbol with its arguments and auxiliary states.
Parts = Tuple[Any, Mapping[str, Any], Mapping[str, Any]]


@dataclass
class Scoring:
    """Networks that are run side by side.

    Parameters
    ----------
    predictors : dict of str to Predictor
        'fp32', and 'int8' where there is one.
    heads : AtHeads, optional
        What runs both to where they are judged; default: they are judged at their outputs, or there is one only.
    """

    predictors: Dict[str, Predictor]
    heads: Optional[AtHeads] = None

    @classmethod
    def of(cls, fp32: Parts, int8: Optional[Parts] = None, rows: int = 0) -> Scoring:
        """Return networks that are ready to be scored.

        Parameters
        ----------
        fp32, int8 : tuple of Symbol and two mappings of str to NDArray
            Both networks as MXNet runs them.
        rows : int
            How many examples are run at once, at least: smaller batches are filled up.
        """
        predictors = {"fp32": Predictor(*fp32, fused=True, rows=rows)}
        if int8 is None:
            return cls(predictors)
        predictors["int8"] = Predictor(*int8, rows=rows)
        return cls(predictors, AtHeads.of(load(*fp32).canonical.network, partial(network_of, *int8)))

    def add(
        self, scores: Scores, arrays: Mapping[str, NDArray[Any]], size: int, labels: Optional[NDArray[Any]]
    ) -> None:
        """Run the first `size` examples of a batch, by name of the input, and count what comes of them."""
        found = {name: run(arrays, size) for name, run in self.predictors.items()}
        seconds = {name: run.seconds[-1] for name, run in self.predictors.items()}
        scores.add(found, size, labels, seconds, None if self.heads is None else self.heads(arrays, size))
