"""A survey run: the rows of `kcinn.predict`, however the work was shared out and whatever ended it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from astropy.table import Table
from conftest_survey import BAD, N, OPTIONS

import kcinn
from kcinn.errors import SurveyError
from kcinn.posterior import Flag
from kcinn.spectra import Spectra
from kcinn.survey import merge, run, verify


def catalogue_bytes(folder):
    merge(folder, folder.parent / "again.fits")
    return (folder.parent / "again.fits").read_bytes()


def test_rows_are_those_of_predict(undisturbed, toy_model, stars):
    catalogue = Table.read(undisturbed.parent / "catalogue.fits", mask_invalid=False)
    spectra = Spectra.read(stars)
    assert list(catalogue["id"]) == list(spectra.ids)
    good = np.setdiff1d(np.arange(N), BAD)
    for row in good:
        posterior = kcinn.predict(toy_model, spectra[row], n_samples=200, seed=3, first=row)
        expected = posterior.summary(covariance=True)
        assert catalogue.colnames == expected.colnames
        for name in expected.colnames[1:-1]:
            value = np.float32(getattr(expected[name], "value", expected[name])[0])
            np.testing.assert_allclose(catalogue[name][row], value, rtol=1e-3, atol=1e-5, err_msg=name)
        assert catalogue["flag"][row] == expected["flag"][0]
