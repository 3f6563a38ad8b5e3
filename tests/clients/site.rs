//! Gateways with a certificate of each kind of key, one that requires a certificate in the handshake, and clients with
//! every kind of key: good, expired and revoked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use mtls_gateway::clock::{Clock, WallTime};
use mtls_gateway::pki::{
    AuthorityRequest, ClientRequest, Encryption, EntryName, Form, KeyType, Overwrite, RevocationReason, ServerRequest,
    Store, Validity, parse_server_name,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::upstream::text;
use crate::support::{Gateway, Upstream};

/// Kinds of key that clients have, by the names that `gateway certs` has for them; so are their certificates called.
pub const CLIENT_KEYS: [(&str, KeyType); 5] = [
    ("p256", KeyType::EcdsaP256),
    ("p384", KeyType::EcdsaP384),
    ("ed25519", KeyType::Ed25519),
    ("rsa2048", KeyType::Rsa2048),
    ("rsa4096", KeyType::Rsa4096),
];

/// Kinds of key that the gateway has.
pub const SERVER_KEYS: [(&str, KeyType); 4] = [
    ("p256", KeyType::EcdsaP256),
    ("p384", KeyType::EcdsaP384),
    ("rsa2048", KeyType::Rsa2048),
    ("ed25519", KeyType::Ed25519),
];

/// The password of every PKCS#12 file.
pub const PASSWORD: &str = "changeit";

/// Certificates in files, an upstream that tells what it was told, and the gateways before it.
pub struct Site {
    folder: TempDir,
    _upstream: Upstream,
    gateways: Vec<(&'static str, Gateway)>,
    required: Gateway,
}

/// Which gateway is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// With a server key of this kind; who has no certificate is told so with a 403.
    Open(&'static str),
    /// Without a certificate there is no connection.
    Required,
}

impl Site {
    pub async fn start() -> Self {
        let folder = unpack();
        let upstream = Upstream::answering(|seen| {
            let told = |name: &str| seen.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let length = seen.body.as_ref().map_or(0, bytes::Bytes::len);
            let body = json!({
                "path": seen.uri.path(),
                "verify": told("x-ssl-client-verify"),
                "subject": told("x-ssl-client-s-dn"),
                "bytes": length,
            });
            http::Response::new(text(body.to_string()))
        })
        .await;
        let mut gateways = Vec::new();
        for (kind, _) in SERVER_KEYS {
            let text = configuration(folder.path(), kind, "optional", &upstream);
            gateways.push((kind, Gateway::start_with(&text).await));
        }
        let required = Gateway::start_with(&configuration(folder.path(), "p256", "required", &upstream)).await;
        Self { folder, _upstream: upstream, gateways, required }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn gateway(&self, door: Door) -> &Gateway {
        match door {
            Door::Required => &self.required,
            Door::Open(kind) => &self.gateways.iter().find(|(other, _)| *other == kind).unwrap().1,
        }
    }

    /// The certificate and the key of a client, in PEM.
    pub fn pair(&self, client: &str) -> [PathBuf; 2] {
        ["crt", "key"].map(|end| self.path(&format!("clients/{client}.{end}")))
    }

    /// The same as a PKCS#12 file, as `gateway certs export` writes it.
    pub fn keystore(&self, client: &str, encryption: Encryption) -> PathBuf {
        let end = if encryption == Encryption::Modern { "p12" } else { "old.p12" };
        let path = self.path(&format!("clients/{client}.{end}"));
        if !path.exists() {
            let form = Form::Pkcs12(PASSWORD, encryption);
            store(self.folder.path()).export(client, form, Some(&path), Overwrite::Refuse).unwrap();
        }
        path
    }

    /// The access log's line for the request to this path.
    pub async fn logged(&self, door: Door, path: &str) -> Value {
        self.gateway(door).logged("request", |line| line["path"] == path).await
    }
}

/// A gateway with the certificate of this kind of key.
pub fn configuration(folder: &Path, kind: &str, mode: &str, upstream: &Upstream) -> String {
    let at = |name: &str| folder.join(name);
    format!(
        "[listener]\naddress = \"127.0.0.1:0\"\n[tls]\ncertificate = {:?}\nprivate_key = {:?}\n[client_auth]\nmode = \
         \"{mode}\"\nca = {:?}\ncrl = {:?}\n[drain]\ndelay = \"0s\"\ntimeout = \"5s\"\n[admin]\naddress = \
         \"127.0.0.1:0\"\n[upstream.api]\nurl = \"http://{}\"\n",
        at(&format!("{kind}.crt")),
        at(&format!("{kind}.key")),
        at("ca.crt"),
        at("ca.crl"),
        upstream.address,
    )
}

fn store(folder: &Path) -> Store {
    Store::new(folder, Clock::system())
}

/// Every file of the certificates' folder: keys of RSA take long to make, so all tests share them.
static FILES: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    let mut files = Vec::new();
    for directory in [folder.path().to_path_buf(), folder.path().join("clients")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                files.push((path.strip_prefix(folder.path()).unwrap().to_path_buf(), fs::read(&path).unwrap()));
            }
        }
    }
    files
});

/// A folder of one's own with those files.
fn unpack() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("clients")).unwrap();
    for (name, bytes) in &*FILES {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        if path.extension().is_some_and(|end| end == "key") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    folder
}

fn make(folder: &Path) {
    let store = store(folder);
    let mut authority = AuthorityRequest::new(None);
    // Old enough for a certificate under it to have expired.
    authority.profile.validity = days(-30, 3650);
    store.init(&authority, Overwrite::Refuse).unwrap();
    for (kind, key_type) in SERVER_KEYS {
        let names = ["localhost", "127.0.0.1", "api.example.com", "*.tenant.example.com"];
        let mut request = ServerRequest::new(names.map(|name| parse_server_name(name).unwrap()).into());
        request.key_type = key_type;
        store.issue_server(&request, Overwrite::Replace).unwrap();
        for end in ["crt", "key"] {
            fs::copy(folder.join(format!("server.{end}")), folder.join(format!("{kind}.{end}"))).unwrap();
        }
    }
    let issue = |name: &str, key_type, validity| {
        let mut request = ClientRequest::new(name.parse::<EntryName>().unwrap());
        (request.key_type, request.validity) = (key_type, validity);
        store.issue_client(&request, Overwrite::Refuse).unwrap();
    };
    for (name, key_type) in CLIENT_KEYS {
        issue(name, key_type, Validity::Days(90));
    }
    issue("expired", KeyType::EcdsaP256, days(-2, -1));
    issue("revoked", KeyType::Rsa2048, Validity::Days(90));
    store.revoke(&["revoked".to_owned()], RevocationReason::KeyCompromise).unwrap();
}

fn days(from: i64, to: i64) -> Validity {
    let now = Clock::system().now().unix_seconds();
    let day = |days: i64| WallTime::from_unix_seconds(now + days * 86_400);
    Validity::Between { not_before: day(from), not_after: day(to) }
}
