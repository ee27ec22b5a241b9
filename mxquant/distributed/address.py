"""The address of a scheduler, looked at before anything is sent to it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from mxquant.errors import InputError

__all__ = ["Address"]

_FORM = "tcp://HOST:PORT or tls://HOST:PORT"
_PARTS = re.compile(
    r"(?:(?P<scheme>[^:/]*)://)?(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:/\[\]]*))(?::(?P<port>[^:/]*))?(?P<rest>.*)"
)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


@dataclass(frozen=True)
class Address:
    """Where a scheduler listens.

    Parameters
    ----------
    scheme : {'tcp', 'tls'}
        Without encryption, or with.
    host : str
        A name, or the number of an IPv4 or IPv6 address.
    port : int
        From 1 to 65535.
    """

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @classmethod
    def of(cls, text: str) -> Address:
        """Read an address; without ``tcp://`` or ``tls://`` it is the former.

        Raises
        ------
        InputError
            If it is none.
        """
        found = _PARTS.fullmatch(text)
        if found is None:
            raise InputError(f"the address is {text!r}, expected {_FORM}")
        scheme = "tcp" if found["scheme"] is None else found["scheme"].lower()
        if scheme in ("http", "https"):
            raise InputError(
                f"the address is '{text}', expected {_FORM}: a page is for browsers; the scheduler prints its own "
                "address when it starts, by default with port 8786"
            )
        if scheme not in ("tcp", "tls"):
            raise InputError(f"the address is '{text}', expected {_FORM}: '{scheme}' is neither")
        problem = f"there is '{found['rest']}' after it" if found["rest"] else _host_problem(found["v6"], found["host"])
        problem = problem or _port_problem(found["port"])
        if problem:
            raise InputError(f"the address is '{text}', expected {_FORM}: {problem}")
        return cls(scheme, found["v6"] or found["host"], int(found["port"]))


def _host_problem(v6: str, host: str) -> str:
    if v6 is not None:
        try:
            ipaddress.IPv6Address(v6.partition("%")[0])
        except ValueError as error:
            return str(error)
        return ""
    if not host:
        return "it has no host"
    if re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError as error:
            return str(error)
        return ""
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.rstrip(".").split(".")):
        return f"'{host}' is no name of a host"
    return ""


def _port_problem(port: str) -> str:
    if not port:
        return "it has no port; a scheduler's is 8786 by default"
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        return f"the port is '{port}', expected a number from 1 to 65535"
    return ""
