"""Taking the frame off a line: what journal, docker, Kubernetes, compose and etcd's loggers put around a message.

etcd wrote plain text (2.0), capnslog (2.1 to 3.4) and zap's JSON or console form (3.4 on). The same line may arrive
bare or behind any number of prefixes, cut at either end. So the etcd part is looked for anywhere near the start of a
line, and what stands before it is asked only for host, program and time.
Source: etcd client/pkg/logutil/zap.go; coreos/pkg capnslog/formatters.go, PrettyFormatter; systemd.journal-fields(7);
Kubernetes CRI logging format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.times import parse_clock

_PREFIX_LENGTH = 300
"""Prefixes longer than that do not occur; looking further would find quoted logs inside messages."""

_CAPNSLOG = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?) (?P<level>[DTINWEC]) \| "
    r"(?:(?P<package>[\w./-]+): )?(?P<message>.*)",
    re.DOTALL,
)
_PLAIN = re.compile(
    r"(?:raft|WARNING: |INFO: |ERROR: )?(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)?) (?P<message>.*)", re.DOTALL
)
_LEVEL = r"debug|info|warn|error|dpanic|panic|fatal"
_CONSOLE = re.compile(
    rf"(?P<time>\d{{4}}-\d\d-\d\dT\S+|[\d.]+e[+]\d+)\s+(?P<level>{_LEVEL}|{_LEVEL.upper()})\s+"
    r"(?:(?P<logger>[\w.-]+)\s+)?(?P<caller>[\w./@-]+\.go:\d+)\s+(?P<message>.*)",
    re.DOTALL,
)
_SYSLOG = re.compile(
    r"(?:<\d+>\d? ?)?(?P<time>(?:[A-Z][a-z]{2}|\d{1,2}月)\s+\d+\s\d\d:\d\d:\d\d(?:\.\d+)?|"
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*)"
    r"\s(?P<host>[\w.:-]+(?<!:))\s(?P<program>[\w@.()/:-]+?)(?:\[(?P<pid>\d+)\])?:\s?(?P<message>.*)",
    re.DOTALL,
)
_CRI = re.compile(r"(?P<time>\d{4}-\d\d-\d\dT\S+) (?:stdout|stderr) [FP] ?(?P<message>.*)", re.DOTALL)
_STAMPED = re.compile(r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*)\s+(?P<message>.*)", re.DOTALL)
_COMPOSE = re.compile(r"(?:\d\d:\d\d:\d\d )?(?P<host>[\w.@/-]+)\s*\| (?P<message>.*)", re.DOTALL)
_KLOG = re.compile(r"(?P<level>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ [\w.-]+:\d+\] (?P<message>.*)", re.DOTALL)
_FIRST = re.compile(
    r"\[etcd\] (?P<time>[A-Z][a-z]{2}\s+\d+ \d\d:\d\d:\d\d\.\d+) (?P<level>[A-Z]+)\s+\| (?P<message>.*)", re.DOTALL
)
"""Of 0.4, which came before capnslog."""
_KUBECTL = re.compile(r"\[pod/(?P<host>[\w./-]+)\] (?P<message>.*)", re.DOTALL)
"""Of `kubectl logs --prefix`."""
_PREFIXES = (_FIRST, _KUBECTL, _SYSLOG, _CRI, _KLOG, _PLAIN, _STAMPED, _COMPOSE)
_POD = re.compile(r"^\[?(?:pod/)?(?!\d{4}-\d\d-\d\d[T ])(?P<host>[a-z0-9][\w./-]*)\]?[\s|:]")
_PACKAGE = re.compile(r"(?P<package>[a-z][\w/-]{2,30}): ")
_PAIR = re.compile(r'"([\w-]+)"\s*:\s*("(?:[^"\\]|\\.)*"?|[^,}\s]+)')
_BEGUN = re.compile(r'"(?:msg|message)":\s?"')
"""JSON of another order of keys, or begun in its middle, as the first line of an excerpt is."""
_ANSI = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
"""Colours, and what a terminal does at the end of a line, as `grep --color` writes it."""

_LETTER_LEVELS = {
    "D": "debug", "T": "debug", "I": "info", "N": "info", "W": "warn", "E": "error", "C": "fatal", "F": "fatal",
    "DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error", "CRITICAL": "fatal",
}  # fmt: skip
_UNREAD_FIELDS = frozenset(
    {
        "level",
        "ts",
        "caller",
        "msg",
        "logger",
        "stacktrace",
        "stack",
        "steps",
        "detail",
        "request",
        "request content",
        "raftReq",
        "response",
    }
)
"""Not part of an entry's text: told elsewhere, or written by clients, who can put any words into a key."""


class _Part(NamedTuple):
    """What a frame said, and where in the line it began."""

    message: str
    time: str = ""
    level: str = ""
    package: str = ""
    fields: Mapping[str, str] = MappingProxyType({})
    at: int = 0


def parse_line(raw: str, source: str = "", number: int = 0) -> Entry:
    """The line as an entry. Never fails: what has no known frame is all message."""
    raw = raw.rstrip("\r\n")
    line = _ANSI.sub("", raw) if "\x1b" in raw else raw
    outer: dict[str, str] = {}
    if line.startswith("{") and not line.startswith(('{"level"', '{ "level"')):
        line = _unwrap_shipped(line, outer)
    if line.startswith("{") and '"MESSAGE"' in line:
        line = _unwrap_journal(line, outer)
    part = _etcd_part(line)
    if part is None:
        part = _framed(line, outer)
    else:
        _read_prefix(line[: part.at], outer)
    time, zoned = parse_clock(part.time)
    if time is None:
        time, zoned = parse_clock(outer.get("time", ""))
    shown = [f"{name}={value}" for name, value in part.fields.items() if name not in _UNREAD_FIELDS]
    return Entry(
        source=source,
        number=number,
        raw=raw,
        time=time,
        level=part.level or outer.get("level", ""),
        program=outer.get("program", ""),
        host=outer.get("host", ""),
        package=part.package,
        message=part.message,
        text=" ".join([part.message, *shown]),
        fields=part.fields,
        zoned=zoned,
    )


def _etcd_part(line: str) -> _Part | None:
    """What etcd itself wrote; None when no frame of etcd's is there."""
    at = line.find('{"level"', 0, _PREFIX_LENGTH)
    if at < 0:
        at = line.find('{ "level"', 0, _PREFIX_LENGTH)
    if at >= 0:
        return _zap_json(line[at:])._replace(at=at)
    found = _CAPNSLOG.search(line, 0, len(line))
    if found and found.start() < _PREFIX_LENGTH:
        level = _LETTER_LEVELS[found["level"]]
        return _Part(_without_request(found["message"]), found["time"], level, found["package"] or "", at=found.start())
    found = _CONSOLE.search(line)
    if found and found.start() < _PREFIX_LENGTH:
        message, fields = _split_console(found["message"])
        level = _zap_level(found["level"].lower())
        return _Part(message, found["time"], level, _package(found["caller"]), fields, found.start())
    if _BEGUN.search(line):
        at = max(0, line.find('{"', 0, _PREFIX_LENGTH))
        return _zap_json(line[at:])._replace(at=at)
    return None


def _without_request(message: str) -> str:
    """The message of 3.1 to 3.4 about a slow request, without the request: clients put any words into keys."""
    start = message.find('request "')
    end = message.rfind('" with re')
    return message[:start] + "request" + message[end + 1 :] if 0 <= start < end else message


def _zap_json(text: str) -> _Part:
    """The fields of a zap line; of a line that was cut, those that are whole."""
    try:
        read = json.loads(text)
    except ValueError:
        read = _pairs(text)
    if not isinstance(read, dict):
        return _Part(text)
    fields = {str(name): _flat(value) for name, value in read.items()}
    level = _zap_level(_first_of(fields, "level", "severity").lower())
    message, time = _first_of(fields, "msg", "message"), _first_of(fields, "ts", "timestamp", "time")
    return _Part(message, time, level, _package(fields.get("caller", "")), fields)


def _first_of(fields: dict[str, str], *names: str) -> str:
    """Takes out the first of these fields that is there; wrappers of etcd rename zap's keys."""
    return next((fields.pop(name) for name in names if name in fields), "")


def _package(caller: str) -> str:
    return caller.rpartition("/")[0] or caller


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _PAIR.findall(text):
        if value.startswith('"'):
            body = value[1:-1] if len(value) > 1 and value.endswith('"') else value[1:]
            found.setdefault(name, body.replace('\\"', '"').replace("\\\\", "\\"))
        else:
            found.setdefault(name, value)
    # A message that the end of the line cut: everything from its start.
    if "msg" not in found and '"msg":"' in text:
        found["msg"] = text.partition('"msg":"')[2]
    if "error" not in found and '"error":"' in text:
        found["error"] = text.partition('"error":"')[2]
    return found


def _flat(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _zap_level(level: str) -> str:
    return "panic" if level == "dpanic" else level


def _split_console(rest: str) -> tuple[str, dict[str, str]]:
    """A console line's message and fields. Pasted logs have blanks where zap wrote tabs."""
    at = rest.find('{"')
    if at < 0:
        return rest.strip(), {}
    try:
        read = json.loads(rest[at:])
    except ValueError:
        read = _pairs(rest[at:])
    fields = {str(name): _flat(value) for name, value in read.items()} if isinstance(read, dict) else {}
    return rest[:at].strip(), fields


def _unwrap_shipped(line: str, outer: dict[str, str]) -> str:
    """The line inside a record of what ships logs; any other line as it is.

    `{"log":"...\\n","stream":"stderr","time":"..."}` is docker's json-file driver; fluentd and fluent-bit write `log`
    or `message` beside fields of their own, and what is fetched from Elasticsearch has it all in `_source`.
    """
    try:
        read = json.loads(line)
    except ValueError:
        return _pairs(line).get("log", line) if line.startswith('{"log":') else line
    record = read.get("_source", read) if isinstance(read, dict) else {}
    if not isinstance(record, dict):
        return line
    inner = record.get("log")
    if not isinstance(inner, str):
        inner = record.get("message")
        # zap's own message may be called so; one with a frame of etcd's in it is a whole line
        if not isinstance(inner, str) or _etcd_part(inner) is None:
            return line
    outer["time"] = next((str(record[name]) for name in ("time", "@timestamp", "timestamp") if record.get(name)), "")
    pod = record.get("kubernetes")
    if isinstance(pod, dict) and pod.get("pod_name"):
        outer["host"] = str(pod["pod_name"])
    return inner.rstrip("\n")


def _unwrap_journal(line: str, outer: dict[str, str]) -> str:
    """A record of `journalctl -o json`."""
    try:
        read = json.loads(line)
    except ValueError:
        return _pairs(line).get("MESSAGE", line)
    stamp = str(read.get("__REALTIME_TIMESTAMP", ""))
    if stamp.isdigit():
        outer["time"] = str(int(stamp) / 1e6)
    outer["host"] = str(read.get("_HOSTNAME", ""))
    outer["program"] = str(read.get("SYSLOG_IDENTIFIER") or read.get("_COMM") or "")
    message = read.get("MESSAGE", "")
    return bytes(message).decode(errors="replace") if isinstance(message, list) else str(message)


def _read_prefix(prefix: str, outer: dict[str, str]) -> None:
    """Host, program and time from what stands before etcd's own part."""
    if not prefix.strip():
        return
    for pattern in (_SYSLOG, _CRI, _COMPOSE):
        found = pattern.match(prefix)
        if found:
            outer.update({name: value for name, value in found.groupdict().items() if name != "message" and value})
            return
    found = _POD.match(prefix)
    if found:
        outer.setdefault("host", found["host"])


def _framed(line: str, outer: dict[str, str]) -> _Part:
    """A line without etcd's own frame: prefixes are taken off one by one."""
    message = line.strip()
    for _ in range(3):
        found = next((found for pattern in _PREFIXES if (found := pattern.match(message))), None)
        if found is None:
            break
        for name, value in found.groupdict().items():
            if value and name in ("time", "host", "program", "level"):
                outer.setdefault(name, _LETTER_LEVELS.get(value, "") if name == "level" else value)
        message = found["message"].strip()
    package = _PACKAGE.match(message)
    message = _without_request(message)
    return _Part(message, package=package["package"] if package else "")
