"""Certificates where they are: on members' ports and in files."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from etcdops.certs.facts import EXPIRES_SOON, CertificateFacts, Use
from etcdops.doctor.finding import Finding
from etcdops.doctor.observation import Observation, SeenCertificate

_USES = {use.value: use for use in Use}
_RENEW = "etcdops cert renew, or issue it again with the authority that signed it"


def certificates(observation: Observation) -> Iterator[Finding]:
    now = datetime.datetime.fromtimestamp(observation.taken_at, datetime.UTC)
    for seen in observation.certificates or ():
        if seen.facts is None:
            if seen.error:
                yield Finding(
                    "E616",
                    seen.member,
                    f"{seen.where} cannot be used: {seen.error}",
                    "correct path, owner and mode; certificate and key must belong together",
                )
            continue
        yield from _dates(seen, seen.facts, now)
        yield from _fitness(seen, seen.facts)


def _dates(seen: SeenCertificate, facts: CertificateFacts, now: datetime.datetime) -> Iterator[Finding]:
    evidence = (f"{seen.where}: {facts.subject}, {facts.not_before:%Y-%m-%d} to {facts.not_after:%Y-%m-%d %H:%M} UTC",)
    if now >= facts.not_after:
        summary = f"the certificate of {seen.where} expired on {facts.not_after:%Y-%m-%d}"
        yield Finding("E611", seen.member, summary, _RENEW, evidence=evidence)
    elif now < facts.not_before:
        summary = f"the certificate of {seen.where} is valid only from {facts.not_before:%Y-%m-%d %H:%M} UTC on"
        yield Finding("E611", seen.member, summary, f"check the clocks first; {_RENEW}", evidence=evidence)
    elif now >= facts.not_after - EXPIRES_SOON:
        days = (facts.not_after - now).days
        when = "today" if not days else "tomorrow" if days == 1 else f"in {days} days"
        summary = f"the certificate of {seen.where} expires {when}, on {facts.not_after:%Y-%m-%d}"
        yield Finding("W612", seen.member, summary, _RENEW, evidence=evidence)


def _fitness(seen: SeenCertificate, facts: CertificateFacts) -> Iterator[Finding]:
    use = _USES.get(seen.use)
    if use is None:
        return
    names = ", ".join((*facts.names, *facts.addresses)) or "none"
    missing = [host for host in seen.hosts if not facts.covers(host)] if use is not Use.CLIENT else []
    if missing:
        yield Finding(
            "E613",
            seen.member,
            f"the certificate of {seen.where} is not valid for {', '.join(missing)}",
            "issue it again with all names and addresses that members and clients dial in its SAN list",
            evidence=(f"{seen.where}: valid for {names}",),
        )
    if seen.trusted is False:
        yield Finding(
            "E614",
            seen.member,
            f"the certificate of {seen.where} is signed by {facts.issuer}, which the others do not trust",
            "use one authority for all members, or give all of them both: trusted-ca-file may hold several",
            evidence=(f"{seen.where}: issuer {facts.issuer}",),
        )
    # Towards clients etcd's own gateway alone needs more than the server's use.
    needed = ("server",) if use is Use.SERVER else ("client",) if use is Use.CLIENT else ("server", "client")
    lacks = [purpose for purpose in needed if facts.purposes is not None and purpose not in facts.purposes]
    if lacks:
        yield Finding(
            "E615",
            seen.member,
            f"the certificate of {seen.where} is not for {' and '.join(lacks)} use",
            "issue it again with both usages: serverAuth and clientAuth",
            evidence=(f"{seen.where}: usages {', '.join(facts.purposes or ()) or 'none'}",),
        )


CHECKS = (certificates,)
