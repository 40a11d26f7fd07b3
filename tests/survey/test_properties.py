"""Whatever values a file holds: what is usable comes back as it was, and the rest is masked or refused by name."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from survey_toy import write_l1

from kcinn.errors import SpectraError, SpectrumReadError
from kcinn.spectra import Spectra
from kcinn.survey.readers import read

N = 24  # pixels, whose values are those of float32, as kcinn's HDF5 holds them
BEGINNINGS = [b"", b"SIMPLE  =                    T", b"\x89HDF\r\n\x1a\n", b"\x1f\x8b\x08\x00", b"5000.0 1.0 0.1\n"]
WAVELENGTH = 5200.0 + 0.1 * np.arange(N)
numbers = st.floats(width=32, allow_subnormal=False) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1.0])
pixels = arrays(np.float64, N, elements=numbers)
quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def usable(flux, error):
    return np.isfinite(flux) & np.isfinite(error) & (error > 0)


def held_to_account(make, flux, error):
    """`make` returns spectra with all that is usable, or says why there are none."""
    good = usable(flux, error)
    try:
        spectra = make()
    except SpectraError as refusal:
        assert not good.any(), refusal
        return
    np.testing.assert_array_equal(spectra.mask[0], ~good)
    np.testing.assert_array_equal(spectra.flux[0, good], flux[good])
    np.testing.assert_array_equal(spectra.error[0, good], error[good])
    assert np.all(np.isfinite(spectra.flux))
    assert not np.any(np.isnan(spectra.error))


@quick
@given(pixels, pixels)
def test_values_in_memory(flux, error):
    held_to_account(lambda: Spectra(WAVELENGTH, flux, error=error, medium="air"), flux, error)


@quick
@given(pixels, pixels)
def test_values_in_a_fits_table(flux, error):
    assume(not np.isnan(error).all())  # a column that was left empty
    with tempfile.TemporaryDirectory() as folder:
        path = write_l1(Path(folder) / "star.fits", WAVELENGTH, flux, error, tucd="em.wl;obs.atmos")
        held_to_account(lambda: read(path), flux, error)


@quick
@given(pixels, pixels)
def test_values_in_hdf5(flux, error):
    assume(usable(flux, error).any())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "star.h5"
        Spectra(WAVELENGTH, flux, error=error, medium="air").write(path)
        held_to_account(lambda: read(path), flux, error)


@quick
@given(st.sampled_from(BEGINNINGS), st.binary(max_size=4000))
def test_bytes_that_are_no_spectrum(beginning, rest):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bytes"
        path.write_bytes(beginning + rest)
        try:
            spectra = read(path, medium="air")
        except SpectrumReadError as error:
            assert error.path == path
            assert error.reason
        else:
            assert np.all(np.isfinite(spectra.flux))
            assert np.all(np.diff(spectra.wavelength) > 0)
