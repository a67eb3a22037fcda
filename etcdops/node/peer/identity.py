"""Who talks to whom: the headers of every request between members, and what a member checks in them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from etcdops.ids import ClusterID, MemberID, format_id
from etcdops.node.peer.port import Answer
from etcdops.node.version import MIN_CLUSTER_VERSION
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

INCOMPATIBLE_VERSION = "incompatible version"
CLUSTER_ID_MISMATCH = "cluster ID mismatch"
OLDEST_VERSION = "2.0.0"
"""What a peer without a version header is taken for. Source: etcd server/etcdserver/api/rafthttp/util.go."""

_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:-[0-9A-Za-z.-]{1,64})?(?:\+[0-9A-Za-z.-]{1,64})?")
_ID = re.compile(r"[0-9a-fA-F]{1,16}")


def parse_version(text: str) -> tuple[int, int]:
    """Major and minor of a semantic version; the rest plays no part between members. Raises: ValueError."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a version: {text[:80]!r}")
    return int(match[1]), int(match[2])


def parse_id(text: str) -> int:
    """An ID in hex, as `format_id` writes it. Raises: ValueError. Source: etcd client/pkg/types/id.go, IDFromString."""
    if not _ID.fullmatch(text):
        raise ValueError(f"not an ID: {text[:80]!r}")
    return int(text, 16)


@dataclass(frozen=True)
class Identity:
    """This member, as it presents itself to the others."""

    member_id: MemberID
    cluster_id: ClusterID
    peer_urls: tuple[str, ...]
    version: str

    @cached_property
    def name(self) -> str:
        """The member ID as it is written in paths, headers and logs."""
        return format_id(self.member_id)

    @cached_property
    def cluster(self) -> str:
        """The cluster ID as it is written in headers and logs."""
        return format_id(self.cluster_id)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """What every request to another member carries.

        Source: etcd server/etcdserver/api/rafthttp/util.go, createPostRequest.
        """
        return {
            "X-Server-From": self.name,
            "X-Server-Version": self.version,
            "X-Min-Cluster-Version": MIN_CLUSTER_VERSION,
            "X-Etcd-Cluster-ID": self.cluster,
            "X-PeerURLs": ",".join(self.peer_urls),
        }

    def refusal(self, headers: Mapping[str, str]) -> Answer | None:
        """Why a request with these headers is not for us; None when it is.

        A version that cannot be read is 400 (etcd panics on it). Source: etcd server/etcdserver/api/rafthttp/http.go,
        checkClusterCompatibilityFromHeader.
        """
        remote_version = headers.get("X-Server-Version", OLDEST_VERSION)
        remote_minimum = headers.get("X-Min-Cluster-Version", OLDEST_VERSION)
        remote_name = headers.get("X-Server-From", "")
        seen = {
            "local-member-id": self.name,
            "local-member-cluster-id": self.cluster,
            "local-member-server-version": self.version,
            "local-member-server-minimum-cluster-version": MIN_CLUSTER_VERSION,
            "remote-peer-server-name": remote_name,
            "remote-peer-server-version": remote_version,
            "remote-peer-server-minimum-cluster-version": remote_minimum,
        }
        try:
            too_low = parse_version(remote_version) < parse_version(MIN_CLUSTER_VERSION)
            too_new = parse_version(remote_minimum) > parse_version(self.version)
        except ValueError as error:
            _logger.warning("failed to check version compatibility", extra=fields(seen, error=str(error)))
            return Answer(400, b"invalid version")
        if too_low or too_new:
            side = "remote" if too_low else "local"
            reason = f"{side} version is too low: remote[{remote_name}]={remote_version}, local={self.version}"
            _logger.warning("failed to check version compatibility", extra=fields(seen, error=reason))
            return Answer(412, INCOMPATIBLE_VERSION.encode())
        remote_cluster = headers.get("X-Etcd-Cluster-ID", "")
        if remote_cluster != self.cluster:
            _logger.warning("request cluster ID mismatch", extra=fields(seen, remote_peer_cluster_id=remote_cluster))
            return Answer(412, CLUSTER_ID_MISMATCH.encode())
        return None
