"""Mutation check of the mathematics: break one line at a time, and see that the tests fail.

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
    """Replaces ``old`` by ``new`` in ``file``; ``tests`` is the file under tests/, without suffix, that must notice."""

    file: str
    old: str
    new: str
    tests: str


COUPLING = "models/bijections/coupling.py"
ELEMENTWISE = "models/bijections/elementwise.py"
CONVOLUTION = "models/bijections/invertible_convolution.py"
STEP = "models/bijections/flow_step.py"
REPEATED = "models/bijections/repeated.py"
FLOW = "models/flows/model.py"
CHECKPOINT = "bench/training/checkpoint.py"
KEPT = "bench/training/kept_state.py"
TRAINING = "bench/training/loop.py"
PREPROCESSING = "models/bijections/preprocessing.py"
PRIORS = "models/vae/priors.py"
MASKED = "models/autoregressive/masked_convolution.py"
LADDER = "models/ladder_vae/model.py"
ENCODING = "models/flows/categorical_encoding.py"
RECURRENT = "models/vae/recurrent.py"
SEQUENCES = "bench/core/sequences.py"
WINDOWS = "bench/data/test_windows"
MUTATIONS = {
    "encoding: a density without its scale": Mutation(
        ENCODING,
        "- ops.sum(self.log_scale, axis=-1) - constant",
        "- constant",
        "models/flows/test_categorical_encoding",
    ),
    "encoding: the share of the symbol itself is left out": Mutation(
        ENCODING,
        "sum_event(log_sum_exp(joint) - of_x)",
        "sum_event(log_sum_exp(joint))",
        "models/flows/test_categorical_encoding",
    ),
    "encoding: a sample's symbols are drawn by the noise of its points": Mutation(
        FLOW,
        "noise[:, : self.drawn_symbols], noise[:, self.drawn_symbols :]",
        "noise[:, -self.drawn_symbols :], noise[:, self.drawn_symbols :]",
        "models/flows/test_categorical_encoding",
    ),
    "recurrent: a value sees itself": Mutation(
        RECURRENT,
        "before = ops.concatenate([ops.zeros_like(seen[:, :1]), seen[:, :-1]], axis=1)",
        "before = seen",
        "models/vae/test_recurrent",
    ),
    "recurrent: z is no input beside the values": Mutation(
        RECURRENT, "+ beside[:, None]", "", "models/vae/test_recurrent"
    ),
    "recurrent: no reset gate": Mutation(RECURRENT, "+ reset * (hidden", "+ (hidden", "models/vae/test_recurrent"),
    "autoregressive: the gradient of dilated taps goes elsewhere": Mutation(
        MASKED,
        "2 * r - j : 2 * r - j + width",
        "r - j // 2 : r - j // 2 + width",
        "models/autoregressive/test_autoregressive",
    ),
    "lines: windows of several rows": Mutation(
        "models/base/window.py", "1 if image_shape[0] == 1 else size", "size", "models/test_lines"
    ),
    "autoregressive: a value sees itself": Mutation(
        MASKED,
        "inputs[:, None] < outputs if",
        "inputs[:, None] <= outputs if",
        "models/autoregressive/test_autoregressive",
    ),
    "autoregressive: kind B loses its own group": Mutation(
        MASKED,
        "else inputs[:, None] <= outputs",
        "else inputs[:, None] < outputs",
        "models/autoregressive/test_autoregressive",
    ),
    "autoregressive: rows are not moved up before the next": Mutation(
        "models/autoregressive/model.py",
        "ops.concatenate([rows[:, 1:], ops.zeros_like(rows[:, :1])], axis=1)",
        "1.0 * rows",
        "models/autoregressive/test_autoregressive",
    ),
    "patches: the gradient goes to other columns": Mutation(
        MASKED, "2 * r - j : 2 * r - j + width", "j : j + width", "models/autoregressive/test_autoregressive"
    ),
    "ladder: the posterior's scale has the wrong sign": Mutation(
        LADDER,
        "ops.square(u)) + posterior.log_scale",
        "ops.square(u)) - posterior.log_scale",
        "models/ladder_vae/test_ladder_vae",
    ),
    "ladder: free bits go by image": Mutation(
        LADDER,
        "ops.sum(ops.maximum(self.configuration.free_bits, ops.mean(kl_by_layer, axis=0)))",
        "ops.sum(ops.maximum(self.configuration.free_bits, kl_by_layer), axis=1)",
        "models/ladder_vae/test_ladder_vae",
    ),
    "ladder: the posterior does not see the layers above": Mutation(
        "models/ladder_vae/networks.py",
        "flat(seen + features)",
        "flat(0 * seen + features)",
        "models/ladder_vae/test_ladder_vae",
    ),
    "likelihood: an exact one is sampled": Mutation(
        "bench/evaluation/likelihood.py",
        "        importance_samples = 1\n",
        "        pass\n",
        "bench/evaluation/test_likelihood",
    ),
    "actnorm: sign of the log-det": Mutation(
        "models/bijections/actnorm.py",
        "zeros_per_image(x) + log_det",
        "zeros_per_image(x) - log_det",
        "models/bijections/test_bijections",
    ),
    "actnorm: inverse scales the wrong way": Mutation(
        "models/bijections/actnorm.py",
        "ops.exp(-self.log_scale) * y",
        "ops.exp(self.log_scale) * y",
        "models/bijections/test_bijections",
    ),
    "convolution: no h·w in the log-det": Mutation(
        CONVOLUTION,
        "+ height * width * self.log_abs_det()",
        "+ self.log_abs_det()",
        "models/bijections/test_bijections",
    ),
    "convolution: forward not transposed": Mutation(
        CONVOLUTION,
        "by_pixel(x, ops.transpose(self.matrix()))",
        "by_pixel(x, self.matrix())",
        "models/bijections/test_bijections",
    ),
    "coupling: inverse scales the wrong way": Mutation(
        ELEMENTWISE,
        "y * ops.exp(-log_scale) - shift",
        "y * ops.exp(log_scale) - shift",
        "models/bijections/test_bijections",
    ),
    "coupling: sign of the log-det": Mutation(
        COUPLING,
        "axis=-1), sum_event(log_slope)",
        "axis=-1), -sum_event(log_slope)",
        "models/bijections/test_bijections",
    ),
    "checkerboard: pixels that stay count in the log-det": Mutation(
        COUPLING,
        "sum_event(ops.where(stays, 0.0, log_slope))",
        "sum_event(log_slope)",
        "models/bijections/test_bijections",
    ),
    "checkerboard: no turns": Mutation(
        COUPLING, "        self.parity.assign(1.0 - self.parity)\n", "", "models/bijections/test_bijections"
    ),
    "mixture: the density without its scales": Mutation(
        ELEMENTWISE, "- log_weights - log_scales", "- log_weights", "models/bijections/test_elementwise"
    ),
    "mixture: the slope of F and not of its logit": Mutation(
        ELEMENTWISE,
        "log_density - log_cdf - log_survival",
        "log_density - log_cdf",
        "models/bijections/test_elementwise",
    ),
    "mixture: components begin alike": Mutation(
        ELEMENTWISE, "WIDEST_START if components", "0.0 if components", "models/bijections/test_elementwise"
    ),
    "mixture: bisection goes to the other half": Mutation(
        ELEMENTWISE, "log_scales)[0] < u", "log_scales)[0] > u", "models/bijections/test_elementwise"
    ),
    "concat-ELU: sign of the second half's gradient": Mutation(
        "models/layers/gated_block.py",
        "decay * positive - negative",
        "decay * positive + negative",
        "models/layers/test_gated_block",
    ),
    "chain: keeps the last log-det alone": Mutation(
        "models/bijections/base.py",
        "log_det = log_det + step_log_det",
        "log_det = step_log_det",
        "models/bijections/test_bijections",
    ),
    "flow step: no h·w in the log-det": Mutation(
        STEP, "log_det + height * width * of_a_pixel", "log_det + of_a_pixel", "models/bijections/test_bijections"
    ),
    "flow step: bias added behind the scale": Mutation(
        STEP, "(scale * value(self.actnorm.bias))", "(value(self.actnorm.bias))", "models/bijections/test_bijections"
    ),
    "repeated: keeps the last log-det alone": Mutation(
        REPEATED, "(y, log_det + own_log_det)", "(y, own_log_det)", "models/bijections/test_bijections"
    ),
    "repeated: every step begins as the first": Mutation(
        REPEATED, "            template.redraw()\n", "", "models/bijections/test_bijections"
    ),
    "repeated: a weight's values from the beginning of the row": Mutation(
        REPEATED,
        "[:, end - math.prod(weight.shape) : end]",
        "[:, : math.prod(weight.shape)]",
        "models/bijections/test_bijections",
    ),
    "repeated: inverse goes forwards": Mutation(REPEATED, ", reverse=True", "", "models/bijections/test_bijections"),
    "patches: gradient is not flipped": Mutation(
        "models/layers/convolution.py",
        "_shifted_sum(of_parts, size, flipped=True)",
        "_shifted_sum(of_parts, size)",
        "models/layers/test_convolution",
    ),
    "shifted sum: gradient is not flipped": Mutation(
        "models/layers/convolution.py",
        "_patches(of_sum, size, flipped=True)",
        "_patches(of_sum, size)",
        "models/layers/test_convolution",
    ),
    "convolution: the kernel's gradient has its shifts the wrong way": Mutation(
        "models/layers/convolution.py",
        "_patches(of_y, size, flipped=True)",
        "_patches(of_y, size)",
        "models/layers/test_convolution",
    ),
    "convolution: the gradient of an odd size is that of an even one": Mutation(
        "models/layers/convolution.py",
        "whole[:, top : top + height, left : left + width]",
        "whole[:, :height, :width]",
        "models/layers/test_convolution",
    ),
    "laid out: parts lie the other way round": Mutation(
        "models/layers/convolution.py",
        "divmod(phase + before - i, stride)",
        "divmod(phase + i - before, stride)",
        "models/layers/test_convolution",
    ),
    "squeeze: inverse swaps rows and columns": Mutation(
        "models/bijections/squeeze.py", "(0, 1, 4, 2, 5, 3)", "(0, 1, 5, 2, 4, 3)", "models/bijections/test_bijections"
    ),
    "variational dequantisation: sign of the sigmoid's log-det": Mutation(
        "models/flows/dequantisation.py",
        "log_q - sum_event(log_sigmoid(v)",
        "log_q + sum_event(ops.log_sigmoid(v)",
        "models/flows/test_dequantisation",
    ),
    "variational dequantisation: no h·w": Mutation(
        "models/flows/dequantisation.py",
        "height * width * ops.sum(self.log_scale)",
        "ops.sum(self.log_scale)",
        "models/flows/test_dequantisation",
    ),
    "glow: log-weights without log q": Mutation(
        FLOW, "log_prob - log_q - cells", "log_prob - cells", "models/glow/test_glow"
    ),
    "glow: no D log Q": Mutation(
        FLOW,
        "else self.dimensions * math.log(self.grey_levels)",
        "else math.log(self.grey_levels)",
        "models/glow/test_glow",
    ),
    "glow: split prior left out": Mutation(
        "models/glow/model.py",
        "log_prob = log_prob + sum_event(prior.log_prob(z))",
        "_ = prior",
        "models/glow/test_glow",
    ),
    "glow: classes not averaged": Mutation(
        "models/glow/model.py", "- math.log(max(self.classes, 1))", "", "models/glow/test_glow"
    ),
    "jet: a channel coupling follows each of the patches alone": Mutation(
        "models/jet/coupling.py", "turn < self.config.channel_couplings", "turn < 1", "models/jet/test_jet"
    ),
    "jet: the patches that stay are never the others": Mutation(
        "models/jet/coupling.py", "(kept if turns % 2 == 0 else ~kept)", "kept", "models/jet/test_jet"
    ),
    "jet: attention is not scaled": Mutation(
        "models/jet/vision_transformer.py", "(1.0 / math.sqrt(size))", "1.0", "models/jet/test_jet"
    ),
    "jet: heads and tokens swapped on the way back": Mutation(
        "models/jet/vision_transformer.py",
        "ops.transpose(values, (0, 2, 1, 3))",
        "values",
        "models/jet/test_jet",
    ),
    "jet: no log-determinant of the couplings": Mutation(
        "models/jet/model.py", "log_prob + log_det + sum_event", "log_prob + sum_event", "models/jet/test_jet"
    ),
    "masked coupling: values that stay count in the log-det": Mutation(
        COUPLING, "ops.where(stays, 0.0, log_slope)", "log_slope", "models/bijections/test_bijections"
    ),
    "affine: the log-slope leaves out the largest scale": Mutation(
        ELEMENTWISE, " + self.log_largest", "", "models/jet/test_jet"
    ),
    "vae: sign of log q in the log-weights": Mutation(
        "models/vae/gradient_estimators.py",
        "prior.log_prob(z) - sum_event(",
        "prior.log_prob(z) + sum_event(",
        "models/vae/test_vae",
    ),
    "vae: sign of the KL in the bound": Mutation(
        "models/vae/model.py", "reconstruction[0] - kl\n", "reconstruction[0] + kl\n", "models/vae/test_vae"
    ),
    "vae: free bits ignored": Mutation(
        "models/vae/model.py",
        "ops.maximum(settings.free_bits, ops.mean(posterior.kl_to_standard(), axis=0))",
        "ops.mean(posterior.kl_to_standard(), axis=0)",
        "models/vae/test_vae",
    ),
    "vae: images and samples out of step": Mutation(
        "models/base/variational.py",
        "ops.tile(images, (k, 1, 1, 1))",
        "ops.repeat(images, k, axis=0)",
        "models/vae/test_vae",
    ),
    "vampprior: components are added, not averaged": Mutation(
        PRIORS, "axis=-1) - math.log(log_scale.shape[0])", "axis=-1)", "models/vae/test_priors"
    ),
    "vampprior: gradient of the scale without its cross term": Mutation(
        PRIORS, "- 2.0 * mean * first", "- mean * first", "models/vae/test_priors"
    ),
    "vampprior: the last component is never sampled": Mutation(
        PRIORS, '"int32"), components - 1)', '"int32"), components - 2)', "models/vae/test_priors"
    ),
    "flow prior: sign of the log-determinant": Mutation(
        PRIORS,
        "ops.exp(-log_scale)), -ops.sum(log_scale, axis=-1)",
        "ops.exp(-log_scale)), ops.sum(log_scale, axis=-1)",
        "models/vae/test_priors",
    ),
    "kl: no log σ": Mutation(
        "models/base/distributions.py", "- 1.0) - self.log_scale", "- 1.0)", "models/base/test_distributions"
    ),
    "log-mean-exp: no log k": Mutation(
        "models/base/distributions.py", " - math.log(x.shape[axis])", "", "models/base/test_distributions"
    ),
    "reparameterisation: σ squared": Mutation(
        "models/base/distributions.py",
        "ops.exp(log_scale) * noise",
        "ops.exp(2 * log_scale) * noise",
        "models/base/test_distributions",
    ),
    "discretised logistic: highest level is no edge": Mutation(
        "models/base/distributions.py",
        "above = ops.where(level > grey_levels - 1.5, 0.0, log_sigmoid(upper))",
        "above = ops.log_sigmoid(upper)",
        "models/base/test_distributions",
    ),
    "discretised logistic: quantile one level off": Mutation(
        "models/base/distributions.py",
        "as_grey_levels(position * grey_levels,",
        "as_grey_levels(position * grey_levels + 1.0,",
        "models/base/test_distributions",
    ),
    "grey levels: what is no number is black": Mutation(
        "models/base/distributions.py", "levels, BROKEN)", "levels, 0)", "models/base/test_distributions"
    ),
    "glow: an overflow is hidden by the preprocessing": Mutation(
        FLOW,
        "ops.where(ops.isfinite(y), self.preprocessing.inverse(y), math.nan)",
        "self.preprocessing.inverse(y)",
        "models/glow/test_glow",
    ),
    "mixture: the levels are halved to the other side": Mutation(
        "models/base/distributions.py",
        "(below - u[..., None])) < 0.0",
        "(below - u[..., None])) > 0.0",
        "models/base/test_distributions",
    ),
    "sound: companded the other way": Mutation(
        SEQUENCES, "np.log1p(_MU * np.abs(clipped))", "np.expm1(_MU * np.abs(clipped))", "bench/core/test_sequences"
    ),
    "sound: levels rounded down": Mutation(SEQUENCES, "* _MU + 0.5)", "* _MU)", "bench/core/test_sequences"),
    "sound: 24 bits are the lower bytes": Mutation(
        "bench/data/recording.py", "padded[:, 1:]", "padded[:, :3]", "bench/data/test_recording"
    ),
    "sound: a channel for all of them": Mutation(
        "bench/data/recording.py", "block.mean(axis=1)", "block[:, 0]", "bench/data/test_recording"
    ),
    "sound: resampled the other way": Mutation(
        "bench/data/audio.py",
        "ratio.numerator, ratio.denominator",
        "ratio.denominator, ratio.numerator",
        "bench/data/test_audio",
    ),
    "windows: validation begins before train ends": Mutation(
        "bench/data/windows.py",
        "slice(start, start + sizes[split])",
        "slice(start // 2, start + sizes[split])",
        WINDOWS,
    ),
    "windows: a group goes to the split that has most of its share": Mutation(
        "bench/data/windows.py", "np.argmax(lacking)", "np.argmin(lacking)", WINDOWS
    ),
    "text: the alphabet is that of all splits": Mutation(
        "bench/data/text.py",
        '_occurring(splits["train"] if',
        "_occurring(np.concatenate([*splits.values()]) if",
        "bench/data/test_text",
    ),
    "text: two alphabets have one digest": Mutation(
        "bench/data/dataset.py", "self.info.symbols, self.info", "(), self.info", "bench/data/test_text"
    ),
    "units: natural logarithm for bits": Mutation(
        "models/base/units.py",
        "-log_prob / (dimensions * math.log(2.0))",
        "-log_prob / dimensions",
        "models/base/test_units",
    ),
    "dreg: weights not squared for the encoder": Mutation(
        "models/vae/gradient_estimators.py",
        "scaled = value + weights[..., None] * (z - value)",
        "scaled = value + (z - value)",
        "models/vae/test_gradient_estimators",
    ),
    "sticking the landing: the score is left in": Mutation(
        "models/vae/gradient_estimators.py",
        "log_ratio(joint.prior, _frozen(posterior), z)",
        "log_ratio(joint.prior, posterior, z)",
        "models/vae/test_gradient_estimators",
    ),
    "likelihood: Monte Carlo error of the weights, not of their mean": Mutation(
        "bench/evaluation/likelihood.py", "concentration - 1 / k", "concentration", "bench/evaluation/test_likelihood"
    ),
    "likelihood: groups not averaged by their size": Mutation(
        "bench/evaluation/likelihood.py",
        "log_sums - math.log(samples)",
        "log_sums - math.log(groups)",
        "bench/evaluation/test_likelihood",
    ),
    "auroc: error by the other group's size": Mutation(
        "bench/evaluation/auroc.py",
        "np.var(above, ddof=1) / len(above)",
        "np.var(above, ddof=1) / len(below)",
        "bench/evaluation/test_auroc",
    ),
    "diagnostics: variance of latents over latents": Mutation(
        "models/base/diagnostics.py",
        "mean.var(axis=0, ddof=1)",
        "mean.var(axis=1, ddof=1)",
        "bench/evaluation/test_diagnostics",
    ),
    "fréchet: covariances' overlap once": Mutation(
        "bench/evaluation/quality/frechet.py", "- 2 * overlap", "- overlap", "bench/evaluation/quality/test_frechet"
    ),
    "density: not over the number of neighbours": Mutation(
        "bench/evaluation/quality/prdc.py",
        "_mean(balls_around / neighbours)",
        "_mean(balls_around)",
        "bench/evaluation/quality/test_prdc",
    ),
    "annealing: moves accepted the wrong way": Mutation(
        "bench/evaluation/annealing.py",
        "beta * (proposal_log_p - log_p)",
        "beta * (log_p - proposal_log_p)",
        "bench/evaluation/test_annealing",
    ),
    "annealing: reversed walk keeps its order": Mutation(
        "bench/evaluation/annealing.py",
        "self.increments[::-1], self.moves[::-1]",
        "self.increments, self.moves",
        "bench/evaluation/test_annealing",
    ),
    "checkpoint: without the optimizer": Mutation(
        KEPT,
        "_named(model.variables, model.optimizer.variables)",
        "_named(model.variables, [])",
        "bench/training/test_checkpoint",
    ),
    "checkpoint: without the seed generators": Mutation(
        KEPT,
        "_named(model.variables, model.optimizer.variables)",
        "_named(model.weights, model.optimizer.variables)",
        "bench/training/test_checkpoint",
    ),
    "checkpoint: steps of the optimizer begin anew": Mutation(
        CHECKPOINT,
        "variable.assign(arrays[name])",
        'variable.assign(0 if name == "optimizer_0" else arrays[name])',
        "bench/training/test_checkpoint",
    ),
    "checkpoint: another training's is taken": Mutation(
        CHECKPOINT, "if header.identity != self.identity", "if False", "bench/training/test_checkpoint"
    ),
    "checkpoint: written over the earlier one": Mutation(
        CHECKPOINT, "np.savez(file, allow", "np.savez(self.path, allow", "bench/training/test_checkpoint"
    ),
    "training: continued weights are initialised": Mutation(
        TRAINING,
        "        log = earlier.continued()",
        "        log = earlier.continued()\n        model.initialise(data.train.images)",
        "bench/training/test_checkpoint",
    ),
    "training: continued with the averaged weights": Mutation(
        TRAINING,
        "checkpoint.best = checkpoint.best, {}",
        "checkpoint.best = checkpoint.best, {}\n        if config.weight_average:\n            _swap_averages(model)",
        "bench/training/test_checkpoint",
    ),
    "training: continued from the first images": Mutation(
        TRAINING,
        "config, stream, interval)\n                break",
        "config, stream, interval - log.starts[-1])\n                break",
        "bench/training/test_checkpoint",
    ),
    "training: saved before its record is received": Mutation(
        TRAINING,
        "        on_evaluation(record)\n        now =",
        "        if checkpoint is not None:\n            checkpoint.save(model, log, best.arrays)\n"
        "        on_evaluation(record)\n        now =",
        "bench/training/test_checkpoint",
    ),
    "rescue: at the rate that diverged": Mutation(
        "bench/training/rescue.py",
        "(decide(log.validation, config).reductions + rescues)",
        "(decide(log.validation, config).reductions)",
        "bench/training/test_rescue",
    ),
    "rescue: with other noise": Mutation(
        KEPT,
        "_named(model.variables, model.optimizer.variables)",
        "_named(model.weights, model.optimizer.variables)",
        "bench/training/test_rescue",
    ),
    "rescue: a resumed training counts from 0": Mutation(
        "bench/training/rescue.py", "self.count = log.rescues", "self.count = 0", "bench/training/test_rescue"
    ),
    "rescue: of the state before the last plateau": Mutation(
        TRAINING,
        "        rescue.keep()\n        if checkpoint",
        "        if not now.lowers_rate:\n            rescue.keep()\n        if checkpoint",
        "bench/training/test_rescue",
    ),
    "initialised in pieces: without the rest": Mutation(
        "models/bijections/base.py",
        "math.ceil(n / max(1, PIECE // math.prod(image_shape[:2])))",
        "n // max(1, PIECE // math.prod(image_shape[:2]))",
        "models/bijections/test_bijections",
    ),
    "training: leaves the last weights": Mutation(
        TRAINING, "    best.restore()\n    return log", "    return log", "bench/training/test_loop"
    ),
    "training: a plateau trains on from where it is": Mutation(
        TRAINING,
        "            best.restore()\n            model.optimizer.base_rate",
        "            model.optimizer.base_rate",
        "bench/training/test_loop",
    ),
    "training: the best state is not kept with the checkpoint": Mutation(
        TRAINING, "best.arrays, checkpoint.best = checkpoint.best, {}", "pass", "bench/training/test_checkpoint"
    ),
    "early stopping: the last of the lowest is the best": Mutation(
        "bench/training/early_stopping.py",
        "value < values[best]",
        "value <= values[best]",
        "bench/training/test_early_stopping",
    ),
    "early stopping: patience counts from the best": Mutation(
        "bench/training/early_stopping.py",
        "            since = 0\n            stops",
        "            stops",
        "bench/training/test_early_stopping",
    ),
    "average: at its full momentum from the start": Mutation(
        "bench/training/optimizers.py",
        "ops.minimum(self.ema_momentum, step / (9.0 + step))",
        "self.ema_momentum + 0.0 * step",
        "bench/training/test_loop",
    ),
    "logit: no slope of the margin": Mutation(
        PREPROCESSING,
        "math.log1p(-2.0 * self.alpha) - log_s - log_rest",
        "-log_s - log_rest",
        "models/bijections/test_preprocessing",
    ),
    "marginal: no slope of the bins": Mutation(
        PREPROCESSING, "+ ops.log(mass * self.bins) - standard", "- standard", "models/bijections/test_preprocessing"
    ),
    "marginal: the histogram of all channels together": Mutation(
        PREPROCESSING,
        'levels + self.bins * ops.arange(self.channels, dtype="int32")',
        "levels",
        "models/bijections/test_preprocessing",
    ),
    "marginal: inverse finds the bin above": Mutation(
        PREPROCESSING, "low <= value), higher", "low > value), higher", "models/bijections/test_preprocessing"
    ),
    "glow: the log-det of the preprocessing left out": Mutation(
        "models/glow/model.py",
        "y, log_prob = self.preprocessing(v)",
        "y, log_prob = self.preprocessing(v)[0], 0.0 * v[:, 0, 0, 0]",
        "models/glow/test_glow",
    ),
    "likelihood: smaller batches begin after the one that failed": Mutation(
        "bench/evaluation/likelihood.py",
        "            size, seconds = smaller, []",
        "            done += size.images\n            size, seconds = smaller, []",
        "bench/evaluation/test_likelihood",
    ),
    "search space: a condition is not heeded": Mutation(
        "bench/study/search_space.py",
        "if is_swept(parameter, values):",
        "if values is not None:",
        "bench/search/test_sampler",
    ),
    "metrics: one that is no number is logged": Mutation(
        "bench/evaluation/metrics.py",
        "if math.isfinite(row.value):",
        "if row.value is not None:",
        "bench/evaluation/test_metrics",
    ),
    "tracking: a parameter that is not swept in a run is logged of it": Mutation(
        "bench/tracking/parent_run.py", "if name not in inactive", "if name", "bench/execution/test_coordinator"
    ),
    "final runs: two arms of one configuration share theirs": Mutation(
        "bench/execution/session.py",
        "number = known.get((name, config.hash, seed), max(known.values(), default=-1) + 1)",
        "number = {key[1:]: n for key, n in known.items()}.get((config.hash, seed), len(known))",
        "bench/execution/test_coordinator",
    ),
}


def run_tests(copy: Path, names: list[str]) -> tuple[bool, str]:
    """Whether the named test files pass in ``copy``, and their last line."""
    files = [f"tests/{name}.py" for name in names]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    # What JAX compiled of the unbroken lines serves every mutant.
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax_programs"))
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
        raise ValueError(f"occurs {source.count(mutation.old)} times in {mutation.file}: {mutation.old!r}")
    return source.replace(mutation.old, mutation.new)


def main(chosen: list[str]) -> int:
    """Print a line for each mutant, and return the number that survived."""
    mutations = {name: m for name, m in MUTATIONS.items() if not chosen or any(part in name for part in chosen)}
    for mutation in mutations.values():
        mutated((ROOT / mutation.file).read_text(), mutation)
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy.mkdir()
        for part in ("models", "bench", "reports", "studies", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        passed, summary = run_tests(copy, sorted({m.tests for m in mutations.values()}))
        if not passed:
            raise RuntimeError(f"the unbroken project fails its tests: {summary}")
        for name, mutation in mutations.items():
            file = copy / mutation.file
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
