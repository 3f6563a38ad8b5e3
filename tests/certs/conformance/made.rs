//! One of every kind that `gateway certs` can write, and what each of them is for.
//!
//! The files of all folders are looked at, so a kind that is made here is read by everybody, whether or not it has a row.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::Serialize;

use crate::support::{Sandbox, tool};

pub const KINDS: [&str; 6] = ["p256", "p384", "ed25519", "rsa2048", "rsa3072", "rsa4096"];

/// The reasons that `revoke` takes.
pub const REASONS: [&str; 7] = [
    "unspecified",
    "key-compromise",
    "ca-compromise",
    "affiliation-changed",
    "superseded",
    "cessation-of-operation",
    "privilege-withdrawn",
];

/// More entries than any buffer of a reader.
pub const MANY: usize = 1000;

/// A leaf with its chain, by whom it is to be believed, and what is to come of it.
#[derive(Debug, Serialize)]
pub struct Row {
    pub what: String,
    /// The name by which it is called; none for a client.
    pub host: Option<String>,
    /// The leaf and what goes along with it.
    pub chain: String,
    pub key: Option<String>,
    /// One trust anchor.
    pub anchor: String,
    /// The lists of every CA in the chain.
    pub lists: Vec<String>,
    /// Why it, or a CA above it, was revoked.
    pub revoked: Option<String>,
    /// The kinds of key in the chain, the anchor's too.
    pub kinds: Vec<&'static str>,
}

/// A certificate or list by itself, in DER.
#[derive(Debug)]
pub struct Single {
    pub file: String,
    pub list: bool,
}

/// Where that certificate or list of a file lies by itself.
pub fn single(file: &str, number: usize) -> String {
    format!("single/{}.{number}.der", file.replace('/', "_"))
}

pub struct Made {
    pub sandbox: Sandbox,
    pub rows: Vec<Row>,
    pub singles: Vec<Single>,
    /// The files that those come from.
    pub files: Vec<String>,
}

impl Made {
    /// The same for tests that run at once. `None` when there is no openssl, without which half of it cannot be made.
    pub fn shared() -> Option<Arc<Self>> {
        static MADE: Mutex<Weak<Made>> = Mutex::new(Weak::new());
        let mut shared = MADE.lock().expect("another test could not make it");
        if let Some(made) = shared.upgrade() {
            return Some(made);
        }
        tool("openssl", Path::new("."), &["version"])?;
        let mut made = Self { sandbox: Sandbox::new(), rows: Vec::new(), singles: Vec::new(), files: Vec::new() };
        made.every_kind_of_key();
        made.every_kind_of_name();
        made.constrained();
        made.below_others();
        made.revoked();
        made.signed();
        made.renewed_and_rotated();
        made.imported();
        made.take_apart();
        let made = Arc::new(made);
        *shared = Arc::downgrade(&made);
        Some(made)
    }

    /// `gateway certs` in this folder.
    #[track_caller]
    fn certs<I: AsRef<OsStr>>(&self, folder: &str, arguments: impl IntoIterator<Item = I>) {
        let words = arguments.into_iter().map(|word| word.as_ref().to_owned());
        self.sandbox.succeed(["--dir".into(), folder.into()].into_iter().chain(words));
    }

    fn openssl(&self, arguments: &[&str]) {
        let ran = tool("openssl", &self.sandbox.path(""), arguments).unwrap();
        assert_eq!(ran.code, 0, "openssl {arguments:?}: {ran:?}");
    }

    /// A leaf right below the only CA of its folder.
    fn row(&mut self, folder: &str, file: &str, host: Option<&str>) -> &mut Row {
        let chain = format!("{folder}/{file}.crt");
        let key = format!("{folder}/{file}.key");
        self.rows.push(Row {
            what: format!("{folder} {}", file.trim_start_matches("clients/")),
            host: host.map(str::to_owned),
            key: self.sandbox.path(&key).exists().then_some(key),
            chain,
            anchor: format!("{folder}/ca.crt"),
            lists: vec![format!("{folder}/ca.crl")],
            revoked: None,
            kinds: vec!["p256"],
        });
        self.rows.last_mut().unwrap()
    }

    fn client(&mut self, folder: &str, name: &str, more: &[&str]) -> &mut Row {
        self.certs(folder, [&["client", "--name", name], more].concat());
        self.row(folder, &format!("clients/{name}"), None)
    }

    fn every_kind_of_key(&mut self) {
        for kind in KINDS {
            self.certs(kind, ["init", "--key-type", kind]);
            self.certs(kind, ["server", "--key-type", kind]);
            self.row(kind, "server", Some("localhost")).kinds = vec![kind];
            self.client(kind, "client-1", &["--key-type", kind]).kinds = vec![kind];
        }
    }

    fn every_kind_of_name(&mut self) {
        let folder = "names";
        let longest = "é".repeat(64);
        // Past 2050, where dates are written in another way (RFC 5280 section 4.1.2.5).
        self.certs(folder, ["init", "--org", "Größe & Söhne", "--cn", &longest, "--days", "36500"]);
        self.certs(folder, ["crl", "--days", "20000"]);
        for (number, (name, host)) in [
            ("api.example.com", "api.example.com"),
            ("*.example.com", "any.example.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ]
        .into_iter()
        .enumerate()
        {
            self.certs(folder, ["server", "--name", name, "--force"]);
            let file = format!("server-{number}");
            for suffix in ["crt", "key"] {
                let from = self.sandbox.path(&format!("{folder}/server.{suffix}"));
                fs::copy(from, self.sandbox.path(&format!("{folder}/{file}.{suffix}"))).unwrap();
            }
            self.row(folder, &file, Some(host)).what = format!("server {name}");
        }
        self.certs(folder, ["server", "--name", "a.example", "--force", "--san", "b.example", "10.0.0.1", "::1"]);
        self.row(folder, "server", Some("::1"));
        self.client(folder, "under_score", &["--days", "30000"]);
        self.client(folder, "a.example", &["--org", "Société", "--ou", "Ω", "--cn", &longest]);
        self.client(folder, "spiffe", &["--san", "spiffe://example.org/ns/a/sa/b"]);
        self.client(folder, "mail", &["--san", "user+tag@example.com"]);
        self.client(folder, "addresses", &["--san", "10.1.2.3", "2001:db8::2"]);
        self.client(folder, "uri", &["--san", "https://example.com/a?b=c%20d", "--cn", "a, \"b\" + <c>; #\\ "]);
        let many: Vec<String> = (0..40).map(|number| format!("host-{number}.example.com")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let all = ["spiffe://example.org/a", "u@example.com", "10.0.0.9", "*.wild.example.com", "urn:x:y"];
        self.client(folder, "many", &[&["--san"], &all[..], &many].concat());
        self.client(folder, "rsa-below-p256", &["--key-type", "rsa3072"]);
        self.client(folder, "ed25519-below-p256", &["--key-type", "ed25519"]).kinds.push("ed25519");
        self.sandbox
            .write("clients.csv", "name,cn,san,days,key_type\nfrom-a,\"A, first\",a.example 10.0.0.1,30,p384\nb\n");
        self.certs(folder, ["client", "--from", "clients.csv", "--org", "Org", "--ou", "Unit"]);
        for name in ["from-a", "b"] {
            self.row(folder, &format!("clients/{name}"), None);
        }
        self.certs("bootstrapped", ["bootstrap", "--server", "api.example.com", "--client", "c.example"]);
        self.row("bootstrapped", "server", Some("api.example.com"));
        self.row("bootstrapped", "clients/c.example", None);
    }

    fn constrained(&mut self) {
        let rules = ["dns:example.com", "ip:10.0.0.0/8", "ip:2001:db8::/33", "exclude:dns:s.example.com"];
        let excluded = ["exclude:ip:10.9.0.0/16", "exclude:dns:example.org"];
        self.certs("constrained", [&["init", "--name-constraints"], &rules[..], &excluded].concat());
        let names = ["server", "--name", "api.example.com", "--san", "10.1.2.3", "2001:db8::1", "*.w.example.com"];
        self.certs("constrained", names);
        self.row("constrained", "server", Some("api.example.com"));
        self.client("constrained", "c.example.com", &["--san", "c.example.com", "spiffe://example.org/c"]);
        // OpenSSL would hold an address in the common name against the hosts.
        self.certs("addressing", [&["init", "--name-constraints"], &rules[..]].concat());
        self.certs("addressing", ["server", "--name", "10.1.2.3"]);
        self.row("addressing", "server", Some("10.1.2.3"));
        // Who has no name of that kind may be issued for.
        self.certs("mailing", ["init", "--name-constraints", "email:example.com", "exclude:email:x.example.com"]);
        self.client("mailing", "c.example.com", &[]);
        self.certs("forbidding", ["init", "--name-constraints", "exclude:ip:0.0.0.0/0", "exclude:ip:::/0"]);
        self.client("forbidding", "c.example.com", &[]);
    }

    /// Leaves of CAs below others, of which each list is asked.
    fn below_others(&mut self) {
        self.certs("offline", ["init", "--offline-root", "root", "--cn", "Example CA", "--key-type", "p384"]);
        self.certs("offline", ["server", "--name", "api.example.com"]);
        let chained = |row: &mut Row, anchor: &str, lists: &[&str]| {
            row.anchor = anchor.to_owned();
            row.lists = lists.iter().map(|folder| format!("{folder}/ca.crl")).collect();
        };
        let lists = ["root", "offline"];
        chained(self.row("offline", "server", Some("api.example.com")), "root/ca.crt", &lists);
        chained(self.client("offline", "client-1", &[]), "root/ca.crt", &lists);
        for kind in ["rsa2048", "ed25519"] {
            let folder = format!("{kind}/intermediates/team");
            self.certs(kind, ["intermediate", "--name", "team", "--key-type", kind, "--org", "Team"]);
            let row = self.client(&folder, "client-1", &["--key-type", kind]);
            row.kinds = vec![kind];
            chained(row, &format!("{kind}/ca.crt"), &[kind, &folder]);
        }
        // Two in between, the upper one with room for the lower one, both with limits.
        let limits = ["--name-constraints", "dns:example.com", "exclude:ip:0.0.0.0/0", "exclude:ip:::/0"];
        self.certs("p384", [&["intermediate", "--name", "upper", "--path-length", "1"], &limits[..]].concat());
        let (upper, lower) = ("p384/intermediates/upper", "p384/intermediates/upper/intermediates/lower");
        self.certs(upper, ["intermediate", "--name", "lower", "--name-constraints", "dns:low.example.com"]);
        self.certs(lower, ["server", "--name", "api.low.example.com"]);
        let lists = ["p384", upper, lower];
        chained(self.row(lower, "server", Some("api.low.example.com")), "p384/ca.crt", &lists);
        chained(self.client(lower, "a.low.example.com", &[]), "p384/ca.crt", &lists);
        // One that is revoked, with all that is below it.
        let folder = "p256/intermediates/closed";
        self.certs("p256", ["intermediate", "--name", "closed"]);
        let row = self.client(folder, "client-1", &[]);
        row.revoked = Some("ca-compromise".to_owned());
        chained(row, "p256/ca.crt", &["p256", folder]);
        self.certs("p256", ["revoke", "closed", "--reason", "ca-compromise"]);
    }

    fn revoked(&mut self) {
        for kind in ["p384", "ed25519", "rsa2048"] {
            let row = self.client(kind, "gone", &["--key-type", kind]);
            (row.revoked, row.kinds) = (Some("superseded".to_owned()), vec![kind]);
            self.certs(kind, ["revoke", "gone", "--reason", "superseded"]);
        }
        self.certs("revoking", ["init"]);
        for reason in REASONS {
            self.client("revoking", reason, &[]).revoked = Some(reason.to_owned());
            self.certs("revoking", ["revoke", reason, "--reason", reason]);
        }
        self.client("revoking", "good", &[]);
        self.certs("revoking", ["crl", "--days", "7"]);
        self.certs("crowd", ["init"]);
        let table = (0..MANY).fold("name\n".to_owned(), |mut table, number| {
            let _ = writeln!(table, "client-{number}");
            table
        });
        self.sandbox.write("crowd.csv", table);
        self.certs("crowd", ["client", "--from", "crowd.csv"]);
        let names: Vec<String> = (0..MANY).map(|number| format!("client-{number}")).collect();
        self.certs(
            "crowd",
            ["revoke", "--reason", "cessation-of-operation"].into_iter().chain(names.iter().map(String::as_str)),
        );
        self.row("crowd", &format!("clients/client-{}", MANY - 1), None).revoked =
            Some("cessation-of-operation".to_owned());
        self.client("crowd", "good", &[]);
        // The others are like the last one: reading a thousand of them would say nothing more.
        for name in &names[..MANY - 1] {
            fs::remove_file(self.sandbox.path(&format!("crowd/clients/{name}.crt"))).unwrap();
        }
    }

    /// What comes of requests that ask for more than they should.
    fn signed(&mut self) {
        let folder = "signing";
        self.certs(folder, ["init", "--key-type", "rsa2048"]);
        let odd = "[req]\ndistinguished_name=dn\nreq_extensions=wishes\nprompt=no\nutf8=yes\nstring_mask=utf8only\n\
                   [dn]\nC=DE\nST=Somewhere\nL=Ort\nO=Größe AG\n0.OU=one\n1.OU=two\nCN=boss\nemailAddress=boss@example.com\n\
                   [wishes]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n\
                   extendedKeyUsage=anyExtendedKeyUsage\nsubjectAltName=DNS:a.example,email:boss@example.com,IP:10.0.0.1\n\
                   nsComment=hello\ncertificatePolicies=1.2.3.4\n";
        self.sandbox.write("odd.cnf", odd);
        for (kind, options) in [
            ("rsa", &["rsa:3072"][..]),
            ("p521", &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"]),
            ("ed25519", &["ed25519"]),
        ] {
            let (key, csr) = (format!("{kind}.key"), format!("{kind}.csr"));
            let tail = ["-nodes", "-config", "odd.cnf", "-keyout", &key, "-out", &csr];
            self.openssl(&[&["req", "-new", "-newkey"], options, &tail].concat());
            for (name, more) in [("plain", &[][..]), ("taken", &["--accept-subject", "--accept-names"])] {
                let name = format!("{kind}-{name}");
                self.certs(folder, [&["sign", &csr, "--name", &name], more].concat());
                let row = self.row(folder, &format!("clients/{name}"), None);
                (row.key, row.kinds) = (Some(key.clone()), vec!["rsa2048", kind]);
            }
        }
        self.certs(folder, ["sign", "rsa.csr", "--server", "--san", "api.example.com"]);
        let row = self.row(folder, "server", Some("api.example.com"));
        (row.key, row.kinds) = (Some("rsa.key".to_owned()), vec!["rsa2048"]);
    }

    fn renewed_and_rotated(&mut self) {
        for (folder, kind) in [("rotating", "p256"), ("rotating-rsa", "rsa2048")] {
            self.certs(folder, ["init", "--key-type", kind]);
            self.certs(folder, ["server", "--name", "api.example.com"]);
            for name in ["gone", "renewed", "rekeyed"] {
                self.certs(folder, ["client", "--name", name]);
            }
            self.certs(folder, ["intermediate", "--name", "i"]);
            self.certs(folder, ["revoke", "gone"]);
            self.certs(folder, ["renew", "renewed", "server"]);
            self.certs(folder, ["renew", "rekeyed", "--reuse-key"]);
            self.certs(folder, ["renew", "i"]);
            let old = format!("{folder}-old.crt");
            fs::copy(self.sandbox.path(&format!("{folder}/ca.crt")), self.sandbox.path(&old)).unwrap();
            self.certs(folder, ["rotate-ca"]);
            self.certs(folder, ["client", "--name", "cross"]);
            // Who trusts the old CA alone believes what either issued.
            for (file, host) in [
                ("server", Some("api.example.com")),
                ("clients/renewed", None),
                ("clients/rekeyed", None),
                ("clients/cross", None),
                ("clients/gone", None),
            ] {
                let row = self.row(folder, file, host);
                (row.anchor, row.kinds) = (old.clone(), vec!["p256", kind]);
                row.revoked = file.ends_with("gone").then(|| "unspecified".to_owned());
            }
            self.certs(folder, ["renew", "--previous-ca"]);
            let below = format!("{folder}/intermediates/i");
            self.certs(&below, ["client", "--name", "below"]);
            let row = self.row(&below, "clients/below", None);
            (row.anchor, row.kinds) = (old.clone(), vec!["p256", kind]);
            row.lists.push(format!("{folder}/ca.crl"));
            // The new CA's certificate comes first.
            let new = format!("{folder}-new.crt");
            let bundle = String::from_utf8(self.sandbox.read(&format!("{folder}/ca.crt"))).unwrap();
            let end = "-----END CERTIFICATE-----\n";
            self.sandbox.write(&new, bundle.split_inclusive(end).next().unwrap());
            let row = self.row(folder, "clients/renewed", None);
            row.what = format!("{folder} renewed, by the new CA");
            (row.anchor, row.kinds) = (new, vec!["p256", kind]);
        }
        // When it is over there is one CA and one list.
        self.certs("rotated", ["init"]);
        self.certs("rotated", ["client", "--name", "gone"]);
        self.certs("rotated", ["rotate-ca", "--cn", "Next CA", "--org", "Next", "--key-type", "p384"]);
        self.certs("rotated", ["rotate-ca", "--finish", "--force"]);
        self.client("rotated", "client-1", &[]);
    }

    fn imported(&mut self) {
        let subject = "/C=DE/O=Gr\u{f6}\u{df}e AG/OU=first/OU=second/DC=example/DC=com/CN=CA+serialNumber=1";
        let index = "R\t491231235959Z\t250101000000Z,keyTime,20241224180000Z\t80\tunknown\t/CN=a\n\
                     R\t491231235959Z\t250102000000Z,holdInstruction,holdInstructionReject\t01\tunknown\t/CN=b\n\
                     R\t491231235959Z\t250103000000Z,superseded\t00FF00FF\tunknown\t/CN=c\n";
        let configuration = "[ca]\ndefault_ca=x\n[x]\ndatabase=imported.txt\ncrlnumber=imported.number\n\
                             default_md=sha256\ndefault_crl_days=30\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n";
        self.sandbox.write("imported.txt", index);
        self.sandbox.write("imported.number", "0A\n");
        self.sandbox.write("imported.cnf", configuration);
        for (folder, kind, options) in [
            ("imported", "rsa2048", &["rsa:2048"][..]),
            ("imported-p521", "p521", &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"]),
        ] {
            let (key, certificate, list) = (format!("{folder}.pem"), format!("{folder}.crt"), format!("{folder}.list"));
            let usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-utf8", "-days", "900", "-subj", subject];
            let files = ["-nodes", "-keyout", key.as_str(), "-out", &certificate];
            self.openssl(&[&["req", "-x509", "-new", "-newkey"], options, &files, &usage].concat());
            let signer = ["-keyfile", key.as_str(), "-cert", &certificate, "-out", &list];
            self.openssl(&[&["ca", "-gencrl", "-config", "imported.cnf"], &signer[..]].concat());
            self.certs(folder, ["import-ca", "--cert", &certificate, "--key", &key, "--crl", &list]);
            self.certs(folder, ["server", "--name", "api.example.com"]);
            self.row(folder, "server", Some("api.example.com")).kinds.push(kind);
            self.client(folder, "client-1", &[]).kinds.push(kind);
            let row = self.client(folder, "gone", &[]);
            row.revoked = Some("affiliation-changed".to_owned());
            row.kinds.push(kind);
            self.certs(folder, ["revoke", "gone", "--reason", "affiliation-changed"]);
        }
    }

    /// Every certificate and list of every file by itself.
    fn take_apart(&mut self) {
        fs::create_dir(self.sandbox.path("single")).unwrap();
        for file in self.sandbox.files() {
            let bytes = self.sandbox.read(&file);
            let ders: Vec<Vec<u8>> = match file.rsplit_once('.') {
                Some((_, "crt")) => {
                    CertificateDer::pem_slice_iter(&bytes).map(|der| der.unwrap().as_ref().to_vec()).collect()
                }
                Some((_, "crl")) => CertificateRevocationListDer::pem_slice_iter(&bytes)
                    .map(|der| der.unwrap().as_ref().to_vec())
                    .collect(),
                _ => continue,
            };
            assert!(!ders.is_empty(), "{file} is empty");
            self.files.push(file.clone());
            for (number, der) in ders.into_iter().enumerate() {
                let by_itself = single(&file, number);
                self.sandbox.write(&by_itself, der);
                self.singles.push(Single { file: by_itself, list: file.ends_with(".crl") });
            }
        }
    }
}
