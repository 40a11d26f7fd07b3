"""Errors that name what was received, what was expected and what to do."""


class KcinnError(ValueError):
    """Base of every error that bad input can cause; the command line prints it as one line, exit status 2."""


class LabelError(KcinnError):
    """A label is unknown, missing or outside its range."""


class SpectraError(KcinnError):
    """A spectrum or a file of spectra cannot be used."""


class SpectrumReadError(SpectraError):
    """A file cannot be read as spectra.

    Parameters
    ----------
    path : path
        Of the file.
    reason : str
        Why, for the line that the user sees.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type, tuple[object, str]]:
        return type(self), (self.path, self.reason)


class InstrumentError(KcinnError):
    """An instrument is unknown or its description is wrong."""


class GridError(KcinnError):
    """A grid file cannot be used."""


class ModelError(KcinnError):
    """A model file cannot be used, or a model does not fit the data."""


class SurveyError(KcinnError):
    """A survey run cannot be started, resumed, or joined into a catalogue."""
