"""Lints with pkilint, once for many files: reads lines of KIND, FILE and perhaps ISSUER with tabs between them, all of
them DER; writes a JSON object a line for each finding, of whatever severity, and at the end how much it has linted."""

import json
import sys

try:
    from pkilint import loader, pkix, validation
    from pkilint.pkix import algorithm, certificate, crl, extension, key, name
    from pkilint.pkix.certificate import certificate_extension, certificate_key
    from pkilint import document
    from pyasn1_alt_modules import rfc5280
except ImportError:
    print("absent")
    raise SystemExit


def of_certificates():
    """What lint_pkix_cert asks."""
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def of_lists():
    """What lint_crl asks under the profile PKIX."""
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


def of_pairs():
    """What lint_pkix_signer_signee_cert_chain asks: of both, of the issuer, of the subject."""
    decoders = [
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        pkix.create_signature_algorithm_identifier_decoder(
            algorithm.SIGNATURE_ALGORITHM_IDENTIFIER_MAPPINGS, path="certificate.tbsCertificate.signature"
        ),
        certificate.create_spki_decoder(
            key.SUBJECT_PUBLIC_KEY_ALGORITHM_IDENTIFIER_MAPPINGS, key.SUBJECT_KEY_PARAMETER_ALGORITHM_IDENTIFIER_MAPPINGS
        ),
    ]
    subject_key_identifier = extension.IssuerSubjectKeyIdentifierBinaryEqualValidator(
        subject_auth_key_id_retriever=lambda node: document.get_document_by_name(node, "subject").get_extension_by_oid(
            rfc5280.id_ce_authorityKeyIdentifier
        )
    )
    issuer = [
        name.IssuerSubjectNameBinaryEqualValidator(
            path="certificate.tbsCertificate.subject",
            subject_document_issuer_dn_path="subject:certificate.tbsCertificate.issuer",
        ),
        subject_key_identifier,
        certificate_extension.IssuerSubjectPolicyChainValidator(),
    ]
    subject = [
        certificate_key.SubjectSignatureVerificationValidator(
            tbs_node_retriever=lambda node: node.navigate("^.tbsCertificate"), path="certificate.signature"
        )
    ]
    return (
        validation.ValidatorContainer(validators=decoders, path="certificate"),
        validation.ValidatorContainer(validators=issuer),
        validation.ValidatorContainer(validators=subject),
    )


CERTIFICATES, LISTS, PAIRS = of_certificates(), of_lists(), of_pairs()
linted = 0


def read(path):
    with open(path, "rb") as file:
        return file.read()


for line in sys.stdin.read().splitlines():
    kind, path, *issuer = line.split("\t")
    certificates = loader.RFC5280CertificateDocumentLoader()
    try:
        if kind == "certificate":
            results = CERTIFICATES.validate(certificates.load_der_document(read(path), path).root)
        elif kind == "list":
            loaded = loader.RFC5280CertificateListDocumentLoader().load_der_document(read(path), path)
            results = LISTS.validate(loaded.root)
        else:
            both = {}
            for role, file in (("issuer", issuer[0]), ("subject", path)):
                both[role] = certificates.load_der_document(read(file), file, role, both)
            decoders, of_issuer, of_subject = PAIRS
            results = decoders.validate(both["issuer"].root) + decoders.validate(both["subject"].root)
            results += of_issuer.validate(both["issuer"].root) + of_subject.validate(both["subject"].root)
    except ValueError as error:
        print(json.dumps({"file": path, "severity": "FATAL", "code": "unreadable", "message": str(error)}))
        continue
    linted += 1
    for result in results:
        for described in result.finding_descriptions:
            finding = described.finding
            print(
                json.dumps(
                    {
                        "file": path,
                        "severity": str(finding.severity),
                        "code": finding.code,
                        "message": f"{result.node.path}: {described.message}",
                    }
                )
            )
print(json.dumps({"linted": linted}))
