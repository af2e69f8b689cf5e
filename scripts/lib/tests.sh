# `./run.sh test`: fetches what the tests need, and runs every step, whatever became of the one before.
# shellcheck shell=bash

# One line per step for the closing summary; n_failed decides the exit code.
SUMMARY=""
n_failed=0

# Every step runs, whatever became of the one before: one run shows all that is wrong.
run_tests() {
  # One stream, so that a log of this run keeps the order.
  exec 2>&1
  # nextest ends in good order by itself on Ctrl-C; then no further step may begin.
  trap 'say "run.sh: interrupted"; exit 130' INT TERM
  need_rust
  LOGS="$(target_dir)/test-logs"
  mkdir -p "$LOGS"
  if [ -t 1 ]; then
    export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-always}"
  fi

  step nats-server need_nats_server
  # The step ran in a shell of its own. Without a server the tests that need one fail, and say so.
  SPINDLE_NATS_SERVER="$(find_nats_server 2>/dev/null || true)"
  export SPINDLE_NATS_SERVER
  step influxd need_influxd
  SPINDLE_INFLUXD="$(find_influxd || true)"
  export SPINDLE_INFLUXD
  step tools need_test_tools
  step format cargo fmt --all --check
  step clippy cargo clippy --workspace --all-targets --locked -- -D warnings
  step nextest cargo nextest run --workspace --locked --no-fail-fast --config-file scripts/nextest.toml
  # The same tests of the whole system once more, with InfluxDB as the store.
  step influxdb env SPINDLE_TEST_STORE=influxdb cargo nextest run -p spindle --locked --no-fail-fast --config-file scripts/nextest.toml \
    --test system answers:: pipeline:: client:: faults::nothing_acknowledged
  step doctest cargo test --workspace --doc --locked
  if can_run bats; then
    # nextest has built the program that they drive.
    step bats heeding_signals env SPINDLE_TEST_PROGRAM="$(target_dir)/debug/spindle" bats scripts/tests
  fi
  step kubernetes scripts/check-kubernetes
  if [ "${CI:-}" = true ] || can_fuzz; then
    step fuzz scripts/fuzz
  fi
  if can_run shellcheck; then
    step shellcheck check_scripts
  fi
  closing_words
}

# Who is started in the background of a script ignores Ctrl-C, and so does all that it starts, for good: tests that
# send one would wait for ever. GNU's env can undo that.
heeding_signals() {
  if env --default-signal=INT true 2>/dev/null; then
    env --default-signal=INT,QUIT,HUP "$@"
  else
    "$@"
  fi
}

# Where nobody watches, scripts/fuzz installs cargo-fuzz itself.
can_fuzz() {
  cargo fuzz --version >/dev/null 2>&1 || {
    SUMMARY="$SUMMARY$(printf '  %-7s %5ds  %s  (no cargo-fuzz: cargo install --locked cargo-fuzz; CI runs it)' skipped 0 fuzz)"$'\n'
    return 1
  }
}

# A courtesy for those who have it; CI must have it, and fails without.
can_run() {
  have "$1" || [ "${CI:-}" = true ] || {
    SUMMARY="$SUMMARY$(printf '  %-7s %5ds  %s  (not installed; CI runs it)' skipped 0 "$1")"$'\n'
    return 1
  }
}

# Every script of the checkout, known by its first line, and what run.sh is made of.
check_scripts() {
  local file scripts=()
  while IFS= read -r file; do
    case "$file:$(head -n 1 "$file")" in
      *.bash:* | *':#!'*bash* | *':#!'*/sh | *':#!'*'env sh' | *':#!'*bats*) scripts[${#scripts[@]}]="$file" ;;
    esac
  done < <(find run.sh .ci scripts deploy -type f | LC_ALL=C sort)
  printf '%s\n' "${scripts[@]}"
  shellcheck --external-sources --check-sourced "${scripts[@]}"
}

# step NAME COMMAND…: runs it at the root, shows and keeps its output, and notes how it went.
step() {
  local name="$1" began=$SECONDS code=0 verdict=ok where=""
  shift
  say ""
  say "── $name: $*"
  in_root "$@" </dev/null 2>&1 | tee -i "$LOGS/$name.log" || code=$?
  if [ "$code" -ne 0 ]; then
    verdict=FAILED
    where="  see $LOGS/$name.log"
    n_failed=$((n_failed + 1))
  fi
  SUMMARY="$SUMMARY$(printf '  %-7s %5ds  %s%s' "$verdict" "$((SECONDS - began))" "$name" "$where")"$'\n'
}

closing_words() {
  say ""
  say "── what nextest says"
  # From its last summary line on: the counts, and the names of what failed.
  awk '/Summary.* tests? run/ { kept = "" } { kept = kept $0 "\n" } END { if (kept ~ /Summary.* tests? run/) printf "%s", kept; else print "(no test ran)" }' \
    "$LOGS/nextest.log"
  say ""
  say "── summary, after ${SECONDS} s"
  printf '%s' "$SUMMARY"
  if [ "$n_failed" -gt 0 ]; then
    say "$n_failed of the steps above FAILED"
    return 1
  fi
  say "all good"
}

need_test_tools() {
  local component
  if have rustup; then
    for component in rustfmt clippy; do
      rustup component add "$component" || die "rustup could not add $component"
    done
  fi
  if ! cargo fmt --version || ! cargo clippy --version; then
    die "cargo has no fmt or no clippy: install them with the Rust toolchain that rust-toolchain.toml names"
  fi
  if ! cargo nextest --version; then
    say "installing cargo-nextest (once, some minutes)"
    cargo install --locked cargo-nextest || die "cargo-nextest could not be installed: see https://nexte.st"
  fi
  # CI must check the scripts; elsewhere it is a courtesy.
  if [ "${CI:-}" = true ] && { ! have shellcheck || ! have bats; }; then
    if [ "$(id -u)" -ne 0 ] || ! have apt-get; then
      die "shellcheck or bats is missing, and only root with apt-get can install them here"
    fi
    say "installing shellcheck and bats"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq shellcheck bats
  fi
}

# ── influxd, for the tests: found, or fetched into .tools/ ───────────────────────────────────────

# Version 1 speaks the query language that 2 and 3 also know, and is what Debian and Ubuntu carry.
need_influxd() {
  local found
  if found="$(find_influxd)"; then
    say "influxd: $found"
    return 0
  fi
  if ! have apt-get || ! have dpkg-deb; then
    die "no influxd 1.x: install InfluxDB 1 and put influxd on the PATH, or set SPINDLE_INFLUXD to the program"
  fi
  say "influxd: fetching Debian's package into $TOOLS (nothing is installed)"
  mkdir -p "$TOOLS/influxdb"
  (cd "$TOOLS/influxdb" && apt-get download influxdb) || {
    # A fresh container has no package lists; only root may fetch them.
    [ "$(id -u)" -eq 0 ] && apt-get update -qq && (cd "$TOOLS/influxdb" && apt-get download influxdb)
  } || die "apt-get could not download the package influxdb: install InfluxDB 1, or set SPINDLE_INFLUXD to its influxd"
  dpkg-deb -x "$(first_match "$TOOLS"/influxdb/influxdb_*.deb)" "$TOOLS/influxdb" && find_influxd >/dev/null
}

find_influxd() {
  local candidate
  for candidate in "${SPINDLE_INFLUXD:-}" "$(type -P influxd || true)" "$TOOLS/influxdb/usr/bin/influxd"; do
    if [ -n "$candidate" ] && "$candidate" version >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}
