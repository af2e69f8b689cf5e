# Helpers shared by every part of run.sh. Sourced, like all files in this folder; never executed.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

die() {
  say "run.sh: $*"
  exit 1
}

# A mistake in the command line: one line, before anything has been done.
fail_usage() {
  say "run.sh: $*"
  exit 2
}

# no_arguments COMMAND ARG…: for commands that take none.
no_arguments() {
  [ $# -eq 1 ] || fail_usage "$1 takes no arguments, got '$2': ./run.sh help lists the commands"
}

# start_timeout: seconds that a start may take. NATS replays a large stream before it answers.
start_timeout() {
  local timeout="${SPINDLE_START_TIMEOUT:-180}"
  case "${timeout%s}" in
    '' | *[!0-9]*) fail_usage "SPINDLE_START_TIMEOUT is '$timeout': expected a number of seconds" ;;
  esac
  printf '%s\n' "${timeout%s}"
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

# cargo, rustup, Compose and git search for their files from the current directory upwards.
in_root() {
  (cd "$ROOT" && "$@")
}

# within SECONDS COMMAND…: returns 124 if the command takes longer. (macOS has no `timeout`.)
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
