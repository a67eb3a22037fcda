"""Load balancer, names, firewall, backups, monitoring: exactly the golden files, and nothing left open."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import yaml

from etcdops.errors import UsageError
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.member import member_config
from etcdops.rendering.network_files import firewall, load_balancer, service_records
from etcdops.rendering.upkeep_files import Backups, alert_rules, backup_by_cron, backup_by_timer, scrape_config
from tests.rendering.golden import compare
from tests.rendering.members import inventory

CLIENTS = ("10.0.0.0/16", "192.0.2.7", "10.0.5.0/24", "fd00::/8")
METRICS = [
    {"host": "h1", "listen_metrics_urls": ["http://0.0.0.0:2381"]},
    {"host": "h2", "listen_metrics_urls": ["http://127.0.0.1:2381"]},
    {"host": "h3", "listen_metrics_urls": ["http://127.0.0.1:2381", "https://10.9.0.3:2382"]},
]


def rendered(case: str) -> Sequence[RenderedFile]:
    """Everything around a cluster. Each case says what is special."""
    special = case.split("_")[1:]
    engine = next((one for one in special if one[0].isdigit()), "3.5")
    whole, cluster = inventory(
        {
            "engine": {"kind": "node"} if "node" in special else {"version": engine},
            **({"tls": {}} if "tls" in special else {}),
            **({"members": METRICS} if "metrics" in special else {}),
            **({"settings": {"discovery-srv": "example.com", "discovery-srv-name": "x"}} if "srv" in special else {}),
        }
    )
    member = member_config(whole, cluster, cluster.members[0])
    files = {
        "haproxy": [load_balancer(whole, cluster, ca_file="/etc/haproxy/ca.crt", client_pem="/etc/haproxy/us.pem")],
        "dnsmasq": [service_records(whole, cluster, domain="example.com")],
        "nft": firewall(whole, cluster, member, clients=CLIENTS),
        "iptables": firewall(whole, cluster, member, clients=CLIENTS, tool="iptables"),
        "timer": backup_by_timer(member, Backups("/srv/50% it's $HOME" if "odd" in special else "/var/backups/etcd")),
        "cron": backup_by_cron(member, Backups(cron_time="15 3 * * *", keep=3)),
        "prometheus": [
            scrape_config(whole, cluster, ca_file="/p/ca.crt", cert_file="/p/us.crt", key_file="/p/us.key")
            if "tls" in special
            else scrape_config(whole, cluster),
            alert_rules(cluster),
        ],
    }
    return files[case.split("_")[0]]


CASES = (
    "haproxy_tls", "haproxy_3.4", "haproxy_tls_metrics", "dnsmasq_tls", "dnsmasq_srv", "nft_tls", "nft_metrics",
    "iptables_tls", "timer_tls_3.4", "timer_tls_3.6_odd", "cron_node_tls", "prometheus_tls", "prometheus_metrics",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_files_are_the_golden_ones(case: str, rewrite: bool) -> None:
    """Every change of a template is seen in review."""
    compare(case, rendered(case), rewrite=rewrite)


def test_health_checks_over_tls_need_an_authority() -> None:
    """Unverified ones would believe anybody."""
    whole, cluster = inventory({"tls": {}})
    with pytest.raises(UsageError, match="health checks of prod need TLS"):
        load_balancer(whole, cluster)


def test_rules_need_addresses() -> None:
    """A firewall knows no names; whoever has asked the host may say its address."""
    whole, cluster = inventory({"members": [{"host": "h1"}]})
    whole = whole.model_copy(update={"hosts": {"h1": whole.hosts["h1"].model_copy(update={"address": "h1.example"})}})
    member = member_config(whole, cluster, cluster.members[0])
    with pytest.raises(UsageError, match=r"'h1\.example' cannot be written in a rule"):
        firewall(whole, cluster, member, clients=[])
    (rules, _) = firewall(whole, cluster, member, clients=[], addresses={"h1": "10.0.0.9"})
    assert b"tcp dport { 2380 } ip saddr { 10.0.0.9/32 } accept" in rules.content


def test_a_chain_has_a_name_that_iptables_takes() -> None:
    """28 characters at most."""
    whole, cluster = inventory({"service": {"name": "a" * 21}})
    member = member_config(whole, cluster, cluster.members[0])
    with pytest.raises(UsageError, match="too long for a chain of iptables"):
        firewall(whole, cluster, member, clients=[], tool="iptables")


def test_metrics_are_asked_where_others_can_reach_them() -> None:
    """Not on a loopback address, and by the scheme of each member."""
    whole, cluster = inventory({"tls": {}, "members": METRICS})
    read = yaml.safe_load(scrape_config(whole, cluster).content)["scrape_configs"][0]["static_configs"]
    assert [(one["labels"]["__scheme__"], *one["targets"]) for one in read] == [
        ("http", "10.0.0.1:2381"),
        ("https", "10.0.0.2:2379"),
        ("https", "10.9.0.3:2382"),
    ]


def test_every_alert_says_what_to_do() -> None:
    """And names the cluster."""
    _, cluster = inventory({})
    rules = yaml.safe_load(alert_rules(cluster).content)["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 15
    for rule in rules:
        assert 'job="etcd-prod"' in rule["expr"]
        assert set(rule["annotations"]) == {"summary", "description"}
        assert "prod" in rule["annotations"]["summary"] or "$labels.cluster" in rule["annotations"]["summary"]
