"""`make benchmark-study`."""

from tests.benchmarks.whole_study.measure import main

main()
