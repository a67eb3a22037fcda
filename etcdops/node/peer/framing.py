"""How messages follow one another on a stream: bytes in, messages out and back, without any I/O.

Two streams exist. `message` carries every kind: 8 bytes of length (big-endian), then the message. `msgapp` carries
MsgApp in a shorter form: as long as a leader replicates, the next message's term and index follow from the one before,
so both sides keep them as state and only entries and commit index travel.

    0                                                            link heartbeat
    1  count  { size  entry } * count  commit                    entries at the implied term and index
    2  size   message                                            a whole message; sets the implied term and index

Sources: etcd server/etcdserver/api/rafthttp/msg_codec.go and msgappv2_codec.go.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from typing import Protocol

from etcdops.ids import LogIndex, MemberID, Term
from etcdops.node.peer import codec
from etcdops.node.peer.codec import MalformedMessage
from etcdops.node.raft.types import Entry, Message, MessageType

MESSAGE_BYTES_MAX = 512 * 1024 * 1024
"""The longest message or record taken from a peer, etcd's readBytesLimit. It is never reserved: memory grows only with
the bytes that arrive.
"""

ENTRIES_MAX = 1 << 18
"""The most entries taken in one record. A sender fills a message up to 1 MiB, and no entry takes less than 6 bytes."""

_LENGTH = struct.Struct(">Q")
_HEARTBEAT, _ENTRIES, _MESSAGE = 0, 1, 2


class FramingError(MalformedMessage):
    """The stream is not what it should be; nothing more can be read from it."""


class Encoder(Protocol):
    """One connection's way to write messages. It has state: what it returns must all be sent, in that order."""

    heartbeat: bytes

    def encode(self, message: Message) -> bytes:
        """The bytes that carry `message`."""


class MessageEncoder:
    """Writer of the `message` stream."""

    heartbeat = _LENGTH.pack(30) + codec.encode_message(Message(MessageType.HEARTBEAT))

    def encode(self, message: Message) -> bytes:
        """The bytes that carry `message`, of any kind."""
        data = codec.encode_message(message)
        return _LENGTH.pack(len(data)) + data


class MsgAppEncoder:
    """Writer of the `msgapp` stream."""

    heartbeat = bytes((_HEARTBEAT,))

    def __init__(self) -> None:
        self._term = Term(0)
        self._index = LogIndex(0)

    def encode(self, message: Message) -> bytes:
        """The bytes that carry `message`, a MsgApp."""
        entries = message.entries
        if message.index == self._index and message.log_term == self._term == message.term:
            self._index = LogIndex(self._index + len(entries))
            parts = [b"\x01", _LENGTH.pack(len(entries))]
            for entry in entries:
                data = codec.encode_entry(entry)
                parts += (_LENGTH.pack(len(data)), data)
            parts.append(_LENGTH.pack(message.commit))
            return b"".join(parts)
        self._term = message.term
        self._index = entries[-1].index if entries else message.index
        data = codec.encode_message(message)
        return b"\x02" + _LENGTH.pack(len(data)) + data


_Parser = Generator[int, bytes, None]
"""Yields how many bytes it needs next and is sent exactly those."""


class Decoder:
    """One connection's way to read messages: bytes in as they arrive, in any portions, whole messages out."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._chunks: list[bytes] = []
        self._held = 0
        self._parser = self._parse()
        self._wanted = next(self._parser)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes, link heartbeats left out.

        Raises: FramingError or MalformedMessage; the stream must then be closed.
        """
        self._chunks.append(data)
        self._held += len(data)
        if self._held < self._wanted:
            return []
        # Joined only once a whole piece is there, so that a long message is not copied again with every portion.
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        position, available, wanted, advance = 0, self._held, self._wanted, self._parser.send
        while available - position >= wanted:
            end = position + wanted
            wanted = advance(data[position:end])
            position = end
        self._wanted = wanted
        self._chunks = [data[position:]]
        self._held = available - position
        messages, self._messages = self._messages, []
        return messages

    def _parse(self) -> _Parser:
        raise NotImplementedError


class MessageDecoder(Decoder):
    """Reader of the `message` stream."""

    def _parse(self) -> _Parser:
        while True:
            (size,) = _LENGTH.unpack((yield _LENGTH.size))
            message = codec.decode_message((yield _bounded(size)))
            if message.from_ or message.to or message.type is not MessageType.HEARTBEAT:
                self._messages.append(message)


class MsgAppDecoder(Decoder):
    """Reader of the `msgapp` stream that `remote` writes to `local`."""

    def __init__(self, local: MemberID, remote: MemberID) -> None:
        self._local = local
        self._remote = remote
        self._term = Term(0)
        self._index = LogIndex(0)
        super().__init__()

    def _parse(self) -> _Parser:
        while True:
            (kind,) = yield 1
            if kind == _ENTRIES:
                yield from self._parse_entries()
            elif kind == _MESSAGE:
                (size,) = _LENGTH.unpack((yield _LENGTH.size))
                message = codec.decode_message((yield _bounded(size)))
                self._term = message.term
                self._index = message.entries[-1].index if message.entries else message.index
                self._messages.append(message)
            elif kind != _HEARTBEAT:
                raise FramingError(f"failed to parse type {kind} in msgappv2 stream")

    def _parse_entries(self) -> _Parser:
        term, first = self._term, self._index
        if not term:
            raise FramingError("entries before the message that says where they belong")
        (count,) = _LENGTH.unpack((yield _LENGTH.size))
        if count > ENTRIES_MAX:
            raise FramingError(f"{count} entries in one message")
        entries: list[Entry] = []
        total = 0
        for _ in range(count):
            (size,) = _LENGTH.unpack((yield _LENGTH.size))
            total += size
            _bounded(total)
            entries.append(codec.decode_entry((yield size)))
        (commit,) = _LENGTH.unpack((yield _LENGTH.size))
        self._index = LogIndex(first + count)
        self._messages.append(
            Message(
                MessageType.APP,
                to=self._local,
                from_=self._remote,
                term=term,
                log_term=term,
                index=first,
                entries=tuple(entries),
                commit=LogIndex(commit),
            )
        )


def _bounded(size: int) -> int:
    if size > MESSAGE_BYTES_MAX:
        raise FramingError(f"a message of {size} bytes: the limit is {MESSAGE_BYTES_MAX}")
    return size
