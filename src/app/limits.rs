//! What the machine allows: open files and processors.

use std::num::NonZero;
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are not connections: listeners, logs, the runtime's own, certificates while they are read.
const OTHER_FILES: u64 = 64;

/// Raises the soft limit of open files to the hard one and tells what it is then.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Not being allowed to is no reason not to start: the limit that is stays.
    let _ = setrlimit(Resource::Nofile, wanted);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Each client's connection may need one to an upstream.
pub(super) fn effective_connections(configured: usize, open_files: u64) -> usize {
    let possible = usize::try_from(open_files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX);
    configured.min(possible.max(1))
}

/// Worker threads for a configured number; 0 is as many as this process may use processors, counting a container's
/// quota, and one under a quota of one or less.
pub fn worker_threads(configured: usize) -> usize {
    match configured {
        0 => available_parallelism().map_or(1, NonZero::get),
        configured => configured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_by_open_files() {
        for (configured, open_files, expected) in [
            (20_000, 65_535, 20_000),
            (20_000, 1024, 480),
            (100, 1024, 100),
            (20_000, 64, 1),
            (20_000, u64::MAX, 20_000),
        ] {
            assert_eq!(effective_connections(configured, open_files), expected, "{configured} {open_files}");
        }
    }

    #[test]
    fn a_configured_number_of_workers_is_taken_as_it_is() {
        assert_eq!(worker_threads(3), 3);
        assert!(worker_threads(0) >= 1);
    }
}
