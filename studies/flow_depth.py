"""How deep must a Glow be?

Likelihood against the steps of flow per level; the learning rate is swept too.
"""

from bench import RECIPE, Arm, Integers, Reals, Study
from models import GlowConfig
from studies.cli.main import run_script

STUDY = Study(
    name="flow_depth",
    question="How many steps of flow per level does a Glow need on this data?",
    sampler="qmc",
    arms=(
        Arm(
            GlowConfig.preset("small"),
            sweep={"flow_depth": Integers(1, 16, log=True), "learning_rate": Reals(1e-3, 2e-2, log=True)},
            training=RECIPE,
        ),
    ),
)

if __name__ == "__main__":
    run_script(__file__)
