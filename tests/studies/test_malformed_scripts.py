"""Study scripts that declare no study that can run."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import SettingsError
from bench.study.definition import Study
from studies.cli.loading import load_study
from tests.studies.faults import ANY

PRELUDE = """
from bench.study.config import TrainingConfig
from bench.study.search_space import Choices, Integers, Reals
from bench.study.definition import Arm, Study
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig
VAE = Arm(VAEConfig(latent_size=8), sweep={'latent_size': Integers(2, 16)})
"""


def declared(arms: str = "(VAE,)", name: str = "'mine'", question: str = "'What?'", more: str = "") -> str:
    return f"{PRELUDE}STUDY = Study(name={name}, question={question}, arms={arms}{more})\n"


def swept(sweep: str) -> str:
    return declared(f"(Arm(VAEConfig(latent_size=8), sweep={sweep}),)")


SCRIPTS: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", r"declares no study: it needs STUDY = Study"),
    "of another type": ("STUDY = {}", r"declares no study"),
    "no Python": ("def (", r"line 1: SyntaxError|cannot be run: SyntaxError"),
    "no text": (b"\xff\xfe\0\0", r"cannot be run: \w+Error"),
    "raises": ("x = 1\n1 / 0", r"line 2: ZeroDivisionError: division by zero"),
    "raises many lines": ("raise ValueError('one\\ntwo\\x1b[31m')", r"line 1: ValueError: one two"),
    "raises without a word": ("raise AssertionError", r"line 1: AssertionError"),
    "exits": ("raise SystemExit(0)", r"line 1: SystemExit: 0"),
    "imports what is not there": ("import gone_for_good", r"line 1: ModuleNotFoundError: .*gone_for_good"),
    "calls itself": ("def f(): f()\nf()", r"RecursionError"),
    "no arms": (declared("()"), r"mine has no arms: it needs one or more"),
    "an arm twice": (declared("(VAE, VAE)"), r"two arms of mine are called 'vae': give each a name"),
    "an arm that is none": (declared("('vae',)"), r"arms\.0='vae': Input should be .*Arm"),
    "arms that are none": (declared("None"), r"arms=None: Input should be a valid tuple"),
    "an arm called as the final runs": (declared("(Arm(VAEConfig(), name='final'),)"), r"cannot be called 'final'"),
    "a model that is none": (declared("(Arm('vae'),)"), r"line \d+: model='vae' is not the configuration of a model"),
    "a condition on a later parameter": (
        swept("{'beta': Reals(0.5, 1.0, when={'latent_size': 8}), 'latent_size': Integers(2, 16)}"),
        r"line \d+: beta is swept when latent_size has a value: it must be swept before it",
    ),
    "a model out of range": (declared("(Arm(VAEConfig(latent_size=0), {}),)"), r"latent_size=0: .*greater than or"),
    "a model of an unknown setting": (declared("(Arm(VAEConfig(depth=1), {}),)"), r"depth=1: Extra inputs"),
    "a training that is none": (declared("(Arm(VAEConfig(), {}, training=3),)"), r"training=3: Input should be"),
    "no question": (f"{PRELUDE}STUDY = Study(name='mine', arms=(VAE,))", r"question=.*: Field required"),
    "a question that is none": (declared(question="5"), r"question=5: Input should be a valid string"),
    "a name with a path": (declared(name="'../up'"), r"name='\.\./up': String should match pattern"),
    "a name with a line": (declared(name="'a\\nb'"), r"name='a\\nb': String should match"),
    "a long name": (declared(name="'x' * 100"), r"name='x+…?'?: String should match"),
    "an unknown sampler": (declared(more=", sampler='grid'"), r"sampler='grid': one of tpe, qmc, random"),
    "a sampler that Optuna has not": (declared(more=", sampler='NoSampler'"), r"Optuna has no NoSampler: one of "),
    "an unknown parameter": (swept("{'depth': Integers(1, 2)}"), r"no setting is called 'depth': one of "),
    "a sweep that is none": (swept("[Integers(1, 2)]"), r"sweep=\[.*: Input should be a valid (dictionary|mapping)"),
    "a range that is none": (swept("{'latent_size': (2, 16)}"), r"latent_size.*=\(2, 16\): Input should be"),
    "reals for a whole number": (swept("{'latent_size': Reals(2.0, 16.0)}"), r"latent_size=7\.3\d*: .*valid integer"),
    "choices of another type": (swept("{'latent_size': Choices((8, 'many'))}"), r"latent_size='many': .*valid integer"),
    "choices out of range": (swept("{'activation': Choices(('relu', 'sin'))}"), r"activation='sin': .*'relu'"),
    "no choice": (swept("{'activation': Choices(())}"), r"Choices needs one value or more"),
    "choices that are none": (swept("{'latent_size': Choices(((8,),))}"), r"latent_size=\(8,\): .*valid integer"),
    "choices without end": (
        swept("{'beta': Choices((1.0, float('nan')))}"),
        r"cannot hold nan: .*finite number",
    ),
    "a range out of range": (swept("{'learning_rate': Reals(-1.0, 1.0)}"), r"learning_rate=-1\.0: .*greater than 0"),
    "an empty range": (swept("{'latent_size': Integers(8, 2)}"), r"range 8 … 2, whole is empty: it needs low <= high"),
    "an empty real range": (swept("{'learning_rate': Reals(1.0, 0.1)}"), r"range 1 … 0\.1 is empty"),
    "a first value outside": (
        swept("{'latent_size': Integers(10, 20)}"),
        r"latent_size=8 .* outside its sweep 10 … 20",
    ),
    "a range by ratio from 0": (swept("{'beta': Reals(0.0, 1.0, log=True)}"), r"cannot be spaced by ratio: .*low > 0"),
    "a range to nan": (swept("{'beta': Reals(float('nan'), 1.0)}"), r"nan: Input should be a finite number"),
    "a range to infinity": (swept("{'beta': Reals(1.0, float('inf'))}"), r"inf: Input should be a finite number"),
    "whole numbers that are not": (
        swept("{'latent_size': Integers(1.5, 8)}"),
        r"=1\.5: Input should be a valid integer",
    ),
    "whole numbers as text": (swept("{'latent_size': Integers('2', 8)}"), r"='2': Input should be a valid integer"),
    "numbers too large": (swept("{'latent_size': Integers(2, 10**400)}"), r"=10+…: Input should be less than or equal"),
    "real numbers too large": (swept("{'beta': Reals(1, 10**400)}"), r"=10+…: Input should be"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_study_script_that_declares_none_that_can_run_is_refused(refused, tmp_path, name):
    text, message = SCRIPTS[name]
    script = tmp_path / "mine.py"
    script.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(message, "study", "mine.py")


def test_a_study_script_that_is_no_file_is_refused(refused, tmp_path):
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    refused(r"study script 'folder\.py' is not a file", "study", "folder.py")
    refused(r"study script 'pipe\.py' is not a file", "study", "pipe.py")
    refused(r"study script 'gone\.py' does not exist", "study", "gone.py")
    refused(r"no study is called 'vae_v_glow' \(did you mean vae_vs_glow\?\)", "study", "vae_v_glow")
    refused(r"no study is called ''", "study", "")


FAULTS = ("", "(", "0", "None", "float('nan')", "'latent_size'", "10**400", "-1", "[]", "\n", "STUDY", "*", "lambda: 0")


@ANY
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_any_fault_in_a_script_is_taken_or_refused(tmp_path, data):
    tokens = re.split(r"(\W)", declared(more=", sampler='tpe'").removeprefix(PRELUDE))
    place = data.draw(st.integers(0, len(tokens) - 1))
    tokens[place] = data.draw(st.sampled_from(FAULTS))
    script = tmp_path / "mine.py"
    script.write_text(PRELUDE + "".join(tokens))
    try:
        study = load_study(str(script))
    except SettingsError as error:
        outcome = str(error)
    else:
        outcome = f"mine.py declares {study.name}"
        assert isinstance(study, Study)
    assert "mine.py" in outcome
