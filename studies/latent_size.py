"""How many latent variables does a VAE need?

Likelihood against latent size; the learning rate is swept too, as each size has its own best rate.
"""

from bench import RECIPE, Arm, Integers, Reals, Study
from models import VAEConfig
from studies.cli.main import run_script

STUDY = Study(
    name="latent_size",
    question="How many latent variables does a VAE need on this data?",
    sampler="qmc",
    arms=(
        Arm(
            VAEConfig.preset("iwae", activation="relu", latent_size=16, kl_warmup_steps=200),
            sweep={"latent_size": Integers(1, 128, log=True), "learning_rate": Reals(5e-4, 1e-2, log=True)},
            training=RECIPE,
        ),
    ),
)

if __name__ == "__main__":
    run_script(__file__)
