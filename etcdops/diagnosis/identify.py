"""Who and how much: members, peers, terms and durations in an entry."""

from __future__ import annotations

import re

from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.rules.network import PEER_TALK
from etcdops.diagnosis.rules.rule import Rule
from etcdops.diagnosis.times import parse_duration

_PEER_FIELDS = (
    "remote-peer-id-from",
    "remote-peer-id",
    "peer-id",
    "remote-member-id",
    "remote-peer",
    "to",
    "removed-member-id",
    "removed-remote-peer-id",
    "raft-remote-peer-id",
)
_PEER_WORDS = re.compile(
    r"(?:peer\[?|member|to dial|remote\[|from|to heartbeat|with|to read|to write) ?([0-9a-f]{13,16})\b"
)
_ADDRESS = re.compile(r"(?:dial (?:tcp|udp)4?6? |https?://|host )(\[[0-9a-f:]+\]:\d+|[\w.-]+:\d+)")
_LOCAL_FIELDS = ("local-member-id", "local-server-member-id", "local-peer-id", "raft-local-member-id")
_LOCAL_WORDS = re.compile(
    r"\b([0-9a-f]{13,16}) (?:is starting a new election|became (?:follower|candidate|pre-candidate|leader)|"
    r"elected leader|lost leader|\[(?!\w+://|\]))"
)
"""raft tells its state in brackets; of a member that is added they hold URLs, and it is anybody's line."""
_STARTING = re.compile(
    r"(?:starting member|start member|restart member|restarting member|forcing restart of member|"
    r"added local member|local server=)[ =]([0-9a-f]{13,16})"
)
_NAME = re.compile(r"\{Name:(\S+) ClientURLs:|\bname = (\S+)$")
"""Source: server/etcdserver/server.go, publish; 3.3 etcdserver/server.go, NewServer and embed/etcd.go: "name = m1"."""
_TERM = re.compile(r"at term (\d+)")
_LEADER = re.compile(
    r"elected leader ([0-9a-f]+) at term|([0-9a-f]+) became leader at term|changed leader from [0-9a-f]+ to ([0-9a-f]+)"
)
_TOOK = re.compile(
    r"(?:took(?: too long)?|duration of|exceeded(?:-duration)?[^,]*? for|exceeded for|time spent) ?=? ?[\(\[]?"
    r"((?:\d+(?:\.\d+)?(?:h|ms|us|µs|ns|m|s))+)"
)
_DRIFT = re.compile(r"\[((?:\d+(?:\.\d+)?(?:h|ms|us|µs|ns|m|s))+) >")
# Only plain characters: the path is filled into commands that are shown to be typed.
_DATA_DIR = re.compile(r"data[- ]dir ?= ?(/[\w./-]+)(?![^\s,;\"])|(/[\w./-]+)/member/(?:snap|wal)\b")
_ETCDS = re.compile(
    r"etcd|raft|mvcc|\b(?:auth|compactor|embed|fileutil|lease|membership|snap|transport|v3rpc|wal)/?[\w-]*(?:\.go)?:"
)
_REJECTED = re.compile(r'rejected connection from "([^"]+):\d+"')


def is_etcds(entry: Entry) -> bool:
    """Whether the line shows that etcd wrote it: its name, or one of its packages. Source: etcd's and zap's callers."""
    return _ETCDS.search(entry.raw) is not None


def is_id(text: str) -> bool:
    """Whether it is a member's ID: hexadecimal, leading zeros left out."""
    return 12 <= len(text) <= 16 and all(character in "0123456789abcdef" for character in text)


def is_peer_talk(entry: Entry) -> bool:
    """Whether the line is about another member rather than a client."""
    return any(word in entry.text for word in PEER_TALK) or entry.package.startswith("rafthttp")


def peer_of(entry: Entry) -> str:
    """The other side's member ID, or its address, or nothing."""
    for name in _PEER_FIELDS:
        value = entry.fields.get(name, "")
        if value and value != "0":
            return value
    found = _PEER_WORDS.search(entry.text)
    if found:
        return found[1]
    found = _ADDRESS.search(entry.text)
    if found:
        return found[1]
    address = entry.fields.get("remote-addr", "") or entry.fields.get("address", "")
    if address:
        return address.rpartition(":")[0] if "remote-addr" in entry.fields else address
    found = _REJECTED.search(entry.text)
    return found[1] if found else ""


def member_of(entry: Entry) -> str:
    """The ID of the member that wrote the line, if the line tells."""
    for name in _LOCAL_FIELDS:
        if entry.fields.get(name):
            return entry.fields[name]
    found = _STARTING.search(entry.text) or _LOCAL_WORDS.search(entry.text)
    return found[1] if found else ""


def name_of(entry: Entry) -> str:
    """The name of the member that wrote the line, if the line tells. Source: embed/etcd.go, print, field `name`."""
    if "starting an etcd server" in entry.text and entry.fields.get("name"):
        return entry.fields["name"]
    found = _NAME.search(entry.text)
    return (found[1] or found[2]) if found else ""


def data_dir_of(entry: Entry) -> str:
    """The data directory of who wrote the line, if the line tells."""
    found = _DATA_DIR.search(entry.text)
    return (found[1] or found[2]) if found else ""


def term_and_leader(text: str) -> tuple[int, str]:
    """Of a line about an election; 0 and empty where it does not tell."""
    term, leader = _TERM.search(text), _LEADER.search(text)
    name = next((part for part in leader.groups() if part), "") if leader else ""
    return int(term[1]) if term else 0, name


def measured(rule: Rule, entry: Entry) -> float:
    """The number of seconds the line carries, as the rule wants it; 0.0 when there is none."""
    if not rule.measure:
        return 0.0
    names = ("took", "exceeded-duration", "duration", "time spent") if rule.measure == "took" else ("clock-drift",)
    for name in names:
        value = entry.fields.get(name)
        if value:
            return parse_duration(value) or 0.0
    found = (_TOOK if rule.measure == "took" else _DRIFT).search(entry.text)
    return (parse_duration(found[1]) or 0.0) if found else 0.0
