# Which peers can be reached from this machine: one line each, `peer NAME RESULT` apart by tabs; src/probe/etcd/peers.rs
# reads it. Behind reach.sh.
#
# Arguments: NAME HOST PORT ...

while [ $# -gt 2 ]; do
    printf 'peer\t%s\t%s\n' "$1" "$(reach "$2" "$3")" &
    shift 3
done
wait
