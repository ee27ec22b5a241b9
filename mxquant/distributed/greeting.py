"""Is it a scheduler? Dask's listeners speak first; who is silent, or says something else, is asked what else it is.

All of it is plain bytes. Only what begins as Dask does gets to Dask's own reader, which unpickles.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
from contextlib import suppress
from typing import Any, Optional

from mxquant.distributed.address import Address
from mxquant.errors import ClusterError

__all__ = ["greet"]

# A listener of Dask begins with the number of bytes of what it says of itself, which are few.
_FIRST, _MOST = struct.Struct("<Q"), 1 << 20
_SILENCE, _LOOK, _PAUSE = 1.0, 1.0, 0.2
_DASHBOARD = "a page for browsers, such as Dask's dashboard, which has a port of its own, 8787 by default"
_ASK = "look at what the scheduler printed when it started"


async def greet(address: Address, context: Optional[ssl.SSLContext], seconds: float) -> None:
    """Return once what answers at an address speaks as Dask does.

    Parameters
    ----------
    address : Address
        Of the scheduler.
    context : ssl.SSLContext or None
        For ``tls://``.
    seconds : float
        How long to try; what can be told at once is told at once.

    Raises
    ------
    ClusterError
        If nobody answers, or something else does.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    reason = "nobody answered"
    while True:
        try:
            first = await asyncio.wait_for(_first_bytes(address, context), max(0.0, end - loop.time()))
            break
        except ssl.SSLError as error:
            raise ClusterError(await _refused(address, error)) from error
        except asyncio.IncompleteReadError as error:
            if error.partial:
                first = error.partial
                break
            reason = "what answers there closes the connection"
        except asyncio.TimeoutError:
            raise ClusterError(f"what answers at '{address}' says nothing for {seconds:.0f} s; {_ASK}") from None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
        if end - loop.time() <= _PAUSE:
            raise ClusterError(f"no scheduler answers at '{address}' within {seconds:.0f} s: {reason}; {_ASK}")
        await asyncio.sleep(_PAUSE)
    if not _is_dask(first):
        raise ClusterError(f"what answers at '{address}' is no scheduler; {_ASK}")


async def _first_bytes(address: Address, context: Optional[ssl.SSLContext]) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        first = asyncio.ensure_future(reader.readexactly(_FIRST.size))
        done, _ = await asyncio.wait([first], timeout=_SILENCE)
        if not done:
            what = await _what_else(address)
            if what is not None and not first.done():
                first.cancel()
                raise ClusterError(what)
        return await first
    finally:
        writer.close()


def _is_dask(first: bytes) -> bool:
    return len(first) == _FIRST.size and 0 < _FIRST.unpack(first)[0] < _MOST


async def _what_else(address: Address) -> Optional[str]:
    """Return what somebody is who keeps silent where Dask would speak; None where that is not known."""
    for encrypted in (False, True):
        with suppress(OSError, asyncio.TimeoutError):
            if await asyncio.wait_for(_is_http(address, encrypted), _LOOK):
                return f"what answers at '{address}' is no scheduler, but {_DASHBOARD}; {_ASK}"
    if address.scheme == "tcp":
        with suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(_speaks_tls(address), _LOOK)
            return f"what answers at '{address}' speaks TLS: write tls://, and give the files that it asks for"
    return None


async def _is_http(address: Address, encrypted: bool) -> bool:
    context = _no_questions() if encrypted else None
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        writer.write(b"HEAD / HTTP/1.0\r\n\r\n")
        return (await reader.read(5)).startswith(b"HTTP")
    finally:
        writer.close()


async def _speaks_tls(address: Address) -> None:
    """Return after TLS's first words; a server that wants a certificate tells that later."""
    _, writer = await asyncio.open_connection(address.host, address.port, ssl=_no_questions())
    writer.close()


def _no_questions() -> ssl.SSLContext:
    """Return a context that trusts anybody: what it hears decides nothing but a sentence."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _refused(address: Address, error: Any) -> str:
    """Return in a sentence why TLS does not come about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of the scheduler at '{address}' does not hold: {error.verify_message}; compare "
            "--tls-ca-file with the scheduler's"
        )
    reason = str(error.reason or error).lower().replace("_", " ")
    if "alert" in reason and "version" not in reason:
        return (
            f"the scheduler at '{address}' does not take this certificate: {reason}; compare --tls-cert with the "
            "authority of the scheduler's --tls-ca-file"
        )
    with suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ClusterError):
        plain = Address("tcp", address.host, address.port)
        if _is_dask(await asyncio.wait_for(_first_bytes(plain, None), _SILENCE + _LOOK)):
            return f"the scheduler at '{address}' does not speak TLS: write tcp://, or start it with its certificate"
    what = await _what_else(Address("tcp", address.host, address.port))
    return what or f"what answers at '{address}' does not speak TLS as a scheduler does: {reason}; {_ASK}"
