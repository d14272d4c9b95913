"""Write what follows from code and models: campaign fields, training settings, the command line, README's accuracies.

usage: python docs/generate.py          write the pages
       python docs/generate.py --check  end with status 1 if a page in the folder is not what the code says
"""

import json
import re
import sys
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "pages" / "reference"
HEADING = "<!-- Written by docs/generate.py from the code; change the code or that script, not this page. -->\n\n"


def attributes(docstring: str) -> dict[str, str]:
    """Field descriptions from the "Attributes" section of a docstring, in Google or numpy style.

    >>> attributes('''A thing.
    ...
    ... Attributes:
    ...     size: how large,
    ...         in metres.
    ...     name: what it is called.
    ... ''')
    {'size': 'how large, in metres.', 'name': 'what it is called.'}
    """
    _, found, section = docstring.partition("Attributes")
    if not found:
        return {}
    lines = section.lstrip(":").splitlines()[1:]
    if lines and set(lines[0].strip()) == {"-"}:
        return _numpy_attributes(lines[1:])
    fields: dict[str, str] = {}
    name = ""
    for line in lines:
        if match := re.match(r"    (\w+): (.*)", line):
            name, fields[match[1]] = match[1], match[2]
        elif name and line.startswith(" " * 8):
            fields[name] += " " + line.strip()
    return fields


def _numpy_attributes(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        if match := re.match(r"(\w+(?:, \w+)*)(?: : .*)?$", line):
            names = match[1].split(", ")
        elif line.startswith("    "):
            for name in names:
                fields[name] = f"{fields.get(name, '')} {line.strip()}".strip()
    return fields


def accepted(schema: dict[str, Any]) -> str:
    """What a field takes, in words, from its JSON schema."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        parts = [accepted(part) for part in schema["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "allOf" in schema:
        return accepted(schema["allOf"][0])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        if items := schema.get("prefixItems"):
            return f"{len(items)} values: {accepted(items[0])}"
        return f"list: {accepted(schema['items'])}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"mapping: {accepted(values)}" if isinstance(values, dict) and values else "mapping"
    limits = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = " and ".join(f"{sign} {schema[key]}" for key, sign in limits.items() if key in schema)
    words = {"number": "number", "integer": "integer", "boolean": "`true` or `false`", "string": "text"}
    word = "path" if schema.get("format") == "path" else words[str(kind)]
    return f"{word} {bounds}".strip()


def default(schema: dict[str, Any], required: bool) -> str:
    """Default of a field, as it would be written in YAML."""
    if required:
        return "required"
    value = schema.get("default")
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, dict):
        return "its defaults"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def fields_table(schema: dict[str, Any], descriptions: dict[str, str], given_elsewhere: tuple[str, ...] = ()) -> str:
    """A table of the fields of one section, but for those that a file cannot set.

    Raises
    ------
    SystemExit
        A field without a description.
    """
    rows = ["| field | takes | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in schema["properties"].items():
        if name in given_elsewhere:
            continue
        text = field.get("description") or descriptions.get(name)
        if not text:
            raise SystemExit(f"docs/generate.py: field {name} of {schema['title']} has no description in the code")
        text = _literals(text[0].upper() + text[1:])
        required = name in schema.get("required", [])
        rows.append(f"| `{name}` | {accepted(field)} | {default(field, required)} | {text} |")
    return "\n".join(rows) + "\n"


def sections(model: type[BaseModel], given_elsewhere: tuple[str, ...] = ()) -> str:
    """Tables of a model and of the sections inside it."""
    schema = model.model_json_schema()
    text = f"## {schema['title']}\n\n{_summary(schema)}\n\n"
    text += fields_table(schema, attributes(schema.get("description", "")), given_elsewhere)
    for name, part in schema.get("$defs", {}).items():
        text += f"\n## {name}\n\n{_summary(part)}\n\n{fields_table(part, attributes(part['description']))}"
    return text


def _summary(schema: dict[str, Any]) -> str:
    return _literals(" ".join(schema.get("description", "").split("Attributes")[0].split()))


def _literals(text: str) -> str:
    return re.sub(r"``(.*?)``", r"`\1`", text)


def campaign_page() -> str:
    """Fields of campaign.yaml."""
    from efgmd.campaign.config import Campaign

    return f"""# Campaign file

`efgmd run campaign.yaml` reads this file. It is validated before anything runs. Each mistake is reported with the
name of its field and what was expected; unknown fields are refused. Paths are relative to the campaign file.
`efgmd run campaign.yaml --check` validates, shows the plan and stops.

A complete file, with every section that most campaigns need:

```yaml
structure: {{file: structure.extxyz, supercell: [2, 2, 2], cells: [2, 2, 2]}}
models: {{energy: energy.safetensors, efg: efg.safetensors}}
nuclei: [127I, 14N, 2H]
temperatures: [200, 300, 350]
ensemble: {{kind: npt, pressure_control: aniso}}
timestep_fs: 0.5
equilibration_ps: 20
production_ps: 200
sampling_fs: 20
samples_per_block: 10
sites: {{framework: [Pb, I]}}
```

{sections(Campaign)}
An entry of `nuclei` is a name, or a section where the moment or spin is to be set:

```yaml
structure: {{file: structure.extxyz}}
models: {{energy: energy.safetensors, efg: efg.safetensors}}
nuclei: [14N, {{name: 127I, moment_mb: -688.2}}]
temperatures: [300]
```

## What may change when a campaign is continued

The same command continues an interrupted campaign. `production_ps` (longer), `temperatures` (added or removed),
`restart_minutes`, `ranks`, `extrapolation`, `nuclei`, `sites`, `transition`, `target_error` and `structure.cells` may
change between the two. Any other change makes it another run, and the folder of the first one is refused. (Adding or
removing 2H changes the mass of hydrogen, unless `masses` sets it.)
"""


def distillation_page() -> str:
    """Fields of the distillation file."""
    from efgmd.distillation.config import Distillation

    return f"""# Distillation file

`efgmd distill distill.yaml` reads this file, see [Distill a force field](../howto/distill.md). It is validated, and the
teacher is created, before anything runs. Each mistake is reported with the name of its field and what was expected;
unknown fields are refused. Paths are relative to the file. `efgmd distill distill.yaml --check` validates, shows the
plan and stops.

{sections(Distillation)}
The fields of `training` and `retraining` are [training settings](training.md). `elements`, `initialise`, `seed`,
`split_by` and `keys` are decided by the distillation.

## What may change when a distillation is continued

The same command continues an interrupted distillation. Only `output` may change between the two, and `rounds`
may be raised. Any other change makes it another distillation, and the folder of the first one is refused. Another
content of a file that `teacher.arguments` names and another version of the teacher's package are such changes, too.
"""


def training_page() -> str:
    """Settings of `efgmd train`."""
    from efgmd.models import EFGModel, EnergyModel
    from efgmd.training.config import TrainingConfig
    from efgmd.training.starting import LINEAR_EFG

    linear = ", ".join(f"`{name}={value}`" for name, value in LINEAR_EFG.items())
    remarks = {
        EnergyModel: "",
        EFGModel: f" A new model is linear, with {linear} (and messages no farther than a `cutoff` that is given), "
        "unless `channels` ask for a network, `linear` is false, or `initialise` names a model to start from.",
    }
    text = f"""# Training settings

`efgmd train KIND DATA... -o MODEL` takes its settings from options, or from a YAML file given with `--config`, or from
both (options win). See [Train your own models](../howto/train.md).

{sections(TrainingConfig, given_elsewhere=("kind",))}
"""
    for model, remark in remarks.items():
        names = ", ".join(f"`{name}={value}`" for name, value in model.parameters_of_constructor().items())
        text += f"""## Hyperparameters of the {model.kind if model.kind == "energy" else "EFG"} model

Given under `model:` or with `--set NAME=VALUE`; defaults: {names}.{remark}

{_numpy_list(model.__doc__ or "")}
"""
    return text.rstrip() + "\n"


def _numpy_list(docstring: str) -> str:
    lines = [line[4:] if line.startswith("    ") else line for line in docstring.splitlines()]
    section = "\n".join(lines).partition("Parameters\n----------\n")[2]
    parameters = _numpy_attributes(section.splitlines())
    merged: dict[str, list[str]] = {}
    for name, text in parameters.items():
        merged.setdefault(text, []).append(f"`{name}`")
    return "\n".join(f"- {', '.join(names)}: {text}" for text, names in merged.items()) + "\n"


def commands_page() -> str:
    """Every subcommand with its arguments and options."""
    import typer

    from efgmd.cli import app

    root: Any = typer.main.get_command(app)
    callbacks: dict[str, Any] = {str(command.name): command.callback for command in app.registered_commands}
    text = """# Command line

A user's mistake ends in one line per mistake on standard error, beginning with `error:`, and exit status 2. An
interrupt from the keyboard ends in status 130. Every command has `--help`; `efgmd --version` prints the version.

"""
    for name, command in sorted(root.commands.items()):
        text += f"## efgmd {name}\n\n{' '.join((command.help or '').split())}\n\n"
        text += "| | takes | meaning |\n| --- | --- | --- |\n"
        annotations = typing.get_type_hints(callbacks[name])
        for parameter in command.params:
            if parameter.name == "help":
                continue
            is_option = parameter.param_type_name == "option"
            label = ", ".join(f"`{flag}`" for flag in parameter.opts) if is_option else f"`{parameter.name}`"
            shown = parameter.show_default if isinstance(parameter.show_default, str) else ""
            if not shown and not parameter.required and parameter.default not in (None, False, True, [], ()):
                shown = str(getattr(parameter.default, "value", parameter.default))
            parts = [(parameter.help or "").rstrip("."), "required" if parameter.required else ""]
            parts.append(f"default: {shown}" if shown else "")
            text += (
                f"| {label} | {_takes(annotations[parameter.name])} | {'; '.join(part for part in parts if part)} |\n"
            )
        text += "\n"
    return text.rstrip() + "\n"


def _takes(annotation: Any) -> str:
    """What a parameter takes, in words, from its annotation (typer's own types differ between its versions)."""
    tuples = [part for part in (annotation, *typing.get_args(annotation)) if typing.get_origin(part) is tuple]
    if tuples:
        parts = typing.get_args(tuples[0])
        return f"{len(parts)} values: {_takes(parts[0])}"
    lists = [part for part in (annotation, *typing.get_args(annotation)) if typing.get_origin(part) is list]
    if lists:
        return f"list: {_takes(typing.get_args(lists[0])[0])}"
    kinds = [part for part in typing.get_args(annotation) if part is not type(None)] or [annotation]
    if issubclass(kinds[0], StrEnum):
        return " or ".join(f"`{member.value}`" for member in kinds[0])
    return {bool: "nothing", int: "integer", float: "number", Path: "path", str: "text"}[kinds[0]]


def accuracy_table() -> str:
    """Errors on held-out frames, as the model files of the MAPbI3 potentials record them."""
    from efgmd.models.io import read_metadata

    folder = ROOT / "potentials" / "mapbi3"
    energy, efg = (read_metadata(folder / f"{kind}.safetensors")["training"]["accuracy"] for kind in ("energy", "efg"))
    forces, tensors = (found.get("test") or found["validation"] for found in (energy, efg))
    rows = [
        "| element | EFG: RMSE (a.u.) | spread sigma (a.u.) | RMSE/sigma | R2 | force: RMSE (meV/angstrom) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for element, found in tensors["elements"].items():
        force = forces["forces_rmse_by_element_meV_per_A"][element]
        rows.append(
            f"| {element} | {found['rmse_au']:.4f} | {found['sigma_au']:.3f} | {found['rmse_per_sigma']:.3f} | "
            f"{found['r2']:.4f} | {force:.0f} |"
        )
    unseen = "test frames" if "test" in energy else "validation frames (they chose the epoch that was kept)"
    d3 = _runs_d3()
    rmse, spread = forces["forces_rmse_meV_per_A"], forces["forces_spread_meV_per_A"]
    per_atom, stress = forces["energy_rmse_meV_per_atom"], forces["stress_rmse_GPa"]
    rows += [
        "",
        f"EFG: components of the tensor, {tensors['frames']} {'test' if 'test' in efg else 'validation'} frames.",
        f"Forces: `energy.safetensors` on {forces['frames']} {unseen}; all forces {rmse:.0f} meV/angstrom (spread",
        f"{spread:.0f}), energies {per_atom:.1f} meV per atom, stresses {stress:.2f} GPa. The example uses",
        f"`energy-d3.safetensors`: {_pooled(d3):.0f} meV/angstrom, on {sum(r['frames'] for r in d3)} of these frames.",
    ]
    return "\n".join(rows) + "\n"


def _runs_d3() -> list[dict[str, Any]]:
    """Errors of the force field with D3 on held-out frames of each run."""
    path = ROOT / "potentials" / "mapbi3" / "validation" / "results_d3.json"
    return [run["errors_against_teacher"] for run in json.loads(path.read_text())["runs"].values()]


def _pooled(runs: list[dict[str, Any]]) -> float:
    """RMSE of the forces over all of them, meV/angstrom."""
    squares = sum(run["atoms"] * run["forces_rmse_meV_per_A"] ** 2 for run in runs)
    return float((squares / sum(run["atoms"] for run in runs)) ** 0.5)


def readme() -> str:
    """README.md with the table of accuracies brought up to date."""
    begin, end = "<!-- accuracies, written by docs/generate.py -->\n", "<!-- end of accuracies -->\n"
    before, _, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition(begin)
    return before + begin + "\n" + accuracy_table() + "\n" + end + rest.partition(end)[2]


def pages() -> dict[Path, str]:
    """Every generated page, by its path."""
    made = {
        "campaign.md": campaign_page(),
        "training.md": training_page(),
        "distillation.md": distillation_page(),
        "commands.md": commands_page(),
    }
    return {PAGES / name: HEADING + text for name, text in made.items()} | {ROOT / "README.md": readme()}


def main() -> None:
    """Write or check the pages."""
    check = sys.argv[1:] == ["--check"]
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if not check:
            path.write_text(pages()[path], encoding="utf-8")
        print(f"{'stale' if check else 'written'}: {path}")
    if check and stale:
        sys.exit("error: run python docs/generate.py and commit the pages")


if __name__ == "__main__":
    main()
