"""How Go writes values down and reads them back: etcd's flags, messages and error texts are in these forms."""

from __future__ import annotations

import re

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # MICRO SIGN
    "μs": 1_000,  # GREEK SMALL LETTER MU
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_INTEGER = re.compile(r"0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|[1-9][0-9_]*|0")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def quote(text: str) -> str:
    """`text` as %q prints it. Surrogates made by `surrogateescape` print as the bytes they stand for."""
    return '"' + "".join(_ESCAPES.get(char) or (char if char.isprintable() else _escape(char)) for char in text) + '"'


def _escape(char: str) -> str:
    point = ord(char)
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def quote_list(texts: list[str]) -> str:
    """A list of strings as %q prints it: `["a" "b"]`."""
    return "[" + " ".join(quote(text) for text in texts) + "]"


def parse_bool(text: str) -> bool:
    """Source: Go strconv.ParseBool. Raises: ValueError - any other word."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("parse error")


def parse_integer(text: str, *, low: int, high: int) -> int:
    """An integer in any base Go's literals have (`1_000`, `0x10`, `010` is 8).

    Raises: ValueError - `parse error` or `value out of range`, as Go's flag package says. Source: Go strconv.ParseInt.
    """
    digits = text[1:] if low < 0 and text[:1] in ("+", "-") else text
    if not _INTEGER.fullmatch(digits) or digits.endswith("_") or "__" in digits:
        raise ValueError("parse error")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xXbBoO"
    number = int(digits, 8) if octal else int(digits, 0)
    number = -number if text.startswith("-") else number
    if not low <= number <= high:
        raise ValueError("value out of range")
    return number


def parse_duration(text: str) -> float:
    """Seconds of a Go duration (`1h30m`, `100ms`, `0`). Raises: ValueError. Source: Go time.ParseDuration."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    position, nanoseconds = 0, 0.0
    while match := _DURATION_PART.match(rest, position):
        nanoseconds += float(match[1]) * _NANOSECONDS[match[2]]
        position = match.end()
    if position == 0 or position != len(rest):
        raise ValueError(_duration_problem(text, rest))
    return sign * nanoseconds / 1e9


def _duration_problem(text: str, rest: str) -> str:
    if re.fullmatch(r"[\d.]+", rest):
        return f"time: missing unit in duration {quote(text)}"
    return f"time: invalid duration {quote(text)}"


def format_duration(seconds: float) -> str:
    """Seconds as Go prints a duration: `2h0m0s`, `1.5s`, `100ms`, `0s`. Source: Go time.Duration.String."""
    nanoseconds = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 and nanoseconds else ""
    for unit, scale in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if 0 < nanoseconds < scale * 1000:
            return f"{sign}{_decimal(nanoseconds, scale)}{unit}"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{_decimal(rest, 1_000_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{shown}"
    return f"{sign}{minutes}m{shown}" if minutes else f"{sign}{shown}"


def _decimal(number: int, scale: int) -> str:
    whole, part = divmod(number, scale)
    digits = f"{part:0{len(str(scale)) - 1}d}".rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)
