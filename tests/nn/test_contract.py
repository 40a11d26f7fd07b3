"""The contract that every step, base and flow keeps, on whichever backend is active."""

import cases
import keras
import numpy as np
import pytest
from autodiff import evaluate, gradients, log_abs_det_jacobian

from kcinn.errors import KcinnError
from kcinn.nn import AffineCoupling, Compiled, ConditionalFlow, SplineCoupling


@pytest.fixture(params=cases.STEPS)
def step(request):
    return cases.make_step(request.param)


@pytest.fixture(params=cases.FLOWS)
def flow(request):
    return cases.make_flow(request.param)


def draw_for(step, n=16, scale=1.0):
    return cases.draw(n, step.n_labels, step.n_conditioned, scale)


def test_step_inverse_undoes_call(step):
    theta, conditioned = draw_for(step)
    z, log_det = evaluate(step, theta, conditioned)
    again, inverse_log_det = evaluate(step.inverse, z, conditioned)
    assert np.abs(z - theta).max() > 0.1
    np.testing.assert_allclose(again, theta, atol=1e-5)
    np.testing.assert_allclose(log_det, -inverse_log_det, atol=1e-4)


def test_step_log_det_is_that_of_the_jacobian(step):
    theta, conditioned = draw_for(step)
    log_det = evaluate(step, theta, conditioned)[1]
    expected = log_abs_det_jacobian(lambda values: step(values, conditioned)[0], theta)
    np.testing.assert_allclose(np.broadcast_to(log_det, expected.shape), expected, atol=1e-4)


@pytest.mark.parametrize("name", [*cases.STEPS, *cases.BASES])
def test_layer_config_round_trip(name):
    layer = cases.make_step(name)
    twin = type(layer).from_config(layer.get_config())
    twin.build((None, layer.n_labels))
    twin.set_weights(layer.get_weights())
    outputs, twin_outputs = (keras.tree.flatten(evaluate(item, *draw_for(layer))) for item in (layer, twin))
    for one, other in zip(outputs, twin_outputs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("coupling", [AffineCoupling, SplineCoupling])
def test_a_new_coupling_is_the_identity(coupling):
    layer = coupling(4, width=16)
    layer.build((None, 4))
    theta, conditioned = draw_for(layer)
    z, log_det = evaluate(layer, theta, conditioned)
    np.testing.assert_allclose(z, theta, atol=1e-5)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-5)


def test_spline_is_the_identity_outside_its_bound():
    layer = cases.make_step("spline-even")
    theta, conditioned = draw_for(layer)
    far = np.sign(theta) * (layer.bound + np.abs(theta))
    z, log_det = evaluate(layer, far, conditioned)
    np.testing.assert_array_equal(z, far)
    np.testing.assert_array_equal(log_det, 0.0)


def test_spline_is_monotone_and_continuous_across_bins_and_bound():
    layer = cases.make_step("spline-one")
    theta = np.linspace(-6.0, 6.0, 4001, dtype="float32")[:, None]
    z, _ = evaluate(layer, theta, draw_for(layer, n=1)[1])
    rise = np.diff(z[:, 0])
    assert np.all(rise > 0)
    assert rise.max() < 0.3  # the mean rise is 0.003; a jump would be of the order of a bin


def test_flow_inverse_undoes_call(flow):
    theta, context = cases.draw(16, flow.n_labels)
    z, log_det = evaluate(lambda theta, context: flow.to_latent(theta, flow.condition(context)), theta, context)
    again, inverse_log_det = evaluate(lambda z, context: flow.from_latent(z, flow.condition(context)), z, context)
    np.testing.assert_allclose(again, theta, atol=1e-5)
    np.testing.assert_allclose(log_det, -inverse_log_det, atol=1e-4)


def test_flow_log_det_is_that_of_the_jacobian(flow):
    theta, context = cases.draw(16, flow.n_labels)

    def to_latent(values):
        return flow.to_latent(values, flow.condition(context))

    expected = log_abs_det_jacobian(lambda values: to_latent(values)[0], theta)
    np.testing.assert_allclose(evaluate(to_latent, theta)[1], expected, atol=1e-4)


def test_extreme_input_gives_finite_values_and_gradients(flow):
    theta, context = cases.draw(16, flow.n_labels)
    scale = np.repeat([1e-3, 1e3], 8)[:, None].astype("float32")
    theta, context = scale * theta, scale[::-1] * context
    theta[0], theta[1] = 5.0, -5.0  # on the bound of a spline

    def density_and_samples(theta, context):
        return flow.log_density(theta, context)[:, None] + flow.transform(theta, context)

    assert np.all(np.isfinite(evaluate(density_and_samples, theta, context)))
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients(density_and_samples, theta, context))


def test_a_context_serves_many_samples_as_it_serves_one(flow):
    theta, context = cases.draw(16, flow.n_labels)
    samples = theta.reshape(4, 4, flow.n_labels)
    tiled = np.repeat(context[:4], 4, axis=0)
    for function in (flow.log_density, flow.transform):
        at_once, one_by_one = evaluate(function, samples, context[:4]), evaluate(function, theta, tiled)
        np.testing.assert_allclose(at_once.reshape(one_by_one.shape), one_by_one, atol=1e-4)


def test_density_integrates_to_one():
    flow = cases.make_flow("spline-permutation", n_labels=2)
    axis = np.linspace(-12.0, 12.0, 201, dtype="float32")
    theta = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(1, -1, 2)
    density = np.exp(evaluate(flow.log_density, theta, cases.draw(1, 2)[1]))
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("transform", ["affine", "spline"])
def test_mixed_precision_keeps_the_labels_in_float32(transform):
    flow = cases.make_flow(f"{transform}-orthogonal", base="conditional", dtype="mixed_bfloat16")
    theta, context = cases.draw(16, 4)
    z, log_det = evaluate(lambda theta, context: flow.to_latent(theta, flow.condition(context)), theta, context)
    again, _ = evaluate(lambda z, context: flow.from_latent(z, flow.condition(context)), z, context)
    log_density = evaluate(flow.log_density, theta, context)
    assert {item.dtype for item in (z, log_det, again, log_density)} == {np.dtype("float32")}
    assert np.median(np.abs(again - theta)) < 1e-6  # bfloat16 labels would be off by 4e-3


def test_log_prob_and_sample_on_arrays_of_any_length():
    flow = cases.make_flow("affine-permutation", base="conditional")
    theta, context = cases.draw(70, 4)
    expected = evaluate(flow.log_density, theta, context)
    for n in (70, 5, 1, 0):
        np.testing.assert_allclose(flow.log_prob(theta[:n], context[:n]), expected[:n], atol=1e-4)
    samples = flow.sample(context, n_samples=9, seed=4)
    assert samples.shape == (70, 9, 4)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples[:5], flow.sample(context[:5], n_samples=9, seed=4), atol=1e-5)
    np.testing.assert_allclose(samples[:5, :3], flow.sample(context[:5], n_samples=3, seed=4), atol=1e-5)
    np.testing.assert_array_equal(samples, flow.sample(context, n_samples=9, seed=4))
    assert np.abs(samples - flow.sample(context, n_samples=9, seed=5)).min(axis=(1, 2)).max() > 0.0
    assert flow.sample(context[:0], n_samples=9).shape == (0, 9, 4)


def test_more_samples_than_one_call_takes(monkeypatch):
    flow = cases.make_flow()
    _, context = cases.draw(3, 4)
    whole = flow.sample(context, n_samples=21, seed=1)
    monkeypatch.setattr("kcinn.nn.flow.POINTS_PER_CALL", 8)
    np.testing.assert_allclose(flow.sample(context, n_samples=21, seed=1), whole, atol=1e-5)


def test_samples_follow_the_density():
    flow = cases.make_flow("affine-orthogonal")
    _, context = cases.draw(1, 4)
    samples = flow.sample(context, n_samples=4000, seed=0)
    z, _ = evaluate(lambda theta, context: flow.to_latent(theta, flow.condition(context)), samples[0], context)
    # The interquartile range of a Student t with 5 degrees of freedom is 1.4534.
    np.testing.assert_allclose(np.subtract(*np.percentile(z, [75, 25], axis=0)), 1.4534, rtol=0.08)


def test_saved_flow_gives_the_same_density(tmp_path):
    flow = cases.make_flow("spline-orthogonal", base="conditional", actnorm=True, seed=5)
    flow.save(tmp_path / "flow.keras")
    twin = keras.saving.load_model(tmp_path / "flow.keras")
    theta, context = cases.draw(8, 4)
    np.testing.assert_array_equal(flow.log_prob(theta, context), twin.log_prob(theta, context))
    assert twin.get_config() == flow.get_config()


def test_fit_lowers_the_loss_and_later_calls_see_the_new_weights():
    theta, context = cases.draw(256, 2)
    theta = 0.1 * theta + context[:, :2]
    keras.utils.set_random_seed(0)
    flow = ConditionalFlow(n_labels=2, depth=1, width=16)
    before = flow.log_prob(theta, context)
    flow.compile(optimizer=keras.optimizers.Adam(1e-2), jit_compile=False)
    losses = flow.fit({"theta": theta, "context": context}, epochs=8, batch_size=64, verbose=0).history["loss"]
    after = flow.log_prob(theta, context)
    assert losses[0] == pytest.approx(-before.mean(), abs=0.5)
    assert after.mean() > before.mean() + 1.0
    np.testing.assert_allclose(after, evaluate(flow.log_density, theta, context), atol=1e-4)


def test_sample_weight_weighs_the_loss():
    log_density, weight = np.arange(8, dtype="float32"), np.linspace(0.0, 2.0, 8, dtype="float32")
    loss = cases.make_flow().compute_loss(y_pred=keras.ops.convert_to_tensor(log_density), sample_weight=weight)
    assert float(keras.ops.convert_to_numpy(loss)) == pytest.approx(-np.mean(weight * log_density))


def test_compiled_takes_and_gives_nested_arrays_and_compiles_once():
    dense = keras.layers.Dense(2, kernel_initializer="ones")
    dense.build((None, 3))
    traced = []

    def function(inputs, scale):
        traced.append(inputs["a"].shape)
        return {"product": dense(inputs["a"]) * scale, "pair": (inputs["b"], inputs["b"] + 1.0)}

    compiled = Compiled(function, dense)
    a, b, scale = np.ones((7, 3), "float32"), np.arange(7.0, dtype="float32"), np.full((7, 1), 2.0, "float32")
    for n_rows in (7, 5):
        result = compiled.in_chunks(4, {"a": a[:n_rows], "b": b[:n_rows]}, scale[:n_rows])
        np.testing.assert_allclose(result["product"], np.full((n_rows, 2), 6.0))
        np.testing.assert_array_equal(result["pair"][1], b[:n_rows] + 1.0)
    assert all(tuple(shape) == (4, 3) for shape in traced)
    if keras.backend.backend() != "torch":  # which runs the function itself at every call
        assert len(traced) == 1
    dense.kernel.assign(2.0 * np.ones((3, 2)))
    np.testing.assert_allclose(compiled({"a": a[:4], "b": b[:4]}, scale[:4])["product"], np.full((4, 2), 12.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 64}, "Valid arguments: .*width.*Received: widht"),
        ({"transform": "planar"}, "'affine', 'spline'.*Received: transform='planar'"),
        ({"mixing": "random"}, "'permutation', 'orthogonal'.*Received: mixing='random'"),
        ({"base": "uniform"}, "'normal', 'student_t', 'conditional'.*Received: base='uniform'"),
        ({"activation": "rleu"}, "'relu'.*Received: activation='rleu'"),
        ({"n_labels": 0}, "at least 1.*Received: n_labels=0"),
        ({"depth": 0}, "at least 1.*Received: depth=0"),
        ({"transform": "spline", "bins": 1}, "bins >= 2.*Received: bins=1"),
    ],
)
def test_unknown_names_and_sizes_are_refused(options, message):
    with pytest.raises(KcinnError, match=message):
        ConditionalFlow(**options)


def test_arrays_that_do_not_fit_are_refused():
    flow = cases.make_flow()
    theta, context = cases.draw(5, 4)
    with pytest.raises(KcinnError, match=r"theta must have the shape \(5, 4\).*Received: \(5, 3\)"):
        flow.log_prob(theta[:, :3], context)
    with pytest.raises(KcinnError, match=r"theta must have the shape \(5, 4\).*Received: \(4, 4\)"):
        flow.log_prob(theta[:4], context)
    with pytest.raises(KcinnError, match=r"context must have the shape \(n, 3\).*Received: \(5, 2\)"):
        flow.sample(context[:, :2])
    with pytest.raises(KcinnError, match=r"context must be finite.*Received: 1 values"):
        flow.sample(np.where(np.arange(3) == 1, np.nan, context[:1]))
    with pytest.raises(KcinnError, match=r"seed must be between.*Received: seed=-1"):
        flow.sample(context, n_samples=2, seed=-1)
    with pytest.raises(KcinnError, match=r"n_samples must not be negative.*Received: n_samples=-2"):
        flow.sample(context, n_samples=-2)
