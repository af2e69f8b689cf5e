# The program with all roles: `docker run spindle:local writer`. Built from this checkout, without BuildKit.
FROM node:22-bookworm-slim AS page
WORKDIR /web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY web .
RUN npm run build

FROM rust:1.95.0-slim-bookworm AS manifests
WORKDIR /src
COPY . .
# Keeps only the manifests, so that the dependencies are rebuilt only when these change.
RUN find crates -type f ! -name Cargo.toml ! -path 'crates/*/src/lib.rs' ! -path 'crates/*/src/main.rs' -delete \
    && for lib in crates/*/src/lib.rs; do : > "$lib"; done \
    && for main in crates/*/src/main.rs; do echo 'fn main() {}' > "$main"; done

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY --from=manifests /src .
RUN cargo build --release --locked -p spindle
COPY . .
COPY --from=page /web/dist web/dist
# Newer than the build of the empty files.
RUN find crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked -p spindle \
    && strip -o /spindle target/release/spindle \
    && mkdir /data

FROM debian:bookworm-slim
# For InfluxDB over https and NATS over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /spindle /usr/local/bin/spindle
# A user without a name or a home directory; a named volume at /data inherits the owner.
COPY --from=build --chown=10001:10001 /data /data
USER 10001:10001
# The health port is not reachable from outside the container, unless SPINDLE_HEALTH names another address.
ENV SPINDLE_DATA_DIR=/data SPINDLE_HEALTH=127.0.0.1:8081 LANG=C.UTF-8
WORKDIR /data
STOPSIGNAL SIGTERM
# Ready: NATS is connected, and the store is available if the role uses one.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["spindle", "health"]
ENTRYPOINT ["spindle"]
CMD ["--help"]
