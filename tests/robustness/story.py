"""What a person wants to see of a history that broke a promise: everything around the revisions and keys it names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb
from tests.model.history import Call
from tests.robustness.record import History

LINES_MAX = 60
_AROUND = 2


def around(history: History, broken: str) -> list[str]:
    """Lines in order of time: calls answered near the revisions that `broken` names, and the faults before them."""
    numbers = {int(number) for number in re.findall(r"rev(?:ision)? (\d+)", broken)}
    if not numbers:
        return ["it names no revision: look at the faults and the logs"] + [
            f"{fault.at:.3f} FAULT {fault.text}" for fault in history.faults
        ]
    wanted = {number + more for number in numbers for more in range(-_AROUND, _AROUND + 1)}
    found = sorted(_lines(history, wanted))
    if not found:
        return []
    first, last = found[0][0] - 5.0, found[-1][0]
    found += [(fault.at, f"FAULT {fault.text}") for fault in history.faults if first <= fault.at <= last]
    return [f"{at:.3f} {text}" for at, text in sorted(found)[:LINES_MAX]]


def _lines(history: History, wanted: set[int]) -> Iterator[tuple[float, str]]:
    for call in history.calls:
        if call.revision in wanted:
            yield call.called, f"{call} -> {shown(call)}"
    for one in history.seen:
        for event in pb.WatchResponse.FromString(one.message).events:
            if event.kv.mod_revision in wanted:
                what = "delete" if event.type == mvccpb.Event.DELETE else f"put {event.kv.value[:30]!r}"
                yield one.at, f"{one.watcher} at {one.member} sees {what} {event.kv.key!r} rev {event.kv.mod_revision}"


def shown(call: Call) -> str:
    """Its request, on one line."""
    kinds: dict[str, type[Message]] = {
        "range": pb.RangeRequest,
        "put": pb.PutRequest,
        "delete_range": pb.DeleteRangeRequest,
        "txn": pb.TxnRequest,
        "lease_grant": pb.LeaseGrantRequest,
        "lease_revoke": pb.LeaseRevokeRequest,
    }
    return " ".join(str(kinds[call.kind].FromString(call.request)).split())[:300]
