"""VAE or Glow: which is the better likelihood model of this data?

Each arm is swept over what limits it, on validation: the VAE over latent size, kind and width of its networks, and
dropout; the Glow over depth, width, preprocessing and dequantisation; both over learning rate and weight decay. The
best of each is retrained from several seeds and measured on test, both in bits/dim of the same discrete images.
"""

from bench import RECIPE, Arm, Choices, Integers, Reals, Study
from models import GlowConfig, VAEConfig
from studies.cli.main import run_script

DECAYS = Reals(1e-3, 0.3, log=True)

STUDY = Study(
    name="vae_vs_glow",
    question="Is a VAE or a Glow the better likelihood model of this data, and at what size and learning rate?",
    arms=(
        Arm(
            VAEConfig.preset("convolutional", activation="silu", latent_size=16, kl_warmup_steps=200),
            sweep={
                "latent_size": Integers(4, 64, log=True),
                "hidden_channels": Integers(16, 64, log=True),
                "network": Choices(("convolutional", "dense")),
                "dropout": Reals(0.0, 0.2),
                "learning_rate": Reals(5e-4, 1e-2, log=True),
                "weight_decay": DECAYS,
            },
            training=RECIPE.model_copy(update={"learning_rate": 3e-3}),
        ),
        Arm(
            GlowConfig.preset("small", dequantisation="variational"),
            sweep={
                "flow_depth": Integers(2, 8, log=True),
                "hidden_channels": Integers(32, 96, log=True),
                "preprocessing": Choices(("marginal", "logit")),
                "dequantisation": Choices(("uniform", "variational")),
                "learning_rate": Reals(1e-3, 2e-2, log=True),
                "weight_decay": DECAYS,
            },
            training=RECIPE.model_copy(update={"learning_rate": 1e-2}),
        ),
    ),
)

if __name__ == "__main__":
    run_script(__file__)
