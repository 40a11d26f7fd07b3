"""Quantities of astropy at the edge of kcinn, inside which wavelengths are angstrom and velocities km/s."""

from __future__ import annotations

from typing import Any

from astropy import units

from kcinn.errors import SpectraError

WAVELENGTH, VELOCITY, FLUX = units.AA, units.km / units.s, units.dimensionless_unscaled


def values(given: Any, unit: units.UnitBase, name: str) -> Any:
    """The numbers of a Quantity in `unit`; what is no Quantity is taken to be in it, and returned as it is.

    A spectral axis in frequency or energy becomes the vacuum wavelength.

    Raises
    ------
    SpectraError
        If the Quantity is in a unit that is no wavelength, velocity or pure number, whichever is expected.
    """
    if not isinstance(given, units.Quantity):
        return given
    try:
        return given.to_value(unit, equivalencies=units.spectral() if unit == WAVELENGTH else [])
    except units.UnitConversionError:
        expected = str(unit) or "no unit: divide by the continuum first"
        raise SpectraError(f"{name} is in {given.unit}; expected a Quantity that converts to {expected}") from None
