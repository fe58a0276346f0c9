"""A strong VAE against a strong flow, each trained for minutes.

Nothing is swept: each arm has the architecture of a recipe of `reparam-bench reproduce`, and its training with fewer
images. The VAE is a ladder of three layers of latents, the flow a Glow of two levels with variational dequantisation:
height and width of the images must be divisible by 4. Their budgets were chosen by the speeds seen on one core, about
620 and 520 images of 28x28 a second, for equal times of some 6.5 minutes; the report says what each took.
"""

from bench import Arm, Study
from studies.cli.main import run_script
from studies.published import PUBLISHED

LADDER_VAE, GLOW = (PUBLISHED[name] for name in ("ladder-vae-ours", "glow-mnist-ours"))

STUDY = Study(
    name="strong_arms",
    question="Which is the better likelihood model after minutes of training, a strong VAE or a strong flow?",
    arms=(
        Arm(
            LADDER_VAE.model.model_copy(update={"kl_warmup_steps": 500}),
            training=LADDER_VAE.training.model_copy(
                update={"images": 240_000, "batch_size": 64, "evaluations": 20, "warmup_steps": 200}
            ),
        ),
        Arm(GLOW.model, training=GLOW.training.model_copy(update={"images": 200_000})),
    ),
)

if __name__ == "__main__":
    run_script(__file__)
