# Small things that every part of run.sh uses. Sourced, like every file here; never run by itself.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

die() {
  say "run.sh: $*"
  exit 1
}

# A mistake in what was asked for: one line, and nothing has been done.
fail_usage() {
  say "run.sh: $*"
  exit 2
}

# no_arguments COMMAND ARG…: for commands that take none.
no_arguments() {
  [ $# -eq 1 ] || fail_usage "$1 takes no argument, '$2' is too much: ./run.sh help lists the commands"
}

# start_patience: how long a start may take, in seconds. A large store is read in before NATS answers.
start_patience() {
  local patience="${SPINDLE_START_PATIENCE:-180}"
  case "${patience%s}" in
    '' | *[!0-9]*) fail_usage "SPINDLE_START_PATIENCE is '$patience': expected a number of seconds" ;;
  esac
  printf '%s\n' "${patience%s}"
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

# cargo, rustup, Compose and git read their files from the current folder upwards.
in_root() {
  (cd "$ROOT" && "$@")
}

# escaped CHARACTERS TEXT: each of the characters with a backslash before it, and the backslash itself.
escaped() {
  printf '%s\n' "$2" | sed "s/[\\\\$1]/\\\\&/g"
}

# within SECONDS COMMAND…: 124 when it takes longer. (macOS has no `timeout`.)
within() {
  local tenths=$(($1 * 10)) pid
  shift
  "$@" &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if [ "$tenths" -le 0 ]; then
      kill "$pid" 2>/dev/null || true
      wait "$pid" 2>/dev/null || true
      return 124
    fi
    tenths=$((tenths - 1))
    sleep 0.1
  done
  wait "$pid"
}
