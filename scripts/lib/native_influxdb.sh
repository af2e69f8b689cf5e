# Natively, where the data go: to the InfluxDB that INFLUXDB_HOST names, to an `influxd` of our own where one is
# installed (versions 1 and 2), else to the embedded store.
# shellcheck shell=bash

# Sets STORE_KIND (embedded, named, 1 or 2) and STORE_WORDS, and the environment of the program.
native_store() {
  local host influxd major
  host="$(setting INFLUXDB_HOST)"
  if [ "${SPINDLE_STORE:-}" = embedded ]; then
    use_embedded "as SPINDLE_STORE says"
  elif [ -n "$host" ]; then
    use_named "$host"
  elif ! influxd="$(installed_influxd)"; then
    use_embedded "no influxd 1 or 2 is installed"
  elif ! have curl; then
    use_embedded "influxd is installed, but not curl, with which it is set up"
  else
    major="${influxd%% *}"
    start_influxd "$major" "${influxd#* }"
    "set_up_influxdb_$major"
    STORE_KIND="$major"
    STORE_WORDS="InfluxDB $major at $INFLUXDB_HOST, ours"
    export SPINDLE_STORE=influxdb INFLUXDB_VERSION="$major" INFLUXDB_HOST INFLUXDB_BUCKET
    if [ -f "$DATA/spindle.db" ]; then
      say "note: earlier data lie in the embedded store; SPINDLE_STORE=embedded starts with that"
    fi
  fi
}

use_embedded() {
  [ "${SPINDLE_STORE:-embedded}" = embedded ] ||
    die "SPINDLE_STORE is $SPINDLE_STORE, but $1: install InfluxDB, or set INFLUXDB_HOST to one that runs"
  STORE_KIND=embedded
  STORE_WORDS="embedded ($1)"
  export SPINDLE_STORE=embedded
}

# With a user name the token of .env is not meant: it was made for Compose.
use_named() {
  INFLUXDB_HOST="$1"
  INFLUXDB_USERNAME="$(setting INFLUXDB_USERNAME)"
  INFLUXDB_PASSWORD="$(setting INFLUXDB_PASSWORD)"
  if [ -z "$INFLUXDB_USERNAME" ]; then
    INFLUXDB_TOKEN="$(setting INFLUXDB_TOKEN)"
  fi
  INFLUXDB_ORG="$(setting INFLUXDB_ORG)"
  INFLUXDB_BUCKET="$(dotenv_or INFLUXDB_BUCKET spindle)"
  STORE_KIND=named
  # An address may hold a password.
  STORE_WORDS="InfluxDB at $(printf '%s\n' "$1" | sed 's|//[^/]*@|//|'), as INFLUXDB_HOST says"
  export SPINDLE_STORE=influxdb INFLUXDB_HOST INFLUXDB_USERNAME INFLUXDB_PASSWORD INFLUXDB_TOKEN INFLUXDB_ORG INFLUXDB_BUCKET
}

# Prints "MAJOR PROGRAM"; 1 when there is none that we can start.
installed_influxd() {
  local program major
  program="${SPINDLE_INFLUXD:-$(type -P influxd || true)}"
  [ -n "$program" ] || return 1
  major="$("$program" version 2>/dev/null | sed -n 's/^InfluxDB v\{0,1\}\([0-9][0-9]*\)\..*/\1/p' | head -n 1)"
  case "$major" in
    1 | 2) printf '%s %s\n' "$major" "$program" ;;
    *) say "influxd: $program says no version that is 1 or 2, ignored" && return 1 ;;
  esac
}

# ── the process ──────────────────────────────────────────────────────────────────────────────────

# start_influxd MAJOR PROGRAM: sets INFLUXDB_HOST. One that still runs after its spindle has died is taken as it is.
start_influxd() {
  local major="$1" program="$2" folder="$DATA/influxdb" port attempt
  mkdir -p "$folder/$major"
  chmod 700 "$folder"
  if [ -n "$(running_pid "$folder/influxd.pid")" ]; then
    INFLUXDB_HOST="http://127.0.0.1:$(cat "$folder/port")"
    say "influxd runs already at $INFLUXDB_HOST"
    return 0
  fi
  port="$(cat "$folder/port" 2>/dev/null || dotenv_or INFLUXDB_PORT 0)"
  for attempt in 1 2 3 4 5; do
    port="$(free_port "$port")"
    say "starting influxd $major on port $port"
    launch_influxd "$major" "$program" "$folder" "$port"
    if influxd_listens "$folder/influxd.log" "$port"; then
      printf '%s\n' "$port" >"$folder/port"
      INFLUXDB_HOST="http://127.0.0.1:$port"
      return 0
    fi
    # Somebody took the port between our look and its start.
    port=0
  done
  die "influxd found no free port in $attempt attempts"
}

launch_influxd() {
  local major="$1" program="$2" folder="$3" port="$4" log="$3/influxd.log"
  [ ! -f "$log" ] || mv -f "$log" "$log.1"
  if [ "$major" = 1 ]; then
    influxd_1_configuration "$folder/1" "$port" >"$folder/1/influxd.conf"
    in_background "$log" "$program" run -config "$folder/1/influxd.conf"
  else
    in_background "$log" env INFLUXD_CONFIG_PATH="$folder/2" INFLUXD_BOLT_PATH="$folder/2/influxd.bolt" \
      INFLUXD_SQLITE_PATH="$folder/2/influxd.sqlite" INFLUXD_ENGINE_PATH="$folder/2/engine" \
      INFLUXD_HTTP_BIND_ADDRESS="127.0.0.1:$port" INFLUXD_REPORTING_DISABLED=true "$program"
  fi
  STARTED_INFLUXD="$BACKGROUND_PID"
  remember_process "$folder/influxd.pid" "$STARTED_INFLUXD"
}

# Nothing leaves the machine (reporting), nothing listens beyond it, and nobody is answered without a password.
influxd_1_configuration() {
  local folder
  folder="$(escaped '"' "$1")"
  cat <<TEXT
# Written by run.sh at each start.
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
dir = "$folder/meta"
[data]
dir = "$folder/data"
wal-dir = "$folder/wal"
query-log-enabled = false
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:$2"
auth-enabled = true
log-enabled = false
TEXT
}

# Its own word that it listens, and an answer: another server on that port would give the second alone. 1: the
# port is taken.
influxd_listens() {
  local log="$1" port="$2" deadline=$((SECONDS + START_PATIENCE))
  while [ "$SECONDS" -le "$deadline" ]; do
    if [ -z "$(process_mark "$STARTED_INFLUXD")" ]; then
      STARTED_INFLUXD=""
      grep -q "address already in use" "$log" && return 1
      show_end_of "$log"
      die "influxd ended at once: its last words are above"
    fi
    if grep -q "Listening" "$log" && influx_asks "http://127.0.0.1:$port/ping" </dev/null && [ "$STATUS" = 204 ]; then
      return 0
    fi
    sleep 0.1
  done
  show_end_of "$log"
  die "influxd does not answer after $START_PATIENCE s"
}

# free_port WANTED: that one if nobody listens there, else any. Below the range that systems give out by themselves.
free_port() {
  local port="$1" attempt
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    [ "$port" != 0 ] || port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s\n' "$port"
      return 0
    fi
    [ "$attempt" -gt 1 ] || say "port $port is taken, using another"
    port=0
  done
  die "no free port was found in $attempt attempts"
}

# ── its first user ───────────────────────────────────────────────────────────────────────────────

# influx_asks URL: one request; the rest of it, secrets too, stands on standard input in curl's own form, where no
# list of processes shows it. Sets STATUS and ANSWER; 1 when there is no answer.
influx_asks() {
  local answer
  answer="$(curl --disable --silent --noproxy '*' --connect-timeout 5 --max-time 60 --write-out '\n%{http_code}' --config - "$1")" || return 1
  STATUS="${answer##*$'\n'}"
  ANSWER="${answer%$'\n'*}"
}

# A line of curl's configuration.
curl_line() { printf '%s = "%s"\n' "$1" "$(escaped '"' "$2")"; }

set_up_influxdb_1() {
  local user password create
  user="$(setting INFLUXDB_ADMIN_USER)"
  password="$(setting INFLUXDB_ADMIN_PASSWORD)"
  INFLUXDB_BUCKET="$(dotenv_or INFLUXDB_BUCKET spindle)"
  if ! influxdb_1_knows "$user" "$password"; then
    # Until there is an administrator, anyone may make the first, and nothing else.
    create="CREATE USER \"$(escaped '"' "$user")\" WITH PASSWORD '$(escaped "'" "$password")' WITH ALL PRIVILEGES"
    influx_asks "$INFLUXDB_HOST/query" < <(curl_line data-urlencode "q=$create") || die "influxd does not answer: see $DATA/influxdb/influxd.log"
    influxdb_1_knows "$user" "$password" || other_logins
    say "influxd: made its administrator, $user"
  fi
  export INFLUXDB_USERNAME="$user" INFLUXDB_PASSWORD="$password" INFLUXDB_TOKEN=""
}

influxdb_1_knows() {
  influx_asks "$INFLUXDB_HOST/query" < <(curl_line user "$1:$2" && curl_line data-urlencode "q=SHOW DATABASES") || return 1
  [ "$STATUS" = 200 ]
}

set_up_influxdb_2() {
  INFLUXDB_ORG="$(dotenv_or INFLUXDB_ORG spindle)"
  INFLUXDB_BUCKET="$(dotenv_or INFLUXDB_BUCKET spindle)"
  INFLUXDB_TOKEN="$(setting INFLUXDB_TOKEN)"
  influx_asks "$INFLUXDB_HOST/api/v2/setup" </dev/null || die "influxd does not answer: see $DATA/influxdb/influxd.log"
  case "$ANSWER" in
    *'"allowed"'*true*)
      influx_asks "$INFLUXDB_HOST/api/v2/setup" < <(curl_line header "Content-Type: application/json" && curl_line data "$(setup_2)") ||
        die "influxd does not answer: see $DATA/influxdb/influxd.log"
      [ "$STATUS" = 201 ] || die "influxd refuses to be set up ($STATUS): $ANSWER"
      say "influxd: set up, organization $INFLUXDB_ORG, bucket $INFLUXDB_BUCKET"
      ;;
  esac
  influx_asks "$INFLUXDB_HOST/api/v2/buckets?limit=1" < <(curl_line header "Authorization: Token $INFLUXDB_TOKEN") || STATUS="no answer"
  [ "$STATUS" = 200 ] || other_logins
  export INFLUXDB_ORG INFLUXDB_TOKEN INFLUXDB_USERNAME="" INFLUXDB_PASSWORD=""
}

setup_2() {
  printf '{"username":"%s","password":"%s","org":"%s","bucket":"%s","token":"%s"}' \
    "$(escaped '"' "$(setting INFLUXDB_ADMIN_USER)")" "$(escaped '"' "$(setting INFLUXDB_ADMIN_PASSWORD)")" \
    "$(escaped '"' "$INFLUXDB_ORG")" "$(escaped '"' "$INFLUXDB_BUCKET")" "$(escaped '"' "$INFLUXDB_TOKEN")"
}

other_logins() {
  die "the InfluxDB in $DATA/influxdb does not take the logins of .env (${STATUS}): put the old .env back, or remove its data with \`./run.sh stop --volumes\`"
}
