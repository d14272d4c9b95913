"""Markdown files of the repository and what is fenced, linked and quoted in them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


class Snippet(NamedTuple):
    """A fenced block: its file, the line it begins on, its language and its text."""

    file: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def documents() -> list[Path]:
    """All Markdown files that users read."""
    folders = ("docs", "examples", "potentials", "benchmarks")
    return sorted([*ROOT.glob("*.md"), *(path for folder in folders for path in (ROOT / folder).rglob("*.md"))])


def snippets(language: str) -> list[Snippet]:
    """Fenced blocks of a language, in all documents."""
    found = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Snippet(path, line, match[1], match[2]))
    return [snippet for snippet in found if snippet.language == language]


def prose(path: Path) -> str:
    """The text of a document without its fenced blocks."""
    return re.sub(r"^```\w*\n.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
