"""The node's log in the shape of etcd's: one JSON object a line, as zap writes it.

    {"level":"info","ts":"2026-01-02T03:04:05.678901Z","caller":"raft/core.py:123","msg":"became leader","term":7}

Modules use the standard library: `_logger.info("became leader", extra=fields(term=7))`. Messages are etcd's, so that
what reads etcd's logs reads ours. Fields cost nothing until a line is written.
Source: etcd client/pkg/logutil/zap.go, DefaultZapLoggerConfig.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from etcdops.node.go_text import format_duration

PANIC = 45
"""zap's level between error and fatal."""

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": PANIC,
    "fatal": logging.CRITICAL,
}
"""What `--log-level` accepts, least important first."""

_NAMES = {number: name for name, number in LEVELS.items()}
_SECRET_WORDS = ("password", "passwd", "secret", "private-key", "auth-token", "bearer")
_HIDDEN = "***"
_SAMPLED_FIRST = 100
_SAMPLED_EVERY = 100


def fields(named: Mapping[str, object] | None = None, /, **more: object) -> dict[str, object]:
    """Fields of one log line, for `extra=`. `peer_id=1` is written as etcd would: `"peer-id":1`.

    Args: named - fields whose names are no Python words, written as they are. Values: text, numbers, booleans, None,
        lists and mappings of them, timedelta (written as Go writes durations), exceptions, anything with a `str`.
        Fields named like secrets are written as `***`, and so are Secret values.
    """
    collected = dict(named) if named else {}
    for name, value in more.items():
        collected[name.replace("_", "-")] = value
    return {"zap_fields": collected}


class BoundLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger with fields of its own on every line, before the line's: `BoundLogger(logger, fields(term=2))`."""

    def process(self, msg: object, kwargs: MutableMapping[str, object]) -> tuple[object, MutableMapping[str, object]]:
        here = kwargs.get("extra")
        own = _fields_of(here) if isinstance(here, Mapping) else {}
        kwargs["extra"] = {"zap_fields": {**_fields_of(self.extra or {}), **own}}
        return msg, kwargs


def _fields_of(extra: Mapping[str, object]) -> Mapping[str, object]:
    found = extra.get("zap_fields")
    return found if isinstance(found, Mapping) else {}


class ZapFormatter(logging.Formatter):
    """A record as one line of JSON. An exception given with the record becomes the field `stacktrace`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "level": _level_name(record.levelno),
            "ts": format_time(record.created),
            "caller": _caller(record),
            "msg": record.getMessage(),
        }
        line.update(_shown(_fields_of(record.__dict__)))
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return _to_json(line)


class ConsoleFormatter(logging.Formatter):
    """A record as zap's console encoder writes it: columns separated by tabs, fields as JSON at the end."""

    def format(self, record: logging.LogRecord) -> str:
        columns = [
            format_time(record.created),
            _level_name(record.levelno),
            _caller(record),
            record.getMessage(),
        ]
        shown = _shown(_fields_of(record.__dict__))
        if shown:
            columns.append(_to_json(shown))
        line = "\t".join(columns)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _level_name(number: int) -> str:
    name = _NAMES.get(number)
    if name is not None:
        return name
    return next((name for name, least in reversed(LEVELS.items()) if number >= least), "debug")


def format_time(wall: float) -> str:
    """A time as etcd's log shows it: local time, microseconds, `Z` or the offset."""
    micros = round(wall * 1e6)
    local = time.localtime(micros // 1_000_000)
    offset = local.tm_gmtoff // 60
    zone = "Z" if offset == 0 else f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}{abs(offset) % 60:02d}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{micros % 1_000_000:06d}{zone}"


def _caller(record: logging.LogRecord) -> str:
    path = Path(record.pathname)
    return f"{path.parent.name}/{path.name}:{record.lineno}"


def _shown(collected: Mapping[str, object]) -> dict[str, object]:
    shown: dict[str, object] = {}
    for name, value in collected.items():
        low = name.lower()
        shown[name] = _HIDDEN if any(word in low for word in _SECRET_WORDS) else _plain(value)
    return shown


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON has neither NaN nor infinity
    if isinstance(value, timedelta):
        return format_duration(value.total_seconds())
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return _shown({str(key): item for key, item in value.items()})
    if isinstance(value, Sequence | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_plain(item) for item in items]
    return str(value)


def _to_json(line: Mapping[str, object]) -> str:
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    # bytes that were no UTF-8 travel as lone surrogates and no stream can write those
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


class Sampler(logging.Filter):
    """Lets the first 100 lines of a message through in each second, then every 100th, as etcd's logger does.

    So a fault in a loop cannot fill the disk or slow the member down.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._counts: dict[tuple[int, object], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._counts.clear()
        key = (record.levelno, record.msg)
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        return count <= _SAMPLED_FIRST or (count - _SAMPLED_FIRST) % _SAMPLED_EVERY == 0


def configure(
    *,
    level: str = "info",
    outputs: Sequence[str] = ("default",),
    log_format: str = "json",
    logger: logging.Logger | None = None,
) -> None:
    """Send `logger` (the root logger by default) to `outputs`; what it had before is closed and replaced.

    Args: outputs - `default` and `stderr`, `stdout`, or file paths (appended to; reopened when moved away).
        `/dev/null` among them silences all, as in etcd.
    Raises: ValueError - an unknown level; OSError - a file that cannot be opened (nothing is changed then).
    """
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}: one of {', '.join(LEVELS)}")
    target = logger or logging.getLogger()
    formatter = ConsoleFormatter() if log_format == "console" else ZapFormatter()
    handlers = _open_handlers(outputs)
    sampler = Sampler()
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(_OncePerRecord(sampler))
    for old in [handler for handler in target.handlers if getattr(handler, "etcdops_zap", False)]:
        target.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.etcdops_zap = True  # type: ignore[attr-defined]  # marks what a later call may replace
        target.addHandler(handler)
    target.setLevel(LEVELS[level])


class _OncePerRecord(logging.Filter):
    """Asks the shared sampler once for a record that goes to several outputs."""

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self._sampler = sampler

    def filter(self, record: logging.LogRecord) -> bool:
        known = record.__dict__.get("zap_sampled")
        if known is None:
            known = record.__dict__["zap_sampled"] = self._sampler.filter(record)
        return bool(known)


def _open_handlers(outputs: Sequence[str]) -> list[logging.Handler]:
    wanted = sorted({"stderr" if name == "default" else name for name in outputs})
    if "/dev/null" in wanted:
        return [logging.NullHandler()]
    opened: list[logging.Handler] = []
    try:
        for name in wanted:
            opened.append(_open_handler(name))
    except OSError:
        for handler in opened:
            handler.close()
        raise
    return opened


def _open_handler(name: str) -> logging.Handler:
    if name in ("stderr", "stdout"):
        stream: TextIO = sys.stderr if name == "stderr" else sys.stdout
        return logging.StreamHandler(stream)
    from logging.handlers import WatchedFileHandler  # costs 10 ms of start that only files need

    return WatchedFileHandler(name.removeprefix("file://"), encoding="utf-8")
