"""What members tell everybody who may connect: the v3 API, their pages, the certificates on their ports."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography import x509

from etcdops.certs.facts import describe, is_signed_by, read_certificates
from etcdops.certs.wire import dial
from etcdops.client.client import Client
from etcdops.client.metrics import MemberMetrics, NoMetrics
from etcdops.client.pages import Pages
from etcdops.client.settings import ConnectionSettings
from etcdops.client.view import ClusterView, MemberView, observe
from etcdops.doctor.observation import AuthSeen, Observation, SeenCertificate, ServerVersion, Unseen
from etcdops.doctor.words import say
from etcdops.errors import AccessDenied, EtcdopsError, Unreachable
from etcdops.inventory.model import Cluster, PlacedMember

T = TypeVar("T")


async def observe_cluster(
    settings: ConnectionSettings,
    *,
    cluster: Cluster | None = None,
    placed: Sequence[PlacedMember] = (),
    hashes: bool = True,
    sample_s: float = 0.0,
) -> Observation:
    """One look at everything the members tell, the hosts left out. Never raises for what a cluster may do.

    Works with members down and without a quorum. Takes about three times the settings' dial timeout, and `sample_s`.

    Args: cluster, placed - what an inventory wants; hashes - compare the members' data too; sample_s - read metrics
        again after that time: then rates are of that time, not since the members started.
    """
    taken_at = time.time()
    async with Client(settings) as client:
        view = await observe(client, timeout_s=settings.dial_timeout_s, hashes=hashes)
        pages = Pages(settings)
        (metrics, versions, health), (auth, leases), certificates = await asyncio.gather(
            _all_pages(pages, view), _api(client, settings, view), _certificates(settings, view)
        )
        earlier: Mapping[str, MemberMetrics] = {}
        if sample_s > 0:
            await asyncio.sleep(sample_s)
            earlier = {label: one for label, one in metrics.items() if isinstance(one, MemberMetrics)}
            metrics = await _of_each(view, lambda member: pages.metrics(member.endpoint))
    observation = Observation(
        taken_at=taken_at,
        view=view,
        cluster=cluster,
        placed=tuple(placed),
        metrics=metrics,
        earlier_metrics=earlier,
        versions=versions,
        health=health,
        certificates=certificates,
        auth=auth,
        leases=leases,
    )
    return dataclasses.replace(observation, unseen=tuple(_unseen(observation)))


Read = tuple[Mapping[str, MemberMetrics | NoMetrics], Mapping[str, ServerVersion], Mapping[str, str]]


async def _all_pages(pages: Pages, view: ClusterView) -> Read:
    async def version(member: MemberView) -> ServerVersion | None:
        try:
            return ServerVersion(*await pages.versions(member.endpoint))
        except Unreachable:
            return None

    async def health(member: MemberView) -> str | None:
        try:
            return await pages.trouble(member.endpoint)
        except Unreachable:
            return None

    metrics, versions, troubles = await asyncio.gather(
        _of_each(view, lambda member: pages.metrics(member.endpoint)),
        _of_each(view, version),
        # /health reads through the quorum: without one it can only time out
        _of_each(view if view.has_quorum else dataclasses.replace(view, members=()), health),
    )
    return metrics, _known(versions), _known(troubles)


async def _of_each(view: ClusterView, read: Callable[[MemberView], Awaitable[T]]) -> dict[str, T]:
    members = [member for member in view.answering if member.endpoint]
    return dict(zip((m.label for m in members), await asyncio.gather(*map(read, members)), strict=True))


def _known(found: Mapping[str, T | None]) -> dict[str, T]:
    return {label: value for label, value in found.items() if value is not None}


async def _api(client: Client, settings: ConnectionSettings, view: ClusterView) -> tuple[AuthSeen | None, int | None]:
    """(authentication, number of leases); neither without a quorum, through which both are asked."""
    if not view.has_quorum:
        return None, None
    timeout_s = settings.dial_timeout_s

    async def auth() -> AuthSeen | None:
        try:
            said = await client.auth.status(timeout=timeout_s)
        except AccessDenied:
            return AuthSeen(enabled=True)
        except EtcdopsError:
            return None  # before 3.5 there is no such question
        return AuthSeen(enabled=said.enabled, revision=said.authRevision)

    async def leases() -> int | None:
        try:
            return len((await client.lease.leases(timeout=timeout_s)).leases)
        except EtcdopsError:
            return None

    seen, count = await asyncio.gather(auth(), leases())
    return seen or _by_the_probe(settings, view), count


def _by_the_probe(settings: ConnectionSettings, view: ClusterView) -> AuthSeen | None:
    """Members before 3.5 do not tell; but who is nobody and may read through the quorum was not asked who he is."""
    nobody = not settings.username and not settings.cert
    return AuthSeen(enabled=False) if nobody and view.serves_linearizable else None


async def _certificates(settings: ConnectionSettings, view: ClusterView) -> tuple[SeenCertificate, ...] | None:
    """What each endpoint presents, whoever answers there; None: no endpoint speaks TLS."""
    labels = {member.endpoint: member.label for member in view.members}
    urls = [one.endpoint for one in view.endpoints if one.endpoint.startswith("https://")]
    if not urls:
        return None
    trusted = _trusted(settings)
    seen = await asyncio.gather(*(_certificate(settings, url, labels.get(url, url), trusted) for url in urls))
    return tuple(one for one in seen if one is not None)


def _trusted(settings: ConnectionSettings) -> list[x509.Certificate]:
    """The authorities we were told to trust; none: those of this machine, which are not looked through here."""
    if not settings.cacert:
        return []
    try:
        return read_certificates(Path(settings.cacert).read_bytes(), source=settings.cacert)
    except (EtcdopsError, OSError):
        return []


async def _certificate(
    settings: ConnectionSettings, url: str, label: str, trusted: Sequence[x509.Certificate]
) -> SeenCertificate | None:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        shown = await dial(host, port, route=settings.routes.get(url, ""), timeout_s=settings.dial_timeout_s)
    except EtcdopsError:
        return None  # the path says it
    if shown.certificate is None:
        return None
    return SeenCertificate(
        where=say("place.port", member=label, port=port) if label != url else url,
        member=label,
        use="server",
        facts=describe(shown.certificate),
        hosts=(settings.server_name or host,),
        trusted=any(is_signed_by(shown.certificate, one) for one in trusted) if trusted else None,
    )


def _unseen(observation: Observation) -> Iterable[Unseen]:
    view = observation.view
    for label, reading in observation.metrics.items():
        if isinstance(reading, NoMetrics):
            yield Unseen(say("unseen.metrics", member=label), reading.reason, say("unseen.metrics-cost"))
    if view is None or not view.answering:
        return
    for member in view.answering:
        if member.hash is None and member.hash_error:
            what = say("unseen.data", member=member.label)
            yield Unseen(what, member.hash_error, say("unseen.data-next"))
    if not view.has_quorum:
        yield Unseen(say("unseen.through-quorum"), say("unseen.no-quorum"), say("unseen.quorum-next"))
    elif observation.auth is None:
        yield Unseen(say("unseen.auth"), say("unseen.auth-why"), say("unseen.auth-next"))
    elif observation.leases is None:
        yield Unseen(say("unseen.leases"), say("unseen.leases-why"), say("reach.credentials"))
