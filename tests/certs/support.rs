//! Running the binary, looking at what it left behind, and making what it would not make.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mtls_gateway::clock::{Clock, WallTime};
use mtls_gateway::pki::{AuthorityRequest, Overwrite, Store, Validity};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// A folder of one's own.
pub struct Sandbox {
    directory: tempfile::TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// One with a CA in `certs/`.
    pub fn with_authority() -> Self {
        let sandbox = Self::new();
        sandbox.succeed(["init"]);
        sandbox
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    pub fn store(&self) -> Store {
        self.store_at(Clock::system())
    }

    pub fn store_at(&self, clock: Clock) -> Store {
        Store::new(self.path("certs"), clock)
    }

    /// `gateway certs` with these arguments, ready to be started.
    pub fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.arg("certs").args(arguments).current_dir(self.directory.path());
        command.env_remove("GATEWAY_CERTS_DIR").stdin(Stdio::null());
        command
    }

    /// Runs `gateway certs`, whose output must never hold a private key.
    pub fn run<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// Runs what must go well; returns what it said.
    #[track_caller]
    pub fn succeed<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    }

    /// Runs what must be refused with this exit code, and must not change a single file.
    #[track_caller]
    pub fn refuse<I: AsRef<OsStr>>(&self, code: i32, arguments: impl IntoIterator<Item = I>) -> Ran {
        let before = self.snapshot();
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{ran:?}");
        assert_eq!(self.snapshot(), before, "nothing was changed: {ran:?}");
        assert!(!ran.err.contains("panicked"), "{ran:?}");
        ran
    }

    /// Every file and its contents, without the lock, which says nothing.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.directory.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name() != Some(OsStr::new(".lock")) {
                    let contents = fs::read(&path).unwrap();
                    found.insert(path, contents);
                }
            }
        }
        found
    }

    pub fn files(&self) -> Vec<String> {
        let root = self.directory.path();
        self.snapshot().keys().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    pub fn read(&self, relative: &str) -> Vec<u8> {
        fs::read(self.path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
    }

    pub fn write(&self, relative: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    pub fn mode(&self, relative: &str) -> u32 {
        fs::metadata(self.path(relative)).unwrap().permissions().mode() & 0o7777
    }

    /// The certificates of a PEM file.
    pub fn chain(&self, relative: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(&self.read(relative)).map(Result::unwrap).collect()
    }

    pub fn index(&self) -> serde_json::Value {
        serde_json::from_slice(&self.read("certs/index.json")).unwrap()
    }

    /// `name` and `state` of every row that `list` shows.
    pub fn states(&self) -> Vec<(String, String)> {
        let listed: serde_json::Value = serde_json::from_str(&self.run(["list", "--output", "json"]).out).unwrap();
        let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
        listed["certificates"].as_array().unwrap().iter().map(|row| (text(row, "name"), text(row, "state"))).collect()
    }

    /// Puts a CA in the folder as somebody else would.
    pub fn place_authority(&self, certificate: &str, key: &str) {
        self.write("certs/ca.crt", certificate);
        self.write("certs/ca.key", key);
        fs::set_permissions(self.path("certs/ca.key"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Makes a CA with the library, valid in this window of days from now.
    pub fn init_between(&self, from_days: i64, to_days: i64) {
        let mut request = AuthorityRequest::new(None);
        request.profile.validity = between(from_days, to_days);
        self.store().init(&request, Overwrite::Refuse).unwrap();
    }
}

/// A validity in days from now.
pub fn between(from_days: i64, to_days: i64) -> Validity {
    let now = Clock::system().now().unix_seconds();
    let day = |days: i64| WallTime::from_unix_seconds(now + days * 86_400);
    Validity::Between { not_before: day(from_days), not_after: day(to_days) }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        for text in [&out, &err] {
            assert!(!text.contains("PRIVATE KEY"), "a private key on the terminal");
        }
        Self { code: output.status.code().unwrap(), out, err }
    }
}

impl Ran {
    /// The one line of an error.
    #[track_caller]
    pub fn error(&self) -> &str {
        let mut lines = self.err.lines().filter(|line| line.starts_with("error: "));
        let line = lines.next().unwrap_or_else(|| panic!("no error in {self:?}"));
        assert_eq!(lines.next(), None, "one message: {self:?}");
        line
    }
}

/// Runs another tool; `None` when it is missing, which is a failure where `CI` is set.
pub fn tool(program: &str, directory: &Path, arguments: &[&str]) -> Option<Ran> {
    match Command::new(program).args(arguments).current_dir(directory).stdin(Stdio::null()).output() {
        Ok(output) => Some(Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Err(error) if std::env::var_os("CI").is_some() => panic!("{program} is needed in CI: {error}"),
        Err(error) => {
            eprintln!("SKIPPED: {program} cannot be run here: {error}");
            None
        }
    }
}
