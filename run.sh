#!/usr/bin/env bash
# Spindle's only script for users: starts, builds and tests the platform. `./run.sh help` lists the commands.
#
# It runs from any directory, without root and without questions (except before it removes data). It writes only to
# .env, target/, web/, .tools/ and spindle-data/ of this checkout (all ignored by git); `replace` alone changes tracked
# files. Compatible with bash 3.2, which macOS ships. scripts/lib/ has its parts.
set -euo pipefail
unset CDPATH

# A symbolic link to this script refers to this checkout.
SELF="${BASH_SOURCE[0]}"
while [ -L "$SELF" ]; do
  LINK="$(readlink "$SELF")"
  case "$LINK" in
    /*) SELF="$LINK" ;;
    *) SELF="$(dirname "$SELF")/$LINK" ;;
  esac
done
ROOT="$(cd "$(dirname "$SELF")" && pwd -P)"
TOOLS="$ROOT/.tools"

# shellcheck source=scripts/lib/messages.sh
. "$ROOT/scripts/lib/messages.sh"
# shellcheck source=scripts/lib/words.sh
. "$ROOT/scripts/lib/words.sh"
# shellcheck source=scripts/lib/dotenv.sh
. "$ROOT/scripts/lib/dotenv.sh"
# shellcheck source=scripts/lib/fetch.sh
. "$ROOT/scripts/lib/fetch.sh"
# shellcheck source=scripts/lib/web.sh
. "$ROOT/scripts/lib/web.sh"
# shellcheck source=scripts/lib/program.sh
. "$ROOT/scripts/lib/program.sh"
# shellcheck source=scripts/lib/nats_server.sh
. "$ROOT/scripts/lib/nats_server.sh"
# shellcheck source=scripts/lib/native.sh
. "$ROOT/scripts/lib/native.sh"
# shellcheck source=scripts/lib/compose.sh
. "$ROOT/scripts/lib/compose.sh"
# shellcheck source=scripts/lib/replace.sh
. "$ROOT/scripts/lib/replace.sh"
# shellcheck source=scripts/lib/tests.sh
. "$ROOT/scripts/lib/tests.sh"

usage() {
  cat <<'TEXT'
Usage: ./run.sh [COMMAND]

  (none)      the whole platform, in the background: `init` if there is no .env, then `start`
  up [ARG…]   one process in the foreground: fetch nats-server if needed, build, `spindle up ARG…`
              (`./run.sh up --help` lists the arguments)

  init [--influxdb 1|2|3] [--force]
              create .env with generated secrets, or add missing variables; --force replaces the secrets
  build       build the program; with Compose, its image instead
  start [SERVICE…]
              start, wait until everything is healthy, and print addresses and logins
  stop [SERVICE…] [--volumes [--yes]]
              stop in order and keep the data; --volumes removes it (asks first, unless --yes)
  restart [SERVICE…]
  logs [SERVICE] [-f]
  status      what is running, its health and addresses; exit code 1 if unhealthy
  all         init, build, start

  replace [--dry-run] SEARCH REPLACE [EXT]
              replace a literal text in the files of this checkout (with extension EXT), except generated and binary ones
  test        fetch what the tests need, then check the format, lint, and run every test
  help        print this text

Words of other tools work where they mean the same: down is stop, ps is status, log is logs, setup is init.

The platform runs in containers if Docker and Compose are available: NATS, InfluxDB, Grafana and a container per role.
Otherwise it runs natively: one process with all roles, which starts nats-server (fetched if needed) and uses the
embedded store, or the InfluxDB that INFLUXDB_HOST names.

Variables (from the environment or .env; .env.example lists those of the platform):
  SPINDLE_MODE           compose, native, or auto (the rule above)
  SPINDLE_NATS_SERVER    path of the nats-server program, instead of a search
  NATS_URL               a running NATS server: none is started or fetched
  INFLUXDB_HOST          in native mode, a running InfluxDB to use instead of the embedded store
  SPINDLE_START_TIMEOUT  seconds that a start may take (180)
  CARGO_TARGET_DIR       cargo's target directory, instead of target/
TEXT
}

main() {
  # The current directory is kept, so that relative paths in the arguments stay valid.
  local command="${1:-}"
  [ $# -eq 0 ] || shift
  case "$(known_command "$command")" in
    '') start_command ;;
    up) up "$@" ;;
    init) init_command "$@" ;;
    build) no_arguments build "$@" && build_command ;;
    start) no_options start "$@" && start_command "$@" ;;
    stop) stop_command "$@" ;;
    restart) no_options restart "$@" && restart_command "$@" ;;
    logs) logs_command "$@" ;;
    status) no_arguments status "$@" && status_command ;;
    all) no_arguments all "$@" && all_command ;;
    replace) replace_command "$@" ;;
    test) no_arguments test "$@" && run_tests ;;
    help) usage ;;
    *) fail_usage "unknown command '$command': $(tip_for "$command")" ;;
  esac
}

# no_options COMMAND ARG…
no_options() {
  local command="$1" word
  shift
  for word in "$@"; do
    case "$word" in
      -* | '') fail_usage "$command: unknown option '$word': expected names of services" ;;
    esac
  done
}

# ── mode ────────────────────────────────────────────────────────────────────────────────────────

# Sets MODE, and WHY with the reason. A running native system stays native even if Docker has become available.
choose_mode() {
  local wanted
  wanted="$(setting SPINDLE_MODE)"
  MODE=native
  case "${wanted:-auto}" in
    native) WHY="set by SPINDLE_MODE" ;;
    compose)
      have docker || die "SPINDLE_MODE is compose, but docker is not installed"
      engine_available || die "SPINDLE_MODE is compose, but no Docker engine is available: start it, or check \`docker info\`${ENGINE_ERROR:+ ($ENGINE_ERROR)}"
      find_compose || die "SPINDLE_MODE is compose, but there is neither \`docker compose\` nor docker-compose: install one"
      MODE=compose WHY="set by SPINDLE_MODE"
      ;;
    auto)
      if native_runs; then
        WHY="already running natively"
      elif ! engine_available; then
        WHY="no Docker engine available${ENGINE_ERROR:+: $ENGINE_ERROR}"
      elif ! find_compose; then
        WHY="a Docker engine is available, but there is neither \`docker compose\` nor docker-compose"
      else
        MODE=compose WHY="a Docker engine is available"
      fi
      ;;
    *) fail_usage "SPINDLE_MODE is '$wanted': expected compose, native or auto" ;;
  esac
}

# choose_mode_of_running CODE: for commands on a system that was started before. Without .env nothing was started, and
# the exit code is CODE; the Compose files need every variable of it.
choose_mode_of_running() {
  choose_mode
  if [ "$MODE" = compose ]; then
    [ -f "$ENV_FILE" ] || { say "nothing was started here: there is no .env" && exit "$1"; }
    need_env
  fi
}

build_command() {
  choose_mode
  if [ "$MODE" = compose ]; then
    need_env
    compose_build
    say "built the image spindle:local; SPINDLE_MODE=native ./run.sh build builds the program itself"
    return
  fi
  build
  say "built $(target_dir)/release/spindle"
}

start_command() {
  START_TIMEOUT="$(start_timeout)"
  choose_mode
  need_env
  [ "$MODE" = compose ] || native_takes_no_service start "$@"
  "${MODE}_start" "$@"
}

restart_command() {
  START_TIMEOUT="$(start_timeout)"
  choose_mode
  need_env
  if [ "$MODE" = compose ]; then
    compose_restart "$@"
  else
    native_takes_no_service restart "$@"
    native_stop no
    native_start
  fi
}

# The legacy command: everything in one step.
all_command() {
  START_TIMEOUT="$(start_timeout)"
  choose_mode
  need_env
  if [ "$MODE" = compose ]; then
    compose_build
  else
    build
  fi
  "${MODE}_start"
}

stop_command() {
  local remove=no yes=no word
  local services=()
  for word in "$@"; do
    case "$word" in
      --volumes | -v) remove=yes ;;
      --yes | -y) yes=yes ;;
      -* | '') fail_usage "stop: unknown option '$word': expected names of services, --volumes or --yes" ;;
      *) services[${#services[@]}]="$word" ;;
    esac
  done
  [ "$remove" = no ] || [ "${#services[@]}" -eq 0 ] || fail_usage "stop --volumes removes all data and takes no service"
  choose_mode_of_running 0
  if [ "$MODE" = native ]; then
    native_takes_no_service stop ${services[@]+"${services[@]}"}
    native_paths
    confirm "$remove" "$yes" "the data in $DATA"
    native_stop "$remove"
  else
    confirm "$remove" "$yes" "the volumes of the project $(setting COMPOSE_PROJECT_NAME), with all data"
    compose_stop "$remove" ${services[@]+"${services[@]}"}
  fi
}

# confirm REMOVE YES WHAT: nothing is removed without confirmation.
confirm() {
  local answer=""
  [ "$1" = yes ] && [ "$2" = no ] || return 0
  [ -t 0 ] || fail_usage "stop --volumes removes $3, and there is no terminal for a confirmation: add --yes to confirm"
  printf 'This removes %s. Continue? [y/N] ' "$3" >&2
  read -r answer || true
  case "$answer" in
    y | Y | yes | Yes | YES) ;;
    *) die "nothing was stopped or removed" ;;
  esac
}

logs_command() {
  local follow=no service="" word
  for word in "$@"; do
    case "$word" in
      -f | --follow) follow=yes ;;
      -* | '') fail_usage "logs: unknown option '$word': expected the name of a service, or -f" ;;
      *)
        [ -z "$service" ] || fail_usage "logs takes one service, got a second one, '$word'"
        service="$word"
        ;;
    esac
  done
  choose_mode_of_running 1
  "${MODE}_logs" "$follow" ${service:+"$service"}
}

status_command() {
  choose_mode_of_running 1
  "${MODE}_status"
}

# Parsed as a whole before anything runs, so that an update of this file does not affect a run.
main "$@"
exit
