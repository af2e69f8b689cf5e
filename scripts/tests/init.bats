#!/usr/bin/env bats
# `./run.sh init`, the format of .env, and usage errors.
# Each test runs in its own shell, `try` sets the variables that are checked, and single quotes are intended.
# shellcheck disable=SC1003,SC2016,SC2030,SC2031,SC2153,SC2154

load helpers

setup_file() {
  copy_checkout
}

setup() {
  clean_environment
  rm -rf "$CHECKOUT/.env" "$CHECKOUT/spindle-data"
}

SECRETS="NATS_DAEMON_PASSWORD NATS_WRITER_PASSWORD NATS_DETECTOR_PASSWORD NATS_READER_PASSWORD NATS_CLIENT_PASSWORD
NATS_WEB_PASSWORD NATS_ADMIN_PASSWORD WEB_TOKEN INFLUXDB_ADMIN_PASSWORD INFLUXDB_TOKEN GRAFANA_ADMIN_PASSWORD"

has_no_placeholder() { not grep -q '^[A-Z_]*=.*[<>]' "$CHECKOUT/.env"; }

@test "init: a new .env holds every variable, with secrets of its own, readable by its owner only" {
  try init
  good
  says "$err" "generated from .env.example for InfluxDB 2"
  # From its first byte on, not corrected afterwards.
  says_not "$err" "was readable"
  [ "$(mode_of "$CHECKOUT/.env")" = "-rw-------" ]
  has_no_placeholder
  diff <(grep -o '^[A-Z_]*=' "$CHECKOUT/.env.example") <(grep -o '^[A-Z_]*=' "$CHECKOUT/.env")
  for name in $SECRETS; do
    is_secret "$(value "$name")"
  done
  [ "$(for name in $SECRETS; do value "$name"; done | sort -u | wc -l)" -eq 11 ]
  [ "$(value GRAFANA_INFLUXDB_AUTHORIZATION)" = "Token $(value INFLUXDB_TOKEN)" ]
  [ "$(value COMPOSE_FILE)" = docker-compose.yml ]
}

@test "init: each fresh init makes other secrets" {
  try init
  cp "$CHECKOUT/.env" "$BATS_TEST_TMPDIR/first"
  rm "$CHECKOUT/.env"
  try init
  for name in $SECRETS; do
    not grep -q -F "$(value "$name")" "$BATS_TEST_TMPDIR/first"
  done
}

@test "init: every variable of the example has a comment above it" {
  awk '/^#/ { commented = 1; next } /^$/ { commented = 0; next }
    { if (!commented) { print "no comment above: " $0; bad = 1 } } END { exit bad }' "$CHECKOUT/.env.example"
}

@test "init: a second init changes nothing" {
  try init
  cp "$CHECKOUT/.env" "$BATS_TEST_TMPDIR/first"
  try init
  good
  says "$err" "nothing was changed"
  cmp "$CHECKOUT/.env" "$BATS_TEST_TMPDIR/first"
}

@test "init: what is there is kept, what is missing is added, and it is said" {
  printf 'NATS_ADMIN_PASSWORD="mine # too"\r\n# my comment\nOWN_VARIABLE=a=b\nGRAFANA_PORT=0\n' >"$BATS_TEST_TMPDIR/mine"
  cp "$BATS_TEST_TMPDIR/mine" "$CHECKOUT/.env"
  printf 'INFLUXDB_TOKEN=<random>\nNATS_WRITER_PASSWORD=' >>"$CHECKOUT/.env"
  chmod 644 "$CHECKOUT/.env"
  try init
  good
  says "$err" "added INFLUXDB_TOKEN, NATS_WRITER_PASSWORD, COMPOSE_PROJECT_NAME" "are unchanged"
  says_not "$err" OWN_VARIABLE GRAFANA_PORT NATS_ADMIN_PASSWORD
  cmp <(head -n 4 "$CHECKOUT/.env") "$BATS_TEST_TMPDIR/mine"
  [ "$(grep -c '^NATS_WRITER_PASSWORD=' "$CHECKOUT/.env")" -eq 1 ]
  is_secret "$(value NATS_WRITER_PASSWORD)"
  is_secret "$(value INFLUXDB_TOKEN)"
  [ "$(value GRAFANA_INFLUXDB_AUTHORIZATION)" = "Token $(value INFLUXDB_TOKEN)" ]
  [ "$(mode_of "$CHECKOUT/.env")" = "-rw-------" ]
  # Added variables keep their comments.
  grep -q '^# Number of simulated devices' "$CHECKOUT/.env"
  chmod 644 "$CHECKOUT/.env"
  try init
  says "$err" "mode 600"
  [ "$(mode_of "$CHECKOUT/.env")" = "-rw-------" ]
  try init
  says "$err" "nothing was changed"
}

@test "init: an installation without the live page gets its password, its token and its port, and nothing else changes" {
  try init
  sed -i.bak -e '/^NATS_WEB_PASSWORD=/d' -e '/^WEB_TOKEN=/d' -e '/^WEB_PORT=/d' "$CHECKOUT/.env"
  mv "$CHECKOUT/.env" "$BATS_TEST_TMPDIR/before"
  cp "$BATS_TEST_TMPDIR/before" "$CHECKOUT/.env"
  rm "$CHECKOUT/.env.bak"
  try init
  good
  says "$err" "added NATS_WEB_PASSWORD, WEB_TOKEN, WEB_PORT; existing values are unchanged"
  is_secret "$(value NATS_WEB_PASSWORD)"
  is_secret "$(value WEB_TOKEN)"
  cmp <(head -n "$(wc -l <"$BATS_TEST_TMPDIR/before")" "$CHECKOUT/.env") "$BATS_TEST_TMPDIR/before"
}

@test "init: a copy of the example gets its secrets" {
  cp "$CHECKOUT/.env.example" "$CHECKOUT/.env"
  try init
  good
  has_no_placeholder
  is_secret "$(value NATS_READER_PASSWORD)"
}

@test "init: a link to a .env elsewhere stays a link" {
  printf 'OWN=1\n' >"$BATS_TEST_TMPDIR/elsewhere"
  ln -s "$BATS_TEST_TMPDIR/elsewhere" "$CHECKOUT/.env"
  try init
  good
  [ -L "$CHECKOUT/.env" ]
  grep -q '^INFLUXDB_TOKEN=' "$BATS_TEST_TMPDIR/elsewhere"
}

@test "init: versions 1 and 3 get their files, tokens and headers" {
  try init --influxdb 1
  [ "$(value COMPOSE_FILE)" = docker-compose.yml:docker-compose.influxdb1.yml ]
  [ "$(value GRAFANA_INFLUXDB_AUTHORIZATION)" = "Basic $(printf 'admin:%s' "$(value INFLUXDB_ADMIN_PASSWORD)" | base64 | tr -d '\n')" ]
  rm "$CHECKOUT/.env"
  try init --influxdb=3
  [ "$(value COMPOSE_FILE)" = docker-compose.yml:docker-compose.influxdb3.yml ]
  value INFLUXDB_TOKEN | grep -q -E '^apiv3_[A-Za-z0-9]{64,}$'
  [ "$(value GRAFANA_INFLUXDB_AUTHORIZATION)" = "Token $(value INFLUXDB_TOKEN)" ]
}

@test "init: another version is not slipped under an existing .env, but --force changes it" {
  try init
  sed -i.bak -e 's/^SPINDLE_DEVICES=.*/SPINDLE_DEVICES=77/' -e 's/^COMPOSE_FILE=.*/COMPOSE_FILE=docker-compose.yml:mine.yml/' "$CHECKOUT/.env"
  rm "$CHECKOUT/.env.bak"
  cp "$CHECKOUT/.env" "$BATS_TEST_TMPDIR/first"
  try init --influxdb 1
  failed_with 1
  says "$err" "for InfluxDB 2" "--force"
  cmp "$CHECKOUT/.env" "$BATS_TEST_TMPDIR/first"
  try init --influxdb 1 --force
  good
  says "$err" volumes spindle-data/env.
  for name in $SECRETS; do
    not grep -q -F "$(value "$name")" "$BATS_TEST_TMPDIR/first"
  done
  [ "$(value SPINDLE_DEVICES)" = 77 ]
  [ "$(value COMPOSE_FILE)" = docker-compose.yml:mine.yml:docker-compose.influxdb1.yml ]
  says "$(value GRAFANA_INFLUXDB_AUTHORIZATION)" "Basic "
  # The previous passwords are kept, readable by the owner only.
  cmp "$CHECKOUT"/spindle-data/env.* "$BATS_TEST_TMPDIR/first"
  [ "$(mode_of "$CHECKOUT"/spindle-data/env.*)" = "-rw-------" ]
  try init --force
  [ "$(value COMPOSE_FILE)" = docker-compose.yml:mine.yml:docker-compose.influxdb1.yml ]
  try init --force --influxdb 2
  [ "$(value COMPOSE_FILE)" = docker-compose.yml:mine.yml ]
}

@test "init: wrong arguments" {
  try init --influxdb 4
  is_usage_error "expected 1, 2 or 3"
  try init --influxdb
  is_usage_error "needs a version"
  try init now
  is_usage_error "'now'"
  not test -e "$CHECKOUT/.env"
}

@test ".env is data: nothing in it runs, and it is read as Compose reads it" {
  cat >"$CHECKOUT/.env" <<'TEXT'
A=$(touch ran)`touch ran`
B="quoted # not a comment"
C='single'
D=value # a comment
E= spaced out	
F=first
F=last
  G=indented
export H=exported
I=a=b&c|d
J=pass#word
# K=commented
TEXT
  printf 'L=dos\r\nM=no end' >>"$CHECKOUT/.env"
  cd "$BATS_TEST_TMPDIR"
  check() { [ "$(part setting "$1")" = "$2" ] || { echo "$1: $(part setting "$1")" && false; }; }
  check A '$(touch ran)`touch ran`'
  check B 'quoted # not a comment'
  check C single
  check D value
  check F last
  check G indented
  check H exported
  check I 'a=b&c|d'
  check J 'pass#word'
  check K ''
  check L dos
  check M 'no end'
  not test -e ran
  not test -e "$CHECKOUT/ran"
  [ "$(F=environment part setting F)" = environment ]
}

@test "commands: what is unknown or too much is one line and exit code 2" {
  try frobnicate
  is_usage_error "unknown command 'frobnicate'"
  try build now
  is_usage_error "'now'"
  try all now
  is_usage_error "'now'"
  try status now
  is_usage_error "'now'"
  try test --fast
  is_usage_error "'--fast'"
  try start --fast
  is_usage_error "'--fast'"
  try stop --now
  is_usage_error "'--now'"
  try stop --volumes writer
  is_usage_error "takes no service"
  try logs a b
  is_usage_error "'b'"
  try logs --tail
  is_usage_error "'--tail'"
  SPINDLE_MODE=kubernetes try start
  is_usage_error "expected compose, native or auto"
  SPINDLE_START_TIMEOUT=long try start
  is_usage_error "expected a number of seconds"
  try help
  good
  for word in up init build start stop restart logs status all replace test help; do
    grep -q "^  $word" <<<"$out"
  done
}

@test "words of other tools: the same command, or a tip in one line" {
  check() {
    local command="$1" word
    shift
    for word in "$@"; do
      [ "$(part known_command "$word")" = "$command" ] || { echo "$word: $(part known_command "$word")" && false; }
    done
  }
  check help -h --help help
  check start launch start
  check up run serve up
  check stop down halt shutdown stop
  check restart reload
  check logs log tail
  check status ps ls list health info
  check build make compile rebuild
  check init setup configure install
  check test tests verify
  check '' ''
  # Its own options still apply.
  try down --now
  is_usage_error "'--now'"
  for word in query devices dlq check config version --version; do
    try "$word"
    is_usage_error "\`spindle $word\`"
  done
  for word in rm clean purge; do
    try "$word"
    is_usage_error "./run.sh stop --volumes"
  done
  try -d
  is_usage_error "./run.sh start"
}

@test "a link to run.sh works, from another folder" {
  ln -s "$CHECKOUT/run.sh" "$BATS_TEST_TMPDIR/spindle here"
  cd /
  "${SPINDLE_TEST_BASH:-bash}" "$BATS_TEST_TMPDIR/spindle here" init
  [ -f "$CHECKOUT/.env" ]
}
