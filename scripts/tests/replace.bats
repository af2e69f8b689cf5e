#!/usr/bin/env bats
# `./run.sh replace`: literal texts, in handwritten files only.
# Each test runs in its own shell, `try` sets the variables that are checked, and single quotes are intended.
# shellcheck disable=SC1003,SC2016,SC2030,SC2031,SC2153,SC2154

load helpers

# A small checkout for each test: searching the full one is slow.
setup() {
  clean_environment
  CHECKOUT="$BATS_TEST_TMPDIR/check out"
  mkdir -p "$CHECKOUT/scripts" "$CHECKOUT/docs/deep er" "$CHECKOUT/target" "$CHECKOUT/web/node_modules/x" "$CHECKOUT/.tools" \
    "$CHECKOUT/spindle-data" "$CHECKOUT/web/dist" "$CHECKOUT/out"
  cp "$REPOSITORY/run.sh" "$REPOSITORY/.gitignore" "$CHECKOUT/"
  cp -R "$REPOSITORY/scripts/lib" "$CHECKOUT/scripts/"
}

# file NAME TEXT: writes the text, as a format of printf.
file() {
  # shellcheck disable=SC2059 # intended
  printf "$2" >"$CHECKOUT/$1"
}

is() {
  # shellcheck disable=SC2059
  printf "$2" | cmp - "$CHECKOUT/$1"
}

# Files that no replacement may change.
plant_untouchables() {
  for untouchable in .env target/a.txt web/node_modules/x/a.txt .tools/a.txt spindle-data/a.txt web/dist/a.txt out/a.txt a.log; do
    file "$untouchable" 'needle\n'
  done
  file binary.bin 'needle\0needle\n'
  ln -s "$BATS_TEST_TMPDIR/outside.txt" "$CHECKOUT/link.txt"
  printf 'needle\n' >"$BATS_TEST_TMPDIR/outside.txt"
}

untouchables_are_whole() {
  for untouchable in .env target/a.txt web/node_modules/x/a.txt .tools/a.txt spindle-data/a.txt web/dist/a.txt out/a.txt a.log; do
    is "$untouchable" 'needle\n'
  done
  is binary.bin 'needle\0needle\n'
  [ -L "$CHECKOUT/link.txt" ]
  [ "$(cat "$BATS_TEST_TMPDIR/outside.txt")" = needle ]
}

plant_files() {
  file one.md 'a needle, a needle\nno end: needle'
  file "docs/deep er/two words.txt" 'needle\r\n\n\nlast\n'
  file "three.rs" 'nothing here\n'
  file -four 'needle\n'
}

files_are_changed() {
  is one.md 'a pin, a pin\nno end: pin'
  is "docs/deep er/two words.txt" 'pin\r\n\n\nlast\n'
  is three.rs 'nothing here\n'
  is -four 'pin\n'
}

@test "replace: shows each file with its places, changes them all, and nothing that is generated, ignored or binary" {
  plant_files
  plant_untouchables
  git -C "$CHECKOUT" init -q
  file .git/needle 'needle\n'
  git -C "$CHECKOUT" add one.md
  chmod 750 "$CHECKOUT/one.md"
  cd /
  try replace needle pin
  good
  says "$out" "3  one.md" "1  docs/deep er/two words.txt" "1  -four" "5 places in 3 files changed"
  says_not "$out" three.rs binary link.txt
  files_are_changed
  untouchables_are_whole
  is .git/needle 'needle\n'
  [ "$(mode_of "$CHECKOUT/one.md")" = "-rwxr-x---" ]
  [ -z "$(find "$CHECKOUT" -name '.replace.*')" ]
}

@test "replace: the same without git, as in an unpacked archive" {
  plant_files
  plant_untouchables
  try replace needle pin
  good
  says "$out" "5 places in 3 files changed"
  files_are_changed
  untouchables_are_whole
}

@test "replace: a file that git knows is left alone all the same if it lies in a generated folder" {
  plant_untouchables
  git -C "$CHECKOUT" init -q
  git -C "$CHECKOUT" add -f web/dist/a.txt target/a.txt
  try replace needle pin
  failed_with 1
  untouchables_are_whole
}

@test "replace: an ending chooses the files, with or without its dot" {
  file one.md 'needle\n'
  file two.txt 'needle\n'
  file md 'needle\n'
  try replace needle pin md
  good
  says "$out" "1 place in 1 file changed"
  is one.md 'pin\n'
  is two.txt 'needle\n'
  is md 'needle\n'
  try replace needle pin .txt
  is two.txt 'pin\n'
  try replace pin needle rs
  failed_with 1
  says "$err" "in files ending in .rs"
}

@test "replace: --dry-run only looks" {
  file one.md 'needle needle\n'
  for words in "--dry-run needle pin" "needle pin --dry-run"; do
    # shellcheck disable=SC2086 # words
    try replace $words
    good
    says "$out" "2  one.md" "2 places in 1 file would change; nothing was changed"
    is one.md 'needle needle\n'
  done
}

@test "replace: every text is meant literally" {
  local texts=('a&b' '\&' '\' '\\1' '/' '|' '.*' '[x]' '^a$' '$(touch ran)' '`touch ran`' '"' "'" "it's \"so\"" ' ' '  two  blanks ' '*' '?' '-e' '--' '%s%n'
    '\n' '\t' '!!' '#' '~' '{a,b}' '$HOME' '(' ')' '+' 'ä€😀' '=' ';' '<>' "a'b\"c\\d&e/f")
  local search replacement i n=${#texts[@]}
  cd "$BATS_TEST_TMPDIR"
  for ((i = 0; i < n; i++)); do
    search="${texts[i]}" replacement="${texts[(i + 7) % n]}"
    # The file also contains text that the search would match as a pattern.
    printf 'X%sX_aab_XaX_X%s%sX\n%s' "$search" "$search" "$search" "$search" >"$CHECKOUT/special.special"
    printf 'X%sX_aab_XaX_X%s%sX\n%s' "$replacement" "$replacement" "$replacement" "$replacement" >"$BATS_TEST_TMPDIR/expected"
    try replace -- "$search" "$replacement" special
    good
    cmp "$CHECKOUT/special.special" "$BATS_TEST_TMPDIR/expected" || { echo "'$search' -> '$replacement'" && false; }
  done
  not test -e ran
  not test -e "$CHECKOUT/ran"
}

@test "replace: found from left to right, once, and not again in what was put there" {
  file one.md 'aaaaa\n'
  try replace aa aaa md
  says "$out" "2 places in 1 file"
  is one.md 'aaaaaaa\n'
}

@test "replace: nothing instead of something" {
  file one.md 'a needle here\n'
  try replace ' needle' ''
  good
  is one.md 'a here\n'
}

@test "replace: bytes that are no text in any encoding are kept" {
  file one.md '\377\376needle\200\n'
  try replace needle pin
  is one.md '\377\376pin\200\n'
}

@test "replace: run.sh and its parts can be changed while they run" {
  try replace 'say()' 'say( )'
  good
  grep -q 'say( )' "$CHECKOUT/scripts/lib/messages.sh"
  [ -x "$CHECKOUT/run.sh" ]
  try replace 'unknown command' 'no such command'
  good
  try frobnicate
  is_usage_error "no such command"
}

@test "replace: mistakes" {
  file one.md 'needle\n'
  try replace
  is_usage_error "SEARCH REPLACE"
  try replace needle
  is_usage_error "SEARCH REPLACE"
  try replace a b c d
  is_usage_error "SEARCH REPLACE"
  try replace "" pin
  is_usage_error "SEARCH is empty"
  try replace needle pin ""
  is_usage_error "EXT is empty"
  try replace $'nee\ndle' pin
  is_usage_error "line feed"
  try replace not-there pin
  failed_with 1
  says "$err" "'not-there' was not found"
  is one.md 'needle\n'
}
