# SPDX-License-Identifier: Apache-2.0
"""Every encoding is converted to the same RGB, by cv_bridge and by OpenCV."""

from __future__ import annotations

import struct
import sys
from array import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from depth_perception.io import image_messages as colour
from depth_perception.io.encoded_size import encoded_size
from depth_perception.io.image_messages import (
    ENCODINGS,
    Decoder,
    FrameError,
    decode_compressed,
    decode_image,
    opencv_converter,
)
from test.support.ros import picture

COLOUR = (200, 100, 50)
BAYER = {'rggb': 'RGGB', 'bggr': 'BGGR', 'gbrg': 'GBRG', 'grbg': 'GRBG'}


def _converters() -> list:
    try:
        bridge = pytest.param(colour.cv_bridge_converter(), id='cv_bridge')
    except ImportError as error:
        bridge = pytest.param(None, id='cv_bridge', marks=pytest.mark.skip(reason=str(error)))
    return [pytest.param(opencv_converter, id='opencv'), bridge]


converters = pytest.mark.parametrize('converter', _converters())


def message(
    values: np.ndarray,
    encoding: str,
    height: int,
    width: int,
    padding: int = 0,
    big_endian: bool = False,
) -> Image:
    """Return an image message whose rows are followed by `padding` random bytes."""
    if values.dtype == np.uint16:
        values = values.astype('>u2' if big_endian else '<u2')
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(values.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=171)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=rows.shape[1],
        data=array('B', rows.tobytes()),
    )


def encode(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """Return the bytes that a camera would store, computed by NumPy alone."""
    if encoding.startswith('bayer_'):
        return _mosaic(rgb, encoding)
    name = {'8UC1': 'mono8', '16UC1': 'mono16', '8UC3': 'bgr8', '8UC4': 'bgra8'}.get(
        encoding, encoding
    )
    order = {
        'rgb': [0, 1, 2],
        'bgr': [2, 1, 0],
        'rgba': [0, 1, 2, 3],
        'bgra': [2, 1, 0, 3],
        'mono': [0],
    }[name.rstrip('0123456789')]
    values = np.concatenate([rgb, np.full_like(rgb[..., :1], 255)], -1)[..., order]
    return values.astype(np.uint16) * 257 if name.endswith('16') else values


def _mosaic(rgb: np.ndarray, encoding: str) -> np.ndarray:
    pattern = BAYER[encoding[6:10]]
    mosaic = np.empty(rgb.shape[:2], np.uint8)
    for place, letter in enumerate(pattern):
        row, column = divmod(place, 2)
        mosaic[row::2, column::2] = rgb[row::2, column::2, 'RGB'.index(letter)]
    return mosaic.astype(np.uint16) * 257 if encoding.endswith('16') else mosaic


PLAIN = [
    name
    for name in ENCODINGS
    if not name.startswith(('bayer', 'yuv', 'uyvy', 'nv', 'yuyv', 'I420', 'i420', '32F'))
]


@converters
@pytest.mark.parametrize('padding', [0, 4])
@pytest.mark.parametrize('encoding', PLAIN)
def test_plain_encodings_are_converted_exactly(encoding, padding, converter):
    rgb = picture(1, 16, 10)
    if 'mono' in encoding or encoding.endswith('C1'):
        rgb = np.repeat(rgb[..., :1], 3, -1)
    got = decode_image(message(encode(rgb, encoding), encoding, 10, 16, padding), converter)
    assert got.dtype == np.uint8 and got.flags.c_contiguous
    np.testing.assert_array_equal(got, rgb)


@converters
@pytest.mark.parametrize('encoding', ['mono16', 'rgb16', 'bgr16', 'rgba16', 'bgra16'])
def test_big_endian_values_are_swapped(encoding, converter):
    rgb = np.repeat(picture(2, 16, 10)[..., :1], 3, -1)
    got = decode_image(
        message(encode(rgb, encoding), encoding, 10, 16, 6, big_endian=True), converter
    )
    np.testing.assert_array_equal(got, rgb)


@converters
@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', BAYER)
def test_bayer_patterns_keep_the_colour(pattern, bits, converter):
    rgb = np.full((12, 16, 3), COLOUR, np.uint8)
    encoding = f'bayer_{pattern}{bits}'
    got = decode_image(message(encode(rgb, encoding), encoding, 12, 16), converter)
    np.testing.assert_array_equal(got[2:-2, 2:-2], rgb[2:-2, 2:-2])


@converters
@pytest.mark.parametrize(
    'encoding',
    ['yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21', 'nv24', 'yuv420', 'I420', 'i420'],
)
@pytest.mark.parametrize('padding', [0, 4])
def test_yuv_keeps_the_colour(encoding, padding, converter):
    y, u, v = _bt601(COLOUR)
    if encoding == 'nv24':
        # A chroma row, with its padding, is twice as long as a luma row.
        chroma = np.pad(np.tile([u, v], (12, 16)), ((0, 0), (0, 2 * padding)), constant_values=9)
        luma = np.pad(np.full((12, 16), y), ((0, 0), (0, padding)), constant_values=9)
        values = np.concatenate([luma, chroma.reshape(24, 16 + padding)]).astype(np.uint8)
        padding = 0
    elif encoding[-3:] == '420':
        chroma = [
            np.pad(np.full((6, 8), c), ((0, 0), (0, padding // 2)), constant_values=9)
            for c in (u, v)
        ]
        luma = np.pad(np.full((12, 16), y), ((0, 0), (0, padding)), constant_values=9)
        values = np.concatenate([luma, np.concatenate(chroma).reshape(6, 16 + padding)]).astype(
            np.uint8
        )
        padding = 0
    elif encoding.startswith('nv'):
        chroma = [u, v] if encoding == 'nv12' else [v, u]
        values = np.concatenate([np.full((12, 16), y), np.tile(chroma, (6, 8))]).astype(np.uint8)
    else:
        pair = [u, y, v, y] if encoding in ('yuv422', 'uyvy') else [y, u, y, v]
        values = np.tile(np.array(pair, np.uint8), (12, 8))
    got = decode_image(message(values, encoding, 12, 16, padding), converter)
    assert got.shape == (12, 16, 3)
    np.testing.assert_allclose(got.reshape(-1, 3).astype(int), np.tile(COLOUR, (192, 1)), atol=3)


def _bt601(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """Convert YUV to RGB by ITU-R BT.601, limited range."""
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112], [112, -93.786, -18.214]])
    return tuple(np.rint(matrix @ (np.array(rgb) / 255) + [16, 128, 128]).astype(int))


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_decodes_to_the_images_size(encoding):
    entry = ENCODINGS[encoding]
    rows = int(8 * entry.rows)
    kind = {8: np.uint8, 16: np.uint16, 32: np.float32}[entry.bits]
    values = np.zeros((rows, 12 * entry.channels), kind)
    assert decode_image(message(values, encoding, 8, 12)).shape == (8, 12, 3)


@pytest.mark.parametrize(
    'change, named',
    [
        ({'encoding': 'rgb9'}, 'rgb9'),
        ({'encoding': ''}, "''"),
        ({'encoding': '32FC1'}, '32FC1'),
        ({'step': 47}, 'step 47'),
        ({'step': 0}, 'step 0'),
        ({'width': 0}, '0x10'),
        ({'height': 0}, '16x0'),
        ({'height': 11}, '480 bytes'),
        ({'width': 2**31}, 'step'),
        ({'height': 2**31}, 'bytes'),
    ],
)
def test_error_names_inconsistent_sizes(change, named):
    image = message(picture(0, 16, 10), 'rgb8', 10, 16)
    for key, value in change.items():
        setattr(image, key, value)
    with pytest.raises(FrameError, match=named):
        decode_image(image)


@pytest.mark.parametrize(
    'encoding, meant',
    [
        ('RGB8', 'is it rgb8?'),
        ('rgb', 'is it rgb8?'),
        ('mono', 'is it mono8?'),
        ('NV12', 'is it nv12?'),
        ('YUYV', 'is it yuyv?'),
        ('bayer_rgbg8', 'is it bayer_'),
        ('32FC1', 'of a depth image: name the topic of a colour image'),
        ('sepia', "'sepia': use one of rgb8, "),
    ],
)
def test_error_for_an_unknown_encoding_suggests_a_similar_one(encoding, meant):
    with pytest.raises(FrameError) as error:
        decode_image(message(picture(0, 16, 10), encoding, 10, 16))
    assert meant in str(error.value)


@pytest.mark.parametrize(
    'data, named',
    [
        (b'', r"\(format 'jpeg', 0 bytes\) has no data$"),
        (b'GIF89a' + bytes(50), 'nor a TIFF; let the camera send JPEG, or name its raw topic$'),
    ],
)
def test_error_for_undecodable_compressed_data_has_a_remedy(data, named):
    with pytest.raises(FrameError, match=named):
        decode_compressed(CompressedImage(format='jpeg', data=array('B', data)))


@pytest.mark.parametrize(
    'encoding, width, height, odd',
    [
        ('nv12', 15, 10, 'width'),
        ('nv21', 16, 9, 'height'),
        ('i420', 15, 9, 'width and height'),
        ('yuv422', 15, 10, 'width'),
        ('yuyv', 15, 10, 'width'),
    ],
)
def test_odd_sizes_are_refused_if_pixels_share_their_colour(encoding, width, height, odd):
    with pytest.raises(FrameError, match=f'^{width}x{height} {encoding}: {odd} must be even$'):
        decode_image(message(np.zeros((40, 40), np.uint8), encoding, height, width))


def test_last_row_may_lack_its_padding():
    rgb = picture(3, 16, 10)
    image = message(rgb, 'rgb8', 10, 16, padding=8)
    image.data = image.data[:-8]
    np.testing.assert_array_equal(decode_image(image), rgb)


def test_short_data_is_refused():
    image = message(picture(0, 16, 10), 'rgb8', 10, 16)
    image.data = image.data[:-1]
    with pytest.raises(FrameError, match='479 bytes of data, but 480 are needed'):
        decode_image(image)


@pytest.mark.parametrize('bits', [10, 12, 14, 16])
@pytest.mark.parametrize('encoding', ['mono16', '16UC1', 'rgb16', 'bayer_rggb16'])
def test_16_bit_values_are_scaled_by_the_bits_that_the_camera_uses(encoding, bits):
    rgb = np.repeat(picture(2, 16, 10)[..., :1], 3, -1)
    rgb[0, 0] = 255
    values = encode(rgb, encoding).astype(int) // 257 * ((1 << bits) - 1) // 255
    got = decode_image(message(values.astype(np.uint16), encoding, 10, 16)).astype(int)
    if encoding.startswith('bayer'):
        np.testing.assert_allclose(got.mean((0, 1)), rgb.mean((0, 1)), atol=12)
    else:
        np.testing.assert_allclose(got, rgb, atol=1)


def test_a_darker_frame_does_not_change_the_scale():
    decoder = Decoder()
    bright, dark = (np.full((4, 4), value, np.uint16) for value in (4000, 100))
    first, second, third = (
        decoder(message(values, 'mono16', 4, 4)).max() for values in (dark, bright, dark)
    )
    assert (first, second, third) == (25, 249, 6)


def test_a_hot_pixel_does_not_change_the_scale():
    values = np.full((40, 40), 2047, np.uint16)
    values[3, 3] = 65535
    got = decode_image(message(values, 'mono16', 40, 40))
    assert got[0, 0, 0] == 127 and got[3, 3, 0] == 255


@pytest.mark.parametrize('scale', [1.0, 255.0])
def test_floating_point_colour_may_range_to_1_or_to_255(scale):
    rgb = picture(2, 16, 10)
    rgb[0, 0] = 255
    values = (rgb[..., ::-1] / 255 * scale).astype(np.float32)
    values[1, 1] = np.nan
    rgb[1, 1] = 0
    np.testing.assert_array_equal(decode_image(message(values, '32FC3', 10, 16)), rgb)


def _compressed(extension: str, rgb: np.ndarray, form: str = '') -> CompressedImage:
    good, data = cv2.imencode(extension, rgb[..., ::-1] if rgb.ndim > 2 else rgb)
    assert good
    return CompressedImage(
        format=form or f'rgb8; {extension[1:]} compressed bgr8', data=array('B', data.tobytes())
    )


@pytest.mark.parametrize('extension', ['.jpg', '.png', '.tiff'])
@pytest.mark.parametrize('pattern', BAYER)
def test_a_compressed_mosaic_keeps_its_colours(extension, pattern):
    rgb = np.full((32, 48, 3), COLOUR, np.uint8)
    mosaic = _mosaic(rgb, f'bayer_{pattern}8')
    got = decode_compressed(
        _compressed(extension, mosaic, f'bayer_{pattern}8; {extension[1:]} compressed ')
    )
    off = np.abs(got[4:-4, 4:-4].astype(int) - COLOUR)
    assert off.mean() < (12 if extension == '.jpg' else 0.1)


def test_16_bit_pngs_are_scaled_by_the_bits_that_the_camera_uses():
    rgb = np.repeat(picture(2, 16, 10)[..., :1], 3, -1)
    rgb[0, 0] = 255
    values = (rgb.astype(int) * 4095 // 255).astype(np.uint16)
    for form, content in (
        ('mono16; png compressed ', values[..., 0]),
        ('rgb16; png compressed bgr16', values),
    ):
        got = decode_compressed(_compressed('.png', content, form))
        np.testing.assert_allclose(got.astype(int), rgb, atol=1)
    mosaic = _mosaic(np.full((12, 16, 3), COLOUR, np.uint8), 'bayer_rggb8').astype(np.uint16) * 16
    got = decode_compressed(_compressed('.png', mosaic, 'bayer_rggb16; png compressed '))
    np.testing.assert_allclose(got[2:-2, 2:-2].astype(int), np.full((8, 12, 3), COLOUR), atol=1)


@pytest.mark.parametrize(
    'form',
    [
        'yuv422_yuy2; jpeg compressed mono8',
        'rgb8; jpeg compressed ',
        'bayer_rggb8; jpeg compressed mono8',
    ],
)
def test_colour_lost_by_the_publisher_gives_a_remark(form):
    decoder = Decoder()
    grey = np.full((16, 16), 90, np.uint8)
    rgb, remark = decoder.decode(_compressed('.jpg', grey, form))
    assert np.ptp(rgb.mean((0, 1))) == 0
    assert form.partition(';')[0] in remark and 'grey' in remark
    for fine in ('mono8; jpeg compressed ', 'mono16; png compressed ', 'jpeg'):
        assert decoder.decode(_compressed('.jpg', grey, fine)).remark == ''


@pytest.mark.parametrize(
    'form, exchanged',
    [
        ('rgb8; jpeg compressed bgr8', False),
        ('bgr8; jpeg compressed bgr8', False),
        ('jpeg', False),
        ('rgb8; jpeg compressed', False),
        ('rgb8; jpeg compressed rgb8', True),
        ('bgr8; png compressed rgb8', True),
        ('rgba8; png compressed rgba8', True),
    ],
)
def test_red_and_blue_follow_the_format_of_image_transport(form, exchanged):
    rgb = np.full((16, 16, 3), COLOUR, np.uint8)
    got = decode_compressed(_compressed('.png', rgb, form))
    np.testing.assert_array_equal(got, rgb[..., ::-1] if exchanged else rgb)


@pytest.mark.parametrize('extension', ['.jpg', '.png', '.tiff'])
@pytest.mark.parametrize('padding', [b'\0' * 5000, b'\xff' * 5000, bytes(range(256)) * 20])
def test_bytes_after_the_end_do_not_matter(extension, padding):
    image = _compressed(extension, picture(4, 64, 48))
    whole = decode_compressed(image)
    image.data = array('B', image.data.tobytes() + padding)
    np.testing.assert_array_equal(decode_compressed(image), whole)


def test_tiff_is_exact_in_both_byte_orders():
    rgb = picture(4, 64, 48)
    image = _compressed('.tiff', rgb)
    np.testing.assert_array_equal(decode_compressed(image), rgb)
    entries = struct.pack('>HHHII', 2, 256, 3, 1, 640 << 16) + struct.pack('>HHII', 257, 4, 1, 480)
    assert encoded_size(b'MM\0*' + struct.pack('>I', 8) + entries) == (640, 480)
    assert encoded_size(b'MM\0*' + struct.pack('>I', 9999) + entries) is None


def test_exif_rotation_is_ignored():
    good, data = cv2.imencode('.jpg', picture(4, 64, 48))
    exif = b'Exif\0\0MM\0*' + struct.pack('>IHHHIHH', 8, 1, 0x0112, 3, 1, 6, 0) + bytes(4)
    turned = data.tobytes()[:2] + _segment(0xE1, exif) + data.tobytes()[2:]
    assert good and decode_compressed(
        CompressedImage(format='jpeg', data=array('B', turned))
    ).shape == (48, 64, 3)


def test_png_is_exact_and_jpeg_close():
    rgb = picture(4, 64, 48)
    np.testing.assert_array_equal(decode_compressed(_compressed('.png', rgb)), rgb)
    jpeg = decode_compressed(_compressed('.jpg', cv2.GaussianBlur(rgb, (9, 9), 0)))
    assert np.abs(jpeg.astype(int) - cv2.GaussianBlur(rgb, (9, 9), 0)).mean() < 4


def test_grey_jpeg_becomes_rgb():
    good, data = cv2.imencode('.jpg', np.full((16, 16), 90, np.uint8))
    assert good
    got = decode_compressed(CompressedImage(format='jpeg', data=array('B', data.tobytes())))
    assert got.shape == (16, 16, 3) and abs(int(got.mean()) - 90) < 3


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
@pytest.mark.parametrize('keep', [0, 1, 20, 0.5, 0.98])
def test_truncated_compressed_images_are_refused(extension, keep):
    image = _compressed(
        extension, np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    )
    size = int(keep * len(image.data)) if isinstance(keep, float) else keep
    image.data = image.data[:size]
    with pytest.raises(FrameError):
        decode_compressed(image)


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
def test_an_image_with_too_many_declared_pixels_is_not_decoded(extension, monkeypatch):
    image = _compressed(extension, np.zeros((8001, 8000, 3), np.uint8))
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    with pytest.raises(FrameError, match=r'of 8000x8001 pixels .* the limit is 64 megapixels'):
        decode_compressed(image)


def _segment(marker: int, content: bytes) -> bytes:
    return b'\xff%c' % marker + (len(content) + 2).to_bytes(2, 'big') + content


THUMBNAIL = cv2.imencode('.jpg', np.zeros((8, 16), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    'before',
    [
        b'',
        _segment(0xE1, THUMBNAIL),
        b'\xff\xff',
        _segment(0xFE, b'') + b'between',
        b'\xff\x00',
        b'\xff\xd0',
        3 * _segment(0xFE, b'\xff\xc0' * 20),
    ],
    ids=['plain', 'thumbnail', 'fill bytes', 'rubbish', 'stuffed', 'restart', 'comments'],
)
@pytest.mark.parametrize('progressive', [0, 1])
def test_the_declared_size_of_a_jpeg_equals_the_decoded_size(before, progressive):
    data = cv2.imencode('.jpg', picture(0, 48, 32), [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[
        1
    ].tobytes()
    data = data[:2] + before + data[2:]
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (32, 48)
    assert encoded_size(data) == (48, 32)


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\xff',
        b'\xff\xd8',
        b'\xff\xd8\xff',
        b'\xff\xd8\xff\xc0\x00\x11\x08',
        b'BM' + bytes(60),
        b'\xff\xd8' + b'\xff\xe0\x00\x00' * 9,
        b'\x89PNG\r\n\x1a\n' + bytes(9),
    ],
)
def test_size_of_an_incomplete_header_is_none(data):
    assert encoded_size(data) is None


def test_undecodable_data_and_depth_formats_are_refused():
    with pytest.raises(FrameError, match='cannot be decoded'):
        decode_compressed(CompressedImage(format='jpeg', data=array('B', b'hello' * 20)))
    with pytest.raises(FrameError, match='neither a JPEG nor a PNG'):  # no size known
        decode_compressed(_compressed('.webp', np.zeros((16, 16, 3), np.uint8)))
    with pytest.raises(FrameError, match=r'compressedDepth .* is a depth image'):
        decode_compressed(CompressedImage(format='16UC1; compressedDepth png', data=array('B')))


@pytest.mark.parametrize(
    'source',
    [
        'raise AttributeError("_ARRAY_API not found")',
        'import os; os.abort()',
        'class CvBridge:\n    def imgmsg_to_cv2(self, m, e): raise SystemError("no array")',
    ],
    ids=['raises', 'crashes', 'fails when used'],
)
def test_a_broken_cv_bridge_falls_back_to_opencv(monkeypatch, tmp_path, source):
    (tmp_path / 'cv_bridge.py').write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.delitem(sys.modules, 'cv_bridge', raising=False)
    _forget()
    try:
        assert colour.default_converter() is opencv_converter
    finally:
        monkeypatch.undo()
        _forget()


def _forget() -> None:
    colour.default_converter.cache_clear()
    colour._cv_bridge_works.cache_clear()
