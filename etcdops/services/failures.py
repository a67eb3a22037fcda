"""What goes wrong with services, told with the host, the service and the last lines of its log."""

from __future__ import annotations

from collections.abc import Sequence

from etcdops.errors import EtcdopsError

_LINES_MAX = 8


class ServiceFailed(EtcdopsError):
    """A service did not do what it was asked; `log` is the last it printed."""

    code = "service-failed"

    def __init__(
        self, host: str, name: str, what: str, *, reason: str = "", log: Sequence[str] = (), hint: str = ""
    ) -> None:
        said = "\n".join(["its log ends with:", *log[-_LINES_MAX:]]) if log else ""
        super().__init__(f"{host}: {name} {what}", cause="\n".join(filter(None, (reason, said))), hint=hint)
        self.host = host
        self.name = name
        self.log = tuple(log)
