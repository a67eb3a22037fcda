"""What people call the members that logs call by IDs: by the name a log tells, else by the file it is in."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from etcdops.diagnosis.finding import Diagnosis, Finding
from etcdops.diagnosis.identify import is_id


def short_names(paths: Sequence[str]) -> list[str]:
    """As short as they can be and still differ: `m1` of `/var/log/m1.log`, with folders only where needed."""
    files = [PurePath(os.path.abspath(path)) for path in paths]
    for parts in range(1, 1 + max((len(file.parts) for file in files), default=0)):
        names = ["/".join((*file.parts[-parts:-1], file.name.partition(".")[0] or file.name)) for file in files]
        if len(set(names)) == len(names):
            return names
    return [str(file) for file in files]


def names_of(diagnosis: Diagnosis) -> dict[str, str]:
    """ID of a member -> its name, as far as its own log tells. A file's name counts where each member has its own."""
    known = {source.member: source.called for source in diagnosis.sources if is_id(source.member) and source.called}
    files = {source.member: source.name for source in diagnosis.sources if is_id(source.member)}
    if len(files) == len(diagnosis.sources) > 1:
        by_file = dict(zip(files, short_names(list(files.values())), strict=True))
        known = {**by_file, **known}
    return known


def with_names(findings: Iterable[Finding], names: Mapping[str, str]) -> tuple[Finding, ...]:
    """For people: members are called `h3 (a6ab2b850686fd8e)` where logs only have the ID."""

    def named(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{names[key]} ({key})" if (key := word.lstrip("0")) in names else word for word in words)

    return tuple(
        dataclasses.replace(finding, members=named(finding.members), peers=named(finding.peers)) for finding in findings
    )
