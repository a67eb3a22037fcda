"""Configuration changes in tests: written "v1 r2 l3 u4", encoded with the peer transport's codec as a driver does."""

from __future__ import annotations

from etcdops.ids import MemberID
from etcdops.node.peer.codec import (
    MalformedMessage,
    decode_conf_change,
    encode_conf_change,
    encode_conf_change_v2,
)
from etcdops.node.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    Entry,
    EntryType,
)

LETTERS = {
    "v": ConfChangeType.ADD_NODE,
    "r": ConfChangeType.REMOVE_NODE,
    "u": ConfChangeType.UPDATE_NODE,
    "l": ConfChangeType.ADD_LEARNER_NODE,
}


def change_of(text: str, transition: ConfChangeTransition = ConfChangeTransition.AUTO) -> ConfChange:
    """ "v2 l3" -> add voter 2, add learner 3."""
    singles = [ConfChangeSingle(LETTERS[word[0]], MemberID(int(word[1:]))) for word in text.split()]
    return ConfChange(tuple(singles), transition)


def show(change: ConfChange) -> str:
    """The inverse of `change_of`."""
    letters = {kind: letter for letter, kind in LETTERS.items()}
    return " ".join(f"{letters[one.type]}{one.node_id}" for one in change.changes)


def encode(entry_type: EntryType, change: ConfChange) -> bytes:
    """The data of an entry of this type."""
    return encode_conf_change(0, change) if entry_type is EntryType.CONF_CHANGE else encode_conf_change_v2(change)


def decode(entry: Entry) -> ConfChange | None:
    """What an entry of a configuration type says, None when it is damaged."""
    try:
        return decode_conf_change(entry.type, entry.data).change
    except MalformedMessage:
        return None
