"""How well latencies are predicted.

    python benchmarks/latency_prediction.py public

`public`: devices that are not here, from published tables (benchmarks/data/latency). Every architecture is drawn as an
ONNX graph and goes through the features and predictors of the product. The twelve few-sample tasks are NASFLAT's
(Akhauri and Abdelfattah, MLSys 2024): the tables of the source devices are known, of the target 20 architectures, which
the product's own chooser picks from architectures and source tables without having seen a latency of the target. A
source's table becomes a predictor (`regress`), as a table that ships with the product would, and what it says of an
architecture is a feature; so sources that were measured on 1,999 cells say something of all 15,625. Correlations are
over all other architectures that the target's table holds, five seeds. Nothing is fitted to a task.

Takes about 40 minutes of one core, 8 of them for the graphs, which `--keep FOLDER` saves the next time. Writes tables
and a picture to results/benchmarks/latency_prediction/ and prints `name=value` lines last.
"""

import argparse
from pathlib import Path

from prediction import public_run
from prediction.public_data import DATA, ROOT, TASKS


def main() -> None:
    """Parses and runs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    subparsers = parser.add_subparsers(required=True)
    public = subparsers.add_parser("public", help="devices that are not here, from published tables")
    public.add_argument("--seeds", type=int, default=5, help="of each task (default 5)")
    public.add_argument("--tasks", nargs="+", default=[task.name for task in TASKS], help="default: all")
    public.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    public.add_argument("--keep", type=Path, help="folder where features are kept for the next time")
    public.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "latency_prediction")
    arguments = parser.parse_args()
    public_run.run(arguments.tasks, arguments.seeds, arguments.data, arguments.keep, arguments.out)


if __name__ == "__main__":
    main()
