"""Members of an inventory, for tests of what is rendered for them."""

from __future__ import annotations

from collections.abc import Mapping

from etcdops.inventory.model import Cluster, Host, Inventory
from etcdops.rendering.member import MemberConfig, member_config


def inventory(cluster: Mapping[str, object]) -> tuple[Inventory, Cluster]:
    """Three hosts, and the cluster `prod` with a member on each, but for what `cluster` says."""
    hosts = {f"h{n}": Host(name=f"h{n}", address=f"10.0.0.{n}") for n in (1, 2, 3)}
    described = {"name": "prod", "members": [{"host": name} for name in hosts], **cluster}
    made = Cluster.model_validate(described)
    return Inventory(hosts=hosts, clusters={"prod": made}), made


def config(cluster: Mapping[str, object], **options: object) -> MemberConfig:
    """Of the first member."""
    whole, made = inventory(cluster)
    return member_config(whole, made, made.members[0], **options)  # type: ignore[arg-type]  # passed on as given
