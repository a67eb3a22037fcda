"""What is judged before a rollout, and what comes of it: values for the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from etcdops.facts.host import HostFacts
from etcdops.inventory.model import Cluster
from etcdops.playbooks.rollout.desired import DesiredMember
from etcdops.playbooks.rollout.engine_pack import PythonOf
from etcdops.playbooks.rollout.registry import Registry


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that is not as it should be."""

    id: str
    """Stable, for scripts and `--force-unsafe`."""
    host: str
    """Empty: of the cluster as a whole."""
    what: str
    why: str
    """What would come of it."""
    next_step: str
    overridable: bool = False
    """An operator who knows better may go on."""

    def __str__(self) -> str:
        return f"{self.host}: {self.what}" if self.host else self.what


@dataclass(frozen=True, slots=True)
class Setting:
    """What is judged."""

    cluster: Cluster
    members: Sequence[DesiredMember]
    facts: Mapping[str, HostFacts]
    """By host."""
    here: PythonOf
    """The Python that the bundled node is packed for."""
    registries: Mapping[str, Registry] = field(default_factory=dict)
    """By host: what it is told by the service that members are to find each other with. Empty: nobody has asked."""

    def of(self, member: DesiredMember) -> HostFacts:
        return self.facts[member.host]
