"""Leases (L), their headers (H13, H14) and IDs (I07)."""

from __future__ import annotations

import time

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.requests import all_of, end_of, put
from tests.differential.statements import REFUSALS

pytestmark = [pytest.mark.real, pytest.mark.slow]


@executes("L01", "I07", "H13")
def test_the_server_chooses_positive_ids(server: Server, prefix: bytes) -> None:
    """Never the same; the revision stays."""
    revision = server.client.put(put(prefix)).header.revision
    grants = [server.client.grant() for _ in range(3)]
    ids = {grant.ID for grant in grants}
    server.check("I07", (len(ids), min(ids) > 0), (3, True))
    server.check("L01", [grant.TTL for grant in grants], [600] * 3)
    server.check("H13", {grant.header.revision for grant in grants}, {revision})


@executes("L02", "L03", "E26")
@pytest.mark.parametrize("lease", [77, -78])
def test_the_client_chooses_an_id(server: Server, lease: int) -> None:
    """Any but one in use."""
    granted = server.client.grant(lease=lease)
    server.check("L02", granted.ID, lease)
    request = pb.LeaseGrantRequest(ID=lease, TTL=9)
    server.check("L03", server.client.refusal("Lease/LeaseGrant", request), REFUSALS["E26"])
    server.client.revoke(lease)


@executes("L04", "L05")
def test_bounds_of_the_time_to_live(server: Server) -> None:
    """At least one and a half election timeouts; at most what a lease may have."""
    server.check("L05", [server.client.grant(ttl).TTL for ttl in (0, -5, 1, 2, 3)], [2, 2, 2, 2, 3])
    longest = server.client.grant(9_000_000_000)
    server.check("L04", longest.TTL, 9_000_000_000)
    server.client.revoke(longest.ID)


@executes("L08", "H13", "V01")
def test_revoking(server: Server, prefix: bytes) -> None:
    """One revision for all keys, none for none."""
    lease = server.client.grant().ID
    for key in (b"b", b"a"):
        server.client.put(put(prefix + key, lease=lease))
    revision = server.client.revision()
    server.check("L08", server.client.revoke(lease).header.revision, revision + 1)
    server.check("L08", server.client.range(all_of(prefix)).count, 0)
    server.check("H13", server.client.revoke(server.client.grant().ID).header.revision, revision + 1)


@executes("L09", "L10", "L11")
def test_time_to_live(server: Server, prefix: bytes) -> None:
    """What was granted and what is left in whole seconds, and the keys when asked; -1 of nothing."""
    nothing = server.client.time_to_live(404)
    server.check("L09", (nothing.ID, nothing.TTL, nothing.grantedTTL, list(nothing.keys)), (404, -1, 0, []))
    lease = server.client.grant(600).ID
    for key in (b"b", b"a"):
        server.client.put(put(prefix + key, lease=lease))
    found = server.client.time_to_live(lease)
    server.check("L10", (found.grantedTTL, 590 <= found.TTL <= 600), (600, True))
    server.check("L11", sorted(found.keys), [prefix + b"a", prefix + b"b"])
    server.check("L11", list(server.client.time_to_live(lease, keys=False).keys), [])


@executes("L13")
def test_the_list(server: Server) -> None:
    """All that are there; from 3.5 on whatever ends first comes first."""
    leases = [server.client.grant(ttl).ID for ttl in (3000, 1000, 2000)]
    listed = [one.ID for one in server.client.leases().leases]
    server.check("L13", set(leases) <= set(listed), True)
    ours = [lease for lease in listed if lease in leases]
    server.check("L13.order", ours == [leases[1], leases[2], leases[0]] or server.name == "etcd-3.4", True)


@executes("L14", "L15", "H14")
def test_renewing(server: Server, prefix: bytes) -> None:
    """What was granted again, 0 for nothing, and the stream goes on."""
    lease = server.client.grant(600).ID
    revision = server.client.put(put(prefix)).header.revision
    with server.client.keep_alive() as stream:
        for asked, ttl in ((lease, 600), (404, 0), (0, 0), (lease, 600)):
            answer = stream.ask(pb.LeaseKeepAliveRequest(ID=asked))
            server.check("L15" if ttl else "L14", (answer.ID, answer.TTL), (asked, ttl))
            server.check("H14", answer.header.revision <= revision, True)


@executes("L23", "L24", "L17", "W40")
def test_expiry(server: Server, prefix: bytes) -> None:
    """Not before its time has passed since the grant or the last renewal, and soon afterwards: one revision for all
    its keys. Then it is nothing to renew."""
    ttl, lease = 2, server.client.grant(2).ID
    for key in (b"b", b"a"):
        server.client.put(put(prefix + key, lease=lease))
    with server.client.watch() as watch, server.client.keep_alive() as stream:
        create = pb.WatchCreateRequest(key=prefix, range_end=end_of(prefix))
        watch.ask(pb.WatchRequest(create_request=create))
        renewed = time.monotonic()
        server.check("L15", stream.ask(pb.LeaseKeepAliveRequest(ID=lease)).TTL, ttl)
        answered = time.monotonic()
        message = watch.next()
        ended = time.monotonic()
        server.check("L17", stream.ask(pb.LeaseKeepAliveRequest(ID=lease)).TTL, 0)
    server.check("W40", [event.kv.key[-1:] for event in message.events], [b"a", b"b"])
    server.check("L23", ended - renewed >= ttl, True)
    server.check("L24", ended - answered < ttl + 10, True)  # a busy machine; in good health it is within 2 s
