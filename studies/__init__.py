"""One short script per question: what is swept, on what, judged by what."""
