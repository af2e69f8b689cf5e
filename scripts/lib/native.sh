# Native mode: one `spindle up` in the background. The program supervises nats-server itself, holds the lock on the data
# directory, and publishes its addresses in run.json; run.sh keeps only the process id of what it started.
# shellcheck shell=bash

# A relative directory in the environment is relative to the caller's, one in .env to the checkout.
native_paths() {
  if [ -n "${SPINDLE_DATA_DIR:-}" ]; then
    DATA="$(absolute "$SPINDLE_DATA_DIR")"
  else
    DATA="$(setting SPINDLE_DATA_DIR)"
    DATA="$(cd "$ROOT" && absolute "${DATA:-spindle-data}")"
  fi
  PID_FILE="$DATA/spindle.pid"
  OUTPUT="$DATA/logs/spindle.log"
}

native_runs() {
  native_paths
  [ -n "$(running_pid)" ]
}

# native_takes_no_service COMMAND SERVICE…
native_takes_no_service() {
  [ $# -eq 1 ] || fail_usage "in native mode all roles run in one process: $1 takes no service ('$2')"
}

# ── the process ──────────────────────────────────────────────────────────────────────────────────

# has_ended PID: true for a process that is gone, or a zombie.
has_ended() {
  local stat
  kill -0 "$1" 2>/dev/null || return 0
  if [ -r /proc/self/stat ]; then
    stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 0
    stat="${stat##*) }"
  else
    stat="$(ps -o stat= -p "$1" 2>/dev/null)" || return 0
  fi
  case "$stat" in
    '' | Z* | X*) return 0 ;;
  esac
  return 1
}

# command_of PID: its command line; nothing for a zombie or a process that has ended. While a process executes a new
# program, its command line is empty for a moment.
command_of() {
  local command="" attempts=5
  while [ "$attempts" -gt 0 ]; do
    if [ -r /proc/self/cmdline ]; then
      command="$({ tr '\000' ' ' <"/proc/$1/cmdline"; } 2>/dev/null)" || true
    else
      command="$(ps -o args= -ww -p "$1" 2>/dev/null)" || true
    fi
    if [ -n "$command" ] || has_ended "$1"; then
      break
    fi
    attempts=$((attempts - 1))
    sleep 0.05
  done
  printf '%s\n' "$command"
}

# The process that run.sh started; nothing if it has ended. The command line, which names the data directory,
# distinguishes it from a later process with the same id.
running_pid() {
  local pid=""
  [ -f "$PID_FILE" ] || return 0
  read -r pid <"$PID_FILE" || true
  case "$(command_of "${pid:-none}")" in
    *" up --data-dir $DATA" | *" up --data-dir $DATA ") printf '%s\n' "$pid" ;;
  esac
}

# A `spindle up` in this data directory that run.sh did not start.
foreign_pid() {
  local pid
  pid="$(run_value pid)"
  case "$(command_of "${pid:-none}")" in
    *spindle*" up"*) printf '%s\n' "$pid" ;;
  esac
}

# run_value NAME: a field of run.json, which the running system writes.
run_value() {
  sed -n 's/.*"'"$1"'": *"\{0,1\}\([^",}]*\).*/\1/p' "$DATA/run.json" 2>/dev/null || true
}

# Starts `spindle up` in a process group of its own, so that neither Ctrl-C nor a hangup of this terminal reaches it.
# The pid file is created exclusively (noclobber): of two starts at once one fails. Sets STARTED.
launch() {
  [ -n "$(running_pid)" ] || rm -f "$PID_FILE"
  # The log is private to its user too, also if an earlier version has created it.
  (umask 077 && : >>"$OUTPUT" && chmod go= "$OUTPUT") || die "cannot write $OUTPUT"
  set -m
  # At the root, so that its spindle.toml is read. Open descriptors would keep a caller waiting for their end.
  # shellcheck disable=SC2016 # expanded by the inner shell
  (cd "$ROOT" && umask 077 && trap '' HUP && exec sh -c 'set -C; echo $$ >"$1" || exit 1; shift; exec "$@"' sh "$PID_FILE" \
    "$PROGRAM" up --data-dir "$DATA") </dev/null >>"$OUTPUT" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  STARTED=$!
  set +m
  disown "$STARTED" 2>/dev/null || true
}

# end_spindle PID SECONDS: SIGTERM, then SIGKILL. The program's guard process ends nats-server in either case.
end_spindle() {
  local deadline=$((SECONDS + $2))
  kill -TERM "$1" 2>/dev/null || true
  while ! has_ended "$1"; do
    if [ "$SECONDS" -gt "$deadline" ]; then
      say "spindle did not stop within $2 s, killing it; acknowledged data is on disk"
      kill -KILL "$1" 2>/dev/null || true
      deadline=$((SECONDS + 10))
    fi
    sleep 0.1
  done
  rm -f "$PID_FILE"
}

# Longer than the program's own limit: the daemon's share, the writer's, and 12 s for nats-server.
stop_timeout() {
  local timeout
  timeout="$(setting SPINDLE_SHUTDOWN_TIMEOUT)"
  case "${timeout%s}" in
    '' | *[!0-9]*) echo 60 ;;
    *) echo $((${timeout%s} + 30)) ;;
  esac
}

# ── start ────────────────────────────────────────────────────────────────────────────────────────

native_start() {
  local pid
  native_paths
  say "mode: native ($WHY)"
  pid="$(running_pid)"
  if [ -n "$pid" ]; then
    say "Spindle is already running (process $pid)"
    native_summary
    return
  fi
  pid="$(foreign_pid)"
  if [ -n "$pid" ]; then
    say "a manually started \`spindle up\` is already running in $DATA (process $pid), at $(run_value http)"
    return
  fi
  need_program
  export_settings
  if [ -z "${NATS_URL:-}" ]; then
    need_nats_server
    SPINDLE_NATS_SERVER="$(find_nats_server 2>/dev/null)"
    export SPINDLE_NATS_SERVER
  fi
  # Private to its user, as the program creates it.
  (umask 077 && mkdir -p "$DATA/logs") || die "cannot create $DATA: choose another directory with SPINDLE_DATA_DIR"
  # One older log is kept.
  [ ! -f "$OUTPUT" ] || [ "$(wc -c <"$OUTPUT")" -le 16777216 ] || mv -f "$OUTPUT" "$OUTPUT.1"
  say "starting spindle"
  STARTED=""
  trap abandon_start EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  launch
  wait_until_ready
  trap - EXIT HUP INT TERM
  native_summary
}

# Whatever ends run.sh before the system is ready also ends what it has started.
abandon_start() {
  trap '' HUP INT TERM
  [ -n "$STARTED" ] || return 0
  say "start abandoned, stopping spindle"
  end_spindle "$STARTED" "$(stop_timeout)"
}

# Exports the program's settings from .env; the environment takes precedence. The passwords there belong to Compose's
# NATS.
export_settings() {
  local name
  [ -f "$ENV_FILE" ] || return 0
  for name in $(names_in_env <"$ENV_FILE"); do
    case "$name" in
      NATS_*_PASSWORD | SPINDLE_MODE | SPINDLE_DATA_DIR | SPINDLE_START_TIMEOUT) continue ;;
      SPINDLE_* | NATS_* | INFLUXDB_VERSION | GENERATION_INTERVAL_SECONDS | CLIENT_MIN_CRITICALITY) ;;
      # For an InfluxDB that the user names. Without one, .env holds them for Compose.
      INFLUXDB_HOST | INFLUXDB_ORG | INFLUXDB_BUCKET | INFLUXDB_TOKEN | INFLUXDB_USERNAME | INFLUXDB_PASSWORD)
        [ -n "$(setting INFLUXDB_HOST)" ] || continue
        # A user name takes the place of the token, which was generated for Compose.
        [ "$name" != INFLUXDB_TOKEN ] || [ -z "$(setting INFLUXDB_USERNAME)" ] || continue
        ;;
      *) continue ;;
    esac
    export "$name=$(setting "$name")"
  done
}

wait_until_ready() {
  local deadline=$((SECONDS + START_TIMEOUT)) missing="no addresses in run.json yet"
  while [ "$SECONDS" -le "$deadline" ]; do
    if has_ended "$STARTED"; then
      STARTED=""
      [ -z "$(running_pid)" ] || die "another start is in progress (process $(running_pid))"
      rm -f "$PID_FILE"
      show_log_end
      die "spindle exited during the start: see the end of its log above"
    fi
    if [ "$(run_value pid)" = "$STARTED" ] && missing="$(native_health 2>&1)"; then
      return
    fi
    sleep 0.1
  done
  show_log_end
  die "spindle is not ready after $START_TIMEOUT s: $missing"
}

# Both variables, so that no other setting decides which address is probed.
native_health() {
  local address
  address="$(run_value http)"
  SPINDLE_HTTP="${address#http://}" SPINDLE_HEALTH="${address#http://}" "$PROGRAM" health
}

show_log_end() {
  say "── the end of $OUTPUT"
  [ ! -f "$OUTPUT" ] || tail -n 15 "$OUTPUT" >&2
  say "──"
}

native_summary() {
  local store
  # As the running system has found it: place, address and version. Its text may contain commas.
  store="$(sed -n 's/^ *"store": "\(.*\)",\{0,1\}$/\1/p' "$DATA/run.json" 2>/dev/null)" || true
  case "$store" in
    embedded*) store="$store (SQLite; Grafana reads InfluxDB only: set INFLUXDB_HOST to use one)" ;;
  esac
  cat <<TEXT
Spindle is running natively.
  page and HTTP    $(run_value http)
  NATS             $(run_value nats | sed 's,//[^@]*@,//,') (user and password are in $DATA/run.json)
  store            $store
  data             $DATA
  logs             ./run.sh logs [spindle|nats|client] [-f]
  critical events  $(client_log)
  query            '$(find_program)' query devices --data-dir '$DATA'
  stop             ./run.sh stop
TEXT
}

client_log() {
  local log
  log="$(setting SPINDLE_CLIENT_LOG)"
  printf '%s\n' "${log:-$DATA/logs/critical-events.ndjson}"
}

# ── stop, logs, status ───────────────────────────────────────────────────────────────────────────

# native_stop REMOVE
native_stop() {
  local pid
  native_paths
  pid="$(running_pid)"
  if [ -n "$pid" ]; then
    say "stopping spindle (process $pid)"
    end_spindle "$pid" "$(stop_timeout)"
    say "stopped"
  elif [ -n "$(foreign_pid)" ]; then
    die "the \`spindle up\` in $DATA was started manually (process $(foreign_pid)): stop it with Ctrl-C in its terminal"
  else
    rm -f "$PID_FILE"
    say "nothing was running"
  fi
  [ "$1" = no ] || remove_native_data
}

# A directory named by the user may hold other files; only Spindle's are removed.
remove_native_data() {
  if [ "$DATA" = "$ROOT/spindle-data" ]; then
    rm -rf "$DATA"
  elif [ -d "$DATA" ]; then
    rm -rf "$DATA/nats" "$DATA/logs"
    rm -f "$DATA"/spindle.* "$DATA"/run.json* "$DATA"/simulation.json "$DATA"/truth.ndjson "$DATA"/daemon-seq.json* \
      "$DATA"/detector.*
    rmdir "$DATA" 2>/dev/null || say "$DATA contains other files, which were kept"
  fi
  say "removed the data in $DATA"
}

# native_logs FOLLOW [SERVICE]
native_logs() {
  local follow="$1" service="${2:-}" file nats files there=()
  native_paths
  nats="$DATA/nats/nats-server.log"
  case "$service" in
    '') files=("$OUTPUT" "$nats" "$(client_log)") ;;
    spindle) files=("$OUTPUT") ;;
    daemon | writer | reader | detector | web)
      say "in native mode all roles run in one process: this is its log"
      files=("$OUTPUT")
      ;;
    nats) files=("$nats") ;;
    client) files=("$(client_log)") ;;
    *) fail_usage "no service '$service' in native mode: expected spindle, nats or client" ;;
  esac
  for file in "${files[@]}"; do
    [ ! -f "$file" ] || there[${#there[@]}]="$file"
  done
  if [ "${#there[@]}" -eq 0 ]; then
    [ "$service" != client ] || die "no critical event has been logged yet (${files[0]} does not exist)"
    die "there is no log yet (${files[0]}): ./run.sh start"
  fi
  [ "$follow" = no ] || exec tail -n 50 -F "${there[@]}"
  tail -n 200 "${there[@]}"
}

native_status() {
  local pid
  native_paths
  pid="$(running_pid)"
  if [ -z "$pid" ]; then
    pid="$(foreign_pid)"
    [ -n "$pid" ] || { say "Spindle is not running here: ./run.sh start" && return 1; }
    say "a manually started \`spindle up\` is running in $DATA (process $pid)"
  fi
  native_summary
  PROGRAM="$(find_program)"
  native_health
}
