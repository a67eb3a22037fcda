"""Certificates where they are: on members' ports and in files."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from etcdops.certs.facts import EXPIRES_SOON, CertificateFacts, Use
from etcdops.doctor.finding import Finding, finding
from etcdops.doctor.observation import Observation, SeenCertificate
from etcdops.doctor.words import Said, say

_USES = {use.value: use for use in Use}


def certificates(observation: Observation) -> Iterator[Finding]:
    now = datetime.datetime.fromtimestamp(observation.taken_at, datetime.UTC)
    for seen in observation.certificates or ():
        if seen.facts is None:
            if seen.error:
                yield finding("E616", seen.member, where=seen.where, reason=seen.error)
            continue
        yield from _dates(seen, seen.facts, now)
        yield from _fitness(seen, seen.facts)


def _dates(seen: SeenCertificate, facts: CertificateFacts, now: datetime.datetime) -> Iterator[Finding]:
    begin, end = facts.not_before.isoformat(), facts.not_after.isoformat()
    evidence = [say("seen.dates", where=seen.where, name=facts.subject, begin=begin, end=end)]
    if now >= facts.not_after:
        yield finding("E611", seen.member, where=seen.where, not_after=end, evidence=evidence)
    elif now < facts.not_before:
        yield finding("E611", seen.member, "early", where=seen.where, not_before=begin, evidence=evidence)
    elif now >= facts.not_after - EXPIRES_SOON:
        when = _when((facts.not_after - now).days)
        yield finding("W612", seen.member, where=seen.where, when=when, not_after=end, evidence=evidence)


def _when(days: int) -> Said:
    if days > 1:
        return say("when.days", days=days)
    return say("when.tomorrow") if days else say("when.today")


def _fitness(seen: SeenCertificate, facts: CertificateFacts) -> Iterator[Finding]:
    use = _USES.get(seen.use)
    if use is None:
        return
    names = (*facts.names, *facts.addresses) or say("none.found")
    missing = tuple(host for host in seen.hosts if not facts.covers(host)) if use is not Use.CLIENT else ()
    if missing:
        evidence = [say("seen.names", where=seen.where, names=names)]
        yield finding("E613", seen.member, where=seen.where, missing=missing, evidence=evidence)
    if seen.trusted is False:
        evidence = [say("seen.issuer", where=seen.where, issuer=facts.issuer)]
        yield finding("E614", seen.member, where=seen.where, issuer=facts.issuer, evidence=evidence)
    # Towards clients etcd's own gateway alone needs more than the server's use.
    needed = ("server",) if use is Use.SERVER else ("client",) if use is Use.CLIENT else ("server", "client")
    lacks = tuple(purpose for purpose in needed if facts.purposes is not None and purpose not in facts.purposes)
    if lacks:
        evidence = [say("seen.usages", where=seen.where, usages=tuple(facts.purposes or ()) or say("none.found"))]
        yield finding("E615", seen.member, where=seen.where, lacks=lacks, evidence=evidence)


CHECKS = (certificates,)
