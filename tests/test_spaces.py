"""Labels, region, grid and observation settings: the bookkeeping that everything else stands on."""

import h5py
import numpy as np
import pytest
import toy
from scipy.stats import kstest

from kcinn.errors import GridError, KcinnError, LabelError
from kcinn.grid import SyntheticGrid
from kcinn.instrument import Instrument
from kcinn.labels import Label, LabelSpace
from kcinn.nn.observe import Observation
from kcinn.region import Region
from kcinn.synthesis.synthesize import LABELS, draw_labels


def test_a_uniform_prior_is_a_standard_normal_in_the_unbounded_space():
    values = toy.SPACE.lower + (toy.SPACE.upper - toy.SPACE.lower) * np.random.default_rng(0).random((4000, 3))
    phi = toy.SPACE.to_unbounded(values)
    assert all(kstest(column, "norm").pvalue > 1e-3 for column in phi.T)
    np.testing.assert_allclose(toy.SPACE.from_unbounded(phi), values, rtol=1e-9)


def test_the_unbounded_space_never_leads_out_of_the_box():
    values = toy.SPACE.from_unbounded([[-1e9] * 3, [1e9] * 3, [0.0] * 3])
    assert np.all(toy.SPACE.contains(values))
    assert np.all(np.isfinite(toy.SPACE.to_unbounded([toy.SPACE.lower, toy.SPACE.upper])))


def test_a_space_without_some_labels_keeps_the_order_of_the_others():
    assert LABELS.without(["fe_h", "teff"]).names[:3] == ("logg", "vmic", "vsini")
    assert LABELS.without([]) == LABELS
    with pytest.raises(LabelError, match=r"'tef'.*teff, logg"):
        LABELS.without(["tef"])


def test_a_narrower_box_of_one_label_leaves_the_others():
    cool = toy.SPACE.within("teff", 4000.0, 4800.0)
    assert (
        cool.labels[0] == Label("teff", "K", 4000.0, 4800.0, r"T_{\rm eff}") and cool.labels[1:] == toy.SPACE.labels[1:]
    )
    for edges in ((3900.0, 4800.0), (4800.0, 4800.0), (4800.0, 7100.0)):
        with pytest.raises(LabelError, match="4000 to 7000 K"):
            toy.SPACE.within("teff", *edges)


def test_label_errors_name_the_valid_labels():
    with pytest.raises(LabelError, match=r"'tef'.*teff, fe_h"):
        toy.SPACE.index("tef")
    with pytest.raises(LabelError, match="lower < upper"):
        Label("teff", "K", 7000.0, 4000.0)
    with pytest.raises(LabelError, match="distinct"):
        LabelSpace([toy.SPACE.labels[0]] * 2)


@pytest.mark.parametrize(
    "star, plausible",
    [
        ({"teff": 5772, "logg": 4.44, "vmic": 1.0}, True),  # the Sun
        ({"teff": 4286, "logg": 1.60, "vmic": 1.7}, True),  # Arcturus
        ({"teff": 6554, "logg": 4.00, "vmic": 1.7}, True),  # Procyon
        ({"teff": 4587, "logg": 1.61, "vmic": 1.9}, True),  # HD 122563
        ({"teff": 4587, "logg": 1.61, "vmic": 1.9, "c_fe": 0.3}, False),  # a carbon star
        ({"teff": 5772, "logg": 4.44, "vmic": 1.0, "c_fe": 0.3}, True),
        ({"teff": 4374, "logg": 4.63, "vmic": 0.8, "fe_h": -0.33}, True),  # 61 Cyg A
        ({"teff": 4050, "logg": 4.70, "vmic": 0.8, "fe_h": 0.3}, False),  # TiO hides its continuum
        ({"teff": 6500, "logg": 1.00, "vmic": 1.9}, False),
        ({"teff": 5772, "logg": 4.44, "vmic": 2.5}, False),
    ],
)
def test_region(star, plausible):
    typical = {"fe_h": -0.5, "vsini": 2.0, "vmac": 3.0, "li_fe": 0.0}
    row = [{**typical, **star}.get(name, 0.0) for name in LABELS.names]
    assert Region().contains([row], LABELS)[0] == plausible


def test_drawn_labels_fill_the_region_and_depend_on_the_seed():
    labels = draw_labels(500, LABELS, Region(), seed=1)
    assert labels.shape == (500, len(LABELS))
    assert np.all(LABELS.contains(labels)) and np.all(Region().contains(labels, LABELS))
    np.testing.assert_array_equal(labels, draw_labels(500, LABELS, Region(), seed=1))
    np.testing.assert_array_equal(labels[:100], draw_labels(100, LABELS, Region(), seed=1))
    assert not np.array_equal(labels, draw_labels(500, LABELS, Region(), seed=2))
    assert kstest(labels[:, LABELS.index("mg_fe")], "uniform", (-0.3, 0.9)).pvalue > 1e-3


def test_principal_components_state_their_error():
    plain = toy.grid(400)
    packed = plain.principal_components(20)
    rms = np.sqrt(np.mean((packed.flux() - plain.flux()) ** 2))
    assert packed.reconstruction_error == pytest.approx(rms, rel=0.02)
    assert rms < 0.02
    weight = toy.INSTRUMENT.pixel_width
    np.testing.assert_allclose(packed.basis * weight @ packed.basis.T, np.eye(20), atol=1e-3)


@pytest.mark.parametrize("components", [None, 20])
def test_grid_file_round_trip(tmp_path, components):
    grid = toy.grid(300) if components is None else toy.grid(300).principal_components(components)
    grid.write(tmp_path / "grid.h5")
    again = SyntheticGrid.open(tmp_path / "grid.h5")
    np.testing.assert_allclose(again.flux(), grid.flux(), atol=2e-4)
    np.testing.assert_array_equal(again.labels, grid.labels)
    assert again.instrument == grid.instrument and again.label_space == grid.label_space
    assert again.metadata == grid.metadata and again.compressed == grid.compressed
    assert [path.name for path in tmp_path.iterdir()] == ["grid.h5"]


def test_split_keeps_stars_together():
    grid = toy.grid(100)
    grid.star = np.repeat(np.arange(50), 2)
    parts = grid.split(0.5, 0.3, 0.2)
    assert sum(map(len, parts)) == 100
    for i, part in enumerate(parts):
        for other in parts[i + 1 :]:
            assert not set(part.star) & set(other.star)


@pytest.mark.parametrize("components", [None, 20])
def test_grid_on_one_of_its_arms(components):
    grid = toy.grid(300) if components is None else toy.grid(300).principal_components(components)
    red = Instrument("red", toy.INSTRUMENT.arms[1:], medium="air")
    part = grid.on(red)
    np.testing.assert_allclose(part.flux(), grid.flux()[:, 256:], atol=1e-4)
    if part.basis is not None:
        norm = part.basis * red.pixel_width @ part.basis.T
        np.testing.assert_allclose(norm, np.diag(np.diag(norm)), atol=1e-3)
    with pytest.raises(GridError, match="does not hold"):
        grid.on(Instrument.load("giraffe-hr15n"))


def cool_grid(n=40, seed=5):
    """Stars of a part of the toy's box, their labels in another order."""
    space = toy.SPACE.within("teff", 4000.0, 4800.0)
    labels = space.lower + (space.upper - space.lower) * np.random.default_rng(seed).random((n, 3))
    order = ["mg_fe", "teff", "fe_h"]
    columns = [space.index(name) for name in order]
    star = np.repeat(np.arange(n // 2), 2)
    metadata = {"engine": "toy"}
    return SyntheticGrid(
        toy.INSTRUMENT, space.subset(order), labels[:, columns], flux=toy.flux(labels), star=star, metadata=metadata
    )


@pytest.mark.parametrize("components", [None, 24])
@pytest.mark.parametrize("components_of_the_other", [None, 24])
def test_joined_grids_hold_the_spectra_of_both(components, components_of_the_other):
    """Whichever is compressed: what is lost is what the components of a grid leave out of its own spectra too."""
    grid, other = toy.grid(300), cool_grid()
    if components:
        grid = grid.principal_components(components)
    if components_of_the_other:
        other = other.principal_components(components_of_the_other)
    both = grid.joined(other)
    assert both.label_space == toy.SPACE and len(both) == 340 and both.compressed == bool(components)
    np.testing.assert_array_equal(both.flux(slice(0, 300)), grid.flux())
    np.testing.assert_array_equal(both.labels[300:, 0], other.labels[:, 1])
    difference = both.flux(slice(300, 340)) - other.flux()
    assert np.sqrt(np.mean(difference**2)) <= 3.0 * grid.reconstruction_error
    assert len(np.unique(both.star)) == 320 and not set(both.star[:300]) & set(both.star[300:])


def test_grids_that_cannot_be_joined_are_refused():
    grid, other = toy.grid(30), cool_grid()
    with pytest.raises(GridError, match="outside the box"):
        other.joined(grid)
    for changed, reason in (
        (grid.on(Instrument("blue", toy.INSTRUMENT.arms[:1], medium="air")), "pixels"),
        (SyntheticGrid(toy.INSTRUMENT, toy.SPACE, grid.labels, flux=grid.flux()), "engine toy"),
        (
            SyntheticGrid(toy.INSTRUMENT, toy.SPACE.without(["teff"]), grid.labels[:, 1:], flux=grid.flux()),
            "same labels",
        ),
    ):
        with pytest.raises(GridError, match=reason):
            grid.joined(changed)


def test_files_that_are_no_grid(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "kcinn-grid/99"
    toy.grid(50).write(tmp_path / "whole.h5")
    whole = (tmp_path / "whole.h5").read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    for name, reason in (("text", "readable"), ("other", "kcinn-grid/99"), ("half", "readable"), ("absent", "no such")):
        with pytest.raises(GridError, match=reason):
            SyntheticGrid.open(tmp_path / f"{name}.h5")


def test_labels_outside_their_box_are_refused():
    grid = toy.grid(20)
    with pytest.raises(GridError, match="have labels outside the box"):
        SyntheticGrid(toy.INSTRUMENT, toy.SPACE.within("teff", 4000.0, 5000.0), grid.labels, flux=grid.flux())


def test_no_more_components_than_pixels():
    blue = toy.grid(600).on(Instrument("blue", toy.INSTRUMENT.arms[:1], medium="air"))
    compressed = blue.principal_components(400)
    assert compressed.coefficients.shape[1] == 256 and compressed.reconstruction_error < 1e-4


def test_grids_that_do_not_fit_are_refused():
    flux = toy.flux([[5000.0, 0.0, 0.0]])
    with pytest.raises(GridError, match="n_rows"):
        SyntheticGrid(toy.INSTRUMENT, toy.SPACE, [[5000.0, 0.0]], flux=flux)
    with pytest.raises(GridError, match="512 pixels"):
        SyntheticGrid(toy.INSTRUMENT, toy.SPACE, [[5000.0, 0.0, 0.0]], flux=flux[:, :-1])
    flux[0, 3] = np.nan
    with pytest.raises(GridError, match="finite; 1 values"):
        SyntheticGrid(toy.INSTRUMENT, toy.SPACE, [[5000.0, 0.0, 0.0]], flux=flux)


@pytest.mark.parametrize(
    "wrong", [{"snr": (0.0, 10.0)}, {"snr": (20.0, 10.0)}, {"missing_arms": 1.5}, {"velocity": 11.0}]
)
def test_observation_settings_are_checked(wrong):
    with pytest.raises((ValueError, KcinnError), match=next(iter(wrong))):
        Observation(**wrong)
