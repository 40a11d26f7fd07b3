"""Lines of diatomic molecules in equilibrium with their atoms, carbon depleted by CO and nitrogen by N2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcinn.errors import KcinnError
from kcinn.synthesis.nlte.atmosphere import Atmosphere
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER, masses
from kcinn.synthesis.nlte.equation_of_state import molecules_per_state
from kcinn.synthesis.nlte.lines import MARGIN, LineOpacity, opacity_of_lines

# atoms, and dissociation energy in eV: CH Huber & Herzberg (1979), C2 and CN Ruscic et al. (2005, J. Phys. Conf. Ser.
# 16, 561), MgH Shayesteh et al. (2007, J. Phys. Chem. A 111, 12495); the order is that of the index in the table
LISTED = {"CH": ("C", "H", 3.465), "C2": ("C", "C", 6.248), "MgH": ("Mg", "H", 1.285), "CN": ("C", "N", 7.724)}
MOLECULES = (*LISTED, "TiO")  # that the engine knows, TiO not line by line
_RADIATIVE = 1e7  # s-1
_VAN_DER_WAALS, _EXPONENT = 3e-8, 0.3  # rad/s cm3 at 10^4 K, and its exponent of temperature


def check_molecules(molecules: tuple[str, ...]) -> None:
    """Raise KcinnError, listing what there is, unless the lines of every molecule are known."""
    unknown = [name for name in molecules if name not in MOLECULES]
    if unknown:
        raise KcinnError(f"No lines of {', '.join(map(repr, unknown))}. Available: {', '.join(MOLECULES)}")


def molecular_lines(
    table: Mapping[str, NDArray[Any]],
    molecules: Iterable[str],
    atmosphere: Atmosphere,
    vmic: float,
    window: tuple[float, float],
    opacity: NDArray[np.float64],
    *,
    faintest: float,
    wing: float,
) -> LineOpacity:
    """Lines of `molecules` that matter in `window`, in LTE; those that are not `LISTED` have none.

    `table` has the columns of ``molecules.npz``; the other arguments are those of `lines.atomic_lines`.
    """
    lower, upper = np.searchsorted(table["wavelength"], [window[0] - MARGIN, window[1] + MARGIN])
    wanted = np.isin(table["molecule"][lower:upper], [list(LISTED).index(name) for name in molecules if name in LISTED])
    line = {key: column[lower:upper][wanted] for key, column in table.items()}
    line["absorber"] = line.pop("molecule")
    n_lines = len(line["absorber"])
    line["ion"] = np.ones(n_lines, dtype=np.uint8)
    damping = {
        "van_der_waals": _VAN_DER_WAALS,
        "van_der_waals_exponent": _EXPONENT,
        "stark": 0.0,
        "radiative": _RADIATIVE,
    }
    line |= {key: np.full(n_lines, value) for key, value in damping.items()}
    per_state = [
        molecules_per_state(atmosphere.plasma, ATOMIC_NUMBER[first], ATOMIC_NUMBER[second], dissociation)
        for first, second, dissociation in LISTED.values()
    ]
    mass = [masses()[ATOMIC_NUMBER[first]] + masses()[ATOMIC_NUMBER[second]] for first, second, _ in LISTED.values()]
    return opacity_of_lines(
        line, np.array(per_state)[:, None], np.array(mass), atmosphere, vmic, opacity, {}, faintest=faintest, wing=wing
    )
