"""Data sets: integer images in three disjoint splits, with a content digest, a test split hidden from tuning."""
