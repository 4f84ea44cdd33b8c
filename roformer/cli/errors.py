"""How the entry points fail: one line that says what to change, and an exit status other than 0."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from roformer.config import CONF
from roformer.errors import RunTakenError, UserError, is_out_of_memory, one_line
from roformer.registry import did_you_mean, now_called
from roformer.renamed import CHOICES, OPTIMIZER_SETTINGS, POSITION_SETTINGS

P = ParamSpec("P")
_SWEEP = re.compile(r"Ambiguous value for argument '(([^=]+)=[^']*)'")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_STORAGE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "change its permissions, or choose another folder",
    errno.EPERM: "change its permissions, or choose another folder",
    errno.EIO: "check the disk",
    errno.ESTALE: "check the network disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENOENT: "restore it",
    errno.ENAMETOOLONG: "choose a shorter name",
}
SWEEP_ERRORS: list[Exception] = []
"""The errors that ended runs of a sweep in this process."""


def one_line_errors(function: Callable[P, None]) -> Callable[P, None]:
    """Decorator: prints a user's mistake as one line and exits with 1. A bug keeps its traceback.

    Apply it outside ``hydra.main``, for mistakes in the configuration, and inside, because Hydra comments on every
    other exception that passes through it. A sweep continues after a run that fails, and skips a run that another
    process is training.
    """

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints its own, longer report and exits
        try:
            function(*args, **kwargs)
        except (UserError, HydraException, OmegaConfBaseException) as error:
            if os.environ.get("LOCAL_RANK", "0") != "0" and not (isinstance(error, UserError) and error.is_said_once):
                sys.exit(1)  # the first process of the machine says it
            if not _in_a_sweep():
                sys.exit(f"error: {_one_line(error)}")
            kind = "skipped" if isinstance(error, RunTakenError) else "error"
            print(f"{kind}: {_one_line(error)}", file=sys.stderr, flush=True)
            SWEEP_ERRORS.append(error)
            raise
        except KeyboardInterrupt:
            print("interrupted; re-run the same command to resume", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            if (line := fault_of_the_machine(error)) and not _in_a_sweep():
                sys.exit(f"error: {line}")
            if _in_a_sweep():
                print(f"error: {line}", file=sys.stderr, flush=True) if line else traceback.print_exc()
                SWEEP_ERRORS.append(error)
            raise

    return guarded


def fault_of_the_machine(error: BaseException) -> str | None:
    """Returns one line for a fault of storage or memory, also where a library has wrapped it; None for a bug."""
    cause: BaseException | None = error
    while cause is not None:
        number = cause.errno if isinstance(cause, OSError) else None
        if wrapped := _OS_ERROR.search(str(cause)):  # of safetensors and tokenizers, which are written in Rust
            number = int(wrapped[1])
        if number in _STORAGE:
            named = getattr(cause, "filename", None)
            where = f" {str(named)[:200]}" if named else " a file"
            return (
                f"cannot read or write{where}: {os.strerror(number)}; {_STORAGE[number]}, then re-run the same command"
            )
        if is_out_of_memory(cause):
            return (
                "out of memory; set trainer.auto_batch=true, or lower trainer.batch_size, or raise "
                "trainer.gradient_accumulation_steps"
            )
        cause = cause.__cause__  # not its context: a bug may follow an error that was dealt with
    return None


def _in_a_sweep() -> bool:
    """Returns whether this is a run of a sweep that can continue after an error. A sweep whose runs are trained by
    several processes cannot: some of the processes may not know of the error."""
    sweeping = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    return sweeping and os.environ.get("WORLD_SIZE", "1") == "1"


def _choices(group: str) -> list[str]:
    """Returns all files of a config group, also those in folders below it, as Hydra names them."""
    root = CONF / group
    return sorted(str(file.relative_to(root).with_suffix("")) for file in root.rglob("*.yaml"))


def _settings(file: Path) -> Collection[str]:
    content: dict[str, Any] = yaml.safe_load(file.read_text("utf-8")) or {}
    own = content.get(file.parent.name)  # some files change settings of other groups, too
    return own if isinstance(own, dict) else content


def _place_of(key: str, group: str) -> str:
    """Returns a hint to the group of a setting that was given in the wrong place, or "" if no file has the setting."""
    if not group and key in _settings(CONF / "evaluate.yaml"):
        return "; it is a setting of evaluate.py"
    places = (file for file in sorted(CONF.glob("*/*.yaml")) if file.parent.name not in ("debug", "experiment"))
    files = [file for file in places if key in _settings(file)]
    if choices := [f"{group}={file.stem}" for file in files if file.parent.name == group]:
        return f"; it is a setting of {', '.join(choices)}"
    groups = sorted({f"{file.parent.name}.{key}" for file in files})
    groups = [key] if group and key in _settings(CONF / "train.yaml") else groups
    return f"; did you mean {' or '.join(groups)}?" if groups else ""


def _renamed(key: str, group: str, siblings: Mapping[str, Any]) -> str:
    """Returns a hint to today's name of a setting of version 0.1, or ""."""
    if group == "optimizer":
        return now_called(key, OPTIMIZER_SETTINGS)
    return now_called(key, POSITION_SETTINGS.get(siblings.get("name", ""), {}))


def _one_line(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException):
        group, _, name = (error.missing_cfg_file or "").partition("/")
        if not group or not name:
            return (
                f"--config-path and --config-name lead nowhere ({one_line(error)}); leave them out, or give "
                "the folder of a run with --config-name=config"
            )
        options = _choices(group)
        hint = now_called(name, CHOICES.get(group, {})) or did_you_mean(name, options)
        return f"unknown {group} '{name}'{hint} (available: {', '.join(options)})"
    if isinstance(error, OverrideParseException):
        if "=" not in str(error.override) and Path(str(error.override)).exists():
            return (
                f"cannot read the argument '{error.override}': write data.path={error.override}, or for evaluate.py "
                f"runs=[{error.override},...]"
            )
        return (
            f"cannot read the argument '{error.override}': write group.key=value without blanks around =, and put a "
            "value with commas, brackets or quotes in a second pair of quotes, such as 'data.path=\"my [new] folder\"'"
        )
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, MissingMandatoryValue):
        return f"{cause.full_key} needs a value: give {cause.full_key}=..."
    if cause is not None and cause.full_key:
        parent = cause.parent_node
        known = [str(key) for key in parent] if hasattr(parent, "keys") else []
        key = str(cause.key)
        if known and key not in known:
            group = str(cause.full_key).rpartition(".")[0]
            set_by_users = [each for each in known if each != "hydra"]
            hint = _renamed(key, group, parent) or _place_of(key, group) or did_you_mean(key, known)
            return f"{group or 'the configuration'} has no setting '{key}'{hint} (it takes: {', '.join(set_by_users)})"
        return f"{cause.full_key}: {str(cause.msg or cause).splitlines()[0]}"
    if sweep := _SWEEP.search(str(error)):
        return (
            f"{sweep[1]} are values of several runs, which need --multirun; write a list as {sweep[2]}=[...], a "
            f"number with a point, and one value with commas as '{sweep[2]}=\"...\"'"
        )
    return " ".join(str(error).split())
