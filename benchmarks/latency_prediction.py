"""How well latencies are predicted.

    python benchmarks/latency_prediction.py own [--measure FOLDER]
    python benchmarks/latency_prediction.py public

`own`: our own targets, from what was measured and is kept in benchmarks/data/latency/own. 180 students each of four
teachers (Fashion-MNIST's ResNet, and a MobileNetV2, a VGG and a DenseNet of benchmarks/networks.py), drawn and bred as
a search does, not repaired, on ONNX Runtime in float32 and int8 and on TVM. Each student was visited beside its teacher
by the product's own code. 50 students that the product's own chooser picks are shown to the predictor, all others of
that teacher are held out. A teacher counts as unknown where of its students only single kernels were timed.
`--measure FOLDER` measures anew on this machine, in as many sittings of `--for` seconds as it takes (about an hour
where nothing else runs): every figure is kept in the folder as it comes. Predicting takes about a minute.

`public`: devices that are not here, from published tables (benchmarks/data/latency). Every architecture is drawn as an
ONNX graph and goes through the features and predictors of the product. The twelve few-sample tasks are NASFLAT's
(Akhauri and Abdelfattah, MLSys 2024): the tables of the source devices are known, of the target 20 architectures, which
the product's own chooser picks from architectures and source tables without having seen a latency of the target. A
source's table becomes a predictor (`regress`), as a table that ships with the product would, and what it says of an
architecture is a feature; so sources that were measured on 1,999 cells say something of all 15,625. Correlations are
over all other architectures that the target's table holds, five seeds. Nothing is fitted to a task.

Takes about 40 minutes of one core, 8 of them for the graphs; with `--keep FOLDER` what is done is kept, so that it can
be stopped and the graphs are there the next time. Both write tables and a picture to
results/benchmarks/latency_prediction/ and print `name=value` lines last.
"""

import argparse
from pathlib import Path

from prediction import own_run, public_run
from prediction.own_data import DATA as OWN_DATA
from prediction.public_data import DATA, ROOT, TASKS

OUT = ROOT / "results" / "benchmarks" / "latency_prediction"


def main() -> None:
    """Parses and runs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    subparsers = parser.add_subparsers(dest="part", required=True)
    own = subparsers.add_parser("own", help="our own targets")
    own.add_argument("--measure", type=Path, metavar="FOLDER", help="measure anew; what is measured is kept there")
    own.add_argument("--for", type=float, default=3600, dest="limit_s", help="seconds of one sitting (default 3600)")
    own.add_argument("--data", type=Path, default=OWN_DATA, help="folder of what was measured")
    own.add_argument("--seeds", type=int, default=1, help="of the choice of samples (default 1)")
    own.add_argument("--out", type=Path, default=OUT)
    public = subparsers.add_parser("public", help="devices that are not here, from published tables")
    public.add_argument("--seeds", type=int, default=5, help="of each task (default 5)")
    public.add_argument("--tasks", nargs="+", default=[task.name for task in TASKS], help="default: all")
    public.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    public.add_argument("--keep", type=Path, help="folder where what is done is kept for the next time")
    public.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.part == "public":
        public_run.run(arguments.tasks, arguments.seeds, arguments.data, arguments.keep, arguments.out)
    else:
        _own(arguments)


def _own(arguments: argparse.Namespace) -> None:
    data: Path = arguments.data
    if arguments.measure is not None:
        n_left = own_run.sitting(arguments.measure, arguments.limit_s)
        if n_left:
            print(f"n_left={n_left}")
            return
        data = arguments.measure / "packed"
        own_run.repack(arguments.measure, data)
    own_run.run(data, arguments.seeds, arguments.out)


if __name__ == "__main__":
    main()
