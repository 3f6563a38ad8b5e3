//! What the whole system does, from outside.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use tokio::sync::Mutex;

use super::docker::{available, docker, inspect, run};
use super::load::Load;
use super::stack::{Stack, health, until};

/// One stack at a time: what they show has to do with time, and there may be two cores.
static ALONE: Mutex<()> = Mutex::const_new(());

const CLIENT: [&str; 4] = ["--cert", "clients/client-1.crt", "--key", "clients/client-1.key"];

#[tokio::test]
async fn it_answers_health_refuses_strangers_and_lets_clients_in() {
    if !available() {
        return;
    }
    let _alone = ALONE.lock().await;
    let stack = Stack::up("answers");

    assert_eq!(stack.curl(&["/health"]), (200, "OK".to_owned()));
    let (status, body) = stack.curl(&["--json", "{\"event\": 1}", "/api/webhook"]);
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("\"reason\":\"certificate_missing\""), "{body}");
    let arguments = [&CLIENT[..], &["--json", "{\"event\": 1}", "/api/webhook"]].concat();
    let (status, body) = stack.curl(&arguments);
    assert_eq!(status, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["received"]["event"], 1);
    assert_eq!(answer["client"]["subject"], "CN=client-1");

    let arguments = [&CLIENT[..], &["/api/whoami"]].concat();
    let replicas: BTreeSet<String> = (0..40).map(|_| stack.curl(&arguments).1).collect();
    assert_eq!(replicas.len(), 2, "both replicas answer: {replicas:?}");

    for container in [stack.containers("api"), stack.containers("gateway")].concat() {
        assert_eq!(inspect(&container, "{{.HostConfig.ReadonlyRootfs}}"), "true");
        assert_eq!(inspect(&container, "{{.HostConfig.Memory}}"), (128 << 20).to_string());
        let process = inspect(&container, "{{.State.Pid}}");
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        for line in ["Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line} in {status}");
        }
    }
    let certs = stack.containers("certs").pop().unwrap();
    assert_eq!(inspect(&certs, "{{.State.ExitCode}} {{.Config.User}}"), "0 65532:65532");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_come_and_go_without_a_lost_request() {
    if !available() {
        return;
    }
    let _alone = ALONE.lock().await;
    let stack = Stack::up("replicas");
    let caller = stack.caller();

    let load = Load::start(&caller);
    stack.compose(&["up", "-d", "--no-build", "--no-recreate", "--scale", "api=4"]);
    let names: BTreeSet<String> =
        stack.containers("api").iter().map(|container| inspect(container, "{{.Config.Hostname}}")).collect();
    assert_eq!(names.len(), 4);
    let mut seen = BTreeSet::new();
    let took = until("all four replicas answer", Duration::from_secs(5), || {
        seen.extend(load.replicas().into_keys());
        seen == names
    });
    eprintln!("four replicas in use {took:?} after `up` returned");

    let hostname = |container: &str| inspect(container, "{{.Config.Hostname}}");
    let mut leaving = stack.containers("api");
    leaving.truncate(2);
    docker(["stop", &leaving[0]]);
    // The answers of Docker's DNS are used for five seconds at most.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let tally = load.stop().await;
    assert_eq!(tally.lost, Vec::<String>::new(), "{tally:?}");
    assert!(tally.answered > 200 && tally.refused == 0, "{tally:?}");

    let load = Load::start(&caller);
    docker(["kill", &leaving[1]]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    load.replicas();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let gone: BTreeSet<String> = leaving.iter().map(|gone| hostname(gone)).collect();
    assert_eq!(load.replicas().into_keys().collect::<BTreeSet<_>>(), &names - &gone, "what is left answers, all of it");
    let tally = load.stop().await;
    // An answer that has begun cannot be had again; whatever had not is had from another replica.
    assert!(tally.lost.len() <= 4 && tally.lost.iter().all(|lost| lost.starts_with("cut short")), "{tally:?}");
    assert!(tally.answered > 200 && tally.refused == 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_rotated_under_load() {
    if !available() {
        return;
    }
    let _alone = ALONE.lock().await;
    let stack = Stack::up("rotation");
    let caller = stack.caller();
    let before = caller.server_certificate().await;

    let load = Load::start(&caller);
    stack.compose(&["run", "--rm", "certs", "certs", "bootstrap", "--renew"]);
    // The gateway sees by itself that the files have changed, most often before the signal comes: either is enough.
    stack.compose(&["kill", "-s", "HUP", "gateway"]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while caller.server_certificate().await == before {
        assert!(tokio::time::Instant::now() < deadline, "the new certificate is not shown");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let tally = load.stop().await;
    assert_eq!(tally.lost, Vec::<String>::new(), "{tally:?}");
    assert_eq!((tally.connections, tally.refused), (4, 0), "no connection is closed: {tally:?}");
    assert!(tally.answered > 20, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_loses_nothing_that_was_accepted() {
    if !available() {
        return;
    }
    let _alone = ALONE.lock().await;
    let stack = Stack::up("stopping");
    let (gateway, caller) = (stack.gateway(), stack.caller());
    assert_eq!(health(&gateway), "healthy");

    let load = Load::start(&caller);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut stopping = Command::new("docker").args(["stop", "-t", "30", &gateway]).spawn().unwrap();
    let unhealthy =
        until("it is unhealthy while it drains", Duration::from_secs(10), || health(&gateway) == "unhealthy");
    assert_eq!(inspect(&gateway, "{{.State.Running}}"), "true", "seen after {unhealthy:?}, while it still serves");
    assert!(stopping.wait().unwrap().success());
    let tally = load.stop().await;
    assert_eq!(inspect(&gateway, "{{.State.ExitCode}}"), "0");
    assert_eq!(tally.lost, Vec::<String>::new(), "{tally:?}");
    assert!(tally.refused > 0 && tally.answered > 200, "the load went on to the end: {tally:?}");
    let log = run(Command::new("docker").args(["logs", "--tail", "5", &gateway]));
    eprintln!("{}", String::from_utf8_lossy(&log.stdout));
}
