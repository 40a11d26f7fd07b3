"""Write ``departures_<X>.npz``: departure coefficients of Li, Mg and Ca, solved with lightweaver.

    python tools/build_departures.py UV_LINES.npz WORK_DIRECTORY [--species Li Mg Ca] [-o kcinn/synthesis/nlte/data]

UV_LINES.npz holds `lines` (n, 8) as `build_lines.py` describes, 1600-9000 A, for the line haze. Every atmosphere is
saved in WORK_DIRECTORY as soon as it is solved; a second start resumes there.

Model atoms are those of lightweaver (Osborne & Milic 2021, ApJ 917, 14) with the collisions by electrons that they
bring. Excitation by and charge exchange with hydrogen come from the published rates in ``tools/hydrogen_collisions``,
taken as independent of temperature in the downward direction (true to 30 % from 4000 to 8000 K).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import lightweaver
import numpy as np
from build_lines import columns
from lightweaver import rh_atoms
from lightweaver.collisional_rates import CollisionalRates
from tqdm import tqdm

from kcinn.synthesis.nlte.atmosphere import LOG_TAU as LOG_TAU_MODEL
from kcinn.synthesis.nlte.atmosphere import Atmosphere, hydrostatic, temperature
from kcinn.synthesis.nlte.constants import BOLTZMANN, ELECTRON_VOLT, SAHA
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, SYMBOLS, abundances
from kcinn.synthesis.nlte.equation_of_state import H_MINUS_BINDING
from kcinn.synthesis.nlte.lines import add_lines, atomic_lines
from kcinn.synthesis.nlte.opacity import continuum, planck

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
COLLISIONS = Path(__file__).parent / "hydrogen_collisions"
TEFF = np.array([4000.0, 4750.0, 5500.0, 6250.0, 7000.0])
LOGG = np.array([0.5, 2.0, 3.5, 5.0])
FE_H = np.array([-3.0, -2.0, -1.0, 0.0])
LOG_TAU = np.linspace(-4.9, 1.5, 17)  # of the table
DEPTHS = np.linspace(-4.9, 1.6, 45)  # of the solution, log tau5000
VMIC = 1.5  # km/s
ALPHA = ("O", "Mg", "Si", "S", "Ca", "Ti")
# atom, and nodes of [X/H] minus that of the atmosphere; lithium has absolute ones, since its line saturates
ATOMS = {"Li": rh_atoms.LiI_fine_atom, "Mg": rh_atoms.MgI_atom, "Ca": rh_atoms.CaI_atom}
X_H = {"Li": np.array([-1.0, 0.5, 1.5, 2.5])}
# term of every level of the atom, counted as in the tables of hydrogen collisions; the last is the ion
TERMS = {
    "Li": (0, 1, 1, 2, 3, 3, 4, 4, 5),
    "Mg": (0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    "Ca": (0, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 12, 13),
}
HAZE_STEP, HAZE_BIN, HAZE_RANGE = 0.3, 12.0, (1650.0, 8000.0)  # angstrom
FAINTEST = 0.03  # of the continuum, lines in the haze


class HydrogenCollision(CollisionalRates):
    """Collision with hydrogen, from level `j` down to `i`; up by detailed balance.

    `coefficient` (cm3/s) is that of the downward process; `partner` is H, or H- where the upper level is the ion.
    """

    def __init__(self, j: int, i: int, coefficient: float, partner: str) -> None:
        super().__init__(j, i)
        self.coefficient, self.partner = coefficient, partner

    def __repr__(self) -> str:
        return f"HydrogenCollision({self.j}, {self.i}, {self.coefficient}, {self.partner!r})"

    def setup(self, atom) -> None:
        self.atom, self.iLevel, self.jLevel = atom, atom.levels[self.i], atom.levels[self.j]

    def compute_rates(self, atmos, eq_pops, rates) -> None:
        hydrogen = eq_pops["H"][0, :]
        if self.partner == "H-":
            binding = H_MINUS_BINDING * ELECTRON_VOLT / (BOLTZMANN * atmos.temperature)
            hydrogen = hydrogen * atmos.ne * 1e-6 * np.exp(binding) / (2.0 * SAHA * atmos.temperature**1.5)
        down = self.coefficient * 1e-6 * hydrogen
        equilibrium = eq_pops.atomicPops[self.atom.element].nStar
        rates[self.i, self.j, :] += down
        rates[self.j, self.i, :] += down * equilibrium[self.j] / equilibrium[self.i]


def hydrogen_collisions(symbol: str, atom) -> list[HydrogenCollision]:
    """Collisions between all levels of `atom`: rates of terms shared among their levels by statistical weight."""
    coefficients = np.loadtxt(COLLISIONS / f"{symbol}.txt")
    terms = TERMS[symbol]
    ionic = coefficients.shape[1] - 1
    weight = {t: sum(level.g for level, u in zip(atom.levels, terms, strict=True) if u == t) for t in set(terms)}
    result = []
    for i, final in enumerate(terms):
        for j, initial in enumerate(terms):
            if initial > final and coefficients[final, initial] > 0.0:
                share = atom.levels[i].g / weight[final]
                partner = "H-" if initial == ionic else "H"
                result.append(HydrogenCollision(j, i, share * coefficients[final, initial], partner))
                result[-1].setup(atom)
    return result


class Haze:
    """LTE lines of all elements, log-averaged over `HAZE_BIN`: the ultraviolet line blanketing of one atmosphere."""

    def __init__(self, table: dict[str, np.ndarray], atmosphere: Atmosphere, apart: Iterable[str]) -> None:
        self.wavelength = np.arange(*HAZE_RANGE, HAZE_STEP)
        self.temperature = atmosphere.plasma.temperature
        nodes = np.linspace(*HAZE_RANGE, 120)
        opacity = np.add(*continuum(nodes, atmosphere.plasma))
        self.continuum = np.array([np.interp(self.wavelength, nodes, column) for column in opacity.T]).T
        self.apart = {symbol: np.zeros_like(self.continuum) for symbol in apart}
        self.lines = np.zeros_like(self.continuum)
        numbers = {ATOMIC_NUMBER[symbol]: chi for symbol, chi in self.apart.items()}
        others = ~np.isin(table["atomic_number"], list(numbers))
        for chosen, chi in [(others, self.lines), *((table["atomic_number"] == z, chi) for z, chi in numbers.items())]:
            self._add({key: column[chosen] for key, column in table.items()}, atmosphere, chi)

    def _add(self, table: dict[str, np.ndarray], atmosphere: Atmosphere, chi: np.ndarray) -> None:
        unused = np.zeros_like(chi)
        for lower in np.arange(*HAZE_RANGE, 100.0):
            window = (lower, lower + 100.0)
            middle = np.add(*continuum(np.array([lower + 50.0]), atmosphere.plasma))[0]
            lines = atomic_lines(table, atmosphere, VMIC, window, middle, {}, faintest=FAINTEST, wing=0.02)
            own = (lines.wavelength >= window[0]) & (lines.wavelength < window[1])
            kept = ("wavelength", "peak", "damping", "doppler", "departure")
            reach = np.minimum(lines.reach[own], 20.0)
            lines = replace(lines, reach=reach, **{key: getattr(lines, key)[own] for key in kept})
            add_lines(self.wavelength, lines, chi, unused)

    def opacity(self, symbol: str, wavelength: np.ndarray) -> np.ndarray:
        """Haze without the lines of `symbol` itself at `wavelength` (n,), shape (n, n_depth), cm-1."""
        lines = self.lines + sum(chi for other, chi in self.apart.items() if other != symbol)
        ratio = np.log1p(lines / self.continuum)
        n = int(HAZE_BIN / HAZE_STEP)
        total = np.concatenate([np.zeros((1, ratio.shape[1])), np.cumsum(ratio, axis=0)])
        mean = np.expm1((total[n:] - total[:-n]) / n)[:: n // 4]
        centre = (self.wavelength[n // 2 :][: len(total) - n])[:: n // 4]
        cont = self.continuum[n // 2 :][: len(total) - n][:: n // 4]
        result = np.array([np.interp(wavelength, centre, m * c) for m, c in zip(mean.T, cont.T, strict=True)]).T
        result[wavelength > centre[-1]] = 0.0
        return result


def solve(symbol: str, composition: np.ndarray, atmosphere: Atmosphere, haze: Haze) -> np.ndarray:
    """Departure coefficients, shape (n_levels, n_depth) on the depths of `atmosphere`."""
    plasma = atmosphere.plasma
    atom = ATOMS[symbol]()
    atom.collisions.extend(hydrogen_collisions(symbol, atom))
    tau = 10.0**atmosphere.log_tau
    path = 0.5 * (1.0 / atmosphere.opacity_5000[1:] + 1.0 / atmosphere.opacity_5000[:-1]) * np.diff(tau)
    height = np.concatenate([np.cumsum(path[::-1])[::-1], [0.0]]) * 1e-2  # m
    structure = lightweaver.Atmosphere.make_1d(
        lightweaver.ScaleType.Geometric, height, plasma.temperature, vturb=np.full(len(tau), VMIC * 1e3),
        ne=plasma.electrons * 1e6, nHTot=plasma.hydrogen * 1e6, convertScales=False,
    )  # fmt: skip
    structure.quadrature(3)
    relative = {lightweaver.PeriodicTable[z]: float(max(composition[z], 1e-20)) for z in range(1, len(SYMBOLS))}
    passive = [
        rh_atoms.H_6_atom(), rh_atoms.C_atom(), rh_atoms.O_atom(), rh_atoms.Si_atom(), rh_atoms.Al_atom(),
        rh_atoms.CaII_atom(), rh_atoms.Fe_atom(), rh_atoms.Mg_atom(), rh_atoms.Na_atom(),
    ]  # fmt: skip
    atoms = [x for x in passive if x.element.Z != atom.element.Z] + [atom]
    species = lightweaver.RadiativeSet(atoms, abundance=lightweaver.AtomicAbundance(relative, abundDex=False))
    species.set_active(atom.element.name)
    spectrum, populations = species.compute_wavelength_grid(), species.compute_eq_pops(structure)
    context = lightweaver.Context(structure, spectrum, populations, Nthreads=1, conserveCharge=False)
    wavelength = spectrum.wavelength * 10.0
    extra = haze.opacity(symbol, wavelength) * 1e2  # m-1
    np.asarray(context.background.chi)[...] += extra
    np.asarray(context.background.eta)[...] += extra * planck(wavelength, plasma.temperature) * 1e-3  # SI
    lightweaver.iterate_ctx_se(context, popsTol=1e-3, JTol=5e-3, quiet=True, NmaxIter=150)
    solution = populations.atomicPops[atom.element]
    return np.asarray(solution.pops / solution.nStar)


def solve_node(table, teff: float, logg: float, fe_h: float, species: list[str]) -> dict[str, np.ndarray]:
    """ln b of every species at `LOG_TAU`, shape (n_x_h, n_levels, n_tau)."""
    alpha = 0.4 * float(np.clip(-fe_h, 0.0, 1.0))
    x_fe = dict.fromkeys(ALPHA, alpha)
    structure = np.interp(DEPTHS, LOG_TAU_MODEL, temperature(teff, logg, fe_h))
    composition = abundances(fe_h, x_fe)
    atmosphere = hydrostatic(DEPTHS, structure, teff=teff, logg=logg, abundances=composition)
    haze = Haze(table, atmosphere, species)
    result = {}
    for symbol in species:
        rows = []
        for x_h in X_H.get(symbol, [fe_h + x_fe.get(symbol, 0.0)]):
            composition = abundances(fe_h, {**x_fe, symbol: x_h - fe_h})
            b = solve(symbol, composition, atmosphere, haze)
            rows.append([np.interp(LOG_TAU, atmosphere.log_tau, np.log(np.clip(level, 1e-4, 1e4))) for level in b])
        result[symbol] = np.array(rows)
    return result


def converged(log_b: np.ndarray) -> bool:
    """Whether the deepest layers are in LTE, as they must be; a solution that ran away is not."""
    return bool(np.isfinite(log_b).all() and np.abs(log_b[..., LOG_TAU > 0.7]).max() < 0.1)


def fill(log_b: np.ndarray) -> list[tuple[float, float, float]]:
    """Fill atmospheres without a solution, in place: between the next in Teff, or else from the next gravity."""
    missing = np.argwhere(np.isnan(log_b).any(axis=(3, 4, 5)))
    solved = np.isfinite(log_b).all(axis=(3, 4, 5))
    for i, j, k in missing:
        if 0 < i < len(TEFF) - 1 and solved[i - 1, j, k] and solved[i + 1, j, k]:
            log_b[i, j, k] = 0.5 * (log_b[i - 1, j, k] + log_b[i + 1, j, k])
        else:
            there = np.flatnonzero(solved[i, :, k])
            log_b[i, j, k] = log_b[i, there[np.argmin(np.abs(there - j))], k]
    return [(TEFF[i], LOGG[j], FE_H[k]) for i, j, k in missing]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("uv_lines", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--species", nargs="+", default=list(ATOMS), choices=list(ATOMS))
    parser.add_argument("-o", "--output", type=Path, default=DATA)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    with np.load(options.uv_lines, allow_pickle=False) as facts:
        lines = facts["lines"]
    table = columns(lines[np.argsort(lines[:, 0])])
    nodes = list(itertools.product(range(len(TEFF)), range(len(LOGG)), range(len(FE_H))))
    cubes: dict[str, np.ndarray] = {}
    for i, j, k in tqdm(nodes, unit="model"):
        teff, logg, fe_h = TEFF[i], LOGG[j], FE_H[k]
        if logg < 0.0022 * (teff - 5500.0):
            continue  # no such stars: filled below
        for symbol in options.species:
            path = options.work / f"{symbol}_{teff:.0f}_{logg:.1f}_{fe_h:+.1f}.npy"
            if not path.exists():
                for solved, log_b in solve_node(table, teff, logg, fe_h, options.species).items():
                    np.save(options.work / "unfinished.npy", log_b)
                    name = f"{solved}_{teff:.0f}_{logg:.1f}_{fe_h:+.1f}.npy"
                    (options.work / "unfinished.npy").rename(options.work / name)
            log_b = np.load(path, allow_pickle=False)
            cube = cubes.setdefault(symbol, np.full((len(TEFF), len(LOGG), len(FE_H), *log_b.shape), np.nan))
            cube[i, j, k] = log_b if converged(log_b) else np.nan
    for symbol, cube in cubes.items():
        print(symbol, "filled from neighbours:", fill(cube))
        levels = ATOMS[symbol]().levels
        ground = {stage: min(x.E_eV for x in levels if x.stage == stage) for stage in {x.stage for x in levels}}
        np.savez_compressed(
            options.output / f"departures_{symbol}.npz",
            teff=TEFF, logg=LOGG, fe_h=FE_H, x_h=X_H.get(symbol, np.zeros(1)), log_tau=LOG_TAU,
            ion=np.array([x.stage + 1 for x in levels], dtype=np.uint8),
            energy=np.array([x.E_eV - ground[x.stage] for x in levels]),
            log_b=cube.astype(np.float16),
        )  # fmt: skip


if __name__ == "__main__":
    main()
