"""The script that asks a host for what only a doctor wants to know: POSIX shell, reads only."""

from __future__ import annotations

CONDITION = r"""
since=$1 count=$2; shift 2
say() { printf '@@%s\n' "$1"; }
existing() {
    folder=$1
    while [ ! -d "$folder" ]; do folder=$(dirname -- "$folder"); done
    printf '%s' "$folder"
}
say files
while [ "$count" -gt 0 ]; do
    path=$1 folder=$(existing "$1") count=$(( count - 1 )); shift
    # the last column may hold blanks; of mounts over each other the last is the one that is seen
    blocks=$(df -Pk -- "$folder" 2>/dev/null | awk 'END { print $2, $4 }')
    inodes=$(df -Pi -- "$folder" 2>/dev/null | awk 'END { print $2, $4 }')
    at=$(df -Pk -- "$folder" 2>/dev/null | tail -n 1 | sed 's/^.*% *\//\//')
    how=$(awk -v at="$at" '$2 == at { kind = $3; how = $4 } END { print kind, how }' /proc/self/mounts 2>/dev/null)
    printf '%s\t%s\t%s\t%s\t%s\n' "$path" "$blocks" "$inodes" "$at" "$how"
done

memory_max() {
    while IFS=: read -r number kinds path; do
        case ,$kinds, in
            ,,) top=/sys/fs/cgroup name=memory.max ;;
            *,memory,*) top=/sys/fs/cgroup/memory name=memory.limit_in_bytes ;;
            *) continue ;;
        esac
        path=${path%/}
        while :; do
            cat "$top$path/$name" 2>/dev/null
            [ "$path" ] || break
            path=${path%/*}
        done
    done < "/proc/$1/cgroup"
}
say boot; grep '^btime' /proc/stat
for pid; do
    [ -d "/proc/$pid" ] || continue
    say "limits $pid"; grep '^Max open files' "/proc/$pid/limits"
    say "memory $pid"; grep '^VmRSS:' "/proc/$pid/status"
    say "memory-max $pid"; memory_max "$pid" 2>/dev/null
    say "files $pid"; ls "/proc/$pid/fd" | wc -l
    say "started $pid"; sed 's/.*) //' "/proc/$pid/stat" | cut -d ' ' -f 20
    say "listeners $pid"
    { ls -l "/proc/$pid/fd" | sed -n 's/.*socket:\[\([0-9]*\)\].*/own \1/p'
      cat "/proc/$pid/net/tcp" "/proc/$pid/net/tcp6"
    } 2>/dev/null | awk '$1 == "own" { own[$2] = 1; next } $4 == "0A" && ($10 in own)'
    say "listeners-known $pid"; [ -r "/proc/$pid/fd" ] && [ -r "/proc/$pid/net/tcp" ] && echo yes
done

wanted='Killed process [0-9]+|I/O error|[Rr]emounting filesystem read-only|(EXT4|XFS|BTRFS|JBD2).*(error|corrupt|abort)'
say kernel
journalctl -k --quiet --no-pager --output=short-unix "--since=@$since" 2>/dev/null | grep -E "$wanted" | tail -n 50
say uptime; cut -d ' ' -f 1 /proc/uptime; date +%s
say dmesg; dmesg 2>/dev/null | grep -E "$wanted" | tail -n 50
:
"""
"""Arguments: Unix time since when the kernel's words count, how many directories follow, the directories, then the
process IDs of members."""
