"""Examples that are read as often as a command needs them, in batches with labels."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from mxquant.errors import InputError, MXQuantError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mxquant.datasets import Dataset
    from mxquant.runtime.batch import Batch, Examples

__all__ = ["NO_LABELS", "Data", "Labelled", "blaming"]

NO_LABELS = "the data have no labels"
_END = object()


class Labelled(NamedTuple):
    """A batch: arrays by name of the input, how many examples, and their labels where there are any."""

    arrays: Examples
    size: int
    labels: Optional[NDArray[Any]]


@dataclass(frozen=True)
class Data:
    """Examples that can be read from the start as often as needed.

    Parameters
    ----------
    source : callable
        Returns all of them from the first one on, as :func:`mxquant.calibrate` takes them.
    inputs : tuple of str
        Names of the network's inputs.
    title : str
        What the user calls them.
    known : int or None
        How many the source has, if that is known before it is read.
    begin, end : int
        The first one that is used, and the one after the last.
    exact : bool
        Whether it is an error if there are fewer.
    dataset : callable or None
        Returns all of them as a data set, where they lie in files.
    fitted : callable or None
        Returns the arrays of a batch as the network takes them, by name of the input; raises InputError if it does not.
    network : Network or None
        What reads them, in whose terms it is known where the examples of a batch lie.
    unlabelled : str
        Why there are no labels.
    images : str
        How images become input, as options of the command; '' for other data.
    around : callable
        Returns the context in which what the source returns makes each batch.
    """

    source: Callable[[], Any]
    inputs: Tuple[str, ...]
    title: str
    known: Optional[int] = None
    begin: int = 0
    end: Optional[int] = None
    exact: bool = False
    dataset: Optional[Callable[[], Dataset]] = None
    fitted: Optional[Callable[[Dict[str, NDArray[Any]]], Dict[str, NDArray[Any]]]] = None
    network: Any = None
    unlabelled: str = NO_LABELS
    images: str = ""
    around: Callable[[], AbstractContextManager[Any]] = nullcontext

    @property
    def count(self) -> Optional[int]:
        """How many examples are used, if that is known before they are read."""
        if self.known is None:
            return None if self.end is None or not self.exact else self.end - self.begin
        return max(0, min(self.known, self.known if self.end is None else self.end) - self.begin)

    def first(self, count: Optional[int], at_most: Optional[int] = None) -> Data:
        """Return the first `count` examples, exactly; or for None `at_most` as many."""
        if count is not None and self.known is not None and self.known < count:
            raise InputError(f"--num-examples is {count}, but '{self.title}' holds {self.known} examples")
        return replace(self, end=at_most if count is None else count, exact=count is not None)

    def after(self, begin: int, at_most: int) -> Data:
        """Return up to `at_most` examples from the one numbered `begin` on."""
        return replace(self, begin=begin, end=begin + at_most, exact=False)

    def __iter__(self) -> Iterator[Tuple[Any, ...]]:
        """Yield batches in the form that all of the library's calls take: inputs in order, a label last."""
        for batch in self.labelled():
            inputs = tuple(batch.arrays[name] for name in self.inputs)
            yield inputs if batch.labels is None else (*inputs, batch.labels)

    def labelled(self) -> Iterator[Labelled]:
        """Yield batches by name of the input, with their labels.

        Raises
        ------
        InputError
            If there are fewer than were asked for, or they do not fit the network.
        """
        position = 0
        for batch in self._all():
            low = max(0, self.begin - position)
            high = batch.size if self.end is None else min(batch.size, self.end - position)
            position += batch.size
            if low < high:
                yield _cut(batch, low, high)
            if self.end is not None and position >= self.end:
                return
        if self.exact and self.end is not None:
            raise InputError(f"--num-examples is {self.end}, but '{self.title}' holds {position} examples")

    def _all(self) -> Iterator[Labelled]:
        from mxquant.runtime.batch import Examples

        for batch, labels in self._read():
            arrays = dict(batch.arrays) if self.fitted is None else self.fitted(dict(batch.arrays))
            yield Labelled(Examples(replace(batch, arrays=arrays)), batch.size, labels)

    def _read(self) -> Iterator[Tuple[Batch, Optional[NDArray[Any]]]]:
        from mxquant.runtime.data import batches
        from mxquant.runtime.mxnet import mx

        found = self.source()
        whole = isinstance(found, mx.nd.NDArray) or hasattr(found, "__array__")
        if not whole and (isinstance(found, (str, bytes, Mapping)) or not hasattr(found, "__iter__")):
            raise InputError(
                f"--data: '{self.title}' returned {type(found).__name__}, expected a DataIter, a DataLoader, an array, "
                "or an iterable of batches"
            )
        with blaming(self.title), self.around():
            if isinstance(found, mx.io.DataIter):
                found.reset()
            items = iter(()) if whole else iter(found)
        last: List[Any] = []
        stream = batches(found if whole else self._noted(items, last), self.inputs, network=self.network)
        while True:
            with blaming(self.title):
                batch = next(stream, None)
                if batch is None:
                    return
                labels = _labels(last[0], self.inputs, batch.size) if last else None
            yield batch, labels

    def _noted(self, items: Iterator[Any], last: List[Any]) -> Iterator[Any]:
        """Yield what the user's data yield, and keep the last one, which has labels besides."""
        count = 0
        while True:
            with blaming(self.title, f" after {count} batches" if count else ""), self.around():
                item = next(items, _END)
            if item is _END:
                return
            last[:] = [item]
            count += 1
            yield item


@contextmanager
def blaming(title: str, when: str = "") -> Iterator[None]:
    """Turn whatever a user's own code raises into an InputError that says so."""
    try:
        yield
    except MXQuantError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        about = f": {error}" if str(error) else ""
        raise InputError(f"--data: '{title}' raised {type(error).__name__}{when}{about}") from error


def _cut(batch: Labelled, low: int, high: int) -> Labelled:
    if (low, high) == (0, batch.size) or batch.arrays.whole:
        return batch
    labels = None if batch.labels is None else batch.labels[low:high]
    return Labelled(batch.arrays.part(low, high), high - low, labels)


def _labels(item: Any, inputs: Tuple[str, ...], size: int) -> Optional[NDArray[Any]]:
    """Return the labels in what a user's data yield."""
    import numpy as np

    from mxquant.runtime.mxnet import mx

    found: Any = None
    if isinstance(item, mx.io.DataBatch):
        found = item.label[0] if item.label else None
    elif isinstance(item, Mapping):
        found = next((item[name] for name in item if str(name).endswith(("label", "labels"))), None)
    elif isinstance(item, (list, tuple)) and len(item) == len(inputs) + 1:
        found = item[-1]
    if found is None:
        return None
    values = found.asnumpy() if isinstance(found, mx.nd.NDArray) else np.asarray(found)
    return values.reshape(-1)[:size] if values.ndim and values.size == len(values) else None
