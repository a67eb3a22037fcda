"""Whether a host's own firewall would drop what comes to a port: read from rules as `nft` and `iptables -S` print them.

A guess, told as one: rules can say more than is understood here. What is not understood lets everybody through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_NFT_CHAIN = re.compile(r"\s*type filter hook input priority [^;]*;\s*policy (\w+);")
_DROPS = ("DROP", "REJECT")
_LOCAL = ("-i lo", "--ctstate", "--state", "iif lo", 'iif "lo"', 'iifname "lo"', "ct state")
"""Rules about what is not a new connection from outside."""


def dropped_ports(rules: Sequence[str], ports: Iterable[int]) -> list[int]:
    """Those of `ports` that nobody from outside seems to reach."""
    return [port for port in ports if _iptables_drops(rules, port) or _nft_drops(rules, port)]


def _iptables_drops(rules: Sequence[str], port: int) -> bool:
    policy = next((rule.split()[2] for rule in rules if rule.startswith("-P INPUT ")), "ACCEPT")
    for rule in rules:
        if not rule.startswith("-A INPUT") or any(word in rule for word in _LOCAL):
            continue
        target = re.search(r"-j (\S+)", rule)
        if target is None or not _iptables_matches(rule, port):
            continue
        if target[1] == "ACCEPT":
            return False
        if target[1] in _DROPS and " -s " not in rule:
            return True
        if target[1] not in _DROPS:
            return False  # a chain of its own, which may say anything
    return policy in _DROPS


def _iptables_matches(rule: str, port: int) -> bool:
    if re.search(r"-p (?!tcp\b|all\b)\S+", rule) is not None:
        return False
    found = re.search(r"--dports? (\S+)", rule)
    return found is None or _holds(found[1].split(","), port, ":")


def _nft_drops(rules: Sequence[str], port: int) -> bool:
    return any(_chain_drops(policy, chain, port) for policy, chain in _input_chains(rules))


def _chain_drops(policy: str, chain: Sequence[str], port: int) -> bool:
    for rule in chain:
        if any(word in rule for word in _LOCAL):
            continue
        words = rule.split()
        verdict = next((word for word in words if word in ("accept", "drop", "reject", "jump", "goto")), "")
        if not verdict or not _nft_matches(rule, port):
            continue
        if verdict in ("drop", "reject") and "saddr" not in rule:
            return True
        if verdict not in ("drop", "reject"):
            return False
    return policy == "drop"


def _input_chains(rules: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """(policy, rules) of every chain that sees what comes in."""
    policy, inside = "", list[str]()
    for rule in rules:
        if (found := _NFT_CHAIN.match(rule)) is not None:
            policy, inside = found[1], []
        elif policy and rule.strip() == "}":
            yield policy, inside
            policy = ""
        elif policy:
            inside.append(rule.strip())


def _nft_matches(rule: str, port: int) -> bool:
    if re.search(r"\b(udp|icmp|icmpv6)\b", rule) is not None or "l4proto" in rule:
        return False
    found = re.search(r"tcp dport (!= )?(\{[^}]*\}|\S+)", rule)
    if found is None:
        return True
    held = _holds([one.strip() for one in found[2].strip("{} ").split(",")], port, "-")
    return held != bool(found[1])


def _holds(items: Iterable[str], port: int, to: str) -> bool:
    for item in items:
        first, found, last = item.partition(to)
        if first.isdigit() and (int(first) == port or (found and last.isdigit() and int(first) <= port <= int(last))):
            return True
    return False
