"""Keys: Range, Put and DeleteRange, their headers and revisions (H, V, R, P, D)."""

from __future__ import annotations

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.conftest import Start
from tests.differential.requests import NUL, all_of, delete, end_of, get, put, txn
from tests.differential.statements import REFUSALS

pytestmark = [pytest.mark.real, pytest.mark.slow]

ORDER, TARGET = pb.RangeRequest.SortOrder, pb.RangeRequest.SortTarget


def written(server: Server, prefix: bytes, names: bytes = b"abc") -> list[int]:
    """Keys prefix + a, b, c, ... with the values 3, 2, 1 at consecutive revisions; these."""
    return [
        server.client.put(put(prefix + names[n : n + 1], b"%d" % (len(names) - n))).header.revision
        for n in range(len(names))
    ]


def names(response: pb.RangeResponse, prefix: bytes) -> bytes:
    return b"".join(pair.key.removeprefix(prefix) for pair in response.kvs)


@executes("H04", "V01", "R04", "R10", "C14")
def test_a_fresh_store_is_at_one_and_its_first_write_at_two(fresh: Start) -> None:
    """And nothing is in it at any revision it knows."""
    server = fresh()
    server.check("H04", server.client.range(get(NUL, NUL)).header.revision, 1)
    server.check("C14", server.client.hash_kv().header.revision, 1)
    server.check("H04", server.client.put(put(b"k")).header.revision, 2)
    found = server.client.range(get(b"k", revision=1))
    server.check("R10", (found.count, found.header.revision), (0, 2))
    server.check("R04", [pair.key for pair in server.client.range(get(NUL, NUL)).kvs], [b"k"])


@executes("H01", "H02", "H03")
def test_the_header_tells_who_answered_and_when(server: Server, prefix: bytes) -> None:
    """IDs as in the member list, a term, the store's revision."""
    listed = server.client.members()
    revision = server.client.put(put(prefix)).header.revision
    for header in (server.client.range(get(prefix)).header, server.client.leases().header):
        server.check("H01", (header.cluster_id, header.member_id), (listed.header.cluster_id, listed.members[0].ID))
        server.check("H02", header.raft_term >= 1, True)
        server.check("H03", header.revision, revision)


@executes("H05")
def test_a_read_of_the_past_tells_the_present_revision(server: Server, prefix: bytes) -> None:
    """The value is of then, the header of now."""
    first, _, last = written(server, prefix)
    found = server.client.range(get(prefix + b"a", revision=first))
    server.check("H05", (found.header.revision, found.kvs[0].mod_revision), (last, first))


@executes("H12", "A04", "A06")
def test_calls_about_users_leave_the_revision(server: Server, prefix: bytes) -> None:
    """Disabling what is off is fine, and the revision of users and roles starts at one."""
    revision = server.client.put(put(prefix)).header.revision
    off = server.client.call("Auth/AuthDisable", pb.AuthDisableRequest(), pb.AuthDisableResponse)
    server.check("A04", off.header.revision, revision)
    users = server.client.call("Auth/UserList", pb.AuthUserListRequest(), pb.AuthUserListResponse)
    server.check("H12", (users.header.revision, list(users.users)), (revision, []))
    path = "Auth/AuthStatus"
    server.check("A06.refusal", server.client.refusal(path, pb.AuthStatusRequest()), "OK")
    if server.name != "etcd-3.4":
        status = server.client.call(path, pb.AuthStatusRequest(), pb.AuthStatusResponse)
        server.check("A06", (status.enabled, status.authRevision >= 1), (False, True))


@executes("V01", "D02", "D03", "T23")
def test_each_change_raises_the_revision_by_one(server: Server, prefix: bytes) -> None:
    """Whatever changes nothing leaves it."""
    client = server.client
    start = client.revision()
    steps = [
        (client.put(put(prefix)).header.revision, 1),
        (client.delete(delete(prefix + b"none")).header.revision, 1),
        (client.delete(delete(prefix)).header.revision, 2),
        (client.txn(txn(get(prefix))).header.revision, 2),
        (client.txn(txn(delete(prefix))).header.revision, 2),
        (client.txn(txn(put(prefix + b"1"), put(prefix + b"2"), get(prefix))).header.revision, 3),
        (client.delete(delete(prefix, end_of(prefix))).header.revision, 4),
    ]
    for number, (revision, raised) in enumerate(steps):
        server.check("V01", (number, revision - start), (number, raised))


@executes("V04")
def test_a_generation_begins_with_its_creation(server: Server, prefix: bytes) -> None:
    """Version 1, 2, and 1 again after a deletion."""
    seen = []
    for deleted in (False, False, True):
        if deleted:
            server.client.delete(delete(prefix))
        revision = server.client.put(put(prefix)).header.revision
        pair = server.client.range(get(prefix)).kvs[0]
        seen.append((pair.create_revision - revision, pair.mod_revision - revision, pair.version))
    server.check("V04", seen, [(0, 0, 1), (-1, 0, 2), (0, 0, 1)])


@executes("R02", "R03", "R05")
def test_ranges_begin_and_end_where_they_say(server: Server, prefix: bytes) -> None:
    """One key; all from one on; nothing where the end is not behind the key."""
    written(server, prefix)
    found = server.client.range
    server.check("R02", names(found(get(prefix + b"b")), prefix), b"b")
    server.check("R02", names(found(get(prefix + b"a", prefix + b"c")), prefix), b"ab")
    from_b = [pair.key for pair in found(get(prefix + b"b", NUL)).kvs if pair.key.startswith(prefix)]
    server.check("R03", from_b, [prefix + b"b", prefix + b"c"])
    for end in (prefix + b"b", prefix + b"a"):
        nothing = found(get(prefix + b"b", end))
        server.check("R05", (len(nothing.kvs), nothing.count, nothing.more), (0, 0, False))


@executes("R06", "R09", "R08", "E19", "V08")
def test_revisions_to_read_at(server: Server, prefix: bytes) -> None:
    """Zero and below is now; the compacted revision can be read, what is before it cannot."""
    first, second, third = written(server, prefix)
    for revision in (0, -5):
        server.check("R06", names(server.client.range(get(prefix, end_of(prefix), revision=revision)), prefix), b"abc")
    server.client.compact(second)
    server.check("V08", server.client.revision(), third)
    server.check("R09", names(server.client.range(get(prefix, end_of(prefix), revision=second)), prefix), b"ab")
    server.check("R08", server.client.refusal("KV/Range", get(prefix, revision=first)), REFUSALS["E19"])


@executes("R11", "R12", "R13", "R14")
def test_limits_and_counts(server: Server, prefix: bytes) -> None:
    """(keys, more, count); the count is of all that match."""
    written(server, prefix)
    seen = {}
    for limit in (1, 2, 3, 9, 0, -1):
        found = server.client.range(get(prefix, end_of(prefix), limit=limit))
        seen[limit] = (names(found, prefix), found.more, found.count)
    every = (b"abc", False, 3)
    server.check("R11", (seen[1], seen[2]), ((b"a", True, 3), (b"ab", True, 3)))
    server.check("R12", (seen[3], seen[9]), (every, every))
    server.check("R13", (seen[0], seen[-1]), (every, every))
    request = pb.RangeRequest(key=prefix, range_end=end_of(prefix), count_only=True, limit=1)
    counted = server.client.range(request)
    server.check("R14", (len(counted.kvs), counted.more, counted.count), (0, False, 3))


@executes("R15", "R16")
def test_keys_only(server: Server, prefix: bytes) -> None:
    """All but the value is told, and sorting by value sees it all the same."""
    written(server, prefix)
    lease = server.client.grant().ID
    revision = server.client.put(put(prefix + b"a", b"4", lease=lease)).header.revision
    found = server.client.range(pb.RangeRequest(key=prefix + b"a", keys_only=True)).kvs[0]
    server.check("R15", (found.value, found.mod_revision, found.version, found.lease), (b"", revision, 2, lease))
    sort = pb.RangeRequest(key=prefix, range_end=end_of(prefix), keys_only=True, sort_target=TARGET.VALUE)
    server.check("R16", names(server.client.range(sort), prefix), b"cba")


@executes("R17", "R18")
def test_bounds_on_revisions(server: Server, prefix: bytes) -> None:
    """They leave the count, and come before the limit."""
    first, second, third = written(server, prefix)
    last = server.client.put(put(prefix + b"a")).header.revision
    bounds = [
        ({"min_mod_revision": third}, b"ac"),
        ({"max_mod_revision": third}, b"bc"),
        ({"min_create_revision": second}, b"bc"),
        ({"max_create_revision": second, "min_mod_revision": last}, b"a"),
        ({"min_mod_revision": second, "limit": 1, "sort_order": ORDER.DESCEND}, b"c"),
        ({"max_create_revision": first, "max_mod_revision": second}, b""),
    ]
    for fields, expected in bounds:
        request = pb.RangeRequest(key=prefix, range_end=end_of(prefix), **fields)  # type: ignore[arg-type]  # by name
        found = server.client.range(request)
        server.check("R17", (fields, names(found, prefix), found.count), (fields, expected, 3))
    limited = server.client.range(
        pb.RangeRequest(key=prefix, range_end=end_of(prefix), min_mod_revision=third, limit=1)
    )
    server.check("R18", (names(limited, prefix), limited.more), (b"a", True))


@executes("R19", "R20", "R21")
@pytest.mark.parametrize("order", ["NONE", "ASCEND", "DESCEND"])
def test_orders(server: Server, prefix: bytes, order: str) -> None:
    """Any target without an order ascends."""
    written(server, prefix)
    server.client.put(put(prefix + b"a", b"3"))
    ascending = {"KEY": b"abc", "VALUE": b"cba", "CREATE": b"abc", "MOD": b"bca"}
    for target, keys in ascending.items():
        request = pb.RangeRequest(
            key=prefix, range_end=end_of(prefix), sort_order=ORDER.Value(order), sort_target=TARGET.Value(target)
        )
        statement = {"NONE": "R20" if target == "KEY" else "R19", "ASCEND": "R20"}.get(order, "R21")
        expected = keys[::-1] if order == "DESCEND" else keys
        server.check(statement, (target, names(server.client.range(request), prefix)), (target, expected))
    by_version = pb.RangeRequest(
        key=prefix, range_end=end_of(prefix), sort_order=ORDER.Value(order), sort_target=TARGET.VERSION, limit=1
    )
    found = server.client.range(by_version).kvs[0].key
    server.check("R21", (found == prefix + b"a"), order == "DESCEND")


@executes("R22")
def test_an_unknown_order_is_no_order(server: Server, prefix: bytes) -> None:
    """From 3.6 on it is refused."""
    written(server, prefix)
    request = pb.RangeRequest(key=prefix, range_end=end_of(prefix), sort_order=9)  # type: ignore[arg-type]  # unknown
    server.check("R22", names(server.client.range(request), prefix), b"abc")


@executes("R30", "P11")
def test_keys_and_values_are_bytes(server: Server, prefix: bytes) -> None:
    """NUL, what is not UTF-8, nothing at all, and a key of a mebibyte."""
    pairs = [(b"\0", b"\0"), (b"\xff\xfe", b"\xff\0\xfe"), (b"empty", b""), (b"k" * (1 << 20), b"long")]
    for key, value in pairs:
        server.client.put(put(prefix + key, value))
        found = server.client.range(get(prefix + key))
        server.check("R30", (found.kvs[0].key, found.kvs[0].value), (prefix + key, value))
    empty = server.client.range(get(prefix + b"empty"))
    server.check("P11", (empty.count, empty.kvs[0].value), (1, b""))
    server.client.delete(delete(prefix, end_of(prefix)))


@executes("P06", "P07")
def test_what_a_put_is_told_to_ignore_is_kept(server: Server, prefix: bytes) -> None:
    """The value or the lease; revision and version count on."""
    lease = server.client.grant().ID
    server.client.put(put(prefix, b"kept", lease=lease))
    revision = server.client.put(pb.PutRequest(key=prefix, ignore_value=True, lease=lease)).header.revision
    pair = server.client.range(get(prefix)).kvs[0]
    server.check("P06", (pair.value, pair.mod_revision, pair.version), (b"kept", revision, 2))
    server.client.put(pb.PutRequest(key=prefix, value=b"new", ignore_lease=True))
    pair = server.client.range(get(prefix)).kvs[0]
    server.check("P07", (pair.value, pair.lease, pair.version), (b"new", lease, 3))
    server.check("P07", list(server.client.time_to_live(lease).keys), [prefix])


@executes("P09", "P10", "D06")
def test_keys_change_their_lease(server: Server, prefix: bytes) -> None:
    """Detached, moved, deleted: the end of the old lease leaves what is not its any more."""
    client = server.client
    old, new = client.grant().ID, client.grant().ID
    for key in (b"detached", b"moved", b"deleted", b"kept"):
        client.put(put(prefix + key, lease=old))
    client.put(put(prefix + b"detached"))
    client.put(put(prefix + b"moved", lease=new))
    client.delete(delete(prefix + b"deleted"))
    server.check("D06", list(client.time_to_live(old).keys), [prefix + b"kept"])
    client.put(put(prefix + b"deleted"))
    client.revoke(old)
    left = [pair.key.removeprefix(prefix) for pair in client.range(all_of(prefix)).kvs]
    server.check("P09", b"detached" in left, True)
    server.check("P10", left, [b"deleted", b"detached", b"moved"])


@executes("P12")
def test_a_put_tells_the_previous_pair(server: Server, prefix: bytes) -> None:
    """None where there was none, and none where it is not asked for."""
    server.check("P12", server.client.put(put(prefix, b"1", prev_kv=True)).HasField("prev_kv"), False)
    server.check("P12", server.client.put(put(prefix, b"2", prev_kv=True)).prev_kv.value, b"1")
    server.check("P12", server.client.put(put(prefix, b"3")).HasField("prev_kv"), False)


@executes("D03", "D04", "D05", "R05")
def test_deletions_tell_what_they_deleted(server: Server, prefix: bytes) -> None:
    """How many, and the pairs in the order of keys when asked for."""
    revisions = written(server, prefix)
    nothing = server.client.delete(delete(prefix + b"c", prefix + b"a"))
    server.check("R05", nothing.deleted, 0)
    done = server.client.delete(delete(prefix, end_of(prefix), prev_kv=True))
    server.check("D03", (done.deleted, done.header.revision), (3, revisions[-1] + 1))
    server.check(
        "D04", [(pair.key[-1:], pair.value) for pair in done.prev_kvs], [(b"a", b"3"), (b"b", b"2"), (b"c", b"1")]
    )
    last = b"\xff" + prefix  # behind the keys of all other tests
    written(server, last)
    done = server.client.delete(delete(last + b"b", NUL))
    server.check("D05", (done.deleted, len(done.prev_kvs)), (2, 0))
    server.check("D05", names(server.client.range(get(last, NUL)), last), b"a")


@executes("D05")
def test_deleting_everything(fresh: Start) -> None:
    """Both ends NUL."""
    server = fresh()
    written(server, b"x")
    server.check("D05", server.client.delete(delete(NUL, NUL)).deleted, 3)
    server.check("D05", server.client.range(get(NUL, NUL)).count, 0)


@executes("R24")
def test_a_serializable_read_of_what_was_just_written(server: Server, prefix: bytes) -> None:
    """A member of one has applied what it acknowledged."""
    server.client.put(put(prefix, b"1"))
    found = server.client.range(pb.RangeRequest(key=prefix, serializable=True))
    server.check("R24", found.kvs[0].value, b"1")
