from collections.abc import Callable, Mapping

import pandas as pd
import pytest

from tclap.config import Configuration, LossCoefficients, OptimiserSettings
from tclap.report.tables import SHOWN, long_frame

Frame = Callable[..., pd.DataFrame]


@pytest.fixture
def frame_of() -> Frame:
    """(values, metrics): a long frame of B configurations that differ in α_st, α_ct and lr.

    values: (α_st, α_ct, lr) -> zste/temporal of seeds 0, 1, ...; zste/1 is 100 less that.
    """

    def make(values: Mapping[tuple[float, float, float], list[float]]) -> pd.DataFrame:
        rows = []
        for (st, ct, lr), temporal in values.items():
            configuration = Configuration(
                stages="B",
                batch_size=8,
                coefficients=LossCoefficients(alpha_st=st, alpha_ct=ct),
                optimiser_b=OptimiserSettings(lr=lr),
            )
            for seed, value in enumerate(temporal):
                scores = {f"zste/{column}": 50.0 for column in SHOWN}
                scores |= {"zste/temporal": value, "zste/1": 100 - value, "retrieval/clotho/t2a_r1": 7.0}
                rows.append((configuration, seed, scores))
        return long_frame(rows)

    return make
