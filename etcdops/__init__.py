"""etcdops: the operator's console for etcd clusters."""

from __future__ import annotations

__version__ = "0.1.0"
