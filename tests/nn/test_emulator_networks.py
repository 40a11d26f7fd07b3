"""The emulator's layer: its Jacobian against automatic derivatives, and what the networks of elements may see."""

import autodiff
import keras
import numpy as np
import pytest
from keras import ops

from kcinn.nn.emulator import Emulator

LABELS, COMPONENTS, ELEMENTS = 5, 7, (3, 1)  # elements are neither last nor in order
PHI = np.random.default_rng(0).normal(size=(6, LABELS)).astype("f4")


def made(elements=ELEMENTS):
    keras.utils.set_random_seed(1)
    bends = [0.3, 0.0, 0.0, 0.0, 0.5]
    return Emulator(LABELS, 20, COMPONENTS, width=12, depth=2, element_width=6, elements=elements, bends=bends)


@pytest.mark.parametrize("elements", [(), ELEMENTS])
def test_jacobian_is_the_automatic_derivative(elements):
    emulator = made(elements)
    for weight in emulator.trainable_weights:
        weight.assign_add(0.1 * keras.random.normal(weight.shape, seed=2))
    coefficients, jacobian = autodiff.evaluate(emulator.linearise, PHI)
    np.testing.assert_allclose(coefficients, autodiff.evaluate(emulator, PHI), rtol=0, atol=1e-5)
    for k in range(COMPONENTS):
        (gradient,) = autodiff.gradients(lambda phi, k=k: emulator(phi)[:, k], PHI)
        np.testing.assert_allclose(jacobian[:, :, k], gradient, rtol=0, atol=1e-5)


def test_networks_of_elements_do_not_see_each_other():
    """Without the network of all labels, one abundance changes the spectrum alike whatever the other abundance is,
    but not alike whatever the atmosphere is."""
    emulator = made()
    emulator.kernels[-1].assign(np.zeros((12, COMPONENTS)))

    def change(phi, label):
        moved = phi.copy()
        moved[:, label] += 0.5
        return ops.convert_to_numpy(emulator(moved) - emulator(phi))

    for element, other in (ELEMENTS, ELEMENTS[::-1]):
        elsewhere, hotter = PHI.copy(), PHI.copy()
        elsewhere[:, other] -= 1.0
        hotter[:, 0] += 1.0
        own = change(PHI, element)
        np.testing.assert_allclose(change(elsewhere, element), own, rtol=0, atol=1e-5)
        assert np.abs(own).max() > 0.05 and np.abs(change(hotter, element) - own).max() > 0.01


@pytest.mark.parametrize("elements", [(1, 1), (5,), (-1,)])
def test_elements_that_are_no_labels(elements):
    with pytest.raises(ValueError, match="distinct numbers of the 5 labels"):
        made(elements)
