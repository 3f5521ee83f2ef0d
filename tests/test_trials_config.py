"""A configuration is complete, and what it may not hold is refused with what it may."""

import json

import pytest

from trials.config import TrialConfig, parse, parse_settings


def test_a_field_left_out_takes_its_default():
    assert TrialConfig.from_dict({"lr": 0.01}).model == "unet"


def test_a_configuration_survives_being_written_down():
    config = TrialConfig.from_dict({"lr": 0.01, "amp": True})
    assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_field_is_answered_with_what_was_meant():
    with pytest.raises(ValueError, match="unknown field 'learning_rat'"):
        TrialConfig.from_dict({"learning_rat": 1})
    with pytest.raises(ValueError, match="did you mean batch_size"):
        TrialConfig.from_dict({"batchsize": 8})


def test_an_unknown_value_is_answered_with_the_allowed_ones():
    with pytest.raises(ValueError, match="upsample='deconvolution'; allowed: deconv, bilinear"):
        TrialConfig.from_dict({"upsample": "deconvolution"})


@pytest.mark.parametrize("lr", [0, -1, float("nan"), float("inf")])
def test_a_number_out_of_range_is_refused(lr):
    with pytest.raises(ValueError, match=r"lr=.*; allowed: a finite number above 0"):
        TrialConfig.from_dict({"lr": lr})


def test_a_whole_number_serves_as_a_real_one():
    assert TrialConfig.from_dict({"lr": 1}).lr == 1.0


def test_a_truth_value_does_not_serve_as_a_number():
    with pytest.raises(ValueError, match="batch_size=True is bool"):
        TrialConfig.from_dict({"batch_size": True})


def test_a_size_the_network_cannot_take_is_refused():
    with pytest.raises(ValueError, match="96 or 112"):
        TrialConfig.from_dict({"image_size": 100})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("amp", "true", True), ("lr", "1e-3", 1e-3), ("batch_size", "8", 8), ("model", "unet", "unet")],
)
def test_a_text_is_read_as_its_fields_type(name, text, value):
    assert parse(name, text) == value


def test_a_text_that_is_not_of_its_fields_type_is_refused():
    with pytest.raises(ValueError, match=r"batch_size='8\.5'; allowed: a whole number from 1"):
        parse("batch_size", "8.5")


def test_a_setting_without_an_equals_sign_is_refused():
    with pytest.raises(ValueError, match="it takes key=value"):
        parse_settings(["lr"])


def test_the_old_name_of_an_augmentation_is_read_as_the_new_one():
    assert TrialConfig.from_dict({"augment": "report"}) == TrialConfig.from_dict({"augment": "lab2"})
    assert parse_settings(["augment=report"]) == {"augment": "lab2"}
