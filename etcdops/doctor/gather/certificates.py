"""Certificates of members: in the files they are told to use, and on their ports where that is another one.

Private keys are looked for and never read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509

from etcdops.certs.facts import Use, describe, is_signed_by, read_certificates
from etcdops.certs.wire import dial
from etcdops.client.view import ClusterView
from etcdops.doctor.finding import CLUSTER
from etcdops.doctor.gather.hosts import folder_prefix
from etcdops.doctor.observation import HostObservation, MemberOnHost, SeenCertificate
from etcdops.doctor.words import say
from etcdops.errors import EtcdopsError
from etcdops.remote.command import ROOT
from etcdops.remote.pool import Open, on_all
from etcdops.remote.session import SeenFile, Session
from etcdops.services.port import State

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # what a member listens on
AUTHORITY = "authority"


@dataclass(frozen=True, slots=True)
class _Kind:
    """The flags of one of etcd's two ports."""

    use: Use
    certificate: str
    key: str
    authority: str
    advertised: str
    listened: str


_KINDS = (
    _Kind(Use.SERVER, "cert-file", "key-file", "trusted-ca-file", "advertise-client-urls", "listen-client-urls"),
    _Kind(
        Use.PEER, "peer-cert-file", "peer-key-file", "peer-trusted-ca-file", "initial-advertise-peer-urls",
        "listen-peer-urls",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Certified:
    """What one member shows on one port, and whom it trusts there."""

    host: str
    member: str
    kind: _Kind
    chain: tuple[x509.Certificate, ...] = ()
    """Of its file: its own first."""
    trusted: tuple[x509.Certificate, ...] = ()
    hosts: tuple[str, ...] = ()
    shown: x509.Certificate | None = None
    """On its port; None: nobody could look."""
    port: int | None = None
    errors: tuple[tuple[str, str], ...] = ()
    """(path, why it cannot be used)."""
    paths: tuple[str, str] = ("", "")
    """Of the certificate and of the authorities."""


async def gather_certificates(
    connect: Open,
    hosts: Mapping[str, HostObservation],
    view: ClusterView | None = None,
) -> tuple[SeenCertificate, ...]:
    """Of all members found on hosts that could be looked at; a host that breaks off now hides no other.

    Whom clients trust is not asked here. Args: view - which URLs members are dialled by.
    """

    async def one(name: str) -> list[_Certified]:
        session = await connect(name)
        return [
            found
            for member in hosts[name].members
            for kind in _KINDS
            if (found := await _look(session, member, kind, view)) is not None
        ]

    seen_on = [name for name, host in hosts.items() if not host.error and host.members]
    found = [one for outcome in await on_all(seen_on, one) for one in outcome.value or ()]
    seen = [certificate for one in found for certificate in _leaves(one, _trust(one, found))]
    return (*seen, *_authorities(found))


async def _look(session: Session, member: MemberOnHost, kind: _Kind, view: ClusterView | None) -> _Certified | None:
    path, key, authority = (member.flag(flag) or "" for flag in (kind.certificate, kind.key, kind.authority))
    if not path:
        return None
    prefix = folder_prefix(member)
    files = await session.look([prefix + one for one in (path, authority) if one.startswith("/")], user=ROOT)
    errors: list[tuple[str, str]] = []
    chain = _read(session.host, files.get(prefix + path), path, errors)
    trusted = _read(session.host, files.get(prefix + authority), authority, errors) if authority else ()
    if key.startswith("/") and await session.stat(prefix + key, user=ROOT) is None:
        errors.append((key, "there is no such file"))
    shown, port = await _shown(session, member, kind)
    return _Certified(
        session.host, member.name, kind, chain, trusted, _dialled_by(member, kind, view), shown, port, tuple(errors),
        (path, authority),
    )  # fmt: skip


def _read(host: str, seen: SeenFile | None, path: str, errors: list[tuple[str, str]]) -> tuple[x509.Certificate, ...]:
    if seen is None or seen.content is None:
        errors.append((path, "there is no such file"))
        return ()
    try:
        return tuple(read_certificates(seen.content, source=f"{host}:{path}"))
    except EtcdopsError as error:
        errors.append((path, error.cause or "no certificate can be read from it"))
        return ()


def _dialled_by(member: MemberOnHost, kind: _Kind, view: ClusterView | None) -> tuple[str, ...]:
    """By its own flags, and by what the cluster's member list tells the others."""
    urls = (member.flag(kind.advertised) or "").split(",")
    for listed in view.members if view is not None else ():
        if listed.name == member.name:
            urls += listed.client_urls if kind.use is Use.SERVER else listed.peer_urls
    return tuple(dict.fromkeys(host for url in urls if (host := urlsplit(url).hostname)))


async def _shown(session: Session, member: MemberOnHost, kind: _Kind) -> tuple[x509.Certificate | None, int | None]:
    """What the running process shows to whoever dials it, asked on its own host."""
    urls = [urlsplit(url) for url in (member.flag(kind.listened) or "").split(",")]
    parts = next((one for one in urls if one.scheme == "https" and one.port), None)
    if parts is None or parts.port is None or member.found.state is not State.RUNNING:
        return None, None
    host = parts.hostname or ""
    try:
        tunnel = await session.tunnel(_EVERYWHERE.get(host, host), parts.port)
        try:
            return (await dial(*tunnel.address)).certificate, parts.port
        finally:
            await tunnel.close()
    except EtcdopsError:
        return None, parts.port  # why it does not answer, the ways between hosts tell


def _trust(one: _Certified, found: Iterable[_Certified]) -> Sequence[Sequence[x509.Certificate]] | None:
    """Whom each of the other members trusts that this one talks to. None: not known."""
    if one.kind.use is Use.SERVER:
        return None
    others = [other.trusted for other in found if other.kind is one.kind and other is not one and other.trusted]
    return others or None


def _leaves(one: _Certified, trust: Sequence[Sequence[x509.Certificate]] | None) -> Iterable[SeenCertificate]:
    for path, error in one.errors:
        yield SeenCertificate(f"{one.host}:{path}", one.member, one.kind.use.value, error=error)
    if one.chain:
        trusted = None if trust is None else all(_reaches(one.chain, bundle) for bundle in trust)
        facts = describe(one.chain[0])
        yield SeenCertificate(f"{one.host}:{one.paths[0]}", one.member, one.kind.use.value, facts, one.hosts, trusted)
    if one.shown is not None and one.shown not in one.chain:
        trusted = None if trust is None else all(_reaches((one.shown, *one.chain), bundle) for bundle in trust)
        where = say("place.port", member=one.member, port=one.port or 0)
        yield SeenCertificate(where, one.member, one.kind.use.value, describe(one.shown), one.hosts, trusted)


def _reaches(chain: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]) -> bool:
    """Whether the first certificate leads to one that is trusted, over those that came with it."""
    current, others = chain[0], list(chain[1:])
    while current not in trusted and not any(is_signed_by(current, one) for one in trusted):
        above = next((one for one in others if is_signed_by(current, one)), None)
        if above is None:
            return False
        others.remove(above)
        current = above
    return True


def _authorities(found: Iterable[_Certified]) -> Iterable[SeenCertificate]:
    """Each once, though every host has a copy."""
    seen: set[str] = set()
    for one in found:
        for certificate in one.trusted:
            facts = describe(certificate)
            if facts.fingerprint not in seen:
                seen.add(facts.fingerprint)
                yield SeenCertificate(f"{one.host}:{one.paths[1]}", CLUSTER, AUTHORITY, facts)
