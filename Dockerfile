# The program with all its roles: `docker run spindle:local writer`. Built from this checkout, no BuildKit needed.
FROM rust:1.95.0-slim-bookworm AS manifests
WORKDIR /src
COPY . .
# Only what says which libraries are needed stays: they are built once, and again when that changes.
RUN find crates -type f ! -name Cargo.toml ! -path 'crates/*/src/lib.rs' ! -path 'crates/*/src/main.rs' -delete \
    && for lib in crates/*/src/lib.rs; do : > "$lib"; done \
    && for main in crates/*/src/main.rs; do echo 'fn main() {}' > "$main"; done

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY --from=manifests /src .
RUN cargo build --release --locked -p spindle
COPY . .
# Newer than what was built from the empty files.
RUN find crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked -p spindle \
    && strip -o /spindle target/release/spindle \
    && mkdir /data

FROM debian:bookworm-slim
# For an InfluxDB behind https and a NATS with TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /spindle /usr/local/bin/spindle
# A user without a name or a home; a named volume at /data takes its owner from here.
COPY --from=build --chown=10001:10001 /data /data
USER 10001:10001
# Nothing is asked from outside the container, unless SPINDLE_HEALTH names another address.
ENV SPINDLE_DATA_DIR=/data SPINDLE_HEALTH=127.0.0.1:8081
WORKDIR /data
STOPSIGNAL SIGTERM
# Ready means: NATS is connected, and the store answers where the role has one.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["spindle", "health"]
ENTRYPOINT ["spindle"]
CMD ["--help"]
