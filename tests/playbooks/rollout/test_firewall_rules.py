"""Whether a host's own rules would drop what comes to a port: real-world shapes."""

from __future__ import annotations

import pytest

from etcdops.playbooks.rollout.firewall_rules import dropped_ports

PORTS = (2379, 2380)
NFT = """\
table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy POLICY;
\t\tct state established,related accept
\t\tiif "lo" accept
\t\ttcp dport { 22, 80 } accept
RULE
\t}
\tchain output {
\t\ttype filter hook output priority filter; policy drop;
\t}
}
"""


def nft(policy: str, rule: str) -> list[str]:
    return NFT.replace("POLICY", policy).replace("RULE", f"\t\t{rule}").splitlines()


@pytest.mark.parametrize(
    ("rules", "dropped"),
    [
        ([], []),
        (["-P INPUT ACCEPT"], []),
        (["-P INPUT DROP", "-A INPUT -i lo -j ACCEPT"], [2379, 2380]),
        (["-P INPUT DROP", "-A INPUT -p tcp -m tcp --dport 2379 -j ACCEPT"], [2380]),
        (["-P INPUT DROP", "-A INPUT -p tcp -m multiport --dports 22,2379:2380 -j ACCEPT"], []),
        (["-P INPUT DROP", "-A INPUT -p udp --dport 2379:2380 -j ACCEPT"], [2379, 2380]),
        (
            ["-P INPUT ACCEPT", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
             "-A INPUT -p tcp --dport 22 -j ACCEPT", "-A INPUT -j REJECT --reject-with icmp-host-prohibited"],
            [2379, 2380],
        ),
        (["-P INPUT DROP", "-A INPUT -j INPUT_direct"], []),
        (["-P INPUT ACCEPT", "-A INPUT -s 10.0.0.0/8 -p tcp --dport 2379 -j DROP"], []),
        (nft("accept", "tcp dport 2380 drop"), [2380]),
        (nft("drop", ""), [2379, 2380]),
        (nft("drop", "tcp dport 2379-2380 accept"), []),
        (nft("drop", "ip saddr { 10.0.0.1, 10.0.0.2 } tcp dport { 2379, 2380 } accept"), []),
        (nft("drop", "jump services"), []),
        (nft("accept", 'meta l4proto udp drop comment "no udp"'), []),
    ],
)  # fmt: skip
def test_rules_that_would_drop_a_port_are_seen_and_what_is_not_understood_lets_through(
    rules: list[str], dropped: list[int]
) -> None:
    """A false alarm about every chain of firewalld would teach people to pass over it."""
    assert dropped_ports(rules, PORTS) == dropped
