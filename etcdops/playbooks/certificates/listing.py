"""Every certificate of a cluster: on this machine, in the files of its hosts, and on its members' ports."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from cryptography import x509

from etcdops.certs.authority import Issued
from etcdops.certs.facts import CertificateFacts, Use, describe, is_signed_by, read_certificates
from etcdops.errors import EtcdopsError
from etcdops.inventory.model import PlacedMember
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.playbooks.rolling.member_ports import (
    OPERATOR,
    ask_port,
    client_url,
    operator_pair,
    peer_url,
    placed,
)
from etcdops.playbooks.rollout.desired import Signer
from etcdops.remote.command import ROOT
from etcdops.remote.pool import on_all
from etcdops.remote.session import Session
from etcdops.rendering.member import MemberConfig, member_config


class Urgency(enum.IntEnum):
    """How bad it is, worst first."""

    EXPIRED = 0
    WRONG = 1
    """It will not do what it is there for, whatever its dates."""
    SOON = 2
    UNKNOWN = 3
    """It could not be looked at."""
    GOOD = 4


@dataclass(frozen=True, slots=True)
class Row:
    """One certificate in one place."""

    where: str
    """`h1:/etc/etcd/pki/server.crt`, `m1 on port 2379`, `here: .../ca.crt`."""
    what: str
    """`authority`, `trust`, `server`, `peer`, `client`."""
    facts: CertificateFacts | None
    """None: it could not be looked at."""
    urgency: Urgency
    problems: tuple[str, ...] = ()

    def days_left(self, now: datetime.datetime) -> int | None:
        """Whole days, negative after the end."""
        return None if self.facts is None else (self.facts.not_after - now).days


@dataclass(frozen=True, slots=True)
class Listed:
    """What was found, the most urgent first."""

    rows: tuple[Row, ...]
    rotating: tuple[str, ...]
    """Authorities of a rotation that was begun and not finished."""
    now: datetime.datetime

    @property
    def good(self) -> bool:
        return all(row.urgency is Urgency.GOOD for row in self.rows)


async def list_certificates(run: RunHosts, *, soon: datetime.timedelta) -> Listed:
    """Look everywhere at once. One host that cannot be reached hides no other. Changes nothing."""
    now = datetime.datetime.fromtimestamp(run.clock.wall(), datetime.UTC)
    look = _Look(run, now, soon)
    rows = look.here()
    names = [member.label for member in run.cluster.members]
    for outcome in await on_all(names, look.member):
        if outcome.error is not None:
            rows.append(_unknown(outcome.subject, "all", outcome.error))
        else:
            rows += outcome.value or []
    rotating = [signer.value for signer in Signer if len(look.trusted.get(signer, ())) > 1]
    rows.sort(key=lambda row: (row.urgency, row.facts.not_after if row.facts else now, row.where))
    return Listed(tuple(rows), tuple(rotating), now)


class _Look:
    """One look in progress."""

    def __init__(self, run: RunHosts, now: datetime.datetime, soon: datetime.timedelta) -> None:
        self._run = run
        self._now = now
        self._soon = soon
        self.trusted: dict[Signer, list[x509.Certificate]] = {}
        """What our own authorities on this machine say is to be trusted."""

    def here(self) -> list[Row]:
        """The authorities of this machine, and what its clients show; nothing where others made the certificates."""
        rows = []
        for signer in Signer:
            folder = self._run.pki / signer.value
            if not (folder / "ca.crt").exists():
                continue
            try:
                authority, *_ = read_certificates((folder / "ca.crt").read_bytes(), source=str(folder / "ca.crt"))
                trusted = folder / "trusted.crt"
                self.trusted[signer] = read_certificates(
                    trusted.read_bytes() if trusted.exists() else (folder / "ca.crt").read_bytes(), source=str(trusted)
                )
            except (EtcdopsError, OSError) as error:
                rows.append(_unknown(f"here: {folder}", "authority", error))
                continue
            rows.append(self._authority(f"here: {folder / 'ca.crt'}", "authority", authority))
        operator = self._run.pki / f"{OPERATOR}.crt"
        if operator.exists():
            rows += self._leaf(
                f"here: {operator}", Use.CLIENT, (), operator.read_bytes(), self.trusted.get(Signer.CLIENT)
            )
        return rows

    async def member(self, name: str) -> list[Row]:
        run = self._run
        member = placed(run, name)
        config = member_config(run.inventory, run.cluster, run.member(name), initial_cluster_state="existing")
        session = await run.session(member.host.name)
        pair = operator_pair(run)
        rows: list[Row] = []
        for files in _files(member, config):
            rows += await self._files(session, member, files, pair)
        return rows

    async def _files(self, session: Session, member: PlacedMember, files: _Files, pair: Issued | None) -> list[Row]:
        host = member.host.name
        bundle, rows = await self._bundle(session, host, files)
        raw = await session.read_file(files.certificate, user=ROOT)
        where = f"{host}:{files.certificate}"
        if raw is None:
            return [*rows, Row(where, files.use.value, None, Urgency.WRONG, ("there is no such file",))]
        rows += self._leaf(where, files.use, files.hosts, raw, bundle)
        if files.url:
            rows.append(await self._wire(member, files, raw, pair))
        return rows

    async def _bundle(
        self, session: Session, host: str, files: _Files
    ) -> tuple[list[x509.Certificate] | None, list[Row]]:
        """Whom the member trusts, by its file."""
        if not files.trusted:
            return None, []
        where = f"{host}:{files.trusted}"
        raw = await session.read_file(files.trusted, user=ROOT)
        if raw is None:
            return None, [Row(where, "trust", None, Urgency.WRONG, ("there is no such file",))]
        try:
            found = read_certificates(raw, source=where)
        except EtcdopsError as error:
            return None, [Row(where, "trust", None, Urgency.WRONG, (error.message,))]
        rows = [self._authority(where, "trust", one) for one in found]
        wanted = self.trusted.get(files.signer)
        if wanted is not None and not files.foreign:
            missing = [one for one in wanted if one not in found]
            more = [one for one in found if one not in wanted]
            problems = [f"it lacks the authority {_short(one)}" for one in missing]
            problems += [f"it still trusts the authority {_short(one)}" for one in more]
            rows[0] = _worse(rows[0], Urgency.WRONG, problems)
        return found, rows

    def _authority(self, where: str, what: str, certificate: x509.Certificate) -> Row:
        facts = describe(certificate)
        problems = tuple(facts.time_problems(self._now, soon=self._soon))
        return Row(where, what, facts, self._urgency(facts), problems)

    def _leaf(
        self,
        where: str,
        use: Use,
        hosts: Iterable[str],
        raw: bytes,
        trusted: list[x509.Certificate] | None,
    ) -> list[Row]:
        try:
            certificate = read_certificates(raw, source=where)[0]
        except EtcdopsError as error:
            return [Row(where, use.value, None, Urgency.WRONG, (error.message,))]
        return [self._judged(where, use, hosts, certificate, trusted)]

    def _judged(
        self,
        where: str,
        use: Use,
        hosts: Iterable[str],
        certificate: x509.Certificate,
        trusted: list[x509.Certificate] | None,
    ) -> Row:
        facts = describe(certificate)
        timing = list(facts.time_problems(self._now, soon=self._soon))
        others = [
            problem
            for problem in facts.problems(use, hosts=hosts, now=self._now, soon=self._soon)
            if problem not in timing
        ]
        if trusted is not None and not any(is_signed_by(certificate, one) for one in trusted):
            others.append(f"no authority that is trusted there signed it; its issuer is {facts.issuer}")
        row = Row(where, use.value, facts, self._urgency(facts), tuple(timing))
        return _worse(row, Urgency.WRONG, others)

    async def _wire(self, member: PlacedMember, files: _Files, raw: bytes, pair: Issued | None) -> Row:
        """What the running process shows to whoever dials it."""
        where = f"{member.name} on port {urlsplit(files.url).port}"
        try:
            shown = await ask_port(self._run, member, files.url, pair if files.use is Use.SERVER else None)
        except EtcdopsError as error:
            return _unknown(where, files.use.value, error)
        if shown.certificate is None:
            return Row(where, files.use.value, None, Urgency.WRONG, ("it speaks plainly, without TLS",))
        row = self._judged(where, files.use, (), shown.certificate, None)
        if shown.certificate not in read_certificates(raw, source=files.certificate):
            row = _worse(row, Urgency.WRONG, [f"the member shows another one than {files.certificate} holds"])
        return row

    def _urgency(self, facts: CertificateFacts) -> Urgency:
        if self._now >= facts.not_after:
            return Urgency.EXPIRED
        if self._now < facts.not_before:
            return Urgency.WRONG
        return Urgency.SOON if self._now >= facts.not_after - self._soon else Urgency.GOOD


@dataclass(frozen=True, slots=True)
class _Files:
    """A certificate of a member, by the settings it runs with."""

    use: Use
    signer: Signer
    certificate: str
    trusted: str
    hosts: tuple[str, ...]
    url: str
    """Where it is shown; empty: nowhere."""
    foreign: bool
    """Not of our own authorities."""


def _files(member: PlacedMember, config: MemberConfig) -> Iterable[_Files]:
    flags, pki = config.flags, config.pki
    foreign = pki is None
    if path := flags.get("cert-file", ""):
        hosts = (member.host.reached_at, *_hosts(member.advertise_client_urls))
        trusted = flags.get("trusted-ca-file", "")
        url = client_url(member)
        yield _Files(Use.SERVER, Signer.CLIENT, path, trusted, tuple(dict.fromkeys(hosts)), url, foreign)
    if path := flags.get("peer-cert-file", ""):
        hosts = tuple(dict.fromkeys(_hosts(member.initial_advertise_peer_urls)))
        trusted = flags.get("peer-trusted-ca-file", "")
        yield _Files(Use.PEER, Signer.PEER, path, trusted, hosts, peer_url(member), foreign)
    if pki is not None and pki.client:
        yield _Files(Use.CLIENT, Signer.CLIENT, pki.client_pair[0], "", (), "", foreign)


def _hosts(urls: Iterable[str]) -> Iterable[str]:
    return [host for url in urls if (host := urlsplit(url).hostname)]


def _worse(row: Row, urgency: Urgency, problems: Iterable[str]) -> Row:
    found = tuple(problems)
    if not found:
        return row
    return replace(row, urgency=min(row.urgency, urgency), problems=(*row.problems, *found))


def _unknown(where: str, what: str, error: Exception) -> Row:
    if not isinstance(error, EtcdopsError):
        return Row(where, what, None, Urgency.UNKNOWN, (f"not looked at: {error}",))
    said = error.message.removeprefix(f"{where}: ")
    next_step = f"; next: {error.hint}" if error.hint else ""
    return Row(where, what, None, Urgency.UNKNOWN, (f"not looked at: {said}{next_step}",))


def _short(certificate: x509.Certificate) -> str:
    facts = describe(certificate)
    return f"{facts.subject} ({facts.fingerprint[:12]})"


def row_json(row: Row, now: datetime.datetime) -> Mapping[str, object]:
    """For scripts; times in RFC 3339."""
    facts = row.facts
    return {
        "where": row.where,
        "what": row.what,
        "urgency": row.urgency.name.lower(),
        "problems": list(row.problems),
        "days_left": row.days_left(now),
        "subject": facts.subject if facts else None,
        "issuer": facts.issuer if facts else None,
        "names": [*facts.names, *facts.addresses] if facts else [],
        "not_before": facts.not_before.isoformat() if facts else None,
        "not_after": facts.not_after.isoformat() if facts else None,
        "fingerprint": facts.fingerprint if facts else None,
    }
