"""Numbers as people read them at a glance: few digits, a unit, always short."""

from __future__ import annotations

import time

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def show_bytes(count: float) -> str:
    """A size in binary units, as etcd's own tools count: `20 KB`, `6.7 GB`."""
    number, unit = _scaled(count)
    return f"{number} {unit}"


def show_bytes_short(count: float) -> str:
    """The same in at most 5 cells: `20K`, `6.7G`."""
    number, unit = _scaled(count)
    return f"{number}{unit[0]}"


def show_count(count: float) -> str:
    """A whole number with thin groups: `18 204 551`."""
    return f"{round(count):,}".replace(",", " ")


def show_duration(seconds: float) -> str:
    """A span of time in its largest unit or two: `4 ms`, `18 s`, `3 min`, `26 h`, `9 d`."""
    if seconds < 0.0005:
        return f"{seconds * 1_000_000:.0f} µs" if seconds > 0 else "0 s"
    if seconds < 0.9995:
        milliseconds = seconds * 1000
        return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"
    for limit, size, unit in ((100, 1, "s"), (6_000, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if size > 1 or seconds >= 9.95 else f"{seconds:.1f} s"
    return f"{seconds / 86_400:.0f} d"


def show_age(seconds: float) -> str:
    """How long ago, without blanks: `1s`, `18s`, `3m`, `26h`, `9d`."""
    for limit, size, unit in ((100, 1, "s"), (6_000, 60, "m"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds / size))}{unit}"
    return f"{seconds / 86_400:.0f}d"


def show_clock(wall_s: float) -> str:
    """Local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(wall_s))


def show_rate(per_second: float) -> str:
    """Events per second."""
    return f"{per_second:.1f} /s" if 0 < per_second < 9.95 else f"{show_count(per_second)} /s"


def _scaled(count: float) -> tuple[str, str]:
    number = float(count)
    unit = 0
    while abs(number) >= 999.5 and unit < len(_UNITS) - 1:
        number /= 1024
        unit += 1
    return (f"{number:.1f}" if unit and abs(number) < 9.95 else f"{number:.0f}"), _UNITS[unit]
