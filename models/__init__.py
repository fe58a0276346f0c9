"""The mathematics: VAE, Glow and what they are made of, written in ``keras.ops`` alone.

Notation used throughout the folder:

* x: an image of integers in 0..Q-1, Q ``grey_levels``, shape (h, w, c); D = h·w·c ``dimensions``.
* z: latent variables; ε: standard normal noise, of which all randomness is a deterministic function.
* n: images in a batch; k: importance samples per image.
* p: the model's density or probability; q: the distribution that proposes z, or the dequantised image, given x.
* All logarithms are natural and all log-probabilities are in nats, summed over an image's dimensions.
"""
