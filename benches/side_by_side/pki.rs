//! The certificates of a run: one set on P-256, one on RSA-2048, made by the gateway's own CA.

use std::fs;
use std::path::{Path, PathBuf};

use mtls_gateway::clock::Clock;
use mtls_gateway::pki::{AuthorityRequest, ClientRequest, KeyType, Overwrite, ServerRequest, Store, parse_server_name};

/// The kind of every key of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Keys {
    P256,
    Rsa2048,
}

impl Keys {
    pub(crate) fn folder(self, run: &Path) -> PathBuf {
        run.join(match self {
            Self::P256 => "p256",
            Self::Rsa2048 => "rsa",
        })
    }
}

/// Makes both sets below the run's folder.
pub(crate) fn make(run: &Path) {
    for (keys, key_type) in [(Keys::P256, KeyType::EcdsaP256), (Keys::Rsa2048, KeyType::Rsa2048)] {
        let folder = keys.folder(run);
        let store = Store::new(&folder, Clock::system());
        let mut authority = AuthorityRequest::new(None);
        authority.key_type = key_type;
        store.init(&authority, Overwrite::Refuse).unwrap();
        let mut server = ServerRequest::new(vec![parse_server_name("localhost").unwrap()]);
        server.key_type = key_type;
        store.issue_server(&server, Overwrite::Refuse).unwrap();
        let mut client = ClientRequest::new("client-1".parse().unwrap());
        client.key_type = key_type;
        store.issue_client(&client, Overwrite::Refuse).unwrap();
        // haproxy wants both in one file.
        let both = ["server.crt", "server.key"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
        fs::write(folder.join("server.pem"), both.concat()).unwrap();
    }
}
