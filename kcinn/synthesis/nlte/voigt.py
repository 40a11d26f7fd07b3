"""The Voigt function for the line kernel."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import wofz

FAR = 6.0  # Doppler widths beyond which `far_wing` holds
WEAK = 0.2  # damping below which `_weak` holds
_TABLE_STEP = 0.005
_INV_SQRT_PI = 1.0 / math.sqrt(math.pi)


def _expansion() -> NDArray[np.float64]:
    """Taylor coefficients of H(a, v) in a, orders 0 to 3, shape (n_v, 4): derivatives of the Faddeeva function."""
    v = np.arange(0.0, FAR + 2.0 * _TABLE_STEP, _TABLE_STEP)
    w = wofz(v)
    first = -2.0 * v * w + 2j * _INV_SQRT_PI
    second = -2.0 * w - 2.0 * v * first
    third = -4.0 * first - 2.0 * v * second
    return np.stack([w.real, -first.imag, -second.real / 2.0, third.imag / 6.0], axis=1)


def _rational(n_terms: int) -> tuple[float, tuple[float, ...]]:
    """Scale and coefficients, highest power first, of Weideman (1994), SIAM J. Numer. Anal. 31, 1497."""
    scale = math.sqrt(n_terms / math.sqrt(2.0))
    theta = np.arange(-2 * n_terms + 1, 2 * n_terms) * np.pi / (2.0 * n_terms)
    t = scale * np.tan(theta / 2.0)
    values = np.concatenate([[0.0], np.exp(-(t**2)) * (scale**2 + t**2)])
    series = np.real(np.fft.fft(np.fft.fftshift(values))) / (4.0 * n_terms)
    return scale, tuple(float(x) for x in series[1 : n_terms + 1][::-1])


_TAYLOR = _expansion()
_SCALE, _POLYNOMIAL = _rational(16)


@numba.njit(cache=True, fastmath=True)
def _strong(a: float, v: float) -> float:
    """``w(z) = 2 p(Z)/(L - iz)^2 + (1/sqrt pi)/(L - iz)`` with ``Z = (L + iz)/(L - iz)``, z = v + i a."""
    iz = complex(-a, v)
    inverse = 1.0 / (_SCALE - iz)
    z = (_SCALE + iz) * inverse
    p = complex(0.0, 0.0)
    for c in _POLYNOMIAL:
        p = p * z + c
    return (2.0 * p * inverse * inverse + _INV_SQRT_PI * inverse).real


@numba.njit(cache=True, fastmath=True)
def voigt(a: float, v: float) -> float:
    """Voigt function H(a, v) for a >= 0 and 0 <= v, to better than 0.5 % everywhere."""
    if v >= FAR:
        return far_wing(a, v * v)
    if a > WEAK:
        return _strong(a, v)
    x = v / _TABLE_STEP
    i = int(x)
    u = x - i
    low = _TAYLOR[i, 0] + a * (_TAYLOR[i, 1] + a * (_TAYLOR[i, 2] + a * _TAYLOR[i, 3]))
    high = _TAYLOR[i + 1, 0] + a * (_TAYLOR[i + 1, 1] + a * (_TAYLOR[i + 1, 2] + a * _TAYLOR[i + 1, 3]))
    return low + u * (high - low)


@numba.njit(cache=True, fastmath=True)
def far_wing(a: float, v2: float) -> float:
    """H(a, v) for v^2 = `v2` beyond `FAR` Doppler widths: a Lorentzian with the next terms of its expansion."""
    inverse = 1.0 / (v2 + a * a)
    return a * _INV_SQRT_PI * inverse * (1.0 + 1.5 * inverse * (1.0 + 2.5 * inverse))
