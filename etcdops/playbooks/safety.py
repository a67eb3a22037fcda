"""Whether a step may be taken, by arithmetic alone: voters from the member list, quorum before and after.

Pure: a verdict is computed from numbers and asked for again right before every dangerous step.
"""

from __future__ import annotations

from dataclasses import dataclass

from etcdops.client.quorum import Quorum, quorum_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to "may this be done now?". `code` is the word `--force-unsafe` takes; empty when allowed."""

    allowed: bool
    before: Quorum
    after: Quorum
    code: str = ""
    reason: str = ""
    """What would happen, in numbers."""
    instead: str = ""
    """The safer order."""


def judge_stop(now: Quorum, *, voter: bool, answering: bool) -> Verdict:
    """Stopping, restarting or defragmenting one member."""
    after = now.after(present=-1) if voter and answering else now
    if after.holds or not now.holds:
        return Verdict(True, now, after)
    return Verdict(
        False,
        now,
        after,
        "quorum-lost",
        f"{after.present} of {after.voters} voters would be left and {after.needed} are needed",
        "bring back the members that do not answer first",
    )


def judge_removal(now: Quorum, *, voter: bool, answering: bool, accept_risk: bool = False) -> Verdict:
    """Taking a member out of the member list.

    Removing the dead first is right: the quorum shrinks, the living stay. From two members one cannot be removed
    safely: the one left tolerates nothing, and while both are needed a slip leaves none.
    """
    if not voter:
        return Verdict(True, now, now)
    after = now.after(voters=-1, present=-1 if answering else 0)
    if not now.holds:
        return Verdict(
            False,
            now,
            after,
            "no-quorum",
            f"{now} and {now.needed} must agree to any change of members",
            "recover the quorum first: etcdops recover --from-snapshot FILE",
        )
    if not after.holds:
        return Verdict(
            False,
            now,
            after,
            "quorum-lost",
            f"{after.present} of {after.voters} voters would be left answering and {after.needed} are needed",
            "bring back or remove the members that do not answer first",
        )
    if after.voters == 1 and not accept_risk:
        return Verdict(
            False,
            now,
            after,
            "last-member",
            "one voter would be left, and its loss is the loss of the cluster",
            "add a learner and promote it first, or accept the risk with --accept-quorum-risk",
        )
    return Verdict(True, now, after)


def judge_addition(now: Quorum, *, learner: bool) -> Verdict:
    """Adding a member. A learner never changes the quorum; a voter counts from the moment it is added, not running."""
    if not now.holds:
        return Verdict(
            False,
            now,
            now,
            "no-quorum",
            f"{now} and {now.needed} must agree to any change of members",
            "recover the quorum first: etcdops recover --from-snapshot FILE",
        )
    if learner:
        return Verdict(True, now, now)
    after = now.after(voters=1)
    if after.holds and now.present == now.voters:
        return Verdict(True, now, after)
    return Verdict(
        False,
        now,
        after,
        "quorum-lost" if not after.holds else "members-down",
        f"until the new voter runs, {after} and {after.needed} are needed",
        "add it as a learner and promote it when it has caught up; remove dead members before adding new ones",
    )


def judge_promotion(now: Quorum) -> Verdict:
    """Making a running learner a voter: it is present already."""
    after = now.after(voters=1, present=1)
    if now.holds and after.holds:
        return Verdict(True, now, after)
    return Verdict(False, now, after, "no-quorum", str(now), "restore the quorum")


def judge_recovery(now: Quorum, *, proven: bool | None) -> Verdict:
    """Replacing the whole cluster by a snapshot. Refused while the cluster works: everything newer would be lost.

    Args: proven - whether a read through the quorum just succeeded (True) or failed (False); None = not tried.
    """
    after = Quorum(now.voters, now.voters)
    works = now.holds if proven is None else proven
    if not works:
        return Verdict(True, now, after)
    return Verdict(
        False,
        now,
        after,
        "quorum-holds",
        f"{now}, {now.needed} are needed: the cluster works",
        "replace the members that are down instead: remove the dead one, add a learner, promote it",
    )


def tolerance_table(voters_max: int = 9) -> list[tuple[int, int, int]]:
    """(voters, quorum, failures tolerated) for 1 .. voters_max."""
    return [(voters, quorum_of(voters), voters - quorum_of(voters)) for voters in range(1, voters_max + 1)]
