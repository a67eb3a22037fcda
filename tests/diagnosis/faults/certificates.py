"""Peer certificates and schemes: h3 is the one that has it wrong."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Sequence
from dataclasses import replace

from tests.diagnosis.faults.cluster import CLIENT, PKI, FaultCluster, Member
from tests.diagnosis.faults.fault import Fault
from tests.support.certificates import DAY, Authority, KeyPair


def expired(cluster: FaultCluster) -> None:
    """h3's certificate is over since an hour."""
    _issue(cluster, valid_from=-10 * DAY, valid_until=-DAY / 24)


def not_yet_valid(cluster: FaultCluster) -> None:
    """h3's certificate begins tomorrow."""
    _issue(cluster, valid_from=DAY, valid_until=5 * DAY)


def wrong_names(cluster: FaultCluster) -> None:
    """It was made for another machine."""
    _issue(cluster, hosts=("10.99.0.7", "other.example.test"))


def no_names(cluster: FaultCluster) -> None:
    """Only a common name, as certificates were made long ago."""
    _issue(cluster, hosts=())


def wrong_authority(cluster: FaultCluster) -> None:
    """h3 has a certificate of somebody else's authority."""
    other = Authority(cluster.folder / "other", "somebody-else")
    odd = cluster["h3"]
    _use(cluster, other.issue("h3-other", hosts=(odd.address, "h3")))


def trusts_another_authority(cluster: FaultCluster) -> None:
    """h3's own certificate is good, but it knows another authority."""
    other = Authority(cluster.folder / "other", "somebody-else")
    odd = cluster["h3"]
    odd.stop()
    cluster.certify(odd, ca=other.ca)
    odd.start()


def only_for_servers(cluster: FaultCluster) -> None:
    """A member is a client of its peers, too."""
    odd = cluster["h3"]
    _use(cluster, cluster.authority.issue("h3-server", hosts=(odd.address, "h3"), usages=("server",)))


def no_tls_on_one(cluster: FaultCluster) -> None:
    """h3 speaks http, the others https."""
    odd = cluster["h3"]
    url = f"http://{odd.address}:2380"
    odd.configure(listen_peer_urls=url)
    odd.restart()


def tls_on_one_only(cluster: FaultCluster) -> None:
    """h3 was given https on its own."""
    odd = cluster["h3"]
    cluster.certify(odd)
    odd.configure(
        listen_peer_urls=f"https://{odd.address}:2380",
        peer_trusted_ca_file=f"{PKI}/ca.pem",
        peer_cert_file=f"{PKI}/peer.crt",
        peer_key_file=f"{PKI}/peer.key",
    )
    odd.restart()


def key_of_another(cluster: FaultCluster) -> None:
    """Certificate and key do not belong together."""
    odd = cluster["h3"]
    pairs = [cluster.authority.issue(name, hosts=(odd.address, "h3")) for name in ("one", "another")]
    _use(cluster, replace(pairs[0], key=pairs[1].key))


def no_certificate_file(cluster: FaultCluster) -> None:
    """h3's certificate was deleted."""
    odd = cluster["h3"]
    odd.stop()
    odd.run(f"rm {PKI}/peer.crt")
    odd.start()


def key_nobody_may_read(cluster: FaultCluster) -> None:
    """It is root's, and etcd runs as etcd."""
    odd = cluster["h3"]
    odd.stop()
    odd.run(f"chown root:root {PKI}/peer.key")
    odd.start()


def client_without_certificate(cluster: FaultCluster) -> None:
    """An application knows the authority, but has nothing to show."""
    odd = _with_client_tls(cluster)
    for _ in range(3):
        _shake_hands(odd, ssl.create_default_context(cafile=str(cluster.authority.ca)))


def client_of_old_tls(cluster: FaultCluster) -> None:
    """An application that knows TLS 1.1 only."""
    odd = _with_client_tls(cluster)
    command = f"openssl s_client -tls1_1 -cipher 'ALL:@SECLEVEL=0' -connect {odd.address}:{CLIENT} </dev/null"
    for _ in range(3):
        odd.run(command, check=False)


def plain_client(cluster: FaultCluster) -> None:
    """An application that says http to a port of https."""
    odd = _with_client_tls(cluster)
    for _ in range(3):
        with socket.create_connection((odd.address, CLIENT), timeout=5) as connection:
            connection.sendall(b"GET /version HTTP/1.1\r\nHost: etcd\r\n\r\n")
            connection.recv(100)


def tcp_checks(cluster: FaultCluster) -> None:
    """A load balancer that opens and closes the port."""
    odd = _with_client_tls(cluster)
    for _ in range(5):
        socket.create_connection((odd.address, CLIENT), timeout=5).close()


def _with_client_tls(cluster: FaultCluster) -> Member:
    odd = cluster["h3"]
    cluster.certify(odd)
    odd.stop()
    odd.configure(
        listen_client_urls=f"https://{odd.address}:{CLIENT}",
        advertise_client_urls=f"https://{odd.address}:{CLIENT}",
        cert_file=f"{PKI}/peer.crt",
        key_file=f"{PKI}/peer.key",
        trusted_ca_file=f"{PKI}/ca.pem",
        client_cert_auth="true",
    )
    odd.start(wait=True)
    return odd


def _shake_hands(member: Member, context: ssl.SSLContext) -> None:
    with socket.create_connection((member.address, CLIENT), timeout=5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=member.address) as connection:
                connection.recv(1)
        except OSError:
            return


def _issue(
    cluster: FaultCluster,
    hosts: Sequence[str] | None = None,
    valid_from: datetime.timedelta = -DAY,
    valid_until: datetime.timedelta = DAY,
) -> None:
    names = (cluster["h3"].address, "h3") if hosts is None else hosts
    _use(cluster, cluster.authority.issue("h3-odd", hosts=names, valid_from=valid_from, valid_until=valid_until))


def _use(cluster: FaultCluster, pair: KeyPair) -> None:
    odd = cluster["h3"]
    odd.stop()
    cluster.certify(odd, pair)
    odd.start()


FAULTS = (
    Fault("tls-expired", expired, tls=True, live="E611 h3"),
    Fault("tls-expired", not_yet_valid, "not-yet", tls=True),
    Fault("tls-san-mismatch", wrong_names, tls=True, live="E613 h3"),
    Fault("tls-san-mismatch", no_names, "no-names", tls=True),
    Fault("tls-unknown-ca", wrong_authority, tls=True),
    Fault("tls-unknown-ca", trusts_another_authority, "trust", tls=True),
    Fault("tls-key-usage", only_for_servers, tls=True),
    Fault("tls-plaintext-mismatch", no_tls_on_one, tls=True),
    Fault("tls-plaintext-mismatch", tls_on_one_only, "https-on-one"),
    Fault("tls-plaintext-mismatch", plain_client, "client", logs=("h3",)),
    Fault("tls-file-error", key_of_another, "key", tls=True),
    Fault("tls-file-error", no_certificate_file, tls=True),
    Fault("tls-file-error", key_nobody_may_read, "permission", tls=True),
    Fault("tls-bad-certificate", client_without_certificate, logs=("h3",)),
    Fault("tls-handshake-failed", client_of_old_tls, logs=("h3",)),
    Fault("client-disconnect-noise", tcp_checks, logs=("h3",)),
)
