"""Jet, whole: Kolesnikov, Susano Pinto & Tschannen (2024)."""

from __future__ import annotations

from typing import Any

from keras import ops

from models.base.config import BatchShape, Shape
from models.base.distributions import Tensor, standard_normal_log_prob, sum_event
from models.base.window import window
from models.bijections.coupling_networks import ConditionerNetwork, NetworkOf, network_of
from models.bijections.repeated import Repeated
from models.bijections.squeeze import Squeeze
from models.flows.model import FlowModel
from models.jet.config import JetConfig, activation_bytes
from models.jet.coupling import TokenCoupling
from models.jet.vision_transformer import VisionTransformer


class Jet(FlowModel):
    """Patches become tokens, which K affine couplings map to standard normal noise, all at one scale.

    log p(v) = log N(z; 0, I) + Σ log |det ∂h_i/∂h_{i-1}|, where the first of the h_i are the tokens of the preprocessed
    image. There is no actnorm, no learned mixing of channels and no factoring out; the map begins as the identity.

    Deviations from the paper are those of its couplings (:class:`models.jet.coupling.TokenCoupling`); the preprocessing
    may be other than linear.
    """

    configuration: JetConfig

    def __init__(
        self,
        config: JetConfig | dict[str, Any],
        image_shape: Shape,
        grey_levels: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(config, image_shape, grey_levels, **kwargs)
        settings = self.configuration
        self.patches = Squeeze(window(settings.patch_size, self.image_shape), name="patches")
        self.steps = Repeated(self._coupling, settings.couplings, settings.recompute, name="steps")
        shape: BatchShape = (None, *self.continuous_shape)
        self.steps.build(self.patches.compute_output_shape(shape))
        self.built = True

    def _coupling(self) -> TokenCoupling:
        return TokenCoupling(self.configuration, self._transformer)

    def _transformer(self, channels: int) -> ConditionerNetwork:
        settings = self.configuration
        return VisionTransformer(settings.width, settings.heads, settings.blocks, channels)

    @property
    def dequantisation_network(self) -> NetworkOf:
        """Convolutional networks."""
        kernel = window(3, self.image_shape)
        return network_of("convolutional", self.configuration.dequantisation_channels, blocks=0, size=kernel)

    @property
    def repeated(self) -> list[Repeated]:
        """The couplings."""
        return [self.steps]

    @property
    def last_hidden_channels(self) -> int:
        """The width of the transformers."""
        return self.configuration.width

    @property
    def activation_bytes(self) -> int:
        """What a coupling needs."""
        return activation_bytes(self.configuration, self.image_shape)

    def encode(
        self, v: Tensor, labels: Tensor | None = None, masks: list[Tensor] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """The latents z (n, h/p, w/p, p²·c) of continuous images v (n, h, w, c), in a list, and log p(v) (n,)."""
        y, log_prob = self.preprocessing(v)
        tokens, _ = self.patches(y)
        z, log_det = self.steps.forward(tokens, None if masks is None else masks[0])
        return [z], log_prob + log_det + sum_event(standard_normal_log_prob(z))

    def decode(self, latents: list[Tensor]) -> Tensor:
        """Continuous images v (n, h, w, c) from z, in a list: the exact inverse of :meth:`encode`."""
        return self.preprocessing.inverse(self._images(latents[0]))

    def draw(self, noise: Tensor, temperature: Tensor | float, labels: Tensor | None) -> Tensor:
        """Preprocessed images (n, h, w, c) of z = T·ε."""
        _, height, width, values = self.steps.shape
        return self._images(ops.reshape(temperature * noise, (-1, height, width, values)))

    def _images(self, z: Tensor) -> Tensor:
        return self.patches.inverse(self.steps.inverse(z))
