"""The options of a run: their ranges, the command line that is made from them."""

import dataclasses

import pytest

from captioning.models.config import split_by_backbone
from captioning.training.config import RECIPES, TrainConfig, parse_config


def test_a_run_has_at_most_five_captioners(tmp_path):
    with pytest.raises(ValueError, match="1 to 5 captioners, not 6"):
        TrainConfig(decoder=("lstm",) * 6).split_by_decoder()
    with pytest.raises(ValueError, match="decoder must be one of"):
        TrainConfig(decoder=("lstm", "parrot"))
    config = parse_config("x", ["--decoder", "gru"])
    assert config.decoder == "gru"
    assert config.split_by_decoder() == [config]


def test_resume_continues_the_captioners_that_had_begun(tmp_path):
    config = TrainConfig(decoder=("lstm", "gru", "rnn"), out=str(tmp_path), resume=True)
    assert [one.resume for one in config.split_by_decoder()] == [True, False, False]
    (tmp_path / "gru").mkdir()
    (tmp_path / "gru" / config.log_file).touch()
    assert [one.resume for one in config.split_by_decoder()] == [True, True, False]
    config = TrainConfig(decoder=("lstm", "gru"), out=str(tmp_path))
    assert [one.resume for one in config.split_by_decoder()] == [False, False]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"decoder": "bert"}, "decoder must be one of lstm"),
        ({"optimizer": "lion"}, "optimizer must be one of adam"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"num_epochs": 0}, "num_epochs must be 1 or more"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"tta": True, "tta_scale": 0.5}, r"tta_scale must be in \[1, 2\]"),
        ({"tta_scale": 1.2}, "add --tta, or leave it out"),
    ],
)
def test_impossible_options_are_refused(changed, why):
    with pytest.raises(ValueError, match=why):
        TrainConfig(**changed)


# --- the command line ------------------------------------------------------------------------

SWITCHES = [field.name for field in dataclasses.fields(TrainConfig) if field.type is bool]
SWITCHES.remove("grid")  # follows from the decoder


def test_without_flags_the_command_line_gives_the_defaults():
    assert parse_config("x", []) == TrainConfig()


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_can_be_switched_off_again(name):
    flag = name.replace("_", "-")
    assert getattr(parse_config("x", [f"--{flag}"]), name) is True
    assert getattr(parse_config("x", [f"--{flag}", f"--no-{flag}"]), name) is False


def test_a_flag_overrides_the_recipe_wherever_it_stands():
    best = parse_config("x", ["--recipe", "best"])
    assert (best.tta, best.tie_weights, best.decoder) == (True, True, "transformer")
    for flags in (["--recipe", "best", "--no-tta"], ["--no-tta", "--recipe", "best"]):
        assert parse_config("x", flags) == dataclasses.replace(best, tta=False)
    assert parse_config("x", ["--recipe", "best", "--lr", "0.1"]).lr == 0.1


def test_a_recipe_has_only_options_of_a_run_and_allowed_values():
    for recipe in RECIPES.values():
        TrainConfig(**recipe)


@pytest.mark.parametrize("flag", ["--grid", "--max-words", "--pixel", "--kind", "--unknown"])
def test_an_unknown_flag_is_refused(flag, capsys):
    with pytest.raises(SystemExit):
        parse_config("x", [flag])
    assert "unrecognized arguments" in capsys.readouterr().err


def test_help_names_every_option_and_its_default(capsys):
    with pytest.raises(SystemExit):
        parse_config("Train a captioner.", ["--help"])
    text = capsys.readouterr().out
    for field in dataclasses.fields(TrainConfig):
        if field.metadata:
            assert f"--{field.name.replace('_', '-')}" in text
    assert "(default: 0.002)" in text


def test_paths_become_text_and_one_folder_is_not_a_list(tmp_path):
    config = TrainConfig(data=[tmp_path], out=tmp_path / "out", weights=tmp_path / "w.pth")
    assert config.data == str(tmp_path)
    assert config.data_dirs == [str(tmp_path)]
    assert config.out == str(tmp_path / "out")
    assert config.weights == str(tmp_path / "w.pth")


def test_the_parts_of_a_config_are_those_of_encoder_and_decoder():
    config = TrainConfig(decoder="attention", embed_size=32, tta=True, dropout=0.2)
    encoder, decoder = config.encoder_config(), config.decoder_config(vocab_size=9)
    assert (encoder.embed_size, encoder.grid, encoder.tta) == (32, True, True)
    assert (decoder.kind, decoder.vocab_size, decoder.dropout) == ("attention", 9, 0.2)
    assert not TrainConfig(decoder="gru").encoder_config().grid


def test_several_backbones_get_a_config_each():
    flags = ["--backbone", "resnet50", "efficientnet_lite2", "--weights", "a.pth", "package"]
    config = parse_config("x", flags)
    assert config.backbone == ("resnet50", "efficientnet_lite2")
    parts = split_by_backbone(config.encoder_config())
    assert [(part.backbone, part.weights) for part in parts] == [
        ("resnet50", "a.pth"),
        ("efficientnet_lite2", "package"),
    ]
    assert parse_config("x", ["--backbone", "resnet18"]).backbone == "resnet18"
    of_all = split_by_backbone(parse_config("x", flags[:3]).encoder_config())
    assert [part.weights for part in of_all] == ["IMAGENET1K_V1"] * 2


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"weights": ("a", "b", "c")}, "one for each of 2 backbones, .* not 3"),
        ({"fine_tune_from": "layer4"}, "a layer of one backbone"),
        ({"backbone_layer": "layer3"}, "a layer of one backbone"),
        ({"backbone": ("resnet50",) * 5}, "1 to 4 names, not 5"),
        ({"backbone": ()}, "1 to 4 names, not 0"),
    ],
)
def test_what_does_not_suit_several_backbones_is_refused(changed, why):
    with pytest.raises(ValueError, match=why):
        TrainConfig(**{"backbone": ("resnet50", "resnet18")} | changed)


def test_a_negative_number_of_epochs_is_refused():
    with pytest.raises(ValueError, match="self_critical_epochs must be 0 or more, not -1"):
        TrainConfig(self_critical_epochs=-1)
