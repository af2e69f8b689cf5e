# The program `spindle`: built with cargo and found in cargo's target directory; and `./run.sh up`.
# shellcheck shell=bash

up() {
  local server="" program
  if [ -n "${NATS_URL:-}" ]; then
    say "NATS_URL is set: not starting a nats-server"
  else
    need_nats_server
    server="$(find_nats_server 2>/dev/null)"
  fi
  build
  program="$(target_dir)/release/spindle"
  check_built "$program"
  say "starting: spindle up $*"
  [ -z "$server" ] || export SPINDLE_NATS_SERVER="$server"
  exec "$program" up "$@"
}

build() {
  need_rust
  build_page || say "note: without the live page; the program serves a plain page"
  say "building spindle (the first build takes some minutes)"
  in_root cargo build --release --locked -p spindle || die "the build failed: see cargo's errors above"
}

check_built() {
  [ -x "$1" ] || die "cargo succeeded, but $1 does not exist: is build.target set in a cargo configuration?"
}

# Sets PROGRAM for the background process. As Compose does with its images, it is built only if it is missing.
need_program() {
  PROGRAM="$(find_program)"
  if [ ! -x "$PROGRAM" ]; then
    build
    PROGRAM="$(find_program)"
    check_built "$PROGRAM"
  elif [ -n "$(find "$ROOT/crates" "$ROOT/web/src" "$ROOT/Cargo.lock" -newer "$PROGRAM" -type f -print 2>/dev/null | head -n 1)" ]; then
    say "note: the sources are newer than $PROGRAM: ./run.sh build rebuilds it"
  fi
}

find_program() {
  find_rust
  if have cargo; then
    printf '%s/release/spindle\n' "$(target_dir)"
  else
    printf '%s/release/spindle\n' "$(absolute "${CARGO_TARGET_DIR:-$ROOT/target}")"
  fi
}

# As cargo reports it: there are several ways to move the target directory.
target_dir() {
  in_root cargo metadata --no-deps --locked --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

find_rust() {
  if ! have cargo && [ -x "${HOME:-}/.cargo/bin/cargo" ]; then
    export PATH="$HOME/.cargo/bin:$PATH"
  fi
}

need_rust() {
  find_rust
  have cargo || die "cargo is not installed. Install Rust from https://rustup.rs, open a new shell, and run this again."
  # The embedded store (SQLite) and the cryptography library (ring) contain C.
  if [ -z "${CC:-}" ] && ! have cc && ! have gcc && ! have clang; then
    die "no C compiler found. Debian and Ubuntu: apt-get install build-essential. Fedora: dnf install gcc. macOS: xcode-select --install."
  fi
}
