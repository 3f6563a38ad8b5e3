//! Allow and deny lists: who of the verified clients a route lets in, and in which order refusals are told.

use std::net::IpAddr;

use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, SanType};

use crate::support::site::ROUTES;
use crate::support::{Client, Gateway, Identity, Pki, Site, Upstream, gateway};

/// One route for each rule, `/0` to `/n`, and what the client gets on each of them.
async fn answers(identity: impl FnOnce(&Pki) -> Identity, rules: &[&str]) -> Vec<u16> {
    let pki = Pki::new();
    let routes: String = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| format!("[[route]]\npath = \"/{index}\"\nrespond = {{ status = 200 }}\n{rule}\n"))
        .collect();
    let gateway = Gateway::start(&pki, &routes).await;
    let client = Client::new(&pki, gateway.address).with(&identity(&pki));
    let mut raw = client.raw().await;
    let mut answers = Vec::new();
    for index in 0..rules.len() {
        raw.send(format!("GET /{index} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let answer = raw.answer().await;
        if answer.status == 403 {
            assert_eq!(answer.json()["reason"], "not_allowed", "{}", answer.text());
        }
        answers.push(answer.status);
    }
    answers
}

/// Rules with whether they let this client in.
async fn decided(identity: impl FnOnce(&Pki) -> Identity, cases: &[(&str, bool)]) {
    let rules: Vec<_> = cases.iter().map(|(rule, _)| *rule).collect();
    let answers = answers(identity, &rules).await;
    for ((rule, lets_in), status) in cases.iter().zip(answers) {
        assert_eq!(status, if *lets_in { 200 } else { 403 }, "{rule}");
    }
}

fn names(params: &mut CertificateParams, names: &[(DnType, DnValue)]) {
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in names {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
}

fn utf8(text: &str) -> DnValue {
    DnValue::Utf8String(text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_every_kind_let_in_and_keep_out() {
    let identity = |pki: &Pki| {
        pki.spoiled(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("A.Partner.example".try_into().unwrap()),
                SanType::URI("spiffe://td.example/ns/prod/sa/api".try_into().unwrap()),
                SanType::Rfc822Name("Ann@Example.com".try_into().unwrap()),
                SanType::IpAddress(IpAddr::from([10, 1, 2, 3])),
            ];
            let organization_identifier = DnType::CustomDnType(vec![2, 5, 4, 97]);
            names(
                params,
                &[
                    (DnType::CommonName, DnValue::PrintableString("Ann Other".try_into().unwrap())),
                    (DnType::OrganizationName, DnValue::BmpString("M\u{fc}nchen AG".try_into().unwrap())),
                    (organization_identifier, utf8("PSDES-BDE-3DFD21")),
                ],
            );
        })
    };
    decided(
        identity,
        &[
            ("", true),
            ("require = [\"mtls\"]", true),
            ("allow = { san_dns = \"*.partner.example\" }", true),
            ("allow = [{ san_dns = \"a.PARTNER.example\" }]", true),
            ("allow = [{ san_dns = \"partner.example\" }]", false),
            ("allow = [{ san_dns = \"*.example\" }]", false),
            ("allow = [{ spiffe = \"spiffe://td.example/ns/*/sa/api\" }]", true),
            ("allow = [{ spiffe = \"spiffe://td.example/*\" }]", false),
            ("allow = [{ san_uri = \"spiffe://td.example/ns/prod/sa/*\" }]", true),
            ("allow = [{ san_email = \"Ann@example.COM\" }]", true),
            ("allow = [{ san_email = \"ann@example.com\" }]", false),
            ("allow = [{ san_email = \"*@example.com\" }]", true),
            ("allow = [{ san_ip = \"10.1.0.0/16\" }]", true),
            ("allow = [{ san_ip = \"10.1.2.4\" }]", false),
            ("allow = [{ subject_cn = \"Ann Other\" }]", true),
            ("allow = [{ subject_cn = \"ann other\" }]", false),
            ("allow = [{ subject_o = \"M\u{fc}nchen AG\" }]", true),
            ("allow = [{ subject_organization_identifier = \"PSDES-BDE-3DFD21\" }]", true),
            ("allow = [{ subject_oid = [\"2.5.4.97=x\", \"2.5.4.97=PSDES-BDE-3DFD21\"] }]", true),
            ("allow = [{ subject_cn = \"Ann Other\", subject_o = \"Other\" }]", false),
            ("allow = [{ subject_cn = \"Nobody\" }, { san_ip = \"10.0.0.0/8\" }]", true),
            ("deny = [{ subject_cn = \"Ann Other\" }]", false),
            ("deny = [{ subject_cn = \"Nobody\" }]", true),
            ("allow = [{ subject_cn = \"Ann Other\" }]\ndeny = { san_dns = \"*.partner.example\" }", false),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_and_its_key_are_told_by_their_hashes_and_its_issuer_by_name() {
    let pki = Pki::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let [one, renewed] = [1, 2].map(|_| pki.spoiled_with_key(&key, |_| {}));
    let other = pki.client("client-1");
    let hash = |bytes: &[u8]| mtls_gateway::identity::hex_upper(&mtls_gateway::identity::sha256(bytes));
    let facts = mtls_gateway::identity::CertificateFacts::from_der(&pki.client("client-1").chain[0]).unwrap();
    let issuer = facts.details.issuer.iter().find(|attribute| attribute.oid == "2.5.4.3").unwrap().value.clone();
    let routes = format!(
        "[[route]]\npath = \"/certificate\"\nrespond = {{}}\nallow = [{{ sha256 = \"{}\" }}]\n\
         [[route]]\npath = \"/key\"\nrespond = {{}}\nallow = [{{ public_key_sha256 = \"{}\" }}]\n\
         [[route]]\npath = \"/issuer\"\nrespond = {{}}\nallow = [{{ issuer_cn = {issuer:?} }}]\n",
        hash(&one.chain[0]),
        hash(&rcgen::PublicKeyData::subject_public_key_info(&key)),
    );
    let gateway = Gateway::start(&pki, &routes).await;
    let client = Client::new(&pki, gateway.address);
    for (identity, certificate, key) in [(&one, 200, 200), (&renewed, 403, 200), (&other, 403, 403)] {
        let client = client.clone().with(identity);
        assert_eq!(client.get("/certificate").await.status, certificate);
        assert_eq!(client.get("/key").await.status, key);
        assert_eq!(client.get("/issuer").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_something_hidden_in_it_is_nobodys() {
    // A NUL that ends a C string, a second name behind a separator, look-alikes, and space around.
    for value in ["admin\0.evil", "admin\n", "admin,CN=x", "ADMIN", "admin ", " admin", "\u{430}dmin"] {
        let identity = |pki: &Pki| {
            pki.spoiled(|params| {
                names(params, &[(DnType::CommonName, utf8(value))]);
                params.subject_alt_names = vec![SanType::DnsName("admin.example.evil".try_into().unwrap())];
            })
        };
        decided(
            identity,
            &[
                ("allow = [{ subject_cn = \"admin\" }]", false),
                ("allow = [{ subject_oid = \"2.5.4.3=admin\" }]", false),
                ("allow = [{ san_dns = \"admin.example\" }]", false),
            ],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_policy_come_after_route_and_method_and_after_the_certificate() {
    let routes = format!(
        "{ROUTES}[[route]]\npath = \"/listed\"\nmethods = [\"GET\"]\nupstream = \"api\"\nallow = [{{ subject_cn = \"nobody\" }}]\n"
    );
    let site = Site::start(&routes).await;
    let get = |client: Client, method: &'static str, path: &'static str| async move {
        let answer = client.send_raw(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        (answer.status, reason)
    };
    let expired = site.pki.spoiled(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let cases = [
        (site.stranger.clone(), "GET", (403, "certificate_missing")),
        (site.stranger.clone().with(&expired), "GET", (403, "expired")),
        (site.client.clone(), "GET", (403, "not_allowed")),
        (site.client.clone(), "POST", (405, "method_not_allowed")),
    ];
    for (client, method, (status, reason)) in cases {
        assert_eq!(get(client, method, "/listed").await, (status, reason.to_owned()));
    }
    let over_h2 = site.client.h2("GET", "/listed", &[], "").await;
    assert_eq!((over_h2.status.as_u16(), &over_h2.json()["reason"]), (403, &"not_allowed".into()));
    assert!(site.upstream.seen().is_empty(), "what a policy refuses reaches no upstream");
    let line = site.gateway.logged("request", |line| line["reason"] == "not_allowed").await;
    assert_eq!((line["client_verify"].as_str(), line["status"].as_u64()), (Some("SUCCESS"), Some(403)));
    assert_eq!(line["route"], "/listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_holds_from_the_next_request_on() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let text = |rule: &str| {
        format!(
            "{}{}[[route]]\npath = \"/*\"\nupstream = \"api\"\n{rule}\n",
            gateway::base(&pki),
            gateway::upstream("api", upstream.address)
        )
    };
    let gateway = Gateway::start_with(&text("")).await;
    let mut raw = Client::new(&pki, gateway.address).with(&pki.client("client-1")).raw().await;
    let get = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (rule, status) in [
        ("", 200),
        ("deny = [{ san_dns = \"client-1\" }]", 403),
        ("allow = [{ san_dns = \"client-1\" }]", 200),
        ("allow = [{ san_dns = \"client-2\" }]", 403),
    ] {
        gateway.reload_with(&text(rule)).await.unwrap();
        raw.send(get).await;
        assert_eq!(raw.answer().await.status, status, "{rule}");
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn openssls_names_in_old_string_types_are_compared_decoded() {
    if !crate::support::binary::have("openssl") {
        return;
    }
    // T61String, BMPString and IA5String as OpenSSL writes them; RSA, as such certificates have.
    let pki = Pki::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(
        path("x.cnf"),
        "[req]\ndistinguished_name=dn\nprompt=no\nstring_mask=MASK:0x806\n[dn]\nCN=caf\u{e9}\nOU=Ops\nUID=u-1\n\
         [v3]\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n",
    )
    .unwrap();
    let openssl = |arguments: &[&str]| {
        let output = std::process::Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(&[
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-utf8",
        "-config",
        &path("x.cnf"),
        "-keyout",
        &path("k"),
        "-out",
        &path("r"),
    ]);
    let (ca, ca_key) = (pki.path("ca.crt").display().to_string(), pki.path("ca.key").display().to_string());
    openssl(&[
        "x509",
        "-req",
        "-in",
        &path("r"),
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-days",
        "2",
        "-extfile",
        &path("x.cnf"),
        "-extensions",
        "v3",
        "-set_serial",
        "77",
        "-out",
        &path("c"),
    ]);
    let read = |name: &str| std::fs::read(path(name)).unwrap();
    let chain =
        <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::pem_slice_iter(&read("c"))
            .collect::<Result<_, _>>()
            .unwrap();
    let key = <rustls::pki_types::PrivateKeyDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(&read("k"))
        .unwrap();
    let identity = Identity { chain, key };
    let routes = "[[route]]\npath = \"/a\"\nrespond = {}\nallow = [{ subject_cn = \"caf\u{e9}\", subject_ou = \"Ops\", subject_uid = \"u-1\" }]\n\
                  [[route]]\npath = \"/b\"\nrespond = {}\nallow = [{ subject_cn = \"cafe\" }]\n";
    let gateway = Gateway::start(&pki, routes).await;
    let client = Client::new(&pki, gateway.address).with(&identity);
    assert_eq!(client.get("/a").await.status, 200);
    assert_eq!(client.get("/b").await.status, 403);
}
