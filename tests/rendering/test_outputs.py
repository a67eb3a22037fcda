"""What is installed for each manager: exactly the golden files, and one source of settings only."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence

import pytest

from etcdops.errors import UsageError
from etcdops.inventory.model import Manager
from etcdops.rendering import places
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.outputs import (
    SettingsIn,
    compose_file,
    drop_in,
    environment_file,
    member_directories,
    member_files,
)
from etcdops.services.container_arguments import Arguments
from etcdops.services.unit_file import parse_environment_file, parse_unit, split_words
from tests.remote.test_command import HOSTILE
from tests.rendering.golden import compare
from tests.rendering.members import config

ASKED = {
    "snapshot-count": 50000, "corrupt-check-time": "1h", "enable-v2": False, "log-outputs": "stderr",
    "experimental-initial-corrupt-check": True,
}  # fmt: skip
IMAGE = "quay.io/coreos/etcd:v3.5.16"
LINES = tuple(text for text in HOSTILE if text and not set(text) & set("\n\t\x1b\x7f"))


def rendered(case: str) -> Sequence[RenderedFile]:
    """Each case is a manager, a version or engine, and what is special."""
    manager, version, *special = case.split("_")
    described: dict[str, object] = {
        "engine": {"kind": "node"} if version == "node" else {"version": version},
        "service": {"manager": manager, "image": IMAGE if manager in ("docker", "podman") else ""},
        "settings": ASKED,
    }
    if "tls" in special:
        described["tls"] = {}
    if "waldir" in special:
        described["members"] = [{"host": "h1", "wal_dir": "/home/my wal", "data_dir": '/var/tmp/50% "x"'}]
    member = config(described)
    if "compose" in special:
        return [compose_file(member)]
    if "centos" in special:
        file = environment_file(member, "/etc/etcd/etcd.conf")
        return [file, drop_in(member, environment=file.path)]
    where = SettingsIn.CONFIG_FILE if "yml" in special else SettingsIn.ENVIRONMENT_FILE
    return member_files(member, Manager(manager), settings_in=where)


CASES = (
    "systemd_3.4", "systemd_3.5_tls", "systemd_3.6_tls_yml", "systemd_3.7_tls", "systemd_node_tls",
    "systemd_3.4_tls_yml", "systemd_3.5_waldir", "systemd_3.5_centos", "docker_3.5_tls", "podman_3.5_waldir",
    "docker_3.5_tls_compose", "supervise_3.5_tls", "supervise_node_waldir", "supervisord_3.4_tls", "process_3.5_tls",
    "process_node",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_files_are_the_golden_ones(case: str, rewrite: bool) -> None:
    """Every change of a template is seen in review."""
    files = rendered(case)
    compare(case, files, rewrite=rewrite)
    text = b"".join(file.content for file in files)
    assert b"force-new-cluster" not in text
    assert b"FORCE_NEW_CLUSTER" not in text


def test_scripts_can_be_run_and_the_rest_cannot() -> None:
    """All belong to root: whoever breaks into a member cannot change what starts it."""
    for case in CASES:
        for file in rendered(case):
            assert file.ownership.mode == (0o755 if file.content.startswith(b"#!") else 0o644)
            assert (file.ownership.owner, file.ownership.group) == ("root", "root")


def test_data_belongs_to_the_member_alone() -> None:
    """0700, as etcd wants it; in a container the member is root."""
    member = config({"members": [{"host": "h1", "wal_dir": "/wal"}]})
    for manager, owner in ((Manager.SYSTEMD, "etcd"), (Manager.PODMAN, "root")):
        found = member_directories(member, manager)
        assert [one.path for one in found] == ["/var/lib/etcd", "/wal"]
        assert {(one.ownership.mode, one.ownership.owner) for one in found} == {(0o700, owner)}


@pytest.mark.parametrize("manager", [one for one in Manager if one is not Manager.KUBELET])
@pytest.mark.parametrize("hostile", LINES)
def test_a_hostile_name_is_one_value_or_refused(manager: Manager, hostile: str) -> None:
    """What the readers of services make of a file is what the member was to have."""
    image = "x" if manager in (Manager.DOCKER, Manager.PODMAN) else ""
    cluster: Mapping[str, object] = {
        "members": [{"name": hostile, "host": "h1"}],
        "token": hostile,
        "service": {"manager": manager, "image": image},
    }
    member = config(cluster)
    try:
        files = member_files(member, manager)
    except UsageError:
        assert manager in (Manager.SUPERVISORD, Manager.SYSTEMD)
        assert re.search(r"\s[;#]|\\\Z|\A\s|\s\Z", hostile)
        return
    assert read_back(manager, files) == list(member.arguments)


def test_a_static_pod_is_somebody_elses() -> None:
    """kubeadm writes it, the kubelet reads it: nothing is rendered over it."""
    member = config({"service": {"manager": "kubelet", "image": "registry.k8s.io/etcd:3.5.16-0"}})
    with pytest.raises(UsageError, match="is a static pod"):
        member_files(member, Manager.KUBELET)


def read_back(manager: Manager, files: Sequence[RenderedFile]) -> list[str]:
    """The member's arguments, as the program that reads the file takes them."""
    text = files[0].content.decode()
    if manager is Manager.SYSTEMD:
        variables = parse_environment_file(text, "")
        names = {name: name.removeprefix("ETCD_").lower().replace("_", "-") for name in variables}
        return [f"--{names[name]}={value.text}" for name, value in variables.items()]
    if manager in (Manager.DOCKER, Manager.PODMAN):
        return [word.text for word in Arguments.parse(text, "").command]
    if manager is Manager.SUPERVISORD:
        line = next(line for line in text.splitlines() if line.startswith("command="))
        return shlex.split(line.removeprefix("command=").replace("%%", "%"))[1:]
    # the shell itself says what it would start
    said = text[text.index("exec setpriv") :].replace("exec setpriv", "printf '%s\\0'", 1)
    done = subprocess.run(["/bin/sh", "-c", said], capture_output=True, check=True, timeout=20)
    return done.stdout.decode().split("\0")[5:-1]


def test_the_unit_reads_what_is_installed_beside_it() -> None:
    """And starts the program with no argument, so that nothing is said twice."""
    variables, unit = member_files(config({}), Manager.SYSTEMD)
    found = {one.key: one for one in parse_unit(unit.content.decode(), unit.path)}
    assert unit.path == places.unit("etcd")
    assert found["EnvironmentFile"].value == variables.path
    assert [word.text for word in split_words(found["ExecStart"].lines)] == ["/usr/local/bin/etcd"]
    file, unit = member_files(config({}), Manager.SYSTEMD, settings_in=SettingsIn.CONFIG_FILE)
    assert b"EnvironmentFile" not in unit.content
    assert f'"--config-file={file.path}"'.encode() in unit.content


def test_a_directory_with_a_colon_is_not_mounted() -> None:
    """It would be another one inside."""
    member = config({"data_dir": "/a:/b", "service": {"manager": "podman", "image": "x"}})
    with pytest.raises(UsageError, match="a colon ends a path"):
        member_files(member, Manager.PODMAN)
