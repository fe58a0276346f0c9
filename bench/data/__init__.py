"""Data sets: images, text and sound as integers in three disjoint splits, with a digest; tuning sees no test split."""
