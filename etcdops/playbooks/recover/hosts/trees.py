"""A directory of a member on its host: what is made beside it, moved aside, put in its place and taken back.

    /var/lib/etcd                         the member's
    /var/lib/etcd.recover-STAMP/          what a recovery makes: the snapshot, the restored data
    /var/lib/etcd.before-recover-STAMP/   the old data
    /var/lib/etcd.undone-STAMP/           what was restored and taken back

A mount point cannot be renamed: there all of these are inside it, and its content is moved entry by entry. Renames stay
within one file system, so each is whole or not there. Every script may be cut off anywhere and run again.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from etcdops.playbooks.plan import Json
from etcdops.remote.command import ROOT, Command, script

_COMMON = """
set -e
umask 077
flush() { sync -- "$1" 2>/dev/null || sync; }
move_all() {  # everything in $1 that is not ours goes to $2
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        [ -e "$entry" ] || [ -L "$entry" ] || continue
        case ${entry##*/} in
            lost+found|recover-2*|before-recover-2*|undone-2*|stray-2*) continue ;;
        esac
        [ -d "$2" ] || mkdir -p -- "$2"
        mv -- "$entry" "$2/"
    done
}
"""
_ASIDE = f"""{_COMMON}
path=$1 aside=$2 mounted=$3
[ ! -e "$aside" ] || exit 0
if [ "$mounted" ]; then
    move_all "$path" "$aside.part"
    [ ! -e "$aside.part" ] || mv -- "$aside.part" "$aside"
elif [ -e "$path" ]; then
    rmdir -- "$path" 2>/dev/null || mv -- "$path" "$aside"
fi
flush "$(dirname -- "$aside")"
"""
_BACK = f"""{_COMMON}
path=$1 aside=$2 mounted=$3 undone=$4
for from in "$aside" "$aside.part"; do
    [ -e "$from" ] || continue
    if [ "$mounted" ]; then
        [ "$from" != "$aside" ] || move_all "$path" "$undone"
        mv -- "$from" "$aside.back"
    else
        [ ! -e "$path" ] || mv -- "$path" "$undone"
        mv -- "$from" "$path"
    fi
done
if [ -e "$aside.back" ]; then
    move_all "$aside.back" "$path"
    rmdir -- "$aside.back"
fi
[ ! -d "$(dirname -- "$path")" ] || flush "$(dirname -- "$path")"
"""
_PLACE = f"""{_COMMON}
new=$1 path=$2 mounted=$3 stray=$4
[ -e "$new" ] || exit 0
if [ "$mounted" ]; then
    chown -- "$(stat -c %u:%g -- "$new")" "$path"
    chmod 700 -- "$path"
    # what a member made that was started in between by somebody else
    [ -e "$new.moving" ] || move_all "$path" "$stray"
    : > "$new.moving"
    move_all "$new" "$path"
    rmdir -- "$new"
    rm -f -- "$new.moving"
else
    [ ! -e "$path" ] || rmdir -- "$path" 2>/dev/null || mv -- "$path" "$stray"
    mv -- "$new" "$path"
fi
flush "$(dirname -- "$path")"
if command -v restorecon >/dev/null 2>&1; then restorecon -R -- "$path"; fi
"""
_UNPLACE = f"""{_COMMON}
new=$1 path=$2 mounted=$3 undone=$4 work=$5
[ -d "$work" ] || exit 0
if [ "$mounted" ]; then
    if [ ! -e "$new" ] || [ -e "$new.moving" ]; then move_all "$path" "$undone"; fi
elif [ ! -e "$new" ] && [ -e "$path" ]; then
    mv -- "$path" "$undone"
fi
flush "$(dirname -- "$undone")"
"""
_FINISH = f"""{_COMMON}
made=$1 new=$2 owner=$3
chown -R -- "$owner" "$made"
chmod -R go-rwx -- "$made"
sync -f "$made" 2>/dev/null || sync
mv -- "$made" "$new"
flush "$(dirname -- "$new")"
"""


@dataclass(frozen=True, slots=True)
class Tree:
    """One directory of a member, by its real path, and the names of what is made for it."""

    path: str
    mounted: bool
    """It is a mount point."""
    stamp: str

    def _beside(self, what: str) -> str:
        return f"{self.path}/{what}-{self.stamp}" if self.mounted else f"{self.path}.{what}-{self.stamp}"

    @property
    def work(self) -> str:
        return self._beside("recover")

    @property
    def aside(self) -> str:
        return self._beside("before-recover")

    @property
    def undone(self) -> str:
        return self._beside("undone")

    @property
    def new(self) -> str:
        """What was restored, whole, until it is put in place."""
        return posixpath.join(self.work, "data")

    @property
    def unfinished(self) -> str:
        """The same while it is made."""
        return posixpath.join(self.work, "data.part")

    def _flag(self) -> str:
        return "yes" if self.mounted else ""

    def move_aside(self) -> Command:
        return script(_ASIDE, self.path, self.aside, self._flag(), user=ROOT)

    def move_back(self) -> Command:
        """The opposite of `move_aside`; what is in its place goes to `undone`. Nothing when nothing was moved."""
        return script(_BACK, self.path, self.aside, self._flag(), self.undone, user=ROOT)

    def finish(self, owner: str) -> Command:
        """Give `unfinished` to its owner (`user:group`), sync all of it, and call it `new`."""
        return script(_FINISH, self.unfinished, self.new, owner, user=ROOT)

    def place(self) -> Command:
        """Put `new` in place. What somebody's member made there meanwhile is kept beside."""
        return script(_PLACE, self.new, self.path, self._flag(), self._beside("stray"), user=ROOT)

    def take_out(self) -> Command:
        """The opposite of `place`: keeps it as `undone`, since clients may have written to it."""
        return script(_UNPLACE, self.new, self.path, self._flag(), self.undone, self.work, user=ROOT)

    def to_json(self) -> dict[str, Json]:
        return {"path": self.path, "mounted": self.mounted}

    @staticmethod
    def from_json(data: Mapping[str, Json], stamp: str) -> Tree:
        return Tree(str(data["path"]), data["mounted"] is True, stamp)
