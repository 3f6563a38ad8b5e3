//! The published models of the AWS services, by way of botocore: every command of the documentation and every file.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{DOCUMENT, read, root, skipped};

const EXAMPLES: &str = "examples/ecs";
/// What validate.py ends with where botocore is missing.
const NO_BOTOCORE: i32 = 3;

/// Runs validate.py; nothing where it cannot run, which is a failure in CI.
fn validate(folder: &Path) -> Option<(bool, String)> {
    let script = root().join("tests/deployment/validate.py");
    let missing = match Command::new("python3").arg(script).arg(folder).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            if output.status.code() != Some(NO_BOTOCORE) {
                return Some((output.status.success(), said));
            }
            said
        }
        Err(error) => format!("python3 cannot be run: {error}"),
    };
    assert!(std::env::var_os("CI").is_none(), "{missing}: pip install botocore");
    skipped(&format!("{}; pip install botocore", missing.trim()));
    None
}

/// A copy of what validate.py reads, with one text replaced by another.
fn altered(path: &str, from: &str, to: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for folder in ["docs", EXAMPLES] {
        fs::create_dir_all(copy.path().join(folder)).unwrap();
    }
    for entry in fs::read_dir(root().join(EXAMPLES)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(EXAMPLES).join(entry.file_name())).unwrap();
    }
    fs::write(copy.path().join(DOCUMENT), read(DOCUMENT)).unwrap();
    let text = read(path);
    assert!(text.contains(from), "{path} has no {from}");
    fs::write(copy.path().join(path), text.replacen(from, to, 1)).unwrap();
    copy
}

#[test]
fn every_command_and_every_file_is_what_aws_takes() {
    let Some((fine, said)) = validate(&root()) else { return };
    assert!(fine, "{said}");
}

#[test]
fn what_aws_would_refuse_is_found() {
    let task = "examples/ecs/task-definition.json";
    for (path, from, to, found) in [
        (task, "\"stopTimeout\"", "\"stopTimout\"", "Unknown parameter in containerDefinitions[0]: \"stopTimout\""),
        (task, "\"drop\"", "\"dropped\"", "Unknown parameter in containerDefinitions[0].linuxParameters.capabilities"),
        (task, "\"stopTimeout\": 120", "\"stopTimeout\": \"120\"", "Invalid type for parameter"),
        (task, "\"family\": \"gateway\",", "", "Missing required parameter in input: \"family\""),
        (task, "\"awslogs\"", "\"awslog\"", "'awslog' is none of"),
        (task, "\"essential\": true,", "\"essential\": true, \"essential\": true,", "twice: essential"),
        (task, "{\n", "", "Extra data"),
        ("examples/ecs/target-group.json", "\"HTTP\"", "\"HTPP\"", "'HTPP' is none of"),
        ("examples/ecs/service.json", "\"cluster\"", "\"clusterName\"", "\"clusterName\""),
        ("examples/ecs/cloud-map-service.json", "\"TTL\": 10", "\"TTL\": \"10\"", "Invalid type for parameter"),
        ("examples/ecs/trust-policy.json", "\"Principal\"", "\"Principle\"", "a statement with"),
        (DOCUMENT, "--cli-input-json file://examples/ecs/listener.json", "", "needs"),
        (DOCUMENT, "examples/ecs/listener.json", "examples/ecs/listner.json", "No such file"),
        (DOCUMENT, "aws ecs create-service ", "aws ecs create-servce ", "has no operation create-servce"),
        (DOCUMENT, "--policy-name", "--polcy-name", "has no option --polcy-name"),
    ] {
        let copy = altered(path, from, to);
        let Some((fine, said)) = validate(copy.path()) else { return };
        assert!(!fine, "{path}, {from} -> {to}: not found\n{said}");
        assert!(said.contains(found), "{path}, {from} -> {to}: found is\n{said}");
    }
}
