"""What a study cannot do is refused before Ray is started: exit code 2, one line that names it, and nothing left."""

import errno
import os
import shutil
import socket
import tempfile
import threading
from pathlib import Path

import pytest
import torch

from search_spaces import Choice, IntRange, Space, load_space
from study import preconditions, run
from study.combinations import check_space, combinations, num_combinations
from study.grid import MOST, grid
from study.launch import first_line, patiently
from study.options import settle
from trials.config import TrialConfig
from trials.parts import data_source

SMOKE = ["--space", "smoke"]
IMPORTS = "from search_spaces import Choice, IntRange, LogUniform, Space, Uniform\n"
FULL = ["--space", "full", "--search", "grid"]
for points in ("focal_gamma=0.5,4", "hard_fraction=0.1,0.5", "lr=1e-4,1e-3", "weight_decay=1e-6,1e-2"):
    FULL += ["--points", points]
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


@pytest.fixture
def refused(tmp_path, capsys):
    """The one line with which the command answers; it left no folder."""

    def answer(*arguments: str) -> str:
        try:
            code = run.main([*map(str, arguments), "--results", str(tmp_path / "results")])
        except SystemExit as end:  # what argparse refuses
            code = end.code
        lines = capsys.readouterr().err.splitlines()
        assert code == 2, lines
        assert not (tmp_path / "results").exists()
        assert len(lines) <= 2
        return lines[-1]

    return answer


@pytest.fixture
def space_file(tmp_path):
    """A user's space: SPACE = Space(name="mine", question="?", ...) from this text, in the second line."""

    def write(fields: str) -> Path:
        path = tmp_path / "mine.py"
        path.write_text(f"{IMPORTS}SPACE = Space(name='mine', question='?', {fields})\n")
        return path

    return write


def test_a_network_and_a_size_that_do_not_fit_are_found_over_all_axes(refused, space_file):
    axes = "axes={'model': Choice(('unet', 'resnet34_unet')), 'image_size': Choice((48, 64))}"
    line = refused("--space", space_file(f"{axes}, baseline={{'model': 'unet', 'image_size': 64}}"))
    assert "has trials with model='resnet34_unet', image_size=48" in line
    assert "takes multiples of 32; the nearest: 32 or 64" in line


def test_a_size_that_waits_for_the_network_that_takes_it_is_no_conflict(space_file):
    axes = "axes={'model': Choice(('resnet34_unet', 'unet')), 'image_size': Choice((48, 64))}"
    condition = "conditions={'image_size': ('model', 'unet')}"
    path = space_file(f"{axes}, baseline={{'model': 'unet', 'image_size': 64}}, {condition}")
    settle(load_space(str(path)), "quick", {})


def test_a_floor_above_the_first_loss_scale_is_found_over_all_axes(refused, space_file):
    axes = "axes={'loss_scale_floor': Choice((0.0, 1024.0)), 'loss_scale_init': Choice((16.0, 65536.0))}"
    line = refused("--space", space_file(f"{axes}, baseline={{'loss_scale_floor': 0.0, 'loss_scale_init': 16.0}}"))
    assert "has trials with loss_scale_floor=1024.0, loss_scale_init=16.0" in line


def test_a_batch_beyond_the_images_is_found_over_all_axes(refused, space_file):
    axes = "axes={'batch_size': Choice((4, 32)), 'train_limit': Choice((16, 64))}"
    line = refused("--space", space_file(f"{axes}, baseline={{'batch_size': 4, 'train_limit': 64}}"))
    assert "has trials with batch_size=32, train_limit=16" in line
    assert "there are 16 training images" in line


def test_a_limit_beyond_the_data_is_refused(refused):
    assert "train_limit=5000, but the train split has 1024 images" in refused(*SMOKE, "--set", "train_limit=5000")


def test_a_loss_scale_that_begins_below_its_least_is_refused(refused):
    settings = ["--set", "amp=true", "--set", "min_loss_scale=4096", "--set", "loss_scale_init=1024"]
    assert "counts as diverged at its first step" in refused(*SMOKE, *settings)


def test_half_a_million_configurations_are_counted_not_made(refused):
    assert "the grid has 544,320 configurations (model 2 x upsample 5" in refused(*FULL)


def test_ten_million_configurations_are_counted_not_made(refused, space_file):
    path = space_file("axes={'max_skipped_run': IntRange(1, 10**7)}, baseline={'max_skipped_run': 50}")
    assert "the grid has 10,000,000 configurations" in refused("--space", path, "--search", "grid")


def test_the_first_of_ten_million_configurations_run_where_they_are_asked_for():
    space = Space("s", "?", {"max_skipped_run": IntRange(1, 10**7)}, {}, {"max_skipped_run": 50})
    assert [chosen["max_skipped_run"] for chosen in grid(space, {}, most=3)] == [50, 1, 2]
    with pytest.raises(ValueError, match=f"{MOST:,} is the most"):
        grid(space, {}, most=MOST + 1)


def test_a_range_of_ten_million_values_is_checked_at_its_ends():
    space = Space("s", "?", {"max_skipped_run": IntRange(1, 10**7)}, {}, {"max_skipped_run": 50})
    settle(space, "quick", {})
    with pytest.raises(ValueError, match="max_skipped_run=0; allowed: a whole number from 1"):
        settle(Space("s", "?", {"max_skipped_run": IntRange(0, 10**7)}, {}, {"max_skipped_run": 50}), "quick", {})


def test_as_many_combinations_are_counted_as_are_made():
    axes = {name: Choice((1, 2, 3) if name in "ac" else (1, 2)) for name in "abcde"}
    space = Space("s", "?", axes, {}, {"a": 3, "e": 1}, {"b": ("a", 1), "c": ("b", 2), "d": ("a", 2)})
    values = {name: axis.values for name, axis in axes.items()}
    made = list(combinations(space, values))
    assert len(made) == num_combinations(space, values) == (1 + 3 + 2 + 1) * 2
    assert len({tuple(chosen.items()) for chosen in made}) == len(made)


def test_a_combination_is_checked_for_every_pair_and_not_for_all_axes_together():
    axes = {name: Choice((8, 16)) for name in ("width", "batch_size")} | {"max_skipped_run": IntRange(1, 10**7)}
    check_space(Space("s", "?", axes, {}, {"width": 8, "batch_size": 8, "max_skipped_run": 9}), {"model": "unet"})


@no_gpu
def test_a_gpu_that_is_not_there_is_refused(refused):
    assert "torch sees no CUDA device; allowed here: auto, cpu" in refused(*SMOKE, "--set", "device=cuda")
    assert "--gpus-per-trial 1, but torch sees 0 GPUs" in refused(*SMOKE, "--gpus-per-trial", "1")


def test_a_device_that_contradicts_the_gpus_of_a_trial_is_refused(refused):
    assert "leave one of them out" in refused(*SMOKE, "--set", "device=cuda", "--gpus-per-trial", "0")
    assert "leave one of them out" in refused(*SMOKE, "--set", "device=cpu", "--gpus-per-trial", "1")


def test_a_cluster_that_does_not_answer_is_refused(refused):
    with socket.create_server(("127.0.0.1", 0)) as closed_again:
        port = closed_again.getsockname()[1]
    assert "no Ray cluster answers there" in refused(*SMOKE, "--address", f"127.0.0.1:{port}")
    assert "it takes auto or HOST:PORT" in refused(*SMOKE, "--address", "127.0.0.1:head")


def test_more_processors_than_there_are_are_refused(refused):
    assert "--cpus-per-trial 4096, but there are" in refused(*SMOKE, "--cpus-per-trial", "4096")


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_too_deep_for_rays_sockets_is_refused(refused, tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, str(tmp_path / ("x" * 80)))
    line = refused(*SMOKE)
    assert f"{variable}={tmp_path / ('x' * 80)} is too long" in line
    assert "107 is the most" in line


def test_a_temporary_folder_that_cannot_be_written_to_is_refused(refused, monkeypatch):
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        monkeypatch.setenv("RAY_TMPDIR", f"{file.name}/below")
        assert f"{file.name} cannot be written to" in refused(*SMOKE)


def test_the_deepest_temporary_folder_that_is_allowed_takes_a_socket(monkeypatch, request):
    top = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    request.addfinalizer(lambda: shutil.rmtree(top))
    session = preconditions.SESSION.format(pid=os.getpid())
    for num_bytes, fits in ((preconditions.SOCKET_PATH_BYTES, True), (preconditions.SOCKET_PATH_BYTES + 1, False)):
        place = top / ("x" * (num_bytes - len(f"{top}//{session}")))
        monkeypatch.setenv("RAY_TMPDIR", str(place))
        (place / session).parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as made:
            if fits:
                preconditions.check_socket_paths()
                made.bind(str(place / session))
            else:
                with pytest.raises(ValueError, match="is too long"):
                    preconditions.check_socket_paths()
                with pytest.raises(OSError, match="too long"):
                    made.bind(str(place / session))


def test_a_dry_run_refuses_a_name_in_use(tmp_path, capsys):
    (tmp_path / "results/used").mkdir(parents=True)
    assert run.main([*SMOKE, "--dry-run", "--name", "used", "--results", str(tmp_path / "results")]) == 2
    assert "exists; it holds no study to go on with" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a/b", "../up", ".hidden", "", " ", "x" * 300, "a\nb", "-rf"])
def test_a_name_that_is_no_folders_is_refused(refused, name):
    assert f"{name!r} (--name, else the space's) cannot be a folder's name" in refused(*SMOKE, f"--name={name}")


def test_results_below_a_file_are_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run.main([*SMOKE, "--results", str(tmp_path / "file/results")]) == 2
    assert f"{tmp_path / 'file'} cannot be written to" in capsys.readouterr().err


def test_results_at_an_address_are_refused(capsys):
    assert run.main([*SMOKE, "--results", "s3://bucket/studies"]) == 2
    assert "takes a folder of this machine" in capsys.readouterr().err


def test_prepared_pictures_larger_than_the_disk_are_refused(refused):
    line = refused(*SMOKE, "--set", "image_size=8192")
    assert "the prepared pictures take 378.0 GB" in line if "prepared" in line else "free" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SPACE = Space(name='x'\n    question='?')\n", "mine.py, line 2: SyntaxError"),
        ("\nSPACE = Space(name='x', question='?', axes=AXES)\n", "mine.py, line 3: NameError: name 'AXES'"),
        ("import nowhere_to_be_found\n", "mine.py, line 2: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "mine.py, line 2: SystemExit"),
        ("SPACE = Space(name='x', question='?', axes={})\n", "mine.py, line 2: ValueError: space 'x' has no axes"),
    ],
    ids=["syntax", "name", "import", "exit", "space"],
)
def test_an_error_in_a_users_space_is_answered_with_file_and_line(refused, tmp_path, text, message):
    (tmp_path / "mine.py").write_text(IMPORTS + text)
    assert message in refused("--space", tmp_path / "mine.py")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("axes={'lrate': Choice((1, 2))}, baseline={'lrate': 1}", "unknown field 'lrate'; known: model"),
        ("axes={'amp': Choice((False, True))}, baseline={'amp': False}, fixed={'lrate': 1}", "unknown field 'lrate'"),
        ("axes={'amp': Choice((False, True))}, baseline={'amp': False}, fixed={'seed': 1}", "fixes seed; --seeds k"),
        ("axes={'lr': Uniform(-1, 1)}, baseline={'lr': 0.5}", "lr=-1.0; allowed: a finite number above 0"),
        ("axes={'checkpoint_every': Choice((1, 2))}, baseline={'checkpoint_every': 1}", "cannot be an axis"),
        ("axes={'amp': Choice((False, True))}, baseline={'amp': False}, conditions={'amp': 'model'}", "(axis, value)"),
    ],
    ids=["axis", "fixed", "seed", "range", "not an axis", "condition"],
)
def test_a_users_space_that_does_not_fit_is_answered_with_its_file(refused, space_file, fields, message):
    path = space_file(fields)
    line = refused("--space", path)
    assert message in line
    assert str(path) in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode", "min"], "the mode follows from --metric"),
        (["--seed", "7"], "--seeds k runs each configuration under seeds 0 to k - 1"),
        (["--lr", "0.1"], "lr is a setting: --set lr=VALUE"),
        (["--sampels", "3"], "did you mean --samples"),
        (["--samples", "0"], "allowed: a whole number above 0"),
        (["--epochs", "-1"], "allowed: a whole number above 0"),
        (["--gpus-per-trial", "1.5"], "allowed: a number from 0 to 1, or a whole number of GPUs"),
        (["--time-budget", "nan"], "allowed: a number above 0"),
        (["--metric", "dice"], "choose from"),
        (["--set", "lr=nan"], "lr=nan; allowed: a finite number above 0"),
        (["--set", "weight_decay=1e300"], "allowed: a finite number from 0 to 3.4e+38"),
        (["--set", "lr=0.1", "--set", "lr=0.2"], "--set lr is given twice: 0.1 and 0.2"),
        (["--epochs", "3", "--set", "epochs=4"], "--epochs and --set epochs are the same setting"),
        (["--search", "grid", "--points", "lr=1e-3,1e-3"], "names a value twice"),
        (["--search", "grid", "--points", "lr=1e-3", "--points", "lr=1e-2"], "--points lr is given twice"),
        (["--search", "grid", "--points", "upsample=nearest"], "--points upsample=nearest lies outside Choice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_is_answered_with_what_is_allowed(refused, arguments, message):
    assert message in refused(*SMOKE, *arguments)


def break_off(folder: Path, file: str, error: Exception) -> None:
    with preconditions.new_folder(folder):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).touch()
        raise error


def test_a_folder_is_removed_where_a_study_breaks_off_before_its_first_trial(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        break_off(tmp_path / "results/s", "study.json", full)
    assert not (tmp_path / "results").exists()


def test_a_folder_that_holds_a_trial_is_kept_whatever_happens(tmp_path):
    with pytest.raises(RuntimeError):
        break_off(tmp_path / "results/s", "00000/params.json", RuntimeError())
    assert (tmp_path / "results/s/00000/params.json").exists()


def test_a_study_that_runs_is_not_resumed_beside_itself(tmp_path):
    answers = []

    def other() -> None:
        try:
            with preconditions.sole_runner(tmp_path):
                answers.append("ran")
        except ValueError as error:
            answers.append(str(error))

    with preconditions.sole_runner(tmp_path):
        beside = threading.Thread(target=other)
        beside.start()
        beside.join()
    other()
    assert answers == [f"{tmp_path} is being run by another process; wait until it ends, or stop it", "ran"]


def test_a_resume_on_other_data_is_refused():
    preconditions.check_same_data({"num_train": 64}, {"num_train": 64, "num_val": 8})
    with pytest.raises(ValueError, match="num_train=64 then, 60 now"):
        preconditions.check_same_data({"num_train": 64}, {"num_train": 60})


def test_a_study_of_another_version_is_passed_over_with_the_reason(tmp_path, capsys):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/study.json").write_text('{"schema_version": 1, "created": "2026-01-01T00:00:00+00:00"}')
    assert run.main(["--resume", "--results", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"passed over: {tmp_path / 'old/study.json'}: schema_version 1, and this version runs" in said
    assert "is not a study's manifest" not in said


def test_ray_that_comes_up_too_slowly_is_started_again():
    answers = iter([Exception("The current node timed out during startup."), "up"])

    def start():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(start) == "up"


def test_ray_that_cannot_start_is_not_tried_again():
    tries = []

    def start():
        tries.append(1)
        raise RuntimeError("no such address")

    with pytest.raises(RuntimeError, match="no such address"):
        patiently(start)
    assert len(tries) == 1


def test_of_a_folder_that_is_no_study_no_resume_is_advised(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileExistsError, match="it holds no study to go on with, another --name starts a new study"):
        preconditions.check_unused(tmp_path / "taken")


def test_a_data_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"there is no folder {tmp_path / 'nowhere'}"):
        data_source(TrialConfig(data="folder", data_root=str(tmp_path / "nowhere")))


def test_of_what_ray_says_the_first_line_is_told():
    assert first_line(Exception("\n  The dashboard failed.\nline of a log\n")) == "The dashboard failed."
