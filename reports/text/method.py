"""What a reader must know of the method, in plain words; the same in the page and in its Markdown twin."""

from bench.core.blocks import BLOCKS
from bench.core.sequences import Kind

DIFFERENCES_NOTE = (
    "A difference is read by its interval and its size first; p is the chance of a difference at least as large "
    "between arms that do not differ, and Holm's p is corrected for there being many. A large p is no proof of "
    "equality."
)

PRACTICAL_NOTE = (
    "How probable it is that the mean test bits/dim of two arms differ by more than what matters to the "
    "reader, by the t distribution of the interval: over training seeds and, where it covers them, test images."
)

COURSE_NOTE = (
    "Each final run is measured with the weights of its best evaluation where the study kept them. “Fall” is by how "
    "much the best value so far fell over the last quarter of the evaluations, “end above the best” the median of the "
    "last quarter of the evaluations, less the best. What the choice owed to lucky noise stands with the Monte Carlo "
    "error of the fresh noise."
)

PUBLISHED_NOTE = (
    "Published likelihoods come from other budgets, mostly far larger ones, and other bounds; they say what is "
    "possible on these images, and are not ranked with this study's. Weights, images and hardware stand where they "
    "were published too, some rounded there."
)

TARGETS_NOTE = (
    "The first evaluation of each seed at or below the target, the range over seeds. Targets are of test images, the "
    "curves of validation images by the one-sample bound, which is looser than the bound on test: an arm may reach a "
    "target earlier on test. A seed that did not reach it, diverged or failed is a miss."
)

OF_SEQUENCES: dict[str, str] = {
    "Bits/dim": "The average number of bits that a model needs to encode one symbol of a text, or one sample of a "
    "sound, that it has not seen: −log2 P(x) / D, where P(x) is the probability of a window and D its length. Each "
    "window is encoded by itself. A model that knows nothing needs log2 of the number of symbols or levels. Lower is "
    "better.",
    "Reference codes": (
        "What everybody's codes take for the same test windows, so that a reader knows what these numbers mean: no "
        "knowledge at all, each place's own histogram over the training windows, a 5-gram that was counted on the "
        "training windows, and xz, bzip2 and (of sound, where its library is installed) FLAC. The 5-gram begins each "
        "window without what lies before it, as models do. The compressors have the windows in one piece: they know "
        "what lies before a window, but no training data. Of files the content's share counts, without headers; of "
        "many windows the first are written, which the row says. The reference model beside them, left out where "
        "an arm is of its family or the windows are too long to train it in minutes, is a small PixelCNN that the "
        "study trains once on its own training windows, one seed by a fixed recipe: it shows what an exact likelihood "
        "of this size obtains in this time, and no limit. All are measured once a study, are of no arm, and enter no "
        "selection."
    ),
}
"""Notes that are other ones for text and sound, by their titles."""

BESIDE = {
    "Three errors": " Windows that lie beside each other in a text or a recording resemble each other, so that they "
    f"say less than as many images do: errors over them are those of the means of {BLOCKS} blocks of consecutive ones, "
    "where there are two windows a block or more.",
}
"""What notes say beside that of text and sound, by their titles."""

NOTES: list[tuple[str, str]] = [
    (
        "Arms and families",
        "An arm is a named model configuration with what is swept of it and how it is trained; a family is the kind of "
        "model, such as VAE or Glow. Several arms may be of one family. All that is chosen, trained and compared goes "
        "by arm; colours follow the family, and their shades the arm.",
    ),
    (
        "Bits/dim",
        "The average number of bits that a model needs to encode one colour value of one pixel of an image it has not "
        "seen: −log2 P(x) / D, where P(x) is the probability of the discrete image and D its number of dimensions. "
        "A model that knows nothing needs log2 of the number of grey levels. Lower is better.",
    ),
    (
        "Reference codes",
        "What everybody's codes take for the same test images, so that a reader knows what a bits/dim means: no "
        "knowledge at all, each pixel's own histogram over the training images, PNG, lossless WebP and JPEG XL (where "
        "its library is installed) image by image, and xz over all images in one piece. Of files the pixels' share "
        "counts, without their headers. Small images leave a format little to learn from and much overhead; of many "
        "images a fixed choice is written, which the row says. The reference model beside them, left out where an arm "
        "is of its family or the images are too large to train it in minutes, is a small PixelCNN that the study "
        "trains once on its own training images, one seed by a fixed recipe: it shows what an exact likelihood of "
        "this size obtains in this time, and no limit. All are measured once a study, are of no arm, and enter no "
        "selection. A model whose bits/dim exceed the shortest of the codes describes these images worse than it.",
    ),
    (
        "Bounds",
        "Where a model cannot compute log P(x) of a discrete image, it gives a lower bound on it, so that its bits/dim "
        "is an upper bound on the true one; an autoregressive model computes it exactly. For a latent-variable model "
        "it is the importance-weighted bound (Burda et al. 2016): k = 1 is the ELBO, and it tightens as k grows. For a "
        "flow it is the importance-weighted dequantisation bound (Hoogeboom et al. 2021): k noise samples are averaged "
        "before the logarithm. As all bound the same quantity, they may be compared; a difference may be due in "
        "part to how tight each bound is.",
    ),
    (
        "Selection",
        "Trials were judged on the validation split alone. The configuration with the lowest validation bits/dim of "
        "each arm was trained again from each final seed, and only these final runs were measured on the test "
        "split, once each. In a given time (--time) it is the one that is expected to be the lowest at the end of its "
        "final runs, in whose time a faster configuration sees more images. A selected trial's validation value is the "
        "best of many and flatters; its test value does not. Where trials halve, a person may have one that was "
        "stopped trained to the end (--promote), which takes the place of no other: an intervention in the search, "
        "which the trials and the answer's grounds name.",
    ),
    (
        "Best evaluation kept",
        "Validation is evaluated at regular intervals, and the weights of the best evaluation are judged, measured on "
        "test and served. All evaluations of a run share their noise, so that they differ by the weights alone. The "
        "kept weights are then evaluated under fresh noise, and the difference says what the choice owed to the noise "
        "(“owed to lucky noise” in the course of training). What the choice of evaluation and of trial owes to the "
        "validation images does not enter the test value. Studies of earlier versions measured the last weights; "
        "their reports say so where validation had risen.",
    ),
    (
        "Converged, still improving, overfitted",
        "Read off the validation curve of each final run, from four evaluations on. Still improving: the best "
        "evaluation is among the last two (or the last eighth), and the best value so far fell over the last quarter "
        "of the evaluations by more than 0.001 bits/dim, 0.1% and two standard deviations of the curve's wobble. "
        "Overfitted: after the best evaluation validation rose, by the median of the last quarter, by more than 0.001 "
        "bits/dim, 0.1% and five such deviations; the value is then that of the best evaluation, before it rose. "
        "Otherwise converged. The wobble is taken from second differences over the second half of the curve. A curve "
        "that a learning rate near 0 has flattened counts as converged at this schedule. Where half of a compared "
        "arm's seeds or more were still improving, the verdict is one so far.",
    ),
    (
        "Equal training time",
        "Equal numbers of images take models unequal time. The answer at equal time is read "
        "off the logged curves of the final runs: the best validation value so far of each seed at the end of the "
        "shorter arm's training, averaged over seeds, by the one-sample bound. Seconds are those of training on "
        "the study's device, with compilation and validation; each seed is counted with the longest start among the "
        "arm's. After its end a run holds its best value.",
    ),
    (
        "For how much",
        "The value of an arm at a budget is the best validation value so far of each final run, by the one-sample "
        "bound, at its last evaluation within the budget. Where the schedule does not depend on the budget (a constant "
        "rate, or a lower one on each plateau), that is what a run of this budget gives, from ten epochs on: below, a "
        "run is evaluated more often than once an epoch, and a shorter one may lower its rate sooner. A cosine or "
        "staged schedule does depend on it: such an arm is dashed and marked, and only its end counts as a value at a "
        "budget. Nothing is said beyond the budgets that were measured, except that a run that stopped by patience "
        "keeps its value.",
    ),
    (
        "The lowest arm at each budget, and crossings",
        "At each budget two arms differ by Welch's 95% interval over seeds, at that budget by itself. Between two "
        "evaluations of an arm its value lies between theirs, and the interval covers both. One arm is the lowest "
        "where its interval with every other one excludes 0; elsewhere it is open. Where the means change their "
        "order, the interval of the crossing reaches from the last budget before it at which the order is clear to "
        "the first after it. In 2,000 simulated studies each of two, three and five seeds it held the true crossing "
        "in 98.0, 97.4 and 96.5 of 100; in the first 400 of each, a bootstrap over seeds did in 65, 86 and 89. "
        "With one seed there is no interval.",
    ),
    (
        "Costs, tuning included",
        "Tuning included means: what all attempts of the arm's search cost, pruned, failed and interrupted ones too, "
        "added to each point: what each trained up to its last evaluation, of seconds the training time, summed over "
        "workers, without evaluation and measurement. Before the final runs the search has a curve of its own, dotted: "
        "the best evaluation so far of all its attempts but those that diverged or failed, at what all had cost until "
        "then, which is what a user has who stops there. It is the lowest of many evaluations of one search, which "
        "flatters, so that it has no interval and enters no verdict. Final runs of one process share "
        "its compiled programs: each is counted as if it had taken the longest start among the arm's seeds. Operations "
        "are those of products and convolutions, three forward passes an image, where they were counted for the shape "
        "of every model. Energy was measured of whole trainings and is shared out over their time. A cost that is not "
        "known of an arm leaves the arm out of its axis.",
    ),
    (
        "Three errors",
        "A test likelihood is uncertain in three separate ways. Over training seeds: another seed trains another "
        "model; ± is one standard error of the mean over seeds, and its 95% interval is Student's t. Over test "
        "images: other images of the same kind would give another mean; this standard error does not shrink with more "
        "seeds, as they share the images. Monte Carlo: another draw of as many importance samples would give another "
        "bound; this is its standard deviation, which does not shrink with more seeds either, as every run is "
        "evaluated with the same noise. With one seed, ± is the standard error within that run, over the images or "
        "time windows that it averages.",
    ),
    (
        "Comparison of two arms",
        "Where each test image's bound is known for both arms, they are compared image by image: an image that is "
        "hard for both then adds nothing to the error. The interval adds the variance over training seeds of each "
        "arm to that of the mean difference over images, and is Student's t with Satterthwaite's degrees of "
        "freedom, so that few seeds make it wide. A bootstrap over seeds is not used: with two or three seeds its "
        "intervals are too narrow. Without the likelihoods of each image the interval is Welch's t over seeds alone.",
    ),
    (
        "Practical size",
        "A difference may be clear and too small to matter, or large and open. The reader sets which difference in "
        "test bits/dim matters (--equivalence, 0.01 unless set); two arms that differ by less are practically equal. "
        "The probabilities are those of a Student's t distribution with the centre, the standard error and the "
        "degrees of freedom of the reported interval (Benavoli et al. 2017), so that its central 95% are that "
        "interval. No difference is taken for likelier than another beforehand. What has a probability of 95% counts "
        "as decided. An arm with a single seed has no such probability, as nothing says how another seed would come "
        "out; neither have arms that were measured on different images. Simulated, a difference just as "
        "large as what matters is called decided, falsely, at most 5 times in 100 where seeds vary alike in both arms; "
        "where they vary in one alone, up to 6 times with three seeds and 9 with two. As file size: bits/dim times the "
        "number of pixels and channels, in bytes of an ideal code. On which images an arm is better is read off the "
        "means over its seeds; the pictured ones are extremes, and so partly noise.",
    ),
    (
        "Effect sizes and p-values",
        "Hedges' g is the difference over the standard deviation between seeds, corrected for few seeds; it is large "
        "where seeds hardly differ, whatever the difference means in practice. p is that of the same t statistic as "
        "the interval, which takes the means over seeds to be normal. A permutation test would not, but with three "
        "seeds each it knows 20 arrangements and cannot go below p = 0.1. Holm's method (1979) adjusts the p-values of "
        "one table so that the chance of any false finding among them stays below 5% if it is taken as the level. Left "
        "out are the NLL, which is bits/dim in another unit, the cost, metrics without a better direction, and metrics "
        "without two seeds of each arm under the same conditions. Three arms or more are compared in test "
        "bits/dim alone, in all pairs.",
    ),
    (
        "Conditions",
        "Speeds depend on device, backend, precision and batch size, scores of samples on the feature extractor and "
        "the number of samples. Numbers under different conditions stand in different rows, with the conditions in "
        "the row's head. Beside a score stands what real data scores: training images in the samples' place, the mean "
        "over five random draws with its standard error, or one draw where there are no images for more, and of text "
        "one draw; no sampler should be expected to do better. Of copies of text it is what held-out text scores. "
        "Below 2,000 images the extrapolated Fréchet distance stands first, as the plain one is biased upwards by "
        "about 1/n.",
    ),
    (
        "Bound against k",
        "From the same weights the bound is computed with fewer samples. It has flattened where the last doubling of "
        "k changed it by less than 0.1%. Where it changed more, but by less than two Monte Carlo errors, the samples "
        "do not show whether it has. A change of at most 5% of the gap to the nearest other arm is small beside "
        "that gap. Otherwise the true bits/dim lies below the value by an unknown amount.",
    ),
    (
        "Alarms",
        "The answer repeats these alarms: an arm of which no trial completed; final runs on test, or without any the "
        "selected trial on validation, above log2 of the number of grey levels, which is what equal probabilities for "
        "all of them take; a warm-up of the learning rate or of the KL's weight that takes more than half of a "
        "training; a run that diverged and was rescued; validation that rose after its best evaluation, where that "
        "came within the first 10% of the training, the end lay above it by ten times what counts as a change, or "
        "the last weights are the ones measured; a selected value at an end of its swept range (a real number: "
        "within 2% of it on the scale on which it was swept), where the range could be extended and the setting "
        "does more than guard the training; "
        "one of three seeds or more that is farther from the median of the others than five times their range (30 times"
        " among three), than 0.005 bits/dim and than 5% of the gap between arms (simulated with one outlier in ten "
        "seeds of one arm, 95% intervals cover about 85%, and 93.5% to 96% without); a feature extractor whose accuracy"
        " on validation covers less than a tenth of the "
        "way from chance to certainty, or of which there are too few images to tell: binomial tests separate it "
        "neither from chance nor from that tenth; any generated image with a value that is not finite; more than 1% of "
        "the sampled pixel values outside the data's range; half of the latents or more inactive, or none active; a "
        "flow that gives back an image more than 0.5 grey levels off; a 1x1 convolution with a condition number above "
        "10,000; an effective sample size below 2; a bound that has not flattened, by more than 5% of the gap between "
        "arms; samples nearer to training images than held-out images are, samples of text of whose runs of symbols a "
        "larger share is copied than of held-out text, by 0.01 and two standard errors, or another data set likelier "
        "than the model's own, with the 95% interval of the AUROC clear of 0.5. An alarm does not make a value wrong: "
        "it says what to check before relying on it.",
    ),
    (
        "As well, within 1%",
        "Two trainings of one configuration differ from seed to seed. The final runs estimate by how much: t s √2 in "
        "95 of 100 cases, with s the standard deviation of their test bits/dim over seeds and t Student's quantile. "
        "The errors of the two validation values over images are added in squares, an upper limit of what the choice "
        "of images can change, as those hard for one are hard for the other. A smaller model does as well where its "
        "distance from the selected trial on validation stays within 1% with this noise added; it does not where the "
        "distance exceeds both. Anything else is open, and more seeds narrow it. This takes five complete trials and "
        "three final runs, and three complete smaller ones where more than the size was swept to say that none does as "
        "well, which is then no verdict on the size alone. A learning rate came close where its distance is within "
        "both; a range of rates ends at the first that was not, be it worse, pruned, diverged or failed. That the "
        "selected trial is the best of many makes the others look worse than they are. A size is asked of where the "
        "study has one arm: a whole number of the model of which trials show that larger values have more parameters. "
        "Nothing is said where another trial has been better since the final runs.",
    ),
    (
        "What would change the answer",
        "Where the order is open, the number of seeds follows from the variance over seeds and over images, for a "
        "difference of the observed size to be separated from 0 at the 5% level four times in five. Where it is "
        "decided, the range of validation bits/dim over the complete trials shows how far the configuration moves an "
        "arm; one that was not searched may turn the order. What longer training would do is forecast from the "
        "learning curves, where a power law describes them.",
    ),
    (
        "Forecasts of more training",
        "The mean validation curve of an arm's final runs is fitted by a saturating power law a + b n^(-c) of the "
        "training images n, as learning curves mostly follow one (Domhan et al. 2015; Hestness et al. 2017). How it "
        "departs from that law is of two kinds: noise that neighbouring evaluations share, of which the spread of "
        "seeds around their mean says how large it is, and drift, a slow bend that all seeds share, with the prior of "
        "a cubic smoothing spline in log n (Wahba 1990). The posterior of the law, the noise and the drift gives the "
        "interval; the first tenth of the training is left out. What is forecast is the lowest value so far, which "
        "never rises, of these runs trained on: other seeds would differ by as much more as seeds do. There is no "
        "forecast from fewer than 10 evaluations, after patience ended training, with a learning rate that ends with "
        "the budget, where validation rose, where a forecast from the first 70% of the curve misses its end, and where "
        "the law itself misses it, as drift alone would be continued then. Forecasts end at twice the budget: farther "
        "out, too few intervals held the hidden ends of logged curves.",
    ),
    (
        "Importances",
        "Functional ANOVA (Hutter et al. 2014) on a random forest of the complete trials, from twelve of them on. The "
        "shares are of what single parameters explain over the ranges swept: another range gives other shares. Trials "
        "far above the others count as high as the scale of the figures goes.",
    ),
    (
        "Best so far",
        "The best validation value rises with luck as well as with budget. For independent random trials, the median "
        "best of n and its band follow from the distribution of trial values, which Kolmogorov's statistic bounds with "
        "no assumption on its shape (Lourie et al. 2024). With few trials the band is wide or has no end; that is "
        "what they can say. Other samplers learn from earlier trials, so that one study is one observation and has no "
        "interval. Time and images are those that the trials spent, failed ones included; an attempt that continued "
        "another adds what it trained itself.",
    ),
    (
        "Trials that ended early",
        "Pruned, diverged, failed and interrupted trials are counted and drawn. A pruned trial stands at the last "
        "validation value it reached, which it might have improved on. Of a trial that was stopped at a rung and "
        "continued from there, its last attempt counts, and of one that completed and was continued to a larger budget "
        "its last complete one.",
    ),
]


def notes(kind: Kind) -> list[tuple[str, str]]:
    """The notes of a study of images, texts or sounds."""
    if kind == "image":
        return NOTES
    return [(title, OF_SEQUENCES.get(title, text) + BESIDE.get(title, "")) for title, text in NOTES]
