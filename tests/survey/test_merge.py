"""The catalogue in the formats that astronomers open, with units, UCDs and descriptions, and read by other programs."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from survey_toy import N

from kcinn.catalogue import covariance_columns, to_table, write_table
from kcinn.errors import KcinnError, SurveyError
from kcinn.labels import Label, LabelSpace
from kcinn.survey import merge
from kcinn.survey.columns import columns
from kcinn.survey.manifest import Manifest
from kcinn.survey.shard import read_part, write_part


@pytest.fixture(scope="module")
def expected(undisturbed):
    return Table.read(undisturbed.parent / "catalogue.fits", mask_invalid=False)


def test_a_part_may_have_the_covariances_of_sixty_labels(tmp_path):
    space = LabelSpace(Label.standard(f"label_{k}", 0.0, 1.0) for k in range(60))
    rows = np.zeros(5, dtype=[(column.name, column.dtype) for column in covariance_columns(space)])
    rows[rows.dtype.names[-1]] = np.arange(5)
    write_part(tmp_path / "part-0000000.npy", rows)
    again = read_part(tmp_path / "part-0000000.npy", rows.dtype, 5)
    np.testing.assert_array_equal(again, rows)


def test_more_columns_than_a_fits_table_can_number_are_refused(tmp_path):
    space = LabelSpace(Label.standard(f"label_{k}", 0.0, 1.0) for k in range(45))
    wide = covariance_columns(space)
    table = to_table(wide, {column.name: np.zeros(2) for column in wide}, {})
    with pytest.raises(KcinnError, match=r"at most 999 columns; this catalogue has 1035\. .*\.vot"):
        write_table(table, tmp_path / "catalogue.fits")
    write_table(table, tmp_path / "catalogue.vot")
    assert len(Table.read(tmp_path / "catalogue.vot").colnames) == 1035


def same(values, expected):
    for name in expected.colnames:
        found, wanted = (np.ma.getdata(np.ma.asarray(column[name])) for column in (values, expected))
        if wanted.dtype.kind in "SU":
            found, wanted = found.astype(str), wanted.astype(str)
        np.testing.assert_array_equal(found, wanted, err_msg=name)


def test_fits(undisturbed, expected):
    with fits.open(undisturbed.parent / "catalogue.fits") as hdus:
        hdus.verify("exception")
        header = hdus[1].header
        assert len(hdus[1].data) == N and header["EXTNAME"] == "CATALOGUE" and "labels" in header["FLAG256"]
        number = {header[f"TTYPE{k + 1}"]: k + 1 for k in range(header["TFIELDS"])}
        for column in columns(Manifest.read(undisturbed)):
            k = number[column.name]
            assert header[f"TCOMM{k}"] == column.description and header[f"TUCD{k}"] == column.ucd
            assert header.get(f"TUNIT{k}", "").replace(" ", "") == column.unit.replace(" ", "")
    assert expected["teff"].unit == "K" and expected["teff"].dtype.itemsize == 4


def test_ucds_are_of_the_controlled_vocabulary(undisturbed):
    for column in columns(Manifest.read(undisturbed)):
        assert check_ucd(column.ucd, check_controlled_vocabulary=True), column


def test_votable(undisturbed, expected, tmp_path):
    assert merge(undisturbed, tmp_path / "c.vot") == N
    table = parse(tmp_path / "c.vot").get_first_table()
    field = {field.name: field for field in table.fields}
    assert str(field["e_teff"].unit) == "K" and field["e_teff"].ucd == "stat.error;phys.temperature.effective"
    assert str(field["fe_h"].unit) == "dex" and "median" in field["fe_h"].description
    same(Table.read(tmp_path / "c.vot"), expected)


def test_parquet(undisturbed, expected, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    assert merge(undisturbed, tmp_path / "c.parquet") == N
    found = pq.read_table(tmp_path / "c.parquet")
    notes = found.schema.field("e_teff").metadata
    assert notes[b"unit"] == b"K" and notes[b"ucd"] == b"stat.error;phys.temperature.effective"
    assert b"labels" in found.schema.metadata[b"FLAG256"]
    same({name: found[name].to_numpy() for name in found.column_names}, expected)


@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")
@pytest.mark.parametrize("ending", ["fits", "vot"])
def test_stilts_sees_units_and_ucds(undisturbed, tmp_path, ending):
    merge(undisturbed, tmp_path / f"c.{ending}")
    command = ["stilts", "tpipe", f"in={tmp_path / f'c.{ending}'}", "cmd=meta name units ucd description", "omode=out"]
    done = subprocess.run([*command, "ofmt=csv"], capture_output=True, text=True, check=True)
    lines = {line.split(",")[0]: line for line in done.stdout.splitlines()}
    assert "K,stat.error;phys.temperature.effective" in lines["e_teff"] and "percent" in lines["e_teff"]
    assert "km" in lines["velocity"] and "dex" in lines["fe_h"]


def test_what_cannot_be_written_is_refused(undisturbed, tmp_path):
    with pytest.raises(SurveyError, match=r"\.fits.*c\.xlsx"):
        merge(undisturbed, tmp_path / "c.xlsx")
    with pytest.raises(SurveyError, match="no such folder"):
        merge(undisturbed, tmp_path / "nowhere" / "c.fits")
    with pytest.raises(SurveyError, match="no folder of `kcinn survey`"):
        merge(tmp_path, tmp_path / "c.fits")
