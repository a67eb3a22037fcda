"""Which change of etcd's version is allowed: one minor version up at a time, with what must be true before. Pure.

Source: etcd's upgrade guides and postmortems; server/etcdserver/api/membership/cluster.go, mustDetectDowngrade.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etcdops.rendering.flags import Version

INCONSISTENT = (Version(3, 5, 0), Version(3, 5, 2))
"""First and last with the data inconsistency of 2022: a crash under load could lose writes on one member."""
_ZOMBIES_MENDED = Version(3, 5, 26)
"""Before it, members removed long ago, or voters once promoted, come back as 3.6 reads the other copy of the list."""
_ZOMBIES_ADVISED = Version(3, 5, 32)
_BEFORE_37 = Version(3, 6, 11)


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a change of version is refused, or worth knowing."""

    id: str
    what: str
    why: str
    instead: str


@dataclass(frozen=True, slots=True)
class VersionChange:
    """From what the members run to what they shall run."""

    running: Mapping[str, Version]
    """By the member's name."""
    target: Version

    @property
    def changes(self) -> bool:
        """Whether any member runs something else. A target without a patch is met by every patch of its minor."""
        return any(not meets(version, self.target) for version in self.running.values())

    @property
    def minor(self) -> bool:
        """Whether a member's minor version rises: what needs a snapshot before, and cannot be taken back."""
        return any(version.line < self.target.line for version in self.running.values())


def running_version(text: str) -> Version:
    """What a member says it runs, `3.6.0-rc.1` included. Raises: UsageError - no version we know."""
    return Version.parse(text.partition("-")[0].partition("+")[0])


def meets(running: Version, target: Version) -> bool:
    """Whether what runs is what was asked for: `3.5` is met by all of 3.5."""
    return running.line == target.line and (running.patch == target.patch or not names_patch(target))


def names_patch(version: Version) -> bool:
    return str(version).count(".") == 2


def objections(change: VersionChange, settings: Mapping[str, str]) -> list[Objection]:
    """Everything that forbids the change. Args: settings - flags that the members run with now."""
    if not change.changes:
        return []
    found = [*_direction(change), *_inconsistent_target(change.target)]
    if not found and change.minor:
        found += _before_36(change, settings) + _before_37(change)
    return found


def warnings(change: VersionChange) -> list[str]:
    """What to know about an allowed change, a sentence each."""
    found = []
    damaged = [name for name, version in change.running.items() if INCONSISTENT[0] <= version <= INCONSISTENT[1]]
    if damaged:
        found.append(
            f"{', '.join(damaged)} ran etcd 3.5.0 to 3.5.2, which could lose writes on one member without a sign:"
            " the members' hashes are compared before anything is done"
        )
    older = [name for name, version in change.running.items() if version < _ZOMBIES_ADVISED]
    if change.minor and change.target.line == (3, 6) and older:
        found.append(f"etcd's guide advises {_ZOMBIES_ADVISED} before 3.6; {', '.join(older)} run an older one")
    if any(meets_line(version, change.target) and version > change.target for version in change.running.values()):
        found.append(f"the patch version goes down to {change.target}: what was mended after it comes back")
    if change.minor:
        found.append(
            f"once all members run {change.target.line[0]}.{change.target.line[1]} the cluster's version rises, and"
            " older programs refuse its data: the way back is the snapshot that is taken before"
        )
    return found


def meets_line(running: Version, target: Version) -> bool:
    return running.line == target.line and names_patch(target)


def _direction(change: VersionChange) -> list[Objection]:
    found = []
    target = change.target
    for name, version in change.running.items():
        if version.line > target.line:
            found.append(_down(name, version, target))
        elif target.line[0] == version.line[0] and target.line[1] - version.line[1] > 1:
            first = f"{version.line[0]}.{version.line[1] + 1}"
            found.append(
                Objection(
                    "minor-skipped",
                    f"{name}: from {version} to {target}",
                    "etcd supports one minor version at a time: members two apart refuse each other",
                    f"go to {first} first, then on",
                )
            )
    return found


def _down(name: str, version: Version, target: Version) -> Objection:
    if version.line <= (3, 5):
        why = (
            f"an etcd {target.line[0]}.{target.line[1]} ends itself when the cluster's version is higher, and etcd"
            " learned to lower it (the Downgrade request) only in 3.6"
        )
        instead = "bring the old version back with the snapshot of before: etcdops recover --from-snapshot FILE"
    else:
        why = "a downgrade has to be validated and enabled in the cluster first, and every member checked before"
        instead = f"etcdctl downgrade validate {target.line[0]}.{target.line[1]}, then etcd's guide; or the snapshot"
    return Objection("downgrade", f"{name}: from {version} down to {target}", why, instead)


def _inconsistent_target(target: Version) -> list[Objection]:
    if not INCONSISTENT[0] <= target <= INCONSISTENT[1]:
        return []
    return [
        Objection(
            "inconsistent-version",
            f"etcd {target}",
            "3.5.0 to 3.5.2 can lose writes on one member after a crash, without a sign",
            "choose 3.5.3 or later; the newest patch is best",
        )
    ]


def _before_36(change: VersionChange, settings: Mapping[str, str]) -> list[Objection]:
    if change.target.line != (3, 6):
        return []
    found = [
        Objection(
            "too-old-for-3.6",
            f"{name} runs {version}",
            "before 3.5.26 the two copies of the member list can differ, and 3.6 reads the other one: removed members"
            " come back, voters become learners",
            f"change to {_ZOMBIES_ADVISED} first",
        )
        for name, version in change.running.items()
        if version.line == (3, 5) and version < _ZOMBIES_MENDED
    ]
    if settings.get("enable-v2", "false") == "true" or "experimental-enable-v2v3" in settings:
        found.append(
            Objection(
                "v2-in-use",
                "enable-v2 is on",
                "3.6 has no v2 API, and refuses to start on a store with data of v2",
                "move the data of v2 to v3, remove its keys, take the setting out, and roll that out first",
            )
        )
    return found


def _before_37(change: VersionChange) -> list[Objection]:
    if change.target.line != (3, 7):
        return []
    return [
        Objection(
            "too-old-for-3.7",
            f"{name} runs {version}",
            "before 3.6.11 a member may have what 3.7 no longer reads",
            f"change to {_BEFORE_37} or later first",
        )
        for name, version in change.running.items()
        if version.line == (3, 6) and version < _BEFORE_37
    ]


def order(members: Sequence[str], leader: str) -> list[str]:
    """Followers first, in their order; the leader last."""
    return [name for name in members if name != leader] + [name for name in members if name == leader]
