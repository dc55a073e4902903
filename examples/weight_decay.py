"""A sweep of one's own: does the weight decay of stage B matter?

python examples/weight_decay.py --name decay --seeds 0,1,2
"""

from tclap.axes import expand, parse_vary
from tclap.config import LossCoefficients
from tclap.console import parse, run_or_exit
from tclap.flags import SweepSettings
from tclap.lanes.driver import run_sweep


def main() -> int:
    settings = parse(SweepSettings)
    rows = [settings.configuration("B", LossCoefficients(), size) for size in settings.batch_sizes]
    axes = [parse_vary("optimiser_b.weight_decay=0,0.01,0.1"), *settings.variations()]  # and those of --vary
    return run_sweep(settings, expand(rows, axes), table="decay")


if __name__ == "__main__":
    run_or_exit(main)
