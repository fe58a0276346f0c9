"""Which likelihood model suits recordings: give a folder of them as `--dataset path/to/recordings`.

A convolutional VAE and a Glow over the line of samples, with an exact autoregressive network beside them. Levels of
sound have an order: a pixel's observation and dequantisation serve it as they are.
"""

from bench import RECIPE, Arm, Choices, Integers, Reals, Study
from models import AutoregressiveConfig, GlowConfig, VAEConfig
from studies.cli.main import run_script

STUDY = Study(
    name="speech",
    question="Which is the better likelihood model of these recordings, a VAE, a flow or an autoregressive network?",
    arms=(
        Arm(
            VAEConfig.preset("convolutional", activation="silu", latent_size=32, kl_warmup_steps=200),
            sweep={"latent_size": Integers(8, 128, log=True), "learning_rate": Reals(5e-4, 5e-3, log=True)},
            training=RECIPE.model_copy(update={"learning_rate": 2e-3}),
        ),
        Arm(
            GlowConfig.preset("small", dequantisation="variational", levels=3),
            sweep={
                "flow_depth": Integers(2, 8, log=True),
                "preprocessing": Choices(("marginal", "logit")),
                "learning_rate": Reals(1e-3, 1e-2, log=True),
            },
            training=RECIPE.model_copy(update={"learning_rate": 3e-3}),
        ),
        Arm(
            AutoregressiveConfig.preset("sequence"),
            sweep={"hidden_channels": Integers(32, 96, log=True), "learning_rate": Reals(1e-3, 1e-2, log=True)},
            training=RECIPE.model_copy(update={"learning_rate": 3e-3}),
        ),
    ),
)

if __name__ == "__main__":
    run_script(__file__)
