# Where a member's data lies on its machine, and where its service says it is: one line a fact, its parts apart by tabs;
# src/probe/etcd/storage.rs reads it. For any POSIX shell. Nothing is changed.
#
# Arguments: where FSTAB DATA_DIR WAL_DIR SCRATCH unit UNIT
#            where FSTAB DATA_DIR WAL_DIR SCRATCH pod MANIFEST PROCESS FENCED_DIR NAME
#            resolve PATH...

within() {
    if command -v timeout >/dev/null 2>&1; then
        timeout "$@"
    else
        shift
        "$@"
    fi
}

# Sets `at` to the nearest part of a path that is there, `link` to a link on the way that leads nowhere, and `real` to
# where the path leads.
resolve() {
    at=$1 link=
    while ! [ -e "$at" ] && [ "$at" != / ]; do
        if [ -L "$at" ]; then link=$at; break; fi
        at=${at%/*}
        at=${at:-/}
    done
    if [ -n "$link" ]; then real=$(readlink "$link"); return; fi
    real=$(readlink -f "$at")
    rest=${1#"$at"}
    case $real in
    /) real=/${rest#/} ;;
    *) real=$real$rest ;;
    esac
}

# What /proc escapes in octal.
mount_points() {
    while read -r _ _ _ _ dir _; do
        case $dir in
        *\\*) dir=$(printf '%b' "$(printf '%s' "$dir" | sed 's/\\/\\0/g')") ;;
        esac
        case $dir in
        "$1") printf 'mount\t%s\n' "$2" ;;
        "$1"/*) printf 'below\t%s\tmount\t%s\n' "$2" "$dir" ;;
        esac
    done </proc/self/mountinfo
}

place() {
    path=${2%/}
    resolve "${path:-/}"
    why='' disk=''
    if [ -z "$link" ]; then disk=$(unmounted "$real" "$fstab"); fi
    if [ -n "$link" ]; then
        kind=dangling why=$link
    elif [ -n "$disk" ]; then
        kind=unmounted why=$disk
    elif [ "$at" != "$path" ]; then
        why=$(LC_ALL=C ls -d "$path" 2>&1 >/dev/null)
        case $why in
        *'No such file or directory') kind=absent why= ;;
        *) kind=unreadable ;;
        esac
    elif [ -d "$path" ]; then
        kind=directory
    else
        kind=other
    fi
    printf 'place\t%s\t%s\t%s\t%s\n' "$1" "$kind" "$real" "$(printf '%s' "$why" | tr '\t\n' '  ')"
    if [ "$kind" = dangling ]; then return; fi
    mount_points "$real" "$1"
    printf 'df\t%s\t%s\n' "$1" "$(within 2 df -Pk "$at" 2>/dev/null | tail -n 1)"
    if [ "$kind" != directory ]; then return; fi
    for sub in member member/snap member/wal; do
        if [ -L "$real/$sub" ]; then printf 'below\t%s\tlink\t%s\n' "$1" "$real/$sub"; fi
    done
    printf 'owner\t%s\t%s\t%s\n' "$1" "$(stat -c '%U:%G' "$real" 2>/dev/null)" "$(stat -c '%a' "$real" 2>/dev/null)"
    printf 'size\t%s\t%s\t%s\n' "$1" "$(within 5 du -sk "$real" 2>/dev/null | tail -n 1 | cut -f 1)" \
        "$(stat -c %s "$real/member/snap/db" 2>/dev/null)"
}

# Of an environment, only what says where data is, or what a command line takes from it: the rest may be secret.
variables() {
    while IFS= read -r line; do
        line=${line#export }
        case ${line%%=*} in
        ETCD_DATA_DIR | ETCD_WAL_DIR | ETCD_CONFIG_FILE | ETCD_NAME) printf '%s\t%s\n' "$1" "$line" ;;
        *) for name in $referenced; do
            if [ "$name" = "${line%%=*}" ]; then printf '%s\t%s\n' "$1" "$line"; fi
        done ;;
        esac
    done
}

config() {
    printf 'config-file\t%s\n' "$1"
    if [ -f "$1" ]; then head -c 262144 "$1" | while IFS= read -r line || [ -n "$line" ]; do printf 'config\t%s\n' "$line"; done; fi
}

process() {
    printf 'process\t%s\t%s\n' "$1" "$(readlink "/proc/$1/cwd")"
    tr '\n\0' ' \n' 2>/dev/null <"/proc/$1/cmdline" | while IFS= read -r line; do printf 'argument\t%s\n' "$line"; done
    tr '\n\0' ' \n' 2>/dev/null <"/proc/$1/environ" | variables variable
}

# A flag of a command line that an etcd does not know: with --version it parses the flags and ends. systemctl prints words
# without their quotes, so what only looks like a flag does not count.
unknown_flag() {
    case $2 in *[\"\']* | *--version*) return ;; esac
    set -f
    # shellcheck disable=SC2086 # words
    flag=$(within 3 "$1" --version $2 2>&1 </dev/null | sed -n 's/^flag provided but not defined: *//p' | head -n 1)
    set +f
    case " $2 " in
    *' '"${flag:--}"[\ =]* | *' -'"${flag:--}"[\ =]*) printf 'unknown-flag\t%s\n' "$flag" ;;
    esac
}

unit() {
    referenced=
    shown=$(within 3 systemctl show -p LoadState -p ExecStart -p Environment -p EnvironmentFiles -p WorkingDirectory \
        -p User -p MainPID -p RootDirectory -- "$1" 2>&1)
    exec=$(printf '%s\n' "$shown" | sed -n 's/^ExecStart=//p' | tail -n 1)
    referenced=$(printf '%s\n' "$exec" | grep -o '[$]{*[A-Za-z_][A-Za-z0-9_]*' | tr -d '${')
    printf '%s\n' "$shown" | grep -v '^Environment' | while IFS= read -r line; do printf 'unit\t%s\n' "$line"; done
    printf '%s\n' "$shown" | sed -n 's/^Environment=//p' | xargs printf '%s\n' 2>/dev/null | variables unit-variable
    printf '%s\n' "$shown" | sed -n 's/^EnvironmentFiles=\(.*\) (ignore_errors=.*$/\1/p' | while IFS= read -r file; do
        if [ -r "$file" ]; then variables unit-variable <"$file"; fi
    done
    program=$(printf '%s\n' "$exec" | sed -n 's/^{ path=\([^ ;]*\).*/\1/p')
    if [ -f "$program" ]; then
        if [ "$(head -c 2 "$program")" = '#!' ]; then
            printf 'script\t%s\n' "$program"
        elif [ "${program##*/}" = etcd ]; then
            printf 'program\t%s\t%s\n' "$program" "$(within 3 "$program" --version 2>&1 </dev/null | head -n 1)"
            unknown_flag "$program" \
                "$(printf '%s\n' "$exec" | sed -n 's/.*argv\[\]=[^ ;]*\( .*\) ; ignore_errors=.*/\1/p')"
        fi
    fi
    file=$(printf '%s\n' "$exec" | sed -n 's/.*--*config-file[= ]\([^ ;]*\).*/\1/p')
    if [ -z "$file" ]; then
        file=$(
            {
                printf '%s\n' "$shown" | sed -n 's/^Environment=//p' | xargs printf '%s\n' 2>/dev/null
                printf '%s\n' "$shown" | sed -n 's/^EnvironmentFiles=\(.*\) (ignore_errors=.*$/\1/p' |
                    while IFS= read -r it; do if [ -r "$it" ]; then cat "$it"; fi; done
            } | sed -n 's/^\(export \)*ETCD_CONFIG_FILE="*\([^"]*\)"*$/\2/p' | tail -n 1
        )
    fi
    if [ -n "$file" ]; then config "$file"; fi
    pid=$(printf '%s\n' "$shown" | sed -n 's/^MainPID=//p')
    if [ "${pid:-0}" != 0 ]; then process "$pid"; fi
}

pod() {
    referenced=
    manifest=$1
    if ! [ -e "$manifest" ]; then manifest=$3/${1##*/}; fi
    if [ -f "$manifest" ]; then
        printf 'manifest-file\t%s\n' "$manifest"
        head -c 262144 "$manifest" | while IFS= read -r line || [ -n "$line" ]; do printf 'manifest\t%s\n' "$line"; done
    fi
    for dir in /proc/[0-9]*; do
        if ! grep -q kubepods "$dir/cgroup" 2>/dev/null; then continue; fi
        name=$(tr '\0' '\n' 2>/dev/null <"$dir/cmdline" | head -n 1)
        if [ "${name##*/}" != "$2" ]; then continue; fi
        if tr '\0' '\n' <"$dir/cmdline" 2>/dev/null | grep -qx -e "--name=$4"; then process "${dir#/proc/}"; fi
    done
}

main() {
    printf 'lifeboat-storage\n'
    mode=$1
    shift
    if [ "$mode" = resolve ]; then
        for path in "$@"; do
            path=${path%/}
            resolve "${path:-/}"
            if [ -d "$real/member" ]; then holds=member; else holds=; fi
            printf 'real\t%s\t%s\n' "$real" "$holds"
        done
    else
        fstab=$1
        shift
        place data "$1"
        if [ -n "$2" ]; then place wal "$2"; fi
        place scratch "$3"
        kind=$4
        shift 4
        "$kind" "$@"
    fi
    printf 'end\n'
}

LC_ALL=C
export LC_ALL
# The shell reads this script from the same place.
main "$@" </dev/null
