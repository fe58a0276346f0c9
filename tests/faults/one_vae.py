"""A study of one small VAE, for faults in a search by rungs that really trains."""

from bench.study.config import TrainingConfig
from bench.study.definition import Arm, Study
from bench.study.search_space import Integers, Reals
from models.vae.config import VAEConfig

STUDY = Study(
    name="one-vae",
    question="Does a trial that is continued equal one that never stopped?",
    arms=(
        Arm(
            VAEConfig(hidden_sizes=(64,), latent_size=4),
            sweep={"latent_size": Integers(2, 8), "learning_rate": Reals(3e-4, 3e-3, log=True)},
            training=TrainingConfig(
                batch_size=8, decay="plateau", patience=10, weight_average=0.9, warmup_steps=50, rescues=1
            ),
        ),
    ),
)
