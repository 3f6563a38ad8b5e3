//! Signature schemes one by one: with which a client proves that it holds its key, told by OpenSSL's options, which
//! other libraries leave to themselves.

use std::time::Duration;

use tokio::process::Command;

use crate::process::run;
use crate::site::{Door, Site};
use crate::support::binary::have;
use crate::support::eventually;

/// What comes of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// A connection of a client that is known.
    Known,
    /// A connection of nobody: the client has nothing to sign with, and says so by sending no certificate.
    Unknown,
    /// No connection.
    Nothing,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scheme_that_is_offered_is_accepted_and_no_other() {
    if !have("openssl") {
        return;
    }
    let site = Site::start().await;
    let both = ["-tls1_2", "-tls1_3"];
    let (old, new) = (&both[..1], &both[1..]);
    for (versions, client, schemes, comes) in [
        (&both[..], "p256", "ECDSA+SHA256", Comes::Known),
        (&both, "p384", "ECDSA+SHA384", Comes::Known),
        (&both, "ed25519", "ed25519", Comes::Known),
        (&both, "rsa2048", "RSA-PSS+SHA256", Comes::Known),
        (&both, "rsa2048", "RSA-PSS+SHA384", Comes::Known),
        (&both, "rsa4096", "RSA-PSS+SHA512", Comes::Known),
        // In TLS 1.2 a scheme names the hash and no curve.
        (old, "p256", "ECDSA+SHA384", Comes::Known),
        (old, "p384", "ECDSA+SHA256", Comes::Known),
        (old, "p384", "ECDSA+SHA512", Comes::Known),
        (new, "p256", "ECDSA+SHA384", Comes::Unknown),
        // RSA as it was before PSS is of TLS 1.2.
        (old, "rsa2048", "RSA+SHA256", Comes::Known),
        (old, "rsa2048", "RSA+SHA384", Comes::Known),
        (old, "rsa4096", "RSA+SHA512", Comes::Known),
        (new, "rsa2048", "RSA+SHA256", Comes::Unknown),
        (old, "rsa2048", "RSA+SHA1", Comes::Unknown),
        (old, "p256", "ECDSA+SHA1", Comes::Unknown),
    ] {
        for version in versions {
            let found = shake(&site, version, client, schemes).await;
            assert_eq!(found.0, comes, "{version} {client} {schemes}: {}", found.1);
        }
    }
}

async fn shake(site: &Site, version: &str, client: &str, schemes: &str) -> (Comes, String) {
    let [certificate, key] = site.pair(client);
    let port = site.gateway(Door::Open("p256")).address.port();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-ign_eof", "-servername", "localhost", version, "-client_sigalgs", schemes]);
    command.args(["-connect", &format!("127.0.0.1:{port}")]).arg("-CAfile").arg(site.path("ca.crt"));
    command.arg("-cert").arg(certificate).arg("-key").arg(key);
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let ran = run(&mut command, request, Duration::from_secs(30)).await;
    let comes = if ran.out.contains("200 OK") && ran.out.contains(&format!("CN={client}")) {
        Comes::Known
    } else if ran.out.contains("403 Forbidden") && ran.out.contains("certificate_missing") {
        Comes::Unknown
    } else {
        Comes::Nothing
    };
    (comes, format!("{}{}", ran.out, ran.err))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_verify_none_of_the_gateways_keys_is_told_so_by_an_alert() {
    if !have("openssl") {
        return;
    }
    let site = Site::start().await;
    for (refused, version) in ["-tls1_2", "-tls1_3"].into_iter().enumerate() {
        let gateway = site.gateway(Door::Open("ed25519"));
        let mut command = Command::new("openssl");
        command.args(["s_client", "-servername", "localhost", version, "-sigalgs", "RSA-PSS+SHA256:ECDSA+SHA256"]);
        command.args(["-connect", &gateway.address.to_string()]);
        let ran = run(&mut command, "", Duration::from_secs(30)).await;
        assert!(!ran.succeeded && ran.err.contains("alert handshake failure"), "{version}: {}", ran.err);
        eventually("the log's line", async || {
            let lines = gateway.log();
            let told =
                lines.iter().filter(|line| line["detail"] == "the client verifies no signature of this server's keys");
            (told.count() == refused + 1).then_some(())
        })
        .await;
    }
}
