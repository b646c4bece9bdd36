"""What the copies keep, and what they leave out."""

import hashlib
import io
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from deviations.media import child
from deviations.media.errors import Refused
from deviations.media.make import make
from deviations.media.perceptual import distance, perceptual_hash
from tests import pictures
from tests.deviations.media.bombs import png_chunk, png_with, riff, webp_of

SECRET = b"Serial 4711, 48.8584N 2.2945E"
TEXT = SECRET.decode()
SIZES = {"thumbnail": 640, "preview": 1600}


def making(folder: Path, data: bytes, **request: Any) -> dict[str, Any]:
    (folder / "original").write_bytes(data)
    options = {"keep_metadata": False, "pictures": SIZES, **request}
    return make({"path": str(folder / "original"), "folder": str(folder), **options})


def published(folder: Path, data: bytes) -> bytes:
    """The copy for DeviantArt, which must be another one than the original."""
    assert making(folder, data)["published"] is True
    return (folder / "published").read_bytes()


def pixels(data: bytes) -> list[bytes]:
    """Every frame, decoded."""
    with Image.open(io.BytesIO(data)) as image:
        frames = []
        for number in range(getattr(image, "n_frames", 1) if image.format != "MPO" else 1):
            image.seek(number)
            frames.append(image.convert("RGBA").tobytes())
    return frames


def shown(data: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data)))


def camera_exif(*, orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = TEXT
    exif.get_ifd(0x8769)[0xA431] = TEXT  # the body's serial number
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (48.0, 51.0, 30.0), "E", (2.0, 17.0, 40.0)
    return exif


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_with_everything(*, orientation: int = 1) -> bytes:
    data = pictures.jpeg(
        1,
        exif=camera_exif(orientation=orientation),
        icc_profile=pictures.SRGB_PROFILE,
        xmp=b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>",
        comment=SECRET,
    )
    more = (
        jpeg_segment(0xED, b"Photoshop 3.0\x008BIM" + SECRET)
        + jpeg_segment(0xEB, b"JP" + SECRET)
        + jpeg_segment(0xE2, b"MPF\0" + SECRET)
        + jpeg_segment(0xE0, b"JFXX\0\x10" + SECRET)
        + jpeg_segment(0xEC, b"Ducky" + SECRET)
    )
    tables = data.index(b"\xff\xdb")
    return data[:tables] + more + data[tables:] + b"a second file behind it: " + SECRET


class TestPictures:
    def with_everything(self) -> dict[str, bytes]:
        return {
            "jpeg": jpeg_with_everything(),
            "png": png_with(png_chunk(b"tIME", bytes(7)), png_chunk(b"prVt", SECRET), data=self.comfyui_png()) + SECRET,
            "gif": self.gif_with_comments(),
            "webp": pictures.webp(
                2, exif=camera_exif(), xmp=b"<x>" + SECRET + b"</x>", icc_profile=pictures.SRGB_PROFILE
            ),
        }

    def comfyui_png(self) -> bytes:
        texts = {"prompt": '{"3": {"class_type": "KSampler"}} ' + TEXT, "workflow": '{"nodes": []} ' + TEXT}
        return pictures.png(2, texts=texts, exif=camera_exif(), icc_profile=pictures.SRGB_PROFILE)

    def gif_with_comments(self) -> bytes:
        data = pictures.gif(2, frames=3)
        xmp = b"\x21\xff\x0bXMP DataXMP" + bytes([len(SECRET)]) + SECRET + b"\0"
        comment = b"\x21\xfe" + bytes([len(SECRET)]) + SECRET + b"\0"
        first = data.index(b"\x21\xff\x0bNETSCAPE2.0")
        return data[:first] + xmp + comment + data[first:] + SECRET

    @pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
    def test_nothing_personal_is_left_and_no_pixel_changed(self, tmp_path, kind):
        original = self.with_everything()[kind]
        assert SECRET in original
        copy = published(tmp_path, original)
        assert SECRET not in copy
        assert pixels(copy) == pixels(original)
        image = Image.open(io.BytesIO(copy))
        assert not image.getexif().get_ifd(0x8825)
        assert not image.info.keys() & {"prompt", "workflow", "comment", "xmp", "exif", "photoshop"}

    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
    def test_the_colour_profile_stays(self, tmp_path, kind):
        copy = published(tmp_path, self.with_everything()[kind])
        assert Image.open(io.BytesIO(copy)).info["icc_profile"] == pictures.SRGB_PROFILE

    def test_the_workflow_of_comfyui_is_gone(self, tmp_path):
        copy = published(tmp_path, self.comfyui_png())
        assert not [word for word in (b"KSampler", b"workflow", b"tEXt", b"zTXt", b"iTXt", b"eXIf") if word in copy]

    @pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
    def test_a_copy_of_a_copy_is_the_copy(self, tmp_path, kind):
        copy = published(tmp_path, self.with_everything()[kind])
        assert making(tmp_path, copy)["published"] is False

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
    def test_a_turned_picture_stays_turned(self, tmp_path, kind, orientation):
        exif = camera_exif(orientation=orientation)
        original = getattr(pictures, kind)(3, exif=exif)
        copy = published(tmp_path, original)
        assert Image.open(io.BytesIO(copy)).getexif().get(0x0112, 1) == orientation
        assert shown(copy).tobytes() == shown(original).tobytes()
        assert TEXT.encode() not in copy

    @pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
    @pytest.mark.parametrize("orientation", [1, 6])
    def test_where_nothing_is_to_be_taken_out_the_original_is_published(self, tmp_path, kind, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"exif": exif} if kind != "gif" and orientation != 1 else {}
        clean = getattr(pictures, kind)(4, **options)
        making(tmp_path, clean)
        # Its orientation alone is written in one way only; from then on it is as clean as one without.
        once = (tmp_path / "published").read_bytes()
        assert making(tmp_path, once)["published"] is False
        if not options:
            assert once == clean

    def test_an_artist_who_keeps_the_metadata_publishes_the_original(self, tmp_path):
        answer = making(tmp_path, jpeg_with_everything(), keep_metadata=True)
        assert answer["published"] is False
        assert not (tmp_path / "published").exists()

    def test_adobes_note_on_colours_stays(self, tmp_path):
        original = pictures.jpeg(5, mode="CMYK", comment=SECRET)
        copy = published(tmp_path, original)
        assert b"Adobe" in copy
        assert pixels(copy) == pixels(original)

    def test_a_preview_within_jfif_is_taken_out(self, tmp_path):
        data = pictures.jpeg(5)
        jfif = data.index(b"JFIF\0")
        thumbnail = bytes([2, 2]) + bytes(12)
        with_thumbnail = (
            data[: jfif - 2] + struct.pack(">H", 2 + 14 + 12) + data[jfif : jfif + 12] + thumbnail + data[jfif + 14 :]
        )
        assert published(tmp_path, with_thumbnail) == data

    def test_a_progressive_picture_keeps_all_of_its_scans(self, tmp_path):
        original = pictures.jpeg(6, progressive=True, comment=SECRET)
        assert pixels(published(tmp_path, original)) == pixels(original)

    def test_restart_markers_belong_to_the_picture(self, tmp_path):
        original = pictures.jpeg(6, comment=SECRET, restart_marker_blocks=2)
        assert b"\xff\xd1" in original
        assert pixels(published(tmp_path, original)) == pixels(original)

    def test_an_animated_png_keeps_its_frames(self, tmp_path):
        target = io.BytesIO()
        frames = [pictures.draw(number) for number in range(3)]
        frames[0].save(target, "PNG", save_all=True, append_images=frames[1:], duration=70)
        original = png_with(png_chunk(b"tEXt", b"Comment\0" + SECRET), data=target.getvalue())
        copy = published(tmp_path, original)
        assert pixels(copy) == pixels(original)
        assert len(pixels(copy)) == 3

    def test_an_animated_webp_keeps_its_frames_and_unknown_chunks_go(self, tmp_path):
        whole = pictures.webp(2, frames=3)
        original = webp_of(whole[12:], riff(b"MINE", SECRET))
        copy = published(tmp_path, original)
        assert SECRET not in copy
        assert pixels(copy) == pixels(whole)

    def test_transparency_stays(self, tmp_path):
        picture = pictures.draw(3, mode="RGBA")
        picture.putalpha(pictures.draw(4, mode="L"))
        for kind in ("PNG", "WEBP"):
            target = io.BytesIO()
            picture.save(target, kind, exif=camera_exif(), lossless=True)
            assert pixels(published(tmp_path, target.getvalue())) == [picture.tobytes()]


class TestVideos:
    @pytest.mark.parametrize("make_movie", [pictures.mp4, pictures.mov])
    def test_names_and_places_are_gone_and_everything_stays_where_it_was(self, tmp_path, make_movie):
        personal = (
            pictures.box(b"udta", pictures.box(b"\xa9xyz", SECRET))
            + pictures.box(b"meta", bytes(4), SECRET)
            + pictures.box(b"uuid", bytes(16), SECRET)
            + pictures.box(b"free", SECRET)
        )
        original = make_movie(1, extra_moov=personal) + pictures.box(b"uuid", bytes(16), SECRET)
        copy = published(tmp_path, original)
        assert len(copy) == len(original)
        assert SECRET not in copy
        assert not [kind for kind in (b"udta", b"meta", b"uuid") if kind in copy]
        clean = make_movie(1, extra_moov=b"")
        media = clean.index(b"mdat")
        assert copy[media : media + 2000] == clean[media : media + 2000]

    def test_names_within_a_track_are_gone(self, tmp_path):
        data = pictures.mp4(1)
        # The track's last box, free of content before, is where a name may stand.
        original = grown(data, b"trak", pictures.box(b"udta", pictures.box(b"name", SECRET)))
        copy = published(tmp_path, original)
        assert SECRET not in copy
        assert len(copy) == len(original)

    def test_a_track_that_says_where_the_camera_was_is_emptied(self, tmp_path):
        original = pictures.mp4(1, location_track=SECRET)
        copy = published(tmp_path, original)
        assert SECRET not in copy
        assert b"vide" in copy
        assert b"meta" not in copy
        media = original.index(b"mdat") + 4
        assert copy[media : media + 2000] == original[media : media + 2000]

    def test_a_webm_keeps_its_frames_and_loses_its_names(self, tmp_path):
        tag = pictures.element(b"\x73\x73", pictures.element(b"\x67\xc8", pictures.element(b"\x44\x87", SECRET)))
        original = pictures.webm(1, title=TEXT, tags=tag)
        assert original.count(SECRET) == 2
        copy = published(tmp_path, original)
        assert len(copy) == len(original)
        assert SECRET not in copy
        cluster = original.index(b"\x1f\x43\xb6\x75")
        assert copy[cluster:] == original[cluster:]
        answer = child.run("read", {"path": str(tmp_path / "published"), "content_type": "video/webm"})
        assert (answer["width"], answer["height"], answer["duration_seconds"]) == (320, 240, 2.0)

    def test_a_webm_names_no_tags_and_no_checksum_that_do_not_agree_any_more(self, tmp_path):
        original = pictures.webm(1, title=TEXT, tags=pictures.element(b"\xec", SECRET), checksums=True)
        copy = published(tmp_path, original)
        assert len(copy) == len(original)
        assert SECRET not in copy
        assert b"\x12\x54\xc3\x67" not in copy
        assert b"\xbf\x01\x00" not in copy
        untouched = pictures.webm(1, checksums=True)
        assert b"\xbf\x01\x00" in untouched

    @pytest.mark.parametrize("length", [0, 1, 116, 117, 118, 119, 120, 121, 300])
    def test_what_is_overwritten_in_a_webm_keeps_its_length(self, tmp_path, length):
        original = pictures.webm(1, title=TEXT, tags=pictures.element(b"\xec", bytes(length)))
        copy = published(tmp_path, original)
        assert len(copy) == len(original)
        assert making(tmp_path, copy)["published"] is False

    @pytest.mark.parametrize("make_movie", [pictures.mp4, pictures.mov, pictures.webm])
    def test_a_clean_video_is_published_as_it_is(self, tmp_path, make_movie):
        answer = making(tmp_path, make_movie(3))
        assert answer == {"published": False, "pictures": {}, "perceptual_hash": "", "exif": {}}

    def test_a_track_that_points_into_the_tables_destroys_nothing(self, tmp_path):
        data = pictures.mp4(1, location_track=SECRET)
        place = data.rindex(b"stco") + 12
        wrong = data[:place] + struct.pack(">I", len(data) - 60) + data[place + 4 :]
        with pytest.raises(Refused):
            making(tmp_path, wrong)


def grown(data: bytes, kind: bytes, more: bytes) -> bytes:
    """A movie whose first box of this kind within `moov`, and `moov` itself, end with ``more``."""
    for name in (b"moov", kind):
        place = data.index(name) - 4
        size = int.from_bytes(data[place : place + 4], "big")
        end = place + size
        data = data[:place] + struct.pack(">I", size + len(more)) + data[place + 4 :]
    return data[:end] + more + data[end:]


class TestSmallerPictures:
    @pytest.mark.parametrize(("content_type", "extension", "make_picture"), pictures.KINDS[:4])
    def test_they_fit_into_their_squares(self, tmp_path, content_type, extension, make_picture):
        answer = making(tmp_path, make_picture(1, size=(2000, 1000)))
        assert answer["pictures"] == {
            "thumbnail": {"width": 640, "height": 320},
            "preview": {"width": 1600, "height": 800},
        }
        for name, size in (("thumbnail", (640, 320)), ("preview", (1600, 800))):
            image = Image.open(tmp_path / name)
            assert (image.format, image.size) == ("WEBP", size)

    def test_a_small_picture_is_not_made_larger(self, tmp_path):
        answer = making(tmp_path, pictures.png(1, size=(50, 40)))
        assert answer["pictures"]["preview"] == {"width": 50, "height": 40}

    @pytest.mark.parametrize("size", [(3000, 1), (1, 3000), (1, 1)])
    def test_a_line_is_a_picture_as_well(self, tmp_path, size):
        target = io.BytesIO()
        Image.new("RGB", size).save(target, "PNG")
        answer = making(tmp_path, target.getvalue())
        assert min(answer["pictures"]["thumbnail"].values()) == 1

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_they_are_upright(self, tmp_path, orientation):
        original = pictures.jpeg(7, size=(800, 600), exif=camera_exif(orientation=orientation), quality=95)
        making(tmp_path, original)
        expected = shown(original)
        expected.thumbnail((640, 640))
        thumbnail = Image.open(tmp_path / "thumbnail").convert("RGB")
        assert thumbnail.size == expected.size
        assert distance(hash_of_image(thumbnail), hash_of_image(expected)) <= 2

    def test_they_have_nothing_of_the_metadata(self, tmp_path):
        making(tmp_path, jpeg_with_everything(), keep_metadata=True)
        for name in SIZES:
            data = (tmp_path / name).read_bytes()
            assert SECRET not in data
            assert b"EXIF" not in data

    def test_sixteen_bits_a_pixel_are_scaled_and_not_cut_off(self, tmp_path):
        target = io.BytesIO()
        Image.new("I;16", (100, 100), 0x8000).save(target, "PNG")
        making(tmp_path, target.getvalue())
        with Image.open(tmp_path / "thumbnail") as image:
            greys = set(image.convert("L").tobytes())
        assert greys <= set(range(126, 131))

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
    def test_every_mode_is_drawn(self, tmp_path, mode):
        target = io.BytesIO()
        pictures.draw(3, mode="RGB").convert(mode).save(target, "PNG")
        making(tmp_path, target.getvalue())
        with Image.open(tmp_path / "thumbnail") as image:
            assert image.size == (320, 240)

    def test_what_is_transparent_stays_so(self, tmp_path):
        picture = pictures.draw(3, mode="RGBA")
        picture.putalpha(0)
        target = io.BytesIO()
        picture.save(target, "PNG")
        making(tmp_path, target.getvalue())
        assert Image.open(tmp_path / "thumbnail").convert("RGBA").getchannel("A").getextrema() == (0, 0)

    def test_only_what_is_asked_for_is_made(self, tmp_path):
        answer = making(tmp_path, pictures.png(1), pictures={})
        assert answer["pictures"] == {}
        assert len(answer["perceptual_hash"]) == 16

    def test_a_file_that_is_broken_inside_is_refused(self, tmp_path):
        data = bytearray(pictures.png(1))
        data[-20] ^= 1
        with pytest.raises(Refused):
            making(tmp_path, bytes(data))


def hash_of_image(image: Image.Image) -> str:
    target = io.BytesIO()
    image.save(target, "PNG")
    return perceptual_hash(target.getvalue())


class TestRecognising:
    def scaled(self, data: bytes, size: tuple[int, int], quality: int) -> bytes:
        target = io.BytesIO()
        shown(data).resize(size).convert("RGB").save(target, "JPEG", quality=quality)
        return target.getvalue()

    @pytest.mark.parametrize("seed", range(20))
    def test_a_picture_is_recognised_after_it_was_scaled_and_encoded_again(self, seed):
        original = pictures.png(seed, size=(900, 700))
        expected = perceptual_hash(original)
        for size in ((450, 350), (300, 233), (150, 117), (1200, 933)):
            assert distance(expected, perceptual_hash(self.scaled(original, size, 70))) <= 8

    def test_pictures_that_are_not_the_same_are_told_apart(self):
        hashes = [perceptual_hash(pictures.png(seed)) for seed in range(20)]
        least = min(distance(one, other) for one in hashes for other in hashes if one != other)
        assert len(set(hashes)) == 20
        assert least > 10

    def test_a_turned_picture_is_recognised_as_it_is_shown(self):
        original = pictures.jpeg(3, size=(900, 700), exif=camera_exif(orientation=6), quality=95)
        assert distance(perceptual_hash(original), perceptual_hash(self.scaled(original, (350, 450), 80))) <= 8

    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
    def test_the_hash_that_is_stored_is_the_hash_of_the_file(self, tmp_path, kind):
        original = getattr(pictures, kind)(8, size=(1000, 700))
        assert distance(making(tmp_path, original)["perceptual_hash"], perceptual_hash(original)) <= 3

    def test_it_has_sixteen_hex_digits(self):
        plain = perceptual_hash(pictures.png(1))
        assert len(plain) == 16
        assert int(plain, 16) >= 0
        assert distance("0" * 16, "f" * 16) == 64

    @pytest.mark.parametrize("data", [b"", b"<svg/>", b"%!PS", pictures.mp4(1), pictures.png(1)[:300]])
    def test_bytes_that_are_no_picture_are_refused(self, data):
        with pytest.raises(Refused):
            perceptual_hash(data)

    def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(self, monkeypatch):
        data = pictures.png(1, size=(400, 300))
        monkeypatch.setattr(Image, "open", lambda *_arguments, **_options: pytest.fail("a decoder was asked"))
        with pytest.raises(Refused):
            perceptual_hash(data, max_pixels=100_000)


def test_the_program_itself_answers_as_the_function_does(tmp_path):
    (tmp_path / "original").write_bytes(jpeg_with_everything())
    request = {
        "path": str(tmp_path / "original"),
        "folder": str(tmp_path),
        "keep_metadata": False,
        "pictures": {"thumbnail": 640},
    }
    answer = child.run("make", request)
    digest = hashlib.sha256((tmp_path / "published").read_bytes()).hexdigest()
    assert answer["published"] is True
    assert digest != hashlib.sha256((tmp_path / "original").read_bytes()).hexdigest()
    assert (tmp_path / "thumbnail").stat().st_size > 0
