//! `client --from`: thousands of clients from a table, and runs that are killed.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;

use super::support::Sandbox;

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
