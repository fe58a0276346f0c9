"""Published likelihoods, each with the model and the training that obtained it.

``reparam-bench reproduce`` trains them within a budget, and compares obtained and published likelihoods.
"""

from bench.study.config import TrainingConfig
from bench.workflows.published_result import PublishedResult
from models import GlowConfig, VAEConfig

TRAIN_IMAGES = 50_000
"""Training images of binarised MNIST."""
BURDA_EPOCHS = sum(3**stage for stage in range(8))
BURDA = "Burda, Grosse & Salakhutdinov (2016), on the fixed binarisation"
BURDA_DEVIATIONS = (
    "Batches of 100 (published: 20); Adam's epsilon is 1e-7 on the loss in bits/dim, which is 5.4e-5 in nats "
    "(published: 1e-4); the encoder's input is centred; the published split of training data holds the 10,000 "
    "validation images too."
)
BURDA_TRAINING = TrainingConfig(
    learning_rate=1e-3,
    decay="staged",
    clip_norm=0.0,
    batch_size=100,
    images=BURDA_EPOCHS * TRAIN_IMAGES,
    evaluations=40,
)


def _burda(name: str, samples: int, published: float) -> PublishedResult:
    return PublishedResult(
        name=name,
        title=f"{'VAE' if samples == 1 else f'IWAE, k={samples}'}: 200-200 tanh, 50 latents, binarised MNIST",
        dataset="binarized_mnist",
        model=VAEConfig.preset("iwae", training_samples=samples),
        training=BURDA_TRAINING,
        metric="nll_nats",
        published=published,
        importance_samples=5000,
        source=BURDA,
        deviations=BURDA_DEVIATIONS,
    )


PUBLISHED: dict[str, PublishedResult] = {
    published.name: published
    for published in (
        _burda("vae", 1, 88.71),
        _burda("iwae-5", 5, 87.63),
        _burda("iwae-50", 50, 87.10),
        PublishedResult(
            name="vae-400",
            title="VAE: 400 ReLU, 40 latents, binarised MNIST",
            dataset="binarized_mnist",
            model=VAEConfig(hidden_sizes=(400,), latent_size=40),
            training=TrainingConfig(
                learning_rate=1e-3, clip_norm=0.0, batch_size=100, images=500 * TRAIN_IMAGES, evaluations=40
            ),
            metric="nll_nats",
            published=89.8,
            importance_samples=5000,
            source="quoted of this architecture; the publication was not found",
            deviations="Schedule unpublished: constant rate of 1e-3.",
        ),
        PublishedResult(
            name="vae-ours",
            title="Ours: 512-512 SiLU, 50 latents, binarised MNIST",
            dataset="binarized_mnist",
            model=VAEConfig(hidden_sizes=(512, 512), latent_size=50, activation="silu", kl_warmup_steps=5000),
            training=TrainingConfig(
                learning_rate=1e-3,
                decay="cosine",
                weight_average=0.999,
                clip_norm=0.0,
                batch_size=100,
                images=BURDA_EPOCHS * TRAIN_IMAGES,
                evaluations=40,
            ),
            metric="nll_nats",
            published=None,
            importance_samples=5000,
            source="this project",
            deviations="",
        ),
        PublishedResult(
            name="glow-mnist",
            title="Glow: K=32, L=2, width 512, 8-bit MNIST",
            dataset="mnist",
            model=GlowConfig.preset("paper", levels=2, dequantisation="variational"),
            training=TrainingConfig(
                learning_rate=1e-3, warmup_steps=1000, batch_size=64, images=50_000_000, evaluations=100, clip_norm=1.0
            ),
            metric="bits_per_dim",
            published=1.05,
            importance_samples=16,
            source="Grathwohl et al. (2019), table 2",
            deviations="28x28 halves only twice, so L=2; variational dequantisation (Ho et al. 2019); inputs "
            "preprocessed by their marginal.",
        ),
        PublishedResult(
            name="glow-mnist-small",
            title="A small Glow on its way: K=4, L=2, width 64, 8-bit MNIST",
            dataset="mnist",
            model=GlowConfig.preset("small"),
            training=TrainingConfig(
                learning_rate=8e-3, warmup_steps=200, batch_size=64, images=400_000, evaluations=25, weight_average=0.99
            ),
            metric="bits_per_dim",
            published=1.05,
            importance_samples=16,
            source="Grathwohl et al. (2019), table 2, of a far larger Glow",
            deviations="A far smaller network than the published one; its inputs are preprocessed by their marginal.",
        ),
        PublishedResult(
            name="glow-mnist-ours",
            title="Ours: a small Glow, K=8, L=2, width 64, variational dequantisation, 8-bit MNIST",
            dataset="mnist",
            model=GlowConfig.preset("small", flow_depth=8, dequantisation="variational"),
            training=TrainingConfig(
                learning_rate=6e-3,
                warmup_steps=200,
                decay="cosine",
                weight_average=0.995,
                batch_size=64,
                images=240_000,
                evaluations=20,
            ),
            metric="bits_per_dim",
            published=None,
            importance_samples=16,
            source="this project",
            deviations="",
        ),
    )
}
