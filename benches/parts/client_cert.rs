//! The fields about the client's certificate, in each dialect. They are made once for a client, and not for each of its
//! requests.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion};
use mtls_gateway::identity::ClientCert;
use mtls_gateway::proxy::{Dialect, client_cert_fields};

use crate::pki::{Keys, Pki, facts_of};

/// A dialect, and a field of its.
const DIALECTS: [(&str, Dialect, &str); 5] = [
    ("nginx", Dialect::Nginx, "x-ssl-client-verify"),
    ("rfc9440", Dialect::Rfc9440, "client-cert"),
    ("xfcc", Dialect::Xfcc, "x-forwarded-client-cert"),
    ("alb", Dialect::Alb, "x-amzn-mtls-clientcert"),
    ("traefik", Dialect::Traefik, "x-forwarded-tls-client-cert"),
];

pub(crate) fn measure(criterion: &mut Criterion) {
    let path = Pki::new(Keys::P256).below_intermediate();
    let own = facts_of(&path);
    let client = ClientCert::Verified(Arc::new(own.clone()));
    let one = DIALECTS.iter().map(|(name, dialect, field)| (*name, vec![*dialect], vec![*field]));
    let all = ("all", DIALECTS.map(|row| row.1).to_vec(), DIALECTS.map(|row| row.2).to_vec());
    let mut group = criterion.benchmark_group("tell of a certificate");
    for (name, dialects, fields) in one.chain([all]) {
        let tell = |client: &ClientCert| client_cert_fields(dialects.clone(), &own, client, &path);
        let told = tell(&client);
        assert!(fields.iter().all(|field| told.contains_key(*field)), "{told:?}");
        assert_eq!(tell(&ClientCert::NotPresented).contains_key(fields[0]), dialects.contains(&Dialect::Nginx));
        group.bench_with_input(BenchmarkId::from_parameter(name), &client, |bencher, client| {
            bencher.iter(|| tell(black_box(client)));
        });
    }
    group.finish();
}
