"""What users write for a target."""

import re
from pathlib import Path

import pytest

import latency_models.profiles
from latency_models.errors import LatencyError
from latency_models.host import host_processor, n_cores
from latency_models.profile_file import keys, parse_profile
from latency_models.profiles import load_profile, resolve, shipped
from latency_models.target import Processor, Remote, Target

TARGETS = Path(latency_models.profiles.__file__).parent / "targets"
PI4 = """
about: the board on my desk
host: 192.168.1.20
triple: aarch64-linux-gnu
cpu: cortex-a72
cores: 4
clock-hz: 1.5 GHz
cache_bytes: [32 KiB, 1 MiB]
cache_bytes_per_cycle: 16, 8, 2.5
"""
PI4_CORES = Processor(
    triple="aarch64-linux-gnu",
    cpu="cortex-a72",
    clock_hz=1.5e9,
    cache_bytes=(32768, 1048576),
    cache_bytes_per_cycle=(16.0, 8.0, 2.5),
)


def written(folder: Path, text: str, name: str = "pi4.yaml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def refused(spec: str, n_threads: int | None = None) -> LatencyError:
    with pytest.raises(LatencyError) as caught:
        resolve(spec, n_threads)
    return caught.value


def test_this_processor_with_onnx_runtime() -> None:
    assert resolve("cpu") == Target(about="this processor, ONNX Runtime")


def test_this_processor_with_tvm_is_read_from_the_machine() -> None:
    target, host = resolve("tvm-cpu", n_threads=n_cores()), host_processor()
    assert (target.runtime, target.access, target.n_threads, target.processor) == ("tvm", "local", n_cores(), host)
    assert target.precisions == (("float32", "float16") if host.float16 else ("float32",))


@pytest.mark.parametrize("arch", ["80", "86", "89", "90"])
def test_gpus(arch: str) -> None:
    target = resolve(f"nvidia-sm{arch}")
    assert (target.runtime, target.device, target.cuda_arch) == ("tvm", "cuda", f"sm_{arch}")
    assert target.precisions == ("float32", "float16")


def test_the_provider_and_tvm_on_the_gpu_in_this_machine() -> None:
    assert (resolve("cuda").runtime, resolve("cuda").device) == ("onnxruntime", "cuda")
    assert (resolve("tvm-cuda").runtime, resolve("tvm-cuda").cuda_arch) == ("tvm", "")


def test_every_shipped_profile_holds_what_it_may() -> None:
    assert {"cpu", "cuda", "jetson-orin", "nvidia-sm80", "tvm-cpu", "tvm-cuda"} <= set(shipped())
    for name in shipped():
        remote = parse_profile((TARGETS / f"{name}.yaml").read_text(), name).get("triple")
        target = load_profile(f"tvm-rpc:{name}@board:9090" if remote else name).target
        assert target.about, name
        assert target.precisions[0] == "float32", name


def test_a_users_board(tmp_path: Path) -> None:
    path = written(tmp_path, PI4)
    board = Target(
        name="pi4", runtime="tvm", access="rpc", processor=PI4_CORES, remote=Remote(host="192.168.1.20"),
        precisions=("float32",), about="the board on my desk",
    )  # fmt: skip
    assert resolve(f"tvm-rpc:{path}") == resolve(path) == board
    assert resolve(f"tvm-rpc:{path}", n_threads=4).label == "pi4-4t"


def test_a_users_board_that_is_only_estimated(tmp_path: Path) -> None:
    target = resolve(f"estimate:{written(tmp_path, PI4 + 'known_error: 0.1')}")
    assert (target.name, target.access, target.remote, target.known_error) == ("estimate:pi4", "estimate", None, 0.1)
    assert target.processor == PI4_CORES


def test_a_measured_board_has_no_error_of_an_estimate(tmp_path: Path) -> None:
    assert resolve(written(tmp_path, PI4 + "known_error: 0.1")).known_error is None


def test_a_board_like_a_shipped_one(tmp_path: Path) -> None:
    target = resolve(written(tmp_path, "like: jetson-orin\nhost: orin.local\nname: mine\ncompiler: clang\n"))
    assert (target.name, target.cuda_arch, target.device) == ("mine", "sm_87", "cuda")
    assert target.remote == Remote(host="orin.local", compiler="clang")


def test_a_shipped_board_at_an_address() -> None:
    server = resolve("tvm-rpc:jetson-orin@10.0.0.2:9091")
    assert (server.name, server.remote) == ("jetson-orin@10.0.0.2:9091", Remote(host="10.0.0.2", port=9091))
    assert resolve("tvm-rpc:jetson-orin@10.0.0.2").remote == Remote(host="10.0.0.2", port=9090)
    assert resolve("tvm-rpc:jetson-orin@::1:9091").remote == Remote(host="::1", port=9091)
    tracked = resolve("tvm-rpc:jetson-orin@10.0.0.2:9190/orin")
    assert tracked.remote == Remote(host="10.0.0.2", port=9190, key="orin")


def test_a_profile_may_do_less_than_the_device(tmp_path: Path) -> None:
    assert resolve(written(tmp_path, PI4 + "float16: true")).precisions == ("float32", "float16")
    less = written(tmp_path, PI4 + "float16: true\nprecisions: [float32]")
    assert resolve(less).precisions == ("float32",)


@pytest.mark.parametrize(
    ("spec", "problem", "remedy"),
    [
        ("tvm-cup", "There is no target `tvm-cup`.", "Did you mean `tvm-cpu`?"),
        ("", "There is no target ``.", "your own is a path that ends in .yaml"),
        ("none.yaml", "none.yaml cannot be read: No such file", "Check the path"),
        ("jetson-orin", "jetson-orin is not this machine.", "Write `tvm-rpc:jetson-orin@<host>:<port>`"),
        ("tvm-rpc:jetson-orin", "does not say host (or key, for a tracker)", "write `tvm-rpc:jetson-orin@<host>"),
        ("tvm-rpc:jetson-orin@board:x", "has no address after the @", "`@host:port`"),
        ("tvm-rpc:jetson-orin@:9090", "has no address after the @", "`@host:port`"),
        ("tvm-rpc:cpu", "is ONNX Runtime's, which runs here only", "`tvm-rpc:<your own>.yaml`"),
        ("estimate:jetson-orin", "is a GPU; only processor cores are estimated", "`estimate:<your own>.yaml`"),
        ("estimate:tvm-cpu", "does not say triple, cpu, clock_hz", "Add them to a profile of your own"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(spec: str, problem: str, remedy: str) -> None:
    error = refused(spec)
    assert problem in error.problem
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("line", "problem", "remedy"),
    [
        ("prot: 9090", "has the unknown key `prot`", "Did you mean `port`?"),
        ("port: high", "`port` in the profile", "Write a whole number"),
        ("port: 70000", "is 70000", "from 1 to 65535"),
        ("cores: 0", "is 0", "from 1 to 1024"),
        ("cores: 1.5", "which is not a whole number", "Write a whole number"),
        ("cores: true", "is True, which is not a whole number", "Write a whole number"),
        ("clock_hz: fast", "is 'fast', which is not a number", "Write a number"),
        ("clock_hz: .nan", "is nan, which is not a number", "Write a number"),
        ("float16: maybe", "which is not true or false", "Write true or false"),
        ("runtime: tflite", "which is not onnxruntime or tvm", "Write onnxruntime or tvm"),
        ("name: 4", "is 4, which is not a text", "Write a text"),
        ("cache_bytes: [a]", "which is not a list of whole numbers", "Write a list"),
        ("cache_bytes: {a: 1}", "which is not a list of whole numbers", "Write a list"),
        ("clock-hz: 1\nclock_hz: 2", "gives `clock_hz` twice", "Keep one"),
        ("like: pi5", "There is no target `pi5`", "The profiles are"),
        ("precisions: [float32, int8]", "int8, but TVM would compute it in float32", "Choose precisions among float32"),
        ("precisions: [float32, float16]", "float16, but its cores have no half", "Choose precisions among float32"),
        ("cache_bytes: [1]\ncache_bytes_per_cycle: [1]", "gives 1 cache_bytes and 1", "one more for the memory"),
        ("float16: true\nprecisions: [float16]", "leave out float32", "Add float32"),
        ("a: [", "is not YAML", "one `name: value` a line"),
    ],
)
def test_a_users_mistakes(tmp_path: Path, line: str, problem: str, remedy: str) -> None:
    text = "host: h\ntriple: aarch64-linux-gnu\ncpu: cortex-a72\n" + ("" if "cores" in line else "cores: 4\n") + line
    error = refused(written(tmp_path, text))
    assert problem in error.problem
    assert remedy in error.remedy


@pytest.mark.parametrize("missing", ["host", "triple", "cpu", "cores"])
def test_what_a_board_must_say(tmp_path: Path, missing: str) -> None:
    lines = [line for line in PI4.splitlines() if not line.startswith(missing)]
    error = refused(f"tvm-rpc:{written(tmp_path, chr(10).join(lines))}")
    assert f"does not say {missing}" in error.problem


@pytest.mark.parametrize("text", ["", "- host\n", "just words\n"])
def test_a_file_without_names_and_values(tmp_path: Path, text: str) -> None:
    assert "does not hold names and values" in refused(written(tmp_path, text)).problem


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "pi4.yaml").write_bytes(b"\xff\xfe\x00")
    assert "it is not text" in refused(str(tmp_path / "pi4.yaml")).problem


@pytest.mark.parametrize("n_threads", [0, -1, 5])
def test_threads_keep_within_the_cores(tmp_path: Path, n_threads: int) -> None:
    error = refused(written(tmp_path, PI4), n_threads)
    assert error.problem == f"pi4 has 4 cores, so one inference cannot use {n_threads} threads."
    assert error.remedy == "Ask for 1 to 4 threads."


@pytest.mark.parametrize(
    ("text", "value"),
    [("1500000", 1.5e6), ("1.5e9", 1.5e9), ("1.5 GHz", 1.5e9), ("600MHz", 6e8), ("64 KiB", 65536.0), ("2M", 2e6)],
)
def test_numbers_may_have_units(text: str, value: float) -> None:
    assert parse_profile(f"clock_hz: {text}", "here") == {"clock_hz": value}


def test_keys_are_the_fields_of_the_types() -> None:
    assert {"name", "triple", "host", "cuda_arch", "like", "cores"} <= set(keys())
    assert {"processor", "remote"}.isdisjoint(keys())


DOCS = Path(__file__).parents[2] / "docs" / "targets.md"


def test_every_key_and_every_shipped_profile_is_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert [key for key in keys() if f"`{key}`" not in text] == []
    assert [name for name in shipped() if f"`{name}`" not in text and f"`-{name.partition('-')[2]}`" not in text] == []


def test_the_profiles_in_the_docs_can_be_read(tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    boards = [parse_profile(block, "docs") for block in blocks]
    assert len(boards) >= 2
    whole = written(tmp_path, next(block for block, board in zip(blocks, boards, strict=True) if "triple" in board))
    assert resolve(f"tvm-rpc:{whole}").name == "pi4"
