"""What a recorded member told the other members, read from the bytes it sent them."""

from __future__ import annotations

from etcdops.node.peer.codec import MalformedMessage
from etcdops.node.peer.framing import MessageDecoder
from etcdops.node.raft.types import Message, MessageType
from tests.power.history import Promise


class PeerStream:
    """One connection that another member opened to hear from it: an HTTP/1.1 response without end."""

    def __init__(self) -> None:
        self._unread = b""
        self._decoder: MessageDecoder | None = None
        self._chunked = False
        self._other = False

    def feed(self, data: bytes) -> Promise:
        """What these bytes promise."""
        self._unread += data
        if self._decoder is None:
            head, end, rest = self._unread.partition(b"\r\n\r\n")
            if not end:
                return Promise()
            self._chunked = b"chunked" in head.lower()
            self._decoder, self._unread = MessageDecoder(), rest
        promise = Promise()
        if self._other:
            return promise
        try:
            for message in self._decoder.feed(self._body()):
                promise |= _promise(message)
        except (MalformedMessage, ValueError):
            self._other = True  # the answer to another question, or the stream of appends
        return promise

    def _body(self) -> bytes:
        if not self._chunked:
            body, self._unread = self._unread, b""
            return body
        body = b""
        while b"\r\n" in self._unread:
            size, _, rest = self._unread.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            body += rest[:length]
            self._unread = rest[length + 2 :]
        return body


def _promise(message: Message) -> Promise:
    """Only what takes the disk: a term in a pre-vote is a question, not a promise."""
    if message.type is MessageType.APP_RESP and not message.reject:
        return Promise(entries=message.index, term=message.term)
    if message.type is MessageType.VOTE_RESP and not message.reject:
        return Promise(term=message.term, vote=(message.term, message.to))
    if message.type is MessageType.VOTE:
        return Promise(term=message.term, vote=(message.term, message.from_))  # who asks for votes has given its own
    return Promise()
