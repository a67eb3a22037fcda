"""How clients get into a cluster with TLS: by certificates that were found for them, or what is to be done for that."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence

from etcdops.remote.command import ROOT
from etcdops.remote.session import Session
from etcdops.services.importing.evidence import Evidence, Plain
from etcdops.services.port import ProcessConfig

_KUBEADMS = "healthcheck-client"
"""kubeadm's certificate for the probes of etcd. Source: kubernetes cmd/kubeadm/app/phases/certs/certlist.go."""


async def client_files(session: Session, config: ProcessConfig) -> Mapping[str, str]:
    """On the host, those that clients may show: `cacert`, `cert`, `key`; empty: none are seen. No key is read."""
    authority, own = config.value("trusted-ca-file") or "", config.value("cert-file") or ""
    if not (authority.startswith("/") and own.startswith("/")):
        return {}
    pair = {name: posixpath.join(posixpath.dirname(own), f"{_KUBEADMS}.{end}") for name, end in
            (("cert", "crt"), ("key", "key"))}  # fmt: skip
    for path in pair.values():
        if await session.stat(path, user=ROOT) is None:
            return {}
    return {"cacert": authority, **pair}


def access_of(
    evidence: Sequence[Evidence], tls: Mapping[str, Plain], note: Callable[[str], None]
) -> Mapping[str, Plain]:
    """The cluster's `access`: files of this machine where it is a member's host; else a note says how to get some.

    A cluster whose files lie as our own authority lays them out has that authority's certificates already.
    """
    if not tls.get("client") or "directory" in tls:
        return {}
    shown = next((one for one in evidence if one.client_files and one.host is not None), None)
    if shown is not None and shown.host is not None and shown.host.entry.get("local"):
        return dict(shown.client_files)
    wanted = "cacert, cert and key" if tls.get("client_cert_auth") else "cacert"
    then = f"and write them under `access` of the cluster as {wanted}"
    if shown is not None and shown.host is not None:
        ssh = shown.host.entry.get("ssh")
        user = ssh.get("user") if isinstance(ssh, dict) else ""
        login = f"{user}@{shown.host.address}" if user else shown.host.address
        copies = " ".join(f"{login}:{path}" for path in shown.client_files.values())
        note(f"clients of this machine have no certificates yet: scp {copies} FOLDER, {then}")
    else:
        note(f"clients of this machine have no certificates yet: get what the cluster's authority signed, {then}")
    return {}
