# What there is to do; `just check` is what CI runs.

default: check

# Everything a change must pass.
check: fmt lint test deny

fmt:
    cargo fmt --check

lint:
    cargo clippy --all-targets --locked -- -D warnings

test:
    cargo test --locked

# Advisories need the advisory database, which is fetched; the rest is checked offline.
deny:
    cargo deny --locked check bans licenses sources

advisories:
    cargo deny --locked check advisories

# CPU per request beside nginx (Debian's nginx-light) on this machine.
bench:
    cargo bench --locked --bench side_by_side

# Throw-away certificates in certs/, for trying things by hand.
dev-certs:
    cargo run -- certs init
    cargo run -- certs server
    cargo run -- certs client
