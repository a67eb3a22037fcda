"""Ranges of many keys, read on a background thread: a second on the event loop would cost a leader its followers.

Source: etcd answers every range on a goroutine of its own; the event loop must choose.
"""

from __future__ import annotations

from etcdops.ids import Revision
from etcdops.node.api.answer import Answer
from etcdops.node.api.port import ServerPort
from etcdops.node.api.store_errors import store_error
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.ranges import range_outcome
from etcdops.node.storage.errors import StorageFailed
from etcdops.node.storage.mvcc import RangeResult
from etcdops.node.storage.reader import StateReader
from etcdops.proto import etcdserverpb_pb2 as pb

KEYS_ON_THE_LOOP_MAX = 5000
"""At less than a microsecond each; a range of more goes to a thread."""


def is_long(server: ServerPort, request: pb.RangeRequest) -> bool:
    """Whether the range may have to read more keys than the loop has time for. Counting alone is quick enough."""
    if not request.range_end or request.count_only:
        return False
    if 0 < request.limit < KEYS_ON_THE_LOOP_MAX and not _reads_all(request):
        return False
    return server.state.mvcc.longer_than(request.key, request.range_end, KEYS_ON_THE_LOOP_MAX)


def _reads_all(request: pb.RangeRequest) -> bool:
    """A sort or a filter reads everything before the limit counts."""
    return bool(
        request.sort_order
        or request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def answer_long(server: ServerPort, request: pb.RangeRequest, answer: Answer) -> None:
    """Answer from what is applied now or a little later; what was committed to the store a moment ago is in it."""
    try:
        server.state.commit()
    except StorageFailed as error:
        answer.fail(store_error(error))
        return
    path = server.state.path

    def work() -> Outcome:
        with StateReader(path) as reader:
            return range_outcome(_ReaderView(reader), request)

    def done(outcome: Outcome | None, error: BaseException | None) -> None:
        if outcome is None:
            answer.fail(store_error(error))
        else:
            answer.outcome(outcome)

    server.run_in_background(work, done)


class _ReaderView:
    """A StateReader as `range_outcome` wants it."""

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader

    @property
    def revision(self) -> Revision:
        return self._reader.revision

    def range(
        self, key: bytes, range_end: bytes, *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        return self._reader.range(key, range_end, revision=revision, limit=limit)
