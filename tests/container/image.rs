//! The image by itself.

use std::process::Command;

use super::docker::{IMAGE, available, docker, inspect, run, text};

#[test]
fn it_is_what_its_dockerfile_promises() {
    if !available() {
        return;
    }
    let facts = [
        ("{{.Config.User}}", "65532:65532"),
        ("{{.Config.StopSignal}}", "SIGTERM"),
        ("{{json .Config.ExposedPorts}}", r#"{"8443/tcp":{}}"#),
        ("{{json .Config.Entrypoint}} {{json .Config.Cmd}}", r#"["/gateway"] ["run"]"#),
        ("{{json .Config.Healthcheck.Test}}", r#"["CMD","/gateway","health"]"#),
        (r#"{{index .Config.Labels "org.opencontainers.image.title"}}"#, "gateway"),
        (r#"{{index .Config.Labels "org.opencontainers.image.licenses"}}"#, "Apache-2.0"),
    ];
    for (template, expected) in facts {
        assert_eq!(inspect(IMAGE, template), expected, "{template}");
    }
    let size: u64 = inspect(IMAGE, "{{.Size}}").parse().unwrap();
    assert!(size < 15_000_000, "{size} bytes");
}

#[test]
fn it_holds_the_binary_and_an_empty_folder_of_the_user_and_nothing_else() {
    if !available() {
        return;
    }
    let container = docker(["create", IMAGE]);
    let listing =
        run(Command::new("sh").args(["-c", "docker export \"$0\" | tar -tv --numeric-owner", container.trim()]));
    docker(["rm", container.trim()]);
    let listing = text(listing);
    // What the engine adds for the mounts it makes: /dev, /proc, /sys, /etc/hosts and the like, all empty.
    let ours: Vec<(&str, &str, &str)> = listing
        .lines()
        .map(|line| {
            let mut columns = line.split_whitespace();
            (columns.next().unwrap(), columns.next().unwrap(), columns.next_back().unwrap())
        })
        .filter(|(_, _, path)| {
            !["dev/", "proc/", "sys/", "etc/", ".dockerenv"].iter().any(|mount| path.starts_with(mount))
        })
        .filter(|(_, _, path)| *path != "/proc/mounts")
        .collect();
    assert_eq!(ours, [("drwxr-xr-x", "65532/65532", "certs/"), ("-rwxr-xr-x", "0/0", "gateway")], "{listing}");
}

#[test]
fn it_runs_without_rights_and_without_a_writable_file() {
    if !available() {
        return;
    }
    let bare = ["run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none", "--security-opt"];
    let mut command = Command::new("docker");
    command.args(bare).args(["no-new-privileges:true", IMAGE, "--version"]);
    let version = text(run(&mut command));
    assert!(version.starts_with(concat!("gateway ", env!("CARGO_PKG_VERSION"))), "{version}");
    let label = inspect(IMAGE, r#"{{index .Config.Labels "org.opencontainers.image.version"}}"#);
    assert!(version.contains(&label), "the image says it is {label:?}, the binary {version:?}");
}

#[test]
fn without_certificates_it_says_what_to_do() {
    if !available() {
        return;
    }
    let output = Command::new("docker")
        .args(["run", "--rm", "--network", "none", IMAGE, "run", "--upstream", "http://127.0.0.1:5000"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("certs/server.crt"), "{said}");
}
