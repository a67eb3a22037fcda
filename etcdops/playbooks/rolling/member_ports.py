"""A member's ports, asked through its own host: whatever firewall is between, what is asked is that very process."""

from __future__ import annotations

from urllib.parse import urlsplit

from etcdops.certs.authority import Issued
from etcdops.certs.wire import Presented, dial
from etcdops.errors import UsageError
from etcdops.inventory.model import PlacedMember, place
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.secret import Secret

OPERATOR = "operator"
"""Name of the certificate that this machine's clients show: `operator.crt` and `.key` beside the authorities."""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # what a member listens on


async def ask_port(run: RunHosts, member: PlacedMember, url: str, shown: Issued | None) -> Presented:
    """Dial one of the URLs that a member listens on, from its host. Raises: Unreachable, and as opening a session."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    session = await run.session(member.host.name)
    tunnel = await session.tunnel(_EVERYWHERE.get(host, host), parts.port or 0)
    try:
        address, port = tunnel.address
        return await dial(address, port, shown=shown, tls=parts.scheme == "https")
    finally:
        await tunnel.close()


def client_url(member: PlacedMember) -> str:
    """Where a member listens for clients."""
    return next((url for url in member.listen_client_urls if url.startswith("http")), "")


def peer_url(member: PlacedMember) -> str:
    return next((url for url in member.listen_peer_urls if url.startswith("http")), "")


def placed(run: RunHosts, name: str) -> PlacedMember:
    return place(run.inventory, run.cluster, run.member(name))


def operator_pair(run: RunHosts) -> Issued | None:
    """What our own clients show; None: there is none. Raises: UsageError - it cannot be read."""
    certificate, key = (run.pki / f"{OPERATOR}{suffix}" for suffix in (".crt", ".key"))
    try:
        return Issued(certificate.read_bytes(), Secret(key.read_text()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{certificate} and its key cannot be read", cause=error.strerror or str(error)) from error
