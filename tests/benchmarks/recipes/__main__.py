"""`make benchmark-recipes`."""

from tests.benchmarks.recipes.measure import main

main()
