# `./run.sh test`: fetches what the tests need and runs every step, whatever the outcome of the previous ones.
# shellcheck shell=bash

# The summary has one line per step; n_failed decides the exit code.
SUMMARY=""
n_failed=0
BESIDE=""

# Prebuilt tools are fetched in these versions if they are not installed.
NEXTEST_VERSION=0.9.148
DENY_VERSION=0.20.2
FUZZ_VERSION=0.13.2

run_tests() {
  local nextest threads
  # A single stream, so that a log of this run keeps the order.
  exec 2>&1
  # nextest handles Ctrl-C itself; no further step may begin.
  trap interrupted INT TERM
  need_rust
  PATH="$PATH:$TOOLS"
  LOGS="$(target_dir)/test-logs"
  mkdir -p "$LOGS"
  if [ -t 1 ]; then
    export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-always}"
  fi
  # Most of the tests' time is spent waiting: on 2 cores, 4 threads take two thirds of the time of 2.
  threads=$((2 * $(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)))
  nextest=(cargo nextest run --locked --no-fail-fast --config-file scripts/nextest.toml --test-threads "$threads")

  step nats-server need_nats_server
  # Steps run in subshells. Without a server, the tests that need one fail with a message that says so.
  SPINDLE_NATS_SERVER="$(find_nats_server 2>/dev/null || true)"
  export SPINDLE_NATS_SERVER
  step influxd need_influxd
  SPINDLE_INFLUXD="$(find_influxd || true)"
  export SPINDLE_INFLUXD
  step uml need_uml
  step tools need_test_tools
  # Before the program, which embeds it.
  step page check_page
  step format cargo fmt --all --check
  step build cargo nextest run --no-run --workspace --locked
  begin_beside
  step nextest "${nextest[@]}" --workspace
  # The end-to-end tests again, with InfluxDB as the store.
  step influxdb env SPINDLE_TEST_STORE=influxdb "${nextest[@]}" -p spindle \
    --test system answers:: pipeline:: client:: faults::nothing_acknowledged
  end_beside
  if can_run chromium; then step browser browse_page; else note_skipped browser; fi
  step fuzz-http env SPINDLE_TEST_PROGRAM="$(target_dir)/debug/spindle" scripts/fuzz-http
  step doctest cargo test --workspace --doc --locked
  step fuzz scripts/fuzz --no-build
  print_summary
}

# ── steps ────────────────────────────────────────────────────────────────────────────────────────

# The tests leave about half of the processor idle. Meanwhile the other steps run in the background, the compilers with
# the lowest priority, since tests measure time. Their process group has default signal handlers (job control), so that
# an interrupt reaches the tests in it.
begin_beside() {
  rm -f "$LOGS"/*.result
  set -m
  (
    trap - INT TERM
    beside deny cargo deny --locked check bans licenses sources
    can_run shellcheck && beside shellcheck check_scripts
    beside kubernetes scripts/check-kubernetes
    beside clippy nice -n 19 cargo clippy --workspace --all-targets --locked -- -D warnings
    can_run bats && beside bats heeding_signals env SPINDLE_TEST_PROGRAM="$(target_dir)/debug/spindle" bats scripts/tests
    beside fuzz-build nice -n 19 scripts/fuzz --build-only
  ) >/dev/null </dev/null &
  BESIDE=$!
  set +m
}

# beside NAME COMMAND…: leaves a log, and its exit code and duration for end_beside.
beside() {
  local name="$1" began=$SECONDS code=0
  shift
  printf '── %s: %s\n' "$name" "$*" >"$LOGS/$name.log"
  in_root "$@" >>"$LOGS/$name.log" 2>&1 || code=$?
  printf '%s %s\n' "$code" "$((SECONDS - began))" >"$LOGS/$name.result"
}

end_beside() {
  local name code seconds
  wait "$BESIDE" || true
  BESIDE=""
  for name in deny shellcheck kubernetes clippy bats fuzz-build; do
    can_run "$name" || { note_skipped "$name" && continue; }
    # Without a result it was ended before its turn.
    read -r code seconds <"$LOGS/$name.result" || code=1 seconds=0
    say ""
    cat "$LOGS/$name.log"
    note_step "$name" "$code" "$seconds"
  done
}

interrupted() {
  say "run.sh: interrupted"
  [ -z "$BESIDE" ] || kill -INT -- "-$BESIDE" 2>/dev/null || true
  exit 130
}

# step NAME COMMAND…: runs it at the root, shows and keeps its output, and records the result.
step() {
  local name="$1" began=$SECONDS code=0
  shift
  say ""
  say "── $name: $*"
  in_root "$@" </dev/null 2>&1 | tee -i "$LOGS/$name.log" || code=$?
  note_step "$name" "$code" "$((SECONDS - began))"
}

# note_step NAME CODE SECONDS
note_step() {
  local verdict=ok where=""
  if [ "$2" -ne 0 ]; then
    verdict=FAILED
    where="  see $LOGS/$1.log"
    n_failed=$((n_failed + 1))
  fi
  SUMMARY="$SUMMARY$(printf '  %-7s %5ds  %s%s' "$verdict" "$3" "$1" "$where")"$'\n'
}

note_skipped() {
  SUMMARY="$SUMMARY$(printf '  %-7s %5ds  %s  (not installed; CI runs it)' skipped 0 "$1")"$'\n'
}

print_summary() {
  say ""
  say "── nextest"
  # From its last summary line on: the counts, and the names of failed tests.
  awk '/Summary.* tests? run/ { kept = "" } { kept = kept $0 "\n" } END { if (kept ~ /Summary.* tests? run/) printf "%s", kept; else print "(no test ran)" }' \
    "$LOGS/nextest.log"
  say ""
  say "── summary, after $SECONDS s"
  printf '%s' "$SUMMARY"
  if [ "$n_failed" -gt 0 ]; then
    say "$n_failed of the steps above FAILED"
    return 1
  fi
  say "all steps passed"
}

# ── their parts ──────────────────────────────────────────────────────────────────────────────────

# Processes that a script starts in the background ignore Ctrl-C, and so do their children: tests that send it would
# wait forever. GNU's env restores the default.
heeding_signals() {
  if env --default-signal=INT true 2>/dev/null; then
    env --default-signal=INT,QUIT,HUP "$@"
  else
    "$@"
  fi
}

# Optional on a developer's machine; CI must have it, and fails without it.
can_run() {
  case "$1" in
    shellcheck | bats) have "$1" || [ "${CI:-}" = true ] ;;
    chromium) find_chromium >/dev/null || [ "${CI:-}" = true ] ;;
  esac
}

# Every script of the checkout, recognized by its first line, and the parts of run.sh.
check_scripts() {
  local file scripts=()
  while IFS= read -r file; do
    case "$file:$(head -n 1 "$file")" in
      *.bash:* | *':#!'*bash* | *':#!'*/sh | *':#!'*'env sh' | *':#!'*bats*) scripts[${#scripts[@]}]="$file" ;;
    esac
  done < <(find run.sh .ci scripts deploy crates/spindle/tests -type f | LC_ALL=C sort)
  printf '%s\n' "${scripts[@]}"
  shellcheck --external-sources --check-sourced "${scripts[@]}"
}

# Wrong clocks in the truth harness; it looks in the same places.
have_faketime() {
  local library
  for library in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib64/faketime/libfaketimeMT.so.1; do
    [ ! -e "$library" ] || return 0
  done
  return 1
}

need_test_tools() {
  local component
  if have rustup; then
    for component in rustfmt clippy; do
      rustup component add "$component" || die "rustup could not add $component"
    done
  fi
  if ! cargo fmt --version || ! cargo clippy --version; then
    die "cargo fmt or cargo clippy is missing: install them with the Rust toolchain that rust-toolchain.toml names"
  fi
  need_cargo_tool nextest "$NEXTEST_VERSION"
  need_cargo_tool deny "$DENY_VERSION"
  need_cargo_tool fuzz "$FUZZ_VERSION"
  if [ "${CI:-}" = true ] && { ! have shellcheck || ! have bats || ! have_faketime || ! find_chromium >/dev/null; }; then
    if [ "$(id -u)" -ne 0 ] || ! have apt-get; then
      die "shellcheck, bats, chromium or libfaketime is missing, and only root with apt-get can install them here"
    fi
    say "installing shellcheck, bats, chromium and libfaketime"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq shellcheck bats libfaketime chromium
  fi
}

# InfluxDB 1: its query language is also that of 2 and 3, and Debian and Ubuntu have a package of it.
need_influxd() {
  local found
  if found="$(find_influxd)"; then
    say "influxd: $found"
    return 0
  fi
  if ! have apt-get || ! have dpkg-deb; then
    die "no influxd 1.x: install InfluxDB 1 and put influxd on the PATH, or set SPINDLE_INFLUXD to the program"
  fi
  say "influxd: unpacking Debian's package into $TOOLS (nothing is installed)"
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

# A kernel that runs as a program, and what its emulated drives need. Tests of the source `smart` run in it.
UML_PACKAGES="user-mode-linux kmod libkmod2 smartmontools sdparm"

need_uml() {
  local kernel="${SPINDLE_UML:-$TOOLS/uml}/usr/bin/linux.uml" package
  if [ -x "$kernel" ]; then
    say "user-mode-linux: $kernel"
    return 0
  fi
  if ! have apt-get || ! have dpkg-deb || [ "$(uname -m)" != x86_64 ]; then
    [ "${CI:-}" != true ] || die "no User-mode Linux: unpack $UML_PACKAGES, and set SPINDLE_UML to the directory"
    say "user-mode-linux: only Debian on x86_64 has it; the tests that need it are left out"
    return 0
  fi
  say "user-mode-linux: unpacking Debian's packages into $TOOLS (nothing is installed)"
  rm -rf "$TOOLS/uml.new" && mkdir -p "$TOOLS/uml.new"
  (cd "$TOOLS/uml.new" && download_uml) || {
    [ "$(id -u)" -eq 0 ] && apt-get update -qq && (cd "$TOOLS/uml.new" && download_uml)
  } || die "apt-get could not download $UML_PACKAGES: set SPINDLE_UML to a directory with them unpacked"
  for package in "$TOOLS"/uml.new/*.deb; do
    dpkg-deb -x "$package" "$TOOLS/uml.new" && rm "$package" || return 1
  done
  rm -rf "$TOOLS/uml" && mv "$TOOLS/uml.new" "$TOOLS/uml"
}

# Some releases link sdparm to a library that has its version in its name.
download_uml() {
  local library
  library="$(apt-cache depends sdparm | sed -n 's/.*Depends: \(libsgutils2[^ ]*\)$/\1/p')"
  # shellcheck disable=SC2086 # lists of packages
  apt-get download $UML_PACKAGES $library
}
