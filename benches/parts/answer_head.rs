//! The head of an upstream's answer: read off the wire, and made ready for the client.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use http::HeaderMap;
use http::header::HeaderValue;
use mtls_gateway::proxy::clean_answer;
use mtls_gateway::upstream::read_whole_answer;

const SIZES: [usize; 3] = [8, 32, 100];

/// What upstreams usually send. Of the last two, one ends here.
const USUAL: [&str; 8] = [
    "content-type: application/json",
    "content-length: 24",
    "date: Mon, 01 Jun 2026 00:00:00 GMT",
    "server: gunicorn",
    "cache-control: private, max-age=60",
    "etag: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"",
    "connection: keep-alive",
    "x-request-id: of-the-upstream",
];

/// Of 24 bytes.
const BODY: &str = "{\"order\":17,\"paid\":true}";

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read an answer's head");
    for fields in SIZES {
        let text = text(fields);
        let read = |text: &str| read_whole_answer(text.as_bytes(), false, text.len());
        let whole = read(&text).unwrap();
        assert_eq!((whole.answer.headers().len(), whole.answer.body().as_slice()), (fields, BODY.as_bytes()));
        assert!(whole.keeps && whole.left == 0);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(fields), text.as_str(), |bencher, text| {
            bencher.iter(|| read(black_box(text)));
        });
    }
    group.finish();

    let id = HeaderValue::from_static("0af7651916cd43dd8448eb211c80319c");
    let mut group = criterion.benchmark_group("clean an answer's head");
    for fields in SIZES {
        let headers = headers(fields);
        let cleaned = |mut headers: HeaderMap| {
            clean_answer(&mut headers, &id);
            headers
        };
        let kept = cleaned(headers.clone());
        assert_eq!((kept.len(), kept.get("x-request-id")), (fields - 1, Some(&id)));
        assert!(!kept.contains_key("connection"));
        group.throughput(Throughput::Elements(fields as u64));
        group.bench_with_input(BenchmarkId::from_parameter(fields), &headers, |bencher, headers| {
            bencher.iter_batched(|| headers.clone(), cleaned, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn text(fields: usize) -> String {
    let more = (USUAL.len()..fields).map(|number| format!("x-application-{number}: some value of a usual length"));
    let lines: Vec<_> = USUAL.iter().map(|line| (*line).to_owned()).chain(more).collect();
    format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n{BODY}", lines.join("\r\n"))
}

fn headers(fields: usize) -> HeaderMap {
    let text = text(fields);
    read_whole_answer(text.as_bytes(), false, text.len()).unwrap().answer.headers().clone()
}
