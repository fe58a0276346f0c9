"""Data sets: integer images in three disjoint splits, with a content digest, and a test split that tuning cannot see."""
