//! The task definitions and what stands around them say the same, and the gateway they describe starts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{DOCUMENT, configuration, read};

/// An idle connection of a client, as measured, and what the program and a burst of requests need besides.
const IDLE_CONNECTION_KIB: u64 = 31;
const RESERVE_MIB: u64 = 128;
/// ECS allows no more.
const LONGEST_STOP: u64 = 120;
/// What the gateway takes after `drain.timeout` to write its last lines.
const LAST_WORDS: u64 = 3;

fn json(name: &str) -> Value {
    serde_json::from_str(&read(&format!("examples/ecs/{name}.json"))).unwrap()
}

fn container() -> Value {
    json("task-definition")["containerDefinitions"][0].clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).clone()
}

/// `environment` as it is, and `secrets` with what stands in for them: their names, where it does not matter.
fn variables(container: &Value, secret: &dyn Fn(&str) -> String) -> BTreeMap<String, String> {
    let plain = list(&container["environment"]).into_iter().map(|one| (text(&one["name"]), text(&one["value"])));
    let secrets = list(&container["secrets"]).into_iter().map(|one| text(&one["name"]));
    plain.chain(secrets.map(|name| (name.clone(), secret(&name)))).collect()
}

fn ports(container: &Value) -> BTreeSet<u64> {
    list(&container["portMappings"]).iter().map(|one| one["containerPort"].as_u64().unwrap()).collect()
}

fn attribute(name: &str, key: &str) -> String {
    let attributes = list(&json(name)["Attributes"]);
    text(&attributes.iter().find(|one| one["Key"] == key).unwrap_or_else(|| panic!("no {key}"))["Value"])
}

#[test]
fn the_task_says_nothing_that_the_gateway_does_not_know() {
    let container = container();
    let config = configuration(&variables(&container, &str::to_owned));
    let listening = config.listener.addresses.iter().chain(config.health.as_ref().map(|health| &health.address));
    let listening: BTreeSet<u64> = listening.map(|address| u64::from(address.port())).collect();
    assert_eq!(listening, ports(&container));
    assert!(listening.iter().all(|port| *port >= 1024), "not root, and no capability");
    // Every secret is used, and everything used is a secret: a key does not belong among the plain variables.
    let secrets: BTreeSet<_> = list(&container["secrets"]).iter().map(|one| text(&one["name"])).collect();
    let used: BTreeSet<_> = list(&container["environment"])
        .iter()
        .filter_map(|one| text(&one["value"]).strip_prefix("env:").map(str::to_owned))
        .collect();
    assert_eq!(secrets, used);
}

#[test]
fn the_task_leaves_time_for_the_drain() {
    let container = container();
    let drain = configuration(&variables(&container, &str::to_owned)).drain;
    let stop = container["stopTimeout"].as_u64().unwrap();
    assert!(stop <= LONGEST_STOP);
    assert!(drain.timeout.as_secs() + LAST_WORDS < stop, "{drain:?}, stopTimeout {stop}");
    assert!(drain.delay < drain.timeout);
    // A target that says DRAINING keeps its connections for as long as the drain may take.
    assert_eq!(
        attribute("target-group-attributes", "target_health_state.unhealthy.connection_termination.enabled"),
        "false"
    );
    let kept = attribute("target-group-attributes", "target_health_state.unhealthy.draining_interval_seconds");
    assert!(kept.parse::<u64>().unwrap() >= drain.timeout.as_secs());
}

#[test]
fn the_task_has_the_files_and_the_memory_for_its_connections() {
    let (task, container) = (json("task-definition"), container());
    let config = configuration(&variables(&container, &str::to_owned));
    let connections = u64::try_from(config.listener.max_connections).unwrap();
    let files = list(&container["ulimits"]).into_iter().find(|one| one["name"] == "nofile").unwrap();
    assert!((files["hardLimit"].as_u64().unwrap() - 64) / 2 >= connections);
    let memory: u64 = text(&task["memory"]).parse().unwrap();
    assert!(connections * IDLE_CONNECTION_KIB / 1024 + RESERVE_MIB <= memory);
    // https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
    let sizes = BTreeMap::from([("256", 512..=2048), ("512", 1024..=4096), ("1024", 2048..=8192)]);
    for name in ["task-definition", "api-task-definition"] {
        let task = json(name);
        let allowed = &sizes[&*text(&task["cpu"])];
        assert!(allowed.contains(&text(&task["memory"]).parse::<i32>().unwrap()), "{name}");
        assert_eq!((&task["networkMode"], &task["requiresCompatibilities"][0]), (&"awsvpc".into(), &"FARGATE".into()));
    }
}

#[test]
fn the_task_may_do_no_more_than_it_must() {
    let container = container();
    assert_eq!(container["user"], "65532:65532");
    assert_eq!(container["readonlyRootFilesystem"], true);
    assert_eq!(container["linuxParameters"]["capabilities"]["drop"], serde_json::json!(["ALL"]));
    for name in ["task-definition", "api-task-definition"] {
        let logs = &json(name)["containerDefinitions"][0]["logConfiguration"];
        let mode = text(&logs["options"]["mode"]);
        assert!(["blocking", "non-blocking"].contains(&&*mode), "{name}: said, since the default has changed once");
        let options = logs["options"].as_object().unwrap();
        assert!(options.contains_key("awslogs-stream-prefix"), "{name}: Fargate needs it");
        assert!(!options.keys().any(|key| key.contains("multiline") || key.contains("datetime")), "{name}");
    }
}

#[test]
fn load_balancer_service_and_task_name_the_same_things() {
    let (container, service, group) = (container(), json("service"), json("target-group"));
    let balanced = &service["loadBalancers"][0];
    let config = configuration(&variables(&container, &str::to_owned));
    assert_eq!(balanced["containerName"], container["name"]);
    assert_eq!(balanced["containerPort"], config.listener.addresses[0].port());
    assert_eq!(group["Port"], balanced["containerPort"]);
    assert_eq!(group["Protocol"], json("listener")["Protocol"]);
    assert_eq!(group["TargetType"], "ip", "tasks with networkMode awsvpc are registered by address");
    assert_eq!(group["HealthCheckPort"], config.health.unwrap().address.port().to_string());
    assert_eq!(group["HealthCheckPath"], config.proxy.health_path);
    assert!(group["HealthCheckTimeoutSeconds"].as_u64() <= group["HealthCheckIntervalSeconds"].as_u64());
    let arn = &balanced["targetGroupArn"];
    assert_eq!(arn, &json("target-group-attributes")["TargetGroupArn"]);
    assert_eq!(arn, &json("listener")["DefaultActions"][0]["TargetGroupArn"]);
    assert_eq!(attribute("target-group-attributes", "proxy_protocol_v2.enabled"), "false", "not understood on 8443");
    let idle = attribute("listener-attributes", "tcp.idle_timeout.seconds").parse().unwrap();
    assert!(config.proxy.timeouts.keepalive < Duration::from_secs(idle), "the gateway ends idle connections first");
    assert_eq!(service["taskDefinition"], json("task-definition")["family"]);
    assert_eq!(json("api-service")["taskDefinition"], json("api-task-definition")["family"]);
}

#[test]
fn the_api_is_registered_under_the_name_that_the_gateway_asks_for() {
    let upstream = &configuration(&variables(&container(), &str::to_owned)).upstreams[0];
    let name = format!("{}.{}", text(&json("cloud-map-service")["Name"]), text(&json("cloud-map-namespace")["Name"]));
    let api = &json("api-task-definition")["containerDefinitions"][0];
    let port = ports(api).into_iter().next().unwrap();
    assert_eq!(upstream.targets[0].host(), format!("{name}:{port}"));
    assert_eq!(json("cloud-map-service")["DnsConfig"]["RoutingPolicy"], "MULTIVALUE");
    let ttl = json("cloud-map-service")["DnsConfig"]["DnsRecords"][0]["TTL"].as_u64().unwrap();
    assert!(api["stopTimeout"].as_u64().unwrap() > ttl + upstream.dns.max_ttl.as_secs());
}

#[test]
fn the_task_starts_answers_its_health_check_in_silence_and_says_when_it_drains() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["certs", "init"][..], &["certs", "server"]] {
        assert!(program(folder.path(), &BTreeMap::new()).args(arguments).output().unwrap().status.success());
    }
    let container = container();
    let file = |name: &str| std::fs::read_to_string(folder.path().join("certs").join(name)).unwrap();
    let mut variables = variables(&container, &|name| match name {
        "SERVER_CERT" => file("server.crt"),
        "SERVER_KEY" => file("server.key"),
        "CLIENT_CA" => file("ca.crt"),
        other => panic!("what is {other}?"),
    });
    // As the task has it but for the ports, which are other people's here, and the length of the drain.
    let health = free();
    for (name, value) in [
        ("GATEWAY_LISTEN", "127.0.0.1:0".to_owned()),
        ("GATEWAY_HEALTH_LISTEN", health.to_string()),
        ("GATEWAY_DRAIN_DELAY", "10s".to_owned()),
        ("GATEWAY_DRAIN_TIMEOUT", "11s".to_owned()),
    ] {
        assert!(variables.insert(name.to_owned(), value).is_some(), "the task does not say {name}");
    }
    let checked = program(folder.path(), &variables).arg("check").output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");

    let command: Vec<_> = list(&container["command"]).iter().map(text).collect();
    let running = program(folder.path(), &variables).args(command).stdout(Stdio::null()).spawn().unwrap();
    let mut gateway = Running(running);
    let words: Vec<_> = list(&container["healthCheck"]["command"]).iter().map(text).collect();
    assert_eq!(words[..2], ["CMD", "/gateway"], "there is no shell in the image");
    let healthy = || program(folder.path(), &variables).args(&words[2..]).output().unwrap();
    let well = soon("the gateway is well", || Some(healthy()).filter(|output| output.status.success()));
    assert_eq!(String::from_utf8_lossy(&well.stderr), "", "ECS takes output there for a failure");

    gateway.terminate();
    let draining = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("DRAINING");
    let ill = soon("the drain shows", || Some(healthy()).filter(draining));
    assert_eq!(ill.status.code(), Some(1));
    gateway.terminate();
    assert_eq!(soon("the end", || gateway.0.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn the_documentation_has_the_numbers_of_the_files() {
    let document = read(DOCUMENT);
    let container = container();
    for one in list(&container["environment"]) {
        let name = text(&one["name"]);
        assert!(document.contains(&name), "{DOCUMENT} does not say {name}");
    }
    for attributes in ["target-group-attributes", "listener-attributes"] {
        for one in list(&json(attributes)["Attributes"]) {
            let row = format!("| `{}` | {} |", text(&one["Key"]), text(&one["Value"]));
            assert!(document.contains(&row), "{DOCUMENT} has no row {row}");
        }
    }
}

/// The binary, with these variables and none of this process's own that would configure it.
fn program(folder: &Path, variables: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.current_dir(folder);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GATEWAY_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.envs(variables);
    command
}

struct Running(Child);

impl Running {
    fn terminate(&mut self) {
        let id = i32::try_from(self.0.id()).unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that was free a moment ago, with a port below those that the system gives to clients.
fn free() -> SocketAddr {
    let mut candidates = std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], fastrand::u16(15_000..30_000))));
    candidates.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
