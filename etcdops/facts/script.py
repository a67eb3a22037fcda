"""The scripts that ask a host for its facts: POSIX shell, and whatever else the host happens to have."""

from __future__ import annotations

CLOCK = 'now=$(date +%s.%N); case $now in *N) date +%s;; *) echo "$now";; esac'
"""Unix time; busybox knows whole seconds only."""

FACTS = r"""
writes=$1 limit=$2 names=$3 programs=$4; shift 4
say() { printf '@@%s\n' "$1"; }
say os; cat /etc/os-release 2>/dev/null
say machine; uname -m
say kernel; uname -r
say python; python3 --version 2>/dev/null
say libc; if ls /lib/ld-musl-* >/dev/null 2>&1; then echo musl; else echo glibc; fi
say machine-id; cat /etc/machine-id 2>/dev/null
say memory; grep -E '^(MemTotal|SwapTotal):' /proc/meminfo
say open-files; ulimit -Hn
say addresses; ip -o addr 2>/dev/null | sed -n 's/.* inet6\{0,1\} \([^ /]*\).*/\1/p'
say listeners; ss -H -l -t -n -p 2>/dev/null
say tcp; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null
say names; for name in $names; do
    printf '%s %s\n' "$name" "$(getent ahosts "$name" 2>/dev/null | sed 's/ .*//' | sort -u | tr '\n' ' ')"
done
say missing; for some in $programs; do
    there= old=$IFS; IFS="|"
    for name in $some; do command -v "$name" >/dev/null 2>&1 && there=yes; done
    IFS=$old
    [ "$there" ] || echo "$some"
done
say engine; for program in /usr/local/bin/etcd etcd; do
    "$program" --version 2>/dev/null | sed -n 's/^etcd Version: //p' && break
done
say firewall
nft list ruleset 2>/dev/null
iptables -S INPUT 2>/dev/null

existing() {
    folder=$1
    while [ ! -d "$folder" ]; do folder=$(dirname -- "$folder"); done
    printf '%s' "$folder"
}
identity() {
    if [ -f "$1/member/wal.db" ]; then
        printf 'node '
        python3 -I - "$1/member/wal.db" 2>/dev/null <<'END'
import sqlite3, sys, urllib.parse
log = sqlite3.connect("file:" + urllib.parse.quote(sys.argv[1]) + "?mode=ro", uri=True, timeout=1)
print(*log.execute("SELECT member_id, cluster_id FROM identity").fetchone(), end="")
END
        return
    fi
    for log in "$2"/*.wal "$1"/member/wal/*.wal; do
        [ -f "$log" ] && head -c 1024 "$log" | base64 | tr -d '\n' && return
    done
}
say data
for path; do
    entries=-1 kind=
    [ -e "$path" ] && entries=$(ls -A -- "$path" 2>/dev/null | wc -l)
    [ -d "$path/member" ] && kind=member
    for log in "$path"/*.wal; do [ -f "$log" ] && kind=member; done
    printf '%s\t%d\t%s\t%s\n' "$path" "$entries" "$kind" "$(identity "$path" "$path")"
done

probe_python() {
    python3 -I - "$1" "$writes" "$limit" 2>/dev/null <<'END'
import os, sys, time
path, writes, limit = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
os.write(file, bytes(2048 * writes)); os.fsync(file); os.lseek(file, 0, os.SEEK_SET)
end, block = time.monotonic() + limit, os.urandom(2048)
for _ in range(writes):
    began = time.monotonic()
    os.write(file, block); getattr(os, "fdatasync", os.fsync)(file)
    took = time.monotonic() - began
    print("%.6f" % took, end=" ")
    if began + took > end: break
END
}
probe_dd() {
    # dd tells the time of all its writes together: a few at once are the nearest there is to each
    end=$(( $(date +%s) + limit )) left=$(( writes / 10 ))
    while [ "$left" -gt 0 ] && [ "$(date +%s)" -lt "$end" ]; do
        left=$(( left - 1 ))
        dd if=/dev/zero of="$1" bs=2048 count=5 oflag=dsync conv=notrunc 2>&1 |
            sed -n 's/.*copied, \([0-9.e-]*\) s.*/\1/p' | awk '{ printf "%.6f ", $1 / 5 }'
    done
}
say disk
for path; do
    folder=$(existing "$path")
    kind=$(stat -f -c %T -- "$folder" 2>/dev/null)
    free=$(df -Pk -- "$folder" 2>/dev/null | awk 'END { print $4 }')
    took=
    if [ "$writes" -gt 0 ]; then
        file="$folder/.etcdops-probe.$$"
        trap 'rm -f -- "$file"' EXIT
        took=$(probe_python "$file")
        [ -n "$took" ] || took=$(probe_dd "$file")
        rm -f -- "$file"
    fi
    printf '%s\t%s\t%s\t%s\n' "$path" "$kind" "$free" "$took"
done
"""
"""Arguments: writes of the disk probe (0: none), seconds it may take, names to resolve and programs to look for (words;
of programs with a bar between them, one is enough), then the directories that members are to have."""
