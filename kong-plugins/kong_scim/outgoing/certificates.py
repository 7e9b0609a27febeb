"""Verifies certificates strictly, and says what is wrong with one that is not accepted."""

from __future__ import annotations

import ssl

_SAID = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed, and not among the trusted ones",
    19: "its authority is not among the trusted ones",
    20: "its authority is not among the trusted ones",
    21: "its authority is not among the trusted ones, or an intermediate certificate is not sent",
    24: "a certificate that signed it is no authority's (basicConstraints CA:TRUE is missing)",
    62: "it is for another name than the host's",
    64: "it is for another address than the host's",
    79: "a certificate that signed it is no authority's",
    80: "a path length is given in a certificate that is no authority's",
    81: "an authority's certificate has a path length, and no keyUsage with keyCertSign",
    82: "its keyUsage has keyCertSign, and it is no authority's",
    83: "a certificate of its chain has an empty issuer",
    84: "an authority's certificate has an empty subject",
    85: "a certificate of its chain lacks the extension authorityKeyIdentifier",
    86: "an authority's certificate lacks the extension subjectKeyIdentifier",
    87: "its subjectAltName is empty",
    88: "its subject is empty, and its subjectAltName is not critical",
    89: "the basicConstraints of an authority's certificate is not critical",
    90: "an authorityKeyIdentifier is critical, and must not be",
    91: "a subjectKeyIdentifier is critical, and must not be",
    92: "an authority's certificate lacks the extension keyUsage",
    93: "a certificate with extensions is not of version 3",
    94: "an EC key spells its curve's parameters out in place of a name",
}
"""By OpenSSL's X509_V_ERR_...; from 79 on these are what RFC 5280 asks for and only a strict check
sees."""

STRICT = range(79, 95)


def strict(context: ssl.SSLContext) -> ssl.SSLContext:
    """Have a context hold certificates to RFC 5280, as Python does by itself from 3.13 on."""
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def refusal(error: ssl.SSLCertVerificationError) -> str:
    """Say why a certificate is not accepted, and what to change where its issuer must change it."""
    code = error.verify_code
    said = _SAID.get(code, f"OpenSSL's verification error {code}")
    advice = "; issue it anew with what RFC 5280 asks for" if code in STRICT else ""
    return f"the certificate is not accepted: {said}{advice}"
