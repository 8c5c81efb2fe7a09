"""Fails unless a wheel holds what users need and nothing else: python .ci/check_wheel.py WHEEL"""

import sys
from zipfile import ZipFile

PACKAGES = {"nas", "latency_models", "search_spaces"}
NEEDED = {"nas/tasks/fashion_mnist.safetensors", "nas/cli.py", *(f"{package}/py.typed" for package in PACKAGES)}


def main() -> None:
    """Compares the wheel's files with what is expected of them."""
    names = set(ZipFile(sys.argv[1]).namelist())
    missing = NEEDED - names
    tops = {name.partition("/")[0] for name in names}
    foreign = {top for top in tops - PACKAGES if not top.endswith(".dist-info")}
    if missing or foreign:
        sys.exit(f"{sys.argv[1]}: missing {sorted(missing)}, not ours {sorted(foreign)}")
    print(f"wheel: {len(names)} files, packages {', '.join(sorted(PACKAGES))}")


if __name__ == "__main__":
    main()
