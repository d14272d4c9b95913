"""What the checks find, and how it is printed."""

import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

COLOURS = {"ok": "32", "note": "33", "wrong": "31;1", "skipped": "2"}
INDENT, WIDTH_OF_VERDICT, WIDTH_OF_NAME = 2, 9, 26


class Verdict(StrEnum):
    """What a finding means: as it should be; worth knowing; to be mended; could not be tried."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One line of the page.

    Attributes
    ----------
    part
        Heading it belongs to.
    name
        What was looked at.
    verdict
        What it means.
    found
        What was found, one line.
    fix
        What to do about it, one line; never empty when the verdict is "wrong".
    """

    part: str
    name: str
    verdict: Verdict
    found: str
    fix: str = ""

    def __post_init__(self) -> None:
        if self.verdict is Verdict.WRONG and not self.fix:
            raise ValueError(f"{self.name}: what is wrong needs a fix")


@dataclass(frozen=True)
class Part:
    """Makes the findings of one heading."""

    name: str

    def ok(self, name: str, found: str) -> Finding:
        """As it should be."""
        return Finding(self.name, name, Verdict.OK, found)

    def note(self, name: str, found: str, fix: str = "") -> Finding:
        """Worth knowing; with what to do if it is not meant."""
        return Finding(self.name, name, Verdict.NOTE, found, fix)

    def wrong(self, name: str, found: str, fix: str) -> Finding:
        """To be mended."""
        return Finding(self.name, name, Verdict.WRONG, found, fix)

    def skipped(self, name: str, why: str) -> Finding:
        """Could not be tried."""
        return Finding(self.name, name, Verdict.SKIPPED, why)


def page(findings: Iterable[Finding], width: int, colours: bool) -> Iterator[str]:
    """Lines of the printed page, each as soon as its finding is there.

    Parameters
    ----------
    findings
        In the order of the page.
    width
        Columns of the terminal.
    colours
        Whether to colour the verdicts.
    """
    part, wrong, notes = "", 0, 0
    for finding in findings:
        if finding.part != part:
            part = finding.part
            yield f"\n{part}"
        yield from _lines(finding, width, colours)
        wrong += finding.verdict is Verdict.WRONG
        notes += finding.verdict is Verdict.NOTE
    told = f", {notes} to note" if notes else ""
    yield f"\n{wrong} to fix{told}" if wrong else f"\nall is well{told}"


def _lines(finding: Finding, width: int, colours: bool) -> Iterator[str]:
    verdict = f"{finding.verdict:<{WIDTH_OF_VERDICT}}"
    if colours:
        verdict = f"\033[{COLOURS[finding.verdict]}m{verdict}\033[0m"
    margin = INDENT + WIDTH_OF_VERDICT + WIDTH_OF_NAME
    found = _wrapped(finding.found, width - margin)
    yield f"{' ' * INDENT}{verdict}{finding.name:<{WIDTH_OF_NAME}}{found[0]}".rstrip()
    for line in found[1:]:
        yield " " * margin + line
    for k, line in enumerate(_wrapped(finding.fix, width - margin - 5) if finding.fix else []):
        yield " " * margin + ("fix: " if k == 0 else " " * 5) + line


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 40), break_long_words=False, break_on_hyphens=False) or [""]


def to_terminal(findings: Iterable[Finding], width: int) -> None:
    """Print the page as it comes to be."""
    for line in page(findings, width, sys.stdout.isatty()):
        print(line, flush=True)
