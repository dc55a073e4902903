"""Table IV of the paper: four sets of loss coefficients, each after TeminAL B alone and after A and B.

ray job submit --working-dir . -- python sweeps/table4.py     # on a cluster
python sweeps/table4.py                                        # on this machine, synthetic sound, mini
python sweeps/table4.py --preset paper --dry-run               # what the paper ran: 24 configurations
"""

from tclap.axes import expand
from tclap.config import Configuration, LossCoefficients
from tclap.console import parse, run_or_exit
from tclap.flags import SweepSettings
from tclap.lanes.driver import run_sweep

ROWS = [
    # stages, alpha_st, alpha_ct, alpha_so, alpha_co, beta
    ("B", 0, 0, 0, 0, 1),
    ("B", 1, 0, 1, 0, 1),
    ("B", 0, 1, 0, 1, 1),
    ("B", 1, 1, 1, 1, 1),
    ("AB", 0, 0, 0, 0, 1),
    ("AB", 1, 0, 1, 0, 1),
    ("AB", 0, 1, 0, 1, 1),
    ("AB", 1, 1, 1, 1, 1),
]


def configurations(settings: SweepSettings) -> list[Configuration]:
    """Every row at every batch size, in the table's order, and once for each value of --vary."""
    rows = [
        settings.configuration(
            stages,
            LossCoefficients(alpha_st=st, alpha_ct=ct, alpha_so=so, alpha_co=co, beta=beta),
            batch_size,
            settings.match_steps,
        )
        for batch_size in settings.batch_sizes
        for stages, st, ct, so, co, beta in ROWS
    ]
    return expand(rows, settings.variations())


def main() -> int:
    settings = parse(SweepSettings)
    return run_sweep(settings, configurations(settings), table="table4")


if __name__ == "__main__":
    run_or_exit(main)
