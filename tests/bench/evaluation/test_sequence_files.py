"""Sequences of a run become text that people read, and sounds that they play."""

from __future__ import annotations

import io
import wave

import pandas as pd

from bench.core.sequences import decode_waveform
from bench.data.dataset import DatasetInfo
from bench.evaluation.sequence_files import sequence_files


def table(*windows):
    """Windows (drawn, values), their rows in no order."""
    rows = [
        (drawn, number, position, value)
        for number, (drawn, values) in enumerate(windows)
        for position, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows, columns=["drawn", "sequence", "position", "value"])
    return {"sequences": frame.sample(frac=1, random_state=0)}


def test_text_is_one_file_of_held_out_windows_and_one_of_samples():
    symbols = ("\n", "a", "é")
    info = DatasetInfo("t", (1, 3, 1), 3, {}, 0, "", kind="text", encoding="characters", symbols=symbols)
    files = sequence_files(table((0, [1, 2, 0]), (0, [2, 2, 2]), (1, [1, 1, -1])), info)
    assert {name: content.decode() for name, content in files.items()} == {
        "sequences/held-out.txt": "aé\n\n\n--------\n\nééé",
        "sequences/sample.txt": "aa\ufffd",
    }


def test_each_sound_is_a_wav_file():
    info = DatasetInfo("s", (1, 4, 1), 256, {}, 0, "", kind="audio", encoding="mu-law", sample_rate=8000)
    files = sequence_files(table((0, [128, 0, 255, 10]), (1, [1, 2, 3, 4]), (1, [5, 6, 7, 8])), info)
    assert set(files) == {"sequences/held-out-1.wav", "sequences/sample-1.wav", "sequences/sample-2.wav"}
    with wave.open(io.BytesIO(files["sequences/held-out-1.wav"])) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (8000, 4)
        frames = sound.readframes(4)
    found = [int.from_bytes(frames[i : i + 2], "little", signed=True) / (2**15 - 1) for i in range(0, 8, 2)]
    assert max(abs(found - decode_waveform([128, 0, 255, 10], "mu-law"))) < 1e-4


def test_images_have_none():
    assert sequence_files({}, DatasetInfo("d", (8, 8, 1), 17, {}, 0, "")) == {}
