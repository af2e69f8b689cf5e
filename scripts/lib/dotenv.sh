# `.env`: generated and completed from `.env.example`, and read in Compose's format. It is data and never sourced, so
# nothing in it is executed.
# shellcheck shell=bash

ENV_FILE="$ROOT/.env"
ENV_EXAMPLE="$ROOT/.env.example"

# awk: splits a line into `name` and `value` as Compose does. Surrounding quotes and a trailing ` # comment` are not part
# of the value; `name` is empty for a comment.
PARSE_ENV_LINE='
  function parse(line) {
    name = ""
    sub(/\r$/, "", line)
    sub(/^[ \t]*(export )?/, "", line)
    if (line !~ /^[A-Za-z_][A-Za-z0-9_]*=/) return
    name = substr(line, 1, index(line, "=") - 1)
    value = substr(line, index(line, "=") + 1)
    if (value ~ /^".*"$/ || value ~ /^\047.*\047$/) value = substr(value, 2, length(value) - 2)
    else { sub(/[ \t]#.*/, "", value); sub(/[ \t]+$/, "", value) }
  }'

# ── reading ──────────────────────────────────────────────────────────────────────────────────────

# setting NAME: the value in the environment, else in .env, else nothing.
setting() {
  if [ -n "${!1:-}" ]; then
    printf '%s\n' "${!1}"
  elif [ -f "$ENV_FILE" ]; then
    value_of "$1" <"$ENV_FILE"
  fi
}

# value_of NAME: reads standard input. The last assignment wins, as in Compose.
value_of() {
  WANTED="$1" awk "$PARSE_ENV_LINE"' { parse($0) } name == ENVIRON["WANTED"] { found = value } END { print found }'
}

# The variables that the text on standard input assigns.
names_in_env() {
  awk "$PARSE_ENV_LINE"' { parse($0) } name != "" && !seen[name]++ { print name }'
}

# The InfluxDB version that Compose starts, according to the file names.
influxdb_version() {
  case "$(setting COMPOSE_FILE)" in
    *influxdb1*) echo 1 ;;
    *influxdb3*) echo 3 ;;
    *) echo 2 ;;
  esac
}

# ── generating ───────────────────────────────────────────────────────────────────────────────────

init_command() {
  local version="" force=no
  while [ $# -gt 0 ]; do
    case "$1" in
      --force) force=yes ;;
      --influxdb=*) version="${1#*=}" ;;
      --influxdb)
        [ $# -gt 1 ] || fail_usage "--influxdb needs a version: 1, 2 or 3"
        version="$2"
        shift
        ;;
      *) fail_usage "init: unknown argument '$1': expected --influxdb 1, 2 or 3, or --force" ;;
    esac
    shift
  done
  case "$version" in
    '' | 1 | 2 | 3) ;;
    *) fail_usage "--influxdb $version: expected 1, 2 or 3" ;;
  esac
  make_env "$force" "$version"
  [ -n "$ENV_CHANGE" ] || say ".env is complete: nothing was changed"
}

# Before a start: .env exists, is complete, and is consistent.
need_env() {
  make_env no ""
  if [ "$(influxdb_version)" = 3 ]; then
    case "$(setting INFLUXDB_TOKEN)" in
      apiv3_*) ;;
      *) die ".env selects InfluxDB 3, but INFLUXDB_TOKEN does not begin with apiv3_: remove that line and GRAFANA_INFLUXDB_AUTHORIZATION, and run ./run.sh init" ;;
    esac
  fi
}

# make_env FORCE VERSION: creates .env, or adds what it lacks. Reports the change; ENV_CHANGE is empty without one.
make_env() {
  local force="$1" version="$2" draft source="$ENV_FILE" now
  ENV_CHANGE=""
  [ -f "$ENV_EXAMPLE" ] || die "$ENV_EXAMPLE is missing: is this checkout complete?"
  if [ -f "$ENV_FILE" ]; then
    now="$(COMPOSE_FILE='' influxdb_version)"
    [ "$force" = yes ] || [ -z "$version" ] || [ "$version" = "$now" ] ||
      die ".env exists, for InfluxDB $now: \`./run.sh init --influxdb $version --force\` changes it and generates new secrets"
    version="${version:-$now}"
  else
    source="$ENV_EXAMPLE"
    force=yes
  fi
  version="${version:-2}"
  draft="$(draft_env "$source" "$force" "$version")" || die ".env could not be generated"
  draft="$(with_header "$draft" "$version")" || die ".env could not be generated"
  put_env "$draft" "$force" "$version"
}

# draft_env SOURCE FORCE VERSION: prints the lines of SOURCE with a secret for each <random> of the example that has no
# value (or for all, with FORCE), followed by the variables that SOURCE lacks, with their comments. <computed> stays.
draft_env() {
  RANDOM_TEXT="$(random_text 1000)" FORCE="$2" VERSION="$3" awk "$PARSE_ENV_LINE"'
    BEGIN { pool = ENVIRON["RANDOM_TEXT"]; version = ENVIRON["VERSION"] }
    # nats-server reads a password such as 7e2 as a number: each begins with a letter.
    function secret(size,  text) {
      while (pool ~ /^[0-9]/) pool = substr(pool, 2)
      text = substr(pool, 1, size); pool = substr(pool, size + 1)
      return text
    }
    # Files of the user stay.
    function compose_files(  parts, n, i, files) {
      n = split(value, parts, ":")
      for (i = 1; i <= n; i++)
        if (parts[i] !~ /^docker-compose\.influxdb[123]\.yml$/) files = files (files == "" ? "" : ":") parts[i]
      return files (version == 2 ? "" : ":docker-compose.influxdb" version ".yml")
    }
    function filled(line, force) {
      if (name == "COMPOSE_FILE" && force) return name "=" compose_files()
      if (wanted[name] == "<random>" && (force || value == "" || value == "<random>"))
        return name "=" (name == "INFLUXDB_TOKEN" && version == 3 ? "apiv3_" secret(72) : secret(40))
      if (wanted[name] == "<computed>" && (force || value == "")) return name "=<computed>"
      return line
    }
    { parse($0) }
    FNR == NR {
      if (name == "") { comments = ($0 == "" ? "" : comments $0 "\n"); next }
      names[++n_names] = name; wanted[name] = value; line_of[name] = $0; comment_of[name] = comments; comments = ""
      next
    }
    name != "" { seen[name] = 1 }
    { print (name == "" ? $0 : filled($0, ENVIRON["FORCE"] == "yes")) }
    END {
      for (i = 1; i <= n_names; i++) {
        parse(line_of[names[i]])
        if (!(name in seen)) print comment_of[name] filled(line_of[name], 1)
      }
    }' "$ENV_EXAMPLE" "$1"
}

# random_text LENGTH: letters and digits. A fixed number of bytes is read, so that no writer meets a closed pipe.
random_text() {
  local text
  text="$(head -c "$(($1 * 8))" /dev/urandom | LC_ALL=C tr -dc 'A-Za-z0-9')"
  [ "${#text}" -ge "$1" ] || die "/dev/urandom returned no random bytes"
  printf '%s\n' "${text:0:$1}"
}

# with_header TEXT VERSION: the text with Grafana's header, which depends on other values.
with_header() {
  local header
  if [ "$2" = 1 ]; then
    header="$(value_of INFLUXDB_ADMIN_USER <<<"$1"):$(value_of INFLUXDB_ADMIN_PASSWORD <<<"$1")"
    header="Basic $(printf '%s' "$header" | base64 | tr -d '\r\n')"
  else
    header="Token $(value_of INFLUXDB_TOKEN <<<"$1")"
  fi
  # In the environment: awk interprets backslashes in -v.
  HEADER="$header" awk '
    /^GRAFANA_INFLUXDB_AUTHORIZATION=<computed>/ { print "GRAFANA_INFLUXDB_AUTHORIZATION=" ENVIRON["HEADER"]; next }
    { print }' <<<"$1"
}

# put_env TEXT FORCE VERSION: writes .env and reports what is new.
put_env() {
  local draft="$1" kept names
  if [ ! -f "$ENV_FILE" ]; then
    ENV_CHANGE=new
    write_env "$draft"
    say ".env: generated from .env.example for InfluxDB $3, with its own secrets (mode 600)"
  elif [ "$2" = yes ]; then
    ENV_CHANGE=force
    mkdir -p "$ROOT/spindle-data"
    kept="$(mktemp "$ROOT/spindle-data/env.$(date +%Y%m%d-%H%M%S).XXXXXX")"
    cat "$ENV_FILE" >"$kept"
    write_env "$draft"
    say ".env: new secrets, for InfluxDB $3; the previous file is kept as ${kept#"$ROOT/"}"
    say "  Existing volumes keep the old passwords: \`./run.sh stop --volumes\` removes them with all data; or restore"
    say "  the previous file."
  elif [ "$draft" != "$(cat "$ENV_FILE")" ]; then
    ENV_CHANGE=added
    names="$(grep -v -x -F -f "$ENV_FILE" <<<"$draft" | names_in_env | paste -s -d , - | sed 's/,/, /g')"
    write_env "$draft"
    say ".env: added $names; existing values are unchanged"
  fi
  # Only `ls` prints a mode the same way on every system.
  case "$(ls -lL "$ENV_FILE")" in
    -??-------*) ;;
    *)
      ENV_CHANGE="${ENV_CHANGE:-mode}"
      chmod 600 "$ENV_FILE"
      say ".env: was readable by other users, is mode 600 now"
      ;;
  esac
}

# Atomic, and never readable by others: mktemp creates files of mode 600. The draft is in a directory that git ignores.
write_env() {
  local new
  mkdir -p "$TOOLS"
  new="$(mktemp "$TOOLS/env.XXXXXX")"
  printf '%s\n' "$1" >"$new" || { rm -f "$new" && die "cannot write $new: is the disk full?"; }
  if [ -L "$ENV_FILE" ]; then
    # A symbolic link to the user's own place stays one.
    cat "$new" >"$ENV_FILE" && rm -f "$new"
  else
    mv -f "$new" "$ENV_FILE"
  fi
}
