"""Logs in, findings out: the whole way, once, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from etcdops.diagnosis.causes import severities
from etcdops.diagnosis.clocks import offsets
from etcdops.diagnosis.collect import Collector, SourceLog
from etcdops.diagnosis.duplicates import duplicates
from etcdops.diagnosis.finding import Diagnosis, Evidence, Finding, Severity, SourceSummary
from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.judge import judge
from etcdops.diagnosis.parts import cut, pays, read_parts
from etcdops.diagnosis.rank import rank
from etcdops.diagnosis.reading import Damaged, Source, blocks, is_plain, opened
from etcdops.diagnosis.rotated import in_files, join_rotated
from etcdops.diagnosis.sieve import Sieve
from etcdops.diagnosis.timeline import timeline
from etcdops.diagnosis.window import Window as Window
from etcdops.diagnosis.wrapped import is_broken, rejoined, unbroken, wrap_of
from etcdops.errors import UsageError

Progress = Callable[[str, int, int | None], None]
"""Called with a source's name, bytes read and bytes in all (None: not known)."""


def diagnose(sources: Iterable[Source], window: Window | None = None, progress: Progress | None = None) -> Diagnosis:
    """Read all sources and say what is wrong. Raises: UsageError - a source cannot be read."""
    collector = Collector()
    for source in sources:
        _read(source, collector, window or Window(), progress)
    chains = join_rotated(collector)
    return in_files(conclude(collector), chains)


def diagnose_lines(lines: Iterable[str], source: str = "log") -> Diagnosis:
    """The same for lines at hand, such as those a screen follows."""
    collector = Collector()
    collector.source(source)
    lines = list(lines)
    wrap = wrap_of(lines)
    for number, line in enumerate(rejoined(lines, wrap) if wrap else lines, 1):
        collector.add(parse_line(line, source, number))
        collector.source(source).lines = number
    return conclude(collector)


def conclude(collector: Collector) -> Diagnosis:
    """The findings of what was collected so far. May be asked again when more has come."""
    logs = collector.sources
    clock = offsets(logs)
    tallies = [tally for log in logs.values() for tally in judge(log)]
    tallies += duplicates(logs, clock)
    summaries = tuple(
        SourceSummary(
            log.name,
            log.member,
            log.host,
            log.lines,
            log.first,
            log.last,
            clock[log.name],
            tuple(log.versions),
            log.is_etcds,
            log.damage,
            log.called,
            log.left_out,
        )
        for log in logs.values()
    )
    findings = rank(tallies, logs, clock, severities())
    moments = timeline(logs, tallies, clock)
    return Diagnosis(findings, summaries, tuple(_unexplained(logs.values(), findings)), moments)


def _unexplained(logs: Iterable[SourceLog], findings: Sequence[Finding]) -> Iterator[Evidence]:
    """The last words of sources that ended and have no finding that could be why."""
    accounted = {line.source for finding in findings if finding.severity >= Severity.ERROR for line in finding.evidence}
    for log in logs:
        last = log.last_deadly
        if last is not None and log.name not in accounted:
            yield Evidence(last.source, last.number, last.raw.strip())


def _read(source: Source, collector: Collector, window: Window, progress: Progress | None) -> None:
    log = collector.source(source.name)
    if source.path is not None and pays(source.size) and is_plain(source) and not _is_wrapped(source):
        _read_by_several(source, source.path, collector, window, progress)
        return
    sieve = Sieve(source.name, collector, window.holds if window.limited else None)
    with opened(source) as (stream, beneath):
        try:
            for block in unbroken(blocks(stream, source.name)):
                sieve.block(block)
                if progress is not None:
                    progress(source.name, beneath.tell() if source.size else 0, source.size)
        except Damaged as error:
            log.damage = str(error)
    sieve.finish()
    log.lines = sieve.lines


def _is_wrapped(source: Source) -> bool:
    with opened(source) as (stream, _):
        return any(is_broken(block.lines) for block in islice(blocks(stream, source.name), 1))


def _read_by_several(
    source: Source, path: Path, collector: Collector, window: Window, progress: Progress | None
) -> None:
    """A file so big that other processes help."""
    size = source.size or 0

    def told(done: int) -> None:
        if progress is not None:
            progress(source.name, done, size)

    try:
        collector.sources[source.name] = read_parts(source.name, path, window, cut(path, size), told)
    except OSError as error:
        raise UsageError(
            f"{source.name} cannot be read: {error.strerror}", hint="check its path and permissions"
        ) from error
