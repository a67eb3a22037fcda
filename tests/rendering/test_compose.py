"""The compose file, read by the rules of the Compose specification: no compose program is among the test hosts'.

What it makes is compared with `docker create` of the same member, whose arguments are run for real.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from etcdops.errors import UsageError
from etcdops.inventory.model import Manager
from etcdops.rendering.outputs import compose_file, member_files
from etcdops.services.container_arguments import Arguments
from tests.rendering.members import config
from tests.rendering.test_outputs import ASKED, IMAGE

HOSTILE = (
    "$HOME",
    "${X:-y}",
    "a: b",
    "#x",
    "{{x}}",
    "'",
    '"',
    "\\",
    "%h",
    "*a",
    "&a",
    "!x",
    "yes",
    "0x10",
    "~",
    "é 中",
)
DURATION = re.compile(r"(\d+h)?(\d+m)?(\d+s)?")
VARIABLE = re.compile(r"\$(?:\$|(\w+)|\{([^}]*)\})")


def interpolated(text: str) -> str:
    """As compose reads a value. Source: Compose specification, 12-interpolation."""

    def value(found: re.Match[str]) -> str:
        assert found[0] == "$$", f"{found[0]} would become what the environment says"
        return "$"

    assert "$" not in VARIABLE.sub("", text), f"{text} is an invalid interpolation"
    return VARIABLE.sub(value, text)


def read(text: str) -> Mapping[str, Any]:
    """The one service of the file, every value interpolated; keys never are."""
    whole = yaml.safe_load(text)
    assert list(whole) == ["services"], "the top level has no other key that is needed; `version` is obsolete"
    ((name, service),) = whole["services"].items()
    assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)

    def of(value: object) -> object:
        if isinstance(value, str):
            return interpolated(value)
        if isinstance(value, list):
            return [of(one) for one in value]
        return {key: of(one) for key, one in value.items()} if isinstance(value, dict) else value

    found = of(service)
    assert isinstance(found, dict)
    return found


def as_options(service: Mapping[str, Any]) -> Iterator[str]:
    """The options of `docker create` that mean the same. Source: Compose specification, 05-services."""
    limit = service["ulimits"]["nofile"]
    logging = service["logging"]
    grace = DURATION.fullmatch(service["stop_grace_period"])
    assert grace is not None
    hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in grace.groups())
    yield f"--network={service['network_mode']}"
    yield f"--restart={service['restart']}"
    yield f"--stop-timeout={hours * 3600 + minutes * 60 + seconds}"
    yield f"--ulimit=nofile={limit['soft']}:{limit['hard']}"
    yield f"--log-driver={logging['driver']}"
    yield from (f"--log-opt={name}={value}" for name, value in logging["options"].items())
    yield f"--user={service['user']}"
    yield from (f"--cap-drop={one}" for one in service["cap_drop"])
    yield from (f"--cap-add={one}" for one in service["cap_add"])
    yield from (f"--security-opt={one.removesuffix(':true')}" for one in service["security_opt"])
    yield from (f"--volume={one}" for one in service["volumes"])
    (program,) = service["entrypoint"]
    yield f"--entrypoint={program}"


KEYS = {
    "cap_add": list, "cap_drop": list, "command": list, "container_name": str, "entrypoint": list, "image": str,
    "logging": dict, "network_mode": str, "restart": str, "security_opt": list, "stop_grace_period": str,
    "ulimits": dict, "user": str, "volumes": list,
}  # fmt: skip
"""Of a service, with the types that the specification's schema gives them."""


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("kind", ["etcd", "node"])
def test_it_makes_the_container_that_docker_create_makes(kind: str, tls: bool) -> None:
    """Option by option; an option that one of them lacks is a mistake in it."""
    member = config(
        {
            "engine": {"kind": kind, "version": "3.5"},
            "service": {"manager": "docker", "image": IMAGE},
            "settings": ASKED,
            "members": [{"host": "h1", "wal_dir": "/home/my $wal", "data_dir": '/var/tmp/50% "x"'}],
            **({"tls": {}} if tls else {}),
        }
    )
    service = read(compose_file(member).content.decode())
    assert {key: type(value) for key, value in service.items()} == KEYS
    assert service["container_name"] == member.service
    (file,) = member_files(member, Manager.DOCKER)
    created = Arguments.parse(file.content.decode(), file.path)
    options = [word.text for word in created.words if word.text not in (IMAGE, *(one.text for one in created.command))]
    assert sorted(as_options(service)) == sorted(options)
    assert (service["image"], service["command"]) == (created.image, [word.text for word in created.command])


@pytest.mark.parametrize("value", HOSTILE)
def test_values_arrive_as_they_are(value: str) -> None:
    """Two languages read them: compose's variables, then YAML."""
    described = {"service": {"manager": "docker", "image": IMAGE}, "settings": {"log-outputs": value}}
    service = read(compose_file(config(described)).content.decode())
    assert f"--log-outputs={value}" in service["command"]


def test_a_directory_that_a_volume_cannot_say_is_refused() -> None:
    """`:` parts a volume's source, target and mode."""
    described = {"service": {"manager": "docker", "image": IMAGE}, "data_dir": "/var/lib/a:b"}
    with pytest.raises(UsageError, match="/var/lib/a:b"):
        compose_file(config(described))
