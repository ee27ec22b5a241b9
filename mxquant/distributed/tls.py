"""Which certificates a connection shows and asks for, looked at before it is made.

Dask's TLS works in both directions: whoever has a certificate of the cluster's own authority, and its key, takes part;
names of hosts are not compared. Files come from options, or from Dask's settings ``distributed.comm.tls``.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any, Optional

from mxquant.distributed.address import Address
from mxquant.errors import InputError
from mxquant.files.regular import content_of

__all__ = ["security_of"]

# All authorities of an operating system together have a quarter of a megabyte.
_MOST_BYTES = 1 << 24
# What an option is called, and Dask's setting of the same.
_SETTINGS = {
    "tls_ca_file": ("--tls-ca-file", "distributed.comm.tls.ca-file"),
    "tls_client_cert": ("--tls-cert", "distributed.comm.tls.client.cert"),
    "tls_client_key": ("--tls-key", "distributed.comm.tls.client.key"),
}


def security_of(
    address: Address, ca_file: Optional[Path] = None, cert: Optional[Path] = None, key: Optional[Path] = None
) -> Any:
    """Return what Dask's client needs to connect.

    Parameters
    ----------
    address : Address
        Of the scheduler.
    ca_file, cert, key : Path, optional
        PEM files: certificate of the authority, certificate of this client, and the key of the latter; default: what
        Dask's settings say. The key may stand in the file of the certificate.

    Returns
    -------
    distributed.Security
        With encryption if the address says ``tls://``.

    Raises
    ------
    InputError
        If a file is missing, cannot be read, does not belong to the others, or is not wanted.
    """
    import distributed

    make: Any = distributed.Security
    values = zip(_SETTINGS, (ca_file, cert, key))
    given = {name: str(value) for name, value in values if value is not None}
    if address.scheme == "tcp":
        return _without(address, given, make())
    security = make(require_encryption=True, **given)
    for name in ("tls_ca_file", "tls_client_cert"):
        if not getattr(security, name):
            option, setting = _SETTINGS[name]
            raise InputError(f"'{address}' needs {option}, or Dask's setting {setting}; there is neither")
    _check(security)
    return security


def _without(address: Address, given: Any, security: Any) -> Any:
    if given:
        options = ", ".join(_SETTINGS[name][0] for name in given)
        raise InputError(f"{options} is for tls://, but the address is '{address}'; write tls:// if the scheduler does")
    if security.require_encryption:
        raise InputError(
            f"Dask's setting distributed.comm.require-encryption is true, but the address is '{address}'; write tls://"
        )
    return security


def _check(security: Any) -> None:
    """Load all files as a connection will; name the one that is wrong."""
    ca, cert = security.tls_ca_file, security.tls_client_cert
    key = security.tls_client_key or cert
    for name, value in (("tls_ca_file", ca), ("tls_client_cert", cert), ("tls_client_key", key)):
        _readable(_SETTINGS[name][0], value)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(**{"cadata" if _is_text(ca) else "cafile": ca})
    except (OSError, ValueError) as error:
        raise InputError(f"--tls-ca-file: '{_name(ca)}' is no certificate in PEM: {_reason(error)}") from error
    if _is_text(cert) or _is_text(key):
        return _by_dask(security)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--tls-cert and --tls-key: '{cert}' and '{key}' are no certificate and its key in PEM: {_reason(error)}"
        ) from error


def _by_dask(security: Any) -> None:
    """Let Dask load a certificate that its settings have as text."""
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:
        raise InputError(f"Dask's settings distributed.comm.tls.client are wrong: {_reason(error)}") from error


def _readable(option: str, value: str) -> None:
    if _is_text(value):
        content = value
    else:
        try:
            content = content_of(value, _MOST_BYTES).decode("latin-1")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{option}: cannot read '{value}': {reason}") from error
    # Loading it would ask for the passphrase on the terminal, again and again.
    if "ENCRYPTED" in content:
        raise InputError(
            f"{option}: the key in '{_name(value)}' has a passphrase, for which nobody can be asked; give a key "
            "without one, in a file that only you can read"
        )


def _is_text(value: str) -> bool:
    return "\n" in value


def _name(value: str) -> str:
    return "Dask's settings" if _is_text(value) else os.fspath(value)


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else str(error)
