"""What users write for a target (`cpu`, `tvm-rpc:pi4.yaml`, `estimate:cortex-a72`), made into a `Target`."""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from latency_models.errors import LatencyError
from latency_models.host import host_processor, n_cores
from latency_models.precisions import native_precisions, refusal
from latency_models.profile_file import build, parse_profile, read_profile
from latency_models.target import Access, Processor, Remote, Target

RPC, ESTIMATE = "tvm-rpc:", "estimate:"
_ACCESS_BY_PREFIX: Mapping[str, Access] = {RPC: "rpc", ESTIMATE: "estimate"}
NEEDED: Mapping[str, tuple[str, ...]] = {
    "rpc": ("triple", "cpu", "cores"),
    "estimate": ("triple", "cpu", "clock_hz"),
    "local": (),
}
"""What a profile must say, by how the target is reached."""


@dataclass(frozen=True)
class Profile:
    """A target and how many threads it allows.

    Attributes:
        target: with the profile's own number of threads.
        cores: that one inference may use.
    """

    target: Target
    cores: int


def shipped() -> tuple[str, ...]:
    """Names of the profiles that come with the package, sorted."""
    return tuple(sorted(_shipped_files()))


def resolve(spec: str, n_threads: int | None = None) -> Target:
    """The target that a user names.

    Args:
        spec: a shipped profile (`cpu`), a file (`boards/pi4.yaml`), either after `tvm-rpc:` or `estimate:`, or a
            shipped profile at an address (`tvm-rpc:cortex-a72@127.0.0.1:9090`, for a tracker `...@host:9190/key`).
        n_threads: of one inference, None for the profile's own (1).

    Raises:
        LatencyError: there is no such profile, it holds what it cannot, it does not say enough for what is asked, or
            it has fewer cores than threads are wanted.
    """
    profile = load_profile(spec)
    wanted = profile.target.n_threads if n_threads is None else n_threads
    if not 1 <= wanted <= profile.cores:
        raise LatencyError(
            f"{profile.target.name} has {profile.cores} {'core' if profile.cores == 1 else 'cores'}, "
            f"so one inference cannot use {wanted} threads.",
            f"Ask for 1 to {profile.cores} threads." if profile.cores > 1 else "Ask for 1 thread.",
        )
    return replace(profile.target, n_threads=wanted)


def load_profile(spec: str) -> Profile:
    """The profile that a user names; `spec` and errors as for `resolve`."""
    name, asked = spec.strip(), _ACCESS_BY_PREFIX.get(f"{spec.strip().partition(':')[0]}:")
    if asked is not None:
        name = name.partition(":")[2].strip()
    if asked == "rpc" and "@" in name and not _is_path(name):
        base, _, address = name.partition("@")
        values = {**_shipped_values(base), "name": name, **_address(address, spec)}
    elif _is_path(name):
        values = _user_values(Path(name).expanduser())
    else:
        values = _shipped_values(name)
    return _profile(values, asked, spec)


def _profile(values: dict[str, Any], asked: Access | None, spec: str) -> Profile:
    access: Access = asked or values.get("access") or ("rpc" if values.get("host") or values.get("key") else "local")
    values = {"runtime": "onnxruntime" if access == "local" else "tvm", "device": "cpu", **values, "access": access}
    if access != "local" and values["runtime"] != "tvm":
        raise LatencyError(f"{spec} is ONNX Runtime's, which runs here only.", _others(access))
    if access == "estimate" and values["device"] != "cpu":
        raise LatencyError(f"{spec} is a GPU; only processor cores are estimated.", _others(access))
    _check_enough(values, spec)
    remote = Remote(**build(Remote, values)) if access == "rpc" else None
    target = Target(**build(Target, values | {"precisions": ("float32",)}))
    target = replace(
        target,
        name=f"{ESTIMATE}{target.name}" if access == "estimate" else target.name,
        processor=_processor(values),
        remote=remote,
        known_error=target.known_error if access == "estimate" else None,
    )
    target = replace(target, precisions=native_precisions(target))
    if "precisions" in values:
        target = replace(target, precisions=_wished(target, values["precisions"], spec))
    return Profile(target, values.get("cores") or n_cores())


def _processor(values: dict[str, Any]) -> Processor | None:
    """The cores that the values describe: of this machine where they name no others."""
    if values["runtime"] == "onnxruntime":
        return None
    given = build(Processor, values)
    if not values.get("triple") and values["access"] == "local":
        return replace(host_processor(), **given)
    processor = Processor(**given)
    n_caches, n_rates = len(processor.cache_bytes), len(processor.cache_bytes_per_cycle)
    if n_rates and n_rates != n_caches + 1:
        raise LatencyError(
            f"The profile {values['name']} gives {n_caches} cache_bytes and {n_rates} cache_bytes_per_cycle.",
            "Give one rate for each cache and one more for the memory.",
        )
    return processor


def _wished(target: Target, wishes: tuple[str, ...], spec: str) -> tuple[str, ...]:
    """The precisions that a profile limits a target to."""
    for precision in wishes:
        reason = refusal(target, precision)
        if reason is not None:
            raise LatencyError(
                f"{spec} is said to compute in {precision}, but {reason}.",
                f"Choose precisions among {', '.join(target.precisions)}.",
            )
    if "float32" not in wishes:
        raise LatencyError(
            f"The precisions of {spec} leave out float32, which every candidate is compared with.",
            "Add float32 to `precisions`.",
        )
    return tuple(precision for precision in target.precisions if precision in wishes)


def _check_enough(values: dict[str, Any], spec: str) -> None:
    """Refuses a profile that does not say how to reach, compile for or estimate its device."""
    access, name = values["access"], values["name"]
    missing = [key for key in NEEDED[access] if not values.get(key)]
    if access == "rpc" and not values.get("host") and not values.get("key"):
        missing.insert(0, "host (or key, for a tracker)")
    if missing:
        shorthand = f", or write `{RPC}{name}@<host>:<port>`" if access == "rpc" and name in _shipped_files() else ""
        raise LatencyError(
            f"{spec} does not say {', '.join(missing)}.",
            f"Add {'it' if len(missing) == 1 else 'them'} to a profile of your own (docs/targets.md){shorthand}.",
        )
    if access == "local" and values.get("triple"):
        raise LatencyError(
            f"{spec} is not this machine.",
            f"Write `{RPC}{name}@<host>:<port>` to measure on one that runs TVM's RPC server"
            + (f", or `{ESTIMATE}{name}` for an estimate." if values["device"] == "cpu" else "."),
        )


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or ("/" in name and "@" not in name)


def _user_values(path: Path) -> dict[str, Any]:
    """The values of a user's file, over those of the profile that it is like."""
    values = read_profile(path)
    base = _shipped_values(values["like"]) if values.get("like") else {}
    return {**base, "name": path.stem, **values}


def _shipped_values(name: str) -> dict[str, Any]:
    files = _shipped_files()
    if name not in files:
        near = difflib.get_close_matches(name, files, n=1, cutoff=0.5)
        hint = f"Did you mean `{near[0]}`? " if near else ""
        raise LatencyError(
            f"There is no target `{name}`.",
            f"{hint}The profiles are {', '.join(shipped())}; your own is a path that ends in .yaml.",
        )
    return {"name": name, **parse_profile(files[name], f"{name}.yaml")}


@functools.cache
def _shipped_files() -> dict[str, str]:
    """Name to text."""
    folder = resources.files("latency_models").joinpath("targets")
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    }


def _address(text: str, spec: str) -> dict[str, Any]:
    """`host:port`, or `host:port/key` of a tracker."""
    place, _, key = text.partition("/")
    host, colon, port = place.rpartition(":")
    if not colon:
        host, port = place, str(9190 if key else Remote.port)
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise LatencyError(
            f"{spec} has no address after the @.", "Write `@host:port`, or `@host:port/key` of a tracker."
        )
    return {"host": host, "port": int(port), **({"key": key} if key else {})}


def _others(access: Access) -> str:
    """The sentence that names what can be reached so."""
    prefix = RPC if access == "rpc" else ESTIMATE
    profiles = {name: parse_profile(text, name) for name, text in sorted(_shipped_files().items())}
    fit = [
        f"`{prefix}{name}{'@<host>:<port>' if access == 'rpc' else ''}`"
        for name, values in profiles.items()
        if values.get("triple") and (access == "rpc" or values.get("device", "cpu") == "cpu")
    ]
    return f"Write {', '.join([*fit, f'`{prefix}<your own>.yaml`'])}."
