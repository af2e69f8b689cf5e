# Compose mode: the platform in containers, with `docker compose` (version 2) or `docker-compose` (1.29).
# docker-compose.yml alone defines the services and their health checks.
# shellcheck shell=bash

COMPOSE=()

# Checks for a Docker engine, with a time limit: a remote one may not respond. Sets ENGINE_ERROR to Docker's reason if
# it is installed but unavailable, for example without permission.
engine_available() {
  ENGINE_ERROR=""
  have docker || return 1
  ENGINE_ERROR="$(within 15 docker info 2>&1 >/dev/null)" && return 0
  ENGINE_ERROR="$(printf '%s\n' "$ENGINE_ERROR" | tail -n 1)"
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

# Both versions read .env and the files that COMPOSE_FILE names from the current directory.
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
    report_unhealthy "$@" || true
    die "${COMPOSE[*]} could not start everything: see its errors above. Started services keep running; ./run.sh stop stops them."
  fi
  wait_until_healthy "$@"
  [ $# -gt 0 ] || compose_addresses
}

# A mistyped service is a usage error, not a failure of the engine.
check_services() {
  local known service
  [ $# -gt 0 ] || return 0
  known="$(compose config --services)" || die "${COMPOSE[*]} rejects the files: see its errors above"
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
    compose stop "$@" >&2 || die "${COMPOSE[*]} could not stop $*: see its errors above"
  elif [ "$remove" = yes ]; then
    compose down --remove-orphans --volumes >&2 || die "${COMPOSE[*]} could not remove everything: see its errors above"
    say "stopped; the volumes and all their data are removed"
  else
    compose down --remove-orphans >&2 || die "${COMPOSE[*]} could not stop everything: see its errors above"
    say "stopped; the data is kept in the volumes"
  fi
}

# Compose's own restart starts the old container again and ignores changes in .env and the image.
compose_restart() {
  check_services "$@"
  compose stop "$@" >&2 || die "${COMPOSE[*]} could not stop everything: see its errors above"
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
  compose build >&2 || die "the images could not be built: see the errors above"
}

compose_status() {
  local code=0
  compose_states | sort | awk -F '|' '{ printf "  %-10s %s\n", $1, $2; n++ } END { exit n == 0 }' ||
    { say "nothing is running: ./run.sh start" && return 1; }
  # shellcheck disable=SC2046 # one word per service
  report_unhealthy $(compose config --services) || code=1
  compose_addresses
  return "$code"
}

# ── health ───────────────────────────────────────────────────────────────────────────────────────

# One line per container: SERVICE|STATUS, such as "Up 3 seconds (healthy)". From Docker itself, whose output does not
# depend on the version of Compose.
compose_states() {
  local project
  project="$(setting COMPOSE_PROJECT_NAME)"
  docker ps --all --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.oneoff=False" \
    --format '{{.Label "com.docker.compose.service"}}|{{.Status}}'
}

# unhealthy_among STATES SERVICE…: SERVICE|STATUS for each unhealthy one. Exit code 0 means completed.
unhealthy_among() {
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
  local deadline=$((SECONDS + START_TIMEOUT)) unhealthy reported="" n_ended=0
  if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # one word per service
    set -- $(compose config --services)
  fi
  [ $# -gt 0 ] || die "${COMPOSE[*]} names no services: see its errors above"
  while true; do
    unhealthy="$(unhealthy_among "$(compose_states)" "$@")"
    [ -n "$unhealthy" ] || return 0
    [ "$SECONDS" -lt "$deadline" ] || break
    # A container that has exited and is not restarted does not recover.
    case "$unhealthy" in
      *'|Exited'* | *'|Dead'*) n_ended=$((n_ended + 1)) ;;
      *) n_ended=0 ;;
    esac
    [ "$n_ended" -lt 5 ] || break
    # The services waited for, again after each change.
    if [ "$(names_of "$unhealthy")" != "$reported" ]; then
      reported="$(names_of "$unhealthy")"
      say "waiting for $reported"
    fi
    sleep 1
  done
  report_unhealthy "$@" || true
  die "not healthy: $(names_of "$unhealthy"). Started services keep running; ./run.sh logs SERVICE shows their logs, ./run.sh stop stops them."
}

names_of() {
  printf '%s\n' "$1" | cut -d '|' -f 1 | sort -u | paste -s -d ' ' -
}

# Reports unhealthy services with the last lines of their logs; returns 1 if there are any.
report_unhealthy() {
  local unhealthy service status
  if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # one word per service
    set -- $(compose config --services 2>/dev/null)
  fi
  unhealthy="$(unhealthy_among "$(compose_states)" "$@")"
  [ -n "$unhealthy" ] || return 0
  while IFS='|' read -r service status; do
    say "── $service is not healthy: $status"
    [ "$status" = "no container" ] || compose logs --no-color --tail 15 "$service" >&2 </dev/null || true
  done <<<"$unhealthy"
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
Spindle is running in containers (project $(setting COMPOSE_PROJECT_NAME), InfluxDB $version).
  live page   $(published WEB_PORT web 8080 http)   any user name / $(setting WEB_TOKEN)
  Grafana     $(published GRAFANA_PORT grafana 3000 http)   $(setting GRAFANA_ADMIN_USER) / $(setting GRAFANA_ADMIN_PASSWORD)
  InfluxDB    $(published INFLUXDB_PORT influxdb 8086 http)   $login
  NATS        $(published SPINDLE_NATS_PORT nats 4222 nats)   admin / $(setting NATS_ADMIN_PASSWORD)
  logs        ./run.sh logs [SERVICE] [-f]
  stop        ./run.sh stop
TEXT
}

# published VARIABLE SERVICE PORT SCHEME: for port 0, the one that Docker chose.
published() {
  local port
  port="$(setting "$1")"
  if [ "${port:-0}" = 0 ]; then
    port="$(compose port "$2" "$3" 2>/dev/null | sed 's/.*://')"
  fi
  printf '%s://127.0.0.1:%s\n' "$4" "$port"
}
