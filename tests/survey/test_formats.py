"""Kinds of files that surveys write, and readers of the user's own."""

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance, StdDevUncertainty

import kcinn
from kcinn.errors import SpectraError, SpectrumReadError
from kcinn.spectra import Spectra
from kcinn.survey import from_specutils, readers
from kcinn.wavelength import vacuum_to_air

N = 500
WAVELENGTH = 5200.0 + 0.05 * np.arange(N)
FLUX = np.array([1.0 - depth * np.exp(-0.5 * ((WAVELENGTH - 5210.0) / 0.2) ** 2) for depth in (0.2, 0.5, 0.7)])
ERROR = np.full((3, N), 0.02)
QUALITY = np.zeros((3, N), dtype="i4")
QUALITY[:, 40:50] = 4


def multi_spectrum(path, *, world=True, fibres=True, status=(2, 1, 2)):
    columns = [
        fits.Column("FLUX", f"{N}E", array=FLUX),
        fits.Column("FLUX_IVAR", f"{N}E", array=ERROR**-2.0),
        fits.Column("QUAL", f"{N}J", array=QUALITY),
    ]
    spectab = fits.BinTableHDU.from_columns(columns, name="SPECTAB")
    if world:
        spectab.header.update({"1CRVL1": 520.0, "1CDLT1": 0.005, "1CRPX1": 1.0, "1CUNI1": "nm", "1CTYP1": "AWAV"})
    columns = [fits.Column("FIB_ST", "J", array=status), fits.Column("OBJ_UID", "6A", array=["A-1", "sky", "A-3"])]
    if not world:
        columns += [fits.Column("WAVELMIN", "D", array=[520.0] * 3), fits.Column("SPEC_BIN", "D", array=[0.005] * 3)]
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([], name="OBMETATAB"), spectab]
    hdus += [fits.BinTableHDU.from_columns(columns, name="FIBMETATAB")] * fibres
    fits.HDUList(hdus).writeto(path, checksum=True)
    return path


@pytest.mark.parametrize("world", [True, False])
def test_4most_many_spectra(tmp_path, world):
    spectra = kcinn.read(multi_spectrum(tmp_path / "ob.fits", world=world), medium=None if world else "air")
    assert list(spectra.ids) == ["A-1", "A-3"] and spectra.medium == "air"
    np.testing.assert_allclose(spectra.wavelength, WAVELENGTH, rtol=1e-9)
    np.testing.assert_allclose(spectra.flux, FLUX[[0, 2]], rtol=1e-6)
    np.testing.assert_allclose(spectra.error[:, 60:], ERROR[[0, 2], 60:], rtol=1e-6)
    np.testing.assert_array_equal(spectra.mask, QUALITY[[0, 2]] != 0)


def test_4most_normalised_fluxes_get_their_errors(tmp_path):
    """The errors of a table that has both fluxes are those of the counts."""
    path = multi_spectrum(tmp_path / "ob.fits")
    with fits.open(path) as hdus:
        spectab, others = hdus["SPECTAB"], [hdu.copy() for hdu in hdus]
        counts = [
            fits.Column("FLUX", f"{N}E", array=300.0 * FLUX),
            fits.Column("FLUX_IVAR", f"{N}E", array=(300.0 * ERROR) ** -2.0),
            fits.Column("NORM_FLUX", f"{N}E", array=FLUX),
        ]
        header = {key[:-1] + "3": value for key, value in spectab.header.items() if key[:2] == "1C"}
        new = fits.BinTableHDU.from_columns(counts, name="SPECTAB")
        new.header.update(header)
        fits.HDUList([others[0], others[1], new, others[3]]).writeto(tmp_path / "both.fits")
    spectra = kcinn.read(tmp_path / "both.fits")
    np.testing.assert_allclose(spectra.flux, FLUX[[0, 2]], rtol=1e-6)
    np.testing.assert_allclose(spectra.error, ERROR[[0, 2]], rtol=1e-5)


def test_4most_files_that_lack_something(tmp_path):
    for name, options, match in (
        ("nofibres", {"fibres": False}, "no table FIBMETATAB"),
        ("nostar", {"status": (1, 1, 0)}, "no star"),
        ("nomedium", {"world": False}, "pass medium="),
    ):
        with pytest.raises(SpectrumReadError, match=match) as caught:
            kcinn.read(multi_spectrum(tmp_path / f"{name}.fits", **options))
        assert caught.value.path == tmp_path / f"{name}.fits" and match in caught.value.reason


def test_galah_takes_the_normalised_spectrum_and_its_own_error(tmp_path):
    def image(name, values, cls=fits.ImageHDU):
        hdu = cls(np.asarray(values, dtype="f4"))
        hdu.header.update({"EXTNAME": name, "CRVAL1": 5200.0, "CDELT1": 0.05, "CRPIX1": 1.0})
        return hdu

    hdus = [
        image("input_spectrum", 900.0 * FLUX[0], fits.PrimaryHDU),
        image("input_sigma", np.full(N, 30.0)),
        image("normalised_spectrum", FLUX[0]),
        image("normalised_sigma", ERROR[0]),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "1506.fits")
    spectra = kcinn.read(tmp_path / "1506.fits", medium="air")
    np.testing.assert_allclose(spectra.flux[0], FLUX[0], rtol=1e-6)
    np.testing.assert_allclose(spectra.error[0], ERROR[0], rtol=1e-6)
    np.testing.assert_allclose(spectra.wavelength, WAVELENGTH, rtol=1e-9)


def test_readers_of_the_users_own(tmp_path):
    def read(path):
        if "bad" in path.name:
            raise KeyError("no flux in there")
        return Spectra(WAVELENGTH, FLUX[0], medium="air")

    for name in ("a.mine", "bad.mine"):
        (tmp_path / name).write_bytes(b"MINE....")
    kcinn.register_reader("mine", lambda path, start: start.startswith(b"MINE"), read)
    try:
        np.testing.assert_array_equal(kcinn.read(tmp_path / "a.mine").flux[0], FLUX[0])
        with pytest.raises(SpectrumReadError, match=r"bad\.mine: mine: KeyError: .*no flux"):
            kcinn.read(tmp_path / "bad.mine")
    finally:
        readers._registered.clear()


def package_with_readers(folder):
    """What `pip install` of a package with two readers leaves behind, one of which cannot be imported."""
    info = folder / "mykind-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mykind\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kcinn.readers]\nmykind = mykind:reader\nbroken = mykind:absent\n")
    (folder / "mykind.py").write_text(
        "import numpy as np\n"
        "from kcinn import Spectra\n"
        "from kcinn.survey.readers import Reader\n"
        "def read(path):\n"
        "    return Spectra(np.arange(5200.0, 5210.0), np.frombuffer(path.read_bytes()[4:]), medium='air')\n"
        "reader = Reader('mykind', lambda path, start: start.startswith(b'KIND'), read)\n"
    )


def test_readers_of_installed_packages(tmp_path, monkeypatch, caplog):
    package_with_readers(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    readers.installed.cache_clear()
    flux = np.linspace(0.5, 1.0, 10)
    (tmp_path / "a.kind").write_bytes(b"KIND" + flux.tobytes())
    try:
        np.testing.assert_array_equal(kcinn.read(tmp_path / "a.kind").flux[0], flux)
    finally:
        readers.installed.cache_clear()
    assert "kcinn.readers 'broken' of mykind" in caplog.text


def link(kind, file, tmp_path):
    del file["flux"]
    if kind == "soft":
        file["flux"] = h5py.SoftLink("/error")
    elif kind == "external":
        file["flux"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/flux")
    elif kind == "virtual":
        layout = h5py.VirtualLayout((3, N), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "flux", (3, N))
        file.create_virtual_dataset("flux", layout)
    else:
        file.create_dataset("flux", (3, N), "f4", external=[(str(tmp_path / "other.h5"), 0, h5py.h5f.UNLIMITED)])


@pytest.mark.parametrize("kind", ["soft", "external", "virtual", "storage"])
def test_spectra_that_lie_elsewhere_are_refused(tmp_path, kind):
    for name in ("s.h5", "other.h5"):
        Spectra(WAVELENGTH, FLUX, error=ERROR, medium="air").write(tmp_path / name)
    with h5py.File(tmp_path / "s.h5", "a") as file:
        link(kind, file, tmp_path)
    with pytest.raises(SpectrumReadError, match=r"s\.h5: flux is (missing, or a link|not stored in the file)"):
        kcinn.read(tmp_path / "s.h5")


class Spectrum:
    """What kcinn uses of `specutils.Spectrum`."""

    def __init__(self, **attributes):
        self.__dict__ |= {"mask": None, "uncertainty": None, **attributes}


@pytest.mark.parametrize("uncertainty", [StdDevUncertainty(ERROR), InverseVariance(ERROR**-2.0)])
def test_specutils(uncertainty):
    axis = WAVELENGTH / 10.0 * u.nm
    given = Spectrum(
        spectral_axis=axis, flux=FLUX * u.dimensionless_unscaled, uncertainty=uncertainty, mask=QUALITY != 0
    )
    spectra = from_specutils(given, medium="vacuum", ids=["a", "b", "c"])
    np.testing.assert_allclose(spectra.in_medium("air").wavelength, vacuum_to_air(WAVELENGTH), rtol=1e-12)
    np.testing.assert_allclose(spectra.error[:, 60:], ERROR[:, 60:])
    np.testing.assert_array_equal(spectra.mask, QUALITY != 0)
    reversed_ = Spectrum(spectral_axis=axis[::-1], flux=FLUX[0, ::-1] * u.dimensionless_unscaled)
    np.testing.assert_allclose(from_specutils(reversed_, medium="air").flux[0], FLUX[0])


def test_units_and_names_of_specutils():
    axis, jansky = WAVELENGTH * u.AA, FLUX[:1] * u.Jy
    error = StdDevUncertainty(1000.0 * ERROR[:1], unit=u.mJy)
    found = from_specutils(Spectrum(spectral_axis=axis, flux=jansky, uncertainty=error), medium="air", ids="HD 1")
    np.testing.assert_allclose(found.error, ERROR[:1])
    assert list(found.ids) == ["HD 1"]
    error = StdDevUncertainty(ERROR[:1], unit=u.K)
    with pytest.raises(SpectraError, match="not in a unit of the flux"):
        from_specutils(Spectrum(spectral_axis=axis, flux=jansky, uncertainty=error), medium="air")
    with pytest.raises(SpectraError, match="Received: list"):
        from_specutils([1, 2], medium="air")


def test_specutils_itself():
    specutils = pytest.importorskip("specutils")
    made = specutils.Spectrum(
        spectral_axis=WAVELENGTH * u.AA, flux=FLUX * u.Unit(""), uncertainty=StdDevUncertainty(ERROR)
    )
    np.testing.assert_allclose(from_specutils(made, medium="air").error, ERROR)


def test_a_collection_of_specutils():
    specutils = pytest.importorskip("specutils")
    axes = np.array([WAVELENGTH, WAVELENGTH, WAVELENGTH + 0.02]) / 1e4 * u.um
    noise = StdDevUncertainty(ERROR)
    collection = specutils.SpectrumCollection(spectral_axis=axes[:2], flux=FLUX[:2] * u.Unit(""), mask=QUALITY[:2] != 0)
    together = from_specutils(collection, medium="air")
    np.testing.assert_allclose(together.wavelength, WAVELENGTH)
    np.testing.assert_array_equal(together.flux, FLUX[:2])
    np.testing.assert_array_equal(together.mask, QUALITY[:2] != 0)
    collection = specutils.SpectrumCollection(spectral_axis=axes, flux=FLUX * u.Unit(""), uncertainty=noise)
    shifted = from_specutils(collection, medium="air")
    assert list(shifted.ids) == [0, 1, 2]
    line = 1.0 - 0.7 * np.exp(-0.5 * ((WAVELENGTH - 5210.02) / 0.2) ** 2)
    np.testing.assert_allclose(shifted.flux[2, 1:-1], line[1:-1], atol=0.01)
