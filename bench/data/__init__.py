"""Data sets: integer images in three disjoint splits, with a content digest; tuning cannot reach the test split."""
