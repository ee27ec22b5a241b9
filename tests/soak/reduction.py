"""A failing network made as small as it can be without ceasing to fail in the same way."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Dict, Iterator, List, Tuple

from tests.soak.networks.description import Description, Layer

__all__ = ["reduced"]


def reduced(description: Description, fails: Callable[[List[Description]], List[bool]]) -> Description:
    """Return a smaller network that still fails.

    Parameters
    ----------
    description : Description
        One that fails.
    fails : callable
        Which of some networks fail in the same way.

    Returns
    -------
    Description
        One of which no single simplification fails any more, or `description`.
    """
    while True:
        smaller = list({each.dumps(): each for each in _simpler(description)}.values())
        failing = [each for each, failed in zip(smaller, fails(smaller)) if failed]
        if not failing:
            return description
        description = failing[0]


def _simpler(description: Description) -> Iterator[Description]:
    """Yield simplifications, the greatest first."""
    number = len(description.inputs)
    heads = [head for each in description.heads for head in ((each,) if isinstance(each, int) else each)]
    for head in dict.fromkeys(heads):
        if description.heads != (head,):
            yield _used(replace(description, heads=(head,)))
    for place, layer in enumerate(description.layers):
        for source in dict.fromkeys(layer.reads):
            yield _used(_bypassed(description, number + place, source))
    if description.parameters != "usual":
        yield replace(description, parameters="usual")
    plain_inputs = tuple(
        each if each.values.startswith("lengths") else replace(each, values="normal") for each in description.inputs
    )
    if description.inputs != plain_inputs:
        yield replace(description, inputs=plain_inputs)
    if description.dtype != "float32":
        yield replace(description, dtype="float32")
    if description.batches > 1:
        yield replace(description, batches=1)
    plain = {"method": "minmax", "mode": "smart", "dtype": "auto", "granularity": "channel-wise", "accuracy": "plain"}
    for key, value in plain.items():
        if description.options.get(key) != value:
            yield replace(description, options={**description.options, key: value})
    for place, layer in enumerate(description.layers):
        if layer.name != f"n{place}" and layer.op != "parameter":
            layers = (*description.layers[:place], replace(layer, name=f"n{place}"), *description.layers[place + 1 :])
            yield replace(description, layers=layers)


def _bypassed(description: Description, tensor: int, source: int) -> Description:
    """Let everything that reads a tensor read another one."""

    def other(number: int) -> int:
        return source if number == tensor else number

    layers = tuple(replace(each, reads=tuple(map(other, each.reads))) for each in description.layers)
    heads = tuple(other(h) if isinstance(h, int) else tuple(map(other, h)) for h in description.heads)
    return replace(description, layers=layers, heads=heads)


def _used(description: Description) -> Description:
    """Drop the layers that nothing returned depends on."""
    inputs = len(description.inputs)
    pending = [h for each in description.heads for h in ((each,) if isinstance(each, int) else each)]
    used: Dict[int, None] = {}
    while pending:
        number = pending.pop()
        if number in used:
            continue
        used[number] = None
        if number >= inputs:
            layer = description.layers[number - inputs]
            pending += layer.reads
            pending += [] if layer.shares is None else [layer.shares + inputs]
    kept = [number for number in range(inputs, inputs + len(description.layers)) if number in used]
    place = {**{number: number for number in range(inputs)}, **{old: inputs + new for new, old in enumerate(kept)}}

    def moved(layer: Layer) -> Layer:
        shares = None if layer.shares is None else place[layer.shares + inputs] - inputs
        return replace(layer, reads=tuple(place[each] for each in layer.reads), shares=shares)

    heads: Tuple[object, ...] = tuple(
        place[h] if isinstance(h, int) else tuple(place[each] for each in h) for h in description.heads
    )
    return replace(description, layers=tuple(moved(description.layers[n - inputs]) for n in kept), heads=heads)
