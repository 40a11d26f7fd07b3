"""Grids of other programs: read with the right labels and degraded, bad spectra refused by name and counted."""

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import kcinn
from kcinn.broaden import degrade
from kcinn.cli import main
from kcinn.errors import GridError
from kcinn.grid import SyntheticGrid
from kcinn.instrument import Arm, Instrument
from kcinn.labels import Label, LabelSpace
from kcinn.wavelength import air_to_vacuum

INSTRUMENT = Instrument("narrow", [Arm("red", (0.0, 59.0), (6160.0, 6165.9), (20000.0, 20000.0))], medium="air")
WAVELENGTH = np.arange(6150.0, 6176.0, 0.02)
LABELS = np.array([[5403.27, 2.342, -1.494, 0.2], [4125.85, 4.895, -0.5, 0.1], [6000.0, 4.0, 0.0, -0.1]])
FLUX = np.array([1.0 - row[0] / 1e4 * np.exp(-0.5 * ((WAVELENGTH - 6163.0) / 0.1) ** 2) for row in LABELS])
EXPECTED = np.array([degrade(WAVELENGTH, flux, INSTRUMENT) for flux in FLUX])


def read(path, **arguments):
    return kcinn.read_grid(path, **{"instrument": INSTRUMENT, "processes": 1, "verbose": 0, **arguments})


@pytest.fixture
def folder(tmp_path):
    """A folder as TSFitPy writes it."""
    rows = ["specname,rv,teff,logg,feh,vmic,Ca_Fe,rotation"]
    for k, (labels, flux) in enumerate(zip(LABELS, FLUX, strict=True)):
        teff, logg, fe_h, ca_fe = labels
        rows.append(f"{k}.spec,0.0,{teff},{logg},{fe_h},1.5,{ca_fe},0.0")
        head = (
            f"#Generated\n#teff: {teff}\n#resolution: 0.0\n#nlte_flag: True\n#[Ca/Fe]={ca_fe} NLTE\n#[Mg/Fe]=0.0 LTE\n"
        )
        lines = [f"{w:.3f}  {f:.6f}  {f * 1e6:.1f}" for w, f in zip(WAVELENGTH, flux, strict=True)]
        (tmp_path / f"{k}.spec").write_text(head + "#Wavelength Normalised_flux Unnormalised_flux\n" + "\n".join(lines))
    (tmp_path / "spectra_parameters.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def check(grid):
    assert grid.label_space.names == ("teff", "logg", "fe_h", "ca_fe")
    np.testing.assert_allclose(grid.labels, LABELS, rtol=1e-6)
    np.testing.assert_allclose(grid.flux(), EXPECTED, atol=2e-5)


def test_folder_of_tsfitpy(folder):
    grid = read(folder)
    check(grid)
    assert grid.metadata["nlte_species"] == ["Ca"] and grid.metadata["fixed_labels"] == {"vmic": 1.5, "vsini": 0.0}
    assert grid.label_space.labels[0] == Label("teff", "K", 4125.85, 6000.0, r"T_{\rm eff}")


def test_bad_spectra_are_counted_and_named_or_left_out(folder):
    (folder / "0.spec").unlink()
    (folder / "1.spec").write_text((folder / "1.spec").read_text().replace("6160.000  ", "6160.000  nan "))
    with pytest.raises(GridError, match=r"2 of 3 .* 0.spec: missing or empty; 1.spec: flux is not finite.*skip=True"):
        read(folder)
    grid = read(folder, skip=True)
    assert len(grid) == 1 and grid.metadata["left_out"] == {"missing or empty": 1, "flux is not finite": 1}
    np.testing.assert_allclose(grid.flux(0), EXPECTED[2], atol=2e-5)
    for name in ("1.spec", "2.spec"):
        (folder / name).write_text("")
    with pytest.raises(GridError, match="3 of 3 spectra"):
        read(folder, skip=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda flux: flux * 1e6, "flux is not continuum-normalised"),
        (lambda flux: flux - 0.7, "flux is not positive"),
        (lambda flux: flux[:300], "needs 61"),
    ],
)
def test_what_makes_a_spectrum_bad(folder, spoil, message):
    flux = spoil(FLUX[1])
    np.savetxt(folder / "1.spec", np.column_stack([WAVELENGTH[: len(flux)], flux]))
    with pytest.raises(GridError, match=f"1 of 3 .*1.spec: .*{message}"):
        read(folder)


def test_npz_of_the_payne(tmp_path):
    """Spectra and labels in columns, teff in units of 1000 K."""
    labels = LABELS.copy()
    labels[:, 0] /= 1000.0
    names = ["teff", "logg", "feh", "Ca_Fe"]
    np.savez(tmp_path / "a.npz", flxn=FLUX.T, wvl=WAVELENGTH, labels=labels.T, label_names=names)
    with pytest.raises(GridError, match="'air' or 'vacuum'.*medium="):
        read(tmp_path / "a.npz")
    check(read(tmp_path / "a.npz", medium="air"))
    np.savez(tmp_path / "b.npz", spectra=FLUX, labels=LABELS.T)
    with pytest.raises(GridError, match="no wavelengths; pass wavelength="):
        read(tmp_path / "b.npz", medium="air")
    with pytest.raises(GridError, match="labels without names; pass label_names="):
        read(tmp_path / "b.npz", medium="air", wavelength=WAVELENGTH)
    check(read(tmp_path / "b.npz", medium="air", wavelength=WAVELENGTH, label_names=names))
    parts = {"training_labels": LABELS[:2], "training_spectra": FLUX[:2]}
    parts |= {"validation_labels": LABELS[2:], "validation_spectra": FLUX[2:]}
    np.savez(tmp_path / "c.npz", wavelength=WAVELENGTH, **parts)
    check(read(tmp_path / "c.npz", medium="air", label_names=names))


def test_an_array_per_label(tmp_path):
    columns = dict(zip(("teff", "logg", "feh", "ca_fe"), LABELS.T, strict=True))
    np.savez(tmp_path / "galah.npz", wavelength=WAVELENGTH, smod_norm_guess=FLUX, **columns)
    check(read(tmp_path / "galah.npz", medium="air"))


def test_columns_of_the_same_label(tmp_path):
    columns = dict(zip(("teff", "logg", "feh", "ca_fe"), LABELS.T, strict=True))
    np.savez(tmp_path / "same.npz", wavelength=WAVELENGTH, flux=FLUX, **columns, m_h=LABELS[:, 2])
    check(read(tmp_path / "same.npz", medium="air"))
    np.savez(tmp_path / "differ.npz", wavelength=WAVELENGTH, flux=FLUX, **columns, m_h=LABELS[:, 2] + 0.3)
    with pytest.raises(GridError, match=r"feh, m_h all mean fe_h"):
        read(tmp_path / "differ.npz", medium="air")
    names = ["teff", "teff", "feh", "ca_fe"]
    np.savez(tmp_path / "twice.npz", wavelength=WAVELENGTH, flux=FLUX, labels=LABELS, label_names=names)
    with pytest.raises(GridError, match="occurs twice"):
        read(tmp_path / "twice.npz", medium="air")


def test_grids_that_reach_far_or_descend(tmp_path):
    """From the far ultraviolet to the mid infrared, in vacuum: wavelengths in air are defined for a part of it."""
    far = np.r_[np.linspace(1300.0, 4000.0, 50), air_to_vacuum(WAVELENGTH), np.linspace(9000.0, 30000.0, 50)]
    flux = np.hstack([np.ones((3, 50)), FLUX, np.ones((3, 50))])
    columns = dict(zip(("teff", "logg", "feh", "ca_fe"), LABELS.T, strict=True))
    said = {"medium": np.bytes_("vacuum"), "resolving_power": np.full(3, 5e5)}
    np.savez(tmp_path / "far.npz", wavelength=far[::-1], flux=flux[:, ::-1], **said, **columns)
    found, near = read(tmp_path / "far.npz"), read_near(tmp_path, columns)
    np.testing.assert_allclose(found.flux(), near.flux(), atol=1e-6)
    said["resolving_power"] = np.array([5e5, 4e5, 5e5])
    np.savez(tmp_path / "powers.npz", wavelength=far, flux=flux, **said, **columns)
    with pytest.raises(GridError, match="resolving_power must be the same"):
        read(tmp_path / "powers.npz")
    far[7] = np.nan
    np.savez(tmp_path / "nan.npz", wavelength=far, flux=flux, medium="vacuum", **columns)
    with pytest.raises(GridError, match="ascend strictly"):
        read(tmp_path / "nan.npz")


def read_near(folder, columns):
    np.savez(folder / "near.npz", wavelength=WAVELENGTH, flux=FLUX, medium="air", resolving_power=5e5, **columns)
    return read(folder / "near.npz")


def test_hdf5_in_vacuum(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["medium"] = "vacuum"
        group = file.create_group("grid")
        group["wavelength"], group["flux"], group["labels"] = air_to_vacuum(WAVELENGTH), FLUX, LABELS
        group["labels"].attrs["label_names"] = ["teff", "logg", "[Fe/H]", "[Ca/Fe]"]
    check(read(tmp_path / "a.h5"))
    check(read(tmp_path / "a.h5"))
    narrower = LabelSpace([Label("ca_fe", "dex", -0.5, 0.5), Label("teff", "K", 4000.0, 7000.0)])
    grid = read(tmp_path / "a.h5", label_space=narrower)
    np.testing.assert_allclose(grid.labels, LABELS[:, [3, 0]])
    with pytest.raises(GridError, match="teff goes from 4125.85 to 6000.*5000 to 7000; widen"):
        read(tmp_path / "a.h5", label_space=LabelSpace([Label("teff", "K", 5000.0, 7000.0)]))
    with pytest.raises(GridError, match="no label 'mg_fe'.*teff, logg, fe_h, ca_fe"):
        read(tmp_path / "a.h5", label_space=LabelSpace([Label("mg_fe", "dex", 0.0, 1.0)]))


def test_broadening_is_added_as_labels(folder):
    broadening = LabelSpace([Label("vsini", "km s-1", 0.0, 15.0)])
    grid = read(folder, broadening=broadening, draws=2, seed=3)
    assert grid.label_space.names[-1] == "vsini" and list(grid.star) == [0, 0, 1, 1, 2, 2]
    vsini = grid.labels[:, -1]
    assert len(np.unique(vsini)) == 6 and np.all((vsini >= 0) & (vsini <= 15))
    np.testing.assert_allclose(grid.flux(3), degrade(WAVELENGTH, FLUX[1], INSTRUMENT, vsini=vsini[3]), atol=2e-5)
    with pytest.raises(GridError, match="vsini and vmac.*'rv'"):
        read(folder, broadening=LabelSpace([Label("rv", "km s-1", 0.0, 1.0)]))


def test_files_of_other_kinds_are_refused(folder, tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(GridError, match="text.npz: expected a folder of TSFitPy, an npz file"):
        read(tmp_path / "text.npz")
    np.savez(tmp_path / "empty.npz", a=np.zeros(3))
    with pytest.raises(GridError, match="no spectra under any of the names flux.*has: a"):
        read(tmp_path / "empty.npz")
    np.savez(tmp_path / "pickled.npz", flux=np.array([{}, None]))
    with pytest.raises(GridError, match="without pickled objects"):
        read(tmp_path / "pickled.npz")
    np.savez(tmp_path / "short.npz", flux=FLUX, wavelength=WAVELENGTH, labels=LABELS[:2], label_names=list("abcd"))
    with pytest.raises(GridError, match=r"3 spectra, but labels for \[2\]"):
        read(tmp_path / "short.npz")
    read(folder).write(tmp_path / "own.h5")
    with pytest.raises(GridError, match="SyntheticGrid.open"):
        read(tmp_path / "own.h5")
    table = folder / "spectra_parameters.csv"
    table.write_text(table.read_text().replace("1.spec,0.0", "1.spec,12.0"))
    with pytest.raises(GridError, match="rest frame"):
        read(folder)
    table.unlink()
    with pytest.raises(GridError, match=r"not a grid of TSFitPy.*spectra_parameters.csv"):
        read(folder)


def test_command_line(folder, tmp_path):
    toml = '[[arm]]\nname = "red"\nstart = 6160.0\nstep = 0.1\nn_pixels = 60\nresolving_power = 20000.0\n'
    (tmp_path / "narrow.toml").write_text('name = "narrow"\nmedium = "air"\n' + toml)
    options = [
        "--instrument",
        str(tmp_path / "narrow.toml"),
        "--processes",
        "1",
        "--quiet",
        "-o",
        str(tmp_path / "g.h5"),
    ]
    done = CliRunner().invoke(main, ["convert", str(folder), *options, "--vsini", "0", "5"])
    assert done.exit_code == 0, done.output
    assert SyntheticGrid.open(tmp_path / "g.h5").label_space.names == ("teff", "logg", "fe_h", "ca_fe", "vsini")
    (folder / "2.spec").unlink()
    done = CliRunner().invoke(main, ["convert", str(folder), *options])
    assert done.exit_code == 2 and "1 of 3 spectra" in done.output and "--skip" in done.output
    done = CliRunner().invoke(main, ["convert", str(folder), *options, "--skip"])
    assert done.exit_code == 0 and "left out: 1 missing or empty" in done.output
