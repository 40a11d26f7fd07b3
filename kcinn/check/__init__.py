"""Checks of a model: on synthetic stars whose labels are known, and on observed ones with reference labels."""

from kcinn.check.observed import check_observed
from kcinn.check.synthetic import check

__all__ = ["check", "check_observed"]
