//! A network of its own for endpoints, in which packets can be made to disappear. Needs Linux, root and `ip`.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::binary::have;

/// A network namespace, joined to this one by a pair of virtual interfaces.
pub struct Space {
    name: String,
    subnet: u8,
}

/// The way into a [`Space`], for a thread.
pub struct Entrance(File);

impl Space {
    /// `None` where such a thing cannot be made and need not be: outside of CI.
    pub fn new() -> Option<Self> {
        if !have("ip") {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "root is needed for this test");
            eprintln!("skipped: not root");
            return None;
        }
        let subnet = fastrand::u8(..);
        let space = Self { name: format!("reliability-{}-{subnet}", std::process::id()), subnet };
        let (name, outside) = (&space.name, space.interface());
        let (gateway, endpoint) = (space.address_of(1), space.address_of(2));
        for command in [
            format!("netns add {name}"),
            format!("link add {outside} type veth peer name inside netns {name}"),
            format!("addr add {gateway}/24 dev {outside}"),
            format!("link set {outside} up"),
            format!("-n {name} addr add {endpoint}/24 dev inside"),
            format!("-n {name} link set inside up"),
            format!("-n {name} link set lo up"),
        ] {
            ip(&command);
        }
        Some(space)
    }

    /// An address in it.
    pub fn address(&self) -> IpAddr {
        self.address_of(2).into()
    }

    pub fn entrance(&self) -> Entrance {
        Entrance(File::open(format!("/run/netns/{}", self.name)).unwrap())
    }

    /// From now on nothing comes back from it: no answer, no acknowledgement, no refusal.
    pub fn swallow(&self) {
        ip(&format!("-n {} route add blackhole {}/32", self.name, self.address_of(1)));
    }

    fn address_of(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 231, self.subnet, host)
    }

    fn interface(&self) -> String {
        format!("rel-{}", self.subnet)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        for command in [format!("link del {}", self.interface()), format!("netns del {}", self.name)] {
            let _ = Command::new("ip").args(command.split(' ')).status();
        }
    }
}

impl Entrance {
    /// Moves this thread in.
    pub fn enter(&self) {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
