"""`make benchmark-peers`."""

from tests.benchmarks.peers.measure import main

main()
