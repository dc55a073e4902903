import numpy as np

from tclap.report.published import READINGS, SETTINGS, model_column, published, table4_rows


def test_every_reading_is_explained_and_used() -> None:
    named = published()["reading"].dropna()
    assert set(named) == set(READINGS)
    assert all(len(reason) > 20 for reason in READINGS.values())


def test_readings_stand_where_they_matter() -> None:
    table = published()
    four = table.query("table == 'IV'")
    assert set(four.query("metric == '5A'")["reading"]) == {"all-or-nothing"}
    assert set(four.query("metric in ['4A', '4B']")["reading"]) == {"hard"}
    zeros = four.query("metric == '3B' and alpha_st == 0 and alpha_ct == 0 and alpha_so == 0 and alpha_co == 0")
    assert zeros["reading"].tolist() == ["alpha", "alpha"]
    assert set(zeros["value"]) == {31.57, 33.12}
    assert table.query("table in ['II', 'III']")["reading"].isna().all()


def test_table_4_is_complete() -> None:
    rows = table4_rows()
    assert rows.index.names == SETTINGS
    assert rows.shape == (8, 11)
    assert np.isfinite(rows.to_numpy()).all()
    assert model_column("CLAP")["1"] == 81.22
