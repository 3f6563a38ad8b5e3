//! Those that are measured: how each is configured, started and stopped.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::load::{Client, Tls};
use crate::machine::{self, Group, PEER_CORE, Quota};
use crate::pki::Keys;

/// A program with its place.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Uses OpenSSL 3.5, from a tree of Debian 13.
    pub(crate) tree: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With both kinds of its buffering on or off.
    Nginx {
        buffering: bool,
    },
    Haproxy,
    /// The floor: no HTTP at all.
    HaproxyTcp,
    Gateway(PathBuf),
}

/// What a row wants of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Setup {
    pub(crate) keys: Keys,
    pub(crate) log: bool,
    pub(crate) quota: Option<Quota>,
    /// Routes of the gateway besides the one that is used.
    pub(crate) routes: usize,
    /// A name server that knows `api.test.local`, and the port behind that name, in place of the usual upstream.
    pub(crate) discovered: Option<(SocketAddr, u16)>,
    /// Under callgrind, which counts instructions.
    pub(crate) counted: bool,
}

impl Setup {
    pub(crate) const USUAL: Self =
        Self { keys: Keys::P256, log: false, quota: None, routes: 0, discovered: None, counted: false };
}

/// What every instance of a run shares.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) run: PathBuf,
    pub(crate) upstream: SocketAddr,
}

/// A peer that runs; it ends with this.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    group: Group,
    child: Child,
    pub(crate) started: Instant,
}

impl Peer {
    /// Whether it belongs to the project.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Gateway(_))
    }

    /// What it says of itself.
    pub(crate) fn version(&self) -> String {
        let (program, argument) = match &self.kind {
            Kind::Nginx { .. } => (PathBuf::from("nginx"), "-V"),
            Kind::Haproxy | Kind::HaproxyTcp => (PathBuf::from("haproxy"), "-vv"),
            Kind::Gateway(path) => (path.clone(), "--version"),
        };
        let mut command = match &self.tree {
            Some(tree) => {
                let mut command = Command::new("chroot");
                command.arg(tree).arg(program);
                command
            }
            None => Command::new(program),
        };
        let output = command.arg(argument).output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let wanted = ["nginx version", "HAProxy version", "built with", "Running on OpenSSL", "gateway "];
        let lines = text.lines().filter(|line| wanted.iter().any(|start| line.starts_with(start)));
        lines.collect::<Vec<_>>().join(", ")
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(&self, site: &Site, setup: Setup) -> Instance {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::Builder::new().prefix("peer-").tempdir_in(&site.run).unwrap().keep();
        let files = Files { site, setup, folder: &folder, port };
        let command = match &self.kind {
            Kind::Nginx { buffering } => {
                let config = files.nginx(*buffering);
                vec!["nginx".into(), "-c".into(), config, "-e".into(), folder.join("error.log")]
            }
            Kind::Haproxy => vec!["haproxy".into(), "-db".into(), "-f".into(), files.haproxy("haproxy.cfg")],
            Kind::HaproxyTcp => vec!["haproxy".into(), "-db".into(), "-f".into(), files.haproxy("haproxy-tcp.cfg")],
            Kind::Gateway(path) => {
                vec![path.clone(), "run".into(), "-c".into(), files.gateway()]
            }
        };
        let group = Group::new(setup.quota);
        // Joins its groups before it is itself, so that all it does is counted.
        let mut shell = Command::new("sh");
        let script = r#"while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@""#;
        shell.args(["-c", script, "sh"]).args(group.doors()).arg("--");
        shell.args(["taskset", "-c", &PEER_CORE.to_string()]);
        if let Some(tree) = &self.tree {
            shell.arg("chroot").arg(tree);
        }
        if setup.counted {
            shell.args(["valgrind", "--tool=callgrind"]);
            shell.arg(format!("--callgrind-out-file={}", folder.join("callgrind.out").display()));
        }
        let open = |name: &str| fs::OpenOptions::new().create(true).append(true).open(folder.join(name)).unwrap();
        shell.args(command).stdin(Stdio::null()).stdout(open("access.log")).stderr(open("stderr.log"));
        let started = Instant::now();
        let child = shell.spawn().unwrap();
        let mut instance = Instance { address: ([127, 0, 0, 1], port).into(), folder, group, child, started };
        instance.await_listening(&self.name);
        instance
    }

    /// That it does what it is measured for: full handshakes, and the answer with the headers that all have.
    pub(crate) fn check(&self, site: &Site, instance: &Instance, tls: Tls) {
        if !tls.certificate {
            return;
        }
        let head = Client::new(&site.run, tls, false).check(instance.address);
        let passed_on = ["server", "date", "content-type", "content-length"];
        let own = ["x-request-id"].into_iter().filter(|_| self.kind != Kind::HaproxyTcp);
        for name in passed_on.into_iter().chain(own) {
            assert_eq!(head.matches(&format!("\r\n{name}: ")).count(), 1, "{}: {name} in {head}", self.name);
        }
    }
}

struct Files<'a> {
    site: &'a Site,
    setup: Setup,
    folder: &'a Path,
    port: u16,
}

impl Files<'_> {
    fn nginx(&self, buffering: bool) -> PathBuf {
        let log = if self.setup.log {
            format!("access_log {} fields buffer=64k flush=1s;", self.folder.join("access.log").display())
        } else {
            "access_log off;".to_owned()
        };
        let (buffering, first) = if buffering { ("on", "16k") } else { ("off", "64k") };
        self.fill("nginx.conf", &[("BUFFERING", buffering), ("FIRST", first), ("LOG", &log)])
    }

    fn haproxy(&self, name: &str) -> PathBuf {
        let (target, frontend) =
            if self.setup.log { ("log stdout len 4096 format raw local0", "log global") } else { ("", "") };
        self.fill(name, &[("LOG_GLOBAL", frontend), ("LOG", target)])
    }

    fn fill(&self, name: &str, more: &[(&str, &str)]) -> PathBuf {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name);
        let mut text = fs::read_to_string(template).unwrap();
        let (certs, folder) = (self.certs(), self.folder.display().to_string());
        let (upstream, port) = (self.site.upstream.to_string(), self.port.to_string());
        let usual = [("FOLDER", &*folder), ("CERTS", &*certs), ("UPSTREAM", &*upstream), ("PORT", &*port)];
        for (placeholder, value) in more.iter().chain(&usual) {
            text = text.replace(placeholder, value);
        }
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn certs(&self) -> String {
        self.setup.keys.folder(&self.site.run).display().to_string()
    }

    /// Its defaults, but for one worker as everyone has, bodies as long as the rows need, and no wait at the end.
    fn gateway(&self) -> PathBuf {
        let Self { setup, port, .. } = self;
        let certs = self.certs();
        let upstream = match setup.discovered {
            None => format!("[upstream.api]\nurl = \"http://{}\"\n", self.site.upstream),
            Some((resolver, port)) => format!(
                "[upstream.api]\nurl = \"http://api.test.local:{port}\"\n[upstream.api.dns]\nresolvers = [\"{resolver}\"]\n"
            ),
        };
        let mut text = format!(
            "[runtime]\nworkers = 1\n[listener]\naddress = \"127.0.0.1:{port}\"\n\
             [tls]\ncertificate = \"{certs}/server.crt\"\nprivate_key = \"{certs}/server.key\"\n\
             [client_auth]\nca = [\"{certs}/ca.crt\"]\n[drain]\ndelay = \"0s\"\n\
             [logs]\nformat = \"json\"\naccess = {}\n{upstream}\
             [[route]]\npath = \"/*\"\nupstream = \"api\"\nmax_request_body = \"200MiB\"\n",
            setup.log
        );
        for number in 0..setup.routes {
            text += &format!("[[route]]\npath = \"/route-{number}/x/*\"\nupstream = \"api\"\n");
        }
        let path = self.folder.join("gateway.toml");
        fs::write(&path, text).unwrap();
        path
    }
}

impl Instance {
    fn await_listening(&mut self, name: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{name} does not listen: {}",
                fs::read_to_string(self.folder.join("stderr.log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// CPU time of all its processes and threads.
    pub(crate) fn cpu(&self) -> Duration {
        machine::cpu(&self.group, self.child.id())
    }

    /// What it holds in memory.
    pub(crate) fn memory(&self) -> u64 {
        machine::memory(self.child.id())
    }

    /// The most it ever held.
    pub(crate) fn peak_memory(&self) -> u64 {
        machine::peak_memory(self.child.id())
    }

    /// How long its log is by now; then it is emptied, or it would fill the disk.
    pub(crate) fn empty_log(&self) -> u64 {
        let log = self.folder.join("access.log");
        let length = fs::metadata(&log).map_or(0, |log| log.len());
        let _ = fs::OpenOptions::new().write(true).truncate(true).open(log);
        length
    }

    /// Ends it and tells how many instructions callgrind counted.
    pub(crate) fn instructions(mut self) -> u64 {
        self.stop();
        let text = fs::read_to_string(self.folder.join("stderr.log")).unwrap();
        let count = text.lines().find_map(|line| line.split_once("Collected : ")).expect("callgrind's sum").1;
        count.trim().parse().unwrap()
    }

    fn stop(&mut self) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").arg("-TERM").arg(id).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        for process in machine::family(self.child.id()) {
            let _ = Command::new("kill").arg("-KILL").arg(process.to_string()).status();
        }
        let _ = self.child.wait();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.stop();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
