"""The Snapshot stream: a consistent image of the member's state in small blobs, and its SHA-256 at the end.

Works on a learner and without a quorum. The image is copied to a file first, on a background thread, so that writes go
on meanwhile and a slow client holds up nothing but itself.
Source: etcd server/etcdserver/api/v3rpc/maintenance.go, maintenanceServer.Snapshot.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError

from etcdops.node.api.errors import MALFORMED_REQUEST
from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.port import ServerPort
from etcdops.node.api.store_errors import store_error
from etcdops.node.api.work_files import WorkFiles
from etcdops.node.apply.wire import delimited, number_field
from etcdops.node.rpc.service import RpcError, StreamCall
from etcdops.node.storage.errors import StorageFailed
from etcdops.node.storage.snapshot_copy import SnapshotInfo
from etcdops.node.zap_log import fields
from etcdops.proto import etcdserverpb_pb2 as pb

log = logging.getLogger(__name__)

BLOB_BYTES = 32 * 1024
_REMAINING_TAG, _BLOB_TAG = b"\x10", b"\x1a"


class SnapshotService:
    """Handler of etcdserverpb.Maintenance/Snapshot."""

    def __init__(self, server: ServerPort, work_files: WorkFiles) -> None:
        self._server = server
        self._work_files = work_files

    def snapshot(self, call: StreamCall, stats: RpcStats) -> None:
        SnapshotSession(self._server, self._work_files.new("snapshot"), call, stats)


class SnapshotSession:
    """One snapshot on its way to one client."""

    def __init__(self, server: ServerPort, path: Path, call: StreamCall, stats: RpcStats) -> None:
        self._server = server
        self._path = path
        self._call = call
        self._stats = stats
        self._file: BinaryIO | None = None
        self._remaining = self._size = 0
        self._digest = hashlib.sha256()
        self._open = True
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
            self._end(MALFORMED_REQUEST())
            return
        except StorageFailed as error:
            self._end(store_error(error)())
            return
        self._server.run_in_background(lambda: state.write_snapshot(self._path), self._copied)

    def _copied(self, info: SnapshotInfo | None, error: BaseException | None) -> None:
        if not self._open:
            self._path.unlink(missing_ok=True)
            return
        if info is None:
            self._end(store_error(error)())
            return
        try:
            self._file = self._path.open("rb")
            # Unlinked while open: whatever happens now, nothing is left behind.
            self._path.unlink()
            self._remaining = self._size = self._file.seek(0, 2)
            self._file.seek(0)
        except OSError as failure:
            self._path.unlink(missing_ok=True)
            self._end(store_error(failure)())
            return
        log.info("sending database snapshot to client", extra=fields(total_bytes=self._size))
        self._pump()

    def _pump(self) -> None:
        """Send until the client has enough for now."""
        while self._file is not None:
            blob = self._file.read(min(BLOB_BYTES, self._remaining))
            if not blob:
                self._finish()
                return
            self._remaining -= len(blob)
            self._digest.update(blob)
            if not self._send(blob):
                return

    def _send(self, blob: bytes) -> bool:
        self._stats.sent += 1
        return self._call.send(number_field(_REMAINING_TAG, self._remaining) + delimited(_BLOB_TAG, blob))

    def _finish(self) -> None:
        self._send(self._digest.digest())
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
        if self._file is not None:
            self._file.close()
            self._file = None
