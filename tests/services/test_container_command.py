"""Command lines of docker, podman and nerdctl are read as their own parsers read them."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from etcdops.errors import UsageError
from etcdops.services.container_command import ContainerCommand, makes_container, parse_command, started_container
from etcdops.services.container_start import outside, volumes
from etcdops.services.engine_options import OF_RUN
from etcdops.services.etcd_settings import Placed


def words(line: str) -> list[Placed]:
    return [Placed(word, "run.sh:3") for word in shlex.split(line)]


def parsed(line: str) -> ContainerCommand:
    found = parse_command(words(line))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("line", "options", "behind"),
    [
        ("docker run -dit --name e etcd:1 etcd --a", "detach=true interactive=true tty=true name=e", "etcd:1 etcd --a"),
        ("docker run -dp 1:2 -p3:4 -p=5:6 i", "detach=true publish=1:2 publish=3:4 publish=5:6", "i"),
        ("docker run -eA=1 -e B=2=3 -e C --env=D= i -e x", "env=A=1 env=B=2=3 env=C env=D=", "i -e x"),
        ("docker run --rm=false --net=host --restart always i", "rm=false network=host restart=always", "i"),
        ("/usr/bin/docker container run -v /a:/b -- i --rm", "volume=/a:/b", "i --rm"),
        ("docker -H tcp://h:2375 --tls run --init i", "init=true", "i"),
        ("podman --log-level debug create --replace --sdnotify=conmon i", "replace=true sdnotify=conmon", "i"),
        ("nerdctl -n k8s.io run --cgroup-conf a=b i", "cgroup-conf=a=b", "i"),
        ("docker run --health-cmd 'a b' -l c -i=false i", "health-cmd=a§b label=c interactive=false", "i"),
    ],
)
def test_options_are_told_from_the_image_and_its_command(line: str, options: str, behind: str) -> None:
    """Values of their own or behind `=`, letters in one word; nothing after the image is an option."""
    found = parsed(line).arguments
    given = [word.text for word in found.words]
    assert given == [f"--{one.replace('§', ' ')}" for one in options.split()] + behind.split()
    assert [found.image, *(word.text for word in found.command)] == behind.split()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("docker run --colour red i", r"run\.sh:3: docker run has no option --colour that is known here"),
        ("docker run -dZ i", r"docker run has no option -dZ"),
        ("docker run -d --name", r"docker run --name: its value is missing"),
        ("docker run -d --name etcd", "docker run names no image"),
        ("podman run -d ''", "podman run names no image"),
        ("docker --colour run i", "docker has no option --colour"),
    ],
)
def test_a_command_that_cannot_be_told_is_refused(line: str, message: str) -> None:
    """Whether an unknown option takes the next word is not guessed: the image would be another."""
    assert makes_container(words(line))
    with pytest.raises(UsageError, match=message):
        parse_command(words(line))


@pytest.mark.parametrize(
    "line", ["docker rm -f etcd", "docker pull etcd:1", "docker exec etcd etcd --version", "ls", ""]
)
def test_other_commands_make_no_container(line: str) -> None:
    """Of the engines, and of anybody else."""
    assert parse_command(words(line)) is None
    assert not makes_container(words(line))


def test_a_container_that_was_made_before_has_its_name() -> None:
    """As units start them that `podman generate systemd` writes."""
    assert started_container(words("/usr/bin/podman start etcd")) == "etcd"
    assert started_container(words("docker container start -a etcd")) == "etcd"
    assert started_container(words("docker run start")) == ""


def test_volumes_lead_from_the_container_to_the_host() -> None:
    """The innermost, whatever spelling; a named one and one in memory have no place there."""
    found = parsed(
        "docker run -v /srv:/data --mount type=bind,src=/srv/wal,dst=/data/wal/ -v kept:/kept -v /anonymous"
        " --mount type=tmpfs,target=/data/tmp --tmpfs /fast:size=1m -v /etc/ssl:/etc/ssl:ro,z image -v /no:/no"
    ).arguments
    assert outside(found, "/data") == "/srv"
    assert outside(found, "/data/x/../member") == "/srv/member"
    assert outside(found, "/data/wal/0.wal") == "/srv/wal/0.wal"
    assert outside(found, "/etc/ssl/ca.pem") == "/etc/ssl/ca.pem"
    assert [outside(found, path) for path in ("/kept", "/anonymous", "/data/tmp", "/fast", "/database")] == [None] * 5
    assert len(volumes(found)) == 7


def test_the_table_of_options_is_the_engines_own() -> None:
    """Every option in `docker run --help` is in it, as a switch exactly where it has no type there."""
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("no docker on this machine")
    said = subprocess.run([docker, "run", "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    lines = [line for line in said.splitlines() if line[6:8] == "--"]
    assert len(lines) > 80
    for line in lines:
        name = line.split()[0 if line[2] == " " else 1]
        # a type stands one space behind the name, what it does further right
        known = OF_RUN.switches if f"{name}  " in line else OF_RUN.valued
        assert name.removeprefix("--") in known, name
