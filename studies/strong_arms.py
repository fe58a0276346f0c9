"""A strong VAE against a strong flow, in equal time on two processor cores.

Nothing is swept: each arm has the architecture and training of a recipe of `reparam-bench reproduce`. The VAE is a
ladder of three layers of latents, the flow a Glow with variational dequantisation. Their budgets, in images, take about
equal times on two cores: with two seeds about half an hour in all for images of 28x28.
"""

from bench import Arm, Study, TrainingConfig
from models import GlowConfig, LadderVAEConfig
from studies.cli.main import run_script

STUDY = Study(
    name="strong_arms",
    question="Which is the better likelihood model in equal time, a strong VAE or a strong flow?",
    arms=(
        Arm(
            LadderVAEConfig.preset("small", kl_warmup_steps=500),
            training=TrainingConfig(
                learning_rate=2e-3,
                warmup_steps=200,
                decay="cosine",
                weight_average=0.995,
                weight_decay=0.1,
                batch_size=64,
                images=400_000,
                evaluations=20,
            ),
        ),
        Arm(
            GlowConfig.preset("small", flow_depth=8, dequantisation="variational"),
            training=TrainingConfig(
                learning_rate=6e-3,
                warmup_steps=200,
                decay="cosine",
                weight_average=0.995,
                weight_decay=0.1,
                batch_size=64,
                images=90_000,
                evaluations=20,
            ),
        ),
    ),
)

if __name__ == "__main__":
    run_script(__file__)
