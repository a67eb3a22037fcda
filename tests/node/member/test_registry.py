"""Who belongs to the cluster, and the JSON they travel in."""

from __future__ import annotations

import json

import pytest

from etcdops.ids import ClusterID, MemberID
from etcdops.node.api import errors
from etcdops.node.api.errors import EtcdError
from etcdops.node.member.member import (
    BadMember,
    Member,
    members_json,
    parse_addition,
    parse_member,
    parse_members,
    promotion_json,
)
from etcdops.node.member.registry import MemberRegistry
from etcdops.node.raft.types import ConfChange, ConfChangeSingle, ConfChangeType
from etcdops.node.storage.tables import MemberTable

VOTER = Member(MemberID(10501334649042878790), ("http://127.0.0.1:2380",), "one", ("http://127.0.0.1:2379",))
LEARNER = Member(MemberID(7), ("http://127.0.0.1:3380",), is_learner=True)


class Table(MemberTable):
    """Rows in a dict."""

    def __init__(self) -> None:  # no file behind it
        self.rows: dict[MemberID, str] = {}
        self.gone: set[MemberID] = set()

    def put(self, member_id: MemberID, attributes: str) -> None:
        self.rows[member_id] = attributes

    def remove(self, member_id: MemberID) -> None:
        self.rows.pop(member_id, None)
        self.gone.add(member_id)

    def all(self) -> dict[MemberID, str]:
        return dict(self.rows)

    def removed(self) -> set[MemberID]:
        return set(self.gone)

    def clear(self) -> None:
        self.rows.clear()
        self.gone.clear()


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def registry(table: Table) -> MemberRegistry:
    made = MemberRegistry(ClusterID(1), table)
    made.bootstrap([VOTER, LEARNER])
    return made


def change(kind: ConfChangeType, member: MemberID, context: bytes = b"") -> ConfChange:
    return ConfChange((ConfChangeSingle(kind, member),), context=context)


def test_json_is_etcds() -> None:
    """What Go's encoder makes of membership.Member: empty optional fields are left out."""
    assert VOTER.to_json() == (
        b'{"id":10501334649042878790,"peerURLs":["http://127.0.0.1:2380"],"name":"one",'
        b'"clientURLs":["http://127.0.0.1:2379"]}'
    )
    assert LEARNER.to_json() == b'{"id":7,"peerURLs":["http://127.0.0.1:3380"],"isLearner":true}'
    assert promotion_json(MemberID(7)) == b'{"id":7,"peerURLs":null,"isPromote":true}'
    assert parse_members(members_json([VOTER, LEARNER])) == [VOTER, LEARNER]
    assert parse_addition(promotion_json(MemberID(7))) == (Member(MemberID(7), ()), True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"id":"7"}',
        '{"id":-1}',
        '{"id":true}',
        '{"peerURLs":"x"}',
        '{"peerURLs":[1]}',
        '{"name":5}',
        "[" * 99999,
    ],
)
def test_json_of_anything_else_is_refused(text: str) -> None:
    """It comes from other members and from the log."""
    with pytest.raises(BadMember):
        parse_member(text)


def test_members_survive_in_the_table(registry: MemberRegistry, table: Table) -> None:
    """M31."""
    again = MemberRegistry(ClusterID(1), table)
    again.recover(table)
    assert again.members() == [LEARNER, VOTER] == registry.members()
    assert (again.voters(), again.learners()) == ([VOTER], [LEARNER])
    assert json.loads(table.rows[LEARNER.id])["isLearner"] is True


def test_attributes_are_published(registry: MemberRegistry) -> None:
    """M34: started is who has a name; strangers are ignored."""
    assert not LEARNER.is_started
    registry.set_attributes(LEARNER.id, "two", ["http://c:1"])
    registry.set_attributes(MemberID(99), "x", [])
    assert [member.is_started for member in registry.members()] == [True, True]
    known = registry.get(LEARNER.id)
    assert known is not None
    assert known.is_learner


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (change(ConfChangeType.ADD_NODE, VOTER.id, VOTER.to_json()), errors.MEMBER_EXISTS),
        (
            change(ConfChangeType.ADD_NODE, MemberID(9), Member(MemberID(9), VOTER.peer_urls).to_json()),
            errors.PEER_URL_EXISTS,
        ),
        (
            change(ConfChangeType.ADD_NODE, MemberID(9), Member(MemberID(8), ("http://x:1",)).to_json()),
            errors.MEMBER_NOT_FOUND,
        ),
        (change(ConfChangeType.ADD_NODE, MemberID(9), b"junk"), errors.MEMBER_NOT_FOUND),
        (change(ConfChangeType.ADD_NODE, MemberID(9), promotion_json(MemberID(9))), errors.MEMBER_NOT_FOUND),
        (change(ConfChangeType.ADD_NODE, VOTER.id, promotion_json(VOTER.id)), errors.MEMBER_NOT_LEARNER),
        (change(ConfChangeType.ADD_LEARNER_NODE, LEARNER.id, promotion_json(LEARNER.id)), errors.MEMBER_NOT_LEARNER),
        (
            change(ConfChangeType.ADD_NODE, MemberID(0), Member(MemberID(0), ("http://x:1",)).to_json()),
            errors.MEMBER_NOT_FOUND,
        ),
        (change(ConfChangeType.REMOVE_NODE, MemberID(9)), errors.MEMBER_NOT_FOUND),
        (change(ConfChangeType.UPDATE_NODE, MemberID(9), VOTER.to_json()), errors.MEMBER_NOT_FOUND),
        (
            change(ConfChangeType.UPDATE_NODE, LEARNER.id, Member(LEARNER.id, VOTER.peer_urls).to_json()),
            errors.PEER_URL_EXISTS,
        ),
        (change(ConfChangeType.UPDATE_NODE, LEARNER.id, b"{"), errors.MEMBER_NOT_FOUND),
        (ConfChange(), errors.MEMBER_NOT_FOUND),
    ],
)
def test_changes_that_are_ignored_on_every_member(registry: MemberRegistry, what: ConfChange, error: EtcdError) -> None:
    """M03, M10, M18, M20, M22: nothing changes, and nothing stops on an unreadable one."""
    before = registry.members()
    assert registry.apply(what) == error
    assert registry.members() == before


def test_changes(registry: MemberRegistry, table: Table) -> None:
    """M06, M14, M15, M19, M22."""
    third = Member(MemberID(3), ("http://127.0.0.1:4380",))
    assert registry.apply(change(ConfChangeType.ADD_NODE, third.id, third.to_json())) is None
    promote = change(ConfChangeType.ADD_NODE, LEARNER.id, promotion_json(LEARNER.id))
    update = change(ConfChangeType.UPDATE_NODE, LEARNER.id, Member(LEARNER.id, ("http://u:1",)).to_json())
    assert registry.apply(update) is None
    assert registry.learners() == [Member(LEARNER.id, ("http://u:1",), is_learner=True)]
    assert registry.apply(promote) is None
    assert registry.learners() == []
    assert registry.apply(change(ConfChangeType.REMOVE_NODE, third.id)) is None
    assert (registry.is_removed(third.id), table.gone) == (True, {third.id})
    assert registry.apply(change(ConfChangeType.ADD_NODE, third.id, third.to_json())) == errors.MEMBER_NOT_FOUND
    assert [member.id for member in registry.voters()] == [LEARNER.id, VOTER.id]
