"""The metrics of a study: units, directions and definitions. Imports no framework."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.core.errors import SettingsError
from bench.core.sequences import BITS_PER_DIM


@dataclass(frozen=True)
class Metric:
    """A metric: its unit, which way is better (None where neither is), and its definition in one sentence."""

    name: str
    label: str
    unit: str
    higher_is_better: bool | None
    definition: str

    def unit_on(self, unit_of_data: str) -> str:
        """Its unit on data whose likelihoods per dimension have another one than bits/dim: bits/character of text."""
        return unit_of_data if self.unit == BITS_PER_DIM else self.unit


SMALLEST_SET = 50
"""Least number of images in each set whose samples' quality is measured; with fewer an estimate would be noise."""
FLOOR_SUFFIX = "_floor"
"""Suffix of a sample-quality metric of real data: of training images in the samples' place, but for copies of text."""
COPIED_FLOOR = f"copied_share{FLOOR_SUFFIX}"


def _with_floor(
    name: str, label: str, unit: str, higher_is_better: bool | None, definition: str
) -> tuple[Metric, Metric]:
    """A metric of samples, and its floor: the same of training images, which a perfect sampler scores."""
    floor = Metric(
        name + FLOOR_SUFFIX,
        f"{label} of real images",
        unit,
        higher_is_better,
        f"{label} of training images in the samples' place: what a perfect sampler would score.",
    )
    return Metric(name, label, unit, higher_is_better, definition), floor


def _code(name: str, label: str, definition: str) -> Metric:
    return Metric(name, label, "bits/dim", False, definition)


REFERENCE_MODEL_CODE = "code_pixelcnn"
"""The reference code that is trained: that of the reference model."""

CODES: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _code(
            "code_uniform",
            "Uniform",
            "log2 of the number of grey levels: what a code takes that knows nothing of the images but their form.",
        ),
        _code(
            "code_pixel_histogram",
            "Each pixel's own histogram",
            "An ideal code that takes every pixel and channel for independent, with the shares of the grey levels that "
            "it had there over the training images, 1 added to each count so that none is 0.",
        ),
        _code(
            "code_png",
            "PNG",
            "Each image a PNG file by Pillow, at its best compression and the best of zlib's strategies, with the "
            "least bit depth or a palette that fits: the deflated data less zlib's 6 bytes of header and checksum.",
        ),
        _code(
            "code_webp",
            "WebP lossless",
            "Each image a lossless WebP file by Pillow, at its greatest effort: the VP8L data less its 5 bytes of "
            "header. The format has no grey images, and stores the same value for all three colours.",
        ),
        _code(
            "code_jpeg_xl",
            "JPEG XL",
            "Each image lossless JPEG XL by imagecodecs, effort 9: the bare codestream with its few bytes of header.",
        ),
        _code(
            "code_xz",
            "xz",
            "All images in one piece, each value with 1, 2, 4, 8 or 16 bits, compressed by LZMA2 at its extreme "
            "preset, without the header of a file. It sees bytes in a row and no image, but may learn from one image "
            "for the next, so that there is no error over images.",
        ),
        _code(
            "code_bzip2",
            "bzip2",
            "Of text and sound: all sequences in one piece, as for xz, compressed by bzip2 at its largest block.",
        ),
        _code(
            "code_flac",
            "FLAC",
            "Of sound: all windows in one piece, each level one sample of 8 bits, as a FLAC file by libsndfile at its "
            "highest compression: what follows the metadata.",
        ),
        _code(
            "code_ngram",
            "5-gram",
            "Of text and sound: an ideal code by the four symbols before each, within its sequence, with the counts of "
            "the training sequences, of at most 8 million symbols, interpolated by Witten and Bell's method C (1991).",
        ),
        _code(
            REFERENCE_MODEL_CODE,
            "PixelCNN",
            "The ideal code of the reference model, a small PixelCNN (van den Oord et al. 2016) that the study trains "
            "once on its training images, from one seed and by a fixed recipe, its weights the best on validation: "
            "-log2 P(x) / D, where P(x) is exact. It is no arm: it is not swept, selected or ranked.",
        ),
    )
}
"""The reference codes: what a reader may set a model's bits/dim beside. Of file formats the pixels' share counts."""

METRICS: dict[str, Metric] = CODES | {
    metric.name: metric
    for metric in (
        Metric(
            "bits_per_dim",
            "Bits/dim",
            "bits/dim",
            False,
            "Mean over images of -log2 P(x) / D, where P is the probability of the discrete image, D its number of "
            "dimensions (height × width × channels), and log P is replaced by the stated lower bound.",
        ),
        Metric("nll_nats", "NLL", "nats", False, "Mean over images of -ln P(x), by the stated lower bound on ln P."),
        Metric(
            "elbo_nats",
            "ELBO",
            "nats",
            True,
            "Mean over images of the one-sample bound on ln P: the importance-weighted bound at k = 1.",
        ),
        Metric(
            "effective_sample_size",
            "Effective sample size",
            "of k",
            True,
            "Mean over images of (Σ w)² / Σ w² over the k importance weights of the bound: k where the proposal is the "
            "posterior, 1 where a single weight carries the bound.",
        ),
        Metric(
            "auroc",
            "Separation from the other data set",
            "AUROC",
            None,
            "Probability that a held-out image has a higher likelihood bound than an image of the other data set. "
            "Below 0.5 the model finds the other data likelier than its own (Nalisnick et al. 2019).",
        ),
        Metric(
            "kl_nats",
            "KL to the prior",
            "nats",
            None,
            "Mean over held-out images of KL(q(z|x) ‖ p(z)), summed over latents: the information that the "
            "latents carry of the image.",
        ),
        Metric(
            "active_units",
            "Active units",
            "latents",
            None,
            "Latents whose posterior mean varies over held-out images with a variance above 0.01 "
            "(Burda et al. 2016, section 5).",
        ),
        Metric(
            "collapsed_share",
            "Collapsed latents",
            "of 1",
            False,
            "Share of the latents that are not active: the model has them and does not use them.",
        ),
        Metric(
            "round_trip_error",
            "Round-trip error",
            "grey levels",
            False,
            "Largest difference between dequantised held-out images and their image under the flow and its inverse.",
        ),
        Metric(
            "outside_share",
            "Samples outside the data's range",
            "of 1",
            False,
            "Share of the pixel values of the model's own samples that lie outside the range of the data before they "
            "are clipped to it: probability mass outside the space of images, which lowers the bound.",
        ),
        Metric(
            "recovered_share",
            "Symbols that come back",
            "of 1",
            None,
            "Share of held-out symbols that are the likeliest given their own encoding, behind the flow and its "
            "inverse. Below 1 encodings overlap, or the flow is not invertible in its precision.",
        ),
        Metric(
            "condition_number",
            "Worst conditioned 1x1 convolution",
            "",
            False,
            "Largest ratio of singular values among the flow's invertible 1x1 convolutions.",
        ),
        Metric(
            "extractor_accuracy",
            "Accuracy of the feature extractor",
            "of 1",
            None,
            "Share of validation images whose class, or whose orientation where the data has no labels, is predicted "
            "by the classifier on whose features sample quality is measured.",
        ),
        Metric(
            "extractor_chance",
            "Chance level of the feature extractor",
            "of 1",
            None,
            "Share of validation images that the best constant prediction gets right: features of a classifier that "
            "is no more accurate say little of an image.",
        ),
        Metric(
            "non_finite_samples",
            "Samples with non-finite values",
            "of 1",
            False,
            "Share of the samples that hold a NaN or infinite value before it is rounded to a grey level. Pictures "
            "cross such samples out. In distances and the divergence of trigrams each counts as one of uniformly "
            "random values; precision, recall, density and coverage are those of the other samples times their share.",
        ),
        *_with_floor(
            "frechet_distance",
            "Fréchet distance",
            "",
            False,
            "||m - m'||² + tr(S + S' - 2 (S S')^½) of the means and covariances of features of samples and of held-out "
            "images (Heusel et al. 2017). It is biased upwards by few samples.",
        ),
        *_with_floor(
            "frechet_distance_infinity",
            "Fréchet distance, extrapolated",
            "",
            False,
            "The Fréchet distance at 1/n = 0, by a line through its values at several n "
            "(Chong & Forsyth 2020): the bias of few samples taken out.",
        ),
        *_with_floor(
            "kid",
            "Kernel distance (KID)",
            "MMD²",
            False,
            "Unbiased squared maximum mean discrepancy between features of samples and of held-out images under the "
            "cubic polynomial kernel of the Kernel Inception Distance (Bińkowski et al. 2018).",
        ),
        *_with_floor(
            "precision",
            "Precision",
            "of 1",
            True,
            "Share of samples within the manifold of held-out images, the union of balls that reach to each image's "
            "5th nearest neighbour (Kynkäänniemi et al. 2019): do samples look real?",
        ),
        *_with_floor(
            "recall",
            "Recall",
            "of 1",
            True,
            "Share of held-out images within the manifold of samples (Kynkäänniemi et al. 2019), times the share of "
            "samples that are finite: is all of the data covered?",
        ),
        *_with_floor(
            "density",
            "Density",
            "",
            True,
            "Mean number of held-out images' balls that a sample lies in, over their 5 (Naeem et al. 2020): precision "
            "that outliers cannot inflate; 1 for real images, and more where samples crowd the densest parts.",
        ),
        *_with_floor(
            "coverage",
            "Coverage",
            "of 1",
            True,
            "Share of held-out images whose ball holds a sample (Naeem et al. 2020), times the share of samples that "
            "are finite.",
        ),
        Metric(
            "data_copying",
            "Nearer to training images",
            "AUROC",
            None,
            "Probability that a sample is nearer to its nearest training image, in pixels, than a held-out image is to "
            "its own (after Meehan et al. 2020): 0.5 for a perfect sampler, near 1 for one that memorises. Samples "
            "with non-finite values are left out.",
        ),
        Metric(
            "trigram_divergence",
            "Divergence of trigrams",
            "bits",
            False,
            "Of text: the Jensen-Shannon divergence (Lin 1991) between the shares of all runs of three symbols among "
            "samples and among as many held-out windows, 0 to 1. It is biased upwards by few windows.",
        ),
        Metric(
            f"trigram_divergence{FLOOR_SUFFIX}",
            "Divergence of trigrams, of training text",
            "bits",
            False,
            "The same of training windows in the samples' place: what a perfect sampler would score.",
        ),
        Metric(
            "copied_share",
            "Copied from training text",
            "of 1",
            None,
            "Of text: share of the samples' runs of 20 symbols (of fewer in shorter windows) that stand as they are in "
            "a training window; at most 8 million symbols of these are searched. Samples with non-finite values are "
            "left out.",
        ),
        Metric(
            COPIED_FLOOR,
            "Copied from training text, of held-out text",
            "of 1",
            None,
            "The same of held-out windows: how often text repeats itself. Samples well above it come from memory.",
        ),
        Metric(
            "train_images_per_second",
            "Training speed",
            "images/s",
            True,
            "Median, over the intervals between evaluations, of training images per second; the first interval, which "
            "includes compilation, is excluded.",
        ),
        Metric(
            "evaluate_images_per_second",
            "Likelihood speed",
            "log-weights/s",
            True,
            "Median over the batches of the test evaluation, after the first, of log-weights computed per second: one "
            "for each image and importance sample, or of an exact likelihood one for each image.",
        ),
        Metric(
            "sample_images_per_second",
            "Sampling speed",
            "images/s",
            True,
            "Median over timed windows of images sampled per second in large batches, after a warm-up.",
        ),
        Metric(
            "sample_latency_p50_seconds",
            "Latency of one sample, median",
            "s",
            False,
            "Median time from asking for one image to having it on the host, after a warm-up.",
        ),
        Metric(
            "sample_latency_p95_seconds",
            "Latency of one sample, 95th percentile",
            "s",
            False,
            "Time within which 95 of 100 images asked for one at a time were on the host.",
        ),
        Metric(
            "sample_latency_p99_seconds",
            "Latency of one sample, 99th percentile",
            "s",
            False,
            "Time within which 99 of 100 images asked for one at a time were on the host.",
        ),
        Metric(
            "selection_optimism",
            "Best evaluation under fresh noise",
            "bits/dim",
            None,
            "One-sample validation bound of the kept weights under fresh noise, minus the value by which this "
            "evaluation was chosen as the best of its run: how much lucky noise contributed to the choice.",
        ),
        Metric(
            "best_images",
            "Images to the best evaluation",
            "images",
            None,
            "Training images seen up to the evaluation with the lowest validation bits/dim, whose weights are kept, "
            "measured and served.",
        ),
        Metric(
            "clipped_share",
            "Clipped steps",
            "of 1",
            None,
            "Share of the training steps whose gradient norm exceeded clip_norm and was scaled down to it.",
        ),
        Metric(
            "rescues",
            "Rescues from divergence",
            "",
            None,
            "How often training diverged, was taken back to its last evaluation, and repeated what follows at a third "
            "of its learning rate.",
        ),
        Metric("parameters", "Parameters", "", False, "Number of trainable weights."),
        Metric(
            "operations_per_image",
            "Operations per image",
            "FLOP",
            False,
            "Floating-point operations of one likelihood of one image, a forward pass, counted from the model's "
            "configuration: two for each multiply-add of a product or convolution.",
        ),
        Metric(
            "peak_fraction",
            "Share of peak in training",
            "of 1",
            True,
            "Training operations per second, three forward passes an image, over those of a large matrix product on "
            "the same device, backend and precision.",
        ),
        Metric(
            "training_seconds",
            "Training time",
            "s",
            False,
            "Wall-clock time of training and its evaluations on validation; the first run of a configuration in a "
            "process includes compilation, which later seeds share.",
        ),
        Metric(
            "first_interval_seconds",
            "First interval",
            "s",
            False,
            "Wall-clock time of training up to the first evaluation, with compilation where the run had to compile.",
        ),
        Metric(
            "training_compile_seconds",
            "Compilation for training",
            "s",
            False,
            "First interval between evaluations minus the median of the later ones: tracing and compiling; near 0 "
            "where an earlier run had compiled the program, and 0 where a rescue repeated that interval.",
        ),
        Metric(
            "evaluation_compile_seconds",
            "Compilation for evaluation",
            "s",
            False,
            "First batch of the likelihood minus the median of the later ones, plus the run's first batch of samples "
            "minus a later one.",
        ),
        Metric(
            "peak_memory_bytes",
            "Peak host memory",
            "bytes",
            False,
            "Largest resident set of the process up to the end of the run (of all runs before it in the process too).",
        ),
        Metric(
            "peak_device_memory_bytes",
            "Peak device memory",
            "bytes",
            False,
            "Largest memory in use on the accelerator up to the end of the run (of all runs before it in the process "
            "too).",
        ),
        Metric(
            "training_joules",
            "Training energy",
            "J",
            False,
            "Energy of the whole device during training, by its own counter: that of the accelerator that trains "
            "(NVML), else the processor packages' (RAPL).",
        ),
    )
}


def define_metric(metric: Metric) -> Metric:
    """Add a metric to :data:`METRICS`; defining the same metric again changes nothing.

    Raises:
        SettingsError: another metric has that name, or the name cannot be logged.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", metric.name):
        raise SettingsError(f"metric {metric.name!r}: a name has lower-case letters, digits and _, 64 at most")
    known = METRICS.setdefault(metric.name, metric)
    if known != metric:
        raise SettingsError(
            f"metric {metric.name!r} is defined already, as {known.label!r} in {known.unit or 'no unit'}: "
            "give yours another name"
        )
    return known


_BUILT_IN = frozenset(METRICS)


def own_metrics() -> list[Metric]:
    """The metrics that the user's own files define."""
    return [metric for name, metric in METRICS.items() if name not in _BUILT_IN]
