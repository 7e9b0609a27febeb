"""Certificates for the tests: authorities of their own, and what they sign."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """A certificate authority.

    :ivar path: Its own certificate, as PEM.
    """

    directory: Path
    name: str

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(self.name)
        certificate = _builder(subject, subject, key, authority=True).sign(key, hashes.SHA256())
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.directory / f"{self.name}.key").write_bytes(_pem(key))

    @property
    def path(self) -> Path:
        return self.directory / f"{self.name}.pem"

    def client(self, name: str) -> tuple[str, str]:
        """Return the paths of a client's certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        ours = serialization.load_pem_private_key(
            (self.directory / f"{self.name}.key").read_bytes(), None
        )
        assert isinstance(ours, ec.EllipticCurvePrivateKey)
        signed = _builder(_named(name), _named(self.name), key).sign(ours, hashes.SHA256())
        certificate, private = (self.directory / f"{name}{end}" for end in (".pem", ".key"))
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(_pem(key))
        return str(certificate), str(private)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
