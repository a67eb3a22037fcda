"""Which authorities a running member takes: proved at its ports, for a file on a disk says nothing about a process.

etcd and the node read whom they trust when they start, and never again.
Source: etcd client/pkg/transport/listener.go, ServerConfig and ClientConfig: NewCertPool.
"""

from __future__ import annotations

from dataclasses import dataclass

from etcdops.certs.authority import Authority
from etcdops.certs.facts import Use
from etcdops.errors import EtcdopsError
from etcdops.inventory.model import PlacedMember
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.playbooks.rolling.member_ports import ask_port, client_url, peer_url
from etcdops.playbooks.rollout.desired import Signer

_PROOF_NAME = "etcdops-proof"
_PROOF_DAYS = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom one port of every member shall take, and whom not."""

    signer: Signer
    taken: Authority
    refused: Authority | None
    """None: nobody in particular, or one whose key is gone, so that nothing can be proved about it."""


async def trust_faults(run: RunHosts, member: PlacedMember, wanted: Wanted) -> list[str]:
    """What a member does otherwise, a sentence each; empty: it trusts as it should.

    Raises: Unreachable - its port, or its host, does not answer.
    """
    url = client_url(member) if wanted.signer is Signer.CLIENT else peer_url(member)
    if not url.startswith("https"):
        return []
    found = []
    if why := await _refusal(run, member, url, wanted.taken):
        found.append(f"its {wanted.signer} port does not take the new authority ({why})")
    if wanted.refused is not None and not await _refusal(run, member, url, wanted.refused):
        found.append(f"its {wanted.signer} port takes the old authority still")
    return found


async def _refusal(run: RunHosts, member: PlacedMember, url: str, authority: Authority) -> str:
    """Why a client with a certificate of this authority is refused; empty: it is let in."""
    shown = authority.issue(Use.CLIENT, _PROOF_NAME, days=_PROOF_DAYS)
    answer = await ask_port(run, member, url, shown)
    return "" if answer.accepted else answer.refusal or "no answer"


async def all_trust_faults(run: RunHosts, member: PlacedMember, wanted: list[Wanted]) -> list[str]:
    """Of all ports; one that does not answer is a fault too."""
    found: list[str] = []
    for one in wanted:
        try:
            found += await trust_faults(run, member, one)
        except EtcdopsError as error:
            found.append(error.message)
    return found
