"""Where the examples of a batch lie in a network's inputs, and whether it takes batches of other sizes.

Both are found by shape inference with other sizes: if every input is one example longer along its axis, the network
takes any batch. So time-major data (T, N, C) have their examples along axis 1 beside lengths (N,), and states
(layers, N, C) too. A network that takes the batch at hand alone, as one does in which an export has multiplied the
batch into a Reshape, gets its batches as they come: they are neither cut nor joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from mxquant.errors import InputError
from mxquant.graph import Network
from mxquant.runtime.lengths import inputs_of_lengths
from mxquant.runtime.sizes import check_sizes, fitting_shapes, has_sizes

__all__ = ["Batching", "batch_of_array"]

Shape = Tuple[int, ...]
Axes = Mapping[str, Optional[int]]
# Images have their examples along the first axis; sequences, and states of recurrent layers, perhaps along the second.
_RANK_OF_IMAGES = 4
# Sizes of batches that an array of examples is divided into, likeliest first.
_SIZES = (32, 1, 2, 4, 8, 16, 64, 128, 256, 3, 5, 6, 10, 12, 20, 24, 48, 50, 100)


@dataclass(frozen=True)
class Batching:
    """How a network takes examples.

    Parameters
    ----------
    axes : mapping of str to int or None
        The axis of the examples by the name of the input; None for an input that is the same for all of them.
    only : int or None
        The one batch size that the network takes; None for any.
    """

    axes: Axes
    only: Optional[int] = None

    @classmethod
    def of(cls, network: Network, shapes: Mapping[str, Shape], given: Optional[Axes] = None) -> Batching:
        """Find how a network takes examples.

        Parameters
        ----------
        network : Network
            Any network.
        shapes : mapping of str to tuple of int
            Of its inputs in a batch.
        given : mapping of str to int or None, optional
            Axes that are known.

        Raises
        ------
        InputError
            If the network does not take inputs of these shapes, or an axis that is given is none of the input's.
        """
        known = _checked(given or {}, shapes)
        check_sizes(network, shapes)
        candidates = _candidates(shapes, known) or [{name: 0 if shape else None for name, shape in shapes.items()}]
        # MXNet reads beyond a sequence that is shorter than its length: no axis of steps may be taken for examples.
        lengths = inputs_of_lengths(network) - set(known)
        own = [axes for axes in candidates if all(axes.get(name, 0) is not None for name in lengths)]
        candidates = own or candidates[:1]
        fitting = next((axes for axes in candidates if _takes(network, shapes, axes)), None)
        if fitting is not None:
            return cls(fitting)
        if fitting_shapes(network, shapes) is None and not has_sizes(network):
            # MXNet knows shapes only when it runs, and compares all sizes then.
            return cls(candidates[0])
        return cls(candidates[0], _size(shapes, candidates[0]))

    def size(self, shapes: Mapping[str, Shape]) -> int:
        """Return how many examples a batch of these shapes has."""
        return _size(shapes, self.axes)


def batch_of_array(network: Network, name: str, example: Shape) -> int:
    """Return in batches of how many examples an array is best given to a network: 32, or what it takes.

    Parameters
    ----------
    network : Network
        Any network of one input.
    name : str
        Of the input.
    example : tuple of int
        The shape of one example.
    """
    fitting = (size for size in _SIZES if fitting_shapes(network, {name: (size, *example)}) is not None)
    return next(fitting, _SIZES[0])


def _checked(given: Axes, shapes: Mapping[str, Shape]) -> Dict[str, Optional[int]]:
    found: Dict[str, Optional[int]] = {}
    for name, axis in given.items():
        if name not in shapes:
            raise InputError(f"batch_axes: the network has no input '{name}'; its inputs are {', '.join(shapes)}")
        rank = len(shapes[name])
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int) or not -rank <= axis < rank):
            raise InputError(f"batch_axes['{name}'] is {axis!r}, but its data have shape {shapes[name]}")
        found[name] = axis if axis is None else axis % rank
    return found


def _candidates(shapes: Mapping[str, Shape], known: Axes) -> List[Dict[str, Optional[int]]]:
    """Return which axes may hold the examples, likeliest first: those of most inputs, and the first ones.

    All have the length of that of the first input. An input of which no axis has it is the same for all examples.
    """
    first = next(iter(shapes))
    found: List[Dict[str, Optional[int]]] = []
    for begin in [known[first]] if first in known else _axes(shapes, first):
        size = None if begin is None else shapes[first][begin]
        choices: List[Sequence[Optional[int]]] = [[begin]]
        for name in list(shapes)[1:]:
            fitting = [axis for axis in _axes(shapes, name) if shapes[name][axis] == size]
            choices.append([known[name]] if name in known else fitting or [None])
        found += [dict(zip(shapes, axes)) for axes in product(*choices)]
    one_size = [axes for axes in found if _is_one_size(shapes, axes)]
    return sorted(one_size, key=lambda axes: list(axes.values()).count(None))


def _is_one_size(shapes: Mapping[str, Shape], axes: Axes) -> bool:
    return len({shapes[name][axis] for name, axis in axes.items() if axis is not None}) == 1


def _axes(shapes: Mapping[str, Shape], name: str) -> Sequence[int]:
    rank = len(shapes[name])
    return range(min(rank, 1 if rank >= _RANK_OF_IMAGES or len(shapes) == 1 else 2))


def _takes(network: Network, shapes: Mapping[str, Shape], axes: Axes) -> bool:
    """Whether a network takes a batch of one example more, with examples along these axes."""
    return fitting_shapes(network, _resized(shapes, axes, _size(shapes, axes) + 1)) is not None


def _resized(shapes: Mapping[str, Shape], axes: Axes, size: int) -> Dict[str, Shape]:
    def resized(shape: Shape, axis: Optional[int]) -> Shape:
        return shape if axis is None else (*shape[:axis], size, *shape[axis + 1 :])

    return {name: resized(shape, axes[name]) for name, shape in shapes.items()}


def _size(shapes: Mapping[str, Shape], axes: Mapping[str, Optional[int]]) -> int:
    return next((shapes[name][axis] for name, axis in axes.items() if axis is not None), 1)
