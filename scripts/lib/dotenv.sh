# `.env`: made and completed from `.env.example`, and read. It is never sourced: it is data, and what stands
# in it must not run.
# shellcheck shell=bash

ENV_FILE="$ROOT/.env"
ENV_EXAMPLE="$ROOT/.env.example"
CARRIAGE_RETURN="$(printf '\r')"

# ── reading ──────────────────────────────────────────────────────────────────────────────────────

# setting NAME: the value of the environment, else that of .env, else nothing.
setting() {
  local name="$1"
  if [ -n "${!name:-}" ]; then
    printf '%s\n' "${!name}"
  else
    value_in "$ENV_FILE" "$name"
  fi
}

# value_in FILE NAME: nothing when it is not there.
value_in() {
  [ ! -f "$1" ] || value_of "$2" <"$1"
}

# value_of NAME: in the text on standard input. The last one wins, as in Compose.
value_of() {
  local line value=""
  while IFS= read -r line || [ -n "$line" ]; do
    case "$line" in
      *"$1"*) [ "$(name_in "$line")" != "$1" ] || value="$(plain_value "${line#*=}")" ;;
    esac
  done
  printf '%s\n' "$value"
}

# Most lines are one, and asking name_in about each takes time.
is_comment() {
  case "$1" in
    '#'* | '') return 0 ;;
  esac
  return 1
}

# The variable that a line of .env sets; nothing for comments and what is no assignment.
name_in() {
  local name="${1%%=*}"
  [ "$name" != "$1" ] || return 0
  name="${name#"${name%%[![:space:]]*}"}"
  name="${name#export }"
  case "$name" in
    '' | *[!A-Za-z0-9_]*) ;;
    *) printf '%s\n' "$name" ;;
  esac
}

# As Compose reads it: quotes around it are none of it, nor is what follows " #".
plain_value() {
  local value="${1%"$CARRIAGE_RETURN"}"
  case "$value" in
    \"*\") value="${value#?}" && value="${value%?}" ;;
    \'*\') value="${value#?}" && value="${value%?}" ;;
    *)
      value="${value%%[[:space:]]#*}"
      value="${value%"${value##*[![:space:]]}"}"
      ;;
  esac
  printf '%s\n' "$value"
}

# Which InfluxDB Compose starts, as the names of the files say.
influxdb_version() {
  case "$(setting COMPOSE_FILE)" in
    *influxdb1*) echo 1 ;;
    *influxdb3*) echo 3 ;;
    *) echo 2 ;;
  esac
}

# ── making ───────────────────────────────────────────────────────────────────────────────────────

init_command() {
  local version="" force=no
  while [ $# -gt 0 ]; do
    case "$1" in
      --force) force=yes ;;
      --influxdb | --influxdb=*)
        if [ "$1" = --influxdb ]; then
          [ $# -gt 1 ] || fail_usage "--influxdb needs a version: 1, 2 or 3"
          version="$2"
          shift
        else
          version="${1#*=}"
        fi
        case "$version" in
          1 | 2 | 3) ;;
          *) fail_usage "--influxdb $version: expected 1, 2 or 3" ;;
        esac
        ;;
      *) fail_usage "init does not know '$1': expected --influxdb 1, 2 or 3, or --force" ;;
    esac
    shift
  done
  make_env "$force" "$version"
  [ -n "$ENV_CHANGE" ] || say ".env is complete: nothing was changed"
}

# Before anything is started: .env is there, whole, and fits to what it asks for.
need_env() {
  make_env no ""
  if [ "$(influxdb_version)" = 3 ]; then
    case "$(setting INFLUXDB_TOKEN)" in
      apiv3_*) ;;
      *) die ".env asks for InfluxDB 3, but INFLUXDB_TOKEN does not begin with apiv3_: remove that line and GRAFANA_INFLUXDB_AUTHORIZATION, and run ./run.sh init" ;;
    esac
  fi
}

# make_env FORCE VERSION: a new .env, or what is missing in the one that is there. Says what it did, and leaves
# ENV_CHANGE empty when nothing was to be done.
make_env() {
  local force="$1" version="$2" draft source="$ENV_FILE"
  ENV_CHANGE=""
  [ -f "$ENV_EXAMPLE" ] || die "$ENV_EXAMPLE is missing: is this a whole checkout?"
  if [ -f "$ENV_FILE" ]; then
    check_version "$force" "$version"
    version="${version:-$(COMPOSE_FILE='' influxdb_version)}"
  else
    source="$ENV_EXAMPLE"
    force=no
  fi
  version="${version:-2}"
  draft="$(filled "$source" "$version" "$force" && missing_in "$source" "$version")" || die ".env could not be made"
  draft="$(computed "$draft" "$version")" || die ".env could not be made"
  put_env "$draft" "$force" "$version"
}

# A running system is not turned into another one by the way.
check_version() {
  local now
  now="$(COMPOSE_FILE='' influxdb_version)"
  if [ "$1" = no ] && [ -n "$2" ] && [ "$2" != "$now" ]; then
    die ".env is there and for InfluxDB $now: \`./run.sh init --influxdb $2 --force\` changes it and makes new secrets"
  fi
}

# put_env TEXT FORCE VERSION: writes it, and says what is new.
put_env() {
  local draft="$1" force="$2" version="$3" kept names
  if [ ! -f "$ENV_FILE" ]; then
    ENV_CHANGE=new
    write_env "$draft"
    say ".env: made from .env.example for InfluxDB $version, with secrets of its own (mode 600)"
  elif [ "$force" = yes ]; then
    ENV_CHANGE=force
    mkdir -p "$ROOT/spindle-data"
    kept="$(mktemp "$ROOT/spindle-data/env.$(date +%Y%m%d-%H%M%S).XXXXXX")"
    cat "$ENV_FILE" >"$kept"
    write_env "$draft"
    say ".env: new secrets, for InfluxDB $version; the old file is kept as ${kept#"$ROOT/"}"
    say "  What was started before keeps the old passwords in its volumes: \`./run.sh stop --volumes\` removes"
    say "  them with all data; or put the old file back."
  elif [ "$draft" != "$(cat "$ENV_FILE")" ]; then
    ENV_CHANGE=added
    names="$(new_names "$draft")"
    write_env "$draft"
    say ".env: added $names; what was there is kept"
  fi
  # `ls` is the one way of seeing a mode that is the same everywhere.
  case "$(ls -lL "$ENV_FILE")" in
    -??-------*) ;;
    *)
      ENV_CHANGE="${ENV_CHANGE:-mode}"
      chmod 600 "$ENV_FILE"
      say ".env: was open to other users, is mode 600 now"
      ;;
  esac
}

# Whole or not at all, and never readable for others: mktemp makes files of mode 600. The draft lies in a
# folder that git ignores.
write_env() {
  local new
  mkdir -p "$TOOLS"
  new="$(mktemp "$TOOLS/env.XXXXXX")"
  printf '%s\n' "$1" >"$new" || { rm -f "$new" && die "cannot write $new: is the disk full?"; }
  if [ -L "$ENV_FILE" ]; then
    # A link to where the user keeps it stays one.
    cat "$new" >"$ENV_FILE" && rm -f "$new"
  else
    mv -f "$new" "$ENV_FILE"
  fi
}

# The variables whose lines in the text $1 are not in .env.
new_names() {
  local line name names=""
  while IFS= read -r line; do
    name="$(name_in "$line")"
    [ -z "$name" ] || names="$names${names:+, }$name"
  done < <(printf '%s\n' "$1" | grep -v -x -F -f "$ENV_FILE")
  printf '%s\n' "$names"
}

# filled SOURCE VERSION FORCE: its lines, with a secret where one is wanted.
filled() {
  local source="$1" version="$2" force="$3" fresh=no line name
  [ "$source" != "$ENV_EXAMPLE" ] || fresh=yes
  while IFS= read -r line || [ -n "$line" ]; do
    name=""
    is_comment "$line" || name="$(name_in "$line")"
    if [ -n "$name" ]; then
      line="$(filled_line "$line" "$name" "$version" "$fresh" "$force")" || return 1
    fi
    printf '%s\n' "$line"
  done <"$source"
}

# filled_line LINE NAME VERSION FRESH FORCE. A fresh line comes from the example.
filled_line() {
  local line="$1" name="$2" version="$3" fresh="$4" force="$5" value wanted
  value="$(plain_value "${line#*=}")"
  wanted="$(example "$name")"
  if [ "$name" = COMPOSE_FILE ] && { [ "$fresh" = yes ] || [ "$force" = yes ]; }; then
    line="$name=$(compose_file "$version" "$value")"
  elif [ "$wanted" = "<random>" ] && { [ "$force" = yes ] || [ -z "$value" ] || [ "$value" = "<random>" ]; }; then
    value="$(secret "$name" "$version")" || return 1
    line="$name=$value"
  elif [ "$wanted" = "<computed>" ] && { [ "$force" = yes ] || [ -z "$value" ]; }; then
    line="$name=<computed>"
  fi
  printf '%s\n' "$line"
}

# missing_in SOURCE VERSION: what the example has and the source has not, with the comments above it.
missing_in() {
  local source="$1" version="$2" line name comments=""
  [ "$source" != "$ENV_EXAMPLE" ] || return 0
  while IFS= read -r line; do
    if is_comment "$line"; then
      comments="${line:+$comments$line$'\n'}"
    else
      name="$(name_in "$line")"
      if ! grep -q "^[[:space:]]*\(export \)\{0,1\}$name=" "$source"; then
        printf '%s' "$comments"
        filled_line "$line" "$name" "$version" yes no || return 1
      fi
      comments=""
    fi
  done <"$ENV_EXAMPLE"
}

example() { value_in "$ENV_EXAMPLE" "$1"; }

# The files for a version; files of the user's own stay.
compose_file() {
  local file="" part IFS=:
  for part in $2; do
    case "$part" in
      docker-compose.influxdb[123].yml) ;;
      *) file="$file${file:+:}$part" ;;
    esac
  done
  case "$1" in
    2) printf '%s\n' "$file" ;;
    *) printf '%s:docker-compose.influxdb%s.yml\n' "$file" "$1" ;;
  esac
}

secret() {
  case "$1:$2" in
    INFLUXDB_TOKEN:3) printf 'apiv3_%s\n' "$(random_text 72)" ;;
    *) random_text 40 ;;
  esac
}

# random_text LENGTH: letters and digits, a letter first. A fixed number of bytes is read, about four times
# what is needed, so that nothing is left writing into a closed pipe.
random_text() {
  local text
  text="$(head -c "$(($1 * 16))" /dev/urandom | LC_ALL=C tr -dc 'A-Za-z0-9')"
  while true; do
    case "$text" in
      [0-9]*) text="${text#?}" ;;
      *) break ;;
    esac
  done
  [ "${#text}" -ge "$1" ] || die "/dev/urandom gives no random bytes"
  printf '%s\n' "${text:0:$1}"
}

# computed TEXT VERSION: the text, with what follows from other values filled in.
computed() {
  local header
  if [ "$2" = 1 ]; then
    header="$(value_in_text "$1" INFLUXDB_ADMIN_USER):$(value_in_text "$1" INFLUXDB_ADMIN_PASSWORD)"
    header="Basic $(printf '%s' "$header" | base64 | tr -d '\r\n')"
  else
    header="Token $(value_in_text "$1" INFLUXDB_TOKEN)"
  fi
  # Not with -v, which would read backslashes.
  printf '%s\n' "$1" | HEADER="$header" awk '
    /^GRAFANA_INFLUXDB_AUTHORIZATION=<computed>/ { print "GRAFANA_INFLUXDB_AUTHORIZATION=" ENVIRON["HEADER"]; next }
    { print }'
}

value_in_text() {
  printf '%s\n' "$1" | value_of "$2"
}
