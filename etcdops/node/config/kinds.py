"""The kinds of values etcd's flags have: how each is read from a flag or variable, from YAML, and shown in help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from etcdops.node import go_text
from etcdops.node.config.urls import parse_url, parse_urls

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """One kind of value. `parse` and `from_yaml` raise ValueError with Go's words or a sentence of ours."""

    takes: str  # what a refusal says the flag takes: "a duration like 5s"
    parse: Callable[[str], T_co]
    from_yaml: Callable[[object], T_co]
    show: Callable[[object], str] = str
    is_bool: bool = False  # `--flag` alone means true, and a following word is not its value


def _scalar(value: object) -> str:
    """YAML text or number as the text a flag would have had."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"want text, got {_yaml_kind(value)}")
    return str(value)


def _one_or_many(value: object) -> str:
    """A YAML list as the comma-separated text a flag would have had."""
    return ",".join(_scalar(item) for item in value) if isinstance(value, list) else _scalar(value)


def _yaml_kind(value: object) -> str:
    names = {bool: "true/false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return names.get(type(value), "nothing" if value is None else type(value).__name__)


def _integers(takes: str, low: int, high: int) -> Kind[int]:
    def parse(text: str) -> int:
        return go_text.parse_integer(text, low=low, high=high)

    def from_yaml(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"want a whole number, got {_yaml_kind(value)}")
        if not low <= value <= high:
            raise ValueError(f"want a number from {low} to {high}, got {value}")
        return value

    return Kind(takes, parse, from_yaml)


def _bool_from_yaml(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"want true or false, got {_yaml_kind(value)}")
    return value


def _parse_duration(text: str) -> float:
    try:
        return go_text.parse_duration(text)
    except ValueError:
        raise ValueError("parse error") from None  # Go's flag package hides the parser's words


def _duration_from_yaml(value: object) -> float:
    """etcd's YAML holds nanoseconds; text with a unit is accepted too, because everybody writes it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value / 1e9
    if isinstance(value, str):
        return go_text.parse_duration(value)
    raise ValueError(f"want nanoseconds or text like 10s, got {_yaml_kind(value)}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(sorted(set(text.split(",")))) if text else ()


def _words_from_yaml(value: object) -> tuple[str, ...]:
    return _words(_one_or_many(value))


def _ordered_words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",")) if text else ()


def _ordered_words_from_yaml(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_scalar(item) for item in value)
    return _ordered_words(_scalar(value))


def _parse_optional_urls(text: str) -> tuple[str, ...]:
    return parse_urls(text) if text else ()


def _parse_cors(text: str) -> tuple[str, ...]:
    if text in ("*", ""):
        return ("*",)
    return tuple(sorted({parse_url(item) for item in text.split(",")}))


def _joined(values: object) -> str:
    return ",".join(values) if isinstance(values, tuple) else str(values)


def _shown_duration(seconds: object) -> str:
    return go_text.format_duration(seconds) if isinstance(seconds, float) else str(seconds)


BOOL = Kind(
    "true or false", go_text.parse_bool, _bool_from_yaml, lambda value: "true" if value else "false", is_bool=True
)
INT64 = _integers("a whole number", -(2**63), 2**63 - 1)
UINT = _integers("a whole number, 0 or more", 0, 2**64 - 1)
UINT32 = _integers("a whole number, 0 or more", 0, 2**32 - 1)
TEXT: Kind[str] = Kind("text", str, _scalar)
DURATION = Kind("a duration like 5s or 1h30m", _parse_duration, _duration_from_yaml, _shown_duration)
WORDS = Kind("words with commas between", _words, _words_from_yaml, _joined)
"""Comma-separated, each once, sorted. Source: etcd pkg/flags/unique_strings.go."""
ORDERED_WORDS = Kind("words with commas between", _ordered_words, _ordered_words_from_yaml, _joined)
"""Comma-separated, in the given order. Source: etcd pkg/flags/strings.go."""
URLS = Kind(
    "URLs with commas between, like http://10.0.0.1:2380",
    _parse_optional_urls,
    lambda value: _parse_optional_urls(_one_or_many(value)),
    _joined,
)
"""Comma-separated URLs, each once, sorted. Source: etcd pkg/flags/unique_urls.go."""
CORS = Kind("* or URLs with commas between", _parse_cors, lambda value: _parse_cors(_one_or_many(value)), _joined)


def choice(*valid: str) -> Kind[str]:
    """One of `valid`. Source: etcd pkg/flags/selective_string.go, SelectiveStringValue.Set."""

    def parse(text: str) -> str:
        if text not in valid:
            raise ValueError("invalid value")
        return text

    return Kind(" or ".join(valid), parse, lambda value: _scalar(value))
