"""Prometheus' text format, version 0.0.4: families of samples as bytes.

`prometheus_client` renders it too, but adds `_total` to each counter, and etcd has counters without it.
Source: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from prometheus_client.utils import floatToGoString

from etcdops.node.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]
Value = int | float | Histogram


class Sample(NamedTuple):
    """One value, under the values of the family's labels."""

    labels: Sequence[str]
    value: Value


class Family(NamedTuple):
    """Samples of one name. Those of a histogram are Histograms, of everything else numbers."""

    name: str
    kind: Kind
    help: str
    labels: Sequence[str]
    samples: Sequence[Sample]


def render(families: Iterable[Family]) -> bytes:
    """The page, in the order of `families`; those without samples are left out, as Go's client does."""
    lines: list[str] = []
    for name, kind, help_text, labels, samples in families:
        if not samples:
            continue
        lines += (f"# HELP {name} {help_text}", f"# TYPE {name} {kind}")
        for values, value in samples:
            pairs = [f'{label}="{_escaped(text)}"' for label, text in zip(labels, values, strict=True)]
            if isinstance(value, Histogram):
                lines += _histogram(name, pairs, value)
            else:
                lines.append(f"{name}{_braced(pairs)} {_number(value)}")
    return "\n".join([*lines, ""]).encode("utf-8", "replace")


def _histogram(name: str, pairs: list[str], histogram: Histogram) -> list[str]:
    lines, count = [], 0
    for bound, count in histogram.buckets():
        le = f'le="{_number(bound)}"'
        lines.append(f"{name}_bucket{_braced([*pairs, le])} {count}")
    return [*lines, f"{name}_sum{_braced(pairs)} {_number(histogram.sum)}", f"{name}_count{_braced(pairs)} {count}"]


def _braced(pairs: list[str]) -> str:
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    """As Go prints it, since bounds are labels: `1` and not `1.0`, `1.048576e+06`."""
    if isinstance(value, int):
        return str(int(value))
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    return text.removesuffix(".0")
