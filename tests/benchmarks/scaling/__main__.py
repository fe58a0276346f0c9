"""`make benchmark-scaling`."""

from tests.benchmarks.scaling.measure import main

main()
