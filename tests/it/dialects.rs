//! The dialects in which an upstream is told of the client's certificate, read as those who speak them read them.

use http::HeaderMap;
use rcgen::{CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::support::pki::{authority_params, client_params, foreign_authority, private_key};
use crate::support::{Client, Gateway, Identity, Pki, Site, Upstream, gateway};

const ALL: &str = "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"api\"\nforward_client_cert = [\"alb\", \"rfc9440\", \"nginx\", \"traefik\", \"xfcc\"]\n";

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let mut values = headers.get_all(name).iter();
    let value = values.next().unwrap_or_else(|| panic!("{name} is not there: {headers:?}"));
    assert!(values.next().is_none(), "{name} is there twice");
    value.to_str().unwrap()
}

/// What the upstream is told of this client.
async fn told(site: &Site, identity: &Identity) -> HeaderMap {
    let answer = site.stranger.clone().with(identity).get("/x").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    site.upstream.seen().pop().unwrap().headers
}

/// RFC 4648, slowly.
fn from_base64(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String =
        text.trim_end_matches('=').chars().map(|digit| format!("{:06b}", alphabet.find(digit).unwrap())).collect();
    bits.as_bytes()
        .chunks(8)
        .filter(|byte| byte.len() == 8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Key and value pairs of one XFCC element, as Envoy's documentation has it; and as one who knows nothing of escapes
/// would read it, which has to come to the same.
fn xfcc(text: &str) -> Vec<(String, String)> {
    let read = |knows_escapes: bool| {
        let mut pairs = vec![String::new()];
        let (mut quoted, mut escaped) = (false, false);
        for character in text.chars() {
            match character {
                '"' if !(escaped && knows_escapes) => quoted = !quoted,
                ';' if !quoted => pairs.push(String::new()),
                ',' if !quoted => panic!("a second element in {text}"),
                character => pairs.last_mut().unwrap().push(character),
            }
            escaped = character == '\\' && !escaped;
        }
        assert!(!quoted, "{text}");
        pairs
    };
    assert_eq!(read(true), read(false), "{text}");
    let pair = |pair: &String| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
    read(true).iter().map(pair).collect()
}

fn all(pairs: &[(String, String)], key: &str) -> Vec<String> {
    pairs.iter().filter(|(other, _)| other == key).map(|(_, value)| value.clone()).collect()
}

/// An RFC 4514 name of one attribute for each part, its values decoded.
fn rfc4514(text: &str) -> Vec<(String, String)> {
    let mut parts = vec![Vec::new()];
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b',' => parts.push(Vec::new()),
            b'\\' => {
                let first = bytes.next().unwrap();
                if first.is_ascii_hexdigit() {
                    let digits = [first, bytes.next().unwrap()];
                    parts
                        .last_mut()
                        .unwrap()
                        .push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                } else {
                    parts.last_mut().unwrap().push(first);
                }
            }
            byte => parts.last_mut().unwrap().push(byte),
        }
    }
    parts
        .into_iter()
        .map(|part| String::from_utf8(part).unwrap())
        .map(|part| part.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap())
        .collect()
}

async fn site() -> Site {
    Site::start(ALL).await
}

/// A client below two intermediates, one of which it sends twice, beside one that has nothing to do with it; and the
/// path that is to be told.
fn below_intermediates(pki: &Pki) -> (Identity, Vec<Vec<u8>>) {
    let key = || KeyPair::generate().unwrap();
    let upper = CertifiedIssuer::signed_by(authority_params("upper", Some(1)), key(), &pki.issuer()).unwrap();
    let lower = CertifiedIssuer::signed_by(authority_params("lower", Some(0)), key(), &upper).unwrap();
    let own = key();
    let leaf = client_params("deep").signed_by(&own, &lower).unwrap();
    let stray = foreign_authority("stray");
    let chain = [leaf.der(), stray.as_ref().der(), lower.as_ref().der(), upper.as_ref().der(), lower.as_ref().der()];
    let path = [leaf.der(), lower.as_ref().der(), upper.as_ref().der()].map(|der| der.to_vec()).to_vec();
    (Identity { chain: chain.map(Clone::clone).to_vec(), key: private_key(&own) }, path)
}

/// A client with names that are there to be misread.
fn odd(pki: &Pki, common_name: &str, organization: &str) -> Identity {
    pki.spoiled(|params| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names =
            ["https://x.example/a,b;c=d", "https://x.example/\"e", "urn:f\\", "g\r\nX-Injected: 1"]
                .map(|uri| SanType::URI(uri.try_into().unwrap()))
                .into_iter()
                .chain(
                    ["h.example", "i.example;DNS=admin", "j.example,URI=k", "l\"m"]
                        .map(|name| SanType::DnsName(name.try_into().unwrap())),
                )
                .collect();
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificates_themselves_arrive_whole_and_only_those_that_were_believed() {
    let site = site().await;
    let (identity, path) = below_intermediates(&site.pki);
    let headers = told(&site, &identity).await;

    let byte_sequence = |text: &str| from_base64(text.strip_prefix(':').unwrap().strip_suffix(':').unwrap());
    assert_eq!(byte_sequence(value(&headers, "client-cert")), path[0]);
    let chain: Vec<_> = value(&headers, "client-cert-chain").split(", ").map(byte_sequence).collect();
    assert_eq!(chain, path[1..]);

    assert_eq!(from_base64(value(&headers, "x-forwarded-tls-client-cert")), path[0]);

    let pem = |text: &str| -> Vec<Vec<u8>> {
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-%+=/".contains(&byte)), "{text}");
        let text = percent_decoded(text);
        assert!(text.lines().all(|line| line.len() <= 64));
        <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::pem_slice_iter(text.as_bytes())
            .map(|der| der.unwrap().to_vec())
            .collect()
    };
    assert_eq!(pem(value(&headers, "x-amzn-mtls-clientcert-leaf")), path[..1]);
    assert_eq!(pem(value(&headers, "x-amzn-mtls-clientcert")), path);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_dialect_tells_what_its_readers_expect() {
    let site = site().await;
    let identity = site.pki.spoiled(|params| {
        params.serial_number = Some(rcgen::SerialNumber::from(vec![0x0a, 0xff]));
        params.not_before = rcgen::date_time_ymd(2020, 2, 3);
        params.not_after = rcgen::date_time_ymd(2040, 4, 5);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Caf\u{e9}, Ltd");
        params.distinguished_name.push(DnType::CommonName, "client");
        params.subject_alt_names = vec![
            SanType::URI("spiffe://td.example/a".try_into().unwrap()),
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::DnsName("b.example".try_into().unwrap()),
            SanType::IpAddress(std::net::IpAddr::from([10, 0, 0, 1])),
        ];
    });
    let headers = told(&site, &identity).await;
    let hash = mtls_gateway::identity::hex_lower(&mtls_gateway::identity::sha256(&identity.chain[0]));
    assert_eq!(
        value(&headers, "x-forwarded-client-cert"),
        format!(
            "Hash={hash};Subject=\"CN=client,O=Caf\\C3\\A9\\2C Ltd\";URI=spiffe://td.example/a;DNS=a.example;DNS=b.example"
        )
    );
    assert_eq!(value(&headers, "x-amzn-mtls-clientcert-serial-number"), "0AFF");
    assert_eq!(value(&headers, "x-amzn-mtls-clientcert-subject"), "CN=client,O=Caf\\C3\\A9\\, Ltd");
    assert_eq!(
        value(&headers, "x-amzn-mtls-clientcert-validity"),
        "NotBefore=2020-02-03T00:00:00Z;NotAfter=2040-04-05T00:00:00Z"
    );
    assert_eq!(value(&headers, "x-amzn-mtls-clientcert-issuer"), value(&headers, "x-ssl-client-i-dn"));
    let info = percent_decoded(&value(&headers, "x-forwarded-tls-client-cert-info").replace('+', " "));
    let (before, after) = info.split_once(";Issuer=\"").unwrap();
    assert_eq!(before, "Subject=\"O=Caf\u{e9}\\2C Ltd,CN=client\"");
    assert!(
        after.ends_with(
            "\";SerialNumber=\"2815\";NB=\"1580688000\";NA=\"2217196800\";SAN=\"a.example,b.example,10.0.0.1,spiffe://td.example/a\""
        ),
        "{info}"
    );
    assert_eq!(value(&headers, "x-ssl-client-verify"), "SUCCESS");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_ends_a_field_a_value_or_a_quotation() {
    let site = site().await;
    let traps = [
        "\"",
        "\\",
        "\\\"",
        "a\";URI=spiffe://td/admin;Subject=\"b",
        "a\\\";DNS=admin",
        "a,By=x;Hash=0",
        "a\r\nX-Injected: 1",
        "a\0b",
        "\u{e9}\u{1f600}",
        " a ",
        "#a",
        "a=b;c",
        "%22%3B",
        "+\u{7f}",
    ];
    for trap in traps {
        let identity = odd(&site.pki, trap, "Some \"Org\", Ltd");
        let headers = told(&site, &identity).await;
        assert!(headers.get("x-injected").is_none());
        let (_, parsed) = X509Certificate::from_der(&identity.chain[0]).unwrap();

        let pairs = xfcc(value(&headers, "x-forwarded-client-cert"));
        let name = vec![("CN".to_owned(), trap.to_owned()), ("O".to_owned(), "Some \"Org\", Ltd".to_owned())];
        assert_eq!(
            all(&pairs, "Subject").iter().map(|text| rfc4514(text)).collect::<Vec<_>>(),
            std::slice::from_ref(&name),
            "{trap:?}"
        );
        assert_eq!(all(&pairs, "URI"), ["https://x.example/a,b;c=d"], "{trap:?}");
        assert_eq!(all(&pairs, "DNS"), ["h.example"], "{trap:?}");
        assert_eq!(all(&pairs, "By"), <[String; 0]>::default());
        assert_eq!(pairs.len(), 4);

        assert_eq!(rfc4514(value(&headers, "x-amzn-mtls-clientcert-subject")), name, "{trap:?}");
        assert_eq!(rfc4514(value(&headers, "x-ssl-client-s-dn")), name, "{trap:?}");

        let info = value(&headers, "x-forwarded-tls-client-cert-info");
        assert!(info.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%+".contains(&byte)), "{info}");
        let info = percent_decoded(&info.replace('+', " "));
        assert!(!info.contains(char::is_control), "{info:?}");
        let parts: Vec<_> = info.split("\";").map(|part| part.split_once("=\"").unwrap()).collect();
        let keys: Vec<_> = parts.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["Subject", "Issuer", "SerialNumber", "NB", "NA", "SAN"], "{info}");
        assert_eq!(parts[5].1, "h.example\"");
        assert_eq!(parts[2].1, parsed.tbs_certificate.serial.to_string());
        if !trap.contains(char::is_control) {
            assert_eq!(
                parts[0].1.replace("\\22", "\"").replace("\\2C", ",").replace("\\3B", ";").replace("\\5C", "\\"),
                format!("O=Some \"Org\", Ltd,CN={trap}")
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_believed_is_described_in_no_dialect() {
    let site = site().await;
    let expired = site.pki.spoiled(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for (client, verify) in [(site.stranger.clone(), "NONE"), (site.stranger.clone().with(&expired), "FAILED:expired")]
    {
        assert_eq!(client.get("/x").await.status, 200);
        let headers = site.upstream.seen().pop().unwrap().headers;
        let about: Vec<_> = headers
            .iter()
            .filter(|(name, _)| mtls_gateway::proxy::is_protected(name.as_str()))
            .filter(|(name, _)| {
                ![
                    "x-forwarded-for",
                    "x-forwarded-proto",
                    "x-forwarded-host",
                    "x-forwarded-port",
                    "x-real-ip",
                    "x-request-id",
                ]
                .contains(&name.as_str())
            })
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(about, [("x-ssl-client-verify", verify)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_speaks_its_own_dialects_on_one_connection() {
    let pki = Pki::new();
    let upstream = Upstream::echo().await;
    let sets = ["", "\"nginx\"", "\"xfcc\"", "\"rfc9440\", \"xfcc\"", "\"xfcc\", \"rfc9440\""];
    let routes: String = sets
        .iter()
        .enumerate()
        .map(|(index, set)| {
            format!("[[route]]\npath = \"/{index}\"\nupstream = \"api\"\nforward_client_cert = [{set}]\n")
        })
        .collect();
    let gateway = Gateway::start(&pki, &format!("{}{routes}", gateway::upstream("api", upstream.address))).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    let mut raw = client.raw().await;
    for (index, set) in sets.iter().enumerate() {
        raw.send(format!(
            "GET /{index} HTTP/1.1\r\nHost: localhost\r\nClient-Cert: a lie\r\nX-Forwarded-Client-Cert: a lie\r\n\r\n"
        ))
        .await;
        assert_eq!(raw.answer().await.status, 200);
        let headers = upstream.seen().pop().unwrap().headers;
        for (dialect, name) in
            [("nginx", "x-ssl-client-verify"), ("xfcc", "x-forwarded-client-cert"), ("rfc9440", "client-cert")]
        {
            assert_eq!(headers.contains_key(name), set.contains(dialect), "{name} with [{set}]");
        }
        assert!(headers.values().all(|value| value.as_bytes() != b"a lie"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_gunicorn_would_refuse_is_left_out() {
    let site = site().await;
    let with_extension = |size: usize, names: usize| {
        site.pki.spoiled(|params: &mut CertificateParams| {
            params.custom_extensions =
                vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![b'x'; size])];
            params.subject_alt_names = (0..names)
                .map(|index| SanType::DnsName(format!("name-{index}.a-rather-long-name.example").try_into().unwrap()))
                .collect();
        })
    };
    let fits = told(&site, &with_extension(5300, 1)).await;
    assert!(fits.contains_key("client-cert") && fits.contains_key("x-forwarded-tls-client-cert"));
    for identity in [with_extension(8000, 1), with_extension(0, 400)] {
        let headers = told(&site, &identity).await;
        for name in ["client-cert", "client-cert-chain", "x-forwarded-tls-client-cert", "x-amzn-mtls-clientcert-leaf"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        for (name, value) in &headers {
            assert!(name.as_str().len() + value.len() + 4 <= 8190, "{name}");
        }
        assert!(headers.contains_key("x-amzn-mtls-clientcert-subject"));
    }
    let headers = told(&site, &with_extension(0, 400)).await;
    assert_eq!(all(&xfcc(value(&headers, "x-forwarded-client-cert")), "DNS"), <[String; 0]>::default());
    assert!(!value(&headers, "x-forwarded-tls-client-cert-info").contains("SAN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_learns_by_which_identity_the_gateway_was_called() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let mut params = client_params("localhost");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names.push(SanType::URI("spiffe://td.example/gateway".try_into().unwrap()));
    let certificate = params.signed_by(&key, &pki.issuer()).unwrap();
    std::fs::write(pki.path("server.crt"), certificate.pem()).unwrap();
    std::fs::write(pki.path("server.key"), key.serialize_pem()).unwrap();
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&pki, &format!("{}{ALL}", gateway::upstream("api", upstream.address))).await;
    let client = Client::new(&pki, gateway.address).with(&pki.client("client-1"));
    assert_eq!(client.get("/").await.status, 200);
    let headers = upstream.seen().pop().unwrap().headers;
    assert!(value(&headers, "x-forwarded-client-cert").starts_with("By=spiffe://td.example/gateway;Hash="));
}
