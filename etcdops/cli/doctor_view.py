"""How `etcdops doctor` reads: an examination in, text or JSON out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from etcdops.cli.diagnose_view import finding_json as log_json
from etcdops.cli.finding_view import finding_json, render_findings, wrap
from etcdops.cli.output import Json, Look, cell_width, hex_id, printable
from etcdops.cli.status_view import headline, render_head, render_members
from etcdops.client.metrics import MemberMetrics
from etcdops.clock import rfc3339
from etcdops.diagnosis.finding import Severity
from etcdops.doctor.examine import Examination
from etcdops.doctor.observation import Observation, Outcome
from etcdops.wording import counted

SCHEMA = "etcdops.doctor/1"

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "well": "Nothing to do",
        "notes": "good to know:",
        "unseen": "Not looked at:",
        "seen": "Looked at",
        "logs": "Logs say as well:",
    },
    "zh": {
        "well": "无需处理",
        "notes": "供参考：",
        "unseen": "未能查看：",
        "seen": "已查看",
        "logs": "日志还显示：",
    },
}


def render_examination(
    examination: Examination, look: Look, *, width: int, language: str = "en", full: bool = False
) -> str:
    """The report: verdict, members, findings worst first, what could not be looked at and why."""
    words, observation = _WORDS[language], examination.observation
    blocks = [_verdict(examination, look, words)]
    if observation.view is not None and observation.view.members:
        blocks.append(render_members(observation.view, look, width=width))
    urgent = [one for one in examination.findings if one.severity is not Severity.INFO]
    notes = [one for one in examination.findings if one.severity is Severity.INFO]
    for title, findings, proof in (("", urgent, True), (words["notes"], notes, full)):
        if findings:
            text = render_findings(findings, look, width, proof=proof, full=full, language=language)
            blocks.append(f"{title}\n{text}" if title else text)
    if examination.logs:
        lines = [f"       {one.slug} ({counted(one.count, 'time')})" for one in examination.logs]
        blocks.append("\n".join([words["logs"], *lines]))
    if examination.unseen:
        blocks.append("\n".join([words["unseen"], *_unseen(examination, look, width)]))
    label = f"{words['seen']}: "
    blocks.append(label + wrap(", ".join(_scope(observation)), width - cell_width(label), " " * cell_width(label)))
    return "\n\n".join(blocks) + "\n"


def _verdict(examination: Examination, look: Look, words: Mapping[str, str]) -> str:
    view = examination.observation.view
    head = render_head(view, look) if view is not None else look.style("UNKNOWN", "warn") + "  no member could be asked"
    if examination.healthy:
        head += "\n" + look.style(look.text(f"● {words['well']}"), "good")
    return head


def _unseen(examination: Examination, look: Look, width: int) -> Iterator[str]:
    for one in examination.unseen:
        text = f"{one.what}: {one.why}" + (f" (next: {one.next_step})" if one.next_step else "")
        yield f"{look.text('·')} {wrap(look.text(printable(text)), width - 2, '  ')}"


def _scope(observation: Observation) -> Iterator[str]:
    """What the findings rest on: no findings say nothing about what was not looked at."""
    view = observation.view
    if view is not None:
        yield f"{len(view.answering)} of {counted(len(view.members), 'member')}"
        read = sum(isinstance(one, MemberMetrics) for one in observation.metrics.values())
        if observation.metrics:
            yield f"{read} of {counted(len(observation.metrics), 'metrics page')}"
        if view.hashes_revision is not None and view.hashes_agree() is not None:
            yield f"data compared at revision {view.hashes_revision}"
    if observation.hosts:
        seen = sum(not host.error for host in observation.hosts.values())
        yield f"{seen} of {counted(len(observation.hosts), 'host')}"
    if observation.paths:
        yield f"{counted(len(observation.paths), 'way')} between hosts and members"
    if observation.certificates:
        yield counted(len(observation.certificates), "certificate")
    if observation.backups is not None:
        yield counted(len(observation.backups), "backup")
    if view is None and not observation.hosts:
        yield "nothing"


def examination_json(examination: Examination, language: str = "en") -> dict[str, Json]:
    """The document of `--json`. Fields are only ever added."""
    observation = examination.observation
    view = observation.view
    return {
        "healthy": examination.healthy,
        "health": view.health.value if view is not None else None,
        "summary": headline(view).partition("  ")[2] if view is not None else "no member could be asked",
        "cluster": observation.cluster.name if observation.cluster is not None else None,
        "cluster_id": hex_id(view.cluster_id) if view is not None else None,
        "findings": [finding_json(finding, language) for finding in examination.findings],
        "logs": [log_json(finding, language) for finding in examination.logs],
        "unseen": [{"what": one.what, "why": one.why, "next": one.next_step or None} for one in examination.unseen],
        "looked_at": {
            "members": [member.label for member in observation.answering],
            "metrics": sorted(name for name, one in observation.metrics.items() if isinstance(one, MemberMetrics)),
            "hosts": sorted(name for name, host in observation.hosts.items() if not host.error),
            "ways": len(observation.paths or ()),
            "ways_that_work": sum(path.outcome is Outcome.OK for path in observation.paths or ()),
            "certificates": [one.where for one in observation.certificates or ()],
        },
        "taken_at": rfc3339(observation.taken_at),
    }
