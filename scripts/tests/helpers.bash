# Helpers of run.sh's tests. Each file works in a copy of the checkout whose path contains a space, with a prebuilt
# program (SPINDLE_TEST_PROGRAM, otherwise the one in target/). Nothing here uses a fixed port.
# SPINDLE_TEST_BASH names another bash to run run.sh with.
# shellcheck shell=bash disable=SC2009,SC2016,SC2030,SC2031,SC2034,SC2154

REPOSITORY="$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)"
FAKES="$BATS_TEST_DIRNAME/fakes"

# The tracked and untracked files of the checkout; the copy is not a git repository.
copy_checkout() {
  CHECKOUT="$BATS_FILE_TMPDIR/check out"
  mkdir -p "$CHECKOUT"
  (cd "$REPOSITORY" && git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --null -T - -cf -) | tar -xf - -C "$CHECKOUT"
  export CHECKOUT
}

# The caller's settings must not reach the tests.
clean_environment() {
  local name
  while read -r name; do
    case "$name" in
      SPINDLE_NATS_SERVER | SPINDLE_INFLUXD | SPINDLE_TEST_*) ;;
      SPINDLE_* | NATS_* | INFLUXDB_* | COMPOSE_* | GRAFANA_* | GENERATION_* | CLIENT_* | WEB_* | DOCKER_*) unset "$name" ;;
    esac
  done < <(compgen -e)
  export SPINDLE_NATS_PORT=0 SPINDLE_HTTP=127.0.0.1:0
}

# Puts the built program where cargo would.
use_built_program() {
  local candidate
  for candidate in "${SPINDLE_TEST_PROGRAM:-}" "$REPOSITORY/target/debug/spindle" "$REPOSITORY/target/release/spindle"; do
    if [ -x "$candidate" ]; then
      export CARGO_TARGET_DIR="$BATS_FILE_TMPDIR/built things"
      mkdir -p "$CARGO_TARGET_DIR/release"
      # A hard link: a concurrent build replaces the file instead of changing it.
      ln -f "$candidate" "$CARGO_TARGET_DIR/release/spindle" 2>/dev/null || cp "$candidate" "$CARGO_TARGET_DIR/release/spindle"
      PROGRAM="$CARGO_TARGET_DIR/release/spindle"
      export PROGRAM
      return 0
    fi
  done
  echo "no program found: cargo build -p spindle, or set SPINDLE_TEST_PROGRAM" >&2
  return 1
}

# The server that `./run.sh test` found or fetched, or as run.sh itself would find it.
use_nats_server() {
  SPINDLE_NATS_SERVER="$("${SPINDLE_TEST_BASH:-bash}" -c 'set -euo pipefail; ROOT="$1" TOOLS="$1/.tools"
    for file in messages fetch nats_server; do . "$ROOT/scripts/lib/$file.sh"; done; need_nats_server && find_nats_server' find "$REPOSITORY")"
  export SPINDLE_NATS_SERVER
}

# Leaves nothing running, whatever a test did.
stop_natively() {
  SPINDLE_MODE=native run_sh stop >/dev/null 2>&1 || true
  [ ! -f "$DATA/spindle.pid" ] || kill -9 "$(cat "$DATA/spindle.pid")" 2>/dev/null || true
}

run_sh() {
  "${SPINDLE_TEST_BASH:-bash}" "$CHECKOUT/run.sh" "$@"
}

# part FUNCTION ARG…: calls a function of run.sh's parts.
part() {
  "${SPINDLE_TEST_BASH:-bash}" -c 'set -euo pipefail; ROOT="$1" TOOLS="$1/.tools"; shift
    for file in messages words dotenv native; do . "$ROOT/scripts/lib/$file.sh"; done; "$@"' part "$CHECKOUT" "$@"
}

# begin OUTPUT ARG…: runs run.sh in the background as the leader of a process group, as a terminal does. Sets begun.
begin() {
  local output="$1"
  shift
  set -m
  (exec "${SPINDLE_TEST_BASH:-bash}" "$CHECKOUT/run.sh" "$@" >"$output" 2>&1 </dev/null 3>&-) &
  begun=$!
  set +m
}

# end_begun SIGNAL: signals the whole group, as Ctrl-C does. Sets code.
end_begun() {
  kill -"$1" -- "-$begun"
  code=0
  wait "$begun" || code=$?
}

# Runs run.sh with the given arguments; its output is shown if the test fails. Sets code, out and err.
try() {
  code=0
  run_sh "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" </dev/null || code=$?
  collect "$@"
}

collect() {
  out="$(cat "$BATS_TEST_TMPDIR/out")"
  err="$(cat "$BATS_TEST_TMPDIR/err")"
  printf '$ run.sh %s\n%s\n%s\n(exit code %s)\n' "$*" "$out" "$err" "$code"
}

# A single line, and the exit code of a usage error.
is_usage_error() {
  [ "$code" -eq 2 ] && [ -z "$out" ] && [ "$(printf '%s\n' "$err" | wc -l)" -eq 1 ] && says "$err" "run.sh: " "$1"
}

# Each check in a test is a separate command: `set -e` ignores a failing `a` in `a && b` and in `! a`.
good() { [ "$code" -eq 0 ]; }

failed_with() { [ "$code" -eq "$1" ] || { echo "exit code $code, expected $1" && return 1; }; }

# says TEXT PART…: the text contains every part, in any order.
says() {
  local text="$1" part
  shift
  for part in "$@"; do
    case "$text" in
      *"$part"*) ;;
      *) echo "missing: $part" && return 1 ;;
    esac
  done
}

says_not() {
  local text="$1" part
  shift
  for part in "$@"; do
    case "$text" in
      *"$part"*) echo "unexpected: $part" && return 1 ;;
    esac
  done
}

not() {
  if "$@"; then
    echo "unexpectedly true: $*"
    return 1
  fi
}

is_secret() { printf '%s\n' "$1" | grep -q -E '^[A-Za-z][A-Za-z0-9]{31,}$' || { echo "not a secret: '$1'" && return 1; }; }

mode_of() {
  # shellcheck disable=SC2012 # `stat` differs between systems
  ls -lL "$1" | cut -c 1-10
}

# wait_for COMMAND…: retries it until it succeeds, for at most 20 s.
wait_for() {
  local n
  for ((n = 0; n < 200; n++)); do
    if "$@"; then
      return 0
    fi
    sleep 0.1
  done
  echo "timed out waiting for: $*" >&2
  return 1
}

run_json() {
  sed -n 's/.*"'"$1"'": *"\{0,1\}\([^",}]*\).*/\1/p' "$DATA/run.json"
}

value() {
  sed -n "s/^$1=//p" "$CHECKOUT/.env" | tail -n 1
}

# The processes whose command line contains this test's checkout.
processes_here() {
  ps -A -o pid=,args= -ww | grep -F "$CHECKOUT/" | grep -E 'spindle (up|guard)|nats-server' | grep -v -E 'grep|run\.sh' || true
}

nothing_runs_here() {
  [ -z "$(processes_here)" ] || { processes_here && return 1; }
}
