# The image of the gateway: one static binary and an empty folder for certificates, nothing else.
#
#   docker build -t mtls-gateway --build-arg VERSION="$(git describe --tags --always --dirty)" .
#
# Needs no BuildKit. Builds for the machine it runs on: on arm64 the same file gives an arm64 image.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# For jemalloc.
RUN apt-get update -q && apt-get install -y -q --no-install-recommends make && rm -rf /var/lib/apt/lists/*

# The target is named, even though it is the machine's own, so that only the gateway is linked statically and not the
# build scripts and procedural macros. With the getrandom system call the gateway needs no /dev.
COPY .cargo .cargo
RUN printf '[build]\ntarget = "%s"\nrustflags = ["-Ctarget-feature=+crt-static", "--cfg", "getrandom_backend=\\"linux_getrandom\\""]\n' \
    "$(rustc -vV | sed -n 's/^host: //p')" >> .cargo/config.toml && cat .cargo/config.toml

# The dependencies have a layer of their own: it is built again only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/side_by_side benches/parts \
    && echo 'fn main() {}' | tee src/main.rs benches/side_by_side/main.rs benches/parts/main.rs > src/lib.rs \
    && cargo build --locked --release --bin gateway \
    && cargo clean --release --package mtls-gateway

COPY src src
ARG VERSION=
RUN find src -name '*.rs' -exec touch {} + \
    && GATEWAY_BUILD_VERSION="$VERSION" cargo build --locked --release --bin gateway \
    && mkdir -p /image/certs \
    && cp target/*/release/gateway /image/gateway \
    && /image/gateway --version

FROM scratch
ARG VERSION=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="gateway" \
      org.opencontainers.image.description="An mTLS gateway: asks for a client certificate, says why one was refused, and proxies to an API found by DNS" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=build /image/gateway /gateway
COPY --from=build --chown=65532:65532 /image/certs /certs
USER 65532:65532
# `certs/server.crt`, as in every default, is /certs/server.crt.
WORKDIR /
EXPOSE 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s --retries=3 CMD ["/gateway", "health"]
ENTRYPOINT ["/gateway"]
CMD ["run"]
