"""The model: network, what it is asked, and its file."""

import keras  # noqa: F401  (before the modules below: its first import registers kcinn's classes, which are made of them)

from kcinn.model.cinn import CINN, load

__all__ = ["CINN", "load"]
