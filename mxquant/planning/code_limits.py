"""Where the codes of uint8 data end, so that no layer that reads them saturates, by the least predicted noise.

On CPUs without VNNI there are three ways, of which the planner takes the one with the least noise in the results of the
layers that read the tensor (see :mod:`mxquant.planning.noise`):

* the codes end where the worst pair of weights of these layers still bears them;
* some pairs of weights are made smaller, and the codes end higher (:mod:`mxquant.lowering.pairs`);
* the tensor becomes int8 with a zero point: all 255 steps, but weights of half as many.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence, Tuple

from mxquant.graph import Node, Tensor
from mxquant.lowering.pairs import LEAST_LIMIT, largest_data_code
from mxquant.planning.draft import Draft
from mxquant.planning.noise import DataMoments, LayerNoise
from mxquant.runtime.threads import in_parallel

__all__ = ["CodeLimits", "Reader", "joined"]

# Weights are changed, and zero points made, only for noise that is lower by more than this: about 0.2 dB.
_CLEARLY = 0.95
_MUCH = 3.0
# How much noise may grow where layers would have to stay float32 otherwise: 1 dB.
_FOR_SPEED = 10**0.1


class Reader(NamedTuple):
    """An int8 layer with weights, and the threshold of the uint8 data that it reads."""

    node: Node
    threshold: float


class CodeLimits:
    """Limits of codes for the layers of a draft, each computed once."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._limits: Dict[Node, int] = {}
        self._noises: Dict[Node, LayerNoise] = {}
        self._uses = draft.network.graph.uses()

    def prepare(self, nodes: Sequence[Node]) -> None:
        """Look at the weights of layers in parallel, which is most of the work."""

        def look(node: Node) -> None:
            if self.limit(node) < 255 and self.draft.calibrated:
                self._noise(node)

        in_parallel(look, [node for node in nodes if node not in self._limits])

    def limit(self, node: Node) -> int:
        """Return the largest uint8 code that a layer can read without saturating, its weights as they are."""
        draft = self.draft
        if node not in self._limits:
            assert draft.options.isa is not None
            granularity = "channel-wise" if draft.is_channel_wise(node) else None
            self._limits[node] = draft.target.safe_data_codes(draft.network, node, draft.options.isa, granularity)
        return self._limits[node]

    def best(self, readers: Sequence[Reader], most: int) -> int:
        """Return the code, at most `most`, at which data should end that these layers read."""
        return self._best(readers, most)[1]

    def shift_pays(self, readers: Sequence[Reader], codes: int) -> bool:
        """Whether data with a zero point, in `codes` steps, give these layers less noise than data with a limit."""
        return self._shifted_noise(readers, codes) < _CLEARLY * self._best(readers, codes)[0]

    def pairs_pay(self, readers: Sequence[Reader], codes: int, shift: bool, cheap: bool) -> bool:
        """Whether data that have to keep `codes` steps had better be multiplied by pairs of smaller weights.

        The other way is a zero point, where `shift` says that there may be one; or else a range of their own, behind
        layers that stay float32. Where that is not `cheap`, up to 1 dB is given for the time.
        """
        if any(self._noise(node).pairs is None and self.limit(node) < codes for node, _ in readers):
            return False
        noise = self._noise_of(readers, codes)
        if shift:
            return noise <= self._shifted_noise(readers, codes)
        return noise <= (1.0 if cheap else _FOR_SPEED) * self._best(readers, codes - 1)[0]

    def halving_costs(self, node: Node, threshold: float) -> bool:
        """Whether a layer on int8 data up to a threshold has three times the noise with every second weight code."""
        noise, step = self._noise(node), threshold / 127.5
        return noise.relative(step, halved=True) > _MUCH * noise.relative(step)

    def _shifted_noise(self, readers: Sequence[Reader], codes: int) -> float:
        draft, noise = self.draft, 0.0
        assert draft.options.isa is not None
        for node, threshold in readers:
            weight_codes = draft.target.weight_codes(draft.network, node, "int8", "channel-wise", draft.options.isa)
            uneven = node.layers[0] not in draft.resting
            noise += self._noise(node).relative(threshold / (codes + 0.5), halved=weight_codes != 127, uneven=uneven)
        return noise

    def _best(self, readers: Sequence[Reader], most: int) -> Tuple[float, int]:
        """Return the least noise and the code that gives it."""
        bound = min([most, *(self.limit(node) for node, _ in readers if self._noise(node).pairs is None)])
        natural = min([bound, *(self.limit(node) for node, _ in readers)])
        limits = range(LEAST_LIMIT, 32767 // natural)
        higher = sorted({min(bound, largest_data_code(limit)) for limit in limits} - {natural})
        least, best = self._noise_of(readers, natural), natural
        bar = _CLEARLY * least
        for codes in higher:
            noise = self._noise_of(readers, codes)
            if noise < min(bar, least):
                least, best = noise, codes
        return least, best

    def _noise_of(self, readers: Sequence[Reader], codes: int) -> float:
        return sum(
            self._noise(node).relative(threshold / codes, 32767 // codes if codes > self.limit(node) else None)
            for node, threshold in readers
        )

    def _noise(self, node: Node) -> LayerNoise:
        draft = self.draft
        if node not in self._noises:
            assert draft.options.isa is not None
            operator, weight = draft.operators[node], node.inputs[1]
            pairs = None
            if draft.is_channel_wise(node) and len(self._uses[weight]) == 1:
                pairs = draft.target.pair_excess(draft.network, node, draft.options.isa)
            data = DataMoments.of(draft.statistics[node.inputs[operator.data[0]].name])
            self._noises[node] = LayerNoise.of(draft.network.params[weight.node.name], data, pairs)
        return self._noises[node]


def joined(parts: Sequence[Tuple[List[Tensor], Reader]]) -> List[Tuple[List[Tensor], List[Reader]]]:
    """Join readers that have a tensor in common.

    Parameters
    ----------
    parts : sequence of (list of Tensor, Reader)
        Tensors, and a layer whose data have their codes.

    Returns
    -------
    list of (list of Tensor, list of Reader)
        No tensor is in two of them.
    """
    groups: List[Tuple[List[Tensor], List[Reader]]] = []
    for tensors, reader in parts:
        touching = [group for group in groups if set(group[0]) & set(tensors)]
        groups = [group for group in groups if group not in touching]
        merged = list(dict.fromkeys([*(t for group in touching for t in group[0]), *tensors]))
        groups.append((merged, [*(r for group in touching for r in group[1]), reader]))
    return groups
