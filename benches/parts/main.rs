//! The parts of a request's way that neither wait nor touch a socket, one by one: what each costs, and whether that
//! grows with what is configured.
//!
//! `just bench-parts`; docs/performance.md tells what came of it. What whole requests cost, beside other gateways, is
//! `side_by_side`'s to say. Each part is asked once, before it is measured, whether it does what it is there for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measuring tool: what goes wrong is said by a panic"
)]

mod admission;
mod answer_head;
mod client_cert;
mod judging;
mod paths;
mod picking;
mod pki;
mod request_head;
mod routing;

use std::time::Duration;

use criterion::Criterion;

/// The gateway's own: half of what small parts cost is often their memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    // Shorter than criterion's own times: there are many parts, and on a busy machine two short runs say more than a
    // long one.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(50)
        .without_plots()
        .configure_from_args();
    routing::measure(&mut criterion);
    paths::measure(&mut criterion);
    admission::measure(&mut criterion);
    judging::measure(&mut criterion);
    picking::measure(&mut criterion);
    request_head::measure(&mut criterion);
    answer_head::measure(&mut criterion);
    client_cert::measure(&mut criterion);
    criterion.final_summary();
}
