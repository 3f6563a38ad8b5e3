//! Certificates for the occasion: made by the program's own `pki`, or by rcgen where they must be wrong.

use std::path::PathBuf;

use mtls_gateway::clock::Clock;
use mtls_gateway::pki::{
    AuthorityRequest, ClientRequest, EntryName, Overwrite, ServerRequest, Store, parse_server_name,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// A private CA in a folder of its own, with a server certificate for localhost and the client `client-1`.
pub struct Pki {
    folder: TempDir,
}

/// A client's chain and key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Pki {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Self { folder };
        let store = pki.store();
        store.init(&AuthorityRequest::new(None), Overwrite::Refuse).unwrap();
        let names = ["localhost", "127.0.0.1", "::1", "api.example.com", "*.tenant.example.com"];
        let names = names.into_iter().map(|name| parse_server_name(name).unwrap()).collect();
        store.issue_server(&ServerRequest::new(names), Overwrite::Refuse).unwrap();
        pki.issue_client("client-1");
        pki
    }

    pub fn store(&self) -> Store {
        Store::new(self.folder.path(), Clock::system())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Issues another client with everything as `gateway certs client NAME` does by default.
    pub fn issue_client(&self, name: &str) -> Identity {
        let request = ClientRequest::new(name.parse::<EntryName>().unwrap());
        self.store().issue_client(&request, Overwrite::Refuse).unwrap();
        self.client(name)
    }

    /// The chain and key of a client that was issued.
    pub fn client(&self, name: &str) -> Identity {
        let chain = CertificateDer::pem_slice_iter(&self.read(&format!("clients/{name}.crt")))
            .collect::<Result<_, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_slice(&self.read(&format!("clients/{name}.key"))).unwrap();
        Identity { chain, key }
    }

    /// The CA as something rcgen can sign with, for certificates that the program itself would never issue.
    pub fn issuer(&self) -> Issuer<'static, KeyPair> {
        let key = KeyPair::from_pem(&String::from_utf8(self.read("ca.key")).unwrap()).unwrap();
        Issuer::from_ca_cert_pem(&String::from_utf8(self.read("ca.crt")).unwrap(), key).unwrap()
    }

    /// A client certificate under this CA that is right except for what `spoil` does to it.
    pub fn spoiled(&self, spoil: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        self.spoiled_with_key(&key, spoil)
    }

    pub fn spoiled_with_key(&self, key: &KeyPair, spoil: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = client_params("spoiled");
        spoil(&mut params);
        let certificate = params.signed_by(key, &self.issuer()).unwrap();
        Identity { chain: vec![certificate.der().clone()], key: private_key(key) }
    }
}

/// Parameters of a client certificate as it should be.
pub fn client_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

/// A CA that nobody trusts, or an intermediate when signed by somebody.
pub fn authority_params(name: &str, path_length: Option<u8>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A self-signed CA that nobody trusts.
pub fn foreign_authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    CertifiedIssuer::self_signed(authority_params(name, None), KeyPair::generate().unwrap()).unwrap()
}

/// A good client certificate under any authority.
pub fn client_under(issuer: &Issuer<'_, KeyPair>, name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = client_params(name).signed_by(&key, issuer).unwrap();
    Identity { chain: vec![certificate.der().clone()], key: private_key(&key) }
}

pub fn private_key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key.serialize_der()).unwrap()
}
