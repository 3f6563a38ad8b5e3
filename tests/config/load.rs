//! What stands over what, and what a configuration comes to.

use std::time::Duration;

use mtls_gateway::config::{self, OVERRIDABLE, Origin, Overrides, Source};
use mtls_gateway::proxy::Action;
use mtls_gateway::telemetry::LogFormat;
use mtls_gateway::tls::{Asked, ClientAuth, PemSource, RevocationSettings, TrustSettings, Unfit};

use super::{environment, load, load_with, said};

const MINIMAL: &str = "[upstream.api]\nurl = \"http://api.local\"\n";

#[test]
fn without_a_file_flags_and_variables_suffice() {
    let overrides = Overrides::default().set("upstream.url", "http://api.local:5000").set("client_auth.ca", "a.crt");
    let loaded = config::load(None, &overrides, &environment, true);
    assert_eq!(said(&loaded), <[String; 0]>::default());
    let config = loaded.config.unwrap();
    assert_eq!(config.upstreams.first().unwrap().targets[0].host(), "api.local:5000");
    assert_eq!(config.upstreams.first().unwrap().name, "api");
    let route = config.proxy.routes.first().unwrap();
    assert_eq!((route.spec.to_string(), &route.action), ("/*".to_owned(), &Action::Forward("api".to_owned())));
    assert_eq!(config.logs.format, LogFormat::Text, "the default at a terminal");
    let ClientAuth::Asked(Asked { absent: Unfit::Forbid, invalid: Unfit::Forbid, trust, shadow: None }) =
        config.tls.fallback.client_auth
    else {
        panic!("optional")
    };
    let TrustSettings { ca, max_chain_depth: 4, revocation } = trust else { panic!("{trust:?}") };
    assert_eq!(revocation, RevocationSettings::default());
    assert_eq!(ca, [PemSource::File("a.crt".into())]);
    assert_eq!(loaded.effective.origin("upstream.api.url", 0), Origin::Flag("--upstream"));
}

#[test]
fn flag_over_file_over_default() {
    let text = format!("[drain]\ndelay = \"1s\"\n[logs]\naccess = false\n{MINIMAL}");
    let loaded = load_with(&text, &Overrides::default().set("drain.delay", "2s").set("upstream.url", "http://other:1"));
    let config = loaded.config.unwrap();
    assert_eq!(config.drain.delay, Duration::from_secs(2));
    assert_eq!(config.drain.timeout, Duration::from_secs(25));
    assert!(!config.logs.access);
    assert_eq!(config.upstreams.first().unwrap().targets[0].host(), "other:1");
    assert_eq!(loaded.effective.origin("drain.delay", 0), Origin::Flag("--drain-delay"));
    assert_eq!(loaded.effective.origin("drain.timeout", 0), Origin::Default);
    assert_eq!(loaded.effective.origin("logs.access", 0).to_string(), "x.toml:4:10");
}

#[test]
fn every_key_that_a_flag_sets_is_known_and_takes_effect() {
    let known = config::known_keys();
    for overridable in OVERRIDABLE {
        let pattern = overridable.key.replace("upstream.", "upstream.NAME.");
        let (section, key) = pattern.rsplit_once('.').unwrap();
        assert!(known.iter().any(|(known, name)| known == section && *name == key), "{pattern}");
        let loaded = load_with(MINIMAL, &Overrides::default().set(overridable.key, "\u{7f}"));
        let diagnostic = loaded.diagnostics.first().unwrap_or_else(|| panic!("{} has no effect", overridable.flag));
        assert_eq!(diagnostic.origin, Origin::Flag(overridable.flag));
    }
}

#[test]
fn one_url_is_not_enough_for_two_upstreams() {
    let text = "[upstream.a]\nurl = \"http://a\"\n[upstream.b]\nurl = \"http://b\"\n[[route]]\npath = \"/*\"\nupstream = \"a\"\n\
                [[route]]\npath = \"/b/*\"\nupstream = \"b\"\n";
    assert_eq!(said(&load(text)), <[String; 0]>::default());
    assert_eq!(
        said(&load_with(text, &Overrides::default().set("upstream.url", "http://c"))),
        ["--upstream: the file has 2 upstreams (a, b); one URL is not enough"]
    );
}

#[test]
fn variables_are_put_into_strings_and_numbers() {
    let text = "[runtime]\nworkers = \"${FOUR}\"\n[logs]\naccess = \"${YES}\"\n[tls]\ncertificate = \"a$$b$c\"\n\
                [upstream.api]\nurl = \"http://${API_HOST}:${PORT:-5000}\"\n";
    let loaded = load(text);
    assert_eq!(said(&loaded), <[String; 0]>::default());
    let config = loaded.config.unwrap();
    assert_eq!(config.workers, 4);
    assert!(config.logs.access);
    assert_eq!(config.tls.fallback.certificates[0].certificate, PemSource::File("a$b$c".into()));
    assert_eq!(config.upstreams.first().unwrap().targets[0].host(), "api.local:5000");
}

#[test]
fn what_is_printed_loads_to_the_same() {
    let text = "[listener]\naddress = [\"0.0.0.0:1\", \"[::1]:2\"]\n[health]\naddress = \"0.0.0.0:3\"\n\
                [tls]\ncertificate = \"a$$b \\\"c\\\" \\\\\"\nprivate_key = { env = \"SERVER_KEY\" }\n\
                [client_auth]\nca = [\"a.crt\", { env = \"SERVER_KEY\" }]\nmax_chain_depth = 0\n\
                [[tls.sni]]\nnames = [\"*.T.example.com\"]\ncertificate = \"t.crt\"\nprivate_key = \"t.key\"\n\
                [[tls.sni]]\nnames = \"u.example.com\"\ncertificate = [\"u.crt\", \"v.crt\"]\nprivate_key = [\"u.key\", \"v.key\"]\n\
                client_auth = { mode = \"off\" }\n\
                [[route]]\npath = \"/a/*\"\nhost = \"*.Example.com\"\nmethods = [\"GET\", \"PUT\"]\nupstream = \"b-1\"\nstrip_prefix = \"/a\"\n\
                max_request_body = 1000\nforward_client_cert = []\n\
                allow = [{ san_dns = \"*.Partner.example\", subject_ou = [\"a\", \"b \\\"c\\\"\"] }, { sha256 = \"AB:${SIXTY_TWO}\" }]\n\
                deny = { subject_oid = \"2.5.4.97=x\" }\nrequire = [\"mtls\"]\n\
                [[route]]\npath = \"/b\"\npublic = true\nrespond = { status = 404, body = \"\u{e9}\\n\\t$${x}\\u0001\" }\n\
                [[route]]\npath = \"/c\"\nupstream = \"a\"\n[[route]]\npath = \"/d\"\nupstream = \"c\"\n\
                [[route]]\npath = \"/e\"\nupstream = \"d\"\n\
                [upstream.c]\nurl = \"SRV+http://_Api._tcp.x.local.\"\n\
                [upstream.d]\nurl = [\"http://10.0.0.1\", \"http://api.local:1\", \"http://[::1]\"]\n\
                [upstream.b-1]\nurl = \"http://[::1]:5000\"\nkeepalive_idle = \"0s\"\ndns.resolvers = [\"10.0.0.2:53\"]\n\
                [upstream.a]\nurl = \"HTTP://API.local.\"\n[upstream.a.timeouts]\nconnect = \"1m1ms\"\n\
                [headers]\nallow_names = [\"X_Trace\"]\ndrop_request = [\"X-Debug\"]\n[limits]\nuri = \"8001\"\n";
    let first = load(text);
    assert_eq!(said(&first), <[String; 0]>::default());
    for (is_terminal, overrides) in [(false, Overrides::default()), (true, Overrides::default())] {
        let printed = Source { name: "printed.toml".to_owned(), text: first.effective.to_string() };
        let again = config::load(Some(&printed), &overrides, &environment, is_terminal);
        assert_eq!(said(&again), <[String; 0]>::default(), "{}", printed.text);
        assert_eq!(again.config, first.config, "{}", printed.text);
    }
    let printed = first.effective.to_string();
    assert!(printed.contains("private_key = [{ env = \"SERVER_KEY\" }]  # from x.toml:7:15\n"), "{printed}");
    assert!(printed.contains("\nmax_connections = 20000  # default\n"), "{printed}");
    assert!(!printed.contains("c2VjcmV0"), "{printed}");
}

#[test]
fn what_is_printed_without_a_file_loads_to_the_same() {
    let overrides =
        Overrides::default().set("upstream.url", "http://api.local:5000").set("listener.address", "0.0.0.0:1");
    let first = config::load(None, &overrides, &environment, false);
    let text = first.effective.to_string();
    assert!(text.contains("\nurl = [\"http://api.local:5000\"]  # from --upstream\n"), "{text}");
    assert!(text.contains("\n[[route]]\npath = \"/*\"  # default\nupstream = \"api\"  # default\n"), "{text}");
    assert_eq!(load(&text).config, first.config);
}

#[test]
fn the_admin_listener_is_on_loopback_and_can_be_moved_or_left_out() {
    let admin = |text: &str| load(&format!("{text}{MINIMAL}")).config.unwrap().admin.map(|address| address.to_string());
    assert_eq!(admin("").as_deref(), Some("127.0.0.1:9901"));
    assert_eq!(admin("[admin]\naddress = \"[::1]:1\"\n").as_deref(), Some("[::1]:1"));
    assert_eq!(admin("[admin]\naddress = \"off\"\n"), None);
    // The default gives way to a listener that somebody put there.
    assert_eq!(said(&load(&format!("[listener]\naddress = \"0.0.0.0:9901\"\n{MINIMAL}"))), <[String; 0]>::default());
}

#[test]
fn the_files_of_every_profile_are_known() {
    let text = "[tls]\ncertificate = \"a.crt\"\nprivate_key = \"a.key\"\nresumption = \"on\"\n[tls.tickets]\nkey = \"t.key\"\n\
                [[tls.sni]]\nnames = \"b.example.com\"\ncertificate = [\"b.crt\", \"c.crt\"]\nprivate_key = [\"b.key\", \"c.key\"]\n\
                client_auth = { ca = \"b-ca.crt\", crl = \"b.crl\", deny_list = \"b.txt\" }\n";
    let mut files = load(&format!("{text}{MINIMAL}")).config.unwrap().tls.files();
    files.sort();
    let names: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
    assert_eq!(
        names,
        ["a.crt", "a.key", "b-ca.crt", "b.crl", "b.crt", "b.key", "b.txt", "c.crt", "c.key", "certs/ca.crt", "t.key"]
    );
}

#[test]
fn a_secret_is_shown_nowhere() {
    let loaded = load(&format!("[tls]\nprivate_key = {{ env = \"SERVER_KEY\" }}\n{MINIMAL}"));
    assert!(!format!("{loaded:?} {}", loaded.effective).contains("c2VjcmV0"));
    let key = loaded.config.unwrap().tls.fallback.certificates.remove(0).private_key;
    let PemSource::Environment { value, .. } = key else { panic!("environment") };
    assert!(value.contains("c2VjcmV0"));
}

#[test]
fn warnings_and_notes_leave_a_configuration_usable() {
    for (text, expected) in [
        ("[timeouts]\nkeepalive = \"350s\"\n", "2:13: warning: timeouts.keepalive"),
        ("[drain]\ntimeout = \"30s\"\n", "2:11: note: drain.timeout"),
        ("[tls.tickets]\nkey = \"t.key\"\n", "2:7: warning: tls.tickets.key: does nothing while tls.resumption is"),
        ("[admin]\naddress = \"0.0.0.0:9901\"\n", "2:11: warning: admin.address: whoever reaches 0.0.0.0:9901"),
        ("[headers]\nallow_names = [\"X-Plain\"]\n", "2:16: warning: headers.allow_names: `x-plain` passes anyway"),
        (
            "[headers]\ndrop_request = [\"X-Real-IP\"]\n",
            "2:17: warning: headers.drop_request: `x-real-ip` from a client is",
        ),
        ("[[route]]\npath = \"/*\"\npublic = true\nupstream = \"api\"\n", "3:10: warning: this route lets anybody"),
        ("[[route]]\npath = \"/x\"\nrespond = {}\n", "4:11: warning: no route leads to the upstream `api`"),
        (
            "[[route]]\npath = \"/*\"\nmax_request_body = 0\nupstream = \"api\"\n",
            "3:20: warning: route.max_request_body",
        ),
    ] {
        let loaded = load(&format!("{text}{MINIMAL}"));
        let said = said(&loaded);
        assert!(said.len() == 1 && said.first().unwrap().starts_with(expected), "{text}{said:?}");
        assert!(loaded.config.is_some() && !loaded.has_errors());
    }
    for (idle, expected) in [("1999ms", None), ("2s", Some("note")), ("5s", Some("warning"))] {
        let loaded = load(&format!("{MINIMAL}keepalive_idle = \"{idle}\"\n"));
        assert_eq!(loaded.diagnostics.first().map(|diagnostic| diagnostic.severity.as_str()), expected, "{idle}");
    }
}

#[test]
fn routes_that_differ_are_told_apart() {
    let text = "[[route]]\npath = \"/x\"\nmethods = [\"GET\"]\nupstream = \"api\"\n\
                [[route]]\npath = \"/x\"\nmethods = [\"PUT\"]\nupstream = \"api\"\n\
                [[route]]\npath = \"/x/*\"\nupstream = \"api\"\n\
                [[route]]\npath = \"/x\"\nhost = \"a.example\"\nupstream = \"api\"\nstrip_prefix = \"/x\"\n\
                [[route]]\npath = \"/health/*\"\nupstream = \"api\"\nstrip_prefix = \"/health\"\n";
    assert_eq!(said(&load(&format!("{text}{MINIMAL}"))), <[String; 0]>::default());
}

#[test]
fn a_bad_file_is_not_read_further() {
    let large = "#".repeat(config::LARGEST_FILE + 1);
    assert_eq!(said(&load(&large)), ["the configuration file is larger than 1 MiB"]);
    let deep = format!("{MINIMAL}\n[listener]\naddress = {}", "[".repeat(100_000));
    assert_eq!(said(&load(&deep)), ["5:27: too deeply nested"]);
}

#[test]
fn a_file_of_a_thousand_routes_is_no_burden() {
    let routes: String =
        (0..1000).map(|index| format!("[[route]]\npath = \"/r{index}/*\"\nupstream = \"api\"\n")).collect();
    let loaded = load(&format!("{routes}{MINIMAL}"));
    assert_eq!(loaded.config.unwrap().proxy.routes.len(), 1000);
    let unknown: String = (0..1000).map(|index| format!("k{index} = 1\n")).collect();
    assert_eq!(load(&format!("[logs]\n{unknown}{MINIMAL}")).diagnostics.len(), 1000);
}

#[test]
fn what_is_only_tried_takes_the_place_of_what_it_names_and_inherits_the_rest() {
    let text = format!(
        "[client_auth]\nca = \"a.crt\"\ncrl = \"a.crl\"\ncrl_scope = \"chain\"\n[client_auth.shadow]\ncrl = \"b.crl\"\n\
         [[tls.sni]]\nnames = \"x.example\"\ncertificate = \"x.crt\"\nprivate_key = \"x.key\"\n\
         [tls.sni.client_auth]\nca = \"x-ca.crt\"\n[tls.sni.client_auth.shadow]\nca = [\"y.crt\", \"z.crt\"]\n\
         allow = {{ san_dns = \"a\" }}\n\
         [[tls.sni]]\nnames = \"y.example\"\ncertificate = \"x.crt\"\nprivate_key = \"x.key\"\n\
         [tls.sni.client_auth]\nmode = \"required\"\n\
         [[tls.sni]]\nnames = \"z.example\"\ncertificate = \"x.crt\"\nprivate_key = \"x.key\"\n{MINIMAL}"
    );
    let loaded = load(&text);
    assert_eq!(said(&loaded), <[String; 0]>::default());
    let config = loaded.config.unwrap();
    let file = |name: &str| PemSource::File(name.into());
    let tried = |client_auth: &ClientAuth| {
        let ClientAuth::Asked(Asked { trust, shadow, .. }) = client_auth else { panic!("optional") };
        shadow.as_ref().map(|shadow| {
            assert_eq!(shadow.max_chain_depth, trust.max_chain_depth);
            assert_eq!(shadow.revocation.crl_scope, trust.revocation.crl_scope);
            (shadow.ca.clone(), shadow.revocation.crl.clone())
        })
    };
    let of_file = Some((vec![file("a.crt")], vec![file("b.crl")]));
    assert_eq!(tried(&config.tls.fallback.client_auth), of_file);
    let profiles: Vec<_> = config.tls.named.iter().map(|named| tried(&named.profile.client_auth)).collect();
    assert_eq!(profiles, [Some((vec![file("y.crt"), file("z.crt")], vec![file("a.crl")])), None, of_file]);
    let rules: Vec<_> = config.proxy.shadow_allow.iter().map(|allow| allow.as_ref().map(Vec::len)).collect();
    assert_eq!(rules, [None, Some(1), None, None]);
    for name in ["a.crt", "b.crl", "y.crt", "z.crt"] {
        assert!(config.tls.files().contains(&name.into()), "{name} is not watched");
    }
    let again = load(&loaded.effective.to_string());
    assert_eq!(said(&again), <[String; 0]>::default(), "{}", loaded.effective);
    assert_eq!(again.config, Some(config));
}

#[test]
fn where_nobody_is_asked_nothing_is_tried() {
    let respond = "[[route]]\npath = \"/*\"\npublic = true\nrespond = {}\n";
    let text = format!("[client_auth]\nmode = \"off\"\n[client_auth.shadow]\nca = \"a.crt\"\n{respond}");
    let loaded = load(&text);
    assert_eq!(said(&loaded), ["3:1: warning: client_auth.shadow: does nothing while client_auth.mode is \"off\""]);
    assert!(loaded.config.is_some());
}
