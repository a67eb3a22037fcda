"""How clients get into a cluster with TLS that was found: files that are there, or what is to be done."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from etcdops.services.importing.access import access_of, client_files
from etcdops.services.importing.evidence import Evidence, HostFound, Plain
from etcdops.services.port import Origin, ProcessConfig, Setting
from tests.fakes.session import FakeSession

PKI = "/etc/kubernetes/pki/etcd"
FOUND = {"cacert": f"{PKI}/ca.crt", "cert": f"{PKI}/healthcheck-client.crt", "key": f"{PKI}/healthcheck-client.key"}
TLS: Mapping[str, Plain] = {"client": True, "client_cert_auth": True, "files": {}}


def config(**flags: str) -> ProcessConfig:
    return ProcessConfig("etcd", {name.replace("_", "-"): Setting(value, Origin.FLAG) for name, value in flags.items()})


@pytest.mark.parametrize(("there", "found"), [(tuple(FOUND.values()), FOUND), ((FOUND["cert"],), {}), ((), {})])
async def test_kubeadms_certificate_for_probes_is_for_clients(there: tuple[str, ...], found: Mapping[str, str]) -> None:
    """With its key, beside the member's own."""
    session = FakeSession(files=dict.fromkeys(there, "x"))
    settings = config(trusted_ca_file=f"{PKI}/ca.crt", cert_file=f"{PKI}/server.crt")
    assert await client_files(session, settings) == found
    assert await client_files(session, config(cert_file=f"{PKI}/server.crt")) == {}


@pytest.mark.parametrize(
    ("entry", "tls", "access", "note"),
    [
        ({"local": True}, TLS, FOUND, ""),
        ({"ssh": {"user": "ops"}}, TLS, {}, f"scp ops@10.0.0.1:{PKI}/ca.crt ops@10.0.0.1:{PKI}/healthcheck-client.crt"),
        ({}, TLS, {}, f"scp 10.0.0.1:{PKI}/ca.crt"),
        (None, TLS, {}, "get what the cluster's authority signed, and write them under `access`"),
        (None, {"client": True}, {}, "as cacert"),
        (None, {"client": True, "directory": "/etc/etcd/tls"}, {}, ""),
        (None, {"client": False}, {}, ""),
    ],
)
def test_access_is_written_where_the_files_are_and_else_told(
    entry: Mapping[str, Plain] | None, tls: Mapping[str, Plain], access: Mapping[str, str], note: str
) -> None:
    """On a member's own host they are at hand; our own authority's are found by themselves."""
    host = HostFound("cp-1", "10.0.0.1", entry) if entry is not None else None
    notes: list[str] = []
    assert (
        access_of([Evidence(config(), "x", host=host, client_files=FOUND if host else {})], tls, notes.append) == access
    )
    assert note in "".join(notes)
    assert bool(notes) == bool(note)
