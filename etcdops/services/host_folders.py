"""What is in a folder of a host."""

from __future__ import annotations

from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Session

_NAMES = 'cd -- "$1" 2>/dev/null || exit 0; for file in * .[!.]*; do [ -f "$file" ] && printf "%s\\n" "$file"; done; :'


async def names_in(session: Session, folder: str) -> list[str]:
    """Names of the files in it, sorted; none when there is no such folder. Raises: as the session."""
    listed = await session.run(script(_NAMES, folder, user=ROOT))
    return sorted(listed.text.splitlines())
