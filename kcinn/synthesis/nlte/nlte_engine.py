"""The embedded engine: stellar spectra from tables that ship with the package."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcinn.synthesis.engine import Engine, Window
from kcinn.synthesis.nlte.atmosphere import Atmosphere, model
from kcinn.synthesis.nlte.balmer import add_balmer
from kcinn.synthesis.nlte.departures import Departures, check_species, departures
from kcinn.synthesis.nlte.elements import SOLAR_SOURCE, abundances
from kcinn.synthesis.nlte.lines import WINDOWS, add_lines, atomic_lines, elements, line_list
from kcinn.synthesis.nlte.molecules import MOLECULES, check_molecules, molecular_lines
from kcinn.synthesis.nlte.opacity import continuum, planck
from kcinn.synthesis.nlte.tables import load
from kcinn.synthesis.nlte.titanium_oxide import add_titanium_oxide
from kcinn.synthesis.nlte.transfer import MU, MU_WEIGHTS, emergent_flux, line_flux, mean_intensity, tau_weights
from kcinn.synthesis.nlte.unreliable import UNRELIABLE_WINDOWS

VERSION = "5"
CONTINUUM_SPACING = 45.0  # angstrom between the wavelengths at which the continuum is computed
FAINTEST_LINE = 3e-3  # of the continuous opacity
WING = 2e-3  # of the continuous opacity, where a line is cut off


class NLTEEngine(Engine):
    """Stellar spectra in LTE or with departures from it for chosen elements.

    Plane-parallel ATLAS9 temperature structures, hydrostatic equilibrium and ionisation computed for the actual
    abundances, 25,000 atomic lines and those of CH, C2, MgH, CN and TiO, Balmer lines, coherent continuum scattering.
    Approximate by design: Turbospectrum is the engine for science that must match published grids.

    Parameters
    ----------
    nlte : iterable of str, optional
        Symbols of the elements whose lines depart from LTE; none is pure LTE.
    molecules : iterable of str, optional
        Molecules whose lines are drawn, all that the engine knows unless said.
    overshooting : float, optional
        How much convection overshoots where labels do not say: 1 as in the ATLAS9 models themselves and in codes that
        use them, 0 not at all. Without, the structures agree with MARCS, and the wings of the Balmer lines of F stars
        and metal-poor stars are stronger; between, ln T is linear.
    log_gf : {"listed", "solar"}, optional
        Oscillator strengths as the line list has them, which other codes share, or changed until lines have their
        strength in the Sun, which suits real stars: what the list has wrong drops out. Made for NLTE.

    Raises
    ------
    KcinnError
        If there are no departure coefficients for an element, no lines of a molecule, or no such oscillator strengths;
        the message lists what there is.

    Notes
    -----
    Labels are `teff` (K), `logg`, `fe_h`, `vmic` (km/s, 1 if not given), `overshooting` (0 to 1), and ``<symbol>_fe``
    for every element of the line list (dex relative to `SOLAR`, 0 if not given). Lithium counts from A(Li) = 1.05, so
    A(Li) = 1.05 + fe_h + li_fe. Lines are listed for 3920-4358, 5157-5733 and 6097-6793 angstrom only; other
    wavelengths are refused.

    Examples
    --------
    >>> engine = NLTEEngine(nlte=("Li", "Mg", "Ca"))
    >>> sun = {"teff": 5772, "logg": 4.44, "fe_h": 0.0}
    >>> wavelength, flux = engine.spectrum(sun, windows=[(6700, 6715)], step=0.03)
    """

    name = "kcinn-nlte"
    version = VERSION
    coverage = WINDOWS
    unreliable_windows = UNRELIABLE_WINDOWS

    def __init__(
        self,
        nlte: Iterable[str] = (),
        molecules: Iterable[str] = MOLECULES,
        *,
        overshooting: float = 1.0,
        log_gf: str = "listed",
    ) -> None:
        self.nlte, self.molecules = tuple(nlte), tuple(molecules)
        self.overshooting, self.log_gf = overshooting, log_gf
        check_species(self.nlte)
        check_molecules(self.molecules)
        self.lines = line_list(log_gf)
        self._labels = {f"{symbol.lower()}_fe": symbol for symbol in elements() if symbol not in ("H", "He", "Fe")}
        self.validity: dict[str, tuple[float, float]] = {
            "teff": (4000.0, 7000.0),
            "logg": (0.5, 5.0),
            "fe_h": (-3.0, 0.5),
            "vmic": (0.0, 6.0),
            "overshooting": (0.0, 1.0),
            **{label: (-3.0, 6.0) if label == "li_fe" else (-2.5, 2.5) for label in self._labels},
        }
        self.defaults = {"vmic": 1.0, "overshooting": float(overshooting), **dict.fromkeys(self._labels, 0.0)}

    @property
    def metadata(self) -> dict[str, Any]:
        """What a grid is to know of the synthesis."""
        return {
            "engine": self.name,
            "engine_version": self.version,
            "nlte_species": list(self.nlte),
            "molecules": list(self.molecules),
            "overshooting": self.overshooting,
            "log_gf": self.log_gf,
            "solar_abundances": SOLAR_SOURCE,
            "medium": "air",
            "unreliable_windows": [list(window) for window in self.unreliable_windows],
        }

    def _synthesize(
        self, labels: dict[str, float], windows: list[Window], wavelengths: list[NDArray[np.float64]]
    ) -> list[NDArray[np.float64]]:
        atmosphere = self._atmosphere(labels)
        coefficients = self._departures(labels, atmosphere.log_tau)
        pairs = (
            fluxes(atmosphere, labels["vmic"], coefficients, self.lines, self.molecules, window, wavelength)
            for window, wavelength in zip(windows, wavelengths, strict=True)
        )
        return [flux / continuum_flux for flux, continuum_flux in pairs]

    def _atmosphere(self, labels: Mapping[str, float]) -> Atmosphere:
        x_fe = {symbol: labels[label] for label, symbol in self._labels.items()}
        composition = abundances(labels["fe_h"], x_fe)
        return model(labels["teff"], labels["logg"], labels["fe_h"], composition, labels["overshooting"])

    def _departures(self, labels: Mapping[str, float], log_tau: NDArray[np.float64]) -> dict[str, Departures]:
        where = {name: labels[name] for name in ("teff", "logg", "fe_h")}
        return {
            symbol: departures(symbol, log_tau, **where, x_h=labels["fe_h"] + labels.get(f"{symbol.lower()}_fe", 0.0))
            for symbol in self.nlte
        }


def fluxes(
    atmosphere: Atmosphere,
    vmic: float,
    coefficients: Mapping[str, Departures],
    lines: Mapping[str, NDArray[Any]],
    molecules: tuple[str, ...],
    window: Window,
    wavelength: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux with lines and without, per unit frequency (erg s-1 cm-2 Hz-1), each (n_wavelength,)."""
    plasma, log_tau = atmosphere.plasma, atmosphere.log_tau
    weight = tau_weights(log_tau, atmosphere.opacity_5000)
    # the continuum varies slowly: a few wavelengths, straight lines between
    n_nodes = max(4, math.ceil((window[1] - window[0]) / CONTINUUM_SPACING) + 1)
    nodes = np.linspace(window[0], window[1], n_nodes)
    absorption, scattering = continuum(nodes, plasma)
    source = planck(nodes, plasma.temperature)
    mean = mean_intensity(absorption, scattering, source, log_tau, weight)
    opacity = absorption + scattering
    emissivity = absorption * source + scattering * mean
    continuum_flux = np.empty(n_nodes)
    emergent_flux(emissivity / opacity, opacity, log_tau, weight, MU, MU_WEIGHTS, continuum_flux)

    middle = opacity[n_nodes // 2]
    limits = {"faintest": FAINTEST_LINE, "wing": WING}
    line_lists = [
        atomic_lines(lines, atmosphere, vmic, window, middle, coefficients, **limits),
        molecular_lines(load("molecules"), molecules, atmosphere, vmic, window, middle, **limits),
    ]
    flux = np.empty(len(wavelength))
    line_opacity, excess = np.zeros((2, len(wavelength), len(log_tau)))
    add_balmer(wavelength, atmosphere, vmic, coefficients.get("H"), line_opacity, excess)
    for opacities in line_lists:
        add_lines(wavelength, opacities, line_opacity, excess)
    if "TiO" in molecules:
        add_titanium_oxide(wavelength, plasma, middle, line_opacity)
    line_flux(
        wavelength, nodes, absorption, scattering, source, mean,
        line_opacity, excess, log_tau, weight, MU, MU_WEIGHTS, flux,
    )  # fmt: skip
    return flux, np.interp(wavelength, nodes, continuum_flux)
