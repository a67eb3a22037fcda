"""The two SQLite files of a bundled member, declared once: what is in them and how revisions are written as integers.

    <data-dir>/member/state.db   the state machine: keys and their history, leases, alarms, members, users
    <data-dir>/member/wal.db     the raft log; never leaves its member

A snapshot is a `state.db` on its own. The tables are a file format: a change needs a new schema version, and real
old files in tests/data prove that they still open. Tools read these files without the node's code.

    revision   one row per change, never rewritten. `rev` orders all changes (main, sub); `prev` is the `rev` of the
               same key's change before it, or 0; `kv` is the encoded mvccpb.KeyValue, NULL for a deletion
    current    the newest change of every key; `create_rev` is the `rev` that made the key. version 0 = the key is
               deleted and the deletion not yet compacted

Source: etcd server/storage/schema/bucket.go for what a member has to keep.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

import apsw

from etcdops.errors import EtcdopsError
from etcdops.ids import Revision

SCHEMA_VERSION: Final = 1


class FileKind(enum.Enum):
    """SQLite's application_id of each file: four letters that name its owner."""

    STATE = int.from_bytes(b"etST", "big")
    RAFT_LOG = int.from_bytes(b"etLG", "big")

    @property
    def title(self) -> str:
        """What the file is, for a message."""
        return "state of a member" if self is FileKind.STATE else "raft log of a member"


STATE_TABLES: Final = {
    "revision": (
        "CREATE TABLE revision (rev INTEGER PRIMARY KEY, key BLOB NOT NULL, prev INTEGER NOT NULL, kv BLOB) STRICT"
    ),
    "current": (
        "CREATE TABLE current (key BLOB NOT NULL PRIMARY KEY, rev INTEGER NOT NULL, create_rev INTEGER NOT NULL,"
        " version INTEGER NOT NULL, lease INTEGER NOT NULL) WITHOUT ROWID, STRICT"
    ),
    "meta": "CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID, STRICT",
    "lease": (
        "CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL, remaining_ttl INTEGER NOT NULL) STRICT"
    ),
    "alarm": (
        "CREATE TABLE alarm (member INTEGER NOT NULL, type INTEGER NOT NULL, PRIMARY KEY (member, type))"
        " WITHOUT ROWID, STRICT"
    ),
    "member": "CREATE TABLE member (id INTEGER PRIMARY KEY, attributes TEXT NOT NULL) STRICT",
    "member_removed": "CREATE TABLE member_removed (id INTEGER PRIMARY KEY) STRICT",
    "auth": "CREATE TABLE auth (name TEXT NOT NULL PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID, STRICT",
    "auth_user": "CREATE TABLE auth_user (name BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT",
    "auth_role": "CREATE TABLE auth_role (name BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT",
}
"""Member IDs are unsigned 64-bit and stored as SQLite's signed ones: see `to_signed`."""

RAFT_LOG_TABLES: Final = {
    "identity": (
        "CREATE TABLE identity (id INTEGER PRIMARY KEY CHECK (id = 1), member_id INTEGER NOT NULL,"
        " cluster_id INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT"
    ),
    "hard_state": (
        "CREATE TABLE hard_state (id INTEGER PRIMARY KEY CHECK (id = 1), term INTEGER NOT NULL, vote INTEGER NOT NULL,"
        ' "commit" INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT'
    ),
    "snapshot": (
        'CREATE TABLE snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), "index" INTEGER NOT NULL, term INTEGER NOT NULL,'
        " conf_state TEXT NOT NULL, crc INTEGER NOT NULL) STRICT"
    ),
    "base": (
        'CREATE TABLE base (id INTEGER PRIMARY KEY CHECK (id = 1), "index" INTEGER NOT NULL, term INTEGER NOT NULL,'
        " chain INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT"
    ),
    "entry": (
        'CREATE TABLE entry ("index" INTEGER PRIMARY KEY, term INTEGER NOT NULL, type INTEGER NOT NULL,'
        " data BLOB NOT NULL, chain INTEGER NOT NULL) STRICT"
    ),
}
"""`chain` is the CRC-32C of an entry fed with the one before it; `base` is the last entry that was dropped, where the
chain goes on; `crc` covers the other columns of its row."""

TABLES: Final = {FileKind.STATE: STATE_TABLES, FileKind.RAFT_LOG: RAFT_LOG_TABLES}


class Meta:
    """Names in the table `meta` of a state; integers unless said otherwise. Absent means never set."""

    CONSISTENT_INDEX: Final = "consistent_index"
    TERM: Final = "term"
    SCHEDULED_COMPACTION: Final = "scheduled_compaction"
    FINISHED_COMPACTION: Final = "finished_compaction"
    CONF_STATE: Final = "conf_state"  # text: the raft configuration as of the consistent index, `encode_conf_state`
    CLUSTER_VERSION: Final = "cluster_version"  # text, "3.5.0"
    DOWNGRADE_TARGET: Final = "downgrade_target"  # text, while a downgrade is under way
    LOCAL: Final = frozenset({CONSISTENT_INDEX, TERM, FINISHED_COMPACTION})
    """What may differ between members with the same keys, and so stays out of the content hash."""


# --- revisions -------------------------------------------------------------------------------------------------------

SUB_BITS: Final = 23
MAIN_MAX: Final = (1 << 40) - 1
SUB_MAX: Final = (1 << SUB_BITS) - 1
FRESH_REVISION: Final = Revision(1)
"""The revision of a store nobody has written to."""
NEVER_COMPACTED: Final = Revision(-1)
"""The compact revision before the first compaction, as etcd reports it."""


class RevisionLimit(EtcdopsError):
    """A revision that does not fit: 2^40 - 1 transactions in a cluster's life, 2^23 changes in one transaction."""

    code = "revision-limit"


class RevisionPair(NamedTuple):
    """Which transaction (main) and which change in it (sub, from 0)."""

    main: int
    sub: int


def encode_revision(main: int, sub: int = 0) -> int:
    """The 63-bit integer `revision.rev`: it sorts as (main, sub) does.

    Raises: RevisionLimit when main is outside [0, MAIN_MAX] or sub outside [0, SUB_MAX].
    """
    if not (0 <= main <= MAIN_MAX and 0 <= sub <= SUB_MAX):
        raise RevisionLimit(
            f"revision {main}.{sub} cannot be stored",
            cause=f"main goes to {MAIN_MAX} and sub to {SUB_MAX}",
            hint="split the transaction; a cluster at its last main revision needs a restore into a new one",
        )
    return main << SUB_BITS | sub


def decode_revision(rev: int) -> RevisionPair:
    """The inverse of `encode_revision`."""
    return RevisionPair(rev >> SUB_BITS, rev & SUB_MAX)


def to_signed(number: int) -> int:
    """An unsigned 64-bit ID as the signed integer SQLite stores."""
    return number - (1 << 64) if number >= 1 << 63 else number


def to_unsigned(number: int) -> int:
    """The inverse of `to_signed`."""
    return number & 0xFFFF_FFFF_FFFF_FFFF


# --- files -----------------------------------------------------------------------------------------------------------


def create_tables(connection: apsw.Connection, kind: FileKind) -> None:
    """Make an empty database into a file of this kind and of the newest schema version."""
    for statement in TABLES[kind].values():
        connection.execute(statement)
    connection.pragma("application_id", kind.value)
    connection.pragma("user_version", SCHEMA_VERSION)


def schema_problem(connection: apsw.Connection, kind: FileKind) -> str:
    """Why this database is not a file of `kind` that this version can use; empty when it is one.

    The whole schema is compared, not only its version: a file may come from anywhere, and a trigger or a view in it
    would run inside the member.
    """
    application_id = connection.pragma("application_id")
    if application_id != kind.value:
        return _stranger(connection, application_id, kind)
    version = connection.pragma("user_version")
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        return f"it has schema version {version}; this etcdops knows {SCHEMA_VERSION}" + (
            " (a newer etcdops wrote it)" if newer else ""
        )
    found = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))
    if found != TABLES[kind]:
        names = sorted(name for name in found.keys() | TABLES[kind].keys() if found.get(name) != TABLES[kind].get(name))
        return f"its tables are not those of schema version {SCHEMA_VERSION}: {', '.join(names)}"
    return ""


def _stranger(connection: apsw.Connection, application_id: object, kind: FileKind) -> str:
    for other in FileKind:
        if application_id == other.value:
            return f"it is the {other.title}, not the {kind.title}"
    empty = next(connection.execute("SELECT count(*) FROM sqlite_schema")) == (0,)
    if empty and application_id == 0:
        return "it is an empty database"
    return f"it is the SQLite database of another program (application id {application_id})"
