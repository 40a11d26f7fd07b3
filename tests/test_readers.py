"""Readers: every kind of file they take, written here, and what they refuse."""

import gzip
import pickle
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits

from kcinn.errors import SpectraError
from kcinn.spectra import Spectra
from kcinn.survey import readers
from kcinn.survey.readers import read

N = 400
WAVELENGTH = 5000.0 + 0.1 * np.arange(N)
FLUX = 1.0 - 0.4 * np.exp(-0.5 * ((WAVELENGTH - 5020.0) / 0.3) ** 2)
ERROR = np.linspace(0.01, 0.02, N)
BAD = np.arange(N) == 7


def table(columns, tucd=None, rows="vector", **header):
    """A binary table of one row of vectors, or of one row per pixel; columns are name: (values, unit)."""
    made = []
    for name, (values, unit) in columns.items():
        code = "J" if np.asarray(values).dtype.kind in "iub" else "D"
        values = np.asarray(values, dtype="i4" if code == "J" else "f8")
        vector = rows == "vector"
        array = np.atleast_2d(values) if vector else values
        made.append(
            fits.Column(name=name, format=f"{values.shape[-1]}{code}" if vector else code, unit=unit, array=array)
        )
    hdu = fits.BinTableHDU.from_columns(made)
    if tucd:
        hdu.header["TUCD1"] = tucd
    hdu.header.update(header)
    return hdu


def write_fits(path, *hdus, checksum=False):
    primary = [] if isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*primary, *hdus]).writeto(path, checksum=checksum)
    return path


def image(flux=FLUX, cls=fits.PrimaryHDU, **header):
    hdu = cls(np.asarray(flux, dtype="f4"))
    for key, value in {"CRVAL1": 5000.0, "CDELT1": 0.1, "CRPIX1": 1.0, **header}.items():
        if value is not None:
            hdu.header[key.replace("_", "-") if key == "DC_FLAG" else key] = value
    return hdu


PHASE3 = {
    "WAVE": (WAVELENGTH, "angstrom"),
    "FLUX": (FLUX, ""),
    "ERR_FLUX": (ERROR, ""),
    "QUAL": (BAD.astype(int), ""),
}


def check(spectra, *, error=True, mask=True, medium="air", flux_tolerance=1e-6):
    assert len(spectra) == 1 and spectra.medium == medium
    np.testing.assert_allclose(spectra.wavelength, WAVELENGTH, rtol=1e-9)
    np.testing.assert_allclose(spectra.flux[0], FLUX, rtol=flux_tolerance)
    if error:
        np.testing.assert_allclose(spectra.error[0], ERROR, rtol=1e-5)
    else:
        assert spectra.error is None
    np.testing.assert_array_equal(spectra.mask[0], BAD if mask else np.zeros(N, dtype=bool))


def test_eso_phase_3_vector_table(tmp_path):
    path = write_fits(tmp_path / "star.fits", table(PHASE3, "em.wl;obs.atmos", OBJ_UID="4MOST-123"), checksum=True)
    spectra = read(path)
    check(spectra)
    assert list(spectra.ids) == ["4MOST-123"]


def test_vacuum_from_ucd_inverse_variance_and_packed(tmp_path):
    columns = {"WAVE": (WAVELENGTH / 10, "nm"), "FLUX": (FLUX, ""), "FLUX_IVAR": (np.where(BAD, 0.0, ERROR**-2.0), "")}
    write_fits(tmp_path / "star.fits", table(columns, "em.wl"))
    (tmp_path / "star.fits.gz").write_bytes(gzip.compress((tmp_path / "star.fits").read_bytes()))
    spectra = read(tmp_path / "star.fits.gz")
    np.testing.assert_allclose(spectra.error[0, ~BAD], ERROR[~BAD], rtol=1e-9)
    np.testing.assert_array_equal(spectra.mask[0], BAD)
    assert spectra.medium == "vacuum" and list(spectra.ids) == ["star"]
    np.testing.assert_allclose(spectra.wavelength, WAVELENGTH, rtol=1e-12)


@pytest.mark.parametrize(
    ("names", "medium"),
    [
        (("wavelength", "flux", "error"), None),
        (("lambda_air", "Flux", "sigma"), "air"),
        (("WL", "flux_norm", "e_flux"), None),
    ],
)
def test_column_tables(tmp_path, names, medium):
    columns = dict(zip(names, [(WAVELENGTH, "Angstroms"), (FLUX, ""), (ERROR, "")], strict=True))
    path = write_fits(tmp_path / "star.fits", table(columns, rows="pixel"))
    check(read(path, medium=None if medium else "air"), mask=False)


def test_logarithmic_wavelength_column(tmp_path):
    columns = {"loglam": (np.log10(WAVELENGTH), None), "flux": (FLUX, None)}
    path = write_fits(tmp_path / "star.fits", table(columns, rows="pixel", VACUUM=True))
    check(read(path), error=False, mask=False, medium="vacuum")


def test_one_row_per_spectrum(tmp_path):
    three = {"WAVE": (np.tile(WAVELENGTH, (3, 1)), "angstrom"), "FLUX": (np.outer([1, 2, 3], FLUX), "")}
    spectra = read(write_fits(tmp_path / "stars.fits", table(three, "em.wl")))
    np.testing.assert_allclose(spectra.flux, np.outer([1, 2, 3], FLUX))
    assert list(spectra.ids) == ["stars-0", "stars-1", "stars-2"]
    three["WAVE"][0][1] += 0.01
    with pytest.raises(SpectraError, match="different wavelength grids"):
        read(write_fits(tmp_path / "others.fits", table(three, "em.wl")))


@pytest.mark.parametrize(("name", "power"), [("SIGMA", 1.0), ("IVAR", -2.0), ("VARIANCE", 2.0)])
def test_linear_image_with_error_extension(name, power, tmp_path):
    sigma = fits.ImageHDU((ERROR**power).astype("f4"), name=name)
    header = {"CRVAL1": 500.0, "CDELT1": 0.01, "CUNIT1": "NM", "CTYPE1": "AWAV"}
    check(read(write_fits(tmp_path / "star.fits", image(**header), sigma)), mask=False)


def test_logarithmic_image(tmp_path):
    path = write_fits(
        tmp_path / "star.fits", image(CRVAL1=np.log10(5000.0), CDELT1=None, CD1_1=1e-5, CRPIX1=3.0, DC_FLAG=1)
    )
    spectra = read(path, medium="air")
    np.testing.assert_allclose(spectra.wavelength, 5000.0 * 10 ** (1e-5 * (np.arange(N) - 2)), rtol=1e-12)


def text(columns, header="", separator=" "):
    rows = [separator.join(f"{value:.9g}" for value in row) for row in np.column_stack(columns)]
    return header + "\n".join(rows) + "\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("separator", [" ", "\t", ", "])
@pytest.mark.parametrize("header", ["", "# teff 5777 # logg 4.44\n\n", "waveobs flux err mask\n"])
def test_text(tmp_path, packed, separator, header):
    content = text([WAVELENGTH, FLUX, ERROR, BAD], header, separator).encode()
    path = tmp_path / ("star.txt.gz" if packed else "star.txt")
    path.write_bytes(gzip.compress(content) if packed else content)
    spectra = read(path, medium="air")
    check(spectra)
    assert list(spectra.ids) == ["star"]


def test_two_columns_zero_flux_and_seams(tmp_path):
    path = tmp_path / "sun.dat"
    path.write_text(
        text([np.r_[WAVELENGTH[:200], WAVELENGTH[199:]], np.r_[FLUX[:199], 0.8, 0.9, FLUX[200:-3], 0, 0, 0]])
    )
    spectra = read(path, medium="vacuum")
    assert spectra.error is None and spectra.mask[0, -3:].all() and spectra.mask.sum() == 3
    np.testing.assert_allclose(spectra.wavelength, WAVELENGTH)
    assert spectra.flux[0, 199] == pytest.approx(0.85)


def test_seams_average_errors_and_join_masks(tmp_path):
    path = tmp_path / "sun.dat"
    twice = np.r_[:200, 199:400]
    path.write_text(text([WAVELENGTH[twice], FLUX[twice], np.full(401, 0.02), np.arange(401) == 199]))
    spectra = read(path, medium="air")
    assert spectra.error[0, 199] == pytest.approx(0.02 / np.sqrt(2)) and spectra.error[0, 5] == pytest.approx(0.02)
    assert list(np.flatnonzero(spectra.mask[0])) == [199]


def test_hdf5(tmp_path):
    Spectra(WAVELENGTH, [FLUX, FLUX], error=0.1, ids=[7, 8], medium="vacuum").write(tmp_path / "s.h5")
    spectra = read(tmp_path / "s.h5")
    assert list(spectra.ids) == [7, 8] and spectra.medium == "vacuum"
    assert read(tmp_path / "s.h5", medium="air").medium == "air"


def test_snr_sets_the_error(tmp_path):
    path = tmp_path / "model.spec"
    path.write_text(text([WAVELENGTH, FLUX, 1e7 * FLUX]))  # the third column of a synthesis is the raw flux
    with pytest.raises(SpectraError, match=r"third column.*snr="):
        read(path, medium="air")
    np.testing.assert_allclose(read(path, medium="air", snr=120.0).snr, 120.0)
    with pytest.raises(SpectraError, match="positive"):
        read(path, medium="air", snr=0.0)


@pytest.mark.parametrize("kind", ["text", "table", "image"])
def test_the_medium_is_asked_for(tmp_path, kind):
    path = tmp_path / "star"
    if kind == "text":
        path.write_text(text([WAVELENGTH, FLUX]))
    else:
        write_fits(path, table(PHASE3) if kind == "table" else image(CTYPE1="WAVE"))
    with pytest.raises(SpectraError, match="air or vacuum; pass medium="):
        read(path)
    assert read(path, medium="air").medium == "air"


def test_the_caller_goes_before_the_file(tmp_path):
    path = write_fits(tmp_path / "star.fits", table(PHASE3, "em.wl"))
    assert read(path, medium="air").medium == "air"


PACKED = gzip.compress(text([WAVELENGTH, FLUX]).encode())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (pickle.dumps({"flux": [1.0]}), "pickles"),
        (b"PK\x03\x04" + bytes(100), "neither HDF5, FITS nor text"),
        (b"\x00\x01\x02" * 99, "neither HDF5, FITS nor text"),
        (b"# only a comment\n", "no numbers"),
        (b"hello\nworld\n", "not a table of numbers"),
        (b"5000 1\n5001 one\n", "not a table of numbers"),
        (b"5000 1\n5001 1 1\n", "not a table of numbers"),
        (b"5000\n5001\n", "1 columns"),
        (b"1 2 3 4 5\n1 2 3 4 5\n", "5 columns"),
        (b"5001 1\n5000 1\n5002 1\n", "ascend strictly"),
        (b"5000 nan\n5001 nan\n", "No good pixel"),
        (PACKED[: len(PACKED) // 2], "truncated gzip"),
        (PACKED[:200] + bytes(50) + PACKED[250:], "gzip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "bad"),
        (b"SIMPLE  =                    T", "damaged FITS"),
    ],
)
def test_useless_files_are_refused_with_path_and_reason(tmp_path, content, match):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(SpectraError, match=f"{path}: .*{match}" if match != "bad" else f"{path}: "):
        read(path, medium="air")


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(SpectraError, match=r"none\.fits: No such file"):
        read(tmp_path / "none.fits")
    with pytest.raises(SpectraError, match="is a directory"):
        read(tmp_path)


def damaged(data, kind):
    if kind == "truncated data":
        return data[: len(data) - 5760]
    if kind == "truncated header":
        return data[:3500]
    if kind == "flipped bit":
        where = data.index(np.asarray(FLUX, dtype=">f8").tobytes()) + 800
        return data[:where] + bytes([data[where] ^ 1]) + data[where + 1 :]
    card = data.index(b"NAXIS1  =", 2880)
    return data[:card] + b"NAXIS1  =        1000000000000".ljust(80) + data[card + 80 :]


@pytest.mark.parametrize("kind", ["truncated data", "truncated header", "flipped bit", "huge axis"])
def test_damaged_fits_is_refused(tmp_path, kind):
    path = write_fits(tmp_path / "star.fits", table(PHASE3, "em.wl"), checksum=True)
    path.write_bytes(damaged(path.read_bytes(), kind))
    with pytest.raises(SpectraError, match=r"star\.fits: "):
        read(path)


def test_a_stale_checksum_can_be_passed_over(tmp_path):
    path = write_fits(tmp_path / "star.fits", table(PHASE3, "em.wl"), checksum=True)
    path.write_bytes(damaged(path.read_bytes(), "flipped bit"))
    with pytest.raises(SpectraError, match="checksum=False"):
        read(path)
    check(read(path, checksum=False), medium="vacuum", flux_tolerance=1.0)


def test_a_small_file_cannot_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_BYTES", 2**20)
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(bytes(2**26)))
    tracemalloc.start()
    with pytest.raises(SpectraError, match="more than 1 MiB"):
        read(path, medium="air")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("hdu", "match"),
    [
        (lambda: table({"time": (WAVELENGTH, "s")}), "no table with a flux column"),
        (lambda: table({"flux": (FLUX, "")}), "no wavelength column; columns are flux"),
        (lambda: table({"wave": (WAVELENGTH, "furlong"), "flux": (FLUX, "")}), "furlong"),
        (lambda: image(np.ones((4, N))), "expected one spectrum"),
        (lambda: image(CDELT1=None), "CDELT1"),
        (lambda: image(CTYPE1="WAVE-LOG"), "not supported"),
        (lambda: image(CRVAL1=None), "no image with CRVAL1"),
    ],
)
def test_fits_without_a_usable_spectrum_is_refused(tmp_path, hdu, match):
    path = write_fits(tmp_path / "star.fits", hdu())
    with pytest.raises(SpectraError, match=rf"star\.fits: .*{match}"):
        read(path, medium="air")


@pytest.mark.parametrize(
    "columns",
    [
        {"FLUX": FLUX * 500.0, "ERR": ERROR * 500.0, "NORM_FLUX": FLUX},  # of the flux before it was normalised
        {"FLUX": FLUX * 500.0, "IVAR": (ERROR * 500.0) ** -2.0, "NORM_FLUX": FLUX},
        {"FLUX": FLUX * 500.0, "ERR": ERROR * 500.0, "NORM_FLUX": FLUX, "NORM_ERR": ERROR},
        {"FLUX_REDUCED": FLUX, "ERR_REDUCED": ERROR},
        {"FLUX": FLUX, "VARIANCE": ERROR**2},
        {"FLUX": FLUX, "STD": ERROR},
    ],
)
def test_errors_belong_to_the_flux(tmp_path, columns):
    hdu = table(
        {"WAVE": (WAVELENGTH, "AA"), **{name: (values, "") for name, values in columns.items()}}, "em.wl;obs.atmos"
    )
    check(read(write_fits(tmp_path / "a.fits", hdu)), mask=False)


def test_quality_extension_of_an_image(tmp_path):
    path = write_fits(
        tmp_path / "a.fits", image(), fits.ImageHDU(ERROR, name="ERRS"), fits.ImageHDU(BAD.astype("i2"), name="QUAL")
    )
    check(read(path, medium="air"))


def test_an_empty_column_of_errors_is_none(tmp_path):
    columns = {"WAVE": (WAVELENGTH, "nm"), "FLUX": (FLUX, ""), "ERR": (np.full(N, np.nan), "")}
    columns["WAVE"] = (WAVELENGTH / 10.0, "nm")
    path = write_fits(tmp_path / "a.fits", table(columns))
    check(read(path, medium="air"), error=False, mask=False)
    assert read(path, medium="air", snr=100.0).snr == pytest.approx(100.0)
    dead = table({"WAVE": (WAVELENGTH, "AA"), "FLUX": (FLUX, ""), "IVAR": (np.zeros(N), "")})
    with pytest.raises(SpectraError, match="No good pixel"):  # which is not the same
        read(write_fits(tmp_path / "dead.fits", dead), medium="air")


@pytest.mark.parametrize("empty", [0.0, -1.0])
def test_a_given_snr_replaces_errors_that_are_none(tmp_path, empty):
    path = write_fits(tmp_path / "a.fits", table({**PHASE3, "ERR_FLUX": (np.full(N, empty), "")}, "em.wl"))
    assert read(path, snr=100.0).snr == pytest.approx(100.0)
    with pytest.raises(SpectraError, match="No good pixel"):
        read(path)


def test_the_primary_header_may_state_the_medium(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["VACUUM"] = True
    check(read(write_fits(tmp_path / "a.fits", primary, table(PHASE3))), medium="vacuum")


def test_descending_wavelengths_are_reversed(tmp_path):
    np.savetxt(tmp_path / "a.txt", np.column_stack([WAVELENGTH, FLUX, ERROR, BAD])[::-1])
    check(read(tmp_path / "a.txt", medium="air"))
    check(
        read(write_fits(tmp_path / "a.fits", image(FLUX[::-1], CRVAL1=WAVELENGTH[-1], CDELT1=-0.1)), medium="air"),
        error=False,
        mask=False,
    )


def test_seams_of_small_or_whole_numbers_keep_their_errors(tmp_path):
    seam = np.r_[WAVELENGTH[:200], WAVELENGTH[199:]]
    for kind, scale in (("I", 2e4), ("E", 1e-23)):
        values = {
            "WAVE": (seam, "D"),
            "FLUX": (np.full(N + 1, scale), kind),
            "ERR": (np.full(N + 1, 0.01 * scale), kind),
        }
        made = [fits.Column(name=name, format=code, array=array) for name, (array, code) in values.items()]
        found = read(write_fits(tmp_path / f"{kind}.fits", fits.BinTableHDU.from_columns(made)), medium="air")
        assert not found.mask.any()
        np.testing.assert_allclose(
            found.error[0] / scale, np.where(np.arange(N) == 199, 0.01 / np.sqrt(2.0), 0.01), rtol=1e-5
        )


def test_the_matrix_of_an_image_goes_before_its_steps(tmp_path):
    path = write_fits(tmp_path / "a.fits", image(CDELT1=1.0, CD1_1=0.1))
    check(read(path, medium="air"), error=False, mask=False)


def test_text_with_a_byte_order_mark(tmp_path):
    rows = "\n".join(f"{w:.4f},{f:.8f}" for w, f in zip(WAVELENGTH, FLUX, strict=True))
    (tmp_path / "a.csv").write_text(rows, encoding="utf-8-sig")
    check(read(tmp_path / "a.csv", medium="air"), error=False, mask=False, flux_tolerance=1e-6)


def test_rows_of_variable_length(tmp_path):
    def variable(*rows):
        made = [np.array([row], dtype="f8").ravel() for row in rows]
        array = np.empty(len(made), dtype=object)
        array[:] = made
        return array

    one = {"WAVE": variable(WAVELENGTH), "FLUX": variable(FLUX)}
    hdu = fits.BinTableHDU.from_columns([fits.Column(name=k, format="PD()", array=v) for k, v in one.items()])
    check(read(write_fits(tmp_path / "a.fits", hdu), medium="air"), error=False, mask=False)
    two = {"WAVE": variable(WAVELENGTH, WAVELENGTH[:9]), "FLUX": variable(FLUX, FLUX[:9])}
    hdu = fits.BinTableHDU.from_columns([fits.Column(name=k, format="PD()", array=v) for k, v in two.items()])
    with pytest.raises(SpectraError, match="variable length"):
        read(write_fits(tmp_path / "b.fits", hdu), medium="air")
