"""Commands that print something else on the node than on etcd, and why: (version, section, command line) -> reason."""

from __future__ import annotations

_NO_HEADER = "H09: answers about alarms have no header before 3.5"

KNOWN: dict[tuple[str, str, str], str] = {
    **{("3.4", "written", f"alarm list --write-out={way}"): _NO_HEADER for way in ("json", "fields", "protobuf")},
}
