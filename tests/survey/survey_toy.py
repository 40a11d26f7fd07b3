"""A small survey of toy stars."""

import numpy as np
import toy
from astropy.io import fits

from kcinn.spectra import Spectra

N = 37
BAD = [5, 11]  # all NaN, and not normalised
OPTIONS = {"n_samples": 200, "seed": 3, "batch_size": 8, "shard_size": 16}


def pack_stars(path, n=N, bad=True):
    """A packed file of toy stars, some of which cannot be used."""
    rng = np.random.default_rng(3)
    labels = toy.SPACE.lower + (toy.SPACE.upper - toy.SPACE.lower) * rng.uniform(0.1, 0.9, (n, 3))
    flux, error, mask = toy.observed(labels, 120.0, seed=4)
    if bad:
        flux[BAD[0]], flux[BAD[1]] = np.nan, 3e4 * flux[BAD[1]]
        flux[20, 30:60], error[21, ::7] = np.inf, 0.0
    ids = [f"star-{number:03d}" for number in range(n)]
    Spectra(toy.INSTRUMENT.wavelength, flux, error=error, mask=mask, ids=ids, medium="air").write(path)
    return path


def write_l1(path, wavelength, flux, error, *, tucd, quality=None, **header):
    """A spectrum as 4MOST and ESO phase 3 write it: one row of vectors, with checksums."""
    n = len(wavelength)
    columns = [
        fits.Column(name, f"{n}{code}", unit, array=np.atleast_2d(values))
        for name, code, unit, values in (
            ("WAVE", "D", "angstrom", wavelength),
            ("FLUX", "D", "", flux),
            ("ERR_FLUX", "D", "", error),
            ("QUAL", "J", "", np.zeros(n, dtype="i4") if quality is None else quality),
        )
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name="PHASE3SPECTRUM")
    hdu.header["TUCD1"] = tucd
    hdu.header.update(header)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, checksum=True)
    return path
