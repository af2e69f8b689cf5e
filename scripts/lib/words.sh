# Words that people know from other tools: the same deed gets our command, another one a tip.
# shellcheck shell=bash

# known_command WORD: our command for a word of docker, systemctl or make that means the same; other words as they are.
known_command() {
  case "$1" in
    -h | --help) echo help ;;
    launch) echo start ;;
    run | serve) echo up ;;
    down | halt | shutdown) echo stop ;;
    reload) echo restart ;;
    log | tail) echo logs ;;
    ps | ls | list | health | info) echo status ;;
    make | compile | rebuild) echo build ;;
    setup | configure | install) echo init ;;
    tests | verify) echo test ;;
    *) printf '%s\n' "$1" ;;
  esac
}

# tip_for WORD: the way to what a word means that is not a command of this script.
tip_for() {
  case "$1" in
    query | get | devices | dlq | check | config | daemon | writer | detector | reader | web | client | version | --version | -V)
      echo "it is a command of the program, \`spindle $1\`; ./run.sh status prints its path" ;;
    rm | remove | clean | destroy | delete | purge | reset | prune)
      echo "./run.sh stop --volumes stops everything and removes the data" ;;
    -d | --detach) echo "./run.sh start runs the platform in the background" ;;
    *) echo "./run.sh help lists the commands" ;;
  esac
}
