"""Reads files of settings; each mistake becomes one line: the path of the field, what was found, what was expected."""

import difflib
import types
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from efgmd.campaign.config import Campaign
from efgmd.campaign.section import Section
from efgmd.errors import ConfigError

S = TypeVar("S", bound=Section)


class _UniqueKeys(yaml.SafeLoader):
    """YAML loader that refuses a key given twice, which plain YAML silently overwrites."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a list cannot name a field", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"field {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_campaign(path: Path) -> Campaign:
    """Read and validate a campaign file (its fields only; see `efgmd.campaign.checks` for the files it names).

    Raises
    ------
    ConfigError
        With one line per mistake.
    """
    return load_settings(path, Campaign, "campaign file", "`structure:` and `temperatures:`")


def load_settings(path: Path, root: type[S], name: str, examples: str) -> S:
    """Read and validate a YAML file.

    Parameters
    ----------
    path
        The file; paths inside it are relative to its folder.
    root
        The section that the whole file is.
    name
        What the file is called in errors.
    examples
        Fields that it may hold, for the error about a file that holds none.

    Raises
    ------
    ConfigError
        With one line per mistake.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            content = yaml.load(stream, _UniqueKeys)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the {name}: {reason}", str(path)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError(f"{line}{getattr(error, 'problem', None) or 'not valid YAML'}", str(path)) from error
    if not isinstance(content, dict):
        raise ConfigError(f"expected a mapping of fields such as {examples}", str(path))
    try:
        return root.model_validate(content, context={"folder": Path(path).resolve().parent})
    except ValidationError as error:
        raise ConfigError(one_line_each(error, root), str(path)) from error


def one_line_each(error: ValidationError, root: type[Section]) -> list[str]:
    """One line per mistake that validation of the section ``root`` found."""
    found = error.errors()
    inside = {item["loc"][: len(item["loc"]) - k] for item in found for k in range(1, len(item["loc"]))}
    # A list of which every entry is wrong counts as empty for pydantic; its entries have been reported already.
    kept = [item for item in found if not (item["type"] == "too_short" and item["loc"] in inside)]
    return [_one_line(item, root) for item in kept]


def field_path(location: tuple[int | str, ...]) -> str:
    """Write a pydantic location as ``nuclei[0].name``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _one_line(item: Any, root: type[Section]) -> str:
    location = field_path(item["loc"])
    kind, found = item["type"], item["input"]
    if kind == "extra_forbidden":
        fields = _fields_at(item["loc"][:-1], root)
        close = difflib.get_close_matches(str(item["loc"][-1]), fields, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(fields)}"
        return f"{location}: unknown field; {hint}"
    if kind == "missing":
        return f"{location}: missing, expected {root.EXPECTED.get(location, 'a value')}"
    message = item["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{location}: {message}" if location else message
    if kind == "model_type":
        known = ", ".join(_fields_at(item["loc"], root))
        nuclear = "a nucleus such as 127I, or " if item["loc"][0] == "nuclei" else ""
        return f"{location}: found {_short(found)}, expected {nuclear}a section with the fields {known}"
    message = _EXPECTED_BY_KIND.get(kind, message.removeprefix("Input should be "))
    return f"{location}: found {_short(found)}, expected {message}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields_at(location: tuple[int | str, ...], root: type[Section]) -> list[str]:
    return list(_section_at(location, root).model_fields)


def _section_at(location: tuple[int | str, ...], root: type[Section]) -> type[Section]:
    section = root
    for part in location:
        if isinstance(part, str) and part in section.model_fields:
            section = _find_section(section.model_fields[part].annotation) or section
    return section


def _find_section(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, Section) else None
    return next((found for argument in get_args(annotation) if (found := _find_section(argument))), None)


_EXPECTED_BY_KIND = {
    "path_type": "the path of a file",
    "tuple_type": "a list, for example [300]",
    "too_short": "at least one entry",
    "int_parsing": "an integer",
    "float_parsing": "a number",
}
