"""Every kind of image file becomes RGB or one clear line; what is written is whole."""

import errno
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from MaskTheFace.images import (
    ImageError,
    encode_image,
    fit_square,
    list_images,
    montage,
    read_image,
    relative_name,
    write_image,
)

RAMP = np.add.outer(np.arange(32), 2 * np.arange(40)).astype(np.uint8)  # (32, 40), 0..109
COLOR = np.dstack([RAMP, 2 * RAMP, 255 - RAMP])


def png_chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_header(width: int, height: int, bits: int = 8, color_type: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def test_a_written_png_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    write_image(tmp_path / "deep" / "folder" / "a.png", COLOR)
    assert np.array_equal(read_image(tmp_path / "deep" / "folder" / "a.png"), COLOR)


def test_a_jpeg_keeps_its_colours_in_order(tmp_path: Path) -> None:
    red = np.full((32, 32, 3), (250, 10, 20), np.uint8)
    write_image(tmp_path / "red.JPG", red)
    assert np.abs(read_image(tmp_path / "red.JPG").astype(int) - red).max() <= 3


@pytest.mark.parametrize(
    "name", ["a.b.c.png", "two words.png", "Žluťoučký 顔.png", "-dash.png", "'quote'.png"]
)
def test_names_with_dots_spaces_and_unicode_are_names(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, COLOR)
    assert list_images(tmp_path) == [tmp_path / name]
    assert np.array_equal(read_image(tmp_path / name), COLOR)


def test_a_name_that_is_no_utf8_is_read_and_spelled_out(tmp_path: Path) -> None:
    try:
        name = os.fsdecode(b"caf\xe9.png")
        write_image(tmp_path / name, COLOR)
    except (OSError, UnicodeError):
        pytest.skip("this file system only takes UTF-8")
    (path,) = list_images(tmp_path)
    assert np.array_equal(read_image(path), COLOR)
    assert relative_name(path, tmp_path) == r"caf\udce9.png"


def test_the_longest_name_a_file_system_takes_can_be_written(tmp_path: Path) -> None:
    write_image(tmp_path / ("n" * 251 + ".png"), COLOR)
    assert len(list_images(tmp_path)) == 1


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.dstack([RAMP] * 3))


def test_black_and_white_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(RAMP > 50).save(tmp_path / "bits.png")
    assert np.array_equal(read_image(tmp_path / "bits.png")[..., 1], np.where(RAMP > 50, 255, 0))


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png"), np.dstack([RAMP] * 3))


def test_sixteen_bit_colour_keeps_its_high_bytes(tmp_path: Path) -> None:
    rows = COLOR.astype(">u2") * 257
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    text = png_header(40, 32, bits=16) + png_chunk(b"IDAT", zlib.compress(data))
    (tmp_path / "deep.png").write_bytes(text + png_chunk(b"IEND", b""))
    assert np.array_equal(read_image(tmp_path / "deep.png"), COLOR)


def test_scientific_grey_of_0_to_1_fills_the_range(tmp_path: Path) -> None:
    Image.fromarray((RAMP / 255).astype(np.float32)).save(tmp_path / "float.tif")
    assert np.abs(read_image(tmp_path / "float.tif")[..., 0].astype(int) - RAMP).max() <= 1


def test_cmyk_has_the_colours_of_its_rgb(tmp_path: Path) -> None:
    green = Image.new("RGB", (32, 32), (20, 200, 40))
    green.convert("CMYK").save(tmp_path / "print.jpg", quality=100)
    seen = read_image(tmp_path / "print.jpg")[16, 16].astype(int)
    assert np.abs(seen - (20, 200, 40)).max() <= 6


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (32, 32), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.putpixel((5, 5), (10, 10, 10, 255) if mode == "RGBA" else (10, 255))
    image.save(tmp_path / "alpha.png")
    seen = read_image(tmp_path / "alpha.png")
    assert seen[5, 5].tolist() == [10, 10, 10]
    assert seen[6, 6].tolist() == [255, 255, 255]


def test_a_palette_with_a_transparent_colour_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (32, 32), 0)
    image.putpalette([0, 0, 0, 200, 30, 40])
    image.putpixel((5, 5), 1)
    image.save(tmp_path / "palette.gif", transparency=0)
    image.save(tmp_path / "palette.png", transparency=0)
    for name in ("palette.gif", "palette.png"):
        seen = read_image(tmp_path / name)
        assert seen[5, 5].tolist() == [200, 30, 40]
        assert seen[6, 6].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOR).save(tmp_path / "phone.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "phone.png"), np.rot90(COLOR, turns))


def test_jpegs_have_the_pixels_that_pillow_sees_turned_or_not(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, image, more in (
        ("plain.jpg", noise, {}),
        ("grey.jpg", noise[..., 0], {}),
        ("slow.jpg", noise, {"progressive": True, "subsampling": 0}),
        ("turned.jpg", noise, {"exif": turned}),
    ):
        Image.fromarray(image).save(tmp_path / name, **more)
        seen = np.asarray(Image.open(tmp_path / name).convert("RGB"))
        turns = 3 if name == "turned.jpg" else 0
        assert np.array_equal(read_image(tmp_path / name), np.rot90(seen, turns))


def test_a_jpeg_with_something_behind_its_end_is_read(tmp_path: Path) -> None:
    data = encode_image(".jpg", COLOR)
    (tmp_path / "plain.jpg").write_bytes(data)
    (tmp_path / "padded.jpg").write_bytes(data + bytes(100))
    assert np.array_equal(read_image(tmp_path / "padded.jpg"), read_image(tmp_path / "plain.jpg"))


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "moving.gif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif", ".gif", ".ppm"])
def test_common_formats_are_read(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(COLOR).save(tmp_path / f"a{suffix}")
    assert read_image(tmp_path / f"a{suffix}").shape == (32, 40, 3)


def test_a_bomb_is_refused_from_its_header_alone(tmp_path: Path) -> None:
    for name, side in (("large.png", 12_000), ("bomb.png", 60_000)):
        # Header and nothing else: were it decoded, it would be called truncated.
        (tmp_path / name).write_bytes(png_header(side, side) + png_chunk(b"IDAT", b""))
        with pytest.raises(ImageError, match=rf"{name}: .*over 100 megapixels; shrink it"):
            read_image(tmp_path / name)


def test_a_tiny_image_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "dot.png", COLOR[:8, :8])
    with pytest.raises(ImageError, match=r"dot\.png: 8x8 px is too small"):
        read_image(tmp_path / "dot.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"no picture at all", "cannot be read as an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "cannot be read as an image"),
        (encode_image(".jpg", COLOR)[:300], "cannot be read as an image"),
        (encode_image(".png", COLOR)[:-60], "cannot be read as an image"),
        (png_header(40, 32), "cannot be read as an image"),
    ],
    ids=["empty", "text", "postscript", "cut jpg", "cut png", "header"],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=rf"bad\.jpg: {message}"):
        read_image(tmp_path / "bad.jpg")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.jpg: no such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="nowhere: no such folder"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


def test_listing_is_sorted_deep_and_leaves_out_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "sub/c.jpeg", ".hidden.jpg", ".cache/d.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert names == ["a.jpg", "b.PNG", "sub/c.jpeg"]


def test_folders_that_are_links_are_gone_into_once(tmp_path: Path) -> None:
    for name in ("photos/b.jpg", "elsewhere/alice/a.jpg", "elsewhere/alice/deep/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "photos/alice").symlink_to(tmp_path / "elsewhere/alice")
    (tmp_path / "photos/again").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/z.jpg").symlink_to(tmp_path / "elsewhere/alice/a.jpg")
    names = [path.relative_to(tmp_path / "photos") for path in list_images(tmp_path / "photos")]
    assert [name.as_posix() for name in names] == [
        "alice/a.jpg", "alice/deep/c.jpg", "b.jpg", "z.jpg",
    ]  # fmt: skip


def test_a_full_disk_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "a.png", COLOR)

    def half_written(self: Path, data: bytes) -> int:
        with open(self, "wb") as stream:
            stream.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half_written)
    with pytest.raises(OSError, match="No space left"):
        write_image(tmp_path / "a.png", 255 - COLOR)
    assert np.array_equal(read_image(tmp_path / "a.png"), COLOR)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"use \.jpg or \.png"):
        write_image(tmp_path / "a.xyz", COLOR)
    assert not list(tmp_path.iterdir())


def test_encoding_is_deterministic_and_quality_counts() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert encode_image(".jpg", noise, 90) == encode_image(".jpg", noise, 90)
    assert len(encode_image(".jpg", noise, 30)) < len(encode_image(".jpg", noise, 95))


def test_a_montage_keeps_every_pixel_and_pads_with_white() -> None:
    tiles = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = montage(tiles, columns=2, pad_px=1)
    assert sheet.shape == (11, 15, 3)
    assert sheet[1, 1, 0] == 10 and sheet[1, 8, 0] == 20 and sheet[6, 1, 0] == 30
    assert (sheet[6:10, 8:14] == 255).all()
    assert (sheet[0] == 255).all() and (sheet[:, 7] == 255).all()


@pytest.mark.parametrize("shape", [(10, 30), (30, 10), (200, 100), (3, 1000)])
def test_an_image_of_any_shape_fits_a_square_whole_and_centred(shape: tuple[int, int]) -> None:
    square = fit_square(np.zeros((*shape, 3), np.uint8), 60)
    assert square.shape == (60, 60, 3)
    dark = np.argwhere(square[..., 0] < 128)
    assert np.ptp(dark, axis=0).max() == 59
    assert np.abs(dark.mean(axis=0) - 29.5).max() <= 0.5
