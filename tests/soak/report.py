"""A soak's outcome as a table with sparklines for people, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from tests.soak.judging import Finding
from tests.soak.run import Outcome

_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 32


def sparkline(values: Sequence[float], width: int = _SPARKS) -> str:
    """The run of a series, each mark the mean of its part; from 0, so that flat looks flat."""
    if not values:
        return ""
    width = min(width, len(values))
    parts = [values[len(values) * part // width : len(values) * (part + 1) // width] for part in range(width)]
    means = [sum(part) / len(part) for part in parts]
    top = max(means) or 1.0
    return "".join(_BARS[min(int(mean / top * len(_BARS)), len(_BARS) - 1)] for mean in means)


def table(outcome: Outcome) -> list[str]:
    """Lines: what was done, then one row for each member and measure."""
    plan = outcome.plan
    calls = sum(outcome.calls.values())
    lines = [
        f"{outcome.engine}, {plan.members} member(s), {plan.seconds / 60:.1f} min: {outcome.lives} clients came and"
        f" went ({plan.clients} at a time), {calls} calls and events ({calls / plan.seconds:.0f}/s), "
        f"{sum(outcome.failures.values())} failed",
        "  calls: " + ", ".join(f"{name} {count}" for name, count in outcome.calls.items()),
        "  failures: " + (", ".join(f"{name} {count}" for name, count in outcome.failures.items()) or "none"),
        "  " + (", ".join(f"{text} at {at:.0f} s" for at, text in outcome.events) or "no member was disturbed"),
        "",
        f"  {'':8}{'':24}{'median':>9}{'growth':>9}{'allowed':>9}{'an hour':>9}  verdict  from the first sample on",
    ]
    return lines + [_row(outcome, member, finding) for member, finding in outcome.findings()]


def _row(outcome: Outcome, member: str, finding: Finding) -> str:
    measure = finding.measure
    shown = "".join(
        f"{value / measure.unit:9.2f}"
        for value in (finding.median, finding.growth, finding.allowed, finding.growth_an_hour)
    )
    verdict = "flat" if finding.flat else "GROWS"
    spark = sparkline([getattr(one, measure.name) for one in outcome.samples[member]])
    return f"  {member:8}{measure.title:24}{shown}  {verdict:7}  {spark}"


def save(outcome: Outcome, path: Path) -> None:
    """Everything, as JSON: samples too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "engine": outcome.engine,
        "plan": dataclasses.asdict(outcome.plan),
        "clients": outcome.lives,
        "calls": outcome.calls,
        "failures": outcome.failures,
        "events": outcome.events,
        "findings": [
            {
                "member": member,
                "measure": finding.measure.name,
                "median": finding.median,
                "growth": finding.growth,
                "allowed": finding.allowed,
                "looked_at_s": finding.took_s,
                "flat": finding.flat,
            }
            for member, finding in outcome.findings()
        ],
        "samples": {member: [one.to_json() for one in samples] for member, samples in outcome.samples.items()},
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1))
    part.replace(path)
