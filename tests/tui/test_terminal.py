"""A terminal that goes away while the console draws."""

from __future__ import annotations

import os
import pty
from typing import IO, cast

import pytest
from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread

from etcdops.tui.terminal import LastingOutput


@pytest.mark.timeout(30)
def test_output_is_taken_also_when_the_terminal_is_gone() -> None:
    """Goal: the console ends. Textual's writing thread ended with the first error, and the console waited for room in
    the queue behind it: a window that was closed left a process that only SIGKILL could end."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as file:
        os.close(master)
        with pytest.raises(OSError, match="Input/output"):
            os.write(slave, b"x")
        writer = WriterThread(cast("IO[str]", LastingOutput(file)))
        writer.start()
        for _ in range(3 * MAX_QUEUED_WRITES):
            writer.write("text" * 5000)
        writer.stop()
        assert not writer.is_alive()
        assert LastingOutput(file).fileno() == slave


def test_output_to_a_file_that_is_closed_is_dropped() -> None:
    """As above, at the very end."""
    file = open(os.devnull, "w")  # noqa: SIM115 - closed before it is written to
    file.close()
    output = LastingOutput(file)
    assert output.write("four") == 4
    output.flush()
