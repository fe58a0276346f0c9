"""Progress as it is seen on a terminal, in a pipe, and in the log."""

from __future__ import annotations

import io
import logging
import re

import pytest
from rich.console import Console

from bench.core.results import EvaluationRecord
from bench.execution.progress import SILENCE_SECONDS, StudyProgress
from bench.study.eta import Eta, Expected


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def shown(clock, terminal, quiet=False, width=120, interval_seconds=2.0):
    """What a console shows of a study of three VAE trials that is in its third."""
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, quiet=quiet, color_system=None)
    remaining = Eta({"vae search": Expected(3, 1.0), "vae final": Expected(1, 2.0)}, clock)
    with StudyProgress(console, 4, remaining, clock) as progress:
        for number in range(3):
            progress.start_run(f"vae #{number} latent_size={4 + number}", 5, "vae search", number, 3)
            for evaluation in range(1, 3 if number == 2 else 6):
                clock.now += interval_seconds
                values = {"validation/bits_per_dim": 3.0 - evaluation / 10}
                progress.show_evaluation(
                    EvaluationRecord(evaluation, 1000 * evaluation, interval_seconds * evaluation, values)
                )
            if number < 2:
                progress.say(f"vae #{number}: complete")
                progress.show_best("vae", 2.5 - number / 10, number)
                progress.finish_run("vae search")
        progress.show_best("glow", 2.25, 7)
        progress.refresh()
    return console.file.getvalue()


def test_a_terminal_shows_study_trial_and_evaluation_with_the_best_so_far_remaining_times_and_throughput(clock):
    last = shown(clock, terminal=True)[-1500:]
    assert re.search(r"study +\S+ +2/4 +\S+ +about 0:00:26 left", last)
    assert re.search(r"trial +\S+ +2/3 +\S+ +vae #2 latent_size=6", last)
    assert re.search(r"evaluation +\S+ +2/5 +\S+ +about 0:00:06 left +2\.800 bits/dim, 500 images/s", last)
    assert "best  vae 2.4000 bits/dim (trial 1)" in last
    assert "best  glow 2.2500 bits/dim (trial 7)" in last


def test_a_terminal_of_eighty_columns_keeps_each_bar_on_one_line(clock):
    last = shown(clock, terminal=True, width=80)[-700:]
    assert re.search(r"study .*about 0:00:26 left *\n", last)
    assert re.search(r"evaluation .*about 0:00:06 left .*2\.8", last)


def test_the_test_likelihood_takes_the_place_of_the_evaluations(clock):
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with StudyProgress(console, 1, clock=clock) as progress:
        progress.start_run("vae final, seed 1 of 3", 5, "vae final", 0, 3)
        for done in (500, 1000):
            clock.now += 3.0
            progress.show_test_progress(done, 2000)
        progress.refresh()
    last = console.file.getvalue()[-700:]
    assert re.search(r"final +0/3 +\S+ +vae final, seed 1 of 3", last)
    assert re.search(r"test +\S+ +50/100 +\S+ +about 0:00:06 left +likelihood", last)


def test_a_pipe_is_given_one_line_an_event_and_no_control_character(clock):
    text = shown(clock, terminal=False)
    assert text.splitlines() == ["vae #0: complete", "vae #1: complete"]


def test_after_a_silence_a_pipe_shows_how_far_the_work_is(clock):
    text = shown(clock, terminal=False, interval_seconds=SILENCE_SECONDS / 2)
    assert all(character.isprintable() or character == "\n" for character in text)
    lines = text.splitlines()
    assert lines[0] == "vae #0 latent_size=4: evaluation 2 of 5, 2.800 bits/dim, 33 images/s, about 0:01:30 left"
    assert lines[2] == "vae #0: complete"
    assert lines[5] == "vae #1: complete"
    assert len(lines) == 7


def test_the_standing_of_a_study_is_shown_after_a_silence_too(clock):
    console = Console(file=io.StringIO(), width=1000)
    remaining = Eta({"vae search": Expected(3, 1.0)}, clock)
    with StudyProgress(console, 3, remaining, clock) as progress:
        progress.start_run("vae #0", 5, "vae search", 0, 3)
        clock.now = 2 * SILENCE_SECONDS
        progress.show_best("vae", 2.5, 0)
        progress.finish_run("vae search")
    assert console.file.getvalue() == (
        "1 of 3 runs in 0:02:00, about 0:04:00 left; best: vae 2.5000 bits/dim (trial 0)\n"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_a_quiet_console_shows_nothing_and_the_log_has_every_evaluation(clock, terminal, caplog):
    caplog.set_level(logging.INFO, "bench")
    assert shown(clock, terminal, quiet=True) == ""
    assert "vae #2 latent_size=6: begins" in caplog.messages
    assert "vae #1 latent_size=5: evaluation 3 of 5, 2.700 bits/dim, 500 images/s" in caplog.messages
    assert caplog.messages.count("vae #1: complete") == 1
    assert "1 of 4 runs in 0:00:10, about 0:00:40 left; best: vae 2.5000 bits/dim (trial 0)" in caplog.messages


def test_a_run_s_name_cannot_command_the_terminal(clock):
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    with StudyProgress(console, 1, clock=clock) as progress:
        progress.say("vae \x1b[2J\rname [bold]=1\nfailed")
    assert console.file.getvalue() == "vae [2J name [bold]=1 failed\n"


def test_likelihoods_are_said_in_the_unit_of_the_data(clock):
    console = Console(file=io.StringIO(), width=1000)
    with StudyProgress(console, 3, clock=clock, unit="bits/character") as progress:
        progress.start_run("vae #0", 5, "vae search", 0, 3)
        clock.now = 2 * SILENCE_SECONDS
        progress.show_evaluation(EvaluationRecord(1, 10, 1.0, {"validation/bits_per_dim": 2.5}))
        progress.show_best("vae", 2.5, 0)
        clock.now = 4 * SILENCE_SECONDS
        progress.finish_run()
    said = console.file.getvalue()
    assert "2.500 bits/character" in said
    assert "vae 2.5000 bits/character (trial 0)" in said
    assert "bits/dim" not in said
