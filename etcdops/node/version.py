"""Which etcd the node says it is."""

from __future__ import annotations

SERVER_VERSION = "3.5.21"
"""The etcd release whose v3 API surface, flags and cluster-version rules the node has.

Clients, `etcdctl`, other members and our own console choose what to send by this number, so it must be a real release:
3.5 is the newest line whose API the node has in full (3.6 adds downgrade and storage-version fields).
"""

CLUSTER_VERSION = "3.5.0"
"""The cluster version a cluster of nodes agrees on: major and minor of `SERVER_VERSION`."""

MIN_CLUSTER_VERSION = "3.0.0"
"""The oldest cluster version a member of this release joins. Source: etcd api/version/version.go."""
