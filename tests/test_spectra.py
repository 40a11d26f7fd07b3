"""Spectra: what it accepts, refuses, counts and keeps through files."""

import h5py
import numpy as np
import pytest
from astropy import units
from astropy.table import MaskedColumn
from astropy.utils.masked import Masked

from kcinn.continuum import normalised
from kcinn.errors import SpectraError
from kcinn.spectra import Spectra
from kcinn.wavelength import vacuum_to_air

WAVELENGTH = np.arange(5000.0, 5100.0, 0.05)


@pytest.fixture
def spectra():
    rng = np.random.default_rng(0)
    flux = 1.0 + 0.02 * rng.normal(size=(30, len(WAVELENGTH)))
    mask = rng.uniform(size=flux.shape) < 0.01
    return Spectra(WAVELENGTH, flux, error=np.full(flux.shape, 0.02), mask=mask, medium="air")


def test_one_spectrum_becomes_one_row():
    one = Spectra(WAVELENGTH, np.ones(len(WAVELENGTH)), medium="vacuum")
    assert len(one) == 1 and one.flux.shape == one.mask.shape == (1, len(WAVELENGTH))
    assert one.error is None and not one.mask.any() and list(one.ids) == [0]


def test_input_arrays_are_not_changed_nor_shared():
    flux = np.ones(len(WAVELENGTH))
    flux[3] = np.nan
    one = Spectra(WAVELENGTH, flux, medium="air")
    one.flux[0, 5] = 7.0
    assert np.isnan(flux[3]) and flux[5] == 1.0


def test_unusable_pixels_are_masked_and_counted():
    flux, error = np.ones((3, len(WAVELENGTH))), np.full((3, len(WAVELENGTH)), 0.1)
    mask = np.zeros(flux.shape, dtype=bool)
    flux[0, :2], error[0, 2:5], flux[2] = [np.nan, np.inf], [0.0, -1.0, np.nan], np.nan
    mask[0, 1] = mask[1, 7] = True
    spectra = Spectra(WAVELENGTH, flux, error=error, mask=mask, medium="air")
    assert list(np.flatnonzero(spectra.mask[0])) == [0, 1, 2, 3, 4] and list(np.flatnonzero(spectra.mask[1])) == [7]
    assert spectra.mask[2].all()
    assert spectra.n_masked_input == 4 + len(WAVELENGTH)
    assert np.isfinite(spectra.flux).all() and not np.isnan(spectra.error).any()
    assert spectra.snr[2] == 0.0 and np.isfinite(spectra.snr).all()


@pytest.mark.parametrize(
    ("wavelength", "flux", "options", "match"),
    [
        (WAVELENGTH, np.ones(2000), {}, "air.*vacuum.*83 km/s"),
        (WAVELENGTH, np.ones(2000), {"medium": "water"}, "'water'"),
        (WAVELENGTH[::-1], np.ones(2000), {"medium": "air"}, "descend; reverse"),
        (np.r_[WAVELENGTH[:9], WAVELENGTH[7:1998]], np.ones(2000), {"medium": "air"}, "ascend strictly; pixel 8"),
        (WAVELENGTH / 10, np.ones(2000), {"medium": "air"}, "nm: multiply them by 10"),
        (WAVELENGTH / 1e4, np.ones(2000), {"medium": "air"}, "angstrom"),
        (np.where(WAVELENGTH > 5050, np.nan, WAVELENGTH), np.ones(2000), {"medium": "air"}, "not finite"),
        (WAVELENGTH[:1], np.ones(1), {"medium": "air"}, "at least two"),
        (WAVELENGTH, np.ones(1999), {"medium": "air"}, "flux must have shape"),
        (WAVELENGTH, np.ones((0, 2000)), {"medium": "air"}, "flux must have shape"),
        (WAVELENGTH, np.ones((2, 2, 2000)), {"medium": "air"}, "flux must have shape"),
        (WAVELENGTH, ["a"] * 2000, {"medium": "air"}, "flux must be numbers"),
        (WAVELENGTH, np.ones((2, 2000)), {"medium": "air", "error": np.ones(2000)}, "error has shape"),
        (WAVELENGTH, np.ones(2000), {"medium": "air", "mask": np.ones(3)}, "mask has shape"),
        (WAVELENGTH, np.ones(2000), {"medium": "air", "ids": [1, 2]}, "ids must be 1"),
        (WAVELENGTH, np.ones(2000), {"medium": "air", "ids": [1.5]}, "ids must be"),
        (WAVELENGTH, np.full(2000, np.nan), {"medium": "air"}, "No good pixel"),
        (WAVELENGTH, np.ones(2000), {"medium": "air", "error": 0.0}, "No good pixel"),
        (WAVELENGTH, np.ones(2000), {"medium": "air", "mask": np.ones(2000)}, "No good pixel"),
    ],
)
def test_wrong_input_is_refused(wavelength, flux, options, match):
    with pytest.raises(SpectraError, match=match):
        Spectra(wavelength, flux, **options)


@pytest.mark.parametrize(
    "masked",
    [
        lambda values, bad: np.ma.MaskedArray(values, mask=bad),
        lambda values, bad: Masked(values * units.dimensionless_unscaled, mask=bad),
        lambda values, bad: MaskedColumn(values, mask=bad),
    ],
)
def test_what_masked_arrays_mask_is_bad(masked):
    bad = np.arange(4) == 2
    flux = masked(np.array([1.0, 0.9, 0.0, 1.0]), bad)
    read = Spectra([5000.0, 5001.0, 5002.0, 5003.0], flux, error=0.01, medium="air")
    np.testing.assert_array_equal(read.mask[0], bad)
    assert read.n_masked_input == 1
    error = masked(np.full(4, 0.01), bad)
    np.testing.assert_array_equal(
        Spectra([5000.0, 5001.0, 5002.0, 5003.0], np.ones(4), error=error, medium="air").mask[0], bad
    )
    with pytest.raises(SpectraError, match="velocity"):
        read.resampled([5000.5, 5001.5], velocity=np.ma.MaskedArray([3.0], mask=True))


@pytest.mark.parametrize(
    "ids, kept", [(np.array([b"HD 1", b"\xce\xb2 Vir"]), ["HD 1", "β Vir"]), (np.array([7, 8], dtype=">i8"), [7, 8])]
)
def test_names_as_fits_has_them(ids, kept):
    found = Spectra([5000.0, 5001.0], np.ones((2, 2)), error=0.01, ids=ids, medium="air").ids
    assert list(found) == kept and found.dtype.isnative


def test_selecting_rows(spectra):
    assert len(spectra[3]) == 1 and list(spectra[3].ids) == [3]
    np.testing.assert_array_equal(spectra[10:20].flux, spectra.flux[10:20])
    np.testing.assert_array_equal(spectra[np.array([5, 1])].ids, [5, 1])
    np.testing.assert_array_equal(spectra[spectra.ids > 27].mask, spectra.mask[28:])
    with pytest.raises(IndexError):
        spectra[30]


def test_snr_is_per_angstrom(spectra):
    np.testing.assert_allclose(spectra.snr, 50.0 / np.sqrt(0.05), rtol=0.01)
    with pytest.raises(SpectraError, match="no errors"):
        _ = Spectra(WAVELENGTH, np.ones(2000), medium="air").snr


def test_media_convert_there_and_back():
    vacuum = Spectra(WAVELENGTH, np.ones(2000), medium="vacuum")
    air = vacuum.in_medium("air")
    assert air.medium == "air" and vacuum.medium == "vacuum"
    np.testing.assert_allclose(air.wavelength, vacuum_to_air(WAVELENGTH), rtol=1e-15)
    np.testing.assert_allclose(air.in_medium("vacuum").wavelength, WAVELENGTH, rtol=1e-14)
    with pytest.raises(SpectraError, match="'glass'"):
        vacuum.in_medium("glass")


def test_a_receding_star_is_shifted_to_the_blue(spectra):
    observed = 5000.0 * (1 + 100.0 / 299792.458)
    assert observed * spectra.shifted(100.0).wavelength[0] / 5000.0 == pytest.approx(5000.0, rel=1e-7)
    with pytest.raises(SpectraError, match="one finite velocity"):
        spectra.shifted([1.0, 2.0])


def test_resampling_with_a_velocity_per_star():
    line = 1.0 - 0.5 * np.exp(-0.5 * ((WAVELENGTH - 5050.0) / 0.3) ** 2)
    moved = 1.0 - 0.5 * np.exp(-0.5 * ((WAVELENGTH / (1 + 50.0 / 299792.458) - 5050.0) / 0.3) ** 2)
    pair = Spectra(WAVELENGTH, [line, moved], error=0.01, ids=["a", "b"], medium="air")
    grid = np.arange(5040.0, 5060.0, 0.1)
    rest = pair.resampled(grid, velocity=[0.0, 50.0])
    np.testing.assert_allclose(rest.flux[1], rest.flux[0], atol=1e-3)
    assert np.abs(pair.resampled(grid).flux[1] - rest.flux[0]).max() > 0.3
    np.testing.assert_array_equal(rest.ids, ["a", "b"])
    with pytest.raises(SpectraError, match="velocity needs shape"):
        pair.resampled(grid, velocity=[0.0])


def test_a_grid_elsewhere_is_refused(spectra):
    with pytest.raises(SpectraError, match=r"cover 5000.0-5100.0 .* 6000.0-"):
        spectra.resampled(np.arange(6000.0, 6010.0, 0.1))


def test_estimated_error_finds_the_noise_of_each_spectrum_and_arm():
    rng = np.random.default_rng(5)
    wavelength = np.r_[WAVELENGTH, WAVELENGTH + 800.0]
    sigma = np.array([[0.01, 0.05], [0.002, 0.02]]).repeat(len(WAVELENGTH), axis=1)
    slope = 1.0 + 0.001 * (wavelength - 5000)
    flux = slope + sigma * rng.normal(size=sigma.shape)
    flux[0, 100:140] = 1e3
    mask = flux > 100.0
    mask[1, len(WAVELENGTH) :] = True
    spectra = Spectra(wavelength, flux, mask=mask, medium="air").with_estimated_error()
    assert spectra.mask[1, len(WAVELENGTH) :].all() and spectra.mask[0].sum() == 40
    good = ~spectra.mask
    np.testing.assert_allclose(spectra.error[good], sigma[good], rtol=0.12)


def test_concatenate(spectra):
    both = Spectra.concatenate([spectra[:4], spectra[20:]])
    np.testing.assert_array_equal(both.ids, np.r_[:4, 20:30])
    np.testing.assert_array_equal(both.flux[4:], spectra.flux[20:])
    named = Spectra(WAVELENGTH, np.ones(2000), error=0.1, ids=["HD 1"], medium="air")
    assert list(Spectra.concatenate([spectra[:1], named]).ids) == ["0", "HD 1"]
    for other, match in [
        (spectra.shifted(1.0), "one wavelength grid"),
        (Spectra(WAVELENGTH, np.ones(2000), medium="air"), "some have none"),
    ]:
        with pytest.raises(SpectraError, match=match):
            Spectra.concatenate([spectra, other])


@pytest.mark.parametrize("ids", [None, [f"HD {k} ü" for k in range(30)], np.arange(30) + 2**60])
def test_files_keep_everything(tmp_path, spectra, ids):
    original = Spectra(WAVELENGTH, spectra.flux, error=spectra.error, mask=spectra.mask, ids=ids, medium="air")
    original.write(tmp_path / "s.h5")
    again = Spectra.read(tmp_path / "s.h5")
    np.testing.assert_array_equal(again.wavelength, WAVELENGTH)
    np.testing.assert_array_equal(again.flux, original.flux.astype("f4"))
    np.testing.assert_array_equal(again.error, original.error.astype("f4"))
    np.testing.assert_array_equal(again.mask, original.mask)
    np.testing.assert_array_equal(again.ids, original.ids)
    assert again.medium == "air" and again.n_masked_input == 0
    np.testing.assert_array_equal(Spectra.read(tmp_path / "s.h5", rows=slice(7, 9)).ids, original.ids[7:9])
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


def test_spectra_remember_that_their_errors_were_estimated(tmp_path, spectra):
    bare = Spectra(WAVELENGTH, spectra.flux[:2], ids=["a", "b"], medium="air").with_estimated_error()
    known = Spectra(WAVELENGTH, spectra.flux[:1], error=0.1, ids=["c"], medium="air")
    both = Spectra.concatenate([bare, known]).in_medium("vacuum")
    both.write(tmp_path / "s.h5")
    for kept in (both, both[[0, 1, 2]].shifted(3.0), normalised(both), Spectra.read(tmp_path / "s.h5")):
        np.testing.assert_array_equal(kept.estimated, [True, True, False])
    with pytest.raises(SpectraError, match="there are 1 spectra"):
        Spectra(WAVELENGTH, spectra.flux[:1], estimated=[True, False], medium="air")


def test_further_pixels_are_masked(spectra):
    telluric = np.isin(np.arange(len(WAVELENGTH)), np.arange(10, 20))
    masked = spectra.masked(telluric)
    np.testing.assert_array_equal(masked.mask, spectra.mask | telluric)
    rows = np.arange(len(spectra))[:, None] == 3
    assert spectra.masked(rows).mask[3].all() and not spectra.masked(rows).mask[4].all()
    with pytest.raises(SpectraError, match="shape"):
        spectra.masked(np.zeros(len(WAVELENGTH) - 1, dtype=bool))
    with pytest.raises(SpectraError, match="No good pixel is left"):
        spectra.masked(np.ones_like(telluric))


def test_file_layout(tmp_path, spectra):
    spectra.write(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        assert file.attrs["format"] == b"kcinn-spectra/1" and file.attrs["medium"] == b"air"
        kinds = {name: file[name].dtype.str for name in file}
        assert file["flux"].chunks == (16, 2000)
    assert kinds == {"wavelength": "<f8", "flux": "<f4", "error": "<f4", "mask": "|u1", "source_id": "<i8"}


def test_writing_into_a_missing_folder_is_one_clear_error(tmp_path, spectra):
    with pytest.raises(SpectraError, match=r"missing/s\.h5: cannot write"):
        spectra.write(tmp_path / "missing" / "s.h5")


def damage(path, kind):
    with h5py.File(path, "r+") as file:
        if kind == "format":
            file.attrs["format"] = "kcinn-grid/1"
        elif kind == "medium":
            del file.attrs["medium"]
        elif kind == "flux":
            del file["flux"]
        elif kind == "mask":
            del file["mask"]
            file["mask"] = np.zeros((2, 2), dtype="u1")
        elif kind == "claims":
            del file["flux"]
            file.create_dataset("flux", shape=(10**9, 2000), dtype="f4", chunks=(16, 2000))
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("format", "kcinn-grid/1.*expected"),
        ("medium", "medium="),
        ("flux", "flux"),
        ("mask", "mask has shape"),
        ("claims", "claims|has shape"),
        ("truncated", "truncated"),
    ],
)
def test_damaged_files_name_path_and_reason(tmp_path, spectra, kind, match):
    path = tmp_path / "bad.h5"
    spectra.write(path)
    damage(path, kind)
    with pytest.raises(SpectraError, match=rf"bad\.h5: .*({match})"):
        Spectra.read(path)
