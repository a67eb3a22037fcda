"""`make hosts`, `make hosts-down`, and a shell on a host: python -m tests.hosts up|down|list|shell|base."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress

from tests.hosts.base import BaseMissing, ensure_base
from tests.hosts.host import HostError
from tests.hosts.hosts import Hosts
from tests.hosts.requirement import why_not
from tests.hosts.runs import is_alive, read_state, run_folders, sweep


def up(count: int) -> int:
    """Bring up `count` hosts that stay until `down`."""
    reason = why_not(with_base=False)
    if reason is not None:
        print(f"hosts: {reason}", file=sys.stderr)
        return 1
    started = time.monotonic()
    ensure_base()
    built = time.monotonic()
    hosts = Hosts.start(count, detached=True)
    took = time.monotonic() - built
    if built - started > 1:
        print(f"base root: {built - started:.1f} s, once")
    _print(hosts)
    print(f"{count} hosts in {took:.1f} s, {took / count:.1f} s each; `make hosts-down` removes them")
    return 0


def down() -> int:
    """End the runs of `up` and remove what dead ones left. Runs of tests that are going on are named and left."""
    going_on = 0
    for folder in run_folders():
        state = read_state(folder)
        if not is_alive(folder) or state is None:
            continue
        if not state.detached:
            print(f"run {folder.name} belongs to tests that are going on: left alone")
            going_on += 1
            continue
        with suppress(HostError):
            Hosts.attach(folder).stop()
        print(f"run {folder.name}: {len(state.hosts)} hosts removed")
    for name in sweep():
        print(f"run {name} had been killed: its remains are removed")
    return 0


def show() -> int:
    """List the hosts that are up."""
    for folder in run_folders():
        with suppress(HostError):
            _print(Hosts.attach(folder))
    return 0


def shell(name: str, command: list[str]) -> int:
    """A root shell, or a command, on a host of the newest run of `up`, by ssh."""
    for folder in reversed(run_folders()):
        with suppress(HostError, StopIteration):
            argv = Hosts.attach(folder)[name].ssh(*command)
            os.execvp(argv[0], argv)
    print(f"no host {name} is up: `make hosts` brings hosts up", file=sys.stderr)
    return 1


def _print(hosts: Hosts) -> None:
    for host in hosts:
        print(f"{host.name}  {host.address}  {'on' if host.is_on else 'off'}  ssh -F {hosts.ssh_config} {host.name}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="bring hosts up").add_argument("count", type=int, nargs="?", default=3)
    verbs.add_parser("down", help="remove every trace of them")
    verbs.add_parser("list", help="hosts that are up")
    verbs.add_parser("base", help="build the root that hosts start from")
    on = verbs.add_parser("shell", help="a shell, or a command, on a host")
    on.add_argument("name")
    on.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        if options.verb == "base":
            reason = why_not(with_base=False)
            if reason is not None:
                raise BaseMissing(reason)
            print(ensure_base())
            return 0
        if options.verb == "up":
            return up(options.count)
        return down() if options.verb == "down" else show() if options.verb == "list" else _shell(options)
    except (BaseMissing, HostError) as error:
        print(f"hosts: {error}", file=sys.stderr)
        return 1


def _shell(options: argparse.Namespace) -> int:
    return shell(options.name, options.command)


if __name__ == "__main__":
    sys.exit(main())
