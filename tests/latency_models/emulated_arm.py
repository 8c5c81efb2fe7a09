"""An ARM board that is played by qemu-user: prepared by `.ci/emulated_arm`, which says where it lies."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from latency_models.target import Processor, Remote, Target
from tests.latency_models.rpc_servers import serve

FOLDER = Path(os.environ.get("UNDERSTUDY_EMULATED_ARM", Path.home() / ".cache/understudy/emulated-arm"))
COMPILER = "aarch64-linux-gnu-gcc"


def lacking() -> str:
    """Why there is no emulated board here; empty where there is one."""
    if not (FOLDER / "ready").is_file():
        return "no emulated ARM board: run .ci/emulated_arm"
    tools = [tool for tool in ("qemu-aarch64", COMPILER) if shutil.which(tool) is None]
    return f"not installed: {', '.join(tools)}" if tools else ""


@pytest.fixture(scope="session")
def emulated_arm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A target whose device is an aarch64 process of this machine that runs TVM's own RPC server."""
    if reason := lacking():
        pytest.skip(reason)
    server = serve(tmp_path_factory.mktemp("emulated-arm"), (str(FOLDER / "python"),))
    yield Target(
        name="emulated",
        runtime="tvm",
        access="rpc",
        processor=Processor(triple="aarch64-linux-gnu", cpu="cortex-a72"),
        remote=Remote(port=server.port, compiler=COMPILER, emulated=True, connect_s=60.0, run_s=300.0),
        precisions=("float32",),
    )
    server.end()
