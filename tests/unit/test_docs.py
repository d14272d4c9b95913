"""What the documents say about commands, fields, files and messages is what the code has."""

import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from ase.data import chemical_symbols as ELEMENTS

sys.path.insert(0, str(Path(__file__).parents[1]))

import efgmd
from documents import README, ROOT, documents, prose, snippets
from efgmd.campaign.reading import load_campaign
from efgmd.cli import app
from efgmd.distillation.config import load_distillation
from efgmd.nuclei import known_nuclei
from efgmd.training.config import read_config

PAGES = ROOT / "docs" / "pages"


def section_command(heading):
    """The first fenced block under a heading of README.md."""
    section = README.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.search(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[1]


def test_ci_runs_the_command_of_the_readme():
    printed = subprocess.run([ROOT / ".ci" / "run", "--print"], capture_output=True, text=True, check=True).stdout
    assert printed == section_command("Run the tests")


@pytest.mark.parametrize("heading", ["Run it", "Run the tests"])
def test_commands_of_the_readme_stop_at_the_first_failure(heading):
    lines = section_command(heading).splitlines()
    assert all(line.endswith(" &&") for line in lines[:-1]) and not lines[-1].endswith("&&")
    assert lines[0].startswith("python3 -m venv ") and "-c constraints.txt" in lines[2]


def test_campaign_of_the_readme_exists():
    assert (ROOT / section_command("Run it").split()[-1]).is_file()


def test_generated_pages_follow_the_code():
    specification = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(generate)
    for path, text in generate.pages().items():
        assert path.read_text(encoding="utf-8") == text, "run: python docs/generate.py"
    assert doctest.testmod(generate).failed == 0


def test_theory_lists_the_nuclei_that_are_built_in():
    listed = (PAGES / "theory.md").read_text().split("(2008), for ")[1].split(". Others")[0]
    known = {nucleus.name for element in ELEMENTS for nucleus in known_nuclei(element)}
    assert sorted(listed.replace("\n", " ").split(", ")) == sorted(known)


def command_lines():
    """Every call of efgmd in fenced or quoted code, as (where, words)."""
    calls = []
    for snippet in snippets("bash"):
        joined = snippet.text.replace("\\\n", " ")
        calls += [(str(snippet), line) for line in re.findall(r"(?:^|\s)efgmd ([^\n#|&>]*)", joined)]
    for path in documents():
        calls += [(path.name, code) for code in re.findall(r"`efgmd ([^`]*)`", prose(path))]
    return [(where, call.split()) for where, call in calls]


def known_options():
    """Options of each subcommand."""
    commands = typer.main.get_command(app).commands
    options = {name: {flag for p in command.params for flag in p.opts} for name, command in commands.items()}
    return {"": {"--version", "--help"}} | {name: found | {"--help"} for name, found in options.items()}


def test_commands_and_their_options_exist():
    known = known_options()
    calls = command_lines()
    assert len(calls) > 10
    for where, words in calls:
        name = "" if words[0].startswith("-") else words[0]
        assert name in known, f"{where}: there is no command efgmd {name}"
        used = {word.split("=")[0] for word in words if word.startswith("-")}
        if name != "lmp":  # passes LAMMPS' own options on
            assert used <= known[name], f"{where}: efgmd {name} has no {used - known[name]}"


def test_links_lead_somewhere():
    for path in documents():
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
            if not re.match(r"https?://|mailto:|#", target):
                assert (path.parent / target.split("#")[0]).exists(), f"{path.relative_to(ROOT)}: {target}"


def test_paths_in_code_exist():
    made_by_runs = ("examples/mapbi3/quick-run", "examples/mapbi3/campaign-run")
    pattern = r"(?<![\w/.-])((?:examples|potentials|docs|tests|benchmarks|lammps_plugin|python/efgmd)/[\w./-]*[\w/])"
    for path in documents():
        for name in re.findall(pattern, path.read_text(encoding="utf-8")):
            if not name.startswith(made_by_runs):
                assert (ROOT / name).exists() or (path.parent / name).exists(), f"{path.relative_to(ROOT)}: {name}"


@pytest.mark.parametrize("snippet", snippets("yaml"), ids=str)
def test_yaml_is_valid(snippet, tmp_path):
    content = yaml.safe_load(snippet.text)
    path = tmp_path / "snippet.yaml"
    path.write_text(snippet.text)
    if "teacher" in content:
        for start in content["structures"]:
            (tmp_path / start["file"]).touch()
        load_distillation(path)
        return
    if "structure" not in content:
        read_config(path, {"kind": "energy"})
        return
    for name in (content["structure"]["file"], content["models"]["energy"], content["models"]["efg"]):
        (tmp_path / name).touch()
    load_campaign(path)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda path: path.name)
def test_example_campaigns_are_valid(path, tmp_path):
    content = yaml.safe_load(path.read_text())
    for section, key in (("models", "energy"), ("models", "efg")):
        content[section][key] = "model"  # the potentials are checked when they are run
    content["structure"]["file"] = str(path.parent / content["structure"]["file"])
    (tmp_path / "model").touch()
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump(content))
    load_campaign(tmp_path / "campaign.yaml")


def source_text():
    """All sources, with string literals that continue on the next line joined."""
    files = [*(ROOT / "python").rglob("*.py"), *(ROOT / "lammps_plugin").iterdir(), ROOT / "CMakeLists.txt"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files if path.suffix != ".so" and path.is_file())
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_quoted_messages_are_in_the_sources():
    page = (PAGES / "howto" / "troubleshooting.md").read_text()
    own = source_text()
    elsewhere = (
        "CMAKE_CXX_COMPILER",
        "Development.Module",
        "libmpi.so.12",
        "ensurepip",
        "Unrecognized",
        "with python support",
    )
    for message in re.findall(r"^### (.*)$", page, re.MULTILINE):
        if not any(word in message for word in elsewhere):
            for fragment in (part.strip() for part in message.strip("`").split("...")):
                assert fragment in own, f"{fragment!r} of {message} is no message of efgmd"


def test_first_pages_name_no_absolute_path_or_placeholder():
    for path in documents():
        for word in ("TODO", "FIXME", "TBD", "XXX", "/home/", "/root/"):
            assert word not in path.read_text(encoding="utf-8"), f"{path.name}: {word}"


def test_citation_and_changelog_name_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == efgmd.__version__
    assert {"cff-version", "title", "authors", "message", "license"} <= citation.keys()
    assert f"## [{efgmd.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def modules():
    """Names of all modules of the package."""
    return [module.name for module in pkgutil.walk_packages(efgmd.__path__, "efgmd.") if "_kernels" not in module.name]


def test_doctests(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {**os.environ})
    attempted = 0
    for name in modules():
        if not name.endswith("__main__"):
            result = doctest.testmod(importlib.import_module(name))
            assert result.failed == 0, name
            attempted += result.attempted
    assert attempted > 0
