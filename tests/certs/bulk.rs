//! `client --from`: thousands of clients from a table, and runs that are killed.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;

use super::support::{Sandbox, tool};

fn table(count: usize) -> String {
    (0..count).fold("name,cn\n".to_owned(), |mut table, number| {
        let _ = writeln!(table, "client-{number},\"Client, number {number}\"");
        table
    })
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_table_becomes_certificates_and_a_second_run_changes_nothing() {
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client", "--name", "there"]);
    let table = "\u{feff}san,name,days,key_type\r\n\
                 spiffe://example.org/a 10.0.0.1,a,30,P384\r\n\
                 ,b,,\r\n\
                 \"c.example, \"\r\n\
                 ,there\r\n";
    sandbox.write("clients.csv", table.replace("\"c.example, \"", "c.example,c"));
    let told = json(&sandbox.succeed(["client", "--from", "clients.csv", "--days", "9", "--output", "json"]).out);
    assert_eq!(
        (&told["issued"], &told["skipped"]),
        (&serde_json::json!(["a", "b", "c"]), &serde_json::json!(["there"]))
    );
    let names = |name: &str| {
        let der = &sandbox.chain(&format!("certs/clients/{name}.crt"))[0];
        mtls_gateway::identity::CertificateFacts::from_der(der).unwrap().san_text()
    };
    assert_eq!(
        [names("a"), names("b"), names("c")],
        ["URI:spiffe://example.org/a,IP:10.0.0.1", "DNS:b", "DNS:c.example"]
    );
    assert!(sandbox.succeed(["show", "a"]).out.contains("ECDSA P-384"));
    assert_eq!(sandbox.mode("certs/clients/b.key"), 0o600);
    let before = sandbox.snapshot();
    assert!(sandbox.succeed(["client", "--from", "clients.csv"]).out.starts_with("issued 0, skipped 4"));
    assert_eq!(sandbox.snapshot(), before);
}

#[test]
fn each_column_says_what_it_says_and_an_empty_cell_what_the_flags_say() {
    let sandbox = Sandbox::with_authority();
    let table = "key_type,days,name,san,cn\n\
                 rsa3072,30,whole,spiffe://example.org/w 10.0.0.1 w@example.com *.w.example,\"Größe, \"\"W\"\"\"\n\
                 ,,empty,,\n\
                 ED25519,36500,longest\n";
    sandbox.write("clients.csv", table);
    let flags = ["--days", "9", "--key-type", "p384", "--org", "Example Org", "--ou", "Unit"];
    let ran = sandbox.succeed([&["client", "--from", "clients.csv"], &flags[..]].concat());
    assert_eq!(ran.err.lines().count(), 1, "the longest ends with its CA: {ran:?}");
    assert!(ran.err.contains("the certificate ends with its CA"), "{ran:?}");
    for (name, kind, days, subject, names) in [
        (
            "whole",
            "RSA 3072 bits",
            Some(30),
            "CN=Gr\\C3\\B6\\C3\\9Fe\\, \\\"W\\\",OU=Unit,O=Example Org",
            "URI:spiffe://example.org/w,IP:10.0.0.1,EMAIL:w@example.com,DNS:*.w.example",
        ),
        ("empty", "ECDSA P-384", Some(9), "CN=empty,OU=Unit,O=Example Org", "DNS:empty"),
        ("longest", "Ed25519", None, "CN=longest,OU=Unit,O=Example Org", "DNS:longest"),
    ] {
        let der = &sandbox.chain(&format!("certs/clients/{name}.crt"))[0];
        let facts = mtls_gateway::identity::CertificateFacts::from_der(der).unwrap();
        assert_eq!((facts.subject.as_str(), facts.san_text().as_str()), (subject, names));
        let lives = facts.not_after.unix_seconds() - facts.not_before.unix_seconds();
        // It begins five minutes ago.
        assert!(days.is_none_or(|days| lives == days * 86_400 + 300), "{name} lives for {lives} s");
        assert!(sandbox.succeed(["show", name]).out.contains(kind), "{name} is {kind}");
    }
}

#[test]
fn ten_thousand_take_one_write_of_the_index_for_each_thousand() {
    use rustix::fs::inotify;
    const COUNT: usize = 10_000;
    let sandbox = Sandbox::with_authority();
    sandbox.succeed(["client", "--name", "client-4711"]);
    sandbox.write("clients.csv", table(COUNT));
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    // Both ends of a rename: the kernel makes one of several events in a row that are the same.
    inotify::add_watch(&watch, sandbox.path("certs"), inotify::WatchFlags::MOVE).unwrap();
    let writes = || {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        let mut names = Vec::new();
        while let Ok(event) = events.next() {
            names.extend(event.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        names.iter().filter(|name| *name == "index.json").count()
    };
    let told = json(&sandbox.succeed(["client", "--from", "clients.csv", "--output", "json"]).out);
    assert_eq!(told["issued"].as_array().unwrap().len(), COUNT - 1);
    assert_eq!(told["skipped"], serde_json::json!(["client-4711"]));
    assert_eq!(writes(), COUNT / 1000);
    assert_eq!(fs::read_dir(sandbox.path("certs/clients")).unwrap().count(), 2 * COUNT);
    assert_eq!(sandbox.index()["certificates"].as_array().unwrap().len(), COUNT + 1);
    assert!(sandbox.succeed(["client", "--from", "clients.csv"]).out.starts_with("issued 0, skipped 10000"));
    assert_eq!(writes(), 0, "nothing is written where nothing is issued");
}

/// A terminal for standard error alone; what was written there comes out on standard output.
const TERMINAL: &str = r#"
import os, pty, subprocess, sys
ours, theirs = pty.openpty()
with open("out.txt", "wb") as out:
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=out, stderr=theirs)
os.close(theirs)
said = b""
try:
    while True:
        more = os.read(ours, 1000)
        if not more:
            break
        said += more
except OSError:
    pass
sys.stdout.write(said.decode())
sys.exit(process.wait())
"#;

#[test]
fn how_far_it_has_come_is_told_on_a_terminal_and_nowhere_else() {
    let sandbox = Sandbox::with_authority();
    sandbox.write("clients.csv", table(1200));
    let gateway = env!("CARGO_BIN_EXE_gateway");
    let arguments = ["-c", TERMINAL, gateway, "certs", "client", "--from", "clients.csv"];
    if let Some(ran) = tool("python3", &sandbox.path(""), &arguments) {
        assert!(ran.code == 0 && ran.out == "\r1000 of 1200\r1200 of 1200\r\n", "{ran:?}");
        assert!(sandbox.read("out.txt").starts_with(b"issued 1200, skipped 0"));
    }
    let ran = sandbox.succeed(["client", "--from", "clients.csv"]);
    assert_eq!(ran.err, "");
}

#[test]
fn every_mistake_in_a_table_is_told_and_nothing_is_issued() {
    let sandbox = Sandbox::with_authority();
    sandbox.write("bad.csv", "name,san,days,key_type\nok\n../x\nok\na,not a name!\nb,,0\nc,,,rsa1024\nd,,,,more\n");
    let ran = sandbox.refuse(2, ["client", "--from", "bad.csv"]);
    for expected in [
        "bad.csv: nothing was issued",
        "line 3: name \"../x\"",
        "line 4: ok stands in line 2, too",
        "line 5: san \"name!\"",
        "line 6: days \"0\"",
        "line 7: key_type \"rsa1024\"",
        "line 8: it has 5 cells and there are 4 columns",
    ] {
        assert!(ran.error().contains(expected), "{expected} in {ran:?}");
    }
    for (table, expected) in [
        ("", "it is empty"),
        ("cn\nx\n", "the column name is missing"),
        ("name,name\n", "twice"),
        ("name,colour\n", "there is no column \"colour\"; the columns are name, cn, san"),
        ("name\n\"x", "line 2: a quote is not closed"),
    ] {
        sandbox.write("bad.csv", table);
        assert!(sandbox.refuse(2, ["client", "--from", "bad.csv"]).error().contains(expected), "{table}");
    }
    assert_eq!(sandbox.run(["client", "--from", "bad.csv", "--name", "x"]).code, 2);
    assert_eq!(sandbox.run(["client", "--from", "bad.csv", "--force"]).code, 2);
}

#[test]
fn a_run_that_is_killed_at_any_instant_is_gone_on_with() {
    const COUNT: usize = 2300;
    let sandbox = Sandbox::with_authority();
    sandbox.write("clients.csv", table(COUNT));
    let clients = sandbox.path("certs/clients");
    let files = || fs::read_dir(&clients).map_or(0, Iterator::count);
    // While files are staged, around the two moments at which an index is written, and while files are renamed.
    for files_wanted in [1, 700, 1990, 2000, 2001, 3000, 4000, 4100] {
        let mut child = sandbox
            .command(["client", "--from", "clients.csv"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while files() < files_wanted && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Whatever lies there is known, and whole.
        for (name, state) in sandbox.states() {
            assert!(matches!(state.as_str(), "valid" | "missing"), "{name} is {state}");
        }
    }
    sandbox.succeed(["client", "--from", "clients.csv"]);
    assert_eq!(files(), 2 * COUNT, "no staged file stays");
    let states = sandbox.states();
    let valid = states.iter().filter(|(_, state)| state == "valid").count();
    assert_eq!(valid, COUNT + 1, "{:?}", states.iter().find(|(_, state)| state != "valid"));
    for number in (0..COUNT).step_by(97) {
        let pair = ["crt", "key"].map(|suffix| {
            let file = format!("certs/clients/client-{number}.{suffix}");
            let shown = sandbox.succeed(["show", &file]).out;
            shown.lines().find_map(|line| line.trim().strip_prefix("key's SHA-256").map(str::to_owned)).unwrap()
        });
        assert_eq!(pair[0], pair[1], "client-{number} has its own key");
    }
}

#[test]
fn two_runs_at_once_issue_each_client_once() {
    let sandbox = Sandbox::with_authority();
    sandbox.write("clients.csv", table(300));
    let running: Vec<_> = (0..2)
        .map(|_| {
            let mut command = sandbox.command(["client", "--from", "clients.csv"]);
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(sandbox.index()["certificates"].as_array().unwrap().len(), 301);
    assert!(sandbox.states().iter().all(|(_, state)| state == "valid"));
}
