"""What `--help` and `--version` print: grouped as etcd's, worded by the fields of Config themselves."""

from __future__ import annotations

import ast
import inspect
import platform
import textwrap

from etcdops import __version__
from etcdops.node.config import settings
from etcdops.node.config.settings import Config, flags_by_field
from etcdops.node.version import SERVER_VERSION


class PrintAndExit(Exception):
    """The command line asked for a text instead of a member: print `text` to stdout and exit 0."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def version_text() -> str:
    """What tools that parse `etcd --version` expect, and what really runs.

    Source: etcd server/etcdmain/config.go, config.parse.
    """
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return (
        f"etcd Version: {SERVER_VERSION}\n"
        f"Git SHA: Not provided (etcdops {__version__})\n"
        f"Go Version: none (Python {platform.python_version()})\n"
        f"Go OS/Arch: {platform.system().lower()}/{machine}"
    )


def usage_text() -> str:
    """One line for who mistyped."""
    return "etcdops node [flags]; etcdops node --help lists them"


def help_text() -> str:
    """All flags by group with defaults and meanings."""
    from etcdops.node.config.known_flags import KNOWN_FLAGS  # it imports settings, which knows this module's groups

    about = field_strings()
    groups: dict[str, list[str]] = {}
    unsupported: dict[str, list[str]] = {}
    for name, flag in flags_by_field().items():
        if not flag.has_effect:
            unsupported.setdefault(flag.group, []).append(f"--{flag.name}")
            continue
        default = flag.kind.show(getattr(_DEFAULTS, name))
        lines = groups.setdefault(flag.group, [])
        lines.append(f"  --{flag.name} '{default}'")
        lines.extend(textwrap.wrap(about.get(name, ""), 110, initial_indent="    ", subsequent_indent="    "))
        if flag.aliases:
            lines.append(f"    Also: {', '.join(f'--{alias}' for alias in flag.aliases)}.")
    for known in KNOWN_FLAGS.values():
        unsupported.setdefault(known.flag.group, []).append(f"--{known.flag.name}")
    for group, names in unsupported.items():
        lines = groups.setdefault(group, [])
        lines.append("  Known from etcd, without effect here:")
        lines.extend(
            textwrap.wrap(
                ", ".join(names),
                110,
                initial_indent="    ",
                subsequent_indent="    ",
                break_on_hyphens=False,
                break_long_words=False,
            )
        )
    return _HEAD + "".join("\n".join(["", f"{title}:", *groups[title], ""]) for title in _ORDER if title in groups)


_DEFAULTS = Config()
_ORDER = (
    settings.MEMBER,
    settings.CLUSTERING,
    settings.SECURITY,
    settings.AUTH,
    settings.MONITORING,
    settings.LOGGING,
    settings.TRACING,
    settings.PROXY,
    settings.EXPERIMENTAL,
    settings.UNSAFE,
)
_HEAD = """\
Usage:

  etcdops node [flags]
    Start a member.

  etcdops node --version
    Show the etcd release it stands for.

  etcdops node --config-file PATH
    Take every setting from a YAML file; other flags and variables are then not looked at.

Every flag can be given as a variable: --data-dir as ETCD_DATA_DIR. Giving both is an error.
--feature-gates 'Name=true,...' sets what etcd 3.6 and later have feature gates for.
"""


def field_strings() -> dict[str, str]:
    """The string under each field of Config, on one line; empty when the source is not at hand."""
    try:
        source = textwrap.dedent(inspect.getsource(Config))
    except OSError:
        return {}
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = " ".join(below.value.value.split())
    return found
