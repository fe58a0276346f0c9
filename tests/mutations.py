"""Mutation check of the mathematics: break one line at a time, and see that the tests of ``models`` fail.

    KERAS_BACKEND=tensorflow python tests/mutations.py [NAME ...]

Each mutation is applied to a temporary copy of the project, where its test files run until the first failure. The
script ends with 0 only if the unbroken copy passes and every mutant is killed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Mutation(NamedTuple):
    """Replaces ``old`` by ``new`` in ``models/<file>``; ``tests`` are the files of tests/models that must notice."""

    file: str
    old: str
    new: str
    tests: str


COUPLING = "bijections/coupling.py"
CONVOLUTION = "bijections/invertible_convolution.py"
MUTATIONS = {
    "actnorm: sign of the log-det": Mutation(
        "bijections/actnorm.py", "zeros_per_image(x) + log_det", "zeros_per_image(x) - log_det", "bijections"
    ),
    "actnorm: inverse scales the wrong way": Mutation(
        "bijections/actnorm.py", "ops.exp(-self.log_scale) * y", "ops.exp(self.log_scale) * y", "bijections"
    ),
    "convolution: no h·w in the log-det": Mutation(
        CONVOLUTION, "+ height * width * self.log_abs_det()", "+ self.log_abs_det()", "bijections"
    ),
    "convolution: forward not transposed": Mutation(
        CONVOLUTION, "ops.matmul(x, ops.transpose(self.matrix()))", "ops.matmul(x, self.matrix())", "bijections"
    ),
    "coupling: inverse scales the wrong way": Mutation(
        COUPLING, "b * ops.exp(-log_scale) - shift", "b * ops.exp(log_scale) - shift", "bijections"
    ),
    "coupling: sign of the log-det": Mutation(
        COUPLING, "sum_event(log_scale) if self.affine", "-sum_event(log_scale) if self.affine", "bijections"
    ),
    "chain: keeps the last log-det alone": Mutation(
        "bijections/base.py", "log_det = log_det + step_log_det", "log_det = step_log_det", "bijections"
    ),
    "squeeze: inverse swaps rows and columns": Mutation(
        "bijections/squeeze.py", "(0, 1, 4, 2, 5, 3)", "(0, 1, 5, 2, 4, 3)", "bijections"
    ),
    "variational dequantisation: sign of the sigmoid's log-det": Mutation(
        "dequantisation.py",
        "log_q - sum_event(ops.log_sigmoid(v)",
        "log_q + sum_event(ops.log_sigmoid(v)",
        "dequantisation",
    ),
    "variational dequantisation: no h·w": Mutation(
        "dequantisation.py", "height * width * ops.sum(self.log_scale)", "ops.sum(self.log_scale)", "dequantisation"
    ),
    "glow: log-weights without log q": Mutation("glow.py", "log_prob - log_q - self", "log_prob - self", "glow"),
    "glow: no D log Q": Mutation(
        "glow.py", "- self.dimensions * math.log(self.grey_levels)", "- math.log(self.grey_levels)", "glow"
    ),
    "glow: split prior left out": Mutation(
        "glow.py", "log_prob = log_prob + sum_event(prior.log_prob(z))", "_ = prior", "glow"
    ),
    "glow: classes not averaged": Mutation("glow.py", "- math.log(max(self.classes, 1))", "", "glow"),
    "vae: sign of log q in the log-weights": Mutation(
        "vae.py",
        "log_ratio = sum_event(standard_normal_log_prob(z) - posterior.log_prob(z), batch_axes=2)\n        return",
        "log_ratio = sum_event(standard_normal_log_prob(z) + posterior.log_prob(z), batch_axes=2)\n        return",
        "vae",
    ),
    "vae: sign of the KL in the bound": Mutation(
        "vae.py", "reconstruction[0] - kl\n", "reconstruction[0] + kl\n", "vae"
    ),
    "vae: free bits ignored": Mutation(
        "vae.py",
        "ops.maximum(settings.free_bits, ops.mean(kl_by_latent, axis=0))",
        "ops.mean(kl_by_latent, axis=0)",
        "vae",
    ),
    "vae: images and samples out of step": Mutation(
        "vae.py", "ops.tile(images, (k, 1, 1, 1))", "ops.repeat(images, k, axis=0)", "vae"
    ),
    "kl: no log σ": Mutation("distributions.py", "- 1.0) - self.log_scale", "- 1.0)", "distributions"),
    "log-mean-exp: no log k": Mutation("distributions.py", " - math.log(x.shape[axis])", "", "distributions"),
    "reparameterisation: σ squared": Mutation(
        "distributions.py", "ops.exp(log_scale) * noise", "ops.exp(2 * log_scale) * noise", "distributions"
    ),
    "discretised logistic: highest level is no edge": Mutation(
        "distributions.py",
        "above = ops.where(level > grey_levels - 1.5, 0.0, ops.log_sigmoid(upper))",
        "above = ops.log_sigmoid(upper)",
        "distributions",
    ),
    "discretised logistic: quantile one level off": Mutation(
        "distributions.py", "ops.floor(position * grey_levels)", "ops.ceil(position * grey_levels)", "distributions"
    ),
    "mixture: component picked from the wrong end": Mutation(
        "distributions.py", "starts = ends - weights", "starts = ends", "distributions"
    ),
    "units: natural logarithm for bits": Mutation(
        "units.py", "-log_prob / (dimensions * math.log(2.0))", "-log_prob / dimensions", "units"
    ),
}


def run_tests(copy: Path, names: list[str]) -> tuple[bool, str]:
    """Whether the named test files pass in ``copy``, and their last line."""
    files = [f"tests/models/test_{name}.py" for name in names]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    # What JAX compiled of the unbroken lines serves every mutant.
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *files]
    result = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if result.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {result.returncode}:\n{result.stdout[-3000:]}{result.stderr[-3000:]}")
    return result.returncode == 0, (result.stdout.strip().splitlines() or [""])[-1]


def mutated(source: str, mutation: Mutation) -> str:
    """``source`` with the mutation.

    Raises:
        ValueError: the mutation's text does not occur exactly once.
    """
    if source.count(mutation.old) != 1:
        raise ValueError(f"occurs {source.count(mutation.old)} times in models/{mutation.file}: {mutation.old!r}")
    return source.replace(mutation.old, mutation.new)


def main(chosen: list[str]) -> int:
    """Print a line for each mutant, and return the number that survived."""
    mutations = {name: m for name, m in MUTATIONS.items() if not chosen or any(part in name for part in chosen)}
    for mutation in mutations.values():
        mutated((ROOT / "models" / mutation.file).read_text(), mutation)
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy.mkdir()
        for part in ("models", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        passed, summary = run_tests(copy, sorted({m.tests for m in mutations.values()}))
        if not passed:
            raise RuntimeError(f"the unbroken project fails its tests: {summary}")
        for name, mutation in mutations.items():
            file = copy / "models" / mutation.file
            source = file.read_text()
            file.write_text(mutated(source, mutation))
            start = time.perf_counter()
            survived, summary = run_tests(copy, [mutation.tests])
            file.write_text(source)
            survivors += survived
            verdict = "SURVIVED" if survived else "killed"
            print(f"{verdict:8}  {time.perf_counter() - start:5.1f} s  {name}", flush=True)
    print(f"{len(mutations) - survivors} of {len(mutations)} killed")
    return survivors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
