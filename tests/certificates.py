"""Certificates for the tests: authorities of their own, and what they sign."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID


@dataclass(frozen=True)
class Authority:
    """A certificate authority that nobody else trusts.

    Its certificates have what RFC 5280 asks for, which Python checks from 3.13 on.

    :param lacks: Extensions that it leaves out, as many a company's own authority does.
    :ivar path: Its own certificate, as PEM.
    """

    directory: Path
    name: str
    lacks: frozenset[x509.ObjectIdentifier] = frozenset()

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        own = self._certificate(self.name, key.public_key(), key, authority=True)
        self.path.write_bytes(own.public_bytes(serialization.Encoding.PEM))
        self._key_path.write_bytes(_pem(key))

    @property
    def path(self) -> Path:
        return self.directory / f"{self.name}.pem"

    @property
    def trusted(self) -> ssl.SSLContext:
        """A client's context that trusts this one only."""
        return ssl.create_default_context(cafile=self.path)

    def client(self, name: str) -> tuple[str, str]:
        """Return the paths of a client's certificate and key."""
        return self._signed(name, [])

    def server(self, host: str) -> ssl.SSLContext:
        """Return a server's context with a certificate of a host."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._signed(host, [x509.DNSName(host)]))
        return context

    @property
    def _key_path(self) -> Path:
        return self.directory / f"{self.name}.key"

    def _signed(self, name: str, hosts: list[x509.DNSName]) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        ours = serialization.load_pem_private_key(self._key_path.read_bytes(), None)
        assert isinstance(ours, ec.EllipticCurvePrivateKey)
        signed = self._certificate(name, key.public_key(), ours, hosts=hosts)
        certificate, private = (self.directory / f"{name}{end}" for end in (".pem", ".key"))
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(_pem(key))
        return str(certificate), str(private)

    def _certificate(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        signer: ec.EllipticCurvePrivateKey,
        *,
        authority: bool = False,
        hosts: list[x509.DNSName] | None = None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named(self.name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )
        signers = signer.public_key()
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=authority, path_length=None), True),
            (x509.SubjectKeyIdentifier.from_public_key(key), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(signers), False),
            (_usage(authority=authority), True),
        ]
        if hosts:
            extensions.append((x509.SubjectAlternativeName(hosts), False))
        for extension, critical in extensions:
            if extension.oid not in self.lacks:
                builder = builder.add_extension(extension, critical=critical)
        return builder.sign(signer, hashes.SHA256())


KEY_USAGE = ExtensionOID.KEY_USAGE
AUTHORITY_KEY = ExtensionOID.AUTHORITY_KEY_IDENTIFIER
SUBJECT_KEY = ExtensionOID.SUBJECT_KEY_IDENTIFIER


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
