import numpy as np
import pytest

from kcinn.synthesis.nlte import NLTEEngine, nlte_engine
from kcinn.synthesis.nlte.elements import ATOMIC_NUMBER
from kcinn.synthesis.nlte.lines import LineOpacity


def no_lines(_table, _molecules, atmosphere, *_, **__):
    empty, none = np.empty((0, len(atmosphere.log_tau))), np.empty(0)
    return LineOpacity(none, empty, empty, empty, none, none.astype(int), empty, empty)


@pytest.fixture
def equivalent_width(monkeypatch):
    """Equivalent width in milliangstrom of one line alone, integrated over +- `half` angstrom."""

    def measure(labels, symbol, wavelength, *, nlte=(), log_gf="listed", half=2.0, blend=0.06):
        engine = NLTEEngine(nlte, log_gf=log_gf)
        lines = engine.lines
        own = (abs(lines["wavelength"] - wavelength) < blend) & (lines["atomic_number"] == ATOMIC_NUMBER[symbol])
        assert own.any()
        engine.lines = {key: column[own] for key, column in lines.items()}
        with monkeypatch.context() as patch:
            patch.setattr(nlte_engine, "molecular_lines", no_lines)
            patch.setattr(nlte_engine, "add_balmer", lambda *_: None)
            window = (wavelength - half, wavelength + half)
            grid, flux = engine.spectrum(labels, windows=[window], step=0.005)
        return 1e3 * np.trapezoid(1.0 - flux, grid)

    return measure
