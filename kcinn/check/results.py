"""Results of a check as a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results as JSON, null where there is no finite number: JSON has no word for it."""
    path.write_text(json.dumps(_without_nan(results), indent=1), encoding="utf-8")


def _without_nan(results: Any) -> Any:
    if isinstance(results, dict):
        return {key: _without_nan(value) for key, value in results.items()}
    if isinstance(results, list):
        return [_without_nan(value) for value in results]
    return None if isinstance(results, float) and not np.isfinite(results) else results
