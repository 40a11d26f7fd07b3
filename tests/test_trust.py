"""A model and its own likelihood, its latent variables, its outliers, and the report that is made of them."""

import json
import re
import shutil
import subprocess
import sys
from html import unescape

import numpy as np
import pytest
import toy
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable, Table
from click.testing import CliRunner

from kcinn import load
from kcinn.check import check, check_observed, report
from kcinn.check import stars as check_stars
from kcinn.check.observed_star import read_stars
from kcinn.check.synthetic import N_SAMPLES
from kcinn.cli import main
from kcinn.diagnostics import recovery
from kcinn.errors import GridError, KcinnError, ModelError, SpectraError
from kcinn.flag import Flag
from kcinn.inference import predict
from kcinn.model.calibration import calibrate
from kcinn.model.mock import mock_spectra
from kcinn.model.ordinary import Ordinary
from kcinn.nn.pixels import continuum_curves
from kcinn.spectra import Spectra

SNR = 150.0
FEW = 50  # samples per spectrum; this and what a check draws (N_SAMPLES) are the only numbers: each is compiled anew


def spectra(labels, snr=SNR, seed=0, change=None):
    flux, error, mask = toy.observed(labels, snr, seed)
    if change is not None:
        flux = change(flux)
    return Spectra(toy.INSTRUMENT.wavelength, flux, error=error, mask=mask, medium="air")


@pytest.fixture(scope="module")
def stars():
    return toy.grid(40, seed=77).labels


def dense_log_likelihood(model, labels, flux, error):
    """With the covariance matrix written out, about the same labels, velocity and continuum at their prior means."""
    observe, emulator = model.observe, model.emulator
    phi = model.full_space.to_unbounded(np.atleast_2d(labels)).astype("f4")
    star = model.spectrum(labels)[0].astype(np.float64)
    slope = np.zeros_like(star)
    for arm in model.instrument.arm_slices:  # of a spectrum moved to the red
        slope[arm] = -np.gradient(star[arm])
    observation = observe.observation
    columns = [observation.continuum * continuum_curves(observe.edges, observation.continuum_degree, 1.0) * star]
    columns += [(observe.observation.velocity_scatter * observe.pixels_per_velocity * slope)[None]]
    columns += [float(emulator.error_size(phi)[0, 0]) * np.asarray(emulator.error) @ np.asarray(emulator.basis)]
    columns = np.concatenate(columns)
    covariance = np.diag(error.astype(np.float64) ** 2) + columns.T @ columns
    residual = flux - star
    good = model.usable > 0
    covariance, residual = covariance[np.ix_(good, good)], residual[good]
    square = residual @ np.linalg.solve(covariance, residual)
    return -0.5 * (square + np.linalg.slogdet(covariance)[1] + good.sum() * np.log(2 * np.pi))


def test_likelihood_is_the_dense_gaussian(toy_model, stars):
    observed = spectra(stars[:4])
    nearby = stars[:4, None] + np.array([[0.0, 0, 0], [15.0, 0.01, -0.01], [-20.0, -0.01, 0.005]])
    values = toy_model.likelihood(observed)(nearby)
    expected = [
        [dense_log_likelihood(toy_model, labels, flux, error) for labels in near]
        for near, flux, error in zip(nearby, observed.flux, observed.error, strict=True)
    ]
    np.testing.assert_allclose(values, expected, atol=1.0)  # of hundreds: the expansion is about another point
    chi_square = toy_model.likelihood(observed).chi_square(stars[:4])
    assert np.all(np.abs(chi_square - 1.0) < 5 * np.sqrt(2 / 512))
    with pytest.raises(KcinnError, match=r"\(4, n_samples, 3\)"):
        toy_model.likelihood(observed)(nearby[:2])


def test_a_likelihood_of_counts_is_refused(toy_model, stars):
    normalised = spectra(stars[:2])
    counts = Spectra(normalised.wavelength, 3e4 * normalised.flux, error=3e4 * normalised.error, medium="air")
    with pytest.raises(SpectraError, match="divided by the continuum"):
        toy_model.likelihood(counts)


def test_reweighting_with_the_likelihood_changes_little(toy_model, stars):
    posterior = predict(toy_model, spectra(stars[:8]), n_samples=N_SAMPLES, log_prob=True)
    exact = posterior.reweight(log_likelihood=toy_model.likelihood(spectra(stars[:8])), log_prior=toy_model.log_prior)
    assert np.median(exact.diagnostics["ess"]) > 0.2 * N_SAMPLES
    shift = (exact.mean - posterior.mean) / posterior.samples.std(axis=1)
    assert np.sqrt(np.mean(shift**2)) < 0.4
    assert np.all(np.isfinite(exact.diagnostics["log_evidence"]))


def test_densities_of_samples_are_those_of_the_model(toy_model, stars):
    flux, error, mask = toy.observed(stars[:2], SNR)
    drawn = toy_model.sample(flux, error, mask, n_samples=N_SAMPLES, log_prob=True)
    for i in range(2):
        rows = (np.repeat(x[i : i + 1], 30, axis=0) for x in (flux, error, mask))
        expected = toy_model.log_prob(drawn["labels"][i, :30], *rows)
        np.testing.assert_allclose(drawn["log_prob"][i, :30], expected, atol=2e-3)


def test_latent_of_the_truth_is_normal(toy_model):
    labels = toy.grid(400, seed=5).labels
    latent = toy_model.latent(labels, *toy.observed(labels, 100.0))
    assert latent.shape == (400, 1, 3)
    assert np.all(np.abs(latent.mean(axis=(0, 1))) < 0.35) and np.all(np.abs(latent.std(axis=(0, 1)) - 1.0) < 0.3)


def emission(flux):
    flux = flux.copy()
    flux[:, 100:107] += 0.4
    return flux


OUTSIDE = {
    "noise only": lambda flux: 1.0 + np.random.default_rng(1).normal(size=flux.shape) / 60.0,
    "a velocity of 100 km/s": lambda flux: np.roll(flux, 18, axis=1),
    "an emission line": emission,
    "the other arm": lambda flux: np.roll(flux, 256, axis=1),
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_spectra_from_outside_are_flagged(toy_model, stars, kind):
    posterior = predict(toy_model, spectra(stars, change=OUTSIDE[kind]), n_samples=FEW)
    assert np.mean(posterior.flag & Flag.OUTLIER > 0) >= 0.95


def test_errors_that_are_too_large_are_no_sign(toy_model, stars):
    """As those of smoothed pixels, whose neighbours share their noise."""
    flux, error, mask = toy.observed(stars, SNR)
    wide = Spectra(toy.INSTRUMENT.wavelength, flux, error=2.0 * error, mask=mask, medium="air")
    posterior = predict(toy_model, wide, n_samples=FEW, gap=False)
    assert np.median(posterior.diagnostics["chi_square"]) < 0.35
    assert np.mean((posterior.flag & (Flag.EXTRAPOLATION | Flag.OUTLIER)) > 0) < 0.05


def test_ordinary_spectra_are_not_outliers(toy_model):
    ordinary = spectra(toy.grid(1000, seed=8).labels, snr=100.0, seed=2)
    posterior = predict(toy_model, ordinary, n_samples=FEW)
    assert np.mean(posterior.flag & Flag.OUTLIER > 0) <= 0.02  # 1 percent, and what 1000 spectra allow
    np.testing.assert_array_equal(posterior.flag & Flag.OUTLIER > 0, posterior.diagnostics["outlier"] > 1.0)


def test_posteriors_that_are_too_narrow_are_widened(toy_model_file):
    model, fresh = load(toy_model_file), toy.grid(1000, seed=8)
    observed = mock_spectra(fresh, model.observation, seed=2)
    truth = fresh.labels[:, [fresh.label_space.index(name) for name in model.label_space.names]]

    def held():
        return recovery(predict(model, observed, n_samples=200, gap=False).samples, truth).coverage68.mean()

    for member in model.flow.members:
        member.base.scale.assign(0.5 * np.asarray(member.base.scale))
    assert held() < 0.5
    calibrate(model, Ordinary.observed(model, toy.grid(1000, seed=9), seed=3), seed=3)
    assert held() == pytest.approx(0.683, abs=0.02)


@pytest.fixture(scope="module")
def done(toy_model):
    return check(toy_model, toy.grid(260, seed=42), snr=[60.0, 200.0])


def test_report(done, tmp_path):
    report.write(done, tmp_path / "check")
    assert sorted(path.name for path in (tmp_path / "check").iterdir()) == ["index.html", "report.json"]
    page = (tmp_path / "check/index.html").read_text()
    assert page.count("data:image/png;base64,") == 10 and "http" not in page
    assert "mg_fe" in page and "None of them is among" in page
    saved = json.loads((tmp_path / "check/report.json").read_text())
    assert saved == done.results and saved["stars"] == 260
    assert saved["recovery"]["S/N 60"]["teff"]["rms"] > 2.0 * saved["recovery"]["S/N 200"]["teff"]["rms"]
    for at in saved["bound"].values():
        for label in at.values():
            assert 0.8 < label["width"] < 2.0 and 0.7 < label["robust"] < 2.0
    assert all(0.9 < saved["resimulation"][key] < 1.1 for key in ("samples", "mean", "joint_mode", "truth"))
    poor = saved["splits"]["S/N 200, [Fe/H] < -1"]["spectra"]
    assert poor + saved["splits"]["S/N 200, [Fe/H] >= -1"]["spectra"] == 260
    assert "TARP" in report.text(done)


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WATCH = """<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message || event.target.outerHTML.slice(0, 80))), true);
addEventListener("load", () => {
  const pictures = [...document.images].map(image => image.naturalWidth);
  const links = [...document.links].map(link => document.getElementById(link.hash.slice(1))?.tagName);
  const wide = document.documentElement.scrollWidth > innerWidth;
  document.body.textContent = JSON.stringify({errors, pictures, links, wide});
});
</script>"""


def browse(page, profile):
    """What a browser says of a page: errors, widths of pictures, where links lead, whether it is too wide."""
    watched = page.with_name("watched.html")
    watched.write_text(page.read_text(encoding="utf-8").replace("<head>", f"<head>{WATCH}", 1), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900"]
    options += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--virtual-time-budget=60000", "--dump-dom"]
    done = subprocess.run([BROWSER, *options, watched.as_uri()], capture_output=True, text=True, timeout=300)
    found = json.loads(unescape(re.search("<body>(.*)</body>", done.stdout, re.DOTALL)[1]))
    return {**found, "console": [line for line in done.stderr.splitlines() if ":CONSOLE" in line]}


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
def test_a_browser_shows_the_report_with_its_pictures(done, tmp_path):
    report.write(done, tmp_path / "check")
    found = browse(tmp_path / "check/index.html", tmp_path / "profile")
    assert found["console"] == found["errors"] == [] and not found["wide"]
    assert len(found["pictures"]) == 10 and min(found["pictures"]) > 300
    assert found["links"] and set(found["links"]) == {"H2"}


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
def test_a_browser_sees_what_is_broken(tmp_path):
    script = "<script>console.error('a'); nothing.at.all</script>"
    (tmp_path / "page.html").write_text(
        f"<html><head></head><body><img src='data:image/png;base64,xyz'>{script}</body>"
    )
    found = browse(tmp_path / "page.html", tmp_path / "profile")
    assert found["pictures"] == [0] and len(found["console"]) == 2 and len(found["errors"]) == 2


def test_stars_of_the_training_give_themselves_away(toy_model):
    assert "WERE in the training" in check_stars.test_stars(toy_model, toy.grid(), 800, None, 0).provenance


def test_a_markov_chain_on_the_likelihood_agrees(toy_model, stars, monkeypatch):
    pytest.importorskip("emcee")
    from kcinn.check import mcmc

    monkeypatch.setattr(mcmc, "STEPS", 1500)
    monkeypatch.setattr(mcmc, "BURN_IN", 300)
    observed = spectra(stars[:1])
    posterior = predict(toy_model, observed, n_samples=8000, log_prob=True, gap=False)
    result = mcmc.compare(toy_model, observed, posterior, verbose=0)
    assert np.all(result["correlation_time"] < 60)
    assert np.all(np.abs(result["shift"]) < 0.6) and np.all(np.abs(np.log(result["width"])) < 0.4)
    exact = posterior.reweight(log_likelihood=toy_model.likelihood(observed, gap=False), log_prior=toy_model.log_prior)
    chain = np.array([rows.mean(axis=0) for rows in result["samples"]])
    assert np.all(np.abs(exact.mean - chain) < 0.15 * exact.samples.std(axis=1))


def write_stars(folder, labels):
    """Files of observed stars, the arms of the first apart, and their table."""
    wavelength, rows = toy.INSTRUMENT.wavelength, []
    flux, error, _ = toy.observed(labels, SNR)
    for i, arms in enumerate([[slice(0, 256), slice(256, 512)], *[[slice(0, 512)]] * (len(labels) - 1)]):
        for k, part in enumerate(arms):
            name = f"star{i}-{k}.txt"
            np.savetxt(folder / name, np.column_stack([wavelength, flux[i], error[i]])[part])
            reference = labels[i] - [150.0, 0.1, 0.0]
            rows.append([name, f"star {i}", "air", reference[0], reference[1], reference[2] if i else np.nan])
    table = Table(rows=rows, names=["file", "star", "medium", "teff", "fe_h", "mg_fe"])
    table.write(folder / "stars.csv")


def test_observed_stars_with_reference_labels(toy_model_file, stars, tmp_path):
    write_stars(tmp_path, stars[:10])
    options = ["--observed", tmp_path, "--labels", tmp_path / "stars.csv", "-o", tmp_path / "out", "--quiet"]
    finished = CliRunner().invoke(main, ["check", str(toy_model_file), *map(str, options)])
    assert finished.exit_code == 0 and "star 9" in finished.output, finished.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"index.html", "report.json", "catalogue.fits"}
    result = json.loads((tmp_path / "out/report.json").read_text())
    assert len(result["stars"]) == 10 and result["stars"][0]["n_pixels"] == 512
    labels = result["labels"]
    assert labels["teff"]["plain"]["bias"] == pytest.approx(150.0, abs=25.0)
    assert labels["fe_h"]["plain"]["bias"] == pytest.approx(0.1, abs=0.03)
    assert labels["mg_fe"]["plain"]["stars"] == 9
    assert abs(labels["teff"]["calibrated"]["bias"]) < 20.0
    assert labels["teff"]["calibrated"]["rms"] < 0.5 * labels["teff"]["plain"]["rms"]


def test_exposures_of_a_star_are_averaged_and_estimated_errors_flagged(toy_model, stars, tmp_path):
    (truth,) = stars[:1]
    for k in range(4):
        flux, error, _ = toy.observed(truth[None], SNR, seed=k)
        np.savetxt(tmp_path / f"{k}.txt", np.column_stack([toy.INSTRUMENT.wavelength, flux[0], error[0]]))
    np.savetxt(tmp_path / "bare.txt", np.column_stack([toy.INSTRUMENT.wavelength, flux[0]]))
    files, names = [f"{k}.txt" for k in range(4)] + ["3.txt", "bare.txt"], ["all"] * 4 + ["one", "bare"]
    found = check_observed(toy_model, tmp_path, Table({"file": files, "star": names, "medium": ["air"] * 6})).posterior
    snr = found.diagnostics["snr"]
    assert list(found.ids) == ["all", "one", "bare"] and snr[0] == pytest.approx(2.0 * snr[1], rel=0.01)
    assert [bool(flag & Flag.ESTIMATED_ERROR) for flag in found.flag] == [False, False, True]


def test_words_among_reference_labels_are_named(toy_model, stars, tmp_path):
    write_stars(tmp_path, stars[:2])
    table = Table.read(tmp_path / "stars.csv")
    table.replace_column("teff", ["unknown", *["5500"] * (len(table) - 1)])
    with pytest.raises(KcinnError, match="teff must be numbers.*unknown"):
        check_observed(toy_model, tmp_path, table)
    known = [5500.0, *[None] * (len(table) - 1)]  # as a table made in Python may have it
    table.replace_column("teff", Column(known, dtype=object))
    assert np.isfinite(check_observed(toy_model, tmp_path, table).reference[:, 0]).sum() == 1


def test_observed_stars_without_reference_labels(toy_model, stars, tmp_path):
    write_stars(tmp_path, stars[:2])
    table = Table.read(tmp_path / "stars.csv")["file", "star", "medium"]
    check_observed(toy_model, tmp_path, table).write(tmp_path / "out")
    assert "no reference for any label" in (tmp_path / "out/index.html").read_text()
    assert json.loads((tmp_path / "out/report.json").read_text())["labels"] == {}


def test_tables_of_stars_say_it_in_their_own_way(tmp_path):
    row = {
        "file": ["a.txt"],
        "star": [48915],
        "medium": ["air"],
        "teff": [5.5] * u.kK,
        "fe_h": [0.1],
        "normalise": ["False"],
    }
    table = QTable(row)
    table["vsini"] = MaskedColumn([2000.0], unit="m/s")
    toy_flux, error, _ = toy.observed(np.array([[5500.0, -0.5, 0.1]]), SNR)
    np.savetxt(tmp_path / "a.txt", np.column_stack([toy.INSTRUMENT.wavelength, toy_flux[0], error[0]]))
    (star,) = read_stars(toy.INSTRUMENT, tmp_path, table)
    assert star.reference == {"teff": 5500.0, "fe_h": 0.1, "vsini": 2.0} and not star.normalise
    table["normalise"] = ["perhaps"]
    with pytest.raises(KcinnError, match="one of 1, 1.0, true.*perhaps"):
        list(read_stars(toy.INSTRUMENT, tmp_path, table))


def test_what_is_not_known_of_a_single_star_is_null(toy_model, stars, tmp_path):
    write_stars(tmp_path, stars[:1])
    check_observed(toy_model, tmp_path, tmp_path / "stars.csv").write(tmp_path / "out")
    text = (tmp_path / "out/report.json").read_text()
    plain = json.loads(text, parse_constant=lambda word: pytest.fail(word))["labels"]["teff"]["plain"]
    assert plain["stars"] == 1 and plain["scatter"] is None


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ([], "Give a grid"),
        (["--observed", "."], "belong together"),
        (["none.h5"], "no such grid"),
        (["none.h5", "--estimate-errors"], "--estimate-errors: not an option for a grid"),
        (["--observed", ".", "--labels", "t.csv", "--held-out", "0.1"], "--held-out: not an option for observed"),
    ],
)
def test_bad_arguments_of_the_command(toy_model_file, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    finished = CliRunner().invoke(main, ["check", str(toy_model_file), *arguments])
    assert finished.exit_code == 2 and reason in finished.output and not (tmp_path / "check").exists()


def test_bad_arguments(toy_model, stars, tmp_path, monkeypatch):
    with pytest.raises(KcinnError, match="30 to 300"):
        check(toy_model, toy.grid(20), snr=[1000.0])
    with pytest.raises(KcinnError, match="between 0 and 1"):
        check(toy_model, toy.grid(20), held_out=2.0)
    monkeypatch.setitem(sys.modules, "emcee", None)
    with pytest.raises(KcinnError, match=r"kcinn\[check\]"):
        check(toy_model, toy.grid(20), mcmc=1)
    grid = toy.grid(20)
    grid.label_space = toy.LabelSpace([*toy.SPACE.labels[:2], toy.Label("x", "", 0.0, 1.0)])
    with pytest.raises(GridError, match="no mg_fe"):
        check(toy_model, grid)
    (tmp_path / "bad.csv").write_text("name,teff\na,5000\n")
    with pytest.raises(KcinnError, match="column `file`"):
        check_observed(toy_model, tmp_path, tmp_path / "bad.csv")
    with pytest.raises(ModelError, match="marginalises"):
        toy_model.full_space, kept = toy.LabelSpace([*toy.SPACE, toy.Label("x", "", 0.0, 1.0)]), toy_model.full_space
        try:
            toy_model.likelihood(spectra(stars[:1]))
        finally:
            toy_model.full_space = kept
