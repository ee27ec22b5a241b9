"""Bytes that processes of Dask send to each other, counted where they are written."""

from __future__ import annotations

from typing import Any

from distributed.comm.tcp import TCP


def count_here() -> None:
    """Count from now on what this process sends; workers run it too."""
    if hasattr(TCP, "sent"):
        return
    write = TCP.write

    async def counting(self: Any, *arguments: Any, **options: Any) -> Any:
        size = await write(self, *arguments, **options)
        TCP.sent += size
        return size

    TCP.sent = 0
    TCP.write = counting


def sent_here() -> int:
    return int(TCP.sent)


class Wire:
    """All processes of a cluster whose scheduler is in this one."""

    def __init__(self, client: Any) -> None:
        self.client = client
        count_here()
        client.run(count_here)

    def sent(self) -> int:
        """Return how many bytes were sent so far."""
        return sent_here() + sum(self.client.run(sent_here).values())
