"""Verifies with Python's cryptography: reads rows in JSON, writes one line for each: its name, a tab, and what came of
it. `ok`, `revoked` and why, or what was said against it."""

import json
import sys

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
except ImportError:
    print("absent")
    raise SystemExit

import ipaddress
import re


def read(path):
    with open(path, "rb") as file:
        return file.read()


def lists(path):
    blocks = re.findall(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\n", read(path), re.S)
    assert blocks, path
    return [x509.load_pem_x509_crl(block) for block in blocks]


def host(text):
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def revoked(row, chain):
    """The first of the chain that a list of its issuer names, with the reason; each list is its issuer's."""
    every = [one for path in row["lists"] for one in lists(path)]
    for certificate, issuer in zip(chain, chain[1:]):
        own = [one for one in every if one.issuer == certificate.issuer and one.is_signature_valid(issuer.public_key())]
        assert own, f"no list of {certificate.issuer.rfc4514_string()} that its key has signed"
        for one in own:
            entry = one.get_revoked_certificate_by_serial_number(certificate.serial_number)
            if entry is not None:
                try:
                    return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.name.replace("_", "-")
                except x509.ExtensionNotFound:
                    return "unspecified"
    return None


def verdict(row):
    chain = x509.load_pem_x509_certificates(read(row["chain"]))
    anchors = x509.load_pem_x509_certificates(read(row["anchor"]))
    builder = PolicyBuilder().store(Store(anchors))
    try:
        if row["host"] is None:
            built = builder.build_client_verifier().verify(chain[0], chain[1:]).chain
        else:
            built = builder.build_server_verifier(host(row["host"])).verify(chain[0], chain[1:])
    except VerificationError as error:
        return f"{error}"
    why = revoked(row, built)
    return "ok" if why is None else f"revoked {why}"


for row in json.load(sys.stdin):
    for certificate in x509.load_pem_x509_certificates(read(row["chain"])):
        # Extensions and names are read when they are asked for.
        certificate.extensions, certificate.subject.rfc4514_string()
    if row["key"] is not None:
        key = load_pem_private_key(read(row["key"]), None)
        assert key.public_key() == x509.load_pem_x509_certificates(read(row["chain"]))[0].public_key()
    print(f"{row['what']}\t{verdict(row)}")
