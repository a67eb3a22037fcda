"""One filter a file format. What it returns stands in the file for exactly the value that it was given.

A value that a format cannot express is an error naming both: nothing is ever dropped or bent to fit. The results are
`Escaped`, and a template can print nothing else: a filter that was forgotten is found by the first rendering.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from collections.abc import Callable, Mapping

import yaml as pyyaml

from etcdops.errors import UsageError
from etcdops.rendering.flags import variable

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_-]{1,63})*\.?\Z")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Escaped(str):
    """Text that may stand in a file of its format as it is."""

    __slots__ = ()


def shell(value: object) -> Escaped:
    """One word of a POSIX shell."""
    text = str(value)
    if "\0" in text:
        raise _impossible(text, "a shell script")
    return Escaped(shlex.quote(text))


def environment(value: object) -> Escaped:
    """The value of a variable in a file that systemd's EnvironmentFile= and a shell's `.` read alike.

    Source: systemd src/basic/env-file.c (parse_env_file_internal): in double quotes, a backslash takes the meaning
    from `"`, backslash, backtick and `$`, as in POSIX.
    """
    text = _one_line(value, "an environment file")
    return Escaped('"' + re.sub(r'(["\\`$])', r"\\\1", text) + '"')


def unit(value: object) -> Escaped:
    """The whole value of a line of a unit that systemd does not split into words, such as WorkingDirectory=."""
    text = _one_line(value, "a systemd unit")
    if text != text.strip() or text.endswith("\\"):
        raise _impossible(text, "a line of a systemd unit", "blanks around it and a backslash at its end are lost")
    return Escaped(text.replace("%", "%%"))


def unit_word(value: object) -> Escaped:
    """One word of ExecStart= and its like: quotes, backslashes, specifiers (%) and variables ($) mean themselves."""
    text = _one_line(value, "a systemd unit")
    return Escaped('"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"')


def unit_item(value: object) -> Escaped:
    """One path of a list such as ReadWritePaths=: quotes count, variables and backslashes do not.

    Source: systemd src/core/load-fragment.c (config_parse_namespace_path_strv).
    """
    text = _one_line(value, "a systemd unit").replace("%", "%%")
    for quote in "\"'":
        if quote not in text:
            return Escaped(f"{quote}{text}{quote}")
    raise _impossible(str(value), "a list of a systemd unit", "it holds both kinds of quotes")


def yaml(value: object) -> Escaped:
    """A YAML string, number, switch or list of them, on one line and in ASCII."""
    if isinstance(value, list | tuple):
        return Escaped("[" + ", ".join(map(yaml, value)) + "]")
    if isinstance(value, bool | int):
        return Escaped(json.dumps(value))
    # PyYAML's own escapes: JSON's are not YAML's beyond the basic plane
    return Escaped(pyyaml.safe_dump(str(value), default_style='"', width=float("inf")).rstrip("\n"))


def compose(value: object) -> Escaped:
    """YAML for docker compose, which replaces `$NAME` before it reads."""
    return Escaped(yaml(value).replace("$", "$$"))


def systemd_calendar(value: object) -> Escaped:
    """A time for OnCalendar=. Its words are few: letters, digits and `*-:/,.~ ..`."""
    text = _one_line(value, "a systemd timer")
    if not re.fullmatch(r"[A-Za-z0-9*:/,.~ +_-]+", text):
        raise _impossible(text, "OnCalendar= of a systemd timer")
    return Escaped(text)


def cron_time(value: object) -> Escaped:
    """The five fields of a line of cron, or `@daily` and its like."""
    text = _one_line(value, "a line of cron")
    if not re.fullmatch(r"@[a-z]+|([A-Za-z0-9*/,-]+ ){4}[A-Za-z0-9*/,-]+", text):
        raise _impossible(text, "the time of a line of cron", "it has five fields")
    return Escaped(text)


def cron(value: object) -> Escaped:
    """One word of the command of a line of cron, where a bare % means a new line."""
    return Escaped(shlex.quote(_one_line(value, "a line of cron")).replace("%", r"\%"))


def supervisord(value: object) -> Escaped:
    """One word of `command=` in supervisord's ini file.

    Source: supervisor/options.py (UnhosedConfigParser): % expands, and a blank before `;` or `#` begins a comment even
    inside of quotes.
    """
    text = _one_line(value, "supervisord's configuration")
    if re.search(r"\s[;#]", text):
        raise _impossible(text, "supervisord's configuration", "a blank before ; or # begins a comment there")
    return Escaped(shlex.quote(text).replace("%", "%%"))


def supervisord_text(value: object) -> Escaped:
    """The whole value of a line of supervisord's that is not split into words, such as `directory=`."""
    text = _one_line(value, "supervisord's configuration")
    if text != text.strip() or re.search(r"\s[;#]", text):
        raise _impossible(text, "supervisord's configuration", "blanks around it, and a comment sign, are lost")
    return Escaped(text.replace("%", "%%"))


def haproxy(value: object) -> Escaped:
    """One word of haproxy's configuration. Source: haproxy's manual, section 2.2 (quoting and escaping)."""
    text = _one_line(value, "haproxy's configuration")
    return Escaped('"' + re.sub(r'(["\\$])', r"\\\1", text) + '"')


def logrotate(value: object) -> Escaped:
    """A path in logrotate's configuration: quoted, without what it takes for a pattern."""
    text = _one_line(value, "logrotate's configuration")
    if re.search(r'["*?\[\\]', text):
        raise _impossible(text, "logrotate's configuration", "quotes, backslashes and patterns cannot be written there")
    return Escaped(f'"{text}"')


def host_name(value: object) -> Escaped:
    """A DNS name or an IP address, for files that know no quoting (dnsmasq, prometheus targets)."""
    text = str(value)
    try:
        return Escaped(str(ipaddress.ip_address(text)))
    except ValueError:
        pass
    if not _HOST_NAME.match(text):
        raise _impossible(text, "a place for a host name or address")
    return Escaped(text)


def network(value: object) -> Escaped:
    """An IP address or network (CIDR), for rules of firewalls."""
    try:
        return Escaped(str(ipaddress.ip_network(str(value), strict=False)))
    except ValueError as error:
        raise _impossible(str(value), "a rule of a firewall", f"it is no address or network: {error}") from error


def number(value: object) -> Escaped:
    """A whole number that is not negative, such as a port."""
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit():
        raise _impossible(text, "a place for a number")
    return Escaped(text)


def word(value: object) -> Escaped:
    """A name of letters, digits, dots, dashes and underscores: of units, programs, users, containers."""
    text = str(value)
    if not _WORD.match(text):
        raise _impossible(text, "a place for a plain name")
    return Escaped(text)


def srv_name(value: object) -> Escaped:
    """The name of a DNS service with its protocol, such as `_etcd-server._tcp`."""
    text = str(value)
    if not re.fullmatch(r"_[A-Za-z0-9-]+\._(tcp|udp)", text):
        raise _impossible(text, "a place for the name of a DNS service")
    return Escaped(text)


def networks(value: object) -> Escaped:
    """Networks of one family for a set of nftables, with commas between them."""
    assert isinstance(value, list | tuple), value
    return Escaped(", ".join(map(network, value)))


def numbers(value: object) -> Escaped:
    """Whole numbers with commas between them."""
    assert isinstance(value, list | tuple), value
    return Escaped(", ".join(map(number, value)))


def unit_words(value: object) -> Escaped:
    """A whole command line of ExecStart= and its like."""
    assert isinstance(value, list | tuple), value
    return Escaped(" ".join(map(unit_word, value)))


def variable_name(value: object) -> Escaped:
    """The environment variable of one of etcd's flags."""
    return word(variable(str(value)))


def indent(value: object) -> Escaped:
    """Two blanks for each step."""
    return Escaped("  " * int(number(value)))


def comment(value: object) -> Escaped:
    """Text behind a comment sign: whatever could end the line is shown as an escape."""
    return Escaped(_CONTROL.sub(lambda found: repr(found[0])[1:-1], str(value)).rstrip("\\"))


FILTERS: Mapping[str, Callable[[object], Escaped]] = {
    "sh": shell,
    "env": environment,
    "unit": unit,
    "unit_word": unit_word,
    "unit_words": unit_words,
    "unit_item": unit_item,
    "yaml": yaml,
    "compose": compose,
    "calendar": systemd_calendar,
    "cron_time": cron_time,
    "cron": cron,
    "supervisord": supervisord,
    "supervisord_text": supervisord_text,
    "haproxy": haproxy,
    "logrotate": logrotate,
    "host": host_name,
    "srv": srv_name,
    "network": network,
    "networks": networks,
    "number": number,
    "numbers": numbers,
    "word": word,
    "variable": variable_name,
    "indent": indent,
    "comment": comment,
}
"""What templates call them."""


def _one_line(value: object, place: str) -> str:
    text = str(value)
    if _CONTROL.search(text):
        raise _impossible(text, place, "it holds a line break or another control character")
    return text


def _impossible(text: str, place: str, why: str = "") -> UsageError:
    return UsageError(f"{text!r} cannot be written in {place}", cause=why, hint="change the value in the inventory")
