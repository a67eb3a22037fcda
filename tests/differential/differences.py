"""What each server is known to do otherwise than the checklist says, and why."""

from __future__ import annotations

from typing import NamedTuple

from tests.differential.statements import REFUSALS


class Difference(NamedTuple):
    answer: object
    """What the server says instead."""
    reason: str


_NO_DOWNGRADE = Difference(
    "UNIMPLEMENTED: unknown method Downgrade for service etcdserverpb.Maintenance", "it came in 3.5"
)
_DEPTH = Difference(
    "INVALID_ARGUMENT: etcdserver: the request cannot be decoded (nested too deep, or not this message)",
    "protobuf reads 100 levels, which are 49 transactions; etcd stops at 128",
)
_NESTED_FOR_FREE = Difference("OK", "what nested transactions put costs nothing before the fixes of 2026")
_NO_STORAGE_VERSION = Difference("", "it came in 3.6")
_NEVER_PROPOSED = "a proposal without leader waits in raft, whose error at the end of its time is not translated"
_MADE_VOTER = Difference(False, "an update makes a voter of a learner in the member list, up to 3.5.30")
_LAST_ALARM = "the alarm raised last takes the place of the one before, and when one is dropped none holds"
_NO_PROBES = "probes came in 3.4.29"

DIFFERENCES: dict[tuple[str, str], Difference] = {
    ("S16.format", "etcd-3.4"): _NO_DOWNGRADE,
    ("S16.target", "etcd-3.4"): _NO_DOWNGRADE,
    ("S16.cancel", "etcd-3.4"): _NO_DOWNGRADE,
    ("S17", "etcd-3.4"): _NO_DOWNGRADE,
    ("Q02", "etcd-3.4"): _NO_DOWNGRADE,
    ("A31", "etcd-3.4"): Difference(
        "FAILED_PRECONDITION: etcdserver: role name not found",
        "the permission is not looked at before the role, and stops the member when there is one",
    ),
    ("A06.refusal", "etcd-3.4"): Difference(
        "UNIMPLEMENTED: unknown method AuthStatus for service etcdserverpb.Auth", "it came in 3.5"
    ),
    ("X07", "etcd-3.4"): Difference(
        "UNAUTHENTICATED: etcdserver: invalid auth token", "a token is looked at although authentication is off"
    ),
    ("W22.compacted", "etcd-3.4"): Difference([], "a deletion at the compacted revision is dropped, up to 3.4.32"),
    ("W41", "etcd-3.4"): Difference([], "a deletion at the compacted revision is dropped, up to 3.4.32"),
    ("W29", "etcd-3.4"): Difference(1, "progress is told to streams without watchers too"),
    ("H09", "etcd-3.4"): Difference(0, "there is no header"),
    ("T30.nested", "etcd-3.4"): _NESTED_FOR_FREE,
    ("T30.nested", "etcd-3.5"): _NESTED_FOR_FREE,
    ("N06", "etcd-3.4"): Difference([(5, 0)], "an alarm of no type is stored like any other"),
    ("N12.both", "etcd-3.4"): Difference(REFUSALS["E22"], _LAST_ALARM),
    ("N12.both", "etcd-3.5"): Difference(REFUSALS["E22"], _LAST_ALARM),
    ("N12.left", "etcd-3.4"): Difference("OK", _LAST_ALARM),
    ("N12.left", "etcd-3.5"): Difference("OK", _LAST_ALARM),
    ("C18", "etcd-3.4"): Difference(REFUSALS["E19"], "hashes of compactions are kept from 3.5.5 on"),
    ("S02.quota", "etcd-3.4"): Difference(0, "it came in 3.6"),
    ("S02.quota", "etcd-3.5"): Difference(0, "it came in 3.6"),
    ("S02.storage", "etcd-3.4"): _NO_STORAGE_VERSION,
    ("S02.storage", "etcd-3.5"): _NO_STORAGE_VERSION,
    ("S02.storage", "node"): _NO_STORAGE_VERSION,
    ("S06", "etcd-3.4"): Difference({""}, "it came in 3.6"),
    ("S06", "etcd-3.5"): Difference({""}, "it came in 3.6"),
    ("S06", "node"): Difference({""}, "it says what 3.5 says"),
    ("S16.validate", "etcd-3.4"): _NO_DOWNGRADE,
    ("G02", "etcd-3.4"): Difference((200, '{"health":"true"}'), "the reason came in 3.5"),
    ("G03.reason", "etcd-3.4"): Difference(False, "the reason came in 3.5"),
    ("G04", "etcd-3.4"): Difference((404, ["404 page not found"]), _NO_PROBES),
    ("G04.livez", "etcd-3.4"): Difference(404, _NO_PROBES),
    ("G04.CORRUPT", "etcd-3.4"): Difference(404, _NO_PROBES),
    ("G04.NOSPACE", "etcd-3.4"): Difference(404, _NO_PROBES),
    ("G05.livez", "etcd-3.4"): Difference(404, _NO_PROBES),
    ("G19", "etcd-3.4"): Difference(True, "the peer port serves gRPC up to 3.5"),
    ("G19", "etcd-3.5"): Difference(True, "the peer port serves gRPC up to 3.5"),
    ("K14", "node"): Difference("ends", "it says which process has the directory, instead of waiting for ever"),
    ("G22.vars", "etcd-3.4"): Difference(200, "it is told to everybody up to 3.5"),
    ("G22.vars", "etcd-3.5"): Difference(200, "it is told to everybody up to 3.5"),
    ("G23", "etcd-3.4"): Difference(400, "the page is there up to 3.4"),
    ("X15", "etcd-3.4"): Difference("UNKNOWN: context deadline exceeded", _NEVER_PROPOSED),
    ("X15", "etcd-3.5"): Difference("DEADLINE_EXCEEDED: context deadline exceeded", _NEVER_PROPOSED),
    ("G03.serializable", "etcd-3.4"): Difference(503, "it came in 3.4.29"),
    ("M19.learner", "etcd-3.4"): _MADE_VOTER,
    ("M19.learner", "etcd-3.5"): _MADE_VOTER,
    ("S08.learner", "etcd-3.4"): Difference(REFUSALS["E46"], "a learner refuses every stream"),
    ("X21.60", "node"): _DEPTH,
    ("X21.100", "node"): _DEPTH,
}
"""(statement, server) -> what it says. A statement may name an aspect after a dot."""

NOT_RUN: dict[tuple[str, str], str] = {
    ("K11.bump", "etcd-3.4"): "its tool has no --bump-revision before 3.4.27",
    ("X10", "etcd-3.4"): "one such request stops the member",
    ("X10", "etcd-3.5"): "one such request stops the member",
    ("X12", "etcd-3.4"): "one such request stops the member",
    ("X12", "etcd-3.5"): "one such request stops the member",
    ("S16", "etcd-3.4"): "it came in 3.5",
    ("S16", "etcd-3.5"): "the change is applied and its caller is left waiting until the request times out",
    ("N13", "etcd-3.4"): "one such request stops the member",
    ("N13", "etcd-3.5"): "one such request stops the member",
}
"""What a server cannot be asked, and why."""
