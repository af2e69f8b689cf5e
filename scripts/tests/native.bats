#!/usr/bin/env bats
# Native mode, with a real nats-server and the real program.
# Each test runs in its own shell, `try` sets the variables that are checked, and single quotes are intended.
# shellcheck disable=SC1003,SC2016,SC2030,SC2031,SC2153,SC2154

load helpers

setup_file() {
  copy_checkout
  use_built_program
  use_nats_server
}

setup() {
  clean_environment
  export SPINDLE_MODE=native SPINDLE_STORE=embedded SPINDLE_SOURCES=simulate SPINDLE_START_TIMEOUT=60
  DATA="$CHECKOUT/spindle-data"
  rm -rf "$CHECKOUT/.env" "$DATA"
}

teardown() {
  stop_natively
  nothing_runs_here
}

devices_are_listed() {
  "$PROGRAM" query devices --data-dir "$DATA" --format json | grep -q DiskUnit
}

@test "no argument: .env, nats-server and all roles; asked, told again, looked at, stopped" {
  cd /
  try
  good
  says "$err" ".env: generated" "mode: native (set by SPINDLE_MODE)"
  says "$out" "$(run_json http)" "nats://127.0.0.1:" "embedded" "$DATA/run.json" "./run.sh stop"
  [ "${out#*"$(cat "$DATA/nats/password")"}" = "$out" ]
  says "$out" "embedded, $DATA/spindle.db"
  [ "$(curl -s "$(run_json http)/readyz")" = ready ]
  # Private, whatever the umask of the caller is.
  [ -z "$(find "$DATA" -perm /077)" ]
  wait_for devices_are_listed
  pid="$(run_json pid)"

  # A second start succeeds, and starts nothing.
  first="$out"
  try start
  good
  says "$err" "already running (process $pid)"
  [ "$out" = "$first" ]
  [ "$(run_json pid)" = "$pid" ]
  [ "$(processes_here | grep -c 'spindle up')" -eq 1 ]
  try status
  good
  says "$out" "$first" ready

  for service in "" spindle nats; do
    # shellcheck disable=SC2086 # no service, no argument
    try logs $service
    good
  done
  says "$out" "Server is ready"
  try logs writer
  says "$err" "one process"
  says "$out" "$(run_json http)"
  try logs nope
  is_usage_error "no service 'nope'"
  try start writer
  is_usage_error "('writer')"

  try stop
  good
  says "$err" "stopping spindle (process $pid)" "stopped"
  nothing_runs_here
  # An orderly stop removes its addresses.
  not test -e "$DATA/run.json"
  not test -e "$DATA/spindle.pid"
  [ -f "$DATA/spindle.db" ]
  try stop
  good
  says "$err" "nothing was running"
  try status
  failed_with 1
  says "$err" "is not running"
}

@test "restart: another process, the same data" {
  try start
  wait_for devices_are_listed
  pid="$(run_json pid)"
  cp "$DATA/nats/nats-server.conf" "$BATS_TEST_TMPDIR/conf"
  try restart
  good
  says "$out" "$(run_json http)"
  [ "$(run_json pid)" -ne "$pid" ]
  # From the store, not measured again: the interval is a day.
  try stop
  GENERATION_INTERVAL_SECONDS=86400 SPINDLE_DEVICES=1 try start
  wait_for devices_are_listed
}

@test "logs -f goes on until it is ended, and shows what comes" {
  try start
  begin "$BATS_TEST_TMPDIR/followed" logs -f spindle
  wait_for grep -q -F "$(run_json http)" "$BATS_TEST_TMPDIR/followed"
  echo "a new line" >>"$DATA/logs/spindle.log"
  wait_for grep -q "a new line" "$BATS_TEST_TMPDIR/followed"
  end_begun INT
  [ "$code" -gt 128 ]
}

@test "the client's log is that of critical events" {
  try start
  mkdir -p "$DATA/logs"
  echo '{"event":"planted"}' >>"$DATA/logs/critical-events.ndjson"
  try logs client
  good
  says "$out" planted
}

@test "a pid file that is stale, or whose number somebody else has now, is no system that runs" {
  sleep 300 3>&- &
  stranger=$!
  mkdir -p "$DATA"
  for line in "$stranger" "999999999" "$$" nonsense ""; do
    printf '%s\n' "$line" >"$DATA/spindle.pid"
    try stop
    good
    says "$err" "nothing was running"
  done
  printf '%s\n' "$stranger" >"$DATA/spindle.pid"
  printf '{"pid": %s,\n"http": "http://127.0.0.1:1"}\n' "$stranger" >"$DATA/run.json"
  try start
  good
  says "$err" "starting spindle"
  kill -0 "$stranger"
  kill "$stranger"
}

@test "a process that is about to execute another program has not ended" {
  part eval 'for turn in $(seq 100); do
    sh -c "exec sh -c \"exec sleep 60\"" & pid=$!
    for look in 1 2 3 4 5 6 7 8 9 10; do
      has_ended $pid && exit 1
      [ -n "$(command_of $pid)" ] || exit 2
    done
    kill $pid
    wait $pid || true
    has_ended $pid || exit 3
    [ -z "$(command_of $pid)" ] || exit 4
  done 2>/dev/null 3>&-'
}

@test "killed and started again: nothing stands in the way" {
  try start
  kill -9 "$(run_json pid)"
  wait_for nothing_runs_here
  try status
  failed_with 1
  try start
  good
  [ "$(curl -s "$(run_json http)/readyz")" = ready ]
}

@test "a start that fails says the last words, and leaves nothing behind" {
  # A port in use.
  python3 -c 'import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(60)' >"$BATS_TEST_TMPDIR/port" 3>&- &
  taker=$!
  wait_for test -s "$BATS_TEST_TMPDIR/port"
  SPINDLE_HTTP="127.0.0.1:$(cat "$BATS_TEST_TMPDIR/port")" try start
  kill "$taker"
  failed_with 1
  says "$err" "127.0.0.1:$(cat "$BATS_TEST_TMPDIR/port")" "exited during the start"
  [ -z "$out" ]
  nothing_runs_here
  not test -e "$DATA/spindle.pid"
  try start
  good
}

@test "a store that does not come: not ready in time, with the reason, and nothing left" {
  export SPINDLE_START_TIMEOUT=3
  unset SPINDLE_STORE
  INFLUXDB_HOST=http://user:hidden@127.0.0.1:1 try start
  failed_with 1
  says "$err" "not ready after 3 s" store
  says_not "$err" hidden
  nothing_runs_here
}

@test "a start that is interrupted leaves nothing behind" {
  for signal in INT TERM HUP; do
    # It waits for this server until the timeout.
    NATS_URL=nats://127.0.0.1:1 SPINDLE_NATS_CONNECT_TIMEOUT=60s begin "$BATS_TEST_TMPDIR/err" start
    wait_for grep -q 'starting spindle' "$BATS_TEST_TMPDIR/err"
    wait_for test -s "$DATA/spindle.pid"
    end_begun "$signal"
    cat "$BATS_TEST_TMPDIR/err"
    [ "$code" -gt 128 ]
    grep -q 'abandoned' "$BATS_TEST_TMPDIR/err"
    nothing_runs_here
    not test -e "$DATA/spindle.pid"
  done
}

@test "two starts at once: one system" {
  run_sh init 2>/dev/null
  begin "$BATS_TEST_TMPDIR/first" start
  first=$begun
  begin "$BATS_TEST_TMPDIR/second" start
  second=$begun
  code_1=0
  wait "$first" || code_1=$?
  code_2=0
  wait "$second" || code_2=$?
  cat "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second"
  [ $((code_1 * code_2)) -eq 0 ]
  [ $((code_1 + code_2)) -eq 0 ] || grep -q 'another start is in progress' "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second"
  [ "$(processes_here | grep -c 'spindle up')" -eq 1 ]
}

@test "what was started by hand is seen, and left alone" {
  "$PROGRAM" up --data-dir "$DATA" >"$BATS_TEST_TMPDIR/hand" 2>&1 3>&- &
  hand=$!
  wait_for test -f "$DATA/run.json" || { cat "$BATS_TEST_TMPDIR/hand" && false; }
  try start
  good
  says "$err" "manually started" "$(run_json http)"
  try stop
  failed_with 1
  says "$err" "started manually (process $hand)" Ctrl-C
  try stop --volumes --yes
  failed_with 1
  [ -f "$DATA/spindle.db" ]
  kill -TERM "$hand"
  wait "$hand" || true
}

@test "what stands in .env reaches the program, and the environment wins" {
  printf 'SPINDLE_DEVICES=2\nSPINDLE_SOURCES=simulate\nGENERATION_INTERVAL_SECONDS=1\nSPINDLE_DATA_DIR=data in dotenv\n' >"$CHECKOUT/.env"
  unset SPINDLE_SOURCES
  DATA="$CHECKOUT/data in dotenv"
  n_devices() { [ "$("$PROGRAM" query devices --data-dir "$DATA" --format json | grep -o '"DiskUnit\|"StorageArray\|"CloudStorage' | sort -u | wc -l)" -eq "$1" ]; }
  try start
  good
  wait_for n_devices 2
  try stop --volumes --yes
  SPINDLE_DEVICES=3 try start
  wait_for n_devices 3
}

@test "stop --volumes: only with a yes, from the terminal or with --yes" {
  try start
  try stop --volumes
  is_usage_error "add --yes"
  [ -n "$(run_json pid)" ]
  # At a terminal, played by Python: anything but yes means no.
  at_terminal() { printf '%s\n' "$1" | CHECKOUT="$CHECKOUT" python3 -c 'import os, pty, sys
code = pty.spawn([os.environ.get("SPINDLE_TEST_BASH", "bash"), os.environ["CHECKOUT"] + "/run.sh", "stop", "--volumes"])
sys.exit(os.waitstatus_to_exitcode(code))' 3>&-; }
  run at_terminal no
  [ "$status" -eq 1 ]
  says "$output" "Continue?" "nothing was stopped or removed"
  processes_here | grep -q 'spindle up'
  run at_terminal yes
  [ "$status" -eq 0 ]
  says "$output" "removed the data in $DATA"
  not test -e "$DATA"
  nothing_runs_here
  try stop --volumes --yes
  good
}

@test "stop --volumes: in a folder that the user named, what is theirs stays" {
  export SPINDLE_DATA_DIR="$BATS_TEST_TMPDIR/mine"
  DATA="$SPINDLE_DATA_DIR"
  mkdir -p "$DATA"
  echo precious >"$DATA/letter.txt"
  try start
  good
  try stop --volumes --yes
  good
  says "$err" "contains other files"
  [ "$(ls -A "$DATA")" = letter.txt ]
}

@test "up, build and all: as before, with cargo played" {
  export FAKE="$BATS_TEST_TMPDIR/fake" CARGO_TARGET_DIR="$BATS_TEST_TMPDIR/new target"
  mkdir -p "$FAKE/path"
  : >"$FAKE/log"
  ln -s "$FAKES/cargo" "$FAKE/path/cargo"
  ln -s "$FAKES/npm" "$FAKE/path/npm"
  ln -s "$FAKES/npm" "$FAKE/path/node"
  cp "$PROGRAM" "$FAKE/program"
  PATH="$FAKE/path:$PATH"
  try build
  good
  says "$err" "built $CARGO_TARGET_DIR/release/spindle"
  grep -q '^cargo build --release --locked -p spindle$' "$FAKE/log"
  # The page comes first, since the program embeds it.
  [ "$(grep -c '^npm ci' "$FAKE/log")" -eq 1 ]
  [ "$(grep -n -m 1 '^npm run' "$FAKE/log" | cut -d: -f1)" -lt "$(grep -n -m 1 '^cargo build' "$FAKE/log" | cut -d: -f1)" ]

  # In the foreground, in the current directory, without .env.
  mkdir "$BATS_TEST_TMPDIR/elsewhere"
  cd "$BATS_TEST_TMPDIR/elsewhere"
  begin "$BATS_TEST_TMPDIR/err" up --devices 3 --source simulate
  wait_for test -f spindle-data/run.json
  not test -e "$CHECKOUT/.env"
  end_begun INT
  good
  says "$(cat "$BATS_TEST_TMPDIR/err")" "starting: spindle up --devices 3 --source simulate"

  rm -rf "$CARGO_TARGET_DIR"
  try all
  good
  says "$out" "Spindle is running natively"
  try stop
  # A missing program is built; an existing one is used as it is.
  : >"$FAKE/log"
  try start
  not grep -q 'cargo build' "$FAKE/log"
  try stop
  rm -rf "$CARGO_TARGET_DIR"
  : >"$FAKE/broken"
  try start
  failed_with 1
  says "$err" "the build failed"
  not test -e "$DATA/spindle.pid"
}

@test "a process that ignores SIGTERM is killed" {
  bash -c 'trap "" TERM; : >"$1"; while :; do sleep 0.1; done' stubborn "$BATS_TEST_TMPDIR/ready" 3>&- &
  stubborn=$!
  wait_for test -e "$BATS_TEST_TMPDIR/ready"
  part eval "native_paths; end_spindle $stubborn 0" 2>"$BATS_TEST_TMPDIR/err"
  says "$(cat "$BATS_TEST_TMPDIR/err")" "did not stop within" "killing it"
  not kill -0 "$stubborn"
}

@test "an InfluxDB that INFLUXDB_HOST names is used, with its user name instead of the token of .env" {
  printf 'INFLUXDB_HOST=http://somewhere:8086\nINFLUXDB_TOKEN=token\nINFLUXDB_BUCKET=spindle\n' >"$CHECKOUT/.env"
  exported() { part eval 'export_settings; printf "%s " ${INFLUXDB_HOST:-} ${INFLUXDB_TOKEN:-} ${INFLUXDB_BUCKET:-}'; }
  [ "$(exported)" = "http://somewhere:8086 token spindle " ]
  [ "$(INFLUXDB_USERNAME=operator exported)" = "http://somewhere:8086 spindle " ]
  sed -i.bak /HOST/d "$CHECKOUT/.env"
  [ "$(exported)" = " " ]
}
