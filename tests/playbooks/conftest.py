"""Fixtures of the playbook tests."""

from __future__ import annotations

from tests.playbooks.clusters import broken, local_cluster

__all__ = ["broken", "local_cluster"]
