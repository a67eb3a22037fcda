"""A line of a log as people read it."""

from __future__ import annotations

from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.times import show_clock


def readable(raw: str) -> str:
    """When, how bad, message and fields, without the frame it says it in; a line without fields as it is."""
    entry = parse_line(raw)
    if not entry.fields:
        return raw.strip()
    moment = f"{show_clock(entry.time)} " if entry.time is not None else ""
    return f"{moment}{entry.level} {entry.text}".strip()
