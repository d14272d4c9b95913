"""Settings from YAML and the command line, and their error messages."""

import inspect

import pytest
from typer.models import OptionInfo

from efgmd.errors import ConfigError
from efgmd.models import EFGModel
from efgmd.training import commands
from efgmd.training.config import TrainingConfig, check_hyperparameters, parse_assignments, read_config


def test_the_command_line_overrides_the_file_and_merges_into_it(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("kind: efg\nepochs: 7\nseed: 3\nelements: Pb I\nmodel: {channels: 8, lmax: 2}\n")
    config = read_config(path, {"epochs": 9, "model": {"channels": 4}})
    assert (config.epochs, config.seed, config.elements) == (9, 3, ("Pb", "I"))
    assert config.model == {"channels": 4, "lmax": 2}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, r"epochs: .*greater than or equal to 1 \(got 0\)"),
        ({"epoch": 3}, "epoch: unknown field; known are kind, elements"),
        ({"elements": "Pb Xx"}, "elements: 'Xx' is not an element"),
        ({"elements": "Pb Pb"}, "elements: name each element once"),
        ({"weights": {"force": 1}}, "'force' is unknown, expected one of energy, forces, stress"),
        ({"kind": "efg", "weights": {"forces": 1}}, "'forces' is unknown, expected an element symbol"),
        ({"weights": {"forces": -1}}, "must not be negative"),
        ({"keys": {"virial": "v"}}, "'virial' is unknown, expected one of energy, forces, stress, efg"),
        ({"device": "tpu"}, "device: 'tpu' is not available here; use cpu"),
        ({"dtype": "half"}, "dtype: .*'float32' or 'float64'"),
    ],
)
def test_mistakes_are_named_with_field_and_expectation(given, message):
    with pytest.raises(ConfigError, match=message):
        read_config(None, {"kind": "energy", **given})


@pytest.mark.parametrize("text", ["epochs: [", "- 3\n", None])
def test_unreadable_settings_files(tmp_path, text):
    path = tmp_path / "t.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"t\.yaml: ") as caught:
        read_config(path, {"kind": "efg"})
    assert "\n" not in str(caught.value)


def test_assignments_are_yaml_values():
    assert parse_assignments(["channels=16", "r0=1.5", "name=abc"], "--set") == {
        "channels": 16,
        "r0": 1.5,
        "name": "abc",
    }
    with pytest.raises(ConfigError, match="--set takes NAME=VALUE, got 'channels'"):
        parse_assignments(["channels"], "--set")


def test_unknown_hyperparameters_name_the_known_ones():
    check_hyperparameters(EFGModel, {"channels": 4, "message_cutoffs": {"Pb": {"H": 0, "I": 5.5}}})
    check_hyperparameters(EFGModel, parse_assignments(["message_cutoffs={N: {H: 3.5}}"], "--set"))
    check_hyperparameters(EFGModel, parse_assignments(["message_products={I: [Pb]}"], "--set"))
    check_hyperparameters(EFGModel, parse_assignments(["centre_cutoffs={H: 5, C: 5.5}"], "--set"))
    for name, wrong, told in (
        ("message_cutoffs", 5.0, r"lengths \(angstrom\) by two elements"),
        ("message_cutoffs", {"Pb": 4.0}, r"lengths \(angstrom\) by two elements"),
        ("message_cutoffs", {"Pb": {"I": "far"}}, r"lengths \(angstrom\) by two elements"),
        ("message_products", {"I": "Pb"}, "lists of elements by element"),
        ("message_products", ["I"], "lists of elements by element"),
        ("centre_cutoffs", {"I": {"H": 5.0}}, r"lengths \(angstrom\) by element"),
        ("centre_cutoffs", 5.0, r"lengths \(angstrom\) by element"),
    ):
        with pytest.raises(ConfigError, match=f"model.{name}: {told}"):
            check_hyperparameters(EFGModel, {name: wrong})
    with pytest.raises(ConfigError, match=r"model\.width: unknown hyperparameter; EFGModel takes cutoff, .*hidden"):
        check_hyperparameters(EFGModel, {"width": 4})


def test_weight_decay_depends_on_the_kind_unless_given():
    assert TrainingConfig(kind="energy").decay == 0.001
    assert TrainingConfig(kind="efg").decay == 1.0
    assert TrainingConfig(kind="efg", weight_decay=0.0).decay == 0.0


def test_defaults_shown_by_the_help_are_those_in_force():
    shown = {
        name: option.show_default
        for name, parameter in inspect.signature(commands.train).parameters.items()
        for option in parameter.annotation.__metadata__
        if isinstance(option, OptionInfo) and isinstance(option.show_default, str)
    }
    assert "learning_rate" in shown
    words = dict.fromkeys(["none", "never", "by atomic number", "0.001 for energy, 1 for efg"])
    for name, text in shown.items():
        default = TrainingConfig.model_fields[name].default
        assert str(words.get(text, text)) == str(default), name


def test_a_file_for_the_other_kind_is_refused(tmp_path):
    (tmp_path / "settings.yaml").write_text("kind: energy\n")
    with pytest.raises(ConfigError, match="kind: the file is for 'energy', the command for 'efg'"):
        read_config(tmp_path / "settings.yaml", {"kind": "efg"})


def test_hyperparameters_are_of_their_kind_and_range():
    for name, value, told in (
        ("lmax", 5, "a whole number, 1 to 4, got 5"),
        ("lmax", "3a", "a whole number, 1 to 4, got 3a"),
        ("n_radial", 0, "a whole number, 1 to 32, got 0"),
        ("channels", 1.5, "a whole number, 0 or more, got 1.5"),
        ("committee", 0, "a whole number, 1 or more, got 0"),
        ("hidden", True, "a whole number, 1 or more, got True"),
        ("cutoff", -1, r"a number \(angstrom\), 0.1 or more, got -1"),
        ("linear", 1, "true or false, got 1"),
    ):
        with pytest.raises(ConfigError, match=f"model.{name}: {told}"):
            check_hyperparameters(EFGModel, {name: value})
