"""Quota and alarms (N), and what is refused while one is raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.conftest import Start
from tests.differential.requests import all_of, delete, get, op, put, txn
from tests.differential.statements import REFUSALS

pytestmark = [pytest.mark.real, pytest.mark.slow]

ACTIVATE, DEACTIVATE = pb.AlarmRequest.ACTIVATE, pb.AlarmRequest.DEACTIVATE
SOMEBODY = 5


@contextmanager
def raised(server: Server, kind: int) -> Iterator[None]:
    """An alarm of a member that is not there counts as well."""
    server.client.alarm(ACTIVATE, SOMEBODY, kind)
    try:
        yield
    finally:
        server.client.alarm(DEACTIVATE, SOMEBODY, kind)


def alarms(response: pb.AlarmResponse) -> list[tuple[int, int]]:
    return [(alarm.memberID, alarm.alarm) for alarm in response.alarms]


@executes("N05", "N06", "N07", "N08", "N09", "H09", "S18")
def test_alarms_come_and_go(server: Server, prefix: bytes) -> None:
    """Stored once, listed by type, and dropping what is not there is fine."""
    client = server.client
    revision = client.put(put(prefix)).header.revision
    answer = client.alarm()
    server.check("N05", alarms(answer), [])
    server.check("H09", answer.header.revision, revision)
    server.check("N06", alarms(client.alarm(ACTIVATE, SOMEBODY, pb.NONE)), [])
    client.alarm(DEACTIVATE, SOMEBODY, pb.NONE)
    server.check("N08", alarms(client.alarm(DEACTIVATE, SOMEBODY, pb.NOSPACE)), [])
    with raised(server, pb.NOSPACE):
        server.check("N07", alarms(client.alarm(ACTIVATE, SOMEBODY, pb.NOSPACE)), [(SOMEBODY, pb.NOSPACE)])
        server.check("N05", alarms(client.alarm()), [(SOMEBODY, pb.NOSPACE)])
        server.check("N05", alarms(client.alarm(kind=pb.NOSPACE)), [(SOMEBODY, pb.NOSPACE)])
        server.check("N05", alarms(client.alarm(kind=pb.CORRUPT)), [])
        dropped = client.alarm(DEACTIVATE, SOMEBODY, pb.NOSPACE)
        server.check("N09", alarms(dropped), [(SOMEBODY, pb.NOSPACE)])
    server.check("S18", client.put(put(prefix)).header.revision, revision + 1)


@executes("N04", "N12")
def test_two_alarms_at_once(server: Server, prefix: bytes) -> None:
    """Neither takes the place of the other, and what is left when one is dropped still holds."""
    with raised(server, pb.CORRUPT):
        with raised(server, pb.NOSPACE):
            server.check("N12.both", server.client.refusal("KV/Put", put(prefix)), REFUSALS["E60"])
        server.check("N12.left", server.client.refusal("KV/Put", put(prefix)), REFUSALS["E60"])
    server.check("N04", server.client.refusal("KV/Put", put(prefix)), "OK")


@executes("N11", "S01")
def test_alarms_in_the_status(server: Server) -> None:
    """As Go prints them, with the blank at the end."""
    with raised(server, pb.NOSPACE):
        server.check("N11", list(server.client.status().errors), ["memberID:5 alarm:NOSPACE "])
    server.check("S01", list(server.client.status().errors), [])


@executes("P14", "L06", "N04", "D07", "T30", "E22", "P17")
def test_without_space_only_growth_is_refused(server: Server, prefix: bytes) -> None:
    """A put, a grant and a transaction that costs something; before anything else is looked at."""
    client = server.client
    lease, spare = client.grant().ID, client.grant().ID
    revision = client.put(put(prefix, lease=lease)).header.revision
    client.put(put(prefix + b"2"))
    with raised(server, pb.NOSPACE):
        refused = REFUSALS["E22"]
        server.check("P14", client.refusal("KV/Put", put(prefix)), refused)
        server.check("L06", client.refusal("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60)), refused)
        server.check("T30", client.refusal("KV/Txn", txn(put(prefix))), refused)
        either = pb.TxnRequest(success=[op(get(prefix))], failure=[op(put(prefix))])
        server.check("T30", client.refusal("KV/Txn", either), refused)
        server.check("T30.nested", client.refusal("KV/Txn", txn(txn(put(prefix)))), refused)
        server.check("T30", client.refusal("KV/Txn", txn(get(prefix), delete(prefix + b"3"))), "OK")
        server.check("N04", client.range(get(prefix)).count, 1)
        server.check("D07", client.delete(delete(prefix + b"2")).deleted, 1)
        with client.keep_alive() as stream:
            server.check("N04", stream.ask(pb.LeaseKeepAliveRequest(ID=lease)).TTL, 600)
        server.check("N04", client.refusal("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=spare)), "OK")
        server.check("N04", client.refusal("KV/Compact", pb.CompactionRequest(revision=revision)), "OK")


@executes("P15", "D08", "T31", "N12", "R29", "E60")
def test_what_is_refused_while_corrupt(server: Server, prefix: bytes) -> None:
    """Whatever changes the store; reading goes on, also in transactions that only read."""
    client = server.client
    lease = client.grant().ID
    revision = client.put(put(prefix)).header.revision
    with raised(server, pb.CORRUPT):
        refused = REFUSALS["E60"]
        server.check("P15", client.refusal("KV/Put", put(prefix)), refused)
        server.check("D08", client.refusal("KV/DeleteRange", delete(prefix)), refused)
        server.check("T31", client.refusal("KV/Txn", txn(put(prefix))), refused)
        server.check("T31", client.refusal("KV/Txn", txn(txn(get(prefix)))), refused)
        server.check("N12", client.refusal("KV/Compact", pb.CompactionRequest(revision=revision)), refused)
        server.check("N12", client.refusal("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60)), refused)
        server.check("N12", client.refusal("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=lease)), refused)
        server.check("R29", client.range(all_of(prefix)).count, 1)
        server.check("R29", client.refusal("KV/Txn", txn(get(prefix))), "OK")
    server.check("N12", client.revoke(lease).header.revision, revision)


@executes("G03", "G04")
@pytest.mark.parametrize("alarm", ["NOSPACE", "CORRUPT"])
def test_alarms_make_a_member_ill(server: Server, alarm: str) -> None:
    """Not where they are excluded; alive it is in any case, and ready unless it is corrupt."""
    with raised(server, pb.AlarmType.Value(alarm)):
        status, body = server.client.get("/health")
        server.check("G03", (status, '"health":"false"' in body), (503, True))
        server.check("G03.reason", f'"reason":"ALARM {alarm}"' in body, True)
        server.check("G03", server.client.get(f"/health?exclude={alarm}")[0], 200)
        server.check("G04.livez", server.client.get("/livez")[0], 200)
        server.check(f"G04.{alarm}", server.client.get("/readyz")[0], 503 if alarm == "CORRUPT" else 200)


@executes("N01", "N02", "N03", "S10", "N09")
def test_the_quota(fresh: Start) -> None:
    """What would not fit raises the alarm of this member. It stays when space is made, until somebody drops it."""
    server = fresh(flags=["--quota-backend-bytes=8388608"])
    client = server.client
    me = client.status().header.member_id
    refusals = [client.refusal("KV/Put", put(b"k", b"v" * (1 << 20)))]
    while refusals[-1] == "OK" and len(refusals) < 40:  # the file grows when pages are written, not with each put
        refusals.append(client.refusal("KV/Put", put(b"k", b"v" * (1 << 20))))
    server.check("N01", (refusals[0], refusals[-1]), ("OK", REFUSALS["E22"]))
    server.check("N01", alarms(client.alarm()), [(me, pb.NOSPACE)])
    server.check("N03", client.status().dbSize > 4 << 20, True)
    client.delete(delete(b"k", b"l"))
    client.compact(client.revision())
    server.check("N03", client.refusal("KV/Put", put(b"small")), REFUSALS["E22"])
    server.check("S10", client.refusal("Maintenance/Defragment", pb.DefragmentRequest()), "OK")
    server.check("S10", alarms(client.alarm()), [(me, pb.NOSPACE)])
    client.alarm(DEACTIVATE, me, pb.NOSPACE)
    server.check("N09", client.refusal("KV/Put", put(b"small")), "OK")
