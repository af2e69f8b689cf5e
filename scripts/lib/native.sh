# The platform without containers: one `spindle up` in the background, with nats-server as its child, and an
# InfluxDB of its own where `influxd` is installed. Everything it keeps lies in the data directory.
# shellcheck shell=bash

# Where everything lies; a relative folder of the environment is meant from here, one of .env from the checkout.
native_paths() {
  if [ -n "${SPINDLE_DATA_DIR:-}" ]; then
    DATA="$(absolute "$SPINDLE_DATA_DIR")"
  else
    DATA="$(cd "$ROOT" && absolute "$(dotenv_or SPINDLE_DATA_DIR spindle-data)")"
  fi
  SPINDLE_PID_FILE="$DATA/spindle.pid"
  SPINDLE_OUTPUT="$DATA/logs/spindle.log"
}

dotenv_or() {
  local value
  value="$(setting "$1")"
  printf '%s\n' "${value:-$2}"
}

native_runs() {
  native_paths
  [ -n "$(running_pid "$SPINDLE_PID_FILE")" ]
}

# native_takes_no_service COMMAND SERVICE…
native_takes_no_service() {
  [ $# -eq 1 ] || fail_usage "natively all roles run in one process: $1 takes no service ('$2')"
}

# ── start ────────────────────────────────────────────────────────────────────────────────────────

native_start() {
  local pid
  native_paths
  say "mode: native ($WHY)"
  pid="$(running_pid "$SPINDLE_PID_FILE")"
  if [ -n "$pid" ]; then
    say "Spindle runs already (process $pid)"
    native_summary
    return 0
  fi
  pid="$(foreign_pid)"
  if [ -n "$pid" ]; then
    say "a \`spindle up\` that was started by hand runs already in $DATA (process $pid), at $(run_value http)"
    return 0
  fi
  need_program
  export_settings
  [ -n "${NATS_URL:-}" ] || { need_nats_server && SPINDLE_NATS_SERVER="$(find_nats_server 2>/dev/null)" && export SPINDLE_NATS_SERVER; }
  # As the program makes it: what lies there is its user's alone.
  (umask 077 && mkdir -p "$DATA/logs") || die "cannot create $DATA: choose another folder with SPINDLE_DATA_DIR"
  begin_start
  native_store
  start_spindle
  finish_start
  native_summary
}

# From here to finish_start whatever ends us ends what we have started.
begin_start() {
  STARTED_SPINDLE="" STARTED_INFLUXD="" START_LOCK=""
  trap abandon_start EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  take_start_lock
}

finish_start() {
  STARTED_SPINDLE="" STARTED_INFLUXD=""
  abandon_start
  trap - EXIT HUP INT TERM
}

abandon_start() {
  # Ending in order takes its time; the impatient have kill -9.
  trap '' HUP INT TERM
  if [ -n "$STARTED_SPINDLE" ]; then
    say "the start is given up: stopping what it has started"
    end_process spindle "$STARTED_SPINDLE" "$(stop_patience)"
    rm -f "$SPINDLE_PID_FILE"
  fi
  if [ -n "$STARTED_INFLUXD" ]; then
    end_process influxd "$STARTED_INFLUXD" 30
    rm -f "$DATA/influxdb/influxd.pid"
  fi
  [ -z "$START_LOCK" ] || rm -f "$START_LOCK"
}

# Two starts at once would put two influxd into one folder. The file is made only if it is not there (noclobber),
# in one step.
take_start_lock() {
  local file="$DATA/start.pid" pid
  pid="$(running_pid "$file")"
  if [ -n "$pid" ]; then
    die "another start is under way (process $pid): wait for it, or end it"
  fi
  rm -f "$file"
  if ! (set -C && remember_process "$file" $$) 2>/dev/null; then
    die "another start is under way: wait for it"
  fi
  START_LOCK="$file"
}

# A `spindle up` in this data directory that is not ours: in the foreground of some terminal.
foreign_pid() {
  local pid
  [ -f "$DATA/run.json" ] || return 0
  pid="$(run_value pid)"
  case "$(LC_ALL=C ps -o comm= -p "${pid:-0}" 2>/dev/null || true)" in
    spindle | */spindle) [ -z "$(process_mark "$pid")" ] || printf '%s\n' "$pid" ;;
  esac
}

# run_value NAME: what the running system says of itself in run.json.
run_value() {
  sed -n 's/.*"'"$1"'": *"\{0,1\}\([^",}]*\).*/\1/p' "$DATA/run.json" 2>/dev/null || true
}

# What .env says for the program, unless the environment says otherwise. Passwords of Compose's NATS are not meant.
export_settings() {
  local line name
  [ -f "$ENV_FILE" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    is_comment "$line" && continue
    name="$(name_in "$line")"
    case "$name" in
      NATS_DAEMON_PASSWORD | NATS_WRITER_PASSWORD | NATS_READER_PASSWORD | NATS_CLIENT_PASSWORD | NATS_ADMIN_PASSWORD) ;;
      SPINDLE_MODE | SPINDLE_DATA_DIR) ;;
      SPINDLE_* | NATS_* | INFLUXDB_VERSION | GENERATION_INTERVAL_SECONDS | CLIENT_MIN_CRITICALITY)
        [ -n "${!name:-}" ] || export "$name=$(plain_value "${line#*=}")"
        ;;
    esac
  done <"$ENV_FILE"
}

start_spindle() {
  rotate "$SPINDLE_OUTPUT"
  rm -f "$DATA/run.json"
  say "starting spindle, store: $STORE_WORDS"
  # At the root, as `up` would be: a spindle.toml there counts.
  cd "$ROOT"
  in_background "$SPINDLE_OUTPUT" "$PROGRAM" up --data-dir "$DATA"
  STARTED_SPINDLE="$BACKGROUND_PID"
  remember_process "$SPINDLE_PID_FILE" "$STARTED_SPINDLE"
  cd - >/dev/null
  wait_until_ready
}

wait_until_ready() {
  local deadline=$((SECONDS + START_PATIENCE)) address missing="it has not said its addresses"
  while [ "$SECONDS" -le "$deadline" ]; do
    if [ -z "$(process_mark "$STARTED_SPINDLE")" ]; then
      show_end_of "$SPINDLE_OUTPUT"
      STARTED_SPINDLE=""
      rm -f "$SPINDLE_PID_FILE"
      die "spindle ended at once: its last words are above"
    fi
    if [ "$(run_value pid)" = "$STARTED_SPINDLE" ]; then
      address="$(run_value http)"
      # Both names, so that nothing else that is configured decides whom it asks.
      if missing="$(SPINDLE_HTTP="${address#http://}" SPINDLE_HEALTH="${address#http://}" "$PROGRAM" health 2>&1)"; then
        return 0
      fi
    fi
    sleep 0.1
  done
  show_end_of "$SPINDLE_OUTPUT"
  die "spindle is not ready after $START_PATIENCE s: $missing"
}

# The log grows slowly; one older file is kept.
rotate() {
  if [ -f "$1" ] && [ "$(wc -c <"$1")" -gt 16777216 ]; then
    mv -f "$1" "$1.1"
  fi
}

show_end_of() {
  say "── the end of $1"
  [ ! -f "$1" ] || tail -n 15 "$1" >&2
  say "──"
}

native_summary() {
  if [ -n "${STORE_WORDS:-}" ]; then
    # Kept, so that a later start or status can say it again. It holds a password.
    (umask 077 && native_addresses >"$DATA/addresses")
  fi
  [ ! -f "$DATA/addresses" ] || cat "$DATA/addresses"
}

native_addresses() {
  cat <<TEXT
Spindle runs natively.
  page and HTTP    $(run_value http)
  NATS             $(run_value nats | sed 's,//[^@]*@,//,') (user and password are in $DATA/run.json)
  store            $STORE_WORDS
TEXT
  case "$STORE_KIND" in
    1) printf '  InfluxDB login   %s / %s\n' "$INFLUXDB_USERNAME" "$INFLUXDB_PASSWORD" ;;
    2)
      printf '  InfluxDB login   %s / %s\n' "$(setting INFLUXDB_ADMIN_USER)" "$(setting INFLUXDB_ADMIN_PASSWORD)"
      printf '  InfluxDB token   %s\n' "$INFLUXDB_TOKEN"
      ;;
  esac
  cat <<TEXT
  data             $DATA
  logs             ./run.sh logs [spindle|nats|influxdb|client] [-f]
  critical events  $(client_log)
  ask              '$PROGRAM' query devices --data-dir '$DATA'
  stop             ./run.sh stop
TEXT
  if [ "$STORE_KIND" = embedded ]; then
    say "  Grafana reads InfluxDB only: install influxd 1 or 2, or set INFLUXDB_HOST, to have its dashboards"
  else
    say "  Grafana: start yours with GF_PATHS_PROVISIONING='$ROOT/grafana/provisioning', INFLUXDB_HOST=$INFLUXDB_HOST,"
    say "  INFLUXDB_BUCKET=${INFLUXDB_BUCKET:-spindle} and GRAFANA_INFLUXDB_AUTHORIZATION; grafana/provisioning says more"
  fi
}

client_log() {
  printf '%s\n' "${SPINDLE_CLIENT_LOG:-$DATA/logs/critical-events.ndjson}"
}

# ── stop ─────────────────────────────────────────────────────────────────────────────────────────

native_stop() {
  local remove="$1" pid stopped=no
  native_paths
  pid="$(running_pid "$SPINDLE_PID_FILE")"
  if [ -z "$pid" ] && [ -n "$(foreign_pid)" ]; then
    die "the \`spindle up\` in $DATA was started by hand (process $(foreign_pid)): end it with Ctrl-C in its terminal"
  fi
  if [ -n "$pid" ]; then
    say "stopping spindle (process $pid)"
    end_process spindle "$pid" "$(stop_patience)"
    stopped=yes
  fi
  pid="$(running_pid "$DATA/influxdb/influxd.pid")"
  # After it: what is in hand still goes into the store.
  if [ -n "$pid" ]; then
    say "stopping influxd (process $pid)"
    end_process influxd "$pid" 30
    stopped=yes
  fi
  rm -f "$SPINDLE_PID_FILE" "$DATA/influxdb/influxd.pid" "$DATA/addresses"
  if [ "$stopped" = yes ]; then
    say "stopped"
  else
    say "nothing was running"
  fi
  [ "$remove" = no ] || remove_native_data
}

# Longer than the program's own limit: the daemon's share, the writer's, and nats-server's 12 s.
stop_patience() {
  local grace
  grace="$(setting SPINDLE_SHUTDOWN_TIMEOUT)"
  case "${grace%s}" in
    '' | *[!0-9]*) echo 60 ;;
    *) echo $((${grace%s} + 30)) ;;
  esac
}

# Of a folder that the user has named only what we put there is removed: they may keep more in it.
remove_native_data() {
  if [ "$DATA" = "$ROOT/spindle-data" ]; then
    rm -rf "$DATA"
  elif [ -d "$DATA" ]; then
    rm -rf "$DATA/nats" "$DATA/influxdb" "$DATA/logs"
    rm -f "$DATA"/spindle.* "$DATA"/run.json* "$DATA"/start.pid "$DATA"/simulation.json "$DATA"/truth.ndjson \
      "$DATA"/daemon-seq.json*
    rmdir "$DATA" 2>/dev/null || say "$DATA holds more than Spindle's data: the rest of it is left"
  fi
  say "removed the data in $DATA"
}

# ── logs, status ─────────────────────────────────────────────────────────────────────────────────

# native_logs FOLLOW [SERVICE]
native_logs() {
  local follow="$1" service="${2:-}" file files
  native_paths
  case "$service" in
    '') files=("$SPINDLE_OUTPUT" "$DATA/nats/nats-server.log" "$DATA/influxdb/influxd.log" "$(client_log)") ;;
    spindle) files=("$SPINDLE_OUTPUT") ;;
    daemon | writer | reader | detector | web)
      say "natively all roles run in one process: this is its log"
      files=("$SPINDLE_OUTPUT")
      ;;
    nats) files=("$DATA/nats/nats-server.log") ;;
    influxdb) files=("$DATA/influxdb/influxd.log") ;;
    client) files=("$(client_log)") ;;
    *) fail_usage "no service '$service' natively: expected spindle, nats, influxdb or client" ;;
  esac
  local there=()
  for file in "${files[@]}"; do
    [ ! -f "$file" ] || there[${#there[@]}]="$file"
  done
  if [ "${#there[@]}" -eq 0 ]; then
    if [ "$service" = client ]; then
      die "no critical event has been logged yet (${files[0]} is not there)"
    fi
    die "there is no log yet (${files[0]}): ./run.sh start"
  fi
  if [ "$follow" = yes ]; then
    exec tail -n 50 -F "${there[@]}"
  fi
  tail -n 200 "${there[@]}"
}

native_status() {
  local pid address
  native_paths
  pid="$(running_pid "$SPINDLE_PID_FILE")"
  if [ -z "$pid" ]; then
    pid="$(foreign_pid)"
    [ -n "$pid" ] || { say "Spindle does not run here: ./run.sh start" && return 1; }
    say "a \`spindle up\` that was started by hand runs in $DATA (process $pid)"
  fi
  native_summary
  address="$(run_value http)"
  PROGRAM="$(find_program)"
  SPINDLE_HTTP="${address#http://}" SPINDLE_HEALTH="${address#http://}" "$PROGRAM" health
}
