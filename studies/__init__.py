"""One short script per question: its arms and what they sweep."""
