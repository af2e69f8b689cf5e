#!/usr/bin/env bats
# The platform without containers, on a real nats-server, a real influxd 1 and the real program.
# Each test is a shell of its own, `try` sets what is looked at, and single quotes are meant.
# shellcheck disable=SC1003,SC2016,SC2030,SC2031,SC2153,SC2154

load helpers

setup_file() {
  copy_checkout
  use_built_program
  use_nats_server
}

setup() {
  clean_environment
  export SPINDLE_MODE=native SPINDLE_STORE=embedded SPINDLE_SOURCES=simulate SPINDLE_START_PATIENCE=60
  DATA="$CHECKOUT/spindle-data"
  rm -rf "$CHECKOUT/.env" "$DATA"
}

teardown() {
  stop_natively
  nothing_runs_here
}

with_influxd() {
  unset SPINDLE_STORE
  influxd="${SPINDLE_INFLUXD:-$(type -P influxd || true)}"
  [ -n "$influxd" ] || { [ "${CI:-}" != true ] && skip "no influxd 1 is installed"; }
  export SPINDLE_INFLUXD="$influxd"
}

ask_influxd() {
  curl -s -o /dev/null -w '%{http_code}' "$@"
}

influxd_address() { echo "http://127.0.0.1:$(cat "$DATA/influxdb/port")"; }

devices_are_listed() {
  "$PROGRAM" query devices --data-dir "$DATA" --format json | grep -q DiskUnit
}

@test "no argument: .env, nats-server and all roles; asked, told again, looked at, stopped" {
  cd /
  try
  good
  says "$err" ".env: made" "mode: native (as SPINDLE_MODE says)" "store: embedded"
  says "$out" "$(run_json http)" "nats://127.0.0.1:" "$DATA/run.json" "./run.sh stop"
  [ "${out#*"$(cat "$DATA/nats/password")"}" = "$out" ]
  [ "$(curl -s "$(run_json http)/readyz")" = ready ]
  wait_for devices_are_listed
  pid="$(run_json pid)"

  # A second start is good, and starts nothing.
  told="$out"
  try start
  good
  says "$err" "runs already (process $pid)"
  [ "$out" = "$told" ]
  [ "$(run_json pid)" = "$pid" ]
  [ "$(processes_here | grep -c 'spindle up')" -eq 1 ]
  try status
  good
  says "$out" "$told" ready

  for service in "" spindle nats; do
    # shellcheck disable=SC2086 # none is none
    try logs $service
    good
  done
  says "$out" "Server is ready"
  try logs writer
  says "$err" "one process"
  says "$out" "spindle is up"
  try logs influxdb
  failed_with 1
  try logs nope
  is_usage_error "no service 'nope'"
  try start writer
  is_usage_error "('writer')"

  try stop
  good
  says "$err" "stopping spindle (process $pid)" "stopped"
  grep -q "shutting down" "$DATA/logs/spindle.log"
  nothing_runs_here
  [ -f "$DATA/spindle.db" ]
  try stop
  good
  says "$err" "nothing was running"
  try status
  failed_with 1
  says "$err" "does not run"
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
  # Known from before, not measured again: with a day between two measurements.
  try stop
  GENERATION_INTERVAL_SECONDS=86400 SPINDLE_DEVICES=1 try start
  wait_for devices_are_listed
}

@test "logs -f goes on until it is ended, and shows what comes" {
  try start
  begin "$BATS_TEST_TMPDIR/followed" logs -f spindle
  wait_for grep -q "spindle is up" "$BATS_TEST_TMPDIR/followed"
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
  mkdir -p "$DATA/influxdb"
  for line in "$stranger 1 other-boot" "999999999 1 x" "$$" ""; do
    printf '%s\n' "$line" >"$DATA/spindle.pid"
    printf '%s\n' "$line" >"$DATA/influxdb/influxd.pid"
    try stop
    good
    says "$err" "nothing was running"
  done
  printf '%s 1 other-boot\n' "$stranger" >"$DATA/spindle.pid"
  printf '{"pid": %s,\n"http": "http://127.0.0.1:1"}\n' "$stranger" >"$DATA/run.json"
  printf '%s 1 other-boot\n' "$stranger" >"$DATA/start.pid"
  try start
  good
  says "$err" "starting spindle"
  kill -0 "$stranger"
  kill "$stranger"
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
  with_influxd
  # A port that is taken.
  python3 -c 'import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(60)' >"$BATS_TEST_TMPDIR/port" 3>&- &
  taker=$!
  wait_for test -s "$BATS_TEST_TMPDIR/port"
  SPINDLE_HTTP="127.0.0.1:$(cat "$BATS_TEST_TMPDIR/port")" try start
  kill "$taker"
  failed_with 1
  says "$err" "cannot listen on 127.0.0.1:$(cat "$BATS_TEST_TMPDIR/port")" "ended at once"
  [ -z "$out" ]
  nothing_runs_here
  not test -e "$DATA/start.pid"
  try start
  good
}

@test "a store that does not come: not ready in time, with the reason, and nothing left" {
  export SPINDLE_START_PATIENCE=3
  unset SPINDLE_STORE
  INFLUXDB_HOST=http://user:hidden@127.0.0.1:1 try start
  failed_with 1
  says "$err" "not ready after 3 s" "the store does not respond"
  says_not "$(grep 'store:' <<<"$err")" hidden
  nothing_runs_here
}

@test "a start that is interrupted leaves nothing behind" {
  with_influxd
  for signal in INT TERM HUP; do
    # It waits for this server for as long as it may.
    NATS_URL=nats://127.0.0.1:1 SPINDLE_NATS_CONNECT_TIMEOUT=60s begin "$BATS_TEST_TMPDIR/err" start
    wait_for grep -q 'starting spindle' "$BATS_TEST_TMPDIR/err"
    wait_for test -s "$DATA/spindle.pid"
    end_begun "$signal"
    cat "$BATS_TEST_TMPDIR/err"
    [ "$code" -gt 128 ]
    grep -q 'given up' "$BATS_TEST_TMPDIR/err"
    nothing_runs_here
    not test -e "$DATA/start.pid"
    not test -e "$DATA/spindle.pid"
  done
}

@test "two starts at once: one system" {
  with_influxd
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
  [ $((code_1 + code_2)) -eq 0 ] || grep -q 'another start is under way' "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second"
  [ "$(processes_here | grep -c 'spindle up')" -eq 1 ]
  [ "$(processes_here | grep -c 'influxd run')" -eq 1 ]
}

@test "what was started by hand is seen, and left alone" {
  "$PROGRAM" up --data-dir "$DATA" >"$BATS_TEST_TMPDIR/hand" 2>&1 3>&- &
  hand=$!
  wait_for test -f "$DATA/run.json" || { cat "$BATS_TEST_TMPDIR/hand" && false; }
  try start
  good
  says "$err" "started by hand" "$(run_json http)"
  try stop
  failed_with 1
  says "$err" "started by hand (process $hand)" Ctrl-C
  try stop --volumes --yes
  failed_with 1
  [ -f "$DATA/spindle.db" ]
  kill -TERM "$hand"
  wait "$hand" || true
}

@test "influxd 1: with a password, found again after a stop; other logins are refused and named" {
  with_influxd
  try start
  good
  says "$err" "made its administrator"
  password="$(value INFLUXDB_ADMIN_PASSWORD)"
  says "$out" "InfluxDB 1 at $(influxd_address)" "admin / $password"
  # Nobody is answered without it, and it is in no list of processes.
  [ "$(ask_influxd "$(influxd_address)/query?q=SHOW+DATABASES")" = 401 ]
  [ "$(ask_influxd -u "admin:$password" "$(influxd_address)/query?q=SHOW+DATABASES")" = 200 ]
  says_not "$(ps -A -o args= -ww)" "$password"
  wait_for devices_are_listed
  has_values() { curl -s -u "admin:$password" --data-urlencode "q=SELECT count(value) FROM spindle..device_metrics" "$(influxd_address)/query" | grep -q '"count"'; }
  wait_for has_values
  not test -e "$DATA/spindle.db"
  try logs influxdb
  good

  address="$(influxd_address)"
  try restart
  good
  [ "$(influxd_address)" = "$address" ]
  says_not "$err" "made its administrator"
  has_values

  # Another system may use it by name; it then starts none.
  export SPINDLE_DATA_DIR="$BATS_TEST_TMPDIR/other data"
  DATA="$SPINDLE_DATA_DIR" INFLUXDB_HOST="$address" INFLUXDB_USERNAME=admin INFLUXDB_PASSWORD="$password" INFLUXDB_BUCKET=other try start
  good
  says "$out" "$address, as INFLUXDB_HOST says"
  not test -e "$SPINDLE_DATA_DIR/influxdb"
  try stop --volumes --yes
  not test -e "$SPINDLE_DATA_DIR"
  unset SPINDLE_DATA_DIR

  try stop
  try init --force
  try start
  failed_with 1
  says "$err" "does not take the logins of .env" "--volumes"
  nothing_runs_here
}

@test "influxd 1: a password with every special character" {
  with_influxd
  password='p'"'"'a"s\s w&o%r$d#{}'
  printf "INFLUXDB_ADMIN_PASSWORD=%s\nINFLUXDB_ADMIN_USER=ad\"m'in\n" "$password" >"$CHECKOUT/.env"
  try start
  good
  [ "$(ask_influxd -u "ad\"m'in:$password" "$(influxd_address)/query?q=SHOW+DATABASES")" = 200 ]
  wait_for devices_are_listed
}

@test "influxd dies with its spindle running, or the other way round: start and stop cope" {
  with_influxd
  try start
  read -r influxd_pid rest <"$DATA/influxdb/influxd.pid"
  kill -9 "$(run_json pid)"
  wait_for not devices_are_listed
  try start
  good
  says "$err" "influxd runs already"
  read -r now rest <"$DATA/influxdb/influxd.pid"
  [ "$now" = "$influxd_pid" ]
  kill -9 "$influxd_pid"
  try stop
  good
  nothing_runs_here
}

@test "influxd 2 (played): set up with the logins of .env, and used with its token" {
  unset SPINDLE_STORE
  export SPINDLE_INFLUXD="$FAKES/influxd2"
  printf 'INFLUXDB_ORG=my "org"\n' >"$CHECKOUT/.env"
  try start
  good
  says "$err" "influxd: set up"
  says "$out" "InfluxDB 2 at" "admin / $(value INFLUXDB_ADMIN_PASSWORD)" "$(value INFLUXDB_TOKEN)"
  python3 -c 'import json, sys
setup = json.load(open(sys.argv[1]))
assert setup == {"username": "admin", "password": sys.argv[2], "org": "my \"org\"", "bucket": "spindle", "token": sys.argv[3]}, setup' \
    "$DATA/influxdb/2/influxd.bolt" "$(value INFLUXDB_ADMIN_PASSWORD)" "$(value INFLUXDB_TOKEN)"
  [ "$(curl -s "$(run_json http)/readyz")" = ready ]
  token="$(value INFLUXDB_TOKEN)"
  says_not "$(ps -A -o args= -ww)" "$token"
  try restart
  good
  says_not "$err" "influxd: set up"
  try stop
  try init --force
  try start
  failed_with 1
  says "$err" "does not take the logins of .env (401)"
}

@test "an influxd of a version that is not known is not used" {
  unset SPINDLE_STORE
  printf '#!/bin/sh\necho "InfluxDB v9.1.0"\n' >"$BATS_TEST_TMPDIR/influxd"
  chmod +x "$BATS_TEST_TMPDIR/influxd"
  SPINDLE_INFLUXD="$BATS_TEST_TMPDIR/influxd" try start
  good
  says "$err" "ignored" "store: embedded (no influxd 1 or 2 is installed)"
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
  # At a terminal, which python plays: anything but yes is no.
  at_terminal() { printf '%s\n' "$1" | CHECKOUT="$CHECKOUT" python3 -c 'import os, pty, sys
code = pty.spawn([os.environ.get("SPINDLE_TEST_BASH", "bash"), os.environ["CHECKOUT"] + "/run.sh", "stop", "--volumes"])
sys.exit(os.waitstatus_to_exitcode(code))' 3>&-; }
  run at_terminal no
  [ "$status" -eq 1 ]
  says "$output" "Really?" "nothing was stopped or removed"
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
  says "$err" "holds more than Spindle's data"
  [ "$(ls -A "$DATA")" = letter.txt ]
}

@test "up, build and all: as before, with cargo played" {
  export FAKE="$BATS_TEST_TMPDIR/fake" CARGO_TARGET_DIR="$BATS_TEST_TMPDIR/new target"
  mkdir -p "$FAKE/path"
  : >"$FAKE/log"
  ln -s "$FAKES/cargo" "$FAKE/path/cargo"
  cp "$PROGRAM" "$FAKE/program"
  PATH="$FAKE/path:$PATH"
  try build
  good
  says "$err" "built $CARGO_TARGET_DIR/release/spindle"
  grep -q '^cargo build --release --locked -p spindle$' "$FAKE/log"

  # In the foreground, in the folder of the caller, with no .env.
  mkdir "$BATS_TEST_TMPDIR/elsewhere"
  cd "$BATS_TEST_TMPDIR/elsewhere"
  begin "$BATS_TEST_TMPDIR/err" up --devices 3 --source simulate
  wait_for test -f spindle-data/run.json
  not test -e "$CHECKOUT/.env"
  end_begun INT
  good
  says "$(cat "$BATS_TEST_TMPDIR/err")" "starting: spindle up --devices 3 --source simulate" "stopped"

  rm -rf "$CARGO_TARGET_DIR"
  try all
  good
  says "$out" "Spindle runs natively"
  try stop
  # A missing program is built, one that is there is taken as it is.
  : >"$FAKE/log"
  try start
  not grep -q 'cargo build' "$FAKE/log"
  try stop
  rm -rf "$CARGO_TARGET_DIR"
  : >"$FAKE/broken"
  try start
  failed_with 1
  says "$err" "the build failed"
  not test -e "$DATA/start.pid"
}
