"""How to reach a cluster's members where hosts are looked at as well: that it cannot be is told, and is no end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcdops.errors import EtcdopsError, UsageError

if TYPE_CHECKING:
    from etcdops.cli.options import Invocation
    from etcdops.client.settings import ConnectionSettings
    from etcdops.doctor.observation import Unseen


def settings_or_reason(invocation: Invocation) -> tuple[ConnectionSettings | None, tuple[Unseen, ...]]:
    """The settings, or why there are none: the hosts tell what is wrong then. Raises: UsageError."""
    from etcdops.doctor.observation import Unseen
    from etcdops.doctor.words import say

    try:
        return invocation.connection_settings(), ()
    except UsageError:
        raise
    except EtcdopsError as error:
        return None, (Unseen(say("unseen.api"), error.in_one_line, error.hint),)
