"""A search with Optuna over the loss coefficients, stages and batch sizes: which teach order, and keep the rest?

python sweeps/search.py --trials 20 --start-with table4
python sweeps/search.py --batch-sizes 128,256,512 --trials 192 --sampler nsga2 --study postgresql://…
The same command again continues; with more --trials, it goes on from there.
"""

from table4 import ROWS  # the script beside this one

from tclap.config import COEFFICIENTS
from tclap.console import parse, run_or_exit
from tclap.lanes.search import run_search
from tclap.search_flags import SearchSettings


def main() -> int:
    settings = parse(SearchSettings)
    first = []
    if settings.start_with == "table4":
        lr = {"lr": settings.lrs[0]} if settings.lrs else {}
        first = [
            {"stages": stages, **dict(zip(COEFFICIENTS, row, strict=True)), "batch_size": batch_size, **lr}
            for batch_size in settings.batch_sizes
            for stages, *row in ROWS
            if stages in settings.stages
        ]
    return run_search(settings, first)


if __name__ == "__main__":
    run_or_exit(main)
