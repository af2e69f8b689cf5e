# The program `spindle`: built with cargo, found where cargo put it, and `./run.sh up`.
# shellcheck shell=bash

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

# Sets PROGRAM for what runs in the background. It is built only when it is not there, as Compose does with its images.
need_program() {
  PROGRAM="$(find_program)"
  if [ ! -x "$PROGRAM" ]; then
    build
    PROGRAM="$(find_program)"
    [ -x "$PROGRAM" ] || die "cargo built, but $PROGRAM is not there: is build.target set in a cargo configuration?"
  elif [ -n "$(find "$ROOT/crates" "$ROOT/Cargo.lock" -newer "$PROGRAM" -type f -print 2>/dev/null | head -n 1)" ]; then
    say "note: sources are newer than $PROGRAM: ./run.sh build builds it anew"
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

# cargo's own word for it, which knows every way of moving the target folder.
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
  have cargo || die "cargo is not installed. Install Rust as https://rustup.rs says, open a new shell, and run this again."
  # The embedded store (SQLite) and the cryptography (ring) contain C.
  if [ -z "${CC:-}" ] && ! have cc && ! have gcc && ! have clang; then
    die "no C compiler. Debian and Ubuntu: apt-get install build-essential. Fedora: dnf install gcc. macOS: xcode-select --install."
  fi
}
