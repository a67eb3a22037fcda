"""An inventory with nothing left to defaults, as plain values. Written as YAML it is an inventory again, and the same.

Secrets are there as the sources they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from etcdops.inventory.model import Cluster, Inventory, Member, place

Plain = None | bool | int | float | str | Sequence["Plain"] | Mapping[str, "Plain"]

_KEYS = {"name"}
"""Of hosts and clusters: the key they stand under says it."""


def filled(inventory: Inventory) -> dict[str, dict[str, dict[str, Plain]]]:
    """`{"hosts": {name: ...}, "clusters": {name: ...}}` of strings, numbers, lists and mappings."""
    hosts = {name: _plain(host, _KEYS) | {"address": host.reached_at} for name, host in inventory.hosts.items()}
    clusters = {name: _cluster(inventory, cluster) for name, cluster in inventory.clusters.items()}
    return {"hosts": hosts, "clusters": clusters}


def _cluster(inventory: Inventory, cluster: Cluster) -> dict[str, Plain]:
    members = [_member(inventory, cluster, member) for member in cluster.members]
    return _plain(cluster, _KEYS) | {"token": cluster.initial_cluster_token, "members": members}


def _member(inventory: Inventory, cluster: Cluster, member: Member) -> dict[str, Plain]:
    placed = place(inventory, cluster, member)
    found: dict[str, Plain] = {
        "name": placed.name,
        "host": member.host,
        "data_dir": placed.data_dir,
        "wal_dir": placed.wal_dir,
        "listen_client_urls": list(placed.listen_client_urls),
        "advertise_client_urls": list(placed.advertise_client_urls),
        "listen_peer_urls": list(placed.listen_peer_urls),
        "initial_advertise_peer_urls": list(placed.initial_advertise_peer_urls),
        "listen_metrics_urls": list(placed.listen_metrics_urls),
        "settings": dict(placed.settings),
        "tags": dict(member.tags),
    }
    return {key: value for key, value in found.items() if value not in ("", [], {})}


def _plain(model: BaseModel, without: set[str]) -> dict[str, Plain]:
    plain = model.model_dump(mode="json", exclude_none=True, exclude=without)
    return {key: value for key, value in plain.items() if not isinstance(value, Mapping) or value}
