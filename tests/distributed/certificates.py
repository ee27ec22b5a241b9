"""An authority of our own, and certificates that it signs, made for one test."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, List, NamedTuple, Optional

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates(NamedTuple):
    """PEM files: of the authority, and a certificate with its key that is good for every role."""

    ca: Path
    cert: Path
    key: Path

    def words(self) -> List[str]:
        """Return the options of Dask's commands, and of ours."""
        return ["--tls-ca-file", str(self.ca), "--tls-cert", str(self.cert), "--tls-key", str(self.key)]


def certificates(folder: Path, passphrase: Optional[bytes] = None) -> Certificates:
    """Make an authority and a certificate that hold for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, name = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in ("tests", "one of them"))
    ca = _signed(ca_name, ca_key, ca_name, ca_key, True)
    cert = _signed(name, key, ca_name, ca_key, False)
    secret: Any = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    found.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    found.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    found.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    return found


def _signed(name: Any, key: Any, issuer: Any, issuer_key: Any, authority: bool) -> Any:
    now = datetime.datetime.now(datetime.timezone.utc)
    begin, end = now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
    builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
    )
    return builder.sign(issuer_key, hashes.SHA256())
