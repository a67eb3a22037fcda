"""The user a member runs as and the directories it needs, on its host."""

from __future__ import annotations

from etcdops.errors import EtcdopsError
from etcdops.playbooks.rollout.desired import DesiredMember
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import FileKind, Session

_USER = """
set -e
user=$1 group=$2
if ! getent group "$group" >/dev/null; then
    if command -v groupadd >/dev/null; then groupadd --system -- "$group"; else addgroup -S "$group"; fi
fi
if ! getent passwd "$user" >/dev/null; then
    shell=/usr/sbin/nologin; [ -x "$shell" ] || shell=/sbin/nologin
    if command -v useradd >/dev/null; then
        useradd --system --gid "$group" --home-dir /nonexistent --no-create-home --shell "$shell" -- "$user"
    else
        adduser -S -D -H -h /nonexistent -s "$shell" -G "$group" "$user"
    fi
fi
"""
_HAS_USER = 'getent group "$2" >/dev/null && getent passwd "$1" >/dev/null'
_DIRECTORIES = """
set -e
while [ "$#" -gt 0 ]; do
    path=$1 mode=$2 owner=$3; shift 3
    [ -d "$path" ] || mkdir -p -- "$path"
    chown -- "$owner" "$path"
    chmod -- "$mode" "$path"
done
"""


async def account_problems(session: Session, member: DesiredMember) -> list[str]:
    """What `make_account` would change, a sentence each."""
    found: list[str] = []
    user, group = member.config.user, member.config.group
    if not member.config.image and not (await session.run(script(_HAS_USER, user, group), check=False)).ok:
        found.append(f"make user {user} and group {group}")
    seen = await session.look([directory.path for directory in member.directories], user=ROOT)
    for directory in member.directories:
        at = seen[directory.path]
        there, wanted = at.stat if at is not None else None, directory.ownership
        if there is None:
            found.append(f"make {directory.path}")
        elif there.kind is not FileKind.FOLDER and there.kind is not FileKind.LINK:
            raise EtcdopsError(f"{session.host}: {directory.path} is no directory", hint="move away what is there")
        elif there.kind is FileKind.FOLDER and (there.mode, there.owner, there.group) != (
            wanted.mode,
            wanted.owner,
            wanted.group,
        ):
            found.append(
                f"{directory.path}: {there.mode:04o} {there.owner}:{there.group}"
                f" -> {wanted.mode:04o} {wanted.owner}:{wanted.group}"
            )
    return found


async def make_account(session: Session, member: DesiredMember) -> None:
    """Make the user, the group and the directories. Safe to repeat. Raises: CommandFailed."""
    if not member.config.image:
        await session.run(script(_USER, member.config.user, member.config.group, user=ROOT))
    words: list[str] = []
    for directory in member.directories:
        wanted = directory.ownership
        words += [directory.path, f"{wanted.mode:o}", f"{wanted.owner}:{wanted.group}"]
    await session.run(script(_DIRECTORIES, *words, user=ROOT))
