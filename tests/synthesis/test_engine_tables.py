"""The engine's tables and molecules against textbook numbers."""

import dataclasses

import numpy as np
import pytest

from kcinn.errors import KcinnError
from kcinn.synthesis.nlte import NLTEEngine
from kcinn.synthesis.nlte.atmosphere import model
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, abundances, ionisation_energies, partition_functions
from kcinn.synthesis.nlte.equation_of_state import EquationOfState, molecules_per_state, nitrogen_in_n2
from kcinn.synthesis.nlte.opacity import continuum
from kcinn.synthesis.nlte.tables import load


@pytest.mark.parametrize(
    ("symbol", "stage", "expected"),
    [
        # sums over the levels of the NIST Atomic Spectra Database at 5000 K
        ("H", 0, 2.00), ("C", 0, 9.34), ("Na", 0, 2.05), ("Mg", 0, 1.03), ("Al", 0, 5.83), ("Al", 1, 1.00),
        ("Si", 0, 9.58), ("K", 0, 2.18), ("Ca", 0, 1.18), ("Ca", 1, 2.26), ("Ti", 1, 56.0), ("Fe", 0, 27.7),
        ("Fe", 1, 43.5), ("Ba", 1, 4.17),
    ],
)  # fmt: skip
def test_partition_functions(symbol, stage, expected):
    ours = partition_functions(np.array([5000.0]))[ATOMIC_NUMBER[symbol], stage, 0]
    assert ours == pytest.approx(expected, rel=0.04)


def test_partition_functions_grow_slowly():
    """No atom's grows like the number of Rydberg states: at 3500 to 6500 K few of them are populated."""
    temperature = np.array([3500.0, 6500.0])
    cool, warm = np.moveaxis(partition_functions(temperature)[:31, :2], -1, 0)
    assert np.all(warm / cool < 2.5)


@pytest.mark.parametrize(
    ("symbol", "energy"), [("H", 13.598), ("Fe", 7.902), ("Zr", 6.634), ("Y", 6.217), ("Ba", 5.212)]
)
def test_ionisation_energies(symbol, energy):
    assert ionisation_energies()[ATOMIC_NUMBER[symbol], 0] == pytest.approx(energy, abs=0.002)


@pytest.mark.parametrize(
    ("symbol", "wavelength", "log_width"),
    [
        # log10 of the full width per hydrogen atom at 10^4 K: Barklem, Piskunov & O'Mara (2000)
        ("Li", 6707.76, -7.575),
        ("Na", 5682.63, -6.855),
        ("Mg", 5183.60, -7.267),
        ("Ca", 6162.17, -7.189),
    ],
)
def test_collisional_widths(symbol, wavelength, log_width):
    lines = load("lines")
    near = (lines["atomic_number"] == ATOMIC_NUMBER[symbol]) & (abs(lines["wavelength"] - wavelength) < 0.05)
    strongest = np.flatnonzero(near)[np.argmax(lines["log_gf"][near])]
    assert np.log10(lines["van_der_waals"][strongest]) == pytest.approx(log_width, abs=0.02)


def test_no_line_is_listed_twice():
    lines = load("lines")
    columns = np.stack([lines[key] for key in ("wavelength", "atomic_number", "ion", "energy", "log_gf", "isotope")])
    blue = columns[:, lines["wavelength"] < 4200.0]
    assert blue.shape == np.unique(blue, axis=1).shape


def test_metals_absorb_a_tenth_of_the_blue_continuum_of_the_sun():
    sun = model(5777.0, 4.44, 0.0, abundances(0.0, {})).plasma
    bare = dataclasses.replace(sun, abundances=np.where(np.arange(93) > 2, 1e-30, sun.abundances))
    wavelength = np.array([4000.0, 6500.0])
    with_metals, without = (continuum(wavelength, plasma)[0][:, 25] for plasma in (sun, bare))
    share = 1.0 - without / with_metals
    assert 0.03 < share[0] < 0.2 and share[1] < share[0] / 2.0


def test_nitrogen_molecules_obey_mass_action():
    temperature = np.array([3800.0, 3800.0, 7000.0])
    plasma = EquationOfState(temperature, abundances(0.0, {})).solve(np.array([1e4, 1e5, 1e5]))
    bound = nitrogen_in_n2(plasma)
    free = plasma.hydrogen * (1.0 - bound)
    constant = bound * plasma.hydrogen / free**2  # proportional to n(N2) / n(N)^2
    assert constant[0] == pytest.approx(constant[1], rel=1e-9)
    assert bound[1] > 0.5 > bound[0] > bound[2] and bound[2] < 1e-3


def test_molecules_follow_the_law_of_mass_action():
    """Twice the pressure: four times the pairs of atoms, and so of a molecule that is rare."""
    plasma = EquationOfState(np.full(2, 5500.0), abundances(0.0, {})).solve(np.array([1e5, 2e5]))
    magnesium, hydrogen = ATOMIC_NUMBER["Mg"], ATOMIC_NUMBER["H"]
    mgh = molecules_per_state(plasma, magnesium, hydrogen, 1.285)
    neutral = plasma.abundances[magnesium] * plasma.hydrogen / (1.0 + plasma.saha[magnesium, 0] / plasma.electrons)
    assert mgh[1] / mgh[0] == pytest.approx((neutral * plasma.h_neutral)[1] / (neutral * plasma.h_neutral)[0], rel=1e-3)


def blocked(molecule, labels, window):
    """Mean flux that the lines of one molecule take away."""
    flux = [
        NLTEEngine(molecules=molecules).spectrum(labels, windows=[window], step=0.03)[1]
        for molecules in ((), (molecule,))
    ]
    return np.mean(flux[0] - flux[1])


def test_magnesium_hydride_tells_dwarfs_from_giants():
    dwarf, giant = ({"teff": 4600.0, "logg": logg, "fe_h": 0.0} for logg in (4.6, 2.0))
    assert blocked("MgH", dwarf, (5165.0, 5190.0)) > 2.0 * blocked("MgH", giant, (5165.0, 5190.0)) > 0.0


def test_cyanogen_and_carbon_are_strong_in_giants():
    sun, giant = {"teff": 5772.0, "logg": 4.44, "fe_h": 0.0}, {"teff": 4600.0, "logg": 2.0, "fe_h": 0.0}
    for molecule, window in (("CN", (4205.0, 4216.0)), ("C2", (5160.0, 5165.5)), ("CN", (6400.0, 6500.0))):
        assert blocked(molecule, giant, window) > blocked(molecule, sun, window) > 0.0


def test_carbon_makes_the_g_band():
    sun = {"teff": 5772.0, "logg": 4.44, "fe_h": 0.0}
    # Wallace et al. (2011), ApJS 195, 6: the flux atlas of the Sun has 0.48 of the continuum left here
    _, flux = NLTEEngine().spectrum(sun, windows=[(4300.0, 4315.0)], step=0.02)
    assert flux.mean() == pytest.approx(0.48, abs=0.06)
    assert blocked("CH", {**sun, "c_fe": 0.3}, (4300.0, 4315.0)) > blocked("CH", sun, (4300.0, 4315.0)) > 0.1


@pytest.mark.parametrize("head", [5166.8, 5448.2, 5597.9])  # alpha system, Pearse & Gaydon (1976)
def test_titanium_oxide_has_its_band_heads(head):
    dwarf = {"teff": 4000.0, "logg": 4.6, "fe_h": 0.0}
    before, behind = blocked("TiO", dwarf, (head - 5.0, head - 1.0)), blocked("TiO", dwarf, (head + 1.0, head + 5.0))
    assert behind > 1.5 * before > 0.0


def test_titanium_oxide_is_for_cool_and_metal_rich_stars():
    window = (5598.0, 5640.0)
    dwarf = {"teff": 4000.0, "logg": 4.6, "fe_h": 0.0}
    assert blocked("TiO", dwarf, window) > 0.1
    # two metals make the molecule: a tenth of each leaves about a hundredth of it
    assert 0.01 < blocked("TiO", {**dwarf, "fe_h": -1.0}, window) / blocked("TiO", dwarf, window) < 0.2
    assert blocked("TiO", {**dwarf, "teff": 4500.0}, window) < 0.1 * blocked("TiO", dwarf, window)
    assert blocked("TiO", {"teff": 5772.0, "logg": 4.44, "fe_h": 0.0}, window) == 0.0
    # more carbon binds the oxygen
    assert blocked("TiO", {**dwarf, "c_fe": 0.2}, window) < 0.7 * blocked("TiO", dwarf, window)


def test_unknown_molecules_are_refused():
    with pytest.raises(KcinnError, match=r"No lines of 'VO'. Available: CH, C2, MgH, CN, TiO"):
        NLTEEngine(molecules=("CH", "VO"))


def test_unreliable_windows_lie_where_the_engine_computes():
    engine = NLTEEngine()
    assert len(engine.unreliable_windows) > 10
    for lower, upper, reason in engine.unreliable_windows:
        assert lower < upper and reason
        assert any(start <= lower and upper <= end for start, end in engine.coverage)
