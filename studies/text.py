"""Which likelihood model suits a text: give it as `--dataset path/to/text.txt`, or take `python_topics`.

A recurrent VAE, whose decoder writes symbol after symbol, against a flow that encodes symbols as points (categorical
normalising flows), with an exact autoregressive network beside them. Symbols have no order: encoders see them one-hot.
"""

from bench import RECIPE, Arm, Integers, Reals, Study
from models import AutoregressiveConfig, GlowConfig, VAEConfig
from studies.cli.main import run_script

STUDY = Study(
    name="text",
    question="Which is the better likelihood model of this text, a recurrent VAE, a flow or an autoregressive network?",
    arms=(
        Arm(
            VAEConfig.preset("recurrent", input_scaling="one_hot", latent_size=16, kl_warmup_steps=500),
            sweep={"latent_size": Integers(4, 64, log=True), "learning_rate": Reals(1e-3, 1e-2, log=True)},
            training=RECIPE.model_copy(update={"learning_rate": 3e-3}),
        ),
        Arm(
            GlowConfig(dequantisation="categorical", encoding_channels=6, levels=2, flow_depth=4, hidden_channels=64),
            sweep={"flow_depth": Integers(2, 6), "learning_rate": Reals(1e-3, 1e-2, log=True)},
            training=RECIPE.model_copy(update={"learning_rate": 3e-3}),
        ),
        Arm(
            AutoregressiveConfig.preset("sequence", input_scaling="one_hot"),
            sweep={"hidden_channels": Integers(32, 96, log=True), "learning_rate": Reals(1e-3, 1e-2, log=True)},
            training=RECIPE.model_copy(update={"learning_rate": 3e-3}),
        ),
    ),
)

if __name__ == "__main__":
    run_script(__file__)
