"""Write ``departures_<X>.npz``: departure coefficients of H, Li, Na, Mg, Al, Ca, Fe and Ba.

    python tools/build_departures.py BLUE_LIST WORK_DIRECTORY [--species Li Mg ...] [--check N] [-o FOLDER]

BLUE_LIST are the atomic lines of Kurucz that `haze.read_lines` describes. Every atmosphere is saved in WORK_DIRECTORY
as soon as it is solved; a second start resumes there, and several may run side by side. ``--check N`` solves N
atmospheres between the nodes instead and prints how far the tables are from them.

Model atoms are those of lightweaver (Osborne & Milic 2021, ApJ 917, 14) with the collisions by electrons that they
bring. Li, Na, Mg and Ca collide with hydrogen, charge exchange included, at the published rates in
``tools/hydrogen_collisions``, taken as independent of temperature in the downward direction (true to 40 % from 4000 to
8000 K); Al and Ba after Drawin's formula with published factors (`collisions`). Fe is parametric, see `iron`.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import iron
import lightweaver
import numpy as np
from collisions import DRAWIN, TERMS, drawin_collisions, hydrogen_collisions
from haze import VMIC, Haze, read_lines
from lightweaver import rh_atoms
from tqdm import tqdm

from kcinn.synthesis.nlte.atmosphere import LOG_TAU as LOG_TAU_MODEL
from kcinn.synthesis.nlte.atmosphere import Atmosphere, hydrostatic, temperature
from kcinn.synthesis.nlte.departures import departures
from kcinn.synthesis.nlte.elements import SYMBOLS, abundances
from kcinn.synthesis.nlte.opacity import planck

DATA = Path(__file__).parents[1] / "kcinn/synthesis/nlte/data"
TEFF = np.arange(4000.0, 7001.0, 375.0)
LOGG = np.array([0.5, 1.6, 2.7, 3.8, 5.0])
FE_H = np.array([-3.0, -2.0, -1.0, 0.0, 0.5])
LOG_TAU = np.linspace(-4.9, 1.5, 17)  # of the table
DEPTHS = np.linspace(-4.9, 1.6, 45)  # of the solution, log tau5000
ALPHA = ("O", "Mg", "Si", "S", "Ca", "Ti")
ATOMS = {
    "H": rh_atoms.H_6_CRD_atom,
    "Li": rh_atoms.LiI_fine_atom,
    "Na": rh_atoms.NaI_fine_atom,
    "Mg": rh_atoms.MgI_atom,
    "Al": rh_atoms.Al_atom,
    "Ca": rh_atoms.CaI_atom,
    "Ba": rh_atoms.BaII_CRD_atom,
}
# Nodes in abundance: [X/H] of lithium, whose line saturates at any metallicity; [X/Fe] of the others
LITHIUM = np.array([-1.0, 0.5, 1.5, 2.5])
X_FE = {"Na": np.array([-0.4, 0.4]), "Mg": np.array([-0.2, 0.5]), "Ca": np.array([-0.2, 0.5]),
        "Ba": np.array([-0.7, 0.7])}  # fmt: skip
SPECIES = (*ATOMS, "Fe")


def solve(symbol: str, composition: np.ndarray, atmosphere: Atmosphere, haze: Haze) -> np.ndarray:
    """Departure coefficients, shape (n_levels, n_depth) on the depths of `atmosphere`."""
    plasma = atmosphere.plasma
    atom = ATOMS[symbol]()
    if symbol in TERMS:
        atom.collisions.extend(hydrogen_collisions(symbol, atom))
    elif symbol in DRAWIN:
        atom.collisions.extend(drawin_collisions(symbol, atom))
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
    solution = populations.atomicPops[atom.element]
    try:
        lightweaver.iterate_ctx_se(context, popsTol=1e-3, JTol=5e-3, quiet=True, NmaxIter=150)
    except lightweaver.utils.ExplodingMatrixError:  # filled from the neighbours
        return np.full_like(solution.nStar, np.nan)
    return np.asarray(solution.pops / solution.nStar)


def solve_node(table, teff: float, logg: float, fe_h: float, species: list[str]) -> dict[str, np.ndarray]:
    """ln b of every species at `LOG_TAU`, shape (n_abundances, n_levels, n_tau)."""
    alpha = 0.4 * float(np.clip(-fe_h, 0.0, 1.0))
    x_fe = dict.fromkeys(ALPHA, alpha)
    structure = np.interp(DEPTHS, LOG_TAU_MODEL, temperature(teff, logg, fe_h))
    composition = abundances(fe_h, x_fe)
    atmosphere = hydrostatic(DEPTHS, structure, teff=teff, logg=logg, abundances=composition)
    haze = Haze(table, atmosphere, [symbol for symbol in species if symbol in ("Li", "Na", "Mg", "Al", "Ca", "Ba")])
    result = {}
    for symbol in species:
        if symbol == "Fe":
            solutions = [iron.over_ionisation(table, atmosphere, haze)]
        else:
            solutions = []
            for offset in LITHIUM - fe_h if symbol == "Li" else X_FE.get(symbol, [x_fe.get(symbol, 0.0)]):
                own = {} if symbol == "H" else {symbol: float(offset)}
                solutions.append(solve(symbol, abundances(fe_h, {**x_fe, **own}), atmosphere, haze))
        log_b = np.log(np.clip(solutions, 1e-4, 1e4))
        result[symbol] = np.array(
            [[np.interp(LOG_TAU, atmosphere.log_tau, level) for level in solution] for solution in log_b]
        )
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
    return [(float(TEFF[i]), float(LOGG[j]), float(FE_H[k])) for i, j, k in missing]


def levels(symbol: str) -> tuple[np.ndarray, np.ndarray]:
    """Ion, and energy above its ground state in eV, of the levels of a table."""
    if symbol == "Fe":
        return np.array([ion for ion, *_ in iron.LEVELS]), np.array([energy for _, energy, _ in iron.LEVELS])
    found = ATOMS[symbol]().levels
    ground = {stage: min(x.E_eV for x in found if x.stage == stage) for stage in {x.stage for x in found}}
    return np.array([x.stage + 1 for x in found]), np.array([x.E_eV - ground[x.stage] for x in found])


def write(symbol: str, cube: np.ndarray, folder: Path) -> None:
    """Write the table of one element."""
    ion, energy = levels(symbol)
    abundance = {"x_h": LITHIUM} if symbol == "Li" else {"x_fe": X_FE.get(symbol, np.zeros(1))}
    np.savez_compressed(
        folder / f"departures_{symbol}.npz",
        teff=TEFF, logg=LOGG, fe_h=FE_H, log_tau=LOG_TAU, ion=ion.astype(np.uint8), energy=energy,
        log_b=cube.astype(np.float16), **abundance,
    )  # fmt: skip


def check(table, n: int, species: list[str]) -> None:
    """Print the rms of ln b, table minus solution, at log tau -3 to 0 of `n` stars between the nodes."""
    rng = np.random.default_rng(1)
    differences: dict[str, list[float]] = {symbol: [] for symbol in species}
    for _ in tqdm(range(n), unit="model"):
        teff, fe_h = rng.uniform(4200.0, 6800.0), rng.uniform(-2.8, 0.4)
        logg = rng.uniform(max(0.7, 0.0022 * (teff - 5500.0) + 0.5), 4.8)
        for symbol, log_b in solve_node(table, teff, logg, fe_h, species).items():
            nodes = LITHIUM if symbol == "Li" else fe_h + X_FE.get(symbol, np.zeros(1))
            for x_h, solution in zip(nodes, log_b, strict=True):
                interpolated = departures(symbol, LOG_TAU, teff=teff, logg=logg, fe_h=fe_h, x_h=float(x_h))
                seen = (LOG_TAU > -3.0) & (LOG_TAU < 0.0)
                difference = (np.log(interpolated.b) - solution)[:, seen]
                differences[symbol].append(float(np.sqrt(np.mean(difference**2))))
    for symbol, values in differences.items():
        print(f"{symbol}: rms of ln b between nodes: median {np.median(values):.3f}, largest {np.max(values):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("blue_list", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--species", nargs="+", default=list(SPECIES), choices=list(SPECIES))
    parser.add_argument("--check", type=int, metavar="N")
    parser.add_argument("-o", "--output", type=Path, default=DATA)
    options = parser.parse_args()
    table = read_lines(options.blue_list)
    if options.check:
        check(table, options.check, options.species)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    nodes = [
        (i, j, k)
        for i, j, k in itertools.product(range(len(TEFF)), range(len(LOGG)), range(len(FE_H)))
        if LOGG[j] >= 0.0022 * (TEFF[i] - 5500.0)  # there are no such stars: filled below
    ]

    def path(symbol: str, node: tuple[int, int, int]) -> Path:
        teff, logg, fe_h = TEFF[node[0]], LOGG[node[1]], FE_H[node[2]]
        return options.work / f"{symbol}_{teff:.0f}_{logg:.1f}_{fe_h:+.1f}.npy"

    for node in tqdm(nodes, unit="model"):
        todo = [symbol for symbol in options.species if not path(symbol, node).exists()]
        claim = options.work / f"{node}.claimed"
        if todo and not claim.exists():
            claim.touch()
            for symbol, log_b in solve_node(table, TEFF[node[0]], LOGG[node[1]], FE_H[node[2]], todo).items():
                partial = path(symbol, node).with_suffix(".partial.npy")
                np.save(partial, log_b)
                partial.rename(path(symbol, node))
            claim.unlink()
    if not all(path(symbol, node).exists() for symbol in options.species for node in nodes):
        print("Others are still at work on some atmospheres: run again when they are done.")
        return
    for symbol in options.species:
        solved = {node: np.load(path(symbol, node), allow_pickle=False) for node in nodes}
        shape = next(iter(solved.values())).shape
        cube = np.full((len(TEFF), len(LOGG), len(FE_H), *shape), np.nan)
        for node, log_b in solved.items():
            cube[node] = log_b if converged(log_b) else np.nan
        print(symbol, "filled from neighbours:", fill(cube))
        write(symbol, cube, options.output)


if __name__ == "__main__":
    main()
