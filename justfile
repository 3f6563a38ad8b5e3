# What there is to do; `just check` is what CI runs.

default: check

# Everything a change must pass.
check: fmt lint test deny

fmt:
    cargo fmt --check

lint:
    cargo clippy --all-targets --locked -- -D warnings
    cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target -- -D warnings

test:
    cargo test --locked

# The gateway's image and the example API's, as compose.yaml runs them.
images:
    VERSION="$(git describe --tags --always --dirty)" REVISION="$(git rev-parse HEAD)" docker-compose build

# One fuzz target for so many seconds, on the stable toolchain; needs `cargo install cargo-fuzz --locked`. The targets
# are: answer certificate config dialects p12 path pem request revocation.
fuzz target seconds="300" *arguments:
    GATEWAY_FUZZ_SEEDS=fuzz/corpus cargo test --locked --test properties seeds_for_fuzzing -- --ignored
    cargo fuzz run -s none --no-cfg-fuzzing {{target}} -- -max_total_time={{seconds}} -timeout=60 {{arguments}}

# Advisories need the advisory database, which is fetched; the rest is checked offline.
deny:
    cargo deny --locked check bans licenses sources

advisories:
    cargo deny --locked check advisories

# The gateway beside nginx and haproxy: every row of docs/performance.md. `just bench --help` tells the rest.
bench *arguments:
    cargo bench --locked --bench side_by_side -- {{arguments}}

# The rows that matter most, under 3 minutes.
bench-quick *arguments:
    cargo bench --locked --bench side_by_side -- --quick {{arguments}}

# The parts of a request one by one: routing, admission, judging and so on. A word is a filter: `just bench-parts route`.
bench-parts *arguments:
    cargo bench --locked --bench parts -- {{arguments}}

# Instructions of a request, against what was recorded: what CI holds speed to.
instructions:
    cargo build --locked --release --bin gateway
    benches/instructions.py target/release/gateway

# nginx and haproxy with OpenSSL 3.5, from Debian 13, for `just bench --newer DIR`; needs root.
bench-peers dir:
    benches/peers/make-newer-peers {{dir}}

# Throw-away certificates in certs/, for trying things by hand.
dev-certs:
    cargo run -- certs init
    cargo run -- certs server
    cargo run -- certs client
