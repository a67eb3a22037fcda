"""Scripts that start members, read without running them."""

from __future__ import annotations

import asyncio
import posixpath
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdops.services.container_arguments import Arguments, parse_engine_environment
from etcdops.services.etcd_settings import Placed, Start
from etcdops.services.start_script import read_script, read_wrapped
from etcdops.services.supervisord_file import programs


async def read(text: str, files: dict[str, str] | None = None, **env: str) -> Start:
    async def give(path: str) -> str | None:
        return (files or {}).get(path)

    begin = Start("/etc/x/run", (), {name: Placed(value, "before") for name, value in env.items()}, "root", "/etc/x")
    return await read_script(text, "/etc/x/run", begin, give)


async def test_assignments_sources_and_wrappers_are_followed() -> None:
    """The usual parts of a run file; what is not exported does not arrive."""
    text = """\
#!/bin/sh
exec 2>&1
set -a
. ./vars
set +a
HIDDEN=1
DIR="/var/lib/$NAME"
export ETCD_DATA_DIR=${DIR} ETCD_MAX_WALS="${WALS:-7}"
[ -d "$DIR" ] || mkdir -p "$DIR"
ulimit -n 65536
exec nice -n -5 chpst -u etcd:etcd -o 1024 \\
    env ETCD_PRE_VOTE=false /usr/bin/etcd --name "$NAME" \\
    --initial-cluster-token 'a $b' $EXTRA >/dev/null
"""
    found = await read(text, {"/etc/x/./vars": "NAME=m1\nETCD_METRICS=basic # why\nEXTRA='--a=1 --b=2'\n"})
    assert found.program == "/usr/bin/etcd"
    assert [word.text for word in found.arguments] == [
        "--name", "m1", "--initial-cluster-token", "a $b", "--a=1", "--b=2", "/dev/null",
    ][:6]  # fmt: skip
    assert found.user == "etcd"
    env = {name: value.text for name, value in found.env.items() if name.startswith("ETCD_")}
    assert env == {
        "ETCD_METRICS": "basic",
        "ETCD_DATA_DIR": "/var/lib/m1",
        "ETCD_MAX_WALS": "7",
        "ETCD_PRE_VOTE": "false",
    }
    assert "HIDDEN" not in found.env
    assert found.env["ETCD_METRICS"].where == "/etc/x/./vars:2"
    assert found.arguments[2].where == "/etc/x/run:13"


async def test_a_script_that_starts_no_member_says_so() -> None:
    """Instead of an empty configuration that looks real."""
    found = await read("#!/bin/sh\nexec /opt/other --x\n")
    assert "ends in /opt/other --x: no member is seen to be started" in found.notes[-1]


@pytest.mark.parametrize(
    "text",
    [
        "exec python3 -m etcdops node --name=m1",
        "exec /usr/local/bin/etcdops node --name=m1",
        "exec python3 /opt/etcdops-1.0.pyz node --name=m1",
        "sudo -u etcd -- etcd --name=m1",
        "NAME=m1; exec etcd --name=${NAME}",
        "if true; then exec etcd --name=m1; fi",
    ],
)
async def test_members_of_both_kinds_are_recognised(text: str) -> None:
    """However they are called."""
    found = await read(text)
    assert [word.text for word in found.arguments][:1] == ["--name=m1"], found


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1), min_size=1))
def test_words_of_a_container_are_split_as_a_shell_does(given_words: list[str]) -> None:
    """Whatever is in them."""
    assert [word.text for word in Arguments.parse("\n".join(map(shlex.quote, given_words)), "/a").words] == given_words


def test_arguments_of_a_container_know_their_image_and_options() -> None:
    """Comments and lines do not count for the digest."""
    text = '# a member\n--env=ETCD_NAME=m1 --env="A=b c" # why\n--volume=/a:/b\nimage:1\n--name=x # y\n'
    parsed = Arguments.parse(text, "/a")
    assert parsed.image == "image:1"
    assert parsed.options("--env", "-e") == [Placed("ETCD_NAME=m1", "/a:2"), Placed("A=b c", "/a:2")]
    assert parsed.command == (Placed("--name=x", "/a:5"),)
    assert parsed.digest == Arguments.parse(text.replace("\n", "\n\n"), "/b").digest
    for broken in ("'a", '"a'):
        with pytest.raises(ValueError, match=r"/a:1: . is not closed"):
            Arguments.parse(broken, "/a")


def test_an_env_file_of_an_engine_has_no_quotes() -> None:
    """Other than systemd's."""
    read = parse_engine_environment("# c\nA='b' # d\nHOME\n", "/e")
    assert read == {"A": Placed("'b' # d", "/e:2")}


def test_a_program_of_supervisord_is_read() -> None:
    """Comments inside lines, percent signs, variables over several lines."""
    text = """\
[program:etcd]
command=/usr/bin/etcd --name='m 1' --x=50%% ; why
environment=ETCD_MAX_WALS="7",
    ETCD_DATA_DIR=%(here)s/data
user=etcd
autostart=false
stdout_logfile=/var/log/%(program_name)s.log
[program:other]
command=/bin/cat
"""
    etcd, other = programs(text, "/etc/s/etcd.conf")
    assert [word.text for word in etcd.argv] == ["/usr/bin/etcd", "--name=m 1", "--x=50%"]
    assert etcd.argv[1].where == "/etc/s/etcd.conf:2"
    assert {name: value.text for name, value in etcd.env.items()} == {
        "ETCD_MAX_WALS": "7",
        "ETCD_DATA_DIR": "/etc/s/data",
    }
    assert (etcd.user, etcd.autostart, etcd.log) == ("etcd", False, "/var/log/etcd.log")
    assert other.autostart
    with pytest.raises(ValueError, match="No closing quotation"):
        programs("[program:x]\ncommand='a\n", "/x")


@pytest.mark.parametrize("text", ["a\\ b", "'a'\\''b'", '"$A"x', "$A", "${A:-c}", "a#b", "''", '"a\\"b"'])
async def test_words_are_what_a_shell_makes_of_them(text: str) -> None:
    """Compared with a shell, but for what only running can tell."""
    loop = f'A="p q"; for w in {text}; do printf "%s\\n" "$w"; done'
    shell = await asyncio.to_thread(subprocess.run, ["/bin/sh", "-c", loop], capture_output=True, check=True)
    found = await read(f"A='p q'; exec etcd {text}")
    assert [word.text for word in found.arguments] == shell.stdout.decode().splitlines()


FOLDER = {"ETCD_NAME": "m1  \nnot this\n", "ETCD_CORS": "", "ETCD_LOG_LEVEL": "a\0b\n", ".hidden": "x"}


async def listed(folder: str) -> list[str]:
    return sorted(FOLDER) if folder == "/etc/x/env" else []


@pytest.mark.parametrize("wrapper", ["envdir ./env", "chpst -u etcd -e ./env", "chpst -e/etc/x/env"])
async def test_a_folder_of_variables_is_read(wrapper: str) -> None:
    """As daemontools' envdir does: first lines, without trailing spaces, NUL for a newline; an empty file unsets."""
    found = await start_of(f"export ETCD_CORS=before ETCD_METRICS=basic\nexec {wrapper} /usr/bin/etcd --max-wals=3\n")
    assert {name: value.text for name, value in found.env.items()} == {
        "ETCD_METRICS": "basic",
        "ETCD_NAME": "m1",
        "ETCD_LOG_LEVEL": "a\nb",
    }
    assert found.env["ETCD_NAME"].where == "/etc/x/env/ETCD_NAME"
    assert [word.text for word in found.arguments] == ["--max-wals=3"]
    assert found.notes == ()


async def test_a_folder_that_is_not_there_is_named() -> None:
    """envdir would not start the member either."""
    found = await start_of("exec envdir /none etcd\n")
    assert found.notes == ("/none: no variables were found in this folder",)


async def start_of(text: str) -> Start:
    async def give(path: str) -> str | None:
        return FOLDER.get(posixpath.basename(path))

    return await read_script(text, "/etc/x/run", Start("/etc/x/run", (), {}, "root", "/etc/x"), give, listed)


async def test_a_member_behind_other_programs_needs_no_script() -> None:
    """As it stands in a unit's ExecStart."""
    words = [Placed(word, "u:1") for word in shlex.split("/usr/bin/env A=1 nice -n 5 envdir /etc/x/env etcd --name=a")]

    async def give(path: str) -> str | None:
        return FOLDER.get(posixpath.basename(path))

    found = await read_wrapped(words, Start("/usr/bin/env", (), {}), give, listed)
    assert (found.program, [word.text for word in found.arguments]) == ("etcd", ["--name=a"])
    assert {"A", "ETCD_NAME"} <= set(found.env)
    other = Start("/usr/bin/env", (), {})
    assert await read_wrapped(words[:2], other, give, listed) == other
