"""A Gluon block that several threads may call from the beginning.

The first call of a block makes its operator, and oneDNN then brings the weights into an order of its own, in place,
while it computes. Where another thread reads them at that time, the process may end. Later calls find them in order.
"""

from __future__ import annotations

from threading import RLock
from typing import Any, Dict

from mxquant.runtime.mxnet import mx

__all__ = ["SharedBlock"]

# One for all blocks. Each has parameters of its own, but they are seldom called first at the same time.
_FIRST = RLock()


class SharedBlock(mx.gluon.SymbolBlock):  # type: ignore[misc]
    """A block of which one thread makes the first call in each context, and is done before another one computes.

    Inside a hybridized block it is a part of that one's operator, and is not called itself.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._called: Dict[Any, Any] = {}

    def _call_cached_op(self, *args: Any) -> Any:
        context = args[0].ctx
        if self._cached_op is not None and self._called.get(context) is self._cached_op:
            return super()._call_cached_op(*args)
        with _FIRST:
            found = super()._call_cached_op(*args)
            _wait(found)
            self._called[context] = self._cached_op
        return found


def _wait(found: Any) -> None:
    if isinstance(found, (list, tuple)):
        for each in found:
            _wait(each)
    else:
        found.wait_to_read()
