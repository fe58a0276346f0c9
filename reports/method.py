"""What a reader must know of the method, in plain words; the same in the page and in its Markdown twin."""

RESPONSE_NOTE = (
    "Each mark is a trial. Hollow marks are trials that ended early or still run, at the last validation value they "
    "reached. Trials that have no place on the scale stand in the strip at the top edge, so that none is left out."
)

NOTES: list[tuple[str, str]] = [
    (
        "Bits/dim",
        "The average number of bits that a model needs to encode one colour value of one pixel of an image it has not "
        "seen: −log2 P(x) / D, where P(x) is the probability of the discrete image and D its number of dimensions. "
        "A model that knows nothing needs log2 of the number of grey levels. Lower is better.",
    ),
    (
        "Bounds",
        "Neither family's figure is exact. Each model gives a lower bound on log P(x) of the same discrete image, so "
        "each bits/dim is an upper bound on the true one. For a latent-variable model it is the importance-weighted "
        "bound (Burda et al. 2016): k = 1 is the ELBO, and it tightens as k grows. For a flow it is the "
        "importance-weighted dequantisation bound (Hoogeboom et al. 2021): k noise samples are averaged before the "
        "logarithm. As both bound the same quantity, they may be compared; a difference may be due in part to how "
        "tight each bound is.",
    ),
    (
        "Selection",
        "Trials were judged on the validation split alone. The configuration with the lowest validation bits/dim of "
        "each family was trained again from each final seed, and only these final runs were measured on the test "
        "split, once each. A selected trial's validation figure is the best of many and flatters; its test figure does "
        "not.",
    ),
    (
        "Errors",
        "Where a figure has two training seeds or more, ± is one standard error of the mean over seeds. With one seed, "
        "± is the standard error within that run, over the images or time windows that it averages. Intervals are at "
        "95%.",
    ),
    (
        "Trials that ended early",
        "Pruned, diverged, failed and interrupted trials are counted and drawn. A pruned trial stands at the last "
        "validation value it reached, which it might have improved on.",
    ),
]
