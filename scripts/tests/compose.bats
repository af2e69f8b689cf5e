#!/usr/bin/env bats
# Compose mode, with fakes of Docker and Compose: which commands run, in which order, and how their results are handled.
# Each test runs in its own shell, `try` sets the variables that are checked, and single quotes are intended.
# shellcheck disable=SC1003,SC2016,SC2030,SC2031,SC2153,SC2154

load helpers

setup_file() {
  copy_checkout
}

setup() {
  clean_environment
  unset SPINDLE_NATS_PORT
  rm -rf "$CHECKOUT/.env" "$CHECKOUT/spindle-data"
  export FAKE="$BATS_TEST_TMPDIR/fake"
  mkdir -p "$FAKE/path"
  : >"$FAKE/log"
  : >"$FAKE/engine"
  : >"$FAKE/plugin"
  printf '%s\n' nats influxdb grafana daemon writer detector reader web client >"$FAKE/services"
  all_are "Up 3 seconds (healthy)"
  ln -s "$FAKES/docker" "$FAKES/docker-compose" "$FAKE/path/"
  PATH="$FAKE/path:$PATH"
  export SPINDLE_START_TIMEOUT=2 SPINDLE_MODE=compose
}

all_are() {
  sed "s/\$/|$1/" "$FAKE/services" >"$FAKE/states"
}

# one_is SERVICE STATUS
one_is() {
  sed -i.bak "s/^$1|.*/$1|$2/" "$FAKE/states"
}

# asked WORD…: Compose was called with these arguments, at the root, as a plug-in or not.
asked() {
  local line
  line="$(printf ' [%s]' "$@")"
  grep -q -F -e "$line in $CHECKOUT" "$FAKE/log" || { echo "never called:$line" && cat "$FAKE/log" && return 1; }
}

@test "no argument: .env is made, everything is started, waited for, and told" {
  unset SPINDLE_MODE
  cd /
  try
  good
  says "$err" ".env: generated" "mode: compose (a Docker engine is available)" "starting with docker compose"
  asked compose up -d
  says "$out" "http://127.0.0.1:8080   any user name / $(value WEB_TOKEN)" \
    "http://127.0.0.1:3000   admin / $(value GRAFANA_ADMIN_PASSWORD)" \
    "http://127.0.0.1:8086   admin / $(value INFLUXDB_ADMIN_PASSWORD)" \
    "nats://127.0.0.1:4222   admin / $(value NATS_ADMIN_PASSWORD)" "./run.sh stop"
}

@test "docker-compose is used where there is no plug-in" {
  rm "$FAKE/plugin"
  try start
  good
  says "$err" "starting with docker-compose"
  grep -q -F "docker-compose [up] [-d] in $CHECKOUT" "$FAKE/log"
}

@test "auto: without an engine, a Compose, or an answer in time it goes natively, and says why" {
  export SPINDLE_MODE=auto
  # A native start that fails at its first check.
  export SPINDLE_NATS_SERVER=/nowhere CARGO_TARGET_DIR="$BATS_TEST_TMPDIR/built"
  mkdir -p "$CARGO_TARGET_DIR/release"
  printf '#!/bin/sh\nexit 1\n' >"$CARGO_TARGET_DIR/release/spindle"
  chmod +x "$CARGO_TARGET_DIR/release/spindle"
  rm "$FAKE/engine"
  try start
  failed_with 1
  says "$err" "mode: native (no Docker engine available: Cannot connect" "SPINDLE_NATS_SERVER"
  : >"$FAKE/engine"
  rm "$FAKE/plugin" "$FAKE/path/docker-compose"
  hide_compose
  try start
  says "$err" "mode: native (a Docker engine is available, but there is neither"
}

# Hides the machine's own docker-compose: the PATH has only what run.sh needs.
hide_compose() {
  local tool path
  mkdir -p "$FAKE/tools"
  for tool in bash sh cat sed grep tr head tail mktemp date dirname basename readlink ls mv rm mkdir chmod awk base64 cmp sleep ps id env find wc cut sort uname; do
    path="$(type -P "$tool")" && ln -sf "$path" "$FAKE/tools/$tool"
  done
  PATH="$FAKE/path:$FAKE/tools"
}

@test "compose wanted, but not to be had: one clear line" {
  rm "$FAKE/engine"
  try start
  failed_with 1
  says "$err" "no Docker engine is available" "Cannot connect to the Docker daemon"
  : >"$FAKE/engine"
  rm "$FAKE/plugin" "$FAKE/path/docker-compose"
  hide_compose
  try start
  failed_with 1
  says "$err" "neither" "docker compose"
  rm "$FAKE/path/docker"
  try start
  failed_with 1
  says "$err" "docker is not installed"
}

@test "start waits until the last one is healthy" {
  export SPINDLE_START_TIMEOUT=60
  mkdir "$FAKE/next"
  all_are "Up 1 second (health: starting)"
  mv "$FAKE/states" "$FAKE/next/1"
  all_are "Up 2 seconds (healthy)"
  one_is writer "Restarting (1) 1 second ago"
  cp "$FAKE/states" "$FAKE/next/2"
  one_is writer "Up Less than a second"
  mv "$FAKE/states" "$FAKE/next/3"
  try start
  good
  says "$err" "waiting for client daemon detector grafana influxdb nats reader web writer" "waiting for writer"
  [ -z "$(ls "$FAKE/next")" ]
}

@test "start says who is not healthy, with the end of its log, and leaves it for a look" {
  one_is writer "Up 2 minutes (unhealthy)"
  sed -i.bak '/^reader/d' "$FAKE/states"
  try start
  failed_with 1
  says "$err" "writer is not healthy: Up 2 minutes (unhealthy)" "log line of writer" "reader is not healthy: no container" \
    "not healthy: reader writer"
  says_not "$err" "log line of nats"
  [ -z "$out" ]
  not asked compose down --remove-orphans
}

@test "one that has ended for good is not waited for to the end" {
  export SPINDLE_START_TIMEOUT=60
  one_is writer "Exited (1) 1 second ago"
  SECONDS=0
  try start
  failed_with 1
  says "$err" "writer is not healthy: Exited (1)"
  [ "$SECONDS" -lt 20 ]
}

@test "a Compose that fails: its words, who is sick, and exit code 1" {
  echo up >"$FAKE/fail"
  one_is influxdb "Up 2 minutes (unhealthy)"
  try start
  failed_with 1
  says "$err" "fake compose: up failed" "influxdb is not healthy" "log line of influxdb" "could not start everything"
}

@test "start, stop and restart of single services" {
  one_is grafana "Up 2 minutes (unhealthy)"
  try start writer reader
  good
  asked compose up -d writer reader
  [ -z "$out" ]
  try stop writer
  good
  asked compose stop writer
  try restart client
  good
  asked compose stop client
  asked compose up -d client
  : >"$FAKE/log"
  try start writter
  is_usage_error "no service 'writter': expected client daemon detector grafana influxdb nats reader web writer"
  not grep -q -F '[up]' "$FAKE/log"
}

@test "restart takes what has changed: everything is stopped, and brought up anew" {
  try restart
  good
  asked compose stop
  asked compose up -d
  says "$out" Grafana
}

@test "nothing was started: stop is good, the others say so" {
  try stop --volumes --yes
  good
  says "$err" "nothing was started here"
  try status
  failed_with 1
  try logs
  failed_with 1
  not test -e "$CHECKOUT/.env"
}

@test "stop keeps the data" {
  try init
  try stop
  good
  asked compose down --remove-orphans
  says "$err" "the data is kept"
}

@test "stop --volumes asks, and does nothing without a yes" {
  try init
  try stop --volumes
  is_usage_error "--yes"
  not asked compose down --remove-orphans --volumes
  try stop --volumes --yes
  good
  asked compose down --remove-orphans --volumes
}

@test "logs: of all or of one, followed or not" {
  try init
  try logs
  good
  asked compose logs --tail 200
  try logs writer
  says "$out" "log line of writer"
  asked compose logs --tail 200 writer
  try logs -f writer
  asked compose logs --tail 50 -f writer
  try logs spindel
  is_usage_error "no service 'spindel'"
}

@test "build builds the images alone; all builds them and starts" {
  ln -s "$FAKES/cargo" "$FAKE/path/"
  export CARGO_TARGET_DIR="$BATS_TEST_TMPDIR/built"
  : >"$FAKE/program"
  try build
  good
  asked compose build
  not grep -q '^cargo build' "$FAKE/log"
  : >"$FAKE/log"
  try all
  good
  asked compose build
  asked compose up -d
  not grep -q '^cargo build' "$FAKE/log"
  says "$out" Grafana
  echo build >"$FAKE/fail"
  : >"$FAKE/log"
  try all
  failed_with 1
  says "$err" "could not be built"
  not grep -q -F '[up]' "$FAKE/log"
}

@test "status: good, sick, and nothing there" {
  try init
  try status
  good
  says "$out" "writer     Up 3 seconds (healthy)" Grafana
  one_is writer "Up 2 minutes (unhealthy)"
  try status
  failed_with 1
  says "$err" "writer is not healthy"
  : >"$FAKE/states"
  try status
  failed_with 1
  says "$err" "nothing is running"
}

@test "the containers that are looked at are this project's" {
  try init
  sed -i.bak 's/^COMPOSE_PROJECT_NAME=.*/COMPOSE_PROJECT_NAME=other/' "$CHECKOUT/.env"
  rm "$CHECKOUT/.env.bak"
  try start
  good
  grep -q -F 'label=com.docker.compose.project=other' "$FAKE/log"
}

@test "InfluxDB 3: its token is told; a token that it would not take stops the start" {
  try init --influxdb 3
  try start
  good
  says "$out" "InfluxDB 3" "token apiv3_"
  sed -i.bak 's/^INFLUXDB_TOKEN=.*/INFLUXDB_TOKEN=other/' "$CHECKOUT/.env"
  rm "$CHECKOUT/.env.bak"
  try start
  failed_with 1
  says "$err" "apiv3_"
}

@test "a port 0 is told as Docker chose it; a port of the environment wins" {
  try init
  GRAFANA_PORT=0 INFLUXDB_PORT=9999 WEB_PORT=0 try start
  says "$out" "live page   http://127.0.0.1:18080" "Grafana     http://127.0.0.1:13000" "InfluxDB    http://127.0.0.1:9999"
}

@test "an engine that does not answer does not hold us" {
  : >"$FAKE/hang"
  SECONDS=0
  run part_engine_answers
  [ "$status" -ne 0 ]
  [ "$SECONDS" -lt 10 ]
}

# The same function with a shorter limit.
part_engine_answers() {
  "${SPINDLE_TEST_BASH:-bash}" -c '. "$1/scripts/lib/messages.sh"; within 1 docker info' part "$CHECKOUT"
}
