"""What every session must do, whichever way it reaches its host. Test classes inherit it and give a `session`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path

import pytest

from etcdops.errors import AccessDenied, EtcdopsError
from etcdops.remote.command import command, script
from etcdops.remote.session import (
    CommandFailed,
    CommandTimedOut,
    FileKind,
    FileToWrite,
    Ownership,
    Session,
)
from etcdops.secret import Secret

ODD_NAME = "a 'b' \"c\" $(touch pwned) -x\n!\\"


class SessionContract:
    """The host has this machine's file system: tests look at the files directly."""

    async def test_a_command_gives_status_and_output_apart(self, session: Session) -> None:
        """Status, stdout and stderr, byte by byte."""
        result = await session.run(script(r"printf 'out\377\0'; printf err >&2; exit 7"), check=False)
        assert (result.exit_status, result.stdout, result.stderr) == (7, b"out\xff\0", b"err")
        assert not result.ok

    async def test_a_failure_names_host_command_status_and_what_it_said(self, session: Session) -> None:
        """And shows no secret."""
        failing = script('echo "cannot: $1" >&2; exit 3', Secret("hunter2"))
        with pytest.raises(CommandFailed) as caught:
            await session.run(failing)
        assert session.host in caught.value.message
        assert "exit status 3" in caught.value.message
        assert caught.value.cause == "cannot: ***"
        assert "hunter2" not in " ".join(caught.value.lines())

    async def test_arguments_variables_and_folders_arrive_as_they_are(self, session: Session, tmp_path: Path) -> None:
        """Nothing between here and the program reads them."""
        folder = tmp_path / ODD_NAME
        folder.mkdir()
        result = await session.run(
            command(
                "sh",
                "-c",
                r'printf "%s\0" "$@" "$ODD" "$PWD"',
                "sh",
                ODD_NAME,
                "",
                env={"ODD": ODD_NAME},
                cwd=str(folder),
            )
        )
        assert result.stdout.split(b"\0")[:-1] == [ODD_NAME.encode(), b"", ODD_NAME.encode(), os.fsencode(folder)]
        assert list(folder.iterdir()) == []

    async def test_stdin_arrives_whole_and_ends(self, session: Session) -> None:
        """More than any buffer on the way."""
        content = os.urandom(3_000_000)
        result = await session.run(command("sha256sum", stdin=content))
        assert result.text.split()[0] == hashlib.sha256(content).hexdigest()
        assert (await session.run(command("wc", "-c"))).text.strip() == "0"

    async def test_a_program_that_does_not_read_is_no_error(self, session: Session) -> None:
        """Its status tells."""
        assert (await session.run(command("true", stdin=b"x" * 1_000_000))).ok

    async def test_many_files_are_written_and_looked_at_in_one_go(self, session: Session, tmp_path: Path) -> None:
        """Bytes, permissions, and paths of any kind; what is not there, folders and links among them."""
        contents = {f"{tmp_path}/{ODD_NAME}": os.urandom(5000), f"{tmp_path}/empty": b"", f"{tmp_path}/line": b"x\n"}
        files = [FileToWrite(path, content, Ownership(0o640)) for path, content in contents.items()]
        await session.write_files(files)
        (tmp_path / "link").symlink_to("line")
        (tmp_path / "dangling").symlink_to("nowhere")
        more = [f"{tmp_path}/link", f"{tmp_path}/dangling", str(tmp_path), f"{tmp_path}/no"]
        seen = await session.look([*contents, *more])
        assert list(seen) == [*contents, *more]
        for path, content in contents.items():
            found = seen[path]
            assert found is not None
            assert (found.content, found.stat.mode, found.stat.kind) == (content, 0o640, FileKind.FILE)
            assert found.stat == await session.stat(path)
        link, dangling, folder, nothing = (seen[path] for path in more)
        assert link is not None
        assert (link.content, link.stat.kind) == (b"x\n", FileKind.LINK)
        assert dangling is not None
        assert (dangling.content, dangling.stat.kind) == (None, FileKind.LINK)
        assert folder is not None
        assert (folder.content, folder.stat.kind) == (None, FileKind.FOLDER)
        assert nothing is None
        assert await session.look([]) == {}

    async def test_of_many_files_those_before_a_failure_are_whole(self, session: Session, tmp_path: Path) -> None:
        """And nothing half-written is left."""
        first, second = f"{tmp_path}/first", f"{tmp_path}/no-such-folder/second"
        with pytest.raises(CommandFailed):
            await session.write_files([FileToWrite(first, b"1"), FileToWrite(second, b"2")])
        assert [path.name for path in tmp_path.iterdir()] == ["first"]

    async def test_output_is_kept_up_to_a_limit(self, session: Session) -> None:
        """A program that prints without end does not fill our memory, and is not stopped by us."""
        result = await session.run(script("head -c 5000000 /dev/zero; echo done >&2"), output_max=1000)
        assert (len(result.stdout), result.cut, result.stderr) == (1000, True, b"done\n")

    async def test_a_command_that_takes_too_long_is_ended_on_the_host(self, session: Session, tmp_path: Path) -> None:
        """Not only given up here."""
        mark = tmp_path / "pid"
        with pytest.raises(CommandTimedOut, match="did not end within 1 s"):
            await session.run(script('echo $$ > "$1"; exec sleep 600', str(mark)), timeout_s=1)
        await _ended(int(mark.read_text()))

    async def test_a_stream_gives_lines_as_they_come(self, session: Session, tmp_path: Path) -> None:
        """The second line is printed only after the first was read here."""
        gate = tmp_path / "gate"
        following = session.stream(
            script('echo first; while [ ! -e "$1" ]; do sleep 0.02; done; printf second', str(gate))
        )
        assert await asyncio.wait_for(anext(following), 20) == b"first"
        gate.touch()
        assert [line async for line in following] == [b"second"]

    async def test_a_stream_that_is_closed_ends_on_the_host(self, session: Session, tmp_path: Path) -> None:
        """`journalctl -f` must not outlive the one who looked at it."""
        following = session.stream(script("echo $$; exec sleep 600"))
        pid = int(await asyncio.wait_for(anext(following), 20))
        await following.aclose()  # type: ignore[attr-defined]  # an async generator, as all of ours are
        await _ended(pid)

    async def test_a_stream_that_fails_says_so_after_its_lines(self, session: Session) -> None:
        """As `run` does."""
        printing = session.stream(script("echo one; echo bad >&2; exit 4"))
        assert await anext(printing) == b"one"
        with pytest.raises(CommandFailed, match="exit status 4"):
            await anext(printing)

    async def test_a_stream_cuts_endless_lines(self, session: Session) -> None:
        """Nothing lost, nothing unbounded."""
        pieces = [piece async for piece in session.stream(script("head -c 200000 /dev/zero; echo; echo end"))]
        assert b"".join(pieces[:-1]) == bytes(200_000)
        assert pieces[-1] == b"end"
        assert max(map(len, pieces)) <= 1 << 16

    async def test_files_are_written_as_a_whole(self, session: Session, tmp_path: Path) -> None:
        """Content, permissions, no remains; replaced, not changed: a reader of the old one goes on reading it."""
        path = tmp_path / ODD_NAME
        content = bytes(range(256)) * 1000
        await session.write_file(str(path), b"old", Ownership(0o644))
        with path.open("rb") as reader:
            await session.write_file(str(path), content, Ownership(0o600))
            assert reader.read() == b"old"
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o600
        assert [found.name for found in tmp_path.iterdir()] == [ODD_NAME]
        assert await session.read_file(str(path)) == content

    async def test_a_file_that_cannot_be_written_leaves_nothing(self, session: Session, tmp_path: Path) -> None:
        """A folder in its place, or no folder to be in."""
        (tmp_path / "folder").mkdir()
        with pytest.raises(CommandFailed) as caught:
            await session.write_file(str(tmp_path / "folder"), b"x", Ownership())
        assert "is a folder" in caught.value.cause
        with pytest.raises(CommandFailed):
            await session.write_file(str(tmp_path / "none" / "file"), b"x", Ownership())
        assert [found.name for found in tmp_path.rglob("*")] == ["folder"]

    async def test_reading_what_is_not_there_or_too_big(self, session: Session, tmp_path: Path) -> None:
        """None, and an error; never half a file."""
        assert await session.read_file(str(tmp_path / "none")) is None
        (tmp_path / "big").write_bytes(bytes(2000))
        with pytest.raises(EtcdopsError, match="bigger than 1000 bytes"):
            await session.read_file(str(tmp_path / "big"), max_bytes=1000)
        with pytest.raises(CommandFailed):
            await session.read_file(str(tmp_path))

    async def test_stat_tells_what_a_path_is(self, session: Session, tmp_path: Path) -> None:
        """Without following links."""
        (tmp_path / "file").write_bytes(b"12345")
        (tmp_path / "file").chmod(0o640)
        (tmp_path / "link").symlink_to("nowhere")
        found = await session.stat(str(tmp_path / "file"))
        assert found is not None
        assert (found.kind, found.size, found.mode) == (FileKind.FILE, 5, 0o640)
        assert found.owner == (tmp_path / "file").owner()
        assert abs(found.modified_at - time.time()) < 100
        assert [
            found and found.kind
            for found in [await session.stat(str(tmp_path / name)) for name in ("link", "", "none")]
        ] == [FileKind.LINK, FileKind.FOLDER, None]

    async def test_transfers_are_checked_and_tell_how_far_they_are(self, session: Session, tmp_path: Path) -> None:
        """Both ways."""
        source, there, back = tmp_path / "source", tmp_path / ODD_NAME, tmp_path / "back"
        content = os.urandom(1_000_000)
        source.write_bytes(content)
        seen: list[tuple[int, int]] = []
        digest = await session.upload(
            source, str(there), Ownership(0o640), progress=lambda done, total: seen.append((done, total)), timeout_s=60
        )
        assert digest == hashlib.sha256(content).hexdigest()
        assert there.read_bytes() == content
        assert there.stat().st_mode & 0o777 == 0o640
        assert seen[-1] == (1_000_000, 1_000_000)
        assert await session.download(str(there), back, timeout_s=60) == digest
        assert back.read_bytes() == content
        assert len(list(tmp_path.iterdir())) == 3

    async def test_an_empty_file_travels(self, session: Session, tmp_path: Path) -> None:
        """Zero bytes are content as well."""
        (tmp_path / "empty").touch()
        await session.upload(tmp_path / "empty", str(tmp_path / "there"), Ownership(), timeout_s=20)
        await session.download(str(tmp_path / "there"), tmp_path / "back", timeout_s=20)
        assert (tmp_path / "back").read_bytes() == b""

    async def test_transfers_go_on_where_they_were_cut_off(self, session: Session, tmp_path: Path) -> None:
        """Only what is missing is sent."""
        source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
        content = os.urandom(1_000_000)
        source.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        (tmp_path / f"there.{digest[:16]}.part").write_bytes(content[:900_000])
        seen: list[int] = []
        await session.upload(source, str(there), Ownership(), progress=lambda done, _: seen.append(done), timeout_s=60)
        assert there.read_bytes() == content
        assert seen[0] > 900_000
        (tmp_path / f"back.{digest[:16]}.part").write_bytes(content[:700_000])
        seen.clear()
        await session.download(str(there), back, progress=lambda done, _: seen.append(done), timeout_s=60)
        assert back.read_bytes() == content
        assert seen[0] > 700_000

    async def test_a_damaged_beginning_is_noticed_and_the_next_try_succeeds(
        self, session: Session, tmp_path: Path
    ) -> None:
        """A resumed transfer is compared as a whole."""
        source, there = tmp_path / "source", tmp_path / "there"
        source.write_bytes(os.urandom(10_000))
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        (tmp_path / f"there.{digest[:16]}.part").write_bytes(b"x" * 5000)
        with pytest.raises(CommandFailed) as caught:
            await session.upload(source, str(there), Ownership(), timeout_s=20)
        assert "did not arrive whole" in caught.value.cause
        assert not there.exists()
        await session.upload(source, str(there), Ownership(), timeout_s=20)
        assert there.read_bytes() == source.read_bytes()

    async def test_many_commands_run_at_once(self, session: Session, tmp_path: Path) -> None:
        """Each waits for all the others to have begun."""
        meet = """
        : > "$1/$2"
        for _ in $(seq 200); do
            [ "$(ls "$1" | wc -l)" -lt 10 ] || { echo "$2"; exit 0; }
            sleep 0.1
        done
        exit 1
        """
        results = await asyncio.gather(*(session.run(script(meet, str(tmp_path), str(number))) for number in range(10)))
        assert [result.text for result in results] == [str(number) for number in range(10)]

    async def test_more_commands_at_once_than_a_host_takes_wait_for_each_other(self, session: Session) -> None:
        """OpenSSH refuses more than ten on one connection."""
        results = await asyncio.gather(*(session.run(command("echo", str(number))) for number in range(40)))
        assert [result.text for result in results] == [str(number) for number in range(40)]

    async def test_a_tunnel_leads_to_what_the_host_sees(self, session: Session) -> None:
        """Both directions, half-closed connections included."""

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"got " + await reader.read())
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            tunnel = await session.tunnel("127.0.0.1", server.sockets[0].getsockname()[1])
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*tunnel.address)
                writer.write(b"x" * 300_000)
                writer.write_eof()
                assert await asyncio.wait_for(reader.read(), 20) == b"got " + b"x" * 300_000
                writer.close()
            await tunnel.close()

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo without a password")
    async def test_another_user_runs_and_owns_what_it_should(self, session: Session, tmp_path: Path) -> None:
        """Commands and files alike; environment, folder and arguments survive sudo."""
        tmp_path.chmod(0o777)
        for parent in tmp_path.parents:
            if parent.owner() == "root" and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        asked = command(
            "sh",
            "-c",
            r'id -un; printf "%s\n" "$ODD" "$PWD" "$1"',
            "sh",
            ODD_NAME,
            env={"ODD": "a b"},
            cwd=str(tmp_path),
        )
        result = await session.run(asked.as_user("nobody"))
        assert result.text == f"nobody\na b\n{tmp_path}\n{ODD_NAME}"
        await session.write_file(str(tmp_path / "file"), b"x", Ownership(0o600), user="nobody")
        assert (tmp_path / "file").owner() == "nobody"
        assert await session.read_file(str(tmp_path / "file"), user="nobody") == b"x"
        lines = [line async for line in session.stream(command("id", "-un", user="nobody"))]
        assert lines == [b"nobody"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo without a password")
    async def test_becoming_nobody_known_is_access_denied(self, session: Session) -> None:
        """sudo's own words, understood."""
        with pytest.raises(AccessDenied, match="there is no such user"):
            await session.run(command("true", user="no-such-user"))


async def _ended(pid: int) -> None:
    """Wait until no process has this number."""
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, f"process {pid} goes on"
        await asyncio.sleep(0.02)
