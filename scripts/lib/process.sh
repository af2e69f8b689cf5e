# Processes in the background: started so that they live on after us, known again by more than their number,
# ended in order.
# shellcheck shell=bash

# in_background LOG COMMAND…: sets BACKGROUND_PID. A process group of its own keeps Ctrl-C at this terminal away
# from it, and the terminal's end does not reach it. Only its log is open in it: whoever waits for the end of our
# output must not wait for it.
in_background() {
  local log="$1"
  shift
  set -m
  (trap '' HUP && exec "$@") </dev/null >>"$log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  BACKGROUND_PID=$!
  set +m
  # The shell has no word to say about how it ends.
  disown "$BACKGROUND_PID" 2>/dev/null || true
}

# process_mark PID: what tells this process from a later one of the same number; nothing when it is gone. A
# process that has ended and that nobody has asked about (a zombie) is gone.
process_mark() {
  local line
  if [ -r /proc/self/stat ]; then
    { IFS= read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
    # After the name, which may hold blanks and brackets: the state, 18 others, the start since boot.
    # shellcheck disable=SC2086 # words are wanted
    set -- ${line##*) }
    [ "$1" = Z ] || printf '%s %s\n' "${20}" "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || true)"
  else
    # The start as a date; UTC, since a traveller's machine changes its zone.
    (LC_ALL=C TZ=UTC0 ps -o state= -o lstart= -p "$1" 2>/dev/null || true) | sed -n '/^Z/!s/^[^ ]*  *//p'
  fi
}

# remember_process FILE PID
remember_process() {
  printf '%s %s\n' "$2" "$(process_mark "$2")" >"$1"
}

# running_pid FILE: the process remembered there, if it is the same one and runs; else nothing.
running_pid() {
  local pid mark
  [ -f "$1" ] || return 0
  read -r pid mark <"$1" || true
  case "${pid:-x}" in
    *[!0-9]*) return 0 ;;
  esac
  if [ -n "$mark" ] && [ "$mark" = "$(process_mark "$pid")" ]; then
    printf '%s\n' "$pid"
  fi
}

# end_process NAME PID SECONDS: asks, waits, asks again, and in the end does not ask.
end_process() {
  local name="$1" pid="$2" seconds="$3" mark
  mark="$(process_mark "$pid")"
  [ -n "$mark" ] || return 0
  kill -TERM "$pid" 2>/dev/null || true
  is_gone_within "$seconds" "$pid" "$mark" && return 0
  say "$name does not stop within $seconds s: pressing it"
  kill -TERM "$pid" 2>/dev/null || true
  is_gone_within 3 "$pid" "$mark" && return 0
  say "$name still runs: killing it. What was acknowledged is on disk."
  kill -KILL "$pid" 2>/dev/null || true
  is_gone_within 10 "$pid" "$mark" || die "$name (process $pid) cannot be ended"
}

is_gone_within() {
  local deadline=$((SECONDS + $1))
  while [ "$(process_mark "$2")" = "$3" ]; do
    [ "$SECONDS" -le "$deadline" ] || return 1
    sleep 0.1
  done
}
