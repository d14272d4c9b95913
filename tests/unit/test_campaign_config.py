"""Campaign files: every mistake in one go, with the field's path, what was found and what was expected."""

import pytest

from efgmd.campaign.reading import load_campaign
from efgmd.errors import ConfigError

GOOD = """
structure: {file: cell.cif}
models: {energy: e.safetensors, efg: v.safetensors}
nuclei: [127I, {name: 14N, moment_mb: 20.0}]
temperatures: [300, 350.5]
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("cell.cif", "e.safetensors", "v.safetensors"):
        (tmp_path / name).touch()
    return tmp_path


def load(folder, text):
    path = folder / "campaign.yaml"
    path.write_text(text)
    return load_campaign(path)


def problems(folder, text):
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return caught.value.problems


def test_minimal_campaign_and_its_defaults(folder):
    campaign = load(folder, GOOD)
    assert campaign.structure.file == folder / "cell.cif"
    assert campaign.ensemble.kind == "npt" and campaign.ensemble.pressure_control == "aniso"
    assert [choice.nucleus().moment_mb for choice in campaign.nuclei] == [-696.0, 20.0]
    assert campaign.sampling_steps * campaign.timestep_fs == campaign.sampling_fs
    assert campaign.n_samples == campaign.production_ps * 1000 / campaign.sampling_fs


def test_samples_fill_whole_blocks(folder):
    campaign = load(folder, GOOD + "production_ps: 1.05\nsampling_fs: 100\nsamples_per_block: 4\ntimestep_fs: 1\n")
    assert campaign.n_samples == 8


def test_all_mistakes_are_reported_at_once(folder):
    found = problems(
        folder,
        """
structure: {file: missing.cif, supercel: [1, 1, 1]}
models: {energy: e.safetensors, dtype: float16}
nuclei: [207Pb, 5, {nam: 14N}]
temperature: [300]
temperatures: [300, -1]
ensemble: {kind: nvt, presure_control: iso}
timestep_fs: fast
ranks: 0
""",
    )
    expected = [
        ("structure.file", "expected a file"),
        ("structure.supercel", "did you mean supercell?"),
        ("models.efg", "missing, expected the path of an EFG model"),
        ("models.dtype", "'float32' or 'float64'"),
        ("nuclei[0]", "spin 1/2"),
        ("nuclei[1]", "expected a nucleus such as 127I"),
        ("nuclei[2].name", "missing"),
        ("nuclei[2].nam", "did you mean name?"),
        ("temperature", "did you mean temperatures?"),
        ("temperatures[1]", "found -1, expected greater than 0"),
        ("ensemble.presure_control", "did you mean pressure_control?"),
        ("timestep_fs", "found 'fast', expected a number"),
        ("ranks", "found 0"),
    ]
    assert len(found) == len(expected)
    for field, text in expected:
        assert any(line.startswith(field + ":") and text in line for line in found), (field, found)
    assert not any("\n" in line for line in found)


@pytest.mark.parametrize(
    ("extra", "field", "text"),
    [
        ("ensemble: {kind: nvt, pressure_bar: 1}", "ensemble", "no pressure_bar"),
        ("sampling_fs: 20.3", "sampling_fs", "multiple of timestep_fs"),
        ("production_ps: 0.001", "production_ps", "at least one block"),
        ("seed: 0", "seed", "greater than or equal to 1"),
        ("masses: {H: -2}", "masses.H", "greater than 0"),
        ("sites: 3", "sites", "section with the fields framework, tolerance"),
        ("timestep_fs: .nan", "timestep_fs", "finite"),
        ("transition: {law: first-order, exponent: 0.5}", "transition", "expected none with law first-order"),
        (
            "transition: {order_parameters: [{kind: strain, nucleus: 14N}]}",
            "transition.order_parameters[0]",
            "no nucleus",
        ),
        ("transition: {order_parameters: [{kind: coupling}]}", "transition.order_parameters[0]", "expected a nucleus"),
        (
            "transition: {order_parameters: [{kind: coupling, nucleus: 2H}]}",
            "transition.order_parameters[0]",
            "127I 14N",
        ),
    ],
)
def test_single_mistakes(folder, extra, field, text):
    (line,) = problems(folder, GOOD + extra)
    assert line.startswith(field) and text in line


def test_doubled_entries_are_refused(folder):
    assert "once" in problems(folder, GOOD.replace("350.5", "300"))[0]
    assert "once" in problems(folder, GOOD.replace("{name: 14N, moment_mb: 20.0}", "127I"))[0]
    assert "'ranks' is given twice" in problems(folder, GOOD + "ranks: 1\nranks: 2\n")[0]


@pytest.mark.parametrize(
    ("text", "message"), [("- a", "mapping"), ("", "mapping"), ("a: [", "line"), ("a: b: c", "line 1")]
)
def test_files_that_are_no_campaign(folder, text, message):
    (line,) = problems(folder, text)
    assert message in line


def test_missing_campaign_file(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_campaign(tmp_path / "nothing.yaml")
