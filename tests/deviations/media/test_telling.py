from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import IFDRational

from deviations.media.telling import LONGEST, NAMES, plain, told_by
from tests import pictures


def exif(main: dict[int, Any], inner: dict[int, Any] | None = None) -> Image.Exif:
    found = Image.Exif()
    for tag, value in main.items():
        found[tag] = value
    for tag, value in (inner or {}).items():
        found.get_ifd(IFD.Exif)[tag] = value
    return found


FULL = exif(
    {Base.Make: "FUJIFILM", Base.Model: "X-T5", Base.Software: "darktable 5", Base.Artist: "Ada"},
    {
        Base.LensModel: "XF35mmF1.4 R",
        Base.DateTimeOriginal: "2029:12:31 23:59:58",
        Base.FocalLength: IFDRational(35),
        Base.FNumber: IFDRational(28, 10),
        Base.ExposureTime: IFDRational(1, 250),
        Base.ISOSpeedRatings: 200,
        Base.BodySerialNumber: "1234567",
    },
)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (pictures.jpeg(exif=FULL), "image/jpeg"),
        (pictures.png(exif=FULL), "image/png"),
        (pictures.webp(exif=FULL), "image/webp"),
    ],
)
def test_a_picture_tells_its_camera_and_how_it_was_taken(tmp_path: Path, data: bytes, content_type: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(data)
    assert told_by(path, content_type) == {
        "camera": "FUJIFILM X-T5",
        "lens": "XF35mmF1.4 R",
        "taken": "2029-12-31",
        "focal_length": "35 mm",
        "aperture": "f/2.8",
        "exposure": "1/250 s",
        "iso": "ISO 200",
        "software": "darktable 5",
        "artist": "Ada",
    }


@pytest.mark.parametrize(
    ("tags", "inner", "told"),
    [
        ({Base.Make: "NIKON", Base.Model: "NIKON Z 8"}, {}, {"camera": "NIKON Z 8"}),
        ({Base.Model: "  \0hidden"}, {}, {}),
        ({Base.Software: "a\nb\x07c"}, {}, {"software": "abc"}),
        ({Base.Artist: "x" * 300}, {}, {"artist": "x" * LONGEST}),
        ({}, {Base.DateTimeOriginal: "0000:00:00 00:00:00"}, {}),
        ({}, {Base.ExposureTime: IFDRational(2, 1)}, {"exposure": "2 s"}),
        ({}, {Base.ExposureTime: IFDRational(0, 1)}, {}),
        ({}, {Base.FNumber: IFDRational(1, 0)}, {}),
        ({}, {Base.ISOSpeedRatings: (400, 800)}, {"iso": "ISO 400"}),
        ({}, {Base.CameraOwnerName: "Ada", Base.MakerNote: b"1234"}, {}),
    ],
)
def test_what_is_strange_or_nobodys_business_is_left_out(
    tmp_path: Path, tags: dict[int, Any], inner: dict[int, Any], told: dict[str, str]
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(pictures.jpeg(exif=exif(tags, inner)))
    assert told_by(path, "image/jpeg") == told


@pytest.mark.parametrize("data", [b"", b"no picture", pictures.jpeg(exif=FULL)[:300], pictures.jpeg()])
def test_a_file_that_tells_nothing_is_no_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "picture"
    path.write_bytes(data)
    assert set(told_by(path, "image/jpeg")) <= set(NAMES)


@pytest.mark.parametrize("claimed", [None, [], "camera", {"camera": 7}, {"place": "home"}, {"camera": {"a": "b"}}])
def test_of_what_is_claimed_only_what_a_file_may_say_is_believed(claimed: object) -> None:
    assert plain(claimed) == {}
