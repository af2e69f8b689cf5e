# The platform in containers, with `docker compose` (version 2) or `docker-compose` (1.29). Which services there
# are, and what "healthy" means for each, stands in docker-compose.yml and is not repeated here.
# shellcheck shell=bash

COMPOSE=()

# Whether there is a Docker engine; one that is far away and silent must not hold us. Sets ENGINE_SAYS when
# there is a Docker, but it gives a reason against it, such as a missing right.
engine_answers() {
  ENGINE_SAYS=""
  have docker || return 1
  ENGINE_SAYS="$(within 15 docker info 2>&1 >/dev/null)" && return 0
  ENGINE_SAYS="$(printf '%s\n' "$ENGINE_SAYS" | tail -n 1)"
  return 1
}

find_compose() {
  if docker compose version >/dev/null 2>&1; then
    COMPOSE=(docker compose)
  elif have docker-compose; then
    COMPOSE=(docker-compose)
  else
    return 1
  fi
}

# Both read .env, COMPOSE_FILE in it and the files that it names from the current folder.
compose() {
  in_root "${COMPOSE[@]}" "$@"
}

compose_start() {
  local code=0
  check_services "$@"
  say "mode: compose ($WHY)"
  say "starting with ${COMPOSE[*]}"
  compose up -d "$@" >&2 || code=$?
  if [ "$code" -ne 0 ]; then
    report_sick "$@" || true
    die "${COMPOSE[*]} could not start everything: see its words above. What runs goes on; ./run.sh stop stops it."
  fi
  wait_until_healthy "$@"
  [ $# -gt 0 ] || compose_addresses
}

# A mistyped service is a mistake in the command, not a fault of the engine.
check_services() {
  local known service
  [ $# -gt 0 ] || return 0
  known="$(compose config --services)" || die "${COMPOSE[*]} does not accept the files: see its words above"
  for service in "$@"; do
    printf '%s\n' "$known" | grep -q -x -F -e "$service" ||
      fail_usage "no service '$service': expected $(printf '%s\n' "$known" | sort | paste -s -d ' ' -)"
  done
}

compose_stop() {
  local remove="$1"
  shift
  if [ $# -gt 0 ]; then
    check_services "$@"
    compose stop "$@" >&2 || die "${COMPOSE[*]} could not stop $*: see its words above"
  elif [ "$remove" = yes ]; then
    compose down --remove-orphans --volumes >&2 || die "${COMPOSE[*]} could not remove everything: see its words above"
    say "stopped; the volumes and all data in them are removed"
  else
    compose down --remove-orphans >&2 || die "${COMPOSE[*]} could not stop everything: see its words above"
    say "stopped; the data stay in the volumes"
  fi
}

# Not Compose's own restart, which starts the old container again, whatever has changed in .env or the image.
compose_restart() {
  check_services "$@"
  compose stop "$@" >&2 || die "${COMPOSE[*]} could not stop everything: see its words above"
  compose_start "$@"
}

# compose_logs FOLLOW [SERVICE]
compose_logs() {
  local follow="$1"
  shift
  check_services "$@"
  if [ "$follow" = yes ]; then
    cd "$ROOT"
    exec "${COMPOSE[@]}" logs --tail 50 -f "$@"
  fi
  compose logs --tail 200 "$@"
}

compose_build() {
  say "building the images with ${COMPOSE[*]}"
  compose build >&2 || die "the images could not be built: see the words above"
}

compose_status() {
  local code=0
  compose_states | sort | awk -F '|' '{ printf "  %-10s %s\n", $1, $2; n++ } END { exit n == 0 }' ||
    { say "nothing runs: ./run.sh start" && return 1; }
  # shellcheck disable=SC2046 # one service a word
  report_sick $(compose config --services) || code=1
  compose_addresses
  return "$code"
}

# ── health ───────────────────────────────────────────────────────────────────────────────────────

# One line a container: SERVICE|what Docker says of it, such as "Up 3 seconds (healthy)". Asked of Docker itself,
# whose answer is the same under both versions of Compose.
compose_states() {
  local project
  project="$(setting COMPOSE_PROJECT_NAME)"
  docker ps --all --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.oneoff=False" \
    --format '{{.Label "com.docker.compose.service"}}|{{.Status}}'
}

# sick_among STATES SERVICE…: "SERVICE|words" for each that is not well. What ended with 0 has done its work.
sick_among() {
  local states="$1" service status found
  shift
  for service in "$@"; do
    found=no
    while IFS='|' read -r name status; do
      [ "$name" = "$service" ] || continue
      found=yes
      case "$status" in
        *"(unhealthy)" | *"(health: starting)" | *"(Paused)") printf '%s|%s\n' "$service" "$status" ;;
        Up* | "Exited (0)"*) ;;
        *) printf '%s|%s\n' "$service" "$status" ;;
      esac
    done <<<"$states"
    [ "$found" = yes ] || printf '%s|no container\n' "$service"
  done
}

wait_until_healthy() {
  local deadline=$((SECONDS + START_PATIENCE)) sick told="" n_ended=0
  if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # one service a word
    set -- $(compose config --services)
  fi
  [ $# -gt 0 ] || die "${COMPOSE[*]} names no services: see its words above"
  while true; do
    sick="$(sick_among "$(compose_states)" "$@")"
    [ -n "$sick" ] || return 0
    [ "$SECONDS" -lt "$deadline" ] || break
    # One that has ended and that nothing starts again will not become well by waiting.
    case "$sick" in
      *'|Exited'* | *'|Dead'*) n_ended=$((n_ended + 1)) ;;
      *) n_ended=0 ;;
    esac
    [ "$n_ended" -lt 5 ] || break
    # Whom we wait for, once for each change of it.
    if [ "$(names_of "$sick")" != "$told" ]; then
      told="$(names_of "$sick")"
      say "waiting for $told"
    fi
    sleep 1
  done
  report_sick "$@" || true
  die "not healthy: $(names_of "$sick"). What runs goes on; ./run.sh logs SERVICE tells more, ./run.sh stop stops it."
}

names_of() {
  printf '%s\n' "$1" | cut -d '|' -f 1 | sort -u | paste -s -d ' ' -
}

# Says who is not well and why, with the last lines of the log; 1 if anybody is not.
report_sick() {
  local sick service status
  if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # one service a word
    set -- $(compose config --services 2>/dev/null)
  fi
  sick="$(sick_among "$(compose_states)" "$@")"
  [ -n "$sick" ] || return 0
  while IFS='|' read -r service status; do
    say "── $service is not healthy: $status"
    [ "$status" = "no container" ] || compose logs --no-color --tail 15 "$service" >&2 </dev/null || true
  done <<<"$sick"
  return 1
}

# ── addresses ────────────────────────────────────────────────────────────────────────────────────

compose_addresses() {
  local version login
  version="$(influxdb_version)"
  case "$version" in
    3) login="token $(setting INFLUXDB_TOKEN)" ;;
    *) login="$(setting INFLUXDB_ADMIN_USER) / $(setting INFLUXDB_ADMIN_PASSWORD)" ;;
  esac
  cat <<TEXT
Spindle runs in containers (project $(setting COMPOSE_PROJECT_NAME), InfluxDB $version).
  Grafana     $(published GRAFANA_PORT grafana 3000 http)   $(setting GRAFANA_ADMIN_USER) / $(setting GRAFANA_ADMIN_PASSWORD)
  InfluxDB    $(published INFLUXDB_PORT influxdb 8086 http)   $login
  NATS        $(published SPINDLE_NATS_PORT nats 4222 nats)   admin / $(setting NATS_ADMIN_PASSWORD)
  logs        ./run.sh logs [SERVICE] [-f]
  stop        ./run.sh stop
TEXT
}

# published VARIABLE SERVICE PORT SCHEME: port 0 is one that Docker chose.
published() {
  local port
  port="$(setting "$1")"
  if [ "${port:-0}" = 0 ]; then
    port="$(compose port "$2" "$3" 2>/dev/null | sed 's/.*://')"
  fi
  printf '%s://127.0.0.1:%s\n' "$4" "$port"
}
