"""How often the first finding is right: `python -m tests.diagnosis.eval`, accuracy and a table of confusions."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from tests.diagnosis.cases import Case, answer, held_out, made, posted

REQUIRED_SHARE = 0.95
"""Below that the run fails: 38 of the 40 posted logs."""


def evaluate(cases: Sequence[Case]) -> tuple[int, Counter[tuple[str, str]]]:
    """How many are right, and how often which cause was taken for which."""
    right, confused = 0, Counter[tuple[str, str]]()
    for case in cases:
        diagnosis = case.diagnosed()
        if case.right(diagnosis):
            right += 1
        else:
            confused[case.category, answer(diagnosis)] += 1
    return right, confused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="each case with what was found")
    arguments = parser.parse_args()
    good = True
    for name, cases in (
        ("posted logs", posted()),
        ("made after etcd's formats", made()),
        ("held-out excerpts", held_out()),
    ):
        right, confused = evaluate(cases)
        good = good and right >= REQUIRED_SHARE * len(cases)
        print(f"{name}: {right} of {len(cases)} right ({right / len(cases):.1%})")
        for (expected, found), count in sorted(confused.items()):
            print(f"  {expected:30} taken for {found:30} {count}")
        if arguments.verbose:
            for case in cases:
                print(f"  {case.name:32} {case.category:28} {[finding.slug for finding in case.diagnosed().findings]}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
