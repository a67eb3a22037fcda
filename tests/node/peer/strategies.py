"""Any raft value that can travel, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    Message,
    MessageType,
    Snapshot,
    SnapshotMetadata,
)

uint64 = st.integers(0, (1 << 64) - 1)
member_ids = uint64.map(MemberID)
terms = uint64.map(Term)
indexes = uint64.map(LogIndex)
datas = st.binary(max_size=300)

entries = st.builds(Entry, terms, indexes, st.sampled_from(EntryType), datas)
id_lists = st.lists(member_ids, max_size=4).map(tuple)
conf_states = st.builds(ConfState, id_lists, id_lists, id_lists, id_lists, st.booleans())
snapshots = st.builds(
    Snapshot,
    st.builds(SnapshotMetadata, st.integers(1, 1 << 63).map(LogIndex), terms, conf_states),
    datas,
)
messages = st.builds(
    Message,
    type=st.sampled_from(MessageType),
    to=member_ids,
    from_=member_ids,
    term=terms,
    log_term=terms,
    index=indexes,
    entries=st.lists(entries, max_size=5).map(tuple),
    commit=indexes,
    vote=member_ids,
    snapshot=st.none() | snapshots,
    reject=st.booleans(),
    reject_hint=indexes,
    context=datas,
)
singles = st.builds(ConfChangeSingle, st.sampled_from(ConfChangeType), member_ids)
conf_changes = st.builds(
    ConfChange, st.lists(singles, max_size=4).map(tuple), st.sampled_from(ConfChangeTransition), datas
)


@st.composite
def append_streams(draw: st.DrawFn) -> list[Message]:
    """MsgApps as a leader sends them: mostly each where the one before ended, now and then elsewhere or empty."""
    local, remote = MemberID(1), MemberID(2)
    term, index = draw(st.integers(1, 1 << 40)), draw(st.integers(0, 1 << 40))
    sent: list[Message] = []
    for _ in range(draw(st.integers(1, 8))):
        if draw(st.integers(0, 3)) == 0:
            term, index = term + draw(st.integers(0, 2)), max(0, index + draw(st.integers(-3, 3)))
        log_term = term - draw(st.integers(0, min(1, term - 1)))
        new = tuple(
            Entry(Term(term), LogIndex(index + n), draw(st.sampled_from(EntryType)), draw(datas))
            for n in range(1, draw(st.integers(0, 4)) + 1)
        )
        sent.append(
            Message(
                MessageType.APP,
                to=local,
                from_=remote,
                term=Term(term),
                log_term=Term(log_term),
                index=LogIndex(index),
                entries=new,
                commit=LogIndex(draw(st.integers(0, 1 << 40))),
            )
        )
        index += len(new)
    return sent


@st.composite
def portions(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` cut anywhere."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
