"""Published likelihoods, each with the model and the training that obtained it.

``reparam-bench reproduce`` trains them within a budget, and compares obtained and published likelihoods.
"""

from dataclasses import replace

from bench.study.config import TrainingConfig
from bench.workflows.published_result import PublishedResult
from models import GlowConfig, LadderVAEConfig, VAEConfig

TRAIN_IMAGES = 50_000
"""Training images of binarised MNIST."""
BURDA_EPOCHS = sum(3**stage for stage in range(8))
BURDA_IMAGES = BURDA_EPOCHS * TRAIN_IMAGES
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
    images=BURDA_IMAGES,
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
        published_images=BURDA_IMAGES,
    )


DREG_DEVIATIONS = (
    "The encoder's gradient is doubly reparameterised (Tucker et al. 2019, eq. 8), where the published one is the "
    "bound's own: Tucker et al. show its gain as curves, of an architecture of their own, and give no number for this "
    "one, so that the published value is that of the bound's own gradient. It runs the decoder twice. "
)


def _doubly_reparameterised(samples: int) -> PublishedResult:
    """An IWAE of Burda et al. with the gradient of Tucker et al."""
    iwae = _burda("", samples, {5: 87.63, 50: 87.10}[samples])
    return replace(
        iwae,
        name=f"iwae-{samples}-dreg",
        title=f"{iwae.title}, doubly reparameterised",
        model=VAEConfig.preset("iwae", training_samples=samples, gradient_estimator="doubly_reparameterised"),
        source=f"{BURDA}; gradient: Tucker, Lawson, Gu & Maddison (2019)",
        deviations=DREG_DEVIATIONS + BURDA_DEVIATIONS,
    )


VAMP = "Tomczak & Welling (2018), static MNIST, VAE with one layer of latents"
VAMP_DEVIATIONS = (
    "Log-variances are not clipped (published: to -6..2); pseudo-inputs begin at the mean image, kept 0.05 from the "
    "ends of the range (published: at 0.05 throughout)"
)
OWN_TRAINING = BURDA_TRAINING.model_copy(update={"decay": "cosine", "weight_average": 0.999, "images": 20_000_000})
"""Ours of a VAE on binarised MNIST: that of Burda et al. down a cosine, of an eighth of the images, averaged."""
OWN_WARMUP = 5000
"""Its steps of KL warm-up."""
OWN_FLOW_TRAINING = TrainingConfig(
    learning_rate=6e-3,
    warmup_steps=200,
    decay="cosine",
    weight_average=0.995,
    batch_size=64,
    images=240_000,
    evaluations=20,
)
"""Ours of a flow on 8-bit images."""
OWN_LADDER_TRAINING = TrainingConfig(
    learning_rate=2e-3,
    warmup_steps=500,
    decay="cosine",
    weight_average=0.999,
    weight_decay=0.1,
    batch_size=128,
    images=4_000_000,
    evaluations=40,
)
"""Ours of a ladder VAE."""

PUBLISHED: dict[str, PublishedResult] = {
    published.name: published
    for published in (
        _burda("vae", 1, 88.71),
        _burda("iwae-5", 5, 87.63),
        _burda("iwae-50", 50, 87.10),
        _doubly_reparameterised(5),
        _doubly_reparameterised(50),
        PublishedResult(
            name="vampprior",
            title="VampPrior VAE: 300-300 gated, 40 latents, 500 pseudo-inputs, binarised MNIST",
            dataset="binarized_mnist",
            model=VAEConfig.preset("vamp", input_scaling="unit", kl_warmup_steps=100 * TRAIN_IMAGES // 100),
            training=TrainingConfig(
                learning_rate=5e-4,
                clip_norm=0.0,
                batch_size=100,
                images=2000 * TRAIN_IMAGES,
                evaluations=40,
            ),
            metric="nll_nats",
            published=85.57,
            importance_samples=5000,
            source=VAMP,
            deviations=f"{VAMP_DEVIATIONS}; Adam without their normalisation of each weight's gradient; the best of 40 "
            "evaluations is kept, and training goes to its end (published: it ends after 50 epochs without a better "
            "one). A smaller budget keeps the 50,000 steps of KL warm-up.",
        ),
        PublishedResult(
            name="vampprior-ours",
            title="VampPrior VAE by our training: 300-300 gated, 40 latents, 500 pseudo-inputs, binarised MNIST",
            dataset="binarized_mnist",
            model=VAEConfig.preset("vamp", kl_warmup_steps=OWN_WARMUP),
            training=OWN_TRAINING,
            metric="nll_nats",
            published=85.57,
            importance_samples=5000,
            source=f"{VAMP}, of their training",
            deviations=f"{VAMP_DEVIATIONS}; the encoder's input is centred; 20 million images at a rate of 1e-3 down a "
            "cosine, averaged weights, 5,000 steps of KL warm-up (published: a constant 5e-4, 50,000 steps, early "
            "stopping).",
        ),
        PublishedResult(
            name="flow-prior-ours",
            title="Ours: 300-300 gated, 40 latents, prior of 8 couplings, binarised MNIST",
            dataset="binarized_mnist",
            model=VAEConfig.preset("vamp", prior="flow", prior_couplings=8, kl_warmup_steps=OWN_WARMUP),
            training=OWN_TRAINING,
            metric="nll_nats",
            published=None,
            importance_samples=5000,
            source="this project",
            deviations="",
        ),
        *(
            PublishedResult(
                name=f"{published.name}-cosine",
                title=f"{published.title.replace(':', ' by our training:', 1)}",
                dataset="binarized_mnist",
                model=published.model.model_copy(update={"kl_warmup_steps": warmup}),
                training=OWN_TRAINING.model_copy(update={"learning_rate": 2e-3}),
                metric="nll_nats",
                published=published.published,
                importance_samples=5000,
                source=f"{BURDA}, of their training",
                deviations="20 million images (published: 164 million) at a rate of 2e-3 down a cosine in batches of "
                f"100, averaged weights, {f'{warmup:,} steps of KL warm-up, ' if warmup else ''}the best of 40 "
                "evaluations; the encoder's input is centred; the published split of training data holds the 10,000 "
                "validation images too.",
                published_images=BURDA_IMAGES,
            )
            # An importance-weighted bound has no KL term to weigh.
            for published, warmup in ((_burda("vae", 1, 88.71), OWN_WARMUP), (_doubly_reparameterised(5), 0))
        ),
        PublishedResult(
            name="ladder-vae-ours",
            title="Ladder VAE by our training: 3 layers, 0.97 M weights, binarised MNIST",
            dataset="binarized_mnist",
            model=LadderVAEConfig.preset("small", kl_warmup_steps=2000),
            training=OWN_LADDER_TRAINING,
            metric="nll_nats",
            published=79.24,
            importance_samples=1000,
            source="Dittadi, ladder-vae-pytorch (https://github.com/addtt/ladder-vae-pytorch), of 3 M weights; it "
            "states 79.47 at k = 100 and 82.14 at k = 1",
            deviations="A smaller network, without dropout or stochastic skips; decoupled weight decay, a rate of 2e-3 "
            "down a cosine, averaged weights, 2,000 steps of KL warm-up.",
        ),
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
            model=VAEConfig(hidden_sizes=(512, 512), latent_size=50, activation="silu", kl_warmup_steps=OWN_WARMUP),
            training=OWN_TRAINING,
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
            name="flow-multiscale",
            title="Multi-scale flow: checkerboards and channels, gated residual networks, 8-bit MNIST",
            dataset="mnist",
            model=GlowConfig(
                levels=2,
                flow_depth=2,
                checkerboard_steps=2,
                network="residual",
                blocks=3,
                hidden_channels=48,
                dequantisation="variational",
                dequantisation_depth=4,
            ),
            training=TrainingConfig(
                learning_rate=1e-3, warmup_steps=200, decay="cosine", batch_size=128, images=9_980_000, evaluations=50
            ),
            metric="bits_per_dim",
            published=1.020,
            importance_samples=8,
            source="Lippe (2022), UvA deep learning tutorial 11, multi-scale flow with variational dequantisation, "
            "1.71 M weights",
            deviations="Width 48 throughout (published: 32, 48 and 64 by scale), 1x1 convolutions between couplings, "
            "actnorm, inputs preprocessed by their marginal, a cosine (published: 1 % less each epoch).",
            published_images=9_980_000,
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
            training=OWN_FLOW_TRAINING,
            metric="bits_per_dim",
            published=None,
            importance_samples=16,
            source="this project",
            deviations="",
        ),
        PublishedResult(
            name="glow-fashion-ours",
            title="Ours: a small Glow, K=8, L=2, width 64, variational dequantisation, Fashion-MNIST",
            dataset="fashion_mnist",
            model=GlowConfig.preset("small", flow_depth=8, dequantisation="variational"),
            training=OWN_FLOW_TRAINING,
            metric="bits_per_dim",
            published=2.96,
            importance_samples=16,
            source="Nalisnick et al. (2019)",
            deviations="A far smaller network than the published one; its inputs are preprocessed by their marginal.",
        ),
        PublishedResult(
            name="ladder-fashion-ours",
            title="Ours: ladder VAE of 3 layers, 1.0 M weights, Fashion-MNIST",
            dataset="fashion_mnist",
            model=LadderVAEConfig.preset("small", kl_warmup_steps=2000),
            training=OWN_LADDER_TRAINING.model_copy(update={"images": 1_000_000}),
            metric="bits_per_dim",
            published=None,
            importance_samples=100,
            source="this project",
            deviations="",
        ),
    )
}
