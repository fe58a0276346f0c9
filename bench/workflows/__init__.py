"""Work beside a study: measuring a logged run again, repeating it, published models, gradient estimators."""
