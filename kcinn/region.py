"""Region: which label vectors inside the prior box belong to plausible stars."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kcinn.labels import LabelSpace

LITHIUM_SUN = 1.05  # A(Li) of the Sun, Asplund et al. (2009), ARA&A 47, 481
COOL = 5000.0  # K, below which carbon molecules would swamp the spectrum of a star with more carbon than oxygen
COOLEST = 4000.0  # K, where the limit of titanium holds
TITANIUM_SLOPE = 1.0 / 600.0  # dex per K along which TiO bands keep their strength


@dataclass(frozen=True)
class Region:
    """Restriction of the prior box to stars that exist; the prior stays uniform inside it.

    Giants and dwarfs of the Kiel diagram with generous margins, a microturbulence within a band around a linear
    relation, a range of A(Li), no carbon stars, and none whose continuum TiO hides. A condition on a label that is not
    there is left out.

    Parameters
    ----------
    vmic_band : float, km/s
        Half width around ``1.05 + 2.5e-4 (teff - 5500)`` for dwarfs, growing by 0.35 per dex below logg 4.
    lithium : (float, float)
        Range of ``A(Li) = 1.05 + fe_h + li_fe``.
    carbon : float
        Largest [C/O] of stars below 5000 K; 0.2 is C/O = 0.87 by number (solar C/O = 0.55, Asplund et al. 2009).
    titanium : float
        Largest [Ti/H] at 4000 K, growing by 1 dex per 600 K; beyond, TiO takes about 5 % of what a normalisation would
        call the continuum.
    """

    vmic_band: float = 0.6
    lithium: tuple[float, float] = (-0.5, 3.5)
    carbon: float = 0.2
    titanium: float = -0.05

    def contains(self, values: ArrayLike, space: LabelSpace) -> NDArray[np.bool_]:
        """Whether each row of `values`, shape ``(n, n_labels)``, is a plausible star."""
        values = np.asarray(values, dtype=np.float64)
        column = {name: values[:, i] for i, name in enumerate(space.names)}
        inside = np.ones(len(values), dtype=bool)
        if {"teff", "logg"} <= set(column):
            teff, logg = column["teff"], column["logg"]
            inside &= logg >= 0.5 + 3.2 * np.maximum(0.0, teff - 4500.0) / 2500.0
            inside &= logg <= 5.0 - 0.5 * np.maximum(0.0, teff - 6000.0) / 1000.0
            inside &= ~((teff < 5000.0) & (logg > 3.9) & (logg < 4.3))
            if "vmic" in column:
                typical = (
                    1.05 + np.where(logg > 3.5, 2.5e-4 * (teff - 5500.0), 0.0) + 0.35 * np.maximum(0.0, 4.0 - logg)
                )
                inside &= np.abs(column["vmic"] - typical) <= self.vmic_band
        if {"fe_h", "li_fe"} <= set(column):
            lithium = LITHIUM_SUN + column["fe_h"] + column["li_fe"]
            inside &= (lithium >= self.lithium[0]) & (lithium <= self.lithium[1])
        if {"teff", "c_fe"} <= set(column):
            inside &= (column["teff"] >= COOL) | (column["c_fe"] - column.get("o_fe", 0.0) <= self.carbon)
        if {"teff", "fe_h"} <= set(column):
            titanium = column["fe_h"] + column.get("ti_fe", 0.0)
            inside &= titanium <= self.titanium + TITANIUM_SLOPE * (column["teff"] - COOLEST)
        return inside

    def get_config(self) -> dict[str, Any]:
        """As plain data, for files."""
        return {"kind": "plausible-stars/3", **asdict(self), "lithium": list(self.lithium)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Region:
        """Rebuild from `get_config`."""
        limits = {key: config[key] for key in ("vmic_band", "carbon", "titanium")}
        return cls(lithium=tuple(config["lithium"]), **limits)
