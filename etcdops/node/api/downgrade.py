"""The Downgrade call as etcd 3.5 answers it: it is checked and written down, and the cluster's operators do the rest.

Source: etcd server/etcdserver/v3_server.go, downgradeValidate to downgradeCancel.
"""

from __future__ import annotations

import re
from functools import partial

from etcdops.node.api.answer import Answer, decode
from etcdops.node.api.errors import (
    CLUSTER_VERSION_UNAVAILABLE,
    DOWNGRADE_IN_PROCESS,
    INVALID_DOWNGRADE_TARGET_VERSION,
    NO_INFLIGHT_DOWNGRADE,
    UNKNOWN_METHOD,
    WRONG_DOWNGRADE_VERSION_FORMAT,
    EtcdError,
)
from etcdops.node.api.port import ServerPort
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import FIELD_DOWNGRADE_INFO_SET, delimited
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import membershippb_pb2 as membershippb

_VERSION_TAG = b"\x12"
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)?")


class Downgrade:
    """Handler of etcdserverpb.Maintenance/Downgrade."""

    def __init__(self, server: ServerPort) -> None:
        self._server = server

    def handle(self, message: bytes, answer: Answer) -> None:
        request = decode(pb.DowngradeRequest, message)
        match request.action:
            case pb.DowngradeRequest.VALIDATE | pb.DowngradeRequest.ENABLE:
                target = cluster_version_of(request.version)
                if target is None:
                    answer.fail(WRONG_DOWNGRADE_VERSION_FORMAT)
                else:
                    enable = request.action == pb.DowngradeRequest.ENABLE
                    self._server.linearize(partial(self._validated, target, enable, answer))
            case pb.DowngradeRequest.CANCEL:
                self._server.linearize(partial(self._cancel, answer))
            case _:
                answer.fail(UNKNOWN_METHOD)

    def _validated(self, target: tuple[int, int], enable: bool, answer: Answer, error: EtcdError | None) -> None:
        error = error or self._validate(target)
        if error is not None:
            answer.fail(error)
        elif enable:
            self._set(f"{target[0]}.{target[1]}.0", answer)
        else:
            self._answer(answer)

    def _validate(self, target: tuple[int, int]) -> EtcdError | None:
        current = cluster_version_of(self._server.applier.cluster_version)
        if current is None:
            return CLUSTER_VERSION_UNAVAILABLE
        if target != (current[0], current[1] - 1):
            return INVALID_DOWNGRADE_TARGET_VERSION
        return DOWNGRADE_IN_PROCESS if self._server.applier.downgrade_target else None

    def _cancel(self, answer: Answer, error: EtcdError | None) -> None:
        if error is not None:
            answer.fail(error)
        elif not self._server.applier.downgrade_target:
            answer.fail(NO_INFLIGHT_DOWNGRADE)
        else:
            self._set("", answer)

    def _set(self, target: str, answer: Answer) -> None:
        request = membershippb.DowngradeInfoSetRequest(enabled=bool(target), ver=target)
        self._server.propose(FIELD_DOWNGRADE_INFO_SET, request.SerializeToString(), partial(self._was_set, answer))

    def _was_set(self, answer: Answer, outcome: Outcome) -> None:
        if outcome.error is not None:
            answer.fail(outcome.error)
        else:
            self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        answer.ok(delimited(_VERSION_TAG, self._server.applier.cluster_version.encode()))


def cluster_version_of(text: str) -> tuple[int, int] | None:
    """(major, minor) of `3.5`, `3.5.0` and the like; None for anything else.

    Source: etcd server/etcdserver/cluster_util.go, convertToClusterVersion.
    """
    match = _VERSION.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else None
