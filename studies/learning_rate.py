"""How sensitive is each arm to its learning rate?

Both arms at a fixed size over three orders of magnitude; rates at which training diverges are part of the answer.
"""

from bench import RECIPE, Arm, Reals, Study
from models import GlowConfig, VAEConfig
from studies.cli.main import run_script

RATES = Reals(1e-4, 1e-1, log=True)

STUDY = Study(
    name="learning_rate",
    question="At which learning rates do a VAE and a Glow train well on this data, and where do they diverge?",
    sampler="qmc",
    arms=(
        Arm(
            VAEConfig.preset("iwae", activation="relu", latent_size=16, kl_warmup_steps=200),
            sweep={"learning_rate": RATES},
            training=RECIPE,
        ),
        Arm(
            GlowConfig.preset("small"),
            sweep={"learning_rate": RATES},
            training=RECIPE,
        ),
    ),
)

if __name__ == "__main__":
    run_script(__file__)
