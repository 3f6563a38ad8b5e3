//! What the machine tells of processes: CPU time, memory, how busy each core is; and control groups for both.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core of the one measured.
pub(crate) const PEER_CORE: usize = 0;
/// The core of load and upstream.
pub(crate) const LOAD_CORE: usize = 1;

const CONTROLLERS: &str = "/sys/fs/cgroup";

/// Keeps this thread, and those it starts from now on, on one core.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).unwrap();
}

/// Raises the soft limit of open files to the hard one and tells what it is then.
pub(crate) fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files as usize)
}

/// A control group (version 1) of CPU accounting, and of a quota and a bound on memory where they are asked for.
/// Without the right to make one, CPU time is read from `/proc/PID/stat`, which counts to 10 ms.
#[derive(Debug)]
pub(crate) struct Group {
    folders: Vec<PathBuf>,
}

/// What a group may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Quota {
    pub(crate) cpu: Duration,
    pub(crate) period: Duration,
    pub(crate) memory: u64,
}

impl Group {
    pub(crate) fn new(quota: Option<Quota>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("gateway-bench-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let make = |controller: &str| {
            let folder = Path::new(CONTROLLERS).join(controller).join(&name);
            fs::create_dir(&folder).is_ok().then_some(folder)
        };
        let mut folders = Vec::from_iter(make("cpuacct"));
        if let Some(quota) = quota {
            let cpu = make("cpu").expect("control groups of version 1 for the quota");
            fs::write(cpu.join("cpu.cfs_period_us"), quota.period.as_micros().to_string()).unwrap();
            fs::write(cpu.join("cpu.cfs_quota_us"), quota.cpu.as_micros().to_string()).unwrap();
            let memory = make("memory").expect("control groups of version 1 for the bound on memory");
            fs::write(memory.join("memory.limit_in_bytes"), quota.memory.to_string()).unwrap();
            folders.extend([cpu, memory]);
        }
        Self { folders }
    }

    /// The files that a process writes itself into to join.
    pub(crate) fn doors(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().map(|folder| folder.join("cgroup.procs"))
    }

    fn cpu(&self) -> Option<Duration> {
        let accounting = self.folders.iter().find(|folder| folder.starts_with("/sys/fs/cgroup/cpuacct"))?;
        let nanoseconds = fs::read_to_string(accounting.join("cpuacct.usage")).ok()?;
        Some(Duration::from_nanos(nanoseconds.trim().parse().ok()?))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// CPU time of a group, or else of a process and its children.
pub(crate) fn cpu(group: &Group, process: u32) -> Duration {
    group.cpu().unwrap_or_else(|| family(process).into_iter().map(process_cpu).sum())
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Duration {
    process_cpu(std::process::id())
}

/// A process and all that came of it.
pub(crate) fn family(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        next += 1;
    }
    found
}

/// Fields 14 and 15 of `/proc/PID/stat`, in ticks of 10 ms.
fn process_cpu(id: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let Some(end_of_name) = text.rfind(')') else { return Duration::ZERO };
    let ticks: u64 =
        text[end_of_name + 2..].split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Memory of a process and its children in bytes, each shared page counted by its share.
pub(crate) fn memory(process: u32) -> u64 {
    family(process).into_iter().map(|id| field(&format!("/proc/{id}/smaps_rollup"), "Pss:")).sum()
}

/// The most that a process and its children ever held.
pub(crate) fn peak_memory(process: u32) -> u64 {
    family(process).into_iter().map(|id| field(&format!("/proc/{id}/status"), "VmHWM:")).sum()
}

fn field(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// How busy both cores were, by whomever, from one moment to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    at: Instant,
    idle: [u64; 2],
    stolen: [u64; 2],
}

impl Cores {
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap();
        let fields = |core: usize| {
            let name = format!("cpu{core} ");
            let line = text.lines().find(|line| line.starts_with(&name)).unwrap_or_default();
            line.split(' ').skip(1).map(|field| field.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>()
        };
        // Idle and waiting for a disk; the eighth is what the hypervisor took.
        let idle = |core| fields(core).iter().skip(3).take(2).sum();
        let stolen = |core| fields(core).get(7).copied().unwrap_or(0);
        Self {
            at: Instant::now(),
            idle: [idle(PEER_CORE), idle(LOAD_CORE)],
            stolen: [stolen(PEER_CORE), stolen(LOAD_CORE)],
        }
    }

    /// The busy share of the peer's and the load's core since then, and the share stolen of the peer's.
    pub(crate) fn since(self) -> [f64; 3] {
        let now = Self::now();
        let ticks = (now.at - self.at).as_secs_f64() * 100.0;
        let share = |before: u64, after: u64| (after - before) as f64 / ticks;
        [
            (1.0 - share(self.idle[0], now.idle[0])).max(0.0),
            (1.0 - share(self.idle[1], now.idle[1])).max(0.0),
            share(self.stolen[0], now.stolen[0]),
        ]
    }
}

/// One line on standard error while something takes its time.
pub(crate) fn progress(text: &str) {
    let mut output = std::io::stderr();
    let _ = writeln!(output, "{text}");
}
