"""A study of which some trials diverge: Adam takes steps as long as its learning rate."""

from bench import Arm, Choices, Integers, Study, TrainingConfig
from models import GlowConfig, VAEConfig
from studies.cli.main import run_script

RATES = Choices((1e-3, 1e9))
STUDY = Study(
    name="with_failures",
    question="How does a report show trials that failed?",
    arms=(
        Arm(
            VAEConfig(latent_size=2, hidden_sizes=(16,)),
            sweep={"learning_rate": RATES, "latent_size": Integers(2, 4)},
            training=TrainingConfig(),
        ),
        Arm(
            GlowConfig(flow_depth=1, levels=1, hidden_channels=8),
            sweep={"learning_rate": RATES},
            training=TrainingConfig(),
        ),
    ),
    sampler="random",
)

if __name__ == "__main__":
    run_script(__file__)
