#!/usr/bin/env bash
# Spindle's one script: brings the platform up, builds, runs, tests. `./run.sh help` lists the commands.
#
# It runs from any folder, asks nothing (but before it removes data), needs no root, and writes only into
# .env, target/, .tools/ and spindle-data/ of this checkout (all ignored by git); `replace` alone changes files of
# the checkout. Written for the bash 3.2 that macOS carries. scripts/lib/ holds its parts, one idea a file.
set -euo pipefail
unset CDPATH

# Whoever put a link to it somewhere means this checkout.
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

# shellcheck source=scripts/lib/words.sh
. "$ROOT/scripts/lib/words.sh"
# shellcheck source=scripts/lib/dotenv.sh
. "$ROOT/scripts/lib/dotenv.sh"
# shellcheck source=scripts/lib/process.sh
. "$ROOT/scripts/lib/process.sh"
# shellcheck source=scripts/lib/program.sh
. "$ROOT/scripts/lib/program.sh"
# shellcheck source=scripts/lib/nats_server.sh
. "$ROOT/scripts/lib/nats_server.sh"
# shellcheck source=scripts/lib/native.sh
. "$ROOT/scripts/lib/native.sh"
# shellcheck source=scripts/lib/native_influxdb.sh
. "$ROOT/scripts/lib/native_influxdb.sh"
# shellcheck source=scripts/lib/compose.sh
. "$ROOT/scripts/lib/compose.sh"
# shellcheck source=scripts/lib/replace.sh
. "$ROOT/scripts/lib/replace.sh"
# shellcheck source=scripts/lib/tests.sh
. "$ROOT/scripts/lib/tests.sh"

usage() {
  cat <<'TEXT'
Usage: ./run.sh [COMMAND]

  (nothing)   the whole platform, in the background: `init` if there is no .env, then `start`
  up [ARG…]   one process in the foreground: fetch nats-server if there is none, build, `spindle up ARG…`
              (`./run.sh up --help` lists the arguments)

  init [--influxdb 1|2|3] [--force]
              make .env with secrets of its own, or add what it lacks; --force makes new secrets
  build       build the program; where Compose is used, its image instead
  start [SERVICE…]
              start, wait until all is healthy, and print addresses and logins
  stop [SERVICE…] [--volumes [--yes]]
              stop in order; the data stay, unless --volumes removes them (asks first, unless --yes)
  restart [SERVICE…]
  logs [SERVICE] [-f]
  status      what runs, how it is, and where; exit code 1 if it is not well
  all         init, build what is started, start

  replace [--dry-run] SEARCH REPLACE [EXT]
              literal texts in the files of this checkout (ending in .EXT), none that is generated or binary
  test        fetch what the tests need, then check the format, lint, and run every test
  help        this text

With a Docker engine that answers and a Compose, the platform runs in containers: NATS, InfluxDB, Grafana and a container
for each role. Else natively: nats-server (fetched), InfluxDB if `influxd` 1 or 2 is installed, else the embedded
store, and all roles in one process.

Variables (the environment, or .env; .env.example lists those of the platform):
  SPINDLE_MODE          compose, native, or auto: the choice above
  SPINDLE_NATS_SERVER   the nats-server program to use, instead of looking for one
  NATS_URL              a NATS server that runs already: none is started or fetched
  INFLUXDB_HOST         natively, an InfluxDB that runs already: none is started
  SPINDLE_START_PATIENCE  seconds that a start may take (180)
  CARGO_TARGET_DIR      where cargo builds, instead of target/
TEXT
}

main() {
  # The current folder stays as it is, so that paths in the arguments mean what the caller means.
  local command="${1:-}"
  [ $# -eq 0 ] || shift
  case "$command" in
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
    help | -h | --help) usage ;;
    *) fail_usage "unknown command '$command': ./run.sh help lists the commands" ;;
  esac
}

# no_options COMMAND ARG…
no_options() {
  local command="$1" word
  shift
  for word in "$@"; do
    case "$word" in
      -* | '') fail_usage "$command does not know '$word': expected names of services" ;;
    esac
  done
}

# ── which way ────────────────────────────────────────────────────────────────────────────────────

# Sets MODE, and WHY for those who wonder. What runs natively is not left behind because Docker has come meanwhile.
choose_mode() {
  local wanted
  wanted="$(setting SPINDLE_MODE)"
  MODE=native
  case "${wanted:-auto}" in
    native) WHY="as SPINDLE_MODE says" ;;
    compose)
      have docker || die "SPINDLE_MODE is compose, but docker is not installed"
      engine_answers || die "SPINDLE_MODE is compose, but no Docker engine answers: start it, or look at \`docker info\`${ENGINE_SAYS:+ (it says: $ENGINE_SAYS)}"
      find_compose || die "SPINDLE_MODE is compose, but there is neither \`docker compose\` nor docker-compose: install one"
      MODE=compose WHY="as SPINDLE_MODE says"
      ;;
    auto)
      if native_runs; then
        WHY="it runs so already"
      elif ! engine_answers; then
        WHY="no Docker engine answers${ENGINE_SAYS:+: $ENGINE_SAYS}"
      elif ! find_compose; then
        WHY="a Docker engine answers, but there is neither \`docker compose\` nor docker-compose"
      else
        MODE=compose WHY="a Docker engine answers"
      fi
      ;;
    *) fail_usage "SPINDLE_MODE is '$wanted': expected compose, native or auto" ;;
  esac
}

# choose_mode_of_running CODE: for commands about what has been started before. Compose's files want every variable;
# without .env nothing was started, and the exit code is CODE.
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
    say "built the image spindle:local; the program itself: SPINDLE_MODE=native ./run.sh build"
    return
  fi
  build
  say "built $(target_dir)/release/spindle"
}

start_command() {
  START_PATIENCE="$(start_patience)"
  choose_mode
  need_env
  [ "$MODE" = compose ] || native_takes_no_service start "$@"
  "${MODE}_start" "$@"
}

restart_command() {
  START_PATIENCE="$(start_patience)"
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

# As the first system's: everything in one go.
all_command() {
  START_PATIENCE="$(start_patience)"
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
      --volumes) remove=yes ;;
      --yes) yes=yes ;;
      -* | '') fail_usage "stop does not know '$word': expected names of services, --volumes or --yes" ;;
      *) services[${#services[@]}]="$word" ;;
    esac
  done
  [ "$remove" = no ] || [ "${#services[@]}" -eq 0 ] || fail_usage "stop --volumes removes all data: it takes no service"
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

# confirm REMOVE YES WHAT: nothing is removed that nobody has said yes to.
confirm() {
  local answer=""
  [ "$1" = yes ] && [ "$2" = no ] || return 0
  [ -t 0 ] || fail_usage "stop --volumes removes $3, and there is no terminal to ask at: add --yes if that is meant"
  printf 'This removes %s. Really? [y/N] ' "$3" >&2
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
      -* | '') fail_usage "logs does not know '$word': expected the name of a service, or -f" ;;
      *)
        [ -z "$service" ] || fail_usage "logs takes one service, '$word' is too much"
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

# All of it is read before anything runs, so that a new version of this file does no harm to a run.
main "$@"
exit
