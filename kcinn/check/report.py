"""Report: what a check has measured, as a page with pictures and as JSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kcinn import plot
from kcinn.check.page import Cell, Section, Table, page
from kcinn.check.results import write_results
from kcinn.check.synthetic import AS_TRAINED, Check

SIGNIFICANT = 0.01  # p-values below are called failures
COVERAGE_ALL, COVERAGE_PART = 0.02, 0.05  # how far coverage may be from its level, in all spectra and in a part
SPREAD = 2.0  # standard deviations that the number of spectra allows on top
SHIFT, WIDTH = 0.2, 0.15  # how far from the Markov chain: means in standard deviations, widths relative
MAIN = ("teff", "logg", "fe_h", "vmic", "mg_fe", "ca_fe", "li_fe", "ba_fe")


def write(check: Check, folder: Path) -> None:
    """Write `index.html` and `report.json` into `folder`, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    text = page(f"Check of a model for {check.model.instrument.name}", _sections(check))
    (folder / "index.html").write_text(text, encoding="utf-8")
    write_results(folder / "report.json", check.results)


def text(check: Check) -> str:
    """The main figures as text."""
    result = check.results
    lines = [result["provenance"], f"{check.shown}:"]
    lines.append(f"{'label':8s} {'rms':>9s} {'bias':>9s} {'width':>9s} {'/ bound':>8s} {'e_cal':>7s} {'SBC p':>7s}")
    for name in check.space.names:
        row, limit = result["recovery"][check.shown][name], result["bound"][check.shown][name]
        lines.append(
            f"{name:8s} {row['rms']:9.3g} {row['bias']:9.3g} {row['width']:9.3g} {limit['width']:8.2f} "
            f"{result['calibration'][check.shown][name]['e_cal']:7.3f} {result['sbc'][name]['p_value']:7.2g}"
        )
    lines.append(f"TARP p = {result['tarp']:.2g}")
    return "\n".join(lines)


def _sections(check: Check) -> list[Section]:
    sections = [_stars(check), _accuracy(check), _bounds(check), _calibration(check), _coverage(check)]
    sections += [_ranks(check), _latent(check), _information(check)]
    if "resimulation" in check.results:
        sections.append(_resimulation(check))
    if "mcmc" in check.results:
        sections.append(_mcmc(check))
    return sections


def _stars(check: Check) -> Section:
    model = check.model
    return Section(
        "Stars",
        [
            check.results["provenance"],
            f"Every star is observed once as in the training (S/N {model.observation.snr[0]:g} to "
            f"{model.observation.snr[1]:g} per angstrom, missing pixels and arms), on which the tests of calibration "
            "rest, and once at each of the S/N that follow, with all pixels. Coloured cells lie outside of what is "
            f"wanted: p-values above {SIGNIFICANT}, coverage within {COVERAGE_ALL} over all stars and within "
            f"{COVERAGE_PART} in a part of them, beyond {SPREAD:g} standard deviations of the counting.",
        ],
    )


def _accuracy(check: Check) -> Section:
    heads = ["label", *[f"{key}, {name}" for name in check.recovery for key in ("rms", "bias")]]
    rows = [
        [name, *[f"{value[k]:.3g}" for result in check.recovery.values() for value in (result.rms, result.bias)]]
        for k, name in enumerate(check.space.names)
    ]
    fixed = dict(zip(check.results["snr"], list(check.recovery.values())[1:], strict=True))
    shown = check.samples[check.shown].posterior
    return Section(
        "Accuracy",
        [
            "Posterior median minus truth. The band is the posterior's own half width.",
            plot.bias_against_snr(fixed, check.space),
            plot.residual_against_snr(fixed, check.space),
            plot.recovery(shown, check.stars.truth, title=check.shown),
            Table(heads, rows),
        ],
    )


def _bounds(check: Check) -> Section:
    ratios = check.results["bound"]
    heads = ["label", *[f"{key}, {name}" for name in ratios for key in ("bound", "width/", "rms/", "robust/")]]
    rows = [
        [label, *[f"{at[label][key]:.3g}" for at in ratios.values() for key in ("bound", "width", "rms", "robust")]]
        for label in check.space.names
    ]
    return Section(
        "Information bound",
        [
            "Half width of the posterior (median of the stars), rms and robust scatter of the residuals, each over the "
            "Cramér-Rao bound of that star: Fisher matrix of the emulator at the true labels, all labels, velocity and "
            "continuum free. Labels whose line is not detected are bounded by the variance of the box, which a uniform "
            "posterior that ends early undercuts. Crosses are the robust scatter.",
            plot.ratio_to_bound(check.ratios, check.space),
            Table(heads, rows),
        ],
    )


def _calibration(check: Check) -> Section:
    samples, truth = check.samples[AS_TRAINED].posterior.samples, check.stars.truth
    heads = ["label", *[f"{key}, {name}" for name in check.calibration for key in ("e_cal", "u68")]]
    rows = [
        [name, *[f"{x:.3g}" for result in check.calibration.values() for x in (result.error[k], result.width68[k])]]
        for k, name in enumerate(check.space.names)
    ]
    return Section(
        "Calibration",
        [
            "Share of truths inside central intervals. e_cal: median absolute difference from the level; u68: median "
            "width of the central 68 % interval.",
            plot.calibration(samples, truth, check.space, title=AS_TRAINED),
            Table(heads, rows),
        ],
    )


def _coverage(check: Check) -> Section:
    tables = []
    for key, level in (("68", 0.6827), ("95", 0.9545)):
        rows = []
        for name, split in check.results["splits"].items():
            n = split["spectra"]
            allowed = COVERAGE_ALL if name.endswith(", all") else COVERAGE_PART
            allowed += SPREAD * float(np.sqrt(level * (1.0 - level) / n))
            inside = [split["coverage"][label][key] for label in check.space.names]
            rows.append([name, f"{n}", *[Cell(f"{x:.3f}", abs(x - level) > allowed) for x in inside]])
        tables.append(Table([f"inside {key} %", "spectra", *check.space.names], rows))
    return Section("Coverage by kind of spectrum", list(tables))


def _ranks(check: Check) -> Section:
    result = check.results
    cells = [
        Cell(f"{result['sbc'][name]['p_value']:.2g}", _fails(result["sbc"][name]["p_value"]))
        for name in check.space.names
    ]
    tests = Table(["test", *check.space.names], [["SBC, p-value", *cells]])
    return Section(
        "Simulation-based calibration and TARP",
        [
            "Ranks of the truth among the samples, which calibration makes uniform; p-values of Kolmogorov and "
            "Smirnov's test, times the number of labels. TARP tests the joint posterior with random reference points.",
            plot.ranks(check.sbc, check.space),
            tests,
            plot.joint_coverage(check.tarp, len(check.stars)),
            Table(["test", "p-value"], [["TARP", Cell(f"{result['tarp']:.2g}", _fails(result["tarp"]))]]),
        ],
    )


def _latent(check: Check) -> Section:
    result = check.results["latent"]
    columns = zip(result["mean"], result["standard_deviation"], result["p_value"], strict=True)
    rows: list[list[Cell | str]] = [
        [f"{k}", f"{mean:+.3f}", f"{sd:.3f}", Cell(f"{p:.2g}", _fails(p))] for k, (mean, sd, p) in enumerate(columns)
    ]
    return Section(
        "Latent variables",
        [
            "The flow maps true labels to latent variables, which should be independent standard normals. Largest "
            f"correlation between two: {result['largest_correlation']:.3f}.",
            plot.latent(check.latent),
            Table(["variable", "mean", "standard deviation", "p-value"], rows),
        ],
    )


def _information(check: Check) -> Section:
    instrument = check.model.instrument
    shown = [name for name in check.space.names if name in MAIN] or list(check.space.names)
    rows = [
        [
            name,
            *[
                f"{item['from']:.0f}-{item['from'] + 1:.0f}: {item['share']:.1%}"
                for item in check.results["information"][name]
            ],
        ]
        for name in check.space.names
    ]
    picture = plot.information(instrument.wavelength, check.saliency, instrument.arm_slices, check.space, shown)
    return Section(
        "Which pixels carry which label",
        [
            "Share of the information on a label that no combination of the other labels, velocity and continuum can "
            f"imitate, from the emulator's Jacobian; mean of some of the stars, {check.shown}. Below, the angstroms "
            "that hold most of it.",
            picture,
            Table(["label", *[f"{k}." for k in range(1, 6)]], rows),
        ],
    )


def _resimulation(check: Check) -> Section:
    result = check.results["resimulation"]
    kinds = (
        ("samples of the posterior", "samples"),
        ("its mean", "mean"),
        ("its joint mode", "joint_mode"),
        ("the truth", "truth"),
    )
    n_pixels = float(np.median(check.samples[check.shown].posterior.diagnostics["n_pixels"]))
    return Section(
        "Re-simulation",
        [
            "Labels sent through the emulator again and compared with the spectrum: reduced chi-square with velocity, "
            f"continuum and the emulator's error marginalised, {result['n']} stars, {check.shown}.",
            plot.chi_squares(check.chi_square, check.chi_square_truth, n_pixels),
            Table(["labels", "median chi-square"], [[name, f"{result[key]:.4f}"] for name, key in kinds]),
        ],
    )


def _mcmc(check: Check) -> Section:
    result, names = check.results["mcmc"], check.space.names
    shift: list[list[Cell | str]] = [
        [f"star {i}", *[Cell(f"{row[name]:+.2f}", abs(row[name]) > SHIFT) for name in names]]
        for i, row in enumerate(result["shift"])
    ]
    width: list[list[Cell | str]] = [
        [f"star {i}", *[Cell(f"{row[name]:.2f}", abs(row[name] - 1.0) > WIDTH) for name in names]]
        for i, row in enumerate(result["width"])
    ]
    return Section(
        "Against a Markov chain",
        [
            f"emcee on the exact Gaussian likelihood, {result['steps']} steps, longest correlation time "
            f"{max(result['correlation_time']):.0f} steps, {check.shown}.",
            Table(["shift of the mean / sigma", *names], shift),
            Table(["ratio of the widths", *names], width),
        ],
    )


def _fails(p_value: float) -> bool:
    return p_value < SIGNIFICANT
