"""Members that register with a discovery service: what it says before anything is done, and what is refused."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from etcdops.playbooks.on_hosts import InventorySource, RunHosts
from etcdops.playbooks.plan import Plan, StepSpec
from etcdops.playbooks.rollout.judging import Refusal, Setting
from etcdops.playbooks.rollout.refusals import refusals, warnings
from etcdops.playbooks.rollout.registry import Discovery, Registry, ask_registry
from etcdops.playbooks.rollout.steps import build_steps
from etcdops.remote.local import LocalSession
from etcdops.remote.pool import Sessions
from tests.playbooks.rollout.told import inventory, setting
from tests.playbooks.test_on_hosts import FakeAccess
from tests.support.ports import free_ports
from tests.support.real_etcd import RealMember, find_etcd

URL = "http://d.test:2379/v2/keys/tokens/abc"
V2: Mapping[str, object] = {"settings": {"discovery": URL}, "engine": {"version": "3.5", "source": {"package": "x"}}}
V3: Mapping[str, object] = {
    "settings": {"discovery-endpoints": "http://d.test:2379", "discovery-token": "abc"},
    "engine": {"version": "3.6", "source": {"package": "x"}},
}
OURS = ("h1=http://10.0.0.1:2380", "h2=http://10.0.0.2:2380")


async def nowhere(host: str) -> NoReturn:
    raise AssertionError(f"{host} is not to be asked")


def told(cluster: Mapping[str, object], **registries: Registry) -> Setting:
    return replace(setting(cluster), registries=registries)


def only(found: tuple[Refusal, ...]) -> Refusal:
    (one,) = found
    return one


@pytest.mark.parametrize("cluster", [V2, V3])
def test_a_token_of_the_right_size_that_nobody_used_is_not_refused(cluster: Mapping[str, object]) -> None:
    """Nor is a cluster that nobody was asked about."""
    assert refusals(told(cluster, h1=Registry("3"), h2=Registry("3"))) == ()
    assert refusals(told(cluster)) == ()
    assert warnings(told(cluster)) == ()


@pytest.mark.parametrize(
    ("cluster", "registry", "code", "said", "next_step"),
    [
        (V2, Registry(), "discovery-token", "knows no such token", f"curl -X PUT {URL}/_config/size -d value=3"),
        (V3, Registry(), "discovery-token", "knows no such token", "put /_etcd/registry/abc/_config/size 3"),
        (V2, Registry("5"), "discovery-size", "for '5' members; there are to be 3", "correct it: curl -X PUT"),
        (V2, Registry("1"), "discovery-size", "for '1' members", "or the members of the inventory"),
        (V3, Registry("three"), "discovery-size", "for 'three' members", "_config/size 3"),
        (V2, Registry("3", ("x=http://1.2.3.4:2380",)), "discovery-used", "x=http://1.2.3.4:2380", "tokens/NEW_TOKEN"),
        (V2, Registry("3", OURS), "discovery-used", OURS[1], "make a new one"),
        (
            V3,
            Registry("3", ("x=http://1:2380", OURS[0])),
            "discovery-used",
            "x=http://1:2380 reg",
            "/NEW_TOKEN/_config",
        ),
    ],
)
def test_what_the_service_says_is_refused_once_with_the_command_that_mends_it(
    cluster: Mapping[str, object], registry: Registry, code: str, said: str, next_step: str
) -> None:
    """Every host is told the same; the commands are those of the service's own API."""
    found = only(refusals(told(cluster, h1=registry, h2=registry, h3=registry)))
    assert (found.id, found.host, found.overridable) == (code, "", False)
    assert said in found.what
    assert found.why
    assert next_step in found.next_step


def test_members_may_register_with_etcd_3s_service_a_second_time() -> None:
    """A rollout that was cut off there can be begun anew with its token. Source: v3discovery, registerSelf."""
    assert refusals(told(V3, h1=Registry("3", OURS))) == ()


def test_who_loses_the_last_places_and_who_waits_is_told() -> None:
    """What a wrong size would do."""
    assert "turned away" in only(refusals(told(V2, h1=Registry("1")))).why
    assert "never come" in only(refusals(told(V2, h1=Registry("5")))).why


def test_a_service_that_a_host_cannot_ask_is_refused_for_that_host() -> None:
    """An operator who knows that members reach it, and we do not, may go on."""
    found = only(refusals(told(V2, h1=Registry("3"), h2=Registry(problem="no answer in time"))))
    assert (found.id, found.host, found.overridable) == ("discovery-unreachable", "h2", True)
    assert "no answer in time" in found.what
    assert "--enable-v2" in found.next_step


def test_members_that_look_in_different_places_are_refused() -> None:
    """Each place would make a cluster."""
    own = [{"host": "h1"}, {"host": "h2"}, {"host": "h3", "settings": {"discovery": f"{URL}d"}}]
    found = only(refusals(told({**V2, "members": own})))
    assert found.id == "discovery-differs"
    assert f"h3: {URL}d" in found.what


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ({**V2, "settings": {"discovery": "https://d.test/t", "discovery-proxy": "http://p:3128"}}, "proxy http://p:3"),
        ({**V3, "settings": {**V3["settings"], "discovery-cert": "/x"}}, "--discovery-cert is for the members"),  # type: ignore[dict-item]  # a mapping
    ],
)
def test_a_service_that_only_members_can_ask_is_a_warning(cluster: Mapping[str, object], said: str) -> None:
    """And what to see by hand."""
    assert refusals(told(cluster)) == ()
    found = only(warnings(told(cluster)))
    assert (found.id, said in found.what) == ("discovery-unasked", True)
    assert "its size is 3" in found.next_step


def test_a_start_that_failed_tells_what_becomes_of_the_token() -> None:
    """A member that registered and ended before it found the others is refused ever after."""

    def safe_now(cluster: Mapping[str, object]) -> str:
        whole, made = inventory(cluster)
        hosts = RunHosts(whole, made, InventorySource((Path("/i.yaml"),), "0"), Sessions(nowhere), FakeAccess())
        spec = StepSpec("start:h1", "start: h1", "start", "h1", {"member": "h1"})
        (step,) = build_steps(Plan("rollout", "prod", {}, (), (), (spec,)), hosts)
        return step.safe_now()

    assert "move /var/lib/etcd away, write another token into the inventory" in safe_now(V2)
    assert "token" not in safe_now({})


def test_endpoints_without_a_scheme_are_dialled_as_etcd_would() -> None:
    """`--discovery-insecure-transport` is on by default. Source: etcd server/embed/config.go."""
    flags = {"discovery-endpoints": "a:1, https://b:2", "discovery-token": "t"}
    found, secured = Discovery.of(flags), Discovery.of({**flags, "discovery-insecure-transport": "false"})
    assert found is not None
    assert found.endpoints == ("a:1", "https://b:2")
    assert secured is not None
    assert secured.endpoints == ("https://a:1", "https://b:2")
    assert Discovery.of({"discovery-srv": "x"}) is None


@pytest.fixture(scope="module", params=["3.4", "3.5"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealMember]:
    """A real etcd that serves both APIs."""
    binaries = find_etcd(request.param)
    if binaries is None:
        pytest.skip(f"no etcd {request.param} in .cache/etcd: `make etcd` fetches it")
    client, peer = free_ports(2)
    member = RealMember(binaries, "d1", tmp_path_factory.mktemp("d"), client, peer, flags=("--enable-v2=true",))
    member.start_nowait()
    member.wait_ready()
    yield member
    member.stop()


def put(url: str, value: str) -> None:
    """With etcd 2's API."""
    asked = urllib.request.Request(url, data=f"value={value}".encode(), method="PUT")
    asked.add_header("Content-Type", "application/x-www-form-urlencoded")
    with urllib.request.urlopen(asked, timeout=10) as answer:
        json.load(answer)


async def ask(**flags: str) -> Registry:
    discovery = Discovery.of({f"discovery{name.replace('_', '-')}": value for name, value in flags.items()})
    assert discovery is not None
    session = LocalSession()
    try:
        return await ask_registry(session, discovery)
    finally:
        await session.close()


@pytest.mark.real
@pytest.mark.slow
async def test_a_real_service_of_etcd_2s_api_tells_size_and_members_in_their_order(service: RealMember) -> None:
    """Unknown, empty, used; hidden keys (`_config`) are no members."""
    token = f"{service.url}/v2/keys/tokens/one"
    assert await ask(**{"": token}) == Registry()
    await asyncio.to_thread(put, f"{token}/_config/size", "3")
    assert await ask(**{"": token}) == Registry("3")
    await asyncio.to_thread(put, f"{token}/f00", "b=http://2:2380")
    await asyncio.to_thread(put, f"{token}/ba4", "a=http://1:2380")
    assert await ask(**{"": token}) == Registry("3", ("b=http://2:2380", "a=http://1:2380"))
    through = await ask(**{"": f"http://nowhere.test{'/v2/keys/tokens/one'}", "_proxy": service.url})
    assert through.size == "3", "a proxy is asked for the whole URL: here it is the service itself"


@pytest.mark.real
@pytest.mark.slow
async def test_a_real_service_of_etcd_3s_api_tells_size_and_members_in_their_order(service: RealMember) -> None:
    """The keys that members of 3.6 read and write, in any etcd. Source: v3discovery/discovery.go, getMemberKey."""
    flags = {"_endpoints": f"http://127.0.0.1:1,{service.url}", "_token": "one"}
    assert await ask(**flags) == Registry()
    async with Client(ConnectionSettings((service.url,))) as client:
        await client.kv.put("/_etcd/registry/one/_config/size", "3")
        assert await ask(**flags) == Registry("3")
        await client.kv.put("/_etcd/registry/one/members/f00", "b=http://2:2380")
        await client.kv.put("/_etcd/registry/one/members/ba4", "a=http://1:2380")
        await client.kv.put("/_etcd/registry/other/members/1", "c=http://3:2380")
    assert await ask(**flags) == Registry("3", ("b=http://2:2380", "a=http://1:2380"))


@pytest.mark.real
@pytest.mark.slow
async def test_what_is_no_service_is_told_as_what_it_is(service: RealMember) -> None:
    """Nobody listens; somebody answers with something else, as an etcd does without `--enable-v2`."""
    (port,) = free_ports(1)
    refused = await ask(**{"": f"http://127.0.0.1:{port}/v2/keys/t/one"})
    assert refused.problem == "connection refused"
    other = await ask(**{"": f"{service.url}/tokens/one"})
    assert "HTTP 404" in other.problem
    assert "not etcd's v2 API" in other.problem
    gone = await ask(_endpoints=f"http://127.0.0.1:{port}", _token="one")
    assert gone.problem
    assert not gone.size


def test_nobody_becomes_a_proxy_instead_of_a_member() -> None:
    """Before 3.6 whom a full service turns away serves as a proxy. Source: etcd server/etcdmain/etcd.go."""
    flags = setting(V2).members[0].config.flags
    assert flags["discovery-fallback"] == "exit"
    chosen = {**V2, "settings": {"discovery": URL, "discovery-fallback": "proxy"}}
    assert setting(chosen).members[0].config.flags["discovery-fallback"] == "proxy"
    assert "discovery-fallback" not in setting(V3).members[0].config.flags
