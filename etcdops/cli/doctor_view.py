"""How `etcdops doctor` reads: an examination in, text or JSON out. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from etcdops.cli.diagnose_view import finding_json as log_json
from etcdops.cli.finding_view import MARKS, finding_json, render_findings, wrap
from etcdops.cli.output import Json, Look, cell_width, hex_id, printable
from etcdops.cli.status_view import HEALTH_KINDS, arithmetic, render_head, render_members, verdict_of
from etcdops.client.metrics import MemberMetrics
from etcdops.client.view import Health
from etcdops.clock import rfc3339
from etcdops.diagnosis.causes import catalogue
from etcdops.diagnosis.finding import Finding as LogFinding
from etcdops.diagnosis.finding import Severity
from etcdops.doctor.examine import Examination
from etcdops.doctor.observation import BackupProof, Observation, Outcome
from etcdops.doctor.words import Said, Value, in_words, say

SCHEMA = "etcdops.doctor/1"


def render_examination(
    examination: Examination,
    look: Look,
    *,
    width: int,
    language: str = "en",
    full: bool = False,
    logs: bool = True,
) -> str:
    """The report: verdict, members, findings worst first, what could not be looked at and why.

    Args: full - all evidence; logs - also name what only logs say; else another part of the report does.
    """
    observation = examination.observation
    blocks = [_verdict(examination, look, width, language)]
    if observation.view is not None and observation.view.members:
        blocks.append(render_members(observation.view, look, width=width, language=language))
    urgent = [one for one in examination.findings if one.severity is not Severity.INFO]
    notes = [one for one in examination.findings if one.severity is Severity.INFO]
    for title, findings, proof in (("", urgent, True), (_words(language, "report.notes"), notes, full)):
        if findings:
            text = render_findings(findings, look, width, proof=proof, full=full, language=language)
            blocks.append(f"{title}\n{text}" if title else text)
    if logs and examination.logs:
        lines = [f"       {wrap(_log(one, language), width - 7, ' ' * 7)}" for one in examination.logs]
        blocks.append("\n".join([_words(language, "report.logs"), *lines]))
    if examination.unseen_besides:
        blocks.append("\n".join([_words(language, "report.unseen"), *_unseen(examination, look, width, language)]))
    label = f"{_words(language, 'report.seen')}: "
    scope = in_words(tuple(_scope(observation)), language)
    blocks.append(label + wrap(scope, width - cell_width(label), " " * cell_width(label)))
    return "\n\n".join(blocks) + "\n"


def _words(language: str, key: str, /, **fields: Value) -> str:
    return in_words(say(key, **fields), language)


def _verdict(examination: Examination, look: Look, width: int, language: str) -> str:
    """The members' state, or the worst finding's where they are well; then how much there is to do."""
    view, worst = examination.observation.view, examination.worst
    word, kind = _word(examination)
    shown = in_words(word, language)
    if view is not None:
        head = render_head(view, look, width=width, language=language, verdict=shown, kind=kind)
    else:
        head = f"{look.style(shown, kind)}  {in_words(_looked(examination), language)}"
    if examination.healthy:
        return head + "\n" + look.style(look.text(f"● {_words(language, 'report.well')}"), "good")
    if worst is None:
        return head
    mark, kind = MARKS[worst]
    told = _words(language, "report.found", counts=_counts(examination))
    return head + "\n" + look.style(look.text(f"{mark} {told}"), kind)


def _word(examination: Examination) -> tuple[Said, str]:
    """What stands first, and its colour."""
    view, worst = examination.observation.view, examination.worst
    if view is not None and view.health is not Health.HEALTHY:
        return verdict_of(view.health), HEALTH_KINDS.get(view.health, "bad")
    if worst is not None:
        return say(f"verdict.{worst.word}"), MARKS[worst][1]
    if view is not None:
        return verdict_of(view.health), "good"
    return (say("verdict.nothing-found"), "good") if examination.looked else (say("verdict.unknown"), "warn")


def _looked(examination: Examination) -> Said:
    """What the verdict rests on where no member was asked."""
    observation = examination.observation
    hosts, seen = len(observation.hosts), sum(not host.error for host in observation.hosts.values())
    if observation.cluster is None:
        return say("report.hosts", seen=seen, hosts=hosts) if hosts else say("report.nothing")
    return say("report.no-member-but-hosts", seen=seen, hosts=hosts) if hosts else say("report.no-member")


def _counts(examination: Examination) -> tuple[Said, ...]:
    """How much there is to do, by how bad it is."""
    found = [*(one.severity for one in examination.findings), *(one.severity for one in examination.logs)]
    severities = (Severity.CRITICAL, Severity.ERROR, Severity.WARNING)
    counts = [say(f"count.{one.word}", count=found.count(one)) for one in severities if one in found]
    if examination.unexplained:
        counts.append(say("count.unexplained", count=examination.unexplained))
    return tuple(counts)


def _log(finding: LogFinding, language: str) -> str:
    title = catalogue()[finding.slug].title[language]
    return _words(language, "report.log", title=title, slug=finding.slug, count=finding.count)


def _unseen(examination: Examination, look: Look, width: int, language: str) -> Iterator[str]:
    for one in examination.unseen_besides:
        key = "report.reason-and-next" if one.next_step else "report.reason"
        text = _words(language, key, what=one.what, why=one.why, next=one.next_step)
        yield f"{look.text('·')} {wrap(look.text(printable(text)), width - 2, '  ')}"


def _scope(observation: Observation) -> Iterator[Said]:
    """What the findings rest on: no findings say nothing about what was not looked at."""
    view = observation.view
    if view is not None:
        yield say("scope.members", seen=len(view.answering), members=len(view.members))
        read = sum(isinstance(one, MemberMetrics) for one in observation.metrics.values())
        if observation.metrics:
            yield say("scope.metrics", seen=read, pages=len(observation.metrics))
        if view.hashes_revision is not None and view.hashes_agree() is not None:
            yield say("scope.hashes", revision=view.hashes_revision)
    if observation.hosts:
        seen = sum(not host.error for host in observation.hosts.values())
        yield say("scope.hosts", seen=seen, hosts=len(observation.hosts))
    if observation.paths:
        yield say("scope.ways", ways=len(observation.paths))
    if observation.certificates:
        yield say("scope.certificates", certificates=len(observation.certificates))
    if observation.backups is not None:
        checked = sum(one.proof is not BackupProof.UNREAD for one in observation.backups)
        key = "scope.backups-checked" if checked else "scope.backups"
        yield say(key, backups=len(observation.backups), checked=checked)
    if view is None and not observation.hosts:
        yield say("scope.nothing")


def examination_json(examination: Examination, language: str = "en") -> dict[str, Json]:
    """The document of `--json`. Fields are only ever added."""
    observation = examination.observation
    view = observation.view
    return {
        "healthy": examination.healthy,
        "health": view.health.value if view is not None else None,
        "verdict": _word(examination)[0].key.partition(".")[2],
        "summary": in_words(arithmetic(view) if view is not None else _looked(examination), language),
        "cluster": observation.cluster.name if observation.cluster is not None else None,
        "cluster_id": hex_id(view.cluster_id) if view is not None else None,
        "findings": [finding_json(finding, language) for finding in examination.findings],
        "logs": [log_json(finding, language) for finding in examination.logs],
        "unseen": [
            {
                "what": in_words(one.what, language),
                "why": in_words(one.why, language),
                "next": in_words(one.next_step, language) or None,
            }
            for one in examination.unseen
        ],
        "looked_at": {
            "members": [member.label for member in observation.answering],
            "metrics": sorted(name for name, one in observation.metrics.items() if isinstance(one, MemberMetrics)),
            "hosts": sorted(name for name, host in observation.hosts.items() if not host.error),
            "ways": len(observation.paths or ()),
            "ways_that_work": sum(path.outcome is Outcome.OK for path in observation.paths or ()),
            "certificates": [in_words(one.where, language) for one in observation.certificates or ()],
            "backups": [
                {
                    "file": one.where,
                    "taken_at": rfc3339(one.taken_at),
                    "revision": one.revision,
                    "cluster_id": one.cluster or None,
                    "proof": one.proof.value,
                    "damage": one.damage or None,
                }
                for one in observation.backups or ()
            ],
        },
        "taken_at": rfc3339(observation.taken_at),
    }
