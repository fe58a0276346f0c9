"""Data that is no images, or more than it says."""

from __future__ import annotations

import os
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.core.errors import DataError
from bench.data.registry import load
from tests.bench.data.sounds import wav
from tests.studies.faults import ANY, Make, any_bytes, raw

STUDY = ("study", "vae_vs_glow")


def images(n: int = 12, **changes: object) -> dict[str, object]:
    return {"x_train": np.arange(n * 64).reshape(n, 8, 8).astype(np.uint8) % 17, "grey_levels": 17, **changes}


def npz(**changes: object) -> Make:
    arrays = {name: value for name, value in images(**changes).items() if value is not None}
    return lambda path: np.savez_compressed(path.open("wb"), **arrays)


def truncated(path: Path) -> None:
    npz()(path)
    path.write_bytes(path.read_bytes()[:-40])


def forged(header: bytes, data: bytes = b"", name: str = "x_train.npy", flags: int = 0) -> Make:
    """An archive with an array whose header says what one likes."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, b"\x93NUMPY" + header + data)
        if flags:
            content = bytearray(path.read_bytes())
            content[content.index(b"PK\x01\x02") + 8] |= flags
            path.write_bytes(content)

    return make


def header(text: bytes, version: bytes = b"\x01\x00") -> bytes:
    width = 2 if version == b"\x01\x00" else 4
    return version + len(text).to_bytes(width, "little") + text


def of_shape(shape: str, dtype: str = "|u1") -> bytes:
    return header(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode())


def painted(count: int = 6) -> Make:
    """A folder of small grey images."""

    def make(folder: Path) -> None:
        folder.mkdir()
        for number in range(count):
            Image.new("L", (8, 8), number).save(folder / f"{number}.png")

    return make


def with_file(name: str, make: Make) -> Make:
    """A folder of images with something else in it."""

    def made(folder: Path) -> None:
        painted()(folder)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        make(folder / name)

    return made


def folder_of(name: str, make: Make) -> Make:
    """A folder of one file."""

    def made(folder: Path) -> None:
        folder.mkdir()
        make(folder / name)

    return made


def picture(mode: str, size: tuple[int, int] = (8, 8), **options: object) -> Make:
    return lambda path: Image.new(mode, size).save(path, **options)


def array(values: np.ndarray) -> Make:
    return lambda path: np.save(path, values)


def cut_picture(path: Path) -> None:
    """A file with a header of an image and a part of its pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:70])


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scans/0.png", b"")


def damaged(path: Path) -> None:
    npz(x_train=np.random.default_rng(0).integers(0, 17, (900, 8, 8), np.uint8))(path)
    content = bytearray(path.read_bytes())
    content[-9000:-8900] = bytes(100)
    path.write_bytes(content)


def huge_picture(path: Path) -> None:
    """A small file that claims to be 50,000 pixels wide and high."""
    Image.new("L", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (50_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


DATA: dict[str, tuple[str, Make | None, str]] = {
    "missing": ("my.npz", None, r"no data set 'my\.npz'"),
    "of no name": ("", None, r"no data set ''"),
    "of a long name": ("a" * 5000, None, r"data set"),
    "an empty file": ("my.npz", raw(b""), r"my\.npz cannot be read: .*accepted"),
    "no archive": ("my.npz", raw(b"x" * 5000), r"my\.npz cannot be read: File is not a zip file"),
    "digits in text": (
        "my.csv",
        raw(b"label," + b"pixel," * 783 + b"pixel\n1" + b",0" * 784 + b"\n"),
        r"my\.csv cannot be read: it is text\. In Python type import numpy as np; x = np\.loadtxt\('my\.csv', "
        r"dtype=int, delimiter=',', skiprows=1\); np\.savez\('my\.npz', images=x\[:, 1:\]\.reshape\(-1, 28, 28\), "
        r"labels=x\[:, 0\]\), and give",
    ),
    "text with labels last": (
        "my.tsv",
        raw(b"a\tb\tc\td\tClass\n1\t2\t3\t4\t0\n"),
        r"delimiter='\\t', skiprows=1\); .* images=x\[:, :-1\]\.reshape\(-1, 2, 2\), labels=x\[:, -1\]\)",
    ),
    "text of squares": (
        "my.txt",
        raw(b"0 1 2 3 4 5 6 7 8\n"),
        r"np\.loadtxt\('my\.txt', dtype=int\); np\.savez\('my\.npz', images=x\.reshape\(-1, 3, 3\)\), and give my\.npz",
    ),
    "text of other numbers": ("my.csv", raw(b"1,2,3\n"), r"images=x\.reshape\(-1, HEIGHT, WIDTH\)\)"),
    "text that is empty": ("my.csv", raw(b""), r"my\.csv cannot be read: it is text"),
    "one image": ("my.png", picture("L"), r"my\.png cannot be read: it is one image: give the folder"),
    "a zip of images": ("my.zip", zipped, r"my\.zip cannot be read: it is an archive of files: unpack it, and give"),
    "a tar": ("my.tar.gz", raw(b"\x1f\x8b"), r"my\.tar\.gz cannot be read: it is compressed: unpack it"),
    "a pickle of a network": ("my.pt", raw(b"\x80\x04"), r"my\.pt cannot be read: it is a pickle, .*never opened"),
    "a file of MATLAB's": ("my.mat", raw(b"MATLAB"), r"my\.mat cannot be read: .*scipy\.io\.loadmat"),
    "an array that ends": ("my.npy", raw(b"\x93NUMPY"), r"my\.npy cannot be read: EOF"),
    "an array that is flat": ("my.npy", array(np.zeros((9, 64), np.uint8)), r"type x\.reshape\(-1, 8, 8\)\."),
    "an array of objects": ("my.npy", array(np.array([[[{}]]] * 9)), r"my\.npy has dtype object; .*never opened"),
    "signed bytes": (
        "my.npz",
        npz(x_train=np.arange(-128, 128).repeat(64).reshape(256, 8, 8).astype(np.int8), grey_levels=None),
        r"x_train holds the value -128; .*: type \(x\.astype\(int\) \+ 128\)\.astype\(np\.uint8\)\.$",
    ),
    "a value beyond its grey levels": (
        "my.npz",
        npz(n=99, x_test=np.full((9, 8, 8), 17)),
        r"x_test holds the value 17",
    ),
    "damage inside": ("my.npz", damaged, r"x_train cannot be read: "),
    "an empty archive": ("my.npz", raw(b"PK\x05\x06" + bytes(18)), r"holds the arrays none; x_train .*accepted"),
    "truncated": ("my.npz", truncated, r"my\.npz.* cannot be read"),
    "a pipe": ("my.npz", os.mkfifo, r"'my\.npz' is a pipe or a device; a file or a folder is accepted"),
    "a device": ("/dev/zero", None, r"'/dev/zero' is a pipe or a device"),
    "a link to itself": ("my.npz", lambda path: path.symlink_to(path), r"data set 'my\.npz'"),
    "a bomb by header": (
        "my.npz",
        forged(of_shape("(1000000, 1000, 1000)")),
        r"holds 0 bytes, but .* takes 1,000,000,",
    ),
    "a bomb beyond numbers": ("my.npz", forged(of_shape(f"({10**30}, 8, 8)")), r"x_train cannot be read: .*the shape"),
    "a bomb of a header": (
        "my.npz",
        forged(b"\x02\x00" + (2**32 - 1).to_bytes(4, "little"), b" " * 10**6),
        r"x_train cannot be read: EOF",
    ),
    "a header that is deep": ("my.npz", forged(header(b"(" * 9000)), r"x_train cannot be read"),
    "a header that is no dictionary": ("my.npz", forged(header(b"[1]\n")), r"x_train cannot be read: Header is not"),
    "a header of odd keys": ("my.npz", forged(header(b"{[]: 1}\n")), r"x_train cannot be read"),
    "a header that is no text": (
        "my.npz",
        forged(header(b"\xff" * 20, b"\x03\x00")),
        r"array format is version \(3, 0\)",
    ),
    "a negative shape": ("my.npz", forged(of_shape("(-9, 8, 8)")), r"its header gives the shape \(-9, 8, 8\)"),
    "less data than said": (
        "my.npz",
        forged(of_shape("(900000, 8, 8)"), bytes(64)),
        r"holds 64 bytes, but its shape .* takes 57,6",
    ),
    "more data than said": (
        "my.npz",
        forged(of_shape("(9, 8, 8)"), bytes(10**6)),
        r"x_train cannot be read: it holds 1,000,000 bytes, but its shape \(9, 8, 8\) takes 576",
    ),
    "encrypted": ("my.npz", forged(of_shape("(9, 8, 8)"), bytes(576), flags=1), r"x_train cannot be read: .*password"),
    "a pickle": ("my.npz", npz(x_train=np.array([[[{}]]] * 9, dtype=object)), r"dtype object; .*never opened"),
    "a pickle for labels": ("my.npz", npz(y_train=np.array([{}] * 12, dtype=object)), r"y_train has dtype object"),
    "a pickle for grey levels": ("my.npz", npz(grey_levels=np.array({}, dtype=object)), r"grey_levels has shape \(\)"),
    "structures": ("my.npz", npz(x_train=np.zeros((9, 8, 8), "u1,u1")), r"x_train has dtype .*; integer grey levels"),
    "floats": ("my.npz", npz(x_train=np.zeros((9, 8, 8))), r"x_train has dtype float64; integer grey levels"),
    "complex": ("my.npz", npz(x_train=np.zeros((9, 8, 8), complex)), r"x_train has dtype complex128"),
    "dates": ("my.npz", npz(x_train=np.zeros((9, 8, 8), "M8[s]")), r"x_train has dtype datetime64"),
    "flat": ("my.npz", npz(x_train=np.zeros((9, 64), np.uint8)), r"x_train has shape \(9, 64\); \(n, height, width\)"),
    "of five axes": ("my.npz", npz(x_train=np.zeros((9, 8, 8, 1, 1), np.uint8)), r"x_train has shape"),
    "of one number": ("my.npz", npz(x_train=np.uint8(1)), r"x_train has shape \(\)"),
    "of many channels": ("my.npz", npz(x_train=np.zeros((9, 8, 8, 5), np.uint8)), r"5 channels; 1 to 4 channels"),
    "of no pixels": ("my.npz", npz(x_train=np.zeros((9, 0, 8), np.uint8)), r"0x8 pixels"),
    "too few": ("my.npz", npz(n=5), r"too few images \(5 in train\) .*2 or more"),
    "one of validation": ("my.npz", npz(x_val=np.zeros((1, 8, 8), int)), r"too few images \(12 in train, 1 in val"),
    "an empty split": ("my.npz", npz(x_test=np.zeros((0, 8, 8), np.uint8)), r"x_test is empty"),
    "mixed sizes": ("my.npz", npz(x_test=np.zeros((3, 8, 9), np.uint8)), r"different shapes: x_train .*, x_test"),
    "a split twice": (
        "my.npz",
        npz(x_val=np.zeros((3, 8, 8), np.uint8), x_valid=np.zeros((3, 8, 8), np.uint8)),
        r"x_valid, x_val, which mean the same",
    ),
    "other arrays": ("my.npz", npz(x_train=None, z=[1]), r"holds the arrays .*z; x_train .* are accepted"),
    "a thousand other arrays": (
        "my.npz",
        npz(x_train=None, **{f"a{i}": [1] for i in range(1000)}),
        r"a10, 989 more; x_train",
    ),
    "names with paths": ("my.npz", forged(of_shape("(9, 8, 8)"), name="../../x_train.npy"), r"holds the arrays \.\./"),
    "grey levels of 1": ("my.npz", npz(grey_levels=1), r"grey_levels is 1; 2 to 65536"),
    "grey levels in parts": ("my.npz", npz(grey_levels=2.5), r"grey_levels has shape \(\) and dtype float64"),
    "labels of another length": ("my.npz", npz(y_train=np.zeros(3, int)), r"y_train has shape \(3,\) for 12 images"),
    "labels below 0": ("my.npz", npz(y_train=np.full(12, -1)), r"y_train holds the label -1; .*counted from 0"),
    "labels beyond measure": (
        "my.npz",
        npz(y_train=np.full(12, 2**62)),
        r"y_train holds the label 4611686018427387904",
    ),
    "labels of no images": ("my.npz", npz(y_test=[1]), r"y_test are labels without images; x_test is missing"),
    "images of odd size": (
        "my.npz",
        npz(x_train=np.zeros((60, 7, 7), np.uint8)),
        r"glow cannot be trained on my: .*7x7",
    ),
    "an empty folder": ("scans", Path.mkdir, r"scans holds no image; files that end in \.bmp"),
    "a folder of one image": ("scans", painted(1), r"too few images \(1 in all\)"),
    "images beside folders": ("scans", with_file("more/x.png", picture("L")), r"lies beside the folder of .*x\.png"),
    "an image whose pixels end": ("scans", with_file("x.png", cut_picture), r"x\.png cannot be read as an image"),
    "an empty part": ("scans", with_file("train/.keep", raw(b"")), r"scans holds images beside .*train"),
    "test without train": ("scans", with_file("test/a.png", picture("L")), r"test stands without a folder"),
    "two validations": (
        "scans",
        lambda path: [(path / part).mkdir(parents=True) for part in ("train", "val", "valid")],
        r"mean the same",
    ),
    "an image that is text": ("scans", with_file("x.png", raw(b"hello")), r"x\.png cannot be read as an image"),
    "an empty image": ("scans", with_file("x.png", raw(b"")), r"x\.png cannot be read as an image"),
    "an image that ends": ("scans", with_file("x.png", raw(b"\x89PNG\r\n\x1a\n\0\0")), r"x\.png cannot be read"),
    "a picture in a program's clothes": (
        "scans",
        with_file("x.png", picture("L", format="PPM")),
        r"x\.png cannot be read",
    ),
    "an image that is a bomb": ("scans", with_file("x.png", huge_picture), r"x\.png cannot be read .*bomb"),
    "images of two sizes": ("scans", with_file("x.png", picture("L", (9, 8))), r"x\.png.* 9x8 grey|8x8 grey.*9x8 grey"),
    "images of two kinds": ("scans", with_file("x.png", picture("RGB")), r"8x8 (grey|colour), but .* (grey|colour)"),
    "an image with alpha": ("scans", with_file("x.png", picture("RGBA")), r"x\.png has an alpha channel"),
    "an image of 16 bits": ("scans", with_file("x.png", picture("I;16")), r"x\.png has 16 bits per value"),
    "an image of ink": ("scans", with_file("x.jpg", picture("CMYK")), r"x\.jpg has the mode CMYK"),
    "an image that moves": (
        "scans",
        with_file("x.gif", picture("L", save_all=True, append_images=[Image.new("L", (8, 8), 9)])),
        r"x\.gif holds several frames",
    ),
    "an image that is a pipe": ("scans", with_file("x.png", os.mkfifo), r"x\.png is a pipe, a device or a broken link"),
    "an image that is a broken link": (
        "scans",
        with_file("x.png", lambda path: path.symlink_to("gone.png")),
        r"x\.png is a pipe, a device or a broken link",
    ),
    "an image that links to itself": (
        "scans",
        with_file("x.png", lambda path: path.symlink_to(path)),
        r"x\.png cannot be followed",
    ),
    "an image that lies outside": (
        "scans",
        with_file("x.png", lambda path: path.symlink_to("/etc/hostname")),
        r"x\.png links to /etc/hostname, outside",
    ),
    "a folder that lies outside": (
        "scans",
        with_file("sub", lambda path: path.symlink_to("/etc")),
        r"is a link to a folder",
    ),
    "an image of no name": (
        "scans",
        with_file(os.fsdecode(b"\xff\xfe.png"), raw(b"hello")),
        r"\.png cannot be read as an image",
    ),
    "an empty text": ("my.txt", raw(b""), r"my\.txt is empty"),
    "a text of one symbol": ("my.txt", raw(b"a" * 9999), r"holds one symbol alone, 'a'"),
    "a text that is no UTF-8": ("my.txt", raw("Grüße ".encode("latin-1") * 99), r"byte 2 is 0xfc .*--text-unit bytes"),
    "a binary called text": ("my.txt", raw(b"\x89PNG\r\n" * 99), r"my\.txt is no UTF-8: byte 0 is 0x89"),
    "zeros called text": ("my.txt", raw(bytes(999)), r"my\.txt is no text: byte 0 is 0"),
    "a text of few windows": ("my.txt", raw(b"to be or not " * 20), r"too few windows of 64 characters \(4 in all\)"),
    "texts of few windows": ("books", folder_of("a.txt", raw(b"ab")), r"books: too few windows of 64 characters"),
    "a text in another format": (
        "my.rst",
        raw(b"ab"),
        r"my\.rst cannot be read: it may be text: --text-unit characters",
    ),
    "a recording of no samples": ("my.wav", raw(wav(np.zeros(0))), r"too few windows of 256 samples \(0 in all\)"),
    "a recording that ends": ("my.wav", raw(wav(np.zeros(999))[:-9]), r"holds 999 samples, and holds 994: it is cut"),
    "a recording whose header ends": ("my.wav", raw(wav(np.zeros(999))[:30]), r"my\.wav ends within its header"),
    "a recording that is none": ("my.wav", raw(b"hello, world"), r"my\.wav is no WAV file, as its first bytes"),
    "a recording in another format": (
        "my.mp3",
        raw(b"ID3"),
        r"my\.mp3 cannot be read: it is sound of another .*ffmpeg",
    ),
    "recordings and images": ("scans", with_file("x.wav", raw(wav(np.zeros(9999)))), r"scans holds images and record"),
    "recordings of which one is none": ("words", folder_of("x.wav", raw(b"hello")), r"x\.wav is no WAV file"),
    "a recording that is a pipe": ("words", folder_of("x.wav", os.mkfifo), r"x\.wav is a pipe, a device or a broken"),
    "a file of no name": (os.fsdecode(b"\xff.npz"), npz(), r"has a name that is not valid text: rename it"),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_data_that_is_no_images_is_refused_by_the_run_and_by_the_dry_run(refused, tmp_path, name, dry):
    dataset, make, message = DATA[name]
    if make is not None:
        make(tmp_path / dataset)
    refused(message, *STUDY, "--dataset", dataset, *dry)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_data_that_may_not_be_read_is_refused(refused, tmp_path):
    npz()(tmp_path / "my.npz")
    (tmp_path / "my.npz").chmod(0)
    refused(r"my\.npz cannot be read: .*Permission denied", *STUDY, "--dataset", "my.npz")


def taken_or_refused(data: str) -> str:
    """What became of the user's data: its name, or the words of its refusal."""
    try:
        return load(data).info.source
    except DataError as error:
        return str(error)


@ANY
@given(data=st.data())
def test_any_bytes_are_an_archive_or_are_refused(tmp_path, data):
    whole = BytesIO()
    np.savez_compressed(whole, **images(y_train=np.zeros(12, int)))
    file = tmp_path / "my.npz"
    file.write_bytes(any_bytes(data, whole.getvalue()))
    assert "my.npz" in taken_or_refused(str(file))


@ANY
@given(data=st.data(), kind=st.sampled_from(["PNG", "GIF", "BMP", "JPEG", "TIFF", "WEBP"]))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_bytes_are_an_image_or_are_refused(tmp_path, data, kind):
    folder = tmp_path / "scans"
    if not folder.exists():
        painted()(folder)
    whole = BytesIO()
    Image.new("L", (8, 8), 9).save(whole, kind)
    (folder / "x.png").write_bytes(any_bytes(data, whole.getvalue()))
    # Of two images that differ, the one that is as it should be may be named first.
    outcome = taken_or_refused(str(folder))
    assert "own folder scans" in outcome or ".png" in outcome


@ANY
@pytest.mark.filterwarnings("error")
@given(data=st.data(), form=st.sampled_from([(1, False), (2, False), (3, False), (4, True)]), extensible=st.booleans())
def test_any_bytes_are_a_recording_or_are_refused(tmp_path, data, form, extensible):
    file = tmp_path / "my.wav"
    file.write_bytes(any_bytes(data, wav(np.linspace(-1, 1, 4000), 8000, *form, extensible)))
    assert "my.wav" in taken_or_refused(str(file))


@ANY
@given(data=st.data())
def test_any_bytes_are_a_text_or_are_refused(tmp_path, data):
    file = tmp_path / "my.txt"
    file.write_bytes(any_bytes(data, "Grüße, 世界! ".encode() * 99))
    assert "my.txt" in taken_or_refused(str(file))
