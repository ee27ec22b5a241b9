"""`Dataset`: examples of which any part can be read by itself, by whoever has a reference to it.

Examples lie in batches by their numbers: example i is in batch ``i // batch_size``, at place ``i % batch_size``,
whichever part of the data set is read. So all who read it run the same batches and count the same values to the last
bit, though the last digits of what a network computes may depend on the size of a batch and on the place in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Sequence, Tuple

from mxquant.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Dataset"]

Arrays = Tuple["NDArray[Any]", ...]


@dataclass(frozen=True, eq=False)
class Dataset(ABC):
    """Examples in files; iterating yields batches as :func:`mxquant.calibrate` takes them, a label last.

    It holds references, not examples, and can be sent to another process that can read the same files.
    """

    @property
    @abstractmethod
    def title(self) -> str:
        """What messages call it."""

    @property
    @abstractmethod
    def grid(self) -> Tuple[int, int]:
        """The number of its first example in the data set that it is a part of, and the size of batches."""

    @abstractmethod
    def __len__(self) -> int:
        """How many examples it has."""

    @abstractmethod
    def part(self, begin: int, end: int) -> Dataset:
        """Return the examples from `begin` to `end` - 1 of this one, 0 being its first, on the same grid of batches."""

    @abstractmethod
    def read(self, sizes: Sequence[int]) -> Iterator[Arrays]:
        """Yield all examples in batches of these sizes; raise InputError where they cannot be read."""

    def __iter__(self) -> Iterator[Arrays]:
        return self.read(self.sizes)

    @property
    def sizes(self) -> Sequence[int]:
        """How many examples each of its batches has."""
        first, size = self.grid
        ends = [*range(size * (first // size + 1), first + len(self), size), first + len(self)]
        return [end - begin for begin, end in zip([first, *ends], ends) if end > begin]


def check_batch_size(size: int) -> None:
    """Raise InputError unless a number of examples is a whole number from 1."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InputError(f"batch_size is {size!r}, expected a whole number from 1")
