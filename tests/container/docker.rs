//! Running `docker`.

use std::process::{Command, Output, Stdio};

pub const IMAGE: &str = "mtls-gateway";
pub const API_IMAGE: &str = "flask-api";

/// Whether containers can be run here. In CI they must.
pub fn available() -> bool {
    let missing = [
        (&["docker", "version"][..], "a Docker engine"),
        (&["docker-compose", "version"], "docker-compose"),
        (&["docker", "image", "inspect", IMAGE], "the gateway's image (just images)"),
        (&["docker", "image", "inspect", API_IMAGE], "the example API's image (just images)"),
        (&["curl", "--version"], "curl"),
    ]
    .into_iter()
    .find(|(command, _)| !succeeds(command));
    let Some((_, what)) = missing else { return true };
    assert!(std::env::var_os("CI").is_none(), "CI needs {what}");
    eprintln!("SKIPPED: there is not {what}");
    false
}

fn succeeds(command: &[&str]) -> bool {
    let [program, arguments @ ..] = command else { return false };
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What `docker` prints; it must go well.
#[track_caller]
pub fn docker<const N: usize>(arguments: [&str; N]) -> String {
    text(run(Command::new("docker").args(arguments)))
}

/// A field of what `docker inspect` knows, by a Go template.
#[track_caller]
pub fn inspect(object: &str, template: &str) -> String {
    docker(["inspect", "--format", template, object]).trim().to_owned()
}

#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[track_caller]
pub fn text(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}
