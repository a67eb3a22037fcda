"""What the Raft paper says, sentence by sentence.

"In Search of an Understandable Consensus Algorithm (Extended Version)", Ongaro and Ousterhout; the claims are those
that etcd-io/raft checks in raft_paper_test.go.
"""

from __future__ import annotations

import pytest

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.types import HardState, Message, MessageType, Role
from tests.node.raft.lone import Lone, entries, entry
from tests.node.raft.world import group

APP, APP_RESP = MessageType.APP, MessageType.APP_RESP


def become(role: Role) -> Lone:
    """A member in this role, in term 1."""
    lone = Lone()
    if role is Role.FOLLOWER:
        lone.be_follower()
    elif role is Role.CANDIDATE:
        lone.be_candidate()
    else:
        lone.be_leader()
    assert lone.core.role is role
    return lone


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_whoever_hears_of_a_higher_term_takes_it_up_and_follows(role: Role) -> None:
    """Raft 5.1: a smaller term is updated; a candidate or leader of an old term reverts to follower."""
    lone = become(role)
    lone.hear(APP, 3, term=2)
    assert (lone.core.role, lone.core.term, lone.core.leader) == (Role.FOLLOWER, 2, 3)


def test_a_request_of_an_old_term_is_not_taken() -> None:
    """Raft 5.1: a stale term is rejected; etcd's raft, and this one, just do nothing."""
    lone = Lone(hard_state=(2, 0, 0))
    assert lone.hear(APP, 2, term=1, entries=entries(1)) == []
    assert (lone.core.term, lone.core.leader, lone.whole_log()) == (2, 0, ())


def test_members_start_as_followers() -> None:
    """Raft 5.2."""
    assert Lone().core.role is Role.FOLLOWER


def test_a_leader_sends_empty_heartbeats_to_all_followers() -> None:
    """Raft 5.2: heartbeats carry no log entries."""
    lone = Lone()
    lone.be_leader()
    lone.core.propose_batch([b"not", b"yet", b"sent"])
    lone.work()
    lone.core.tick()
    assert lone.work() == [Message(MessageType.HEARTBEAT, MemberID(to), MemberID(1), lone.core.term) for to in (2, 3)]


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_whoever_hears_nothing_starts_an_election(role: Role) -> None:
    """Raft 5.2: it increments its term, votes for itself and asks all others."""
    lone = become(role)
    sent: list[Message] = []
    for _ in range(19):
        lone.core.tick()
        sent += lone.work()
    assert (lone.core.role, lone.core.term) == (Role.CANDIDATE, 2)
    assert lone.log.initial_state()[0].vote == 1
    assert [(message.type, message.to, message.term) for message in sent] == [
        (MessageType.VOTE, 2, 2),
        (MessageType.VOTE, 3, 2),
    ]


@pytest.mark.parametrize(
    ("size", "votes", "role"),
    [
        (1, {}, Role.LEADER),
        (3, {2: True, 3: True}, Role.LEADER),
        (3, {2: True}, Role.LEADER),
        (5, {2: True, 3: True, 4: True, 5: True}, Role.LEADER),
        (5, {2: True, 3: True, 4: True}, Role.LEADER),
        (5, {2: True, 3: True}, Role.LEADER),
        (3, {2: False, 3: False}, Role.FOLLOWER),
        (5, {2: False, 3: False, 4: False, 5: False}, Role.FOLLOWER),
        (5, {2: True, 3: False, 4: False, 5: False}, Role.FOLLOWER),
        (3, {}, Role.CANDIDATE),
        (5, {2: True}, Role.CANDIDATE),
        (5, {2: False, 3: False}, Role.CANDIDATE),
        (5, {}, Role.CANDIDATE),
    ],
)
def test_one_round_of_votes_decides_an_election(size: int, votes: dict[int, bool], role: Role) -> None:
    """Raft 5.2: the votes of a majority make a leader, their refusal a follower; else it goes on."""
    lone = Lone(size)
    lone.core.campaign()
    lone.work()
    for voter, granted in votes.items():
        lone.hear(MessageType.VOTE_RESP, voter, term=1, reject=not granted)
    assert (lone.core.role, lone.core.term) == (role, 1)


@pytest.mark.parametrize(
    ("vote", "asker", "granted"), [(0, 2, True), (0, 3, True), (2, 2, True), (3, 3, True), (2, 3, False), (3, 2, False)]
)
def test_a_member_votes_for_the_first_who_asks_in_a_term(vote: int, asker: int, granted: bool) -> None:
    """Raft 5.2: at most one vote in a term, first come first served."""
    lone = Lone(hard_state=(1, vote, 0))
    (answer,) = lone.hear(MessageType.VOTE, asker, term=1, log_term=0, index=0)
    assert (answer.type, answer.to, answer.reject) == (MessageType.VOTE_RESP, asker, not granted)


@pytest.mark.parametrize("term", [1, 2])
def test_a_candidate_that_hears_a_leader_follows_it(term: int) -> None:
    """Raft 5.2: a leader whose term is at least the candidate's is legitimate."""
    lone = Lone()
    lone.be_candidate()
    lone.hear(APP, 2, term=term)
    assert (lone.core.role, lone.core.term, lone.core.leader) == (Role.FOLLOWER, term, 2)


def ticks_until_election(role: Role, seed: int) -> int:
    """How long a member of this role waits before it campaigns."""
    lone = Lone(seed=seed)
    if role is Role.CANDIDATE:
        lone.be_candidate()
    term = lone.core.term
    for tick in range(1, 100):
        lone.core.tick()
        lone.work()
        if lone.core.term > term:
            return tick
    raise AssertionError("it never campaigned")


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_election_timeouts_are_random(role: Role) -> None:
    """Raft 5.2: chosen from a fixed interval, here [10, 19]."""
    seen = {ticks_until_election(role, seed) for seed in range(200)}
    assert seen == set(range(10, 20))


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_in_most_cases_only_one_member_times_out(role: Role) -> None:
    """Raft 5.2: so split votes are rare. Three in ten, for five members, is etcd's bound."""
    rounds = 100
    waits = [[ticks_until_election(role, seed * 5 + member) for member in range(5)] for seed in range(rounds)]
    conflicts = sum(wait.count(min(wait)) > 1 for wait in waits)
    assert conflicts / rounds <= 0.4


def test_a_leader_appends_a_proposal_and_sends_it_to_all() -> None:
    """Raft 5.3: with index and term of the entry before it; it is not committed by that."""
    lone = Lone()
    lone.lead()
    before = lone.core.last_index
    lone.core.propose(b"some data")
    sent = lone.work()
    proposed = entry(1, before + 1, b"some data")
    assert lone.whole_log()[-1] == proposed
    assert lone.core.commit_index == before
    assert sent == [
        Message(APP, MemberID(to), MemberID(1), lone.core.term, lone.core.term, before, (proposed,), before)
        for to in (2, 3)
    ]


def test_a_leader_commits_and_applies_what_is_replicated_and_tells_it() -> None:
    """Raft 5.3: and later appends carry the commit index."""
    lone = Lone()
    lone.lead()
    before = lone.core.last_index
    lone.core.propose(b"some data")
    sent = lone.accept(lone.work())
    assert lone.core.commit_index == before + 1
    assert lone.applied == [entry(1, before + 1, b"some data")]
    assert {(message.type, message.commit) for message in sent} == {(APP, before + 1)}
    assert {message.to for message in sent} == {2, 3}


@pytest.mark.parametrize(
    ("size", "acceptors", "committed"),
    [
        (1, (), True),
        (3, (), False),
        (3, (2,), True),
        (3, (2, 3), True),
        (5, (), False),
        (5, (2,), False),
        (5, (2, 3), True),
        (5, (2, 3, 4), True),
        (5, (2, 3, 4, 5), True),
    ],
)
def test_an_entry_is_committed_once_a_majority_has_it(size: int, acceptors: tuple[int, ...], committed: bool) -> None:
    """Raft 5.3."""
    lone = Lone(size)
    lone.lead()
    before = lone.core.last_index
    lone.core.propose(b"some data")
    lone.accept(lone.work(), only=acceptors)
    assert (lone.core.commit_index > before) is committed


@pytest.mark.parametrize("terms", [(), (2,), (1, 2), (1,)])
def test_committing_an_entry_commits_all_before_it(terms: tuple[int, ...]) -> None:
    """Raft 5.3: also those of previous leaders, and they are applied in log order."""
    lone = Lone(terms=terms, hard_state=(2, 0, 0))
    appends = lone.be_leader()
    lone.core.propose(b"some data")
    lone.accept([*appends, *lone.work()])
    lone.core.tick()
    lone.work()
    for peer in (2, 3):
        lone.hear(APP_RESP, peer, index=lone.core.last_index)
    last = len(terms)
    assert lone.applied == [*entries(*terms), entry(3, last + 1), entry(3, last + 2, b"some data")]


@pytest.mark.parametrize(("datas", "commit"), [((b"a",), 1), ((b"a", b"b"), 2), ((b"b", b"a"), 2), ((b"a", b"b"), 1)])
def test_a_follower_applies_what_it_learns_to_be_committed(datas: tuple[bytes, ...], commit: int) -> None:
    """Raft 5.3: in log order."""
    lone = Lone()
    sent = tuple(entry(1, index, data) for index, data in enumerate(datas, 1))
    lone.hear(APP, 2, term=1, entries=sent, commit=commit)
    assert lone.core.commit_index == commit
    assert lone.applied == list(sent[:commit])


@pytest.mark.parametrize(
    ("log_term", "index", "answer"),
    [
        (0, 0, Message(APP_RESP, index=LogIndex(1))),
        (1, 1, Message(APP_RESP, index=LogIndex(1))),
        (2, 2, Message(APP_RESP, index=LogIndex(2))),
        (1, 2, Message(APP_RESP, index=LogIndex(2), reject=True, reject_hint=LogIndex(1))),
        (2, 3, Message(APP_RESP, index=LogIndex(3), reject=True, reject_hint=LogIndex(2))),
    ],
)
def test_a_follower_refuses_what_does_not_follow_its_log(log_term: int, index: int, answer: Message) -> None:
    """Raft 5.3: no entry with this index and term: refused. The hint is its last entry that may be the leader's."""
    lone = Lone(terms=(1, 2), hard_state=(2, 0, 1))
    (sent,) = lone.hear(APP, 2, term=2, log_term=log_term, index=index)
    assert (sent.index, sent.reject, sent.reject_hint) == (answer.index, answer.reject, answer.reject_hint)
    assert sent.log_term == (answer.reject_hint if answer.reject else 0)


@pytest.mark.parametrize(
    ("index", "log_term", "sent", "kept"),
    [
        (2, 2, entries(3, first=3), (1, 2, 3)),
        (1, 1, entries(3, 4, first=2), (1, 3, 4)),
        (0, 0, entries(1), (1, 2)),
        (0, 0, entries(3), (3,)),
    ],
)
def test_a_follower_drops_conflicting_entries_and_all_after_them(
    index: int, log_term: int, sent: tuple[object, ...], kept: tuple[int, ...]
) -> None:
    """Raft 5.3: and appends what it does not have, on stable storage."""
    lone = Lone(terms=(1, 2), hard_state=(2, 0, 0))
    lone.hear(APP, 2, term=4, log_term=log_term, index=index, entries=sent)
    assert lone.whole_log() == entries(*kept)


@pytest.mark.parametrize(
    "follower",
    [
        (1, 1, 1, 4, 4, 5, 5, 6, 6),
        (1, 1, 1, 4),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
        (1, 1, 1, 4, 4, 4, 4),
        (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
    ],
)
def test_a_leader_brings_a_followers_log_to_its_own(follower: tuple[int, ...]) -> None:
    """Raft 5.3, figure 7."""
    world = group(3)
    for number, terms in ((1, (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)), (2, follower), (3, ())):
        member = world.member(number)
        member.log.append(entries(*terms))
        member.log.set_hard_state(HardState(term=Term(8)))
        member.restart()
    world.elect(1)
    world.core(1).propose(b"one more")
    world.settle()
    logs = [world.member(number).log for number in (1, 2, 3)]
    first, last = logs[0].first_index(), LogIndex(logs[0].last_index() + 1)
    whole = [log.entries(first, last, size_max_bytes=1 << 20) for log in logs]
    assert whole[0][:10] == list(entries(1, 1, 1, 4, 4, 5, 5, 6, 6, 6))
    assert whole[0] == whole[1] == whole[2]


@pytest.mark.parametrize("terms", [(1,), (1, 2)])
def test_a_vote_request_tells_the_end_of_the_candidates_log(terms: tuple[int, ...]) -> None:
    """Raft 5.4.1: and goes to all others."""
    lone = Lone()
    lone.hear(APP, 2, term=terms[-1], entries=entries(*terms))
    sent: list[Message] = []
    while not sent:
        lone.core.tick()
        sent = lone.work()
    assert [(m.type, m.to, m.term, m.log_term, m.index) for m in sent] == [
        (MessageType.VOTE, to, terms[-1] + 1, terms[-1], len(terms)) for to in (2, 3)
    ]


@pytest.mark.parametrize(
    ("terms", "log_term", "index", "granted"),
    [
        ((1,), 1, 1, True),
        ((1,), 1, 2, True),
        ((1, 1), 1, 1, False),
        ((1,), 2, 1, True),
        ((1,), 2, 2, True),
        ((1, 1), 2, 1, True),
        ((2,), 1, 1, False),
        ((2,), 1, 2, False),
        ((2, 2), 1, 1, False),
    ],
)
def test_nobody_votes_for_a_log_older_than_its_own(
    terms: tuple[int, ...], log_term: int, index: int, granted: bool
) -> None:
    """Raft 5.4.1: the later last term is newer; with equal terms the longer log is."""
    lone = Lone(2, terms=terms)
    (answer,) = lone.hear(MessageType.VOTE, 2, term=3, log_term=log_term, index=index)
    assert (answer.type, answer.reject) == (MessageType.VOTE_RESP, not granted)


@pytest.mark.parametrize(("acknowledged", "commit"), [(1, 0), (2, 0), (3, 3)])
def test_only_entries_of_its_own_term_are_committed_by_counting(acknowledged: int, commit: int) -> None:
    """Raft 5.4.2, figure 8: older ones are committed with them."""
    lone = Lone(2, terms=(1, 2), hard_state=(2, 0, 0))
    lone.be_leader()
    lone.core.propose(b"")
    lone.work()
    lone.hear(APP_RESP, 2, index=acknowledged)
    assert lone.core.commit_index == commit
