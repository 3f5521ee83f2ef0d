"""Spaces are complete, consistent data."""

import pytest

from search_spaces import SPACES, Choice, IntRange, LogUniform, Space, Uniform, load_space, space_from_dict


def two_axes(**changed) -> Space:
    fields = dict(
        name="mine",
        question="Which?",
        axes={"amp": Choice((False, True)), "amp_dtype": Choice(("float16", "bfloat16")), "lr": LogUniform(1e-4, 1e-2)},
        baseline={"amp": False, "lr": 1e-3},
        conditions={"amp_dtype": ("amp", True)},
    )
    return Space(**{**fields, **changed})


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_a_space_survives_being_written_down(space):
    assert space_from_dict(space.to_dict()) == space


def test_an_int_range_includes_both_ends():
    assert 1 in IntRange(1, 3)
    assert 3 in IntRange(1, 3)
    assert 4 not in IntRange(1, 3)


def test_true_is_not_the_number_one():
    assert True not in Choice((0, 1))
    assert True not in Uniform(0, 2)


def test_a_logarithmic_axis_starts_above_zero():
    with pytest.raises(ValueError, match="low > 0"):
        LogUniform(0, 1)


def test_a_baseline_outside_its_axis_is_refused():
    with pytest.raises(ValueError, match=r"baseline lr=1\.0 lies outside"):
        two_axes(baseline={"amp": False, "lr": 1.0})


def test_a_baseline_must_set_every_active_axis():
    with pytest.raises(ValueError, match=r"must set \['amp', 'amp_dtype', 'lr'\]"):
        two_axes(baseline={"amp": True, "lr": 1e-3})


def test_a_condition_on_a_value_that_never_comes_is_refused():
    with pytest.raises(ValueError, match="never among its values"):
        two_axes(conditions={"amp_dtype": ("amp", "yes")})


def test_a_field_both_varied_and_fixed_is_refused():
    with pytest.raises(ValueError, match="both varies and fixes"):
        two_axes(fixed={"lr": 1e-3})


def test_a_space_cannot_ask_about_what_does_not_vary():
    with pytest.raises(ValueError, match=r"asks about \['head'\]; what it can ask about: amp, amp_dtype, lr"):
        two_axes(asks=("head", "lr"))


def test_what_is_fixed_is_asked_no_longer():
    assert two_axes(asks=("amp", "lr")).fixing({"amp": True}).asks == ("lr",)


def test_fixing_a_condition_as_fulfilled_keeps_the_dependent_axis():
    space = two_axes().fixing({"amp": True})
    assert set(space.axes) == {"amp_dtype", "lr"}
    assert space.baseline == {"lr": 1e-3, "amp_dtype": "float16"}


def test_fixing_a_condition_as_unfulfilled_drops_the_dependent_axis():
    assert set(two_axes().fixing({"amp": False}).axes) == {"lr"}


def test_fixing_every_axis_is_refused():
    with pytest.raises(ValueError, match="leave one to vary"):
        two_axes().fixing({"amp": False, "lr": 1e-3})


def test_an_unknown_space_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown space 'upsampel'; did you mean upsample\\? known: upsample, amp"):
        load_space("upsampel")


def test_a_users_file_defines_a_space(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from search_spaces import Choice, Space\n"
        "SPACE = Space(name='mine', question='?', axes={'width': Choice((4, 8))}, baseline={'width': 4})\n"
    )
    assert load_space(str(file)).name == "mine"


def test_a_users_file_without_a_space_is_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("axes = {}\n")
    with pytest.raises(TypeError, match="must define SPACE"):
        load_space(str(file))


def test_fixing_an_axis_drops_what_waited_for_what_waited_for_it():
    axes = {"a": Choice((1, 2)), "b": Choice((1, 2)), "c": Choice((1, 2)), "lr": LogUniform(1e-4, 1e-2)}
    space = Space("s", "?", axes, {}, {"a": 1, "b": 1, "c": 1, "lr": 1e-3}, {"b": ("a", 1), "c": ("b", 1)})
    assert set(space.fixing({"a": 2}).axes) == {"lr"}


def test_a_change_of_values_reaches_axes_fixed_fields_baseline_and_conditions():
    space = Space(
        "s",
        "?",
        axes={"augment": Choice(("none", "report")), "flip_p": Uniform(0, 1)},
        fixed={"optimizer": "adam"},
        baseline={"augment": "report", "flip_p": 0.5},
        conditions={"flip_p": ("augment", "report")},
    )
    changed = space.with_values(lambda name, value: {"report": "lab2", "adam": "adamw"}.get(value, value))
    assert changed.axes["augment"] == Choice(("none", "lab2"))
    assert changed.fixed == {"optimizer": "adamw"}
    assert changed.baseline["augment"] == "lab2"
    assert changed.conditions == {"flip_p": ("augment", "lab2")}
