"""Speeds of a sampler whose speed is known."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from bench.evaluation import sampling, throughput
from bench.evaluation.sampling import Sampler
from bench.evaluation.throughput import conditions, sampling_latency, sampling_speed, speed


class Metronome:
    """A sampler's program and a clock in one: each batch takes as long as the test says."""

    def __init__(self, seconds):
        self.seconds = iter(seconds)
        self.now = 0.0

    def run(self, noise, temperatures):
        self.now += next(self.seconds)
        return np.zeros((len(noise), 2, 2, 1), np.int32)

    def perf_counter(self):
        return self.now


@pytest.fixture
def metronome(monkeypatch):
    """A sampler whose batches take the given seconds."""

    def build(batch_size, seconds):
        program = Metronome(seconds)
        for module in (sampling, throughput):
            monkeypatch.setattr(module, "time", program)
        monkeypatch.setattr(sampling, "CompiledMethod", lambda *arguments: program)
        return Sampler(SimpleNamespace(dimensions=4, prior_noise_size=1), batch_size)

    return build


@pytest.mark.parametrize(("n", "batch_size"), [(2, 8), (2, 3), (5, 4)])
def test_images_at_several_temperatures_are_those_of_each_drawn_alone(monkeypatch, n, batch_size):
    class Program:
        def run(self, noise, temperatures):
            assert noise.shape == (batch_size, 4)
            return (1000 * noise * temperatures[:, None]).astype(np.int32).reshape(-1, 2, 2, 1)

    monkeypatch.setattr(sampling, "CompiledMethod", lambda *arguments: Program())
    sampler = Sampler(SimpleNamespace(dimensions=4, prior_noise_size=4), batch_size)
    alone = [sampler.draw(n, temperature, 3) for temperature in (0.0, 0.5, 1.0)]
    assert np.array_equal(sampler.draw_at((0.0, 0.5, 1.0), n, 3), np.concatenate(alone))


def forever(first, then):
    yield from first
    while True:
        yield then


def test_the_sampling_speed_leaves_out_the_first_batch_which_counts_as_compilation(metronome):
    measured, compile_seconds = sampling_speed(metronome(64, forever([5.0], 0.5)))
    assert measured.value == pytest.approx(128.0)
    assert compile_seconds == pytest.approx(4.5)
    assert (measured.key, measured.n) == ("throughput/sample_images_per_second", throughput.WINDOWS)
    assert measured.conditions == conditions(64)


def test_compilation_counts_once_where_samples_were_drawn_before_their_speed_is_measured(metronome):
    sampler = metronome(64, forever([5.0], 0.5))
    # While the model trains.
    sampler.draw(16, 1.0, 0)
    assert sampling_speed(sampler)[1] == pytest.approx(4.5)
    # The next run of this shape has the same program.
    sampler.draw(16, 1.0, 0)
    assert sampling_speed(sampler)[1] == 0.0


def test_latencies_are_percentiles_of_single_images(metronome):
    seconds = [9.0] + [0.0001 * (i + 1) for i in range(100)]
    rows = {row.metric: row for row in sampling_latency(metronome(1, seconds))}
    assert rows["sample_latency_p50_seconds"].value == pytest.approx(0.00505)
    assert rows["sample_latency_p95_seconds"].value == pytest.approx(np.percentile(seconds[1:], 95))
    assert rows["sample_latency_p99_seconds"].value == pytest.approx(np.percentile(seconds[1:], 99))
    assert {row.n for row in rows.values()} == {100}


def test_slow_sampling_is_measured_on_fewer_images(metronome):
    rows = sampling_latency(metronome(1, forever([], 1.0)))
    assert {row.n for row in rows} == {throughput.FEWEST_LATENCIES}


def test_a_speed_is_the_median_with_the_error_of_a_median():
    rates = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    row = speed("train_images_per_second", rates, 32)
    assert row.value == 3.0
    assert row.standard_error == pytest.approx(rates.std(ddof=1) / np.sqrt(5) * np.sqrt(np.pi / 2))
    assert speed("train_images_per_second", rates[:1], 32).standard_error is None


def test_the_conditions_name_what_a_speed_depends_on():
    stated = conditions(32)
    assert stated.startswith(f"batch 32, float32, {keras.backend.backend()} on ")
