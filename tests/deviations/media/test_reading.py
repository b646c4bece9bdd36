"""What the child says of a file: its type by content, its size, and whether all of it is there."""

import io
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deviations.media import child
from deviations.media.errors import Refused
from deviations.media.kinds import KINDS, kind_of_name, normal_content_type, sniff
from deviations.media.read import read
from tests import pictures
from tests.deviations.media import bombs


def reading(tmp_path: Path, data: bytes, content_type: str) -> dict[str, Any]:
    path = tmp_path / "file"
    path.write_bytes(data)
    return read({"path": str(path), "content_type": content_type})


def refusal(tmp_path: Path, data: bytes, content_type: str) -> Refused:
    with pytest.raises(Refused) as refused:
        reading(tmp_path, data, content_type)
    return refused.value


class TestWhatIsAccepted:
    @pytest.mark.parametrize(("content_type", "extension", "make"), pictures.KINDS)
    def test_every_kind_is_read_with_its_size(self, tmp_path, content_type, extension, make):
        found = reading(tmp_path, make(3, size=(60, 50)), content_type)
        assert (found["content_type"], found["width"], found["height"]) == (content_type, 60, 50)
        assert found["duration_seconds"] == (2.0 if content_type.startswith("video/") else None)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
    def test_every_kind_of_png_is_read(self, tmp_path, mode):
        target = io.BytesIO()
        Image.new(mode, (30, 20)).save(target, "PNG")
        assert reading(tmp_path, target.getvalue(), "image/png")["width"] == 30

    @pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
    def test_every_kind_of_jpeg_is_read(self, tmp_path, mode):
        assert reading(tmp_path, pictures.jpeg(mode=mode, progressive=True), "image/jpeg")["width"] == 320

    @pytest.mark.parametrize(
        ("make", "content_type"),
        [(pictures.gif, "image/gif"), (pictures.webp, "image/webp")],
    )
    def test_animations_are_read(self, tmp_path: Path, make: Callable[..., bytes], content_type: str) -> None:
        assert reading(tmp_path, make(frames=5), content_type)["width"] > 0

    def test_an_animated_png_is_read(self, tmp_path):
        target = io.BytesIO()
        frames = [pictures.draw(number) for number in range(4)]
        frames[0].save(target, "PNG", save_all=True, append_images=frames[1:])
        assert b"acTL" in target.getvalue()
        assert reading(tmp_path, target.getvalue(), "image/png")["width"] == 320

    def test_the_size_is_that_of_the_picture_as_it_is_shown(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        found = reading(tmp_path, pictures.jpeg(size=(60, 50), exif=exif), "image/jpeg")
        assert (found["width"], found["height"]) == (50, 60)

    def test_a_workflow_of_several_megabytes_is_no_bomb(self, tmp_path):
        data = pictures.png(texts={"workflow": "{}" * 2_000_000})
        assert reading(tmp_path, data, "image/png")["width"] == 320

    def test_a_movie_that_was_held_upright_is_higher_than_wide(self, tmp_path):
        data = pictures.mp4(size=(320, 240))
        place = data.index(b"tkhd") + 4 + 40
        turned = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x4000_0000)
        found = reading(tmp_path, data[:place] + turned + data[place + 36 :], "video/mp4")
        assert (found["width"], found["height"]) == (240, 320)

    def test_a_live_recording_whose_length_nobody_knows_is_read(self, tmp_path):
        data = pictures.webm()
        duration = data.index(b"\x44\x89")
        # A Void element in the place of the duration: one byte of name less, so one byte of content more.
        without = data[:duration] + b"\xec" + (1 << 56 | 9).to_bytes(8, "big") + bytes(9) + data[duration + 18 :]
        segment = without.index(b"\x18\x53\x80\x67") + 4
        live = without[:segment] + b"\x01" + b"\xff" * 7 + without[segment + 8 :]
        found = reading(tmp_path, live, "video/webm")
        assert (found["width"], found["duration_seconds"]) == (320, None)


class TestTypes:
    SAMPLES = [(content_type, make(1)) for content_type, _extension, make in pictures.KINDS]
    OTHERS = {
        "text": b"This is only a text, whatever it is called.\n" * 50,
        "html": b"<!DOCTYPE html><script>alert(1)</script>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "psd": b"8BPS\x00\x01" + bytes(40),
        "fits": b"SIMPLE  =                    T" + bytes(2000),
        "icns": b"icns\x00\x00\x00\x10" + bytes(40),
        "tiff": b"II*\x00\x08\x00\x00\x00" + bytes(100),
        "bmp": b"BM" + bytes(100),
        "jpeg2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100),
        "avif": pictures.box(b"ftyp", b"avif", bytes(4), b"mif1") + bytes(100),
        "heic": pictures.box(b"ftyp", b"heic", bytes(4), b"mif1") + bytes(100),
        "wav": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100),
        "matroska": pictures.webm(doctype=b"matroska"),
        "playlist": b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1/a.ts\n",
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "zip": b"PK\x03\x04" + bytes(100),
        "elf": b"\x7fELF" + bytes(100),
        "zeros": bytes(1000),
        "a byte": b"\xff",
    }

    @pytest.mark.parametrize("announced", KINDS)
    @pytest.mark.parametrize(("found", "data"), SAMPLES)
    def test_a_file_is_only_taken_as_what_it_is(self, tmp_path, announced, found, data):
        if announced == found:
            assert reading(tmp_path, data, announced)["content_type"] == found
        else:
            refused = refusal(tmp_path, data, announced)
            assert refused.code == "type_differs"
            assert refused.params == {"announced": announced, "found": found}

    @pytest.mark.parametrize("announced", ["image/png", "image/jpeg", "video/mp4", "video/webm"])
    @pytest.mark.parametrize("name", OTHERS)
    def test_what_we_do_not_accept_is_never_given_to_a_decoder(self, tmp_path, monkeypatch, announced, name):
        monkeypatch.setattr(Image, "open", lambda *_arguments, **_options: pytest.fail("a decoder was asked"))
        assert refusal(tmp_path, self.OTHERS[name], announced).code == "unknown_type"

    def test_an_empty_file_is_damaged(self, tmp_path):
        assert refusal(tmp_path, b"", "image/png").code == "damaged"

    def test_only_the_decoder_of_the_type_is_asked(self, tmp_path, monkeypatch):
        asked = []
        really = Image.open

        def noted(source, formats):
            asked.append(formats)
            return really(source, formats=formats)

        monkeypatch.setattr(Image, "open", noted)
        for content_type, data in self.SAMPLES:
            reading(tmp_path, data, content_type)
        assert asked == [["JPEG"], ["PNG"], ["GIF"], ["WEBP"]]

    def test_other_names_of_a_type_mean_the_same(self):
        assert normal_content_type("image/jpg") == normal_content_type("IMAGE/JPEG; q=1") == "image/jpeg"
        assert normal_content_type("image/svg+xml") == "image/svg+xml"

    @pytest.mark.parametrize(("name", "expected"), [("a.JPG", "image/jpeg"), ("a.b.qt", "video/quicktime")])
    def test_an_extension_promises_a_type(self, name, expected):
        kind = kind_of_name(name)
        assert kind is not None
        assert kind.content_type == expected

    @pytest.mark.parametrize("name", ["png", "a", "a.", "", ".", "a.png.exe", "a.svg"])
    def test_a_name_without_a_known_extension_promises_nothing(self, name):
        assert kind_of_name(name) is None

    def test_an_old_movie_without_a_type_box_is_a_movie(self):
        assert sniff(pictures.mov()[20:]) == "video/quicktime"


class TestDamage:
    @pytest.mark.parametrize(("content_type", "extension", "make"), pictures.KINDS)
    @pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
    def test_a_file_that_was_cut_off_is_damaged(self, tmp_path, content_type, extension, make, kept):
        data = make(5)
        refused = refusal(tmp_path, data[: int(len(data) * kept)], content_type)
        assert refused.code == "damaged"

    @pytest.mark.parametrize(("content_type", "extension", "make"), pictures.KINDS[:4])
    def test_a_picture_without_its_last_bytes_is_damaged(self, tmp_path, content_type, extension, make):
        assert refusal(tmp_path, make(5)[:-2], content_type).code == "damaged"

    def test_a_flipped_bit_in_a_png_is_damage(self, tmp_path):
        data = bytearray(pictures.png(5))
        data[len(data) // 2] ^= 1
        assert refusal(tmp_path, bytes(data), "image/png").code == "damaged"

    def test_a_movie_without_a_picture_is_no_video(self, tmp_path):
        data = pictures.mp4().replace(b"vide", b"soun")
        assert refusal(tmp_path, data, "video/mp4").code == "no_video"

    def test_a_movie_that_points_beyond_its_end_is_damaged(self, tmp_path):
        data = pictures.mp4()
        place = data.index(b"stco") + 12
        beyond = data[:place] + struct.pack(">I", len(data) + 1) + data[place + 4 :]
        assert refusal(tmp_path, beyond, "video/mp4").code == "damaged"

    @pytest.mark.parametrize(("content_type", "extension", "make"), pictures.KINDS)
    def test_random_damage_never_brings_the_reader_down(self, tmp_path, content_type, extension, make):
        dice = random.Random(7)
        whole = make(9, size=(40, 30))
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(dice.randrange(1, 8)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            with suppress(Refused):
                assert reading(tmp_path, bytes(data), content_type)["width"] > 0


class TestBombs:
    @pytest.mark.parametrize(
        ("content_type", "make", "code"), [bomb[1:] for bomb in bombs.BOMBS], ids=[bomb[0] for bomb in bombs.BOMBS]
    )
    def test_a_bomb_is_refused_and_costs_us_nothing(
        self, tmp_path: Path, content_type: str, make: Callable[[], bytes], code: str
    ) -> None:
        path = tmp_path / "bomb"
        path.write_bytes(make())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(Refused) as refused:
            child.run("read", {"path": str(path), "content_type": content_type})
        assert refused.value.code == code
        grown_kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kilobytes < 20_000
        # The next file is read as ever.
        path.write_bytes(pictures.png(1))
        assert child.run("read", {"path": str(path), "content_type": "image/png"})["width"] == 320

    def test_the_famous_bomb_is_as_small_as_it_is_said_to_be(self):
        assert len(bombs.png_of_many_pixels()) < 25_000


class TestTheChild:
    @pytest.fixture
    def as_child(self, tmp_path, monkeypatch):
        """Lets a few lines run as the child, in the place of a reader."""

        def install(lines: str) -> None:
            package = tmp_path / "deviations" / "media"
            package.mkdir(parents=True)
            for folder in (package.parent, package):
                (folder / "__init__.py").touch()
            (package / "read.py").write_text(textwrap.dedent(lines))
            monkeypatch.setattr(child, "PROJECT", tmp_path)

        return install

    def test_it_knows_none_of_our_secrets(self, as_child, settings):
        as_child("import json, os; print(json.dumps({'done': dict(os.environ)}))")
        environment = child.run("read", {})
        secrets = {settings.SECRET_KEY, settings.S3_SECRET_ACCESS_KEY, os.environ["DATABASE_URL"]}
        assert not secrets & set(environment.values())
        assert set(environment) <= {"PATH", "LANG", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE"}

    def test_it_has_no_file_of_ours_open(self, as_child, tmp_path):
        with (tmp_path / "secret").open("w") as kept:
            os.set_inheritable(kept.fileno(), True)
            as_child("import json, os; print(json.dumps({'done': {'open': os.listdir('/proc/self/fd')}}))")
            # The three standard ones, and the listing itself.
            assert len(child.run("read", {})["open"]) == 4

    def test_it_may_take_so_much_memory_and_no_more(self, tmp_path):
        lines = "from deviations.media.confined import confine; confine(); bytearray(2 * 1024**3)"
        done = subprocess.run([sys.executable, "-c", lines], cwd=child.PROJECT, capture_output=True, text=True)
        assert done.returncode == 1
        assert "MemoryError" in done.stderr

    def test_it_may_write_so_much_and_no_more(self, tmp_path):
        lines = (
            "from deviations.media.confined import confine; import sys; confine()\n"
            "f = open(sys.argv[1], 'wb'); f.truncate(300 * 1024**2)"
        )
        command = [sys.executable, "-c", lines, str(tmp_path / "large")]
        done = subprocess.run(command, cwd=child.PROJECT, capture_output=True, text=True)
        assert done.returncode != 0
        assert (tmp_path / "large").stat().st_size == 0

    def test_one_that_computes_for_ever_is_ended_as_too_complex(self, as_child):
        as_child("import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass")
        with pytest.raises(Refused) as refused:
            child.run("read", {})
        assert refused.value.code == "too_complex"

    def test_one_that_waits_for_ever_is_ended_as_too_complex(self, as_child, monkeypatch):
        monkeypatch.setattr(child, "CHILD_WALL_SECONDS", 0.5)
        as_child("import time; time.sleep(600)")
        with pytest.raises(Refused) as refused:
            child.run("read", {})
        assert refused.value.code == "too_complex"

    def test_one_that_is_killed_is_no_reason_against_the_file(self, as_child):
        as_child(f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})")
        with pytest.raises(child.ChildDied):
            child.run("read", {})

    @pytest.mark.parametrize("words", ["", "nonsense", "[]", "{}", '{"refused": 1}', '{"done": [1]}', "many"])
    def test_an_answer_that_makes_no_sense_is_none(self, as_child, words):
        as_child(f"print({words!r} if {words!r} != 'many' else 'x' * 10_000_000)")
        with pytest.raises(child.ChildDied):
            child.run("read", {})

    def test_what_it_complains_of_is_in_the_log(self, as_child, caplog):
        as_child("raise RuntimeError('a bug of ours')")
        with pytest.raises(child.ChildDied):
            child.run("read", {})
        assert "a bug of ours" in caplog.text
