"""Leases: never ended before their time, always ended after it."""

from __future__ import annotations

from collections import defaultdict

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.broken import Broken
from tests.robustness.order import KnownOrder
from tests.robustness.record import History

_ROUNDING_S = 0.02


def check_leases(history: History, order: KnownOrder) -> int:
    """Returns: how many leases are known to have ended by themselves. Raises: Broken - one ended early, or never.

    A renewal that was answered was handled after it was asked for, and the end of a lease happened before somebody saw
    it: nothing else is known, and nothing else is held against a member.
    """
    revoked = {
        pb.LeaseRevokeRequest.FromString(call.request).ID for call in history.calls if call.kind == "lease_revoke"
    }
    since: dict[int, list[tuple[float, int, str]]] = defaultdict(list)
    for call in history.calls:
        if call.kind == "lease_grant" and call.answered:
            answer = pb.LeaseGrantResponse.FromString(call.answer)
            since[answer.ID].append((call.called, answer.TTL, f"granted at {call.member}"))
    for renewed in history.renewed:
        if renewed.ttl > 0:
            since[renewed.lease].append((renewed.asked, renewed.ttl, f"renewed at {renewed.member}"))
    ended = 0
    for lease, revision in order.ended.items():
        if lease in revoked:
            continue
        ended += 1
        at = order.by_revision[revision].at
        for asked, ttl, what in since[lease]:
            if at < asked + ttl - _ROUNDING_S:
                raise Broken(
                    "leases",
                    f"lease {lease:x} was {what} for {ttl} s at {asked:.3f} or later, "
                    f"and its end at revision {revision} was seen at {at:.3f}",
                )
    for final in history.final:
        if final.leases:
            raise Broken("leases", f"{final.member} still has leases {[f'{lease:x}' for lease in final.leases]}")
        for kv in pb.RangeResponse.FromString(final.keys).kvs:
            if kv.lease:
                raise Broken("leases", f"{final.member} has {kv.key!r} on lease {kv.lease:x}, which is gone")
    return ended
