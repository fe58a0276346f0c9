"""Calculus on either backend, and the notation of these tests: ``array`` leaves it, ``normal`` enters it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def array() -> Callable[[Any], np.ndarray]:
    """A tensor as a NumPy array."""
    from keras import ops

    return ops.convert_to_numpy


@pytest.fixture
def normal() -> Callable[..., Any]:
    """Standard normal noise of a shape as a tensor of Keras's default floating type."""
    import keras

    def draw(*shape: int, seed: int = 0) -> Any:
        noise = np.random.default_rng(seed).standard_normal(shape)
        return keras.ops.convert_to_tensor(noise, dtype=keras.config.floatx())

    return draw


@pytest.fixture
def compiled() -> Callable[[Callable], Callable]:
    """A function of arrays compiled where that is quick: JAX would compile each of its operations on its own."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return jax.jit
    return lambda function: function


@pytest.fixture
def check_probabilities(normal, compiled, array) -> Callable[..., None]:
    """That a model of two latents gives all images probabilities of sum 1, and that importance sampling finds each."""

    def check(
        model: Any, images: np.ndarray, likelihood: Any, weights: np.ndarray, k: int, error: float, rtol: float
    ) -> None:
        """``likelihood`` is p(x | z) at points z whose weights in ∫ p(z) dz are ``weights``."""
        given_z = np.exp([array(likelihood.log_prob(image[None])).sum(axis=(1, 2, 3)) for image in images])
        p = given_z @ weights
        assert p.sum() == pytest.approx(1, rel=rtol)
        assert p.std() > 0.01
        w = np.exp(array(compiled(model.log_weights)(images, normal(k, len(images), 2))))
        errors = w.std(axis=0) / np.sqrt(k)
        assert (errors < error * p).all()
        assert (np.abs(w.mean(axis=0) - p) < 4.5 * errors).all()
        assert w.mean(axis=0).sum() == pytest.approx(1, abs=4.5 * np.sqrt((errors**2).sum()))

    return check


@pytest.fixture
def gradient() -> Callable[..., np.ndarray]:
    """∂ Σf/∂x by automatic differentiation."""
    import keras

    def of(function: Callable[[Any], Any], x: Any) -> np.ndarray:
        x = keras.ops.convert_to_tensor(x)
        if keras.backend.backend() == "jax":
            import jax

            return np.asarray(jax.jit(jax.grad(lambda x: function(x).sum()))(x))
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x).numpy()

    return of


@pytest.fixture
def jacobian_log_det() -> Callable[..., np.ndarray]:
    """log |det ∂f/∂x| of each image, from the full Jacobian of a map of batches (n, ...) to (n, ...)."""
    import keras

    def of(function: Callable[[Any], Any], x: Any) -> np.ndarray:
        n, dimensions = x.shape[0], int(np.prod(x.shape[1:]))
        if keras.backend.backend() == "jax":
            import jax

            jacobians = jax.jit(jax.vmap(jax.jacrev(lambda image: function(image[None])[0])))(x)
        else:
            import tensorflow as tf

            # An image once for each of its outputs: one backward pass has every row, and none is traced.
            copies = tf.repeat(x, dimensions, axis=0)
            with tf.GradientTape() as tape:
                tape.watch(copies)
                own = tf.linalg.trace(tf.reshape(function(copies), (n, dimensions, dimensions)))
            jacobians = tape.gradient(own, copies)
        return np.linalg.slogdet(np.reshape(jacobians, (n, dimensions, dimensions)))[1]

    return of
