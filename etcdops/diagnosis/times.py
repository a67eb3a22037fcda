"""Clock readings and durations as etcd and the programs round it print them."""

from __future__ import annotations

import re
import time
from calendar import timegm
from datetime import datetime

_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
_SYSLOG = re.compile(r"([A-Z][a-z]{2}|\d{1,2}月)\s+(\d+)\s(\d\d):(\d\d):(\d\d)(\.\d+)?")
_DATE = re.compile(r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)([.,]\d+)?\s*(Z|[+-]\d\d:?\d\d)?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|μs|ns|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}


def parse_clock(text: str) -> tuple[float | None, bool]:
    """Seconds since 1970, and whether the text told its zone; (None, False) when it is no clock reading.

    A reading without a zone counts as UTC, one without a year as this year's, or last year's when it were far ahead.
    """
    found = _DATE.match(text)
    if found:
        return _dated(found)
    found = _SYSLOG.match(text)
    if found:
        return _yearless(found), False
    try:
        number = float(text)
    except ValueError:
        return None, False
    return (number, True) if 1e8 < number < 1e11 else (None, False)


def _dated(found: re.Match[str]) -> tuple[float | None, bool]:
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        seconds = float(timegm((year, month, day, hour, minute, second)))
        datetime(year, month, day)
    except ValueError:
        return None, False
    fraction = float("0." + found[7][1:]) if found[7] else 0.0
    zone = found[8]
    if zone and zone != "Z":
        digits = zone[1:].replace(":", "")
        shift = int(digits[:2]) * 3600 + int(digits[2:]) * 60
        seconds -= shift if zone[0] == "+" else -shift
    return seconds + fraction, zone is not None


def _yearless(found: re.Match[str]) -> float | None:
    month = int(found[1][:-1]) if found[1].endswith("月") else _MONTHS.get(found[1], 0)
    if not 1 <= month <= 12:
        return None
    now = time.time()
    year = time.gmtime(now).tm_year
    clock = (month, int(found[2]), int(found[3]), int(found[4]), int(found[5]))
    seconds = float(timegm((year, *clock)))
    if seconds > now + 30 * 86400:
        seconds = float(timegm((year - 1, *clock)))
    return seconds + (float("0" + found[6]) if found[6] else 0.0)


def parse_duration(text: str) -> float | None:
    """Seconds of a Go duration such as `1m2.5s` or `185.9ms`; None when there is none at the start of `text`."""
    total, at = 0.0, 0
    while found := _DURATION.match(text, at):
        total += float(found[1]) * _SECONDS[found[2]]
        at = found.end()
    return total if at else None


def show_clock(seconds: float | None) -> str:
    """RFC 3339 in UTC with milliseconds, or `-`."""
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}Z"
