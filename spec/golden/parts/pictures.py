"""PNG files of every kind with what Pillow reads of them, and pictures resized by Pillow."""
import io
import struct
import zlib

import numpy as np
import PIL
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from generate import save

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
random = np.random.default_rng(0)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows(pixels, depth):
    """[height, width, samples] -> packed rows, filtered by each of the five filters in turn."""
    height, width, samples = pixels.shape
    flat = pixels.reshape(height, -1)
    if depth == 16:
        packed = flat.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = flat.astype(np.uint8)
    else:
        bits = (flat[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    distance, out, above = max(1, samples * depth // 8), b"", np.zeros(packed.shape[1], int)
    for y, line in enumerate(packed.astype(int)):
        left, corner = (np.concatenate([np.zeros(distance, int), row])[: len(line)] for row in (line, above))
        p = left + above - corner
        near = np.stack([abs(p - left), abs(p - above), abs(p - corner)]).argmin(0)
        guesses = (0, left, above, (left + above) >> 1, np.choose(near, (left, above, corner)))
        out += bytes([y % 5]) + ((line - guesses[y % 5]) % 256).astype(np.uint8).tobytes()
        above = line
    return out


def png(pixels, colour, depth, interlaced, palette=None):
    height, width, _ = pixels.shape
    passes = [pixels[y::dy, x::dx] for x, y, dx, dy in (ADAM7 if interlaced else ((0, 0, 1, 1),))]
    data = zlib.compress(b"".join(rows(each, depth) for each in passes if each.size))
    half = len(data) // 2
    return b"\x89PNG\r\n\x1a\n" + b"".join((
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)),
        chunk(b"PLTE", palette.astype(np.uint8).tobytes()) if palette is not None else b"",
        chunk(b"IDAT", data[:half]), chunk(b"IDAT", data[half:]), chunk(b"IEND", b"")))


def generate():
    tensors, kinds = {}, []
    for colour, samples in SAMPLES.items():
        for depth in DEPTHS[colour]:
            for interlaced in (0, 1):
                name = f"colour {colour}, {depth} bits{', interlaced' if interlaced else ''}"
                pixels = random.integers(0, 2 ** depth, (11, 13, samples))
                palette = random.integers(0, 256, (2 ** depth, 3)) if colour == 3 else None
                file = png(pixels, colour, depth, interlaced, palette)
                if depth == 16 and colour > 0:  # of which Pillow keeps the upper bits; grey it cuts off at 255
                    upper = pixels >> 8
                    expected = np.repeat(upper[..., :1], 3, -1) if samples < 3 else upper[..., :3]
                else:
                    expected = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
                kinds.append(name)
                tensors[f"{name}/png"], tensors[f"{name}/rgb"] = np.frombuffer(file, np.uint8), expected.astype(np.uint8)

    texts = {"parameters": "a café\nSteps: 3", "title": "ein „Stern“ ★"}
    info = PngInfo()
    info.add_text("parameters", texts["parameters"])
    info.add_itxt("title", texts["title"], lang="de", tkey="Titel")
    info.add_text("long", "very " * 200, zip=True)  # not read
    file = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (3, 2, 3)).astype(np.uint8)).save(file, "PNG", pnginfo=info)
    tensors["texts/png"] = np.frombuffer(file.getvalue(), np.uint8)

    source = random.integers(0, 256, (20, 31, 3)).astype(np.uint8)
    source[5:12, 8:20] = (0, 255, 128)  # an edge, around which the filter swings out
    sizes = ((31, 20), (16, 16), (64, 48), (31, 7), (5, 20), (1, 1), (33, 21),
             (32, 19), (45, 3), (30, 18), (30, 17), (28, 14), (28, 13), (29, 15), (29, 16), (22, 1), (21, 1))  # about where columns come first
    tensors["resize/source"] = source
    for width, height in sizes:
        tensors[f"resize/{width}x{height}"] = np.asarray(Image.fromarray(source).resize((width, height), Image.LANCZOS))
        tensors[f"bicubic/{width}x{height}"] = np.asarray(Image.fromarray(source).resize((width, height), Image.BICUBIC))

    # What Pillow scales in other ways: by its opacity, or to the nearest pixel.
    alpha = random.integers(0, 256, (20, 31, 1)).astype(np.uint8)
    alpha[8:15, 3:12], alpha[:, 25:] = 0, 255
    modes = {"RGBA": Image.fromarray(np.concatenate([source, alpha], -1)), "LA": Image.fromarray(np.concatenate([source[..., :1], alpha], -1)),
             "P": Image.fromarray(source).quantize(16), "1": Image.fromarray(source).convert("1"), "L": Image.fromarray(source[..., 0])}
    mode_sizes = ((31, 20), (16, 16), (64, 48), (33, 15), (29, 3))
    for mode, image in modes.items():
        assert image.mode == mode
        file = io.BytesIO()
        image.save(file, "PNG")
        tensors[f"modes/{mode}/png"] = np.frombuffer(file.getvalue(), np.uint8)
        for width, height in mode_sizes:
            resized = Image.open(file).resize((width, height), Image.LANCZOS)
            tensors[f"modes/{mode}/{width}x{height}"] = np.asarray(resized.convert("RGB"))
    save("pictures/pictures", tensors, {"kinds": kinds, "texts": texts, "sizes": sizes, "modes": list(modes), "mode_sizes": mode_sizes,
                                        "pillow": PIL.__version__})
