"""Engines by their name: those that come with kcinn, and those that other packages bring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kcinn.errors import KcinnError
from kcinn.plugins import ENGINES, load_plugin, plugins
from kcinn.synthesis.engine import Engine

BUILT_IN = ("nlte", "lte", "turbospectrum")


def engine_named(name: str, config: Path | None = None) -> Engine:
    """The engine of that name.

    Parameters
    ----------
    name : str
        "nlte", the embedded engine for real stars, with all its departure coefficients and solar oscillator strengths;
        "lte", the same without either; "turbospectrum"; or an entry point of the group ``kcinn.engines``, which names
        a callable that takes `config` and returns an `Engine`.
    config : Path, optional
        File that describes the engine's installation.

    Returns
    -------
    Engine
        Ready for `kcinn.synthesize`.

    Raises
    ------
    KcinnError
        If there is no such engine, or it needs a configuration, takes none, or finds a fault in it.
    """
    others = plugins(ENGINES)
    if name not in BUILT_IN and name not in others:
        raise KcinnError(f"No engine {name!r}. There are: {', '.join([*BUILT_IN, *others])}")
    build: Callable[[Path | None], Engine] = load_plugin(others[name]) if name in others else _built_in(name)
    return build(config)


def _built_in(name: str) -> Callable[[Path | None], Engine]:
    return _turbospectrum if name == "turbospectrum" else lambda config: _embedded(name, config)


def _turbospectrum(config: Path | None) -> Engine:
    from kcinn.synthesis.turbospectrum import Turbospectrum

    if config is None:
        raise KcinnError("The engine turbospectrum needs a TOML file that says where it is: --config FILE.toml")
    return Turbospectrum.load(config)


def _embedded(name: str, config: Path | None) -> Engine:
    from kcinn.synthesis.nlte import NLTEEngine
    from kcinn.synthesis.nlte.departures import available

    if config is not None:
        raise KcinnError(f"The engine {name} takes no configuration. Received: {config}")
    return NLTEEngine(available(), log_gf="solar") if name == "nlte" else NLTEEngine()
