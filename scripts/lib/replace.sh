# `./run.sh replace`: replaces a literal text in the files of the checkout. It must never touch git's own files,
# binaries, generated or fetched files, or files that .gitignore names.
# shellcheck shell=bash

# Directories of generated files, at any depth.
GENERATED=(.git target node_modules .tools spindle-data dist)

replace_command() {
  local dry_run=no words=() extension="" options=yes word
  for word in "$@"; do
    if [ "$options" = yes ] && [ "$word" = -- ]; then
      options=no
    elif [ "$options" = yes ] && [ "$word" = --dry-run ]; then
      dry_run=yes
    else
      words[${#words[@]}]="$word"
    fi
  done
  case "${#words[@]}" in
    2) ;;
    3) extension="${words[2]#.}" ;;
    *) fail_usage "replace needs SEARCH REPLACE [EXT] (--dry-run changes nothing; -- ends the options)" ;;
  esac
  case "${words[0]}${words[1]}" in
    *$'\n'*) fail_usage "replace works within lines: neither text may contain a line feed" ;;
  esac
  [ -n "${words[0]}" ] || fail_usage "replace: SEARCH is empty"
  [ "${#words[@]}" -eq 2 ] || [ -n "$extension" ] || fail_usage "replace: EXT is empty: leave it out, or name one such as md"
  # Bytewise, independent of the files' encoding.
  export LC_ALL=C SPINDLE_SEARCH="${words[0]}" SPINDLE_REPLACE="${words[1]}"
  replace_in_files "$dry_run" "$extension"
}

replace_in_files() {
  local dry_run="$1" extension="$2" file places n_places=0 i
  local files=()
  while IFS= read -r -d '' file; do
    is_candidate "$file" "$extension" || continue
    places="$(awk_replace count "$ROOT/$file")"
    [ -w "$ROOT/$file" ] || die "$file is not writable: nothing was changed"
    printf '%5d  %s\n' "$places" "${file#./}"
    n_places=$((n_places + places))
    files[${#files[@]}]="$file"
  done < <(files_of_checkout)
  if [ "$n_places" -eq 0 ]; then
    say "run.sh: '$SPINDLE_SEARCH' was not found${extension:+ in files ending in .$extension}: nothing was changed"
    exit 1
  fi
  if [ "$dry_run" = yes ]; then
    printf '%s in %s would change; nothing was changed\n' "$(counted "$n_places" place)" "$(counted "${#files[@]}" file)"
    return 0
  fi
  for ((i = 0; i < ${#files[@]}; i++)); do
    replace_in_file "$ROOT/${files[i]}"
  done
  printf '%s in %s changed\n' "$(counted "$n_places" place)" "$(counted "${#files[@]}" file)"
}

counted() {
  if [ "$1" -eq 1 ]; then
    printf '1 %s\n' "$2"
  else
    printf '%s %ss\n' "$1" "$2"
  fi
}

# Prints the paths relative to the root, each terminated by a zero byte: from git, or by a search if the checkout was
# unpacked from an archive.
files_of_checkout() {
  local name pattern
  if [ "$(git -C "$ROOT" rev-parse --show-toplevel 2>/dev/null)" = "$ROOT" ]; then
    git -C "$ROOT" ls-files -z --cached --others --exclude-standard
    return
  fi
  # Never empty, so that the other conditions can follow with -o.
  local left_out=(-name .git)
  for name in "${GENERATED[@]}"; do
    left_out=("${left_out[@]}" -o -name "$name")
  done
  # The patterns of .gitignore apply to names only: this may exclude a little more than git would, but never less.
  while IFS= read -r pattern || [ -n "$pattern" ]; do
    pattern="${pattern%/}"
    case "$pattern" in
      '' | '#'* | '!'*) ;;
      *) left_out=("${left_out[@]}" -o -name "${pattern##*/}") ;;
    esac
  done < <(cat "$ROOT/.gitignore" 2>/dev/null)
  (cd "$ROOT" && find . \( "${left_out[@]}" \) -prune -o -type f -print0)
}

# is_candidate FILE EXTENSION: a regular text file that contains the text. Symbolic links are skipped.
is_candidate() {
  local file="$1" extension="$2" name path
  path="$ROOT/$file"
  if [ -n "$extension" ]; then
    case "$file" in
      *."$extension") ;;
      *) return 1 ;;
    esac
  fi
  for name in "${GENERATED[@]}"; do
    case "/$file" in
      */"$name"/*) return 1 ;;
    esac
  done
  [ -f "$path" ] && [ ! -L "$path" ] || return 1
  grep -q -F -e "$SPINDLE_SEARCH" -- "$path" || return 1
  # A zero byte marks a binary file.
  # shellcheck disable=SC2094 # both only read
  tr -d '\000' <"$path" | cmp -s - "$path"
}

# Writes a file next to the original, then renames it, with the same mode: a concurrent reader, including this script,
# sees either the old file or the new one.
replace_in_file() {
  local path="$1"
  DRAFT="$(mktemp "$(dirname "$path")/.replace.XXXXXX")"
  trap 'rm -f "$DRAFT"' EXIT
  cp -p "$path" "$DRAFT"
  awk_replace text "$path" >"$DRAFT"
  mv -f "$DRAFT" "$path"
  trap - EXIT
}

# awk_replace count|text FILE. The texts are passed in the environment: awk interprets backslashes in -v.
awk_replace() {
  local open_end=0
  # A missing newline at the end of the file stays missing.
  [ -z "$(tail -c 1 "$2")" ] || open_end=1
  WANTED="$1" OPEN_END="$open_end" awk '
    BEGIN { search = ENVIRON["SPINDLE_SEARCH"]; replace = ENVIRON["SPINDLE_REPLACE"]; width = length(search); n = 0 }
    {
      rest = $0; line = ""
      while ((at = index(rest, search)) > 0) {
        line = line substr(rest, 1, at - 1) replace
        rest = substr(rest, at + width)
        n++
      }
      if (ENVIRON["WANTED"] == "text") printf "%s%s%s", (NR > 1 ? "\n" : ""), line, rest
    }
    END {
      if (ENVIRON["WANTED"] == "count") print n
      else if (ENVIRON["OPEN_END"] == "0" && NR > 0) printf "\n"
    }' "$2"
}
