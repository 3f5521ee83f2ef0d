"""What must hold before a study starts; each is checked before Ray is started or a file is written."""

import math
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from filelock import FileLock, Timeout
from ray._common.utils import get_default_system_temp_dir

from search_spaces import Space
from study.combinations import check_combinations
from study.options import Options
from trials.config import TrialConfig
from trials.data.loader import check_batch_size, check_split
from trials.data.prepared import cache_folder
from trials.parts import data_source
from trials.state import pick_device

SESSION = "ray/session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"  # of Ray, below its temporary folder
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107  # the most that AF_UNIX takes
NAME_BYTES = 200
LOCK = ".lock"


def place_of(results: str, name: str) -> Path:
    """The folder of the study `name` in `results`. Raises ValueError where it could not be one on this machine."""
    if "://" in results:
        raise ValueError(f"--results {results!r} is an address; it takes a folder of this machine (NFS is one)")
    if not results:
        raise ValueError("--results is empty; it takes a folder")
    is_plain = name.isprintable() and not name.startswith((".", "-")) and name == name.strip()
    if not name or "/" in name or "\\" in name or not is_plain or len(name.encode()) > NAME_BYTES:
        raise ValueError(
            f"the study's name {name!r} (--name, else the space's) cannot be a folder's name; allowed: "
            f"up to {NAME_BYTES} bytes without slashes, not beginning with a dot or a dash (--results says where)"
        )
    return Path(results).absolute() / name


def check_unused(folder: Path) -> None:
    """Raises FileExistsError where the folder exists, ValueError where it cannot be made."""
    if folder.exists():
        goes_on = "--resume goes on with it" if (folder / "study.json").is_file() else "it holds no study to go on with"
        raise FileExistsError(f"{folder} exists; {goes_on}, another --name starts a new study")
    _check_writable(folder, "--results names a folder that can")


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _check_writable(folder: Path, remedy: str) -> None:
    """Raises ValueError where nothing can be made in the folder, or in what there is of it; leaves nothing."""
    above = existing(folder)
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise ValueError(f"{above} cannot be written to ({error.strerror}); {remedy}") from None


def check_machine(space: Space, config: TrialConfig, options: Options, address: str | None) -> None:
    """Raises ValueError for what this machine cannot give; a cluster at an address is asked once it is reached."""
    if options.gpus_per_trial is not None:
        check_combinations(space, config.to_dict(), ["device"], lambda device: _check_fits(device, options))
    if address:
        check_address(address)
        return
    check_combinations(space, config.to_dict(), ["device"], pick_device)
    num_gpus = torch.cuda.device_count()
    if (options.gpus_per_trial or 0) > num_gpus:
        raise ValueError(
            f"--gpus-per-trial {options.gpus_per_trial:g}, but torch sees {num_gpus} GPUs here (torch "
            f"{torch.__version__}); leave it out, or --address names a cluster that has them"
        )
    if options.cpus_per_trial > (psutil.cpu_count() or math.inf):
        raise ValueError(
            f"--cpus-per-trial {options.cpus_per_trial:g}, but there are {psutil.cpu_count()} processors here; "
            f"--address names a cluster that has more"
        )
    check_socket_paths()


def check_address(address: str) -> None:
    """Raises ValueError where nothing answers at HOST:PORT; Ray itself would try for a minute."""
    host, colon, port = address.rpartition(":")
    if not colon or "://" in address:
        return  # "auto", or an address that only Ray can read
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"--address {address!r}; it takes auto or HOST:PORT, 10.0.0.1:6379 for one")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        said = f"--address {address}: no Ray cluster answers there ({error.strerror or error})"
        raise ValueError(f"{said}; it takes auto or HOST:PORT") from None


def _check_fits(device: str, options: Options) -> None:
    if (device == "cuda") > (options.gpus_per_trial > 0) or (device == "cpu") > (options.gpus_per_trial == 0):
        raise ValueError(
            f"device={device!r} with --gpus-per-trial {options.gpus_per_trial:g}: the one uses a GPU, the other does "
            f"not; leave one of them out"
        )


def check_socket_paths() -> None:
    """Raises ValueError where Ray's sockets would lie deeper than the system allows, or cannot be made."""
    folder = get_default_system_temp_dir()
    path = os.path.join(folder, SESSION.format(pid=os.getpid()))  # noqa: PTH118  as Ray joins it
    num_bytes = len(os.fsencode(path))
    name = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
    if num_bytes > SOCKET_PATH_BYTES:
        most = SOCKET_PATH_BYTES - (num_bytes - len(os.fsencode(folder)))
        raise ValueError(
            f"{name}={folder} is too long: Ray's sockets below it would have paths of {num_bytes} bytes and "
            f"{SOCKET_PATH_BYTES} is the most; allowed: up to {most} bytes, RAY_TMPDIR=/tmp for one"
        )
    _check_writable(Path(folder), f"{name} names where Ray keeps its session, RAY_TMPDIR=/tmp for one")


def check_data(space: Space, config: TrialConfig) -> None:
    """Raises ValueError where a trial's batch or limits are beyond the data. Nothing is decoded for it."""
    if config.data == "pets" and not config.data_root:
        return  # it may have to be downloaded first; each trial's data are checked again
    source = data_source(config)
    count, num_pairs = source.num_images, len(source.splits)
    for split, num in count.items():
        check_split(split, num, num_pairs)

    def check(batch_size: int, train_limit: int, val_limit: int) -> None:
        for split, limit in (("train", train_limit), ("val", val_limit)):
            check_split(split, count[split], num_pairs, limit)
        check_batch_size(batch_size, train_limit or count["train"])

    check_combinations(space, config.to_dict(), ["batch_size", "train_limit", "val_limit"], check)


def check_cache(missing_bytes: float) -> None:
    """Raises ValueError where the prepared pictures that are still to be made have no room."""
    folder = existing(cache_folder())
    free = shutil.disk_usage(folder).free
    if missing_bytes > free:
        raise ValueError(
            f"the prepared pictures take {missing_bytes / 1e9:,.1f} GB, and {folder} has {free / 1e9:,.1f} GB free; "
            f"a smaller image_size takes less, SEGSTUDY_CACHE names another place"
        )


def check_same_data(before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    """Raises ValueError where a study would go on with other data than it began with."""
    then = before or {}
    names = [name for name in now if name in then and name != "notes"]
    if differ := [name for name in names if then[name] != now[name]]:
        listed = ", ".join(f"{name}={then[name]} then, {now[name]} now" for name in differ)
        raise ValueError(f"the data are not those that the study began with: {listed}; start another study")


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Makes the study's folder; what breaks off before its first trial leaves none behind.

    Raises FileExistsError where another process has made it by now.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise FileExistsError(f"{folder} was made by another process just now; --name gives another") from None
    try:
        yield
    except BaseException:
        if not next(folder.glob("*/params.json"), None):
            shutil.rmtree(folder)
            for path in made[1:]:
                if not any(path.iterdir()):
                    path.rmdir()
        raise


@contextmanager
def sole_runner(folder: Path) -> Iterator[None]:
    """Holds the study's folder. Raises ValueError where another process runs the study."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{folder} is being run by another process; wait until it ends, or stop it") from None
    try:
        yield
    finally:
        lock.release()
