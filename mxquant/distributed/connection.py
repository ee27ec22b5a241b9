"""A connection to a scheduler, with one deadline for all of it.

Dask's own client waits without end where a connection stands and nobody speaks. So what answers is looked at first:
its first bytes (:mod:`mxquant.distributed.greeting`), then what it says that it is. Each step has what the ones before
have left of the time, and what it calls a little less, so that this may end by itself, with a reason, and be closed.
"""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Any, Optional, Tuple

from mxquant.distributed.address import Address
from mxquant.distributed.greeting import greet
from mxquant.distributed.patience import within
from mxquant.distributed.tls import security_of
from mxquant.errors import ClusterError, InputError

__all__ = ["SECONDS", "checked", "connect", "opened"]

SECONDS = 10.0
_SPARE = 0.5


def connect(
    text: str,
    *,
    tls_ca_file: Optional[Path] = None,
    tls_cert: Optional[Path] = None,
    tls_key: Optional[Path] = None,
    seconds: float = SECONDS,
) -> Any:
    """Connect to a scheduler.

    Parameters
    ----------
    text : str
        ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
    tls_ca_file, tls_cert, tls_key : Path, optional
        As for :func:`mxquant.distributed.tls.security_of`.
    seconds : float
        How long all of it may take.

    Returns
    -------
    distributed.Client
        To be closed.

    Raises
    ------
    InputError
        If the address or a file is wrong; nothing was sent then.
    ClusterError
        If no scheduler answers.
    """
    return opened(*checked(text, tls_ca_file, tls_cert, tls_key), seconds)


def checked(
    text: str, tls_ca_file: Optional[Path] = None, tls_cert: Optional[Path] = None, tls_key: Optional[Path] = None
) -> Tuple[str, Any]:
    """Return an address in full and what Dask's client needs for it, as :func:`connect` takes them; nothing is sent."""
    address = Address.of(text)
    return str(address), security_of(address, tls_ca_file, tls_cert, tls_key)


def opened(text: str, security: Any, seconds: float = SECONDS) -> Any:
    """Connect to a scheduler whose address and certificates were looked at; as :func:`connect`."""
    import distributed

    make: Any = distributed.Client
    end = time.monotonic() + seconds
    try:
        if text.startswith(("tcp://", "tls://")):
            _look(Address.of(text), security, end)
        left = _left(end)
        options = {"timeout": _less(left), "security": security, "set_as_default": False}
        return within(left, lambda: make(text, **options), late=lambda client: client.close())
    except (InputError, ClusterError):
        raise
    except TimeoutError as error:
        raise ClusterError(f"the scheduler at '{text}' does not answer within {seconds:.0f} s") from error
    except Exception as error:  # of the connection, which has many kinds of them
        raise ClusterError(f"cannot connect to the scheduler at '{text}': {type(error).__name__}: {error}") from error


def _left(end: float) -> float:
    """Return the seconds until the end; raise TimeoutError where there are none."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("no time is left")
    return left


def _less(seconds: float) -> float:
    """Return the time for what is called within a time, and ends by itself."""
    return seconds - min(_SPARE, seconds / 4)


def _look(address: Address, security: Any, end: float) -> None:
    """Raise ClusterError unless a scheduler answers at an address."""
    # asyncio would leave a search for a name behind that keeps the process until it has ended.
    try:
        within(_left(end), lambda: socket.getaddrinfo(address.host, address.port))
    except (TimeoutError, OSError, UnicodeError) as error:
        raise ClusterError(f"the host of '{address}' is not found: {error}") from error
    arguments = security.get_connection_args("client")
    left = _left(end)

    def look() -> str:
        return asyncio.run(asyncio.wait_for(_kind(address, arguments, _less(left)), _less(left)))

    try:
        kind = within(left, look)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise ClusterError(
            f"what answers at '{address}' does not say within {left:.0f} s that it is a scheduler"
        ) from error
    if kind != "Scheduler":
        raise ClusterError(
            f"what answers at '{address}' is a {kind.lower()} of Dask; give the address of the scheduler, which that "
            "one was started with"
        )


async def _kind(address: Address, arguments: Any, seconds: float) -> str:
    """Return what a process of Dask says that it is, by Dask's own reader."""
    import distributed.comm

    reach: Any = getattr(distributed.comm, "connect")  # noqa: B009, for versions that do not export it to checkers
    await greet(address, arguments.get("ssl_context"), _less(seconds))
    comm = await reach(str(address), timeout=seconds, deserialize=False, **arguments)
    try:
        await comm.write({"op": "identity", "reply": True})
        answer = await comm.read()
    finally:
        comm.abort()
    return str(answer.get("type", "stranger")) if isinstance(answer, dict) else "stranger"
