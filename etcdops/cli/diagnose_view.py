"""A diagnosis as a report for a terminal, as JSON, or as Markdown for a ticket; in English or Chinese."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from etcdops.cli.output import Json, Look, cell_width, fit, printable, render_json
from etcdops.diagnosis.actions import steps
from etcdops.diagnosis.causes import Cause, catalogue
from etcdops.diagnosis.finding import Diagnosis, Evidence, Finding, Severity, SourceSummary
from etcdops.diagnosis.names import names_of
from etcdops.diagnosis.shown import readable
from etcdops.diagnosis.times import show_clock
from etcdops.doctor.finding import Finding as LiveFinding
from etcdops.wording import counted, words_of

SCHEMA = "etcdops.diagnose/1"
_NAMED_MAX = 8
_PROOF_ROWS_MAX = 5
"""Of a line that proves something, on a terminal; all of it is in the JSON and the Markdown."""

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "healthy": "No problem found",
        "unknown": "It ended with a line nobody explains yet",
        "findings": "findings",
        "finding": "finding",
        "line": "line",
        "member": "member",
        "peer": "peer",
        "seen": "seen",
        "time": "time",
        "evidence": "evidence",
        "cause": "cause",
        "check": "check",
        "fix": "fix",
        "explains": "explains",
        "now": "now",
        "links": "read",
        "worst": "worst",
        "confidence": "confidence",
        "source": "source",
        "file": "file",
        "more": "and {} more",
        "clock": "clock corrected by",
        "critical": "critical",
        "error": "error",
        "warning": "warning",
        "info": "info",
        "read": "Read",
        "title": "Diagnosis",
        "versions": "etcd",
        "shown by": "shown by",
        "likely": "most probable root cause",
        "also": "also found",
        ",": ", ",
        ";": "; ",
    },
    "zh": {
        "healthy": "未发现问题",
        "unknown": "进程以尚无法解释的一行结束",
        "findings": "项发现",
        "finding": "项发现",
        "line": "行",
        "member": "成员",
        "peer": "对端",
        "seen": "时间",
        "time": "次",
        "evidence": "证据",
        "cause": "原因",
        "check": "核实",
        "fix": "修复",
        "explains": "可解释",
        "now": "现状",
        "links": "参考",
        "worst": "最差",
        "confidence": "置信度",
        "source": "个来源",
        "file": "个文件",
        "more": "等，另有 {} 个",
        "clock": "时钟校正",
        "critical": "严重",
        "error": "错误",
        "warning": "警告",
        "info": "提示",
        "read": "已读取",
        "title": "诊断",
        "versions": "etcd",
        "shown by": "出现于",
        "likely": "最可能的根因",
        "also": "其他发现",
        ",": "，",
        ";": "；",
    },
}
"""The report's own words; causes and remedies bring theirs."""

_KINDS = {Severity.INFO: "dim", Severity.WARNING: "warn", Severity.ERROR: "bad", Severity.CRITICAL: "bad"}
_SYMBOLS = {Severity.INFO: "·", Severity.WARNING: "▲", Severity.ERROR: "✖", Severity.CRITICAL: "✖"}
_FIX_STEPS_SHOWN = 4

Seen = Mapping[Finding, Sequence[LiveFinding]]
"""What a look at members and hosts shows of causes that logs tell."""
_NOTHING: Seen = {}


def diagnosis_json(diagnosis: Diagnosis, language: str) -> str:
    """The document of `--json`. Fields are only ever added."""
    body: dict[str, Json] = {
        "healthy": diagnosis.healthy,
        "names": names_of(diagnosis),
        "findings": [finding_json(finding, language) for finding in diagnosis.findings],
        "unexplained": [{"source": e.source, "line": e.line, "text": e.text} for e in diagnosis.unexplained],
        "sources": [_source_json(source) for source in diagnosis.sources],
        "timeline": [
            {
                "time": show_clock(m.time),
                "source": m.source,
                "line": m.line,
                "what": m.what,
                "edge": m.edge,
                "text": m.text,
            }
            for m in diagnosis.timeline
        ],
    }
    return render_json(SCHEMA, body)


def finding_json(finding: Finding, language: str) -> dict[str, Json]:
    cause = catalogue()[finding.slug]
    fix = steps(cause, language, finding)
    return {
        "slug": finding.slug,
        "severity": finding.severity.word,
        "confidence": finding.confidence,
        "member": finding.member,
        "peer": finding.peer or None,
        "members": list(finding.members),
        "peers": list(finding.peers),
        "first": None if finding.first is None else show_clock(finding.first),
        "last": None if finding.last is None else show_clock(finding.last),
        "count": finding.count,
        "evidence": [{"source": line.source, "line": line.line, "text": line.text} for line in finding.evidence],
        "title": cause.title[language],
        "cause": cause.cause[language],
        "check": list(cause.check[language]),
        "fix": [line for step in fix for line in step.commands],
        "fix_steps": [{"note": step.note, "commands": list(step.commands)} for step in fix],
        "explains": [{"slug": symptom.slug, "count": symptom.count} for symptom in finding.explains],
        "links": list(cause.links),
        "facts": dict(finding.facts),
    }


def _source_json(source: SourceSummary) -> dict[str, Json]:
    return {
        "source": source.name,
        "files": list(source.files or (source.name,)),
        "member": source.member or None,
        "name": source.called or None,
        "host": source.host or None,
        "lines": source.lines,
        "lines_left_out": source.left_out.lines,
        "first": None if source.first is None else show_clock(source.first),
        "last": None if source.last is None else show_clock(source.last),
        "clock_offset_s": round(source.clock_offset_s, 3),
        "versions": list(source.versions),
        "is_etcds": source.is_etcds,
    }


def render_report(
    diagnosis: Diagnosis, look: Look, *, width: int, language: str, full: bool = False, now: Seen = _NOTHING
) -> str:
    """The report for a terminal: the root cause in full, further ones after it.

    Args: now - what a look at members and hosts shows of a cause.
    """
    words = WORDS[language]
    parts = [_head(diagnosis, look, words)]
    for number, finding in enumerate(diagnosis.findings, 1):
        seen = now.get(finding, ())
        parts.append("\n".join(_block(finding, number, look, width, language, full or number <= 3, seen)))
    for line in diagnosis.unexplained:
        title = look.style(WORDS[language]["unknown"], "bad")
        parts.append(f"{title}\n     {line.source}:{line.line}\n       {printable(line.text)}")
    return look.text("\n\n".join(parts))


def render_timeline(diagnosis: Diagnosis, look: Look, *, width: int) -> str:
    """What happened when, over all sources, one line each."""
    lines = []
    for moment in diagnosis.timeline:
        what = f"{moment.what} {moment.edge}".strip()
        place = f"{show_clock(moment.time)}  {moment.source}:{moment.line}  {what}"
        lines.append(fit(f"{place}  {printable(moment.text)}", max(width, 80)))
    return look.text("\n".join(lines))


def _head(diagnosis: Diagnosis, look: Look, words: Mapping[str, str]) -> str:
    lines = sum(source.lines for source in diagnosis.sources)
    amounts = [_amount(len(diagnosis.sources), "source", words), _amount(lines, "line", words)]
    files = sum(len(source.files) or 1 for source in diagnosis.sources)
    if files > len(diagnosis.sources):
        amounts.insert(1, _amount(files, "file", words))
    read = f"{words['read']}: {words[','].join(amounts)}"
    shifted = [f"{source.name} {source.clock_offset_s:+.1f}s" for source in diagnosis.sources if source.clock_offset_s]
    if shifted:
        read += f"{words[';']}{words['clock']}: {', '.join(shifted)}"
    if diagnosis.unexplained and not diagnosis.findings:
        return read
    if not diagnosis.findings:
        return look.style(f"● {words['healthy']}", "good") + f"\n{read}"
    verdict = f"{len(diagnosis.findings)} {words['findings' if len(diagnosis.findings) > 1 else 'finding']}"
    if diagnosis.healthy:
        return look.style(f"● {words['healthy']}", "good") + f" ({verdict})\n{read}"
    return look.style(verdict, "head") + f"\n{read}"


def _block(
    finding: Finding,
    number: int,
    look: Look,
    width: int,
    language: str,
    full: bool,
    now: Sequence[LiveFinding],
) -> Iterator[str]:
    words, cause = WORDS[language], catalogue()[finding.slug]
    kind = _KINDS[finding.severity]
    title = f"{number}. {_SYMBOLS[finding.severity]} {cause.title[language]}"
    sure = f"{words[finding.severity.word]}{words[',']}{words['confidence']} {finding.confidence:.0%}"
    named = f"[{finding.slug}]  {sure}"
    if cell_width(f"{title}  {named}") <= width:
        yield f"{look.style(title, kind)}  {named}"
    else:
        yield from (look.style(title, kind), f"     {named}")
    yield from wrapped("", cause.cause[language], width)
    yield from wrapped(words["seen"], _when(finding, words), width)
    yield from wrapped(words["member"], _few(finding.members, words), width)
    if finding.peers:
        yield from wrapped(words["peer"], _few(finding.peers, words), width)
    if finding.explains:
        yield from wrapped(words["explains"], ", ".join(f"{s.slug} ({s.count})" for s in finding.explains), width)
    for live in now:
        yield from wrapped(words["now"], f"{live.code} {live.told(language).summary}", width)
    for line in finding.evidence:
        yield look.style(f"     {line.source}:{line.line}", "dim")
        yield from _proof(line, max(20, width - 7))
    if not full:
        yield f"     etcdops explain {finding.slug}"
        return
    for text in cause.check[language]:
        yield from wrapped(words["check"], text, width)
    yield from _fix(cause, finding, width, language)
    for link in cause.links:
        yield from wrapped(words["links"], link, width)


def _few(names: Sequence[str], words: Mapping[str, str]) -> str:
    """Peers may be clients, and hundreds of them; the JSON has them all."""
    more = len(names) - _NAMED_MAX
    shown = ", ".join(names[:_NAMED_MAX])
    return shown if more <= 0 else f"{shown} {words['more'].format(more)}"


def _proof(line: Evidence, room: int) -> Iterator[str]:
    """What the line says, without the frame it says it in; a terminal has no room for both."""
    rows = textwrap.wrap(printable(readable(line.text)), room, break_on_hyphens=False) or [""]
    if len(rows) > _PROOF_ROWS_MAX:
        rows[_PROOF_ROWS_MAX - 1 :] = [fit(" ".join(rows[_PROOF_ROWS_MAX - 1 :]), room)]
    for row in rows:
        yield f"       {row}"


def _amount(number: int, noun: str, words: Mapping[str, str]) -> str:
    """Only English changes a word by its number."""
    word = words[noun]
    return counted(number, word) if word == noun else f"{number} {word}"


def _when(finding: Finding, words: Mapping[str, str]) -> str:
    text = _amount(finding.count, "time", words)
    if finding.first is not None:
        text += f"{words[',']}{show_clock(finding.first)}"
        if finding.last is not None and finding.last > finding.first:
            text += f" - {show_clock(finding.last)}"
    worst = dict(finding.facts).get("worst_s")
    return f"{text}{words[',']}{words['worst']} {float(worst):.2f} s" if worst else text


def _fix(cause: Cause, finding: Finding | None, width: int, language: str) -> Iterator[str]:
    for number, step in enumerate(steps(cause, language, finding), 1):
        yield from wrapped(WORDS[language]["fix"] if number == 1 else "", f"{number}. {step.note}", width)
        for command in step.commands:
            yield f"       $ {command}"


def wrapped(label: str, text: str, width: int) -> Iterator[str]:
    """`label` in the margin and `text` beside it, broken between words."""
    line = "     " if not label else f"     {label}: "
    begun = False
    for gap, word in words_of(text):
        if begun and cell_width(f"{line}{gap}{word}") > max(25, width):
            yield line
            line, begun = " " * 7, False
        line, begun = f"{line}{gap if begun else ''}{word}", True
    yield line


def render_markdown(diagnosis: Diagnosis, language: str, now: Seen = _NOTHING) -> str:
    """The same for a ticket."""
    words = WORDS[language]
    lines = [f"## {words['title']}", ""]
    lines += [
        f"- `{s.name}`: {_amount(s.lines, 'line', words)}, {show_clock(s.first)} - {show_clock(s.last)}"
        for s in diagnosis.sources
    ]
    if diagnosis.healthy:
        lines += ["", words["healthy"]]
    for line in diagnosis.unexplained:
        lines += [
            "",
            f"**{words['unknown']}**",
            "",
            "````text",
            f"{line.source}:{line.line}: {printable(line.text)}",
            "````",
        ]
    for number, finding in enumerate(diagnosis.findings, 1):
        lines += ["", *_markdown(finding, number, language, now.get(finding, ()))]
    return "\n".join(lines)


def _markdown(finding: Finding, number: int, language: str, now: Sequence[LiveFinding]) -> Sequence[str]:
    words, cause = WORDS[language], catalogue()[finding.slug]
    lines = [f"### {number}. {cause.title[language]} (`{finding.slug}`)", ""]
    lines += [
        f"**{words[finding.severity.word]}**, {words['confidence']} {finding.confidence:.0%}, {_when(finding, words)}",
        "",
        cause.cause[language],
        "",
    ]
    lines += [f"- {words['member']}: {_few([f'`{name}`' for name in finding.members], words)}"]
    if finding.peers:
        lines += [f"- {words['peer']}: {_few([f'`{name}`' for name in finding.peers], words)}"]
    if finding.explains:
        lines += [f"- {words['explains']}: {', '.join(f'`{s.slug}` ({s.count})' for s in finding.explains)}"]
    lines += [f"- {words['now']}: {live.code} {live.told(language).summary}" for live in now]
    lines += [f"- {words['check']}: {text}" for text in cause.check[language]]
    # Four backticks: log lines may hold three.
    lines += [
        "",
        f"{words['evidence']}:",
        "",
        "````text",
        *(f"{e.source}:{e.line}: {printable(e.text)}" for e in finding.evidence),
        "````",
        "",
    ]
    for at, step in enumerate(steps(cause, language, finding), 1):
        lines += [
            f"{at}. {step.note}",
            "",
            "    ```sh",
            *(f"    {command}" for command in step.commands),
            "    ```",
            "",
        ]
    lines += [f"- <{link}>" for link in cause.links]
    return lines


def render_page(cause: Cause, look: Look, *, width: int, language: str) -> str:
    """The page of `etcdops explain`."""
    words = WORDS[language]
    lines = [
        look.style(f"{cause.title[language]}  [{cause.slug}]", "head"),
        f"     {words[cause.severity.word]}{words[';']}{cause.section[language]}",
        *wrapped("", cause.cause[language], width),
    ]
    for text in cause.check[language]:
        lines += wrapped(words["check"], text, width)
    lines += _fix(cause, None, width, language)
    lines += wrapped(words["shown by"], f"etcd {cause.versions}: {cause.source}", width)
    for link in cause.links:
        lines += wrapped(words["links"], link, width)
    return look.text("\n".join(lines))


def page_json(cause: Cause, language: str) -> str:
    fix = steps(cause, language)
    body: dict[str, Json] = {
        "slug": cause.slug,
        "section": cause.section[language],
        "severity": cause.severity.word,
        "title": cause.title[language],
        "cause": cause.cause[language],
        "check": list(cause.check[language]),
        "fix": [line for step in fix for line in step.commands],
        "versions": cause.versions,
        "source": cause.source,
        "links": list(cause.links),
    }
    return render_json("etcdops.explain/1", body)
