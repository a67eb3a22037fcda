"""The Snapshot stream: a consistent image of the member's state in small blobs, and its SHA-256 at the end.

Works on a learner and without a quorum. The image is copied to a file, on a background thread, so that writes go on
meanwhile and a slow client holds up nothing but itself; what is copied is sent without waiting for the rest.
Source: etcd server/etcdserver/api/v3rpc/maintenance.go, maintenanceServer.Snapshot.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError

from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.port import ServerPort, TimerHandle
from etcdops.node.api.store_errors import store_error
from etcdops.node.api.undecodable import unreadable_message
from etcdops.node.api.work_files import WorkFiles
from etcdops.node.apply.wire import delimited, number_field
from etcdops.node.rpc.service import RpcError, StreamCall
from etcdops.node.storage.errors import StorageFailed
from etcdops.node.storage.snapshot_copy import SnapshotInfo, unfinished
from etcdops.node.zap_log import fields
from etcdops.proto import etcdserverpb_pb2 as pb

log = logging.getLogger(__name__)

BLOB_BYTES = 32 * 1024
LOOK_EVERY_S = 0.005
"""How often to see whether more was copied, when everything copied so far is sent."""

_REMAINING_TAG, _BLOB_TAG = b"\x10", b"\x1a"


class SnapshotService:
    """Handler of etcdserverpb.Maintenance/Snapshot."""

    def __init__(self, server: ServerPort, work_files: WorkFiles) -> None:
        self._server = server
        self._work_files = work_files

    def snapshot(self, call: StreamCall, stats: RpcStats) -> None:
        SnapshotSession(self._server, self._work_files.new("snapshot"), call, stats)


class _ClientGone(Exception):
    """Nobody wants the rest of the image."""


class SnapshotSession:
    """One snapshot on its way to one client."""

    def __init__(self, server: ServerPort, path: Path, call: StreamCall, stats: RpcStats) -> None:
        self._server = server
        self._path = path
        self._call = call
        self._stats = stats
        self._file: BinaryIO | None = None
        self._sent = 0
        self._open = True
        self._started = server.clock.monotonic()
        self._look: TimerHandle | None = None
        # Written by the copying thread, `_copied` last: what it counts has been hashed and can be read from the file.
        self._digest = hashlib.sha256()
        self._size = self._copied = 0
        call.on_message = self._on_request
        call.on_cancel = self._on_cancel
        call.on_writable = self._pump

    def _on_request(self, message: bytes) -> None:
        self._call.on_message = None
        self._stats.received += 1
        state = self._server.state
        try:
            pb.SnapshotRequest.FromString(message)
            state.commit()
        except DecodeError:
            self._end(unreadable_message(pb.SnapshotRequest, message))
            return
        except StorageFailed as error:
            self._end(store_error(error)())
            return
        self._server.run_in_background(lambda: state.write_snapshot(self._path, self._on_chunk), self._on_copied)
        self._look_later()

    def _on_chunk(self, chunk: bytes, size: int) -> None:
        """On the copying thread."""
        if not self._open:
            raise _ClientGone
        self._digest.update(chunk)
        self._size = size
        self._copied += len(chunk)

    def _on_copied(self, info: SnapshotInfo | None, error: BaseException | None) -> None:
        if info is not None:
            server = self._server
            server.metrics.backend_snapshot_s.observe(server.clock.monotonic() - self._started)
            self._pump()
            # The open file is enough: whatever happens now, nothing is left behind.
            self._path.unlink(missing_ok=True)
        elif self._open:
            self._end(store_error(error)())

    def _look_later(self) -> None:
        if self._look is None:
            self._look = self._server.call_later(LOOK_EVERY_S, self._look_now)

    def _look_now(self) -> None:
        self._look = None
        self._pump()

    def _pump(self) -> None:
        """Send what is copied until the client has enough for now."""
        if not self._open:
            return
        copied = self._copied
        if copied and self._file is None and not self._start(copied):
            return
        while self._file is not None:
            left = self._size - self._sent
            blob_bytes = min(BLOB_BYTES, left)
            if blob_bytes > copied - self._sent:
                break
            if not left:
                self._finish()
                return
            blob = self._file.read(blob_bytes)
            self._sent += blob_bytes
            if not self._send(left - blob_bytes, blob):
                return  # `on_writable` follows
        self._look_later()

    def _start(self, copied: int) -> bool:
        """Open the file, which has its own name only when it is complete. Returns: whether it could be opened."""
        try:
            try:
                self._file = unfinished(self._path).open("rb")
            except FileNotFoundError:
                self._file = self._path.open("rb")
        except OSError as failure:
            self._end(store_error(failure)())
            return False
        log.info("sending database snapshot to client", extra=fields(total_bytes=self._size))
        return True

    def _send(self, remaining: int, blob: bytes) -> bool:
        self._stats.sent += 1
        return self._call.send(number_field(_REMAINING_TAG, remaining) + delimited(_BLOB_TAG, blob))

    def _finish(self) -> None:
        self._send(0, self._digest.digest())
        log.info("successfully sent database snapshot to client", extra=fields(total_bytes=self._size))
        self._stats.ok += 1
        self._close()
        self._call.end()

    def _end(self, error: RpcError) -> None:
        self._stats.count_failed(error.code)
        self._close()
        self._call.end(error)

    def _on_cancel(self) -> None:
        self._stats.count_failed(1)
        self._close()

    def _close(self) -> None:
        self._open = False
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._file is not None:
            self._file.close()
            self._file = None
