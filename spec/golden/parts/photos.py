"""Picture files of every kind that begin a picture, as load_image of diffusers opens them: JPEG, WebP, GIF, BMP, TIFF, and how cameras were held."""
import io
import struct

import numpy as np
from diffusers.utils import load_image
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from generate import save

random = np.random.default_rng(1)
HEIGHT, WIDTH = 17, 21
y, x = np.mgrid[:HEIGHT, :WIDTH]
pixels = np.stack([127 + 120 * np.sin(x / 5 + y / 9), 127 + 120 * np.cos(x / 7 - y / 4), (x * 11 + y * 3) % 256], -1).clip(0, 255).astype(np.uint8)
pixels[5:10, 8:14] = (255, 0, 40)
picture = Image.fromarray(pixels)
clear = picture.copy()
clear.putalpha(Image.fromarray(((x * 12) % 256).astype(np.uint8)))
tensors, names = {}, []


def put(name, file):
    names.append(name)
    tensors[f"{name}/file"] = np.frombuffer(file, np.uint8)
    tensors[f"{name}/rgb"] = np.asarray(load_image(Image.open(io.BytesIO(file))))


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation, endian="<", kind="H"):
    """EXIF of a few tags, in either order of bytes; Pillow itself writes one."""
    value = {"H": struct.pack(endian + "HH", orientation, 0), "I": struct.pack(endian + "I", orientation)}[kind]
    tags = struct.pack(endian + "HHHI", 2, 0x0100, 4, 1) + struct.pack(endian + "I", 9) + struct.pack(endian + "HHI", 0x0112, 3 if kind == "H" else 4, 1) + value
    return b"Exif\0\0" + (b"II*\0" if endian == "<" else b"MM\0*") + struct.pack(endian + "I", 8) + tags + struct.pack(endian + "I", 0)


def tiff16(samples, endian):
    """16 bits a sample of red, green and blue, which Pillow reads but does not write."""
    data, at = samples.astype(endian + "u2").tobytes(), 8
    entries = [(256, 4, 1, WIDTH), (257, 4, 1, HEIGHT), (258, 3, 3, None), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, at), (277, 3, 1, 3), (278, 4, 1, HEIGHT), (279, 4, 1, len(data))]
    table = at + len(data)
    bits = table + 2 + 12 * len(entries) + 4
    out = (b"MM\0*" if endian == ">" else b"II*\0") + struct.pack(endian + "I", table) + data + struct.pack(endian + "H", len(entries))
    for tag, kind, count, value in entries:
        place = struct.pack(endian + "I", bits if value is None else value) if kind == 4 or value is None else struct.pack(endian + "HH", value, 0)
        out += struct.pack(endian + "HHI", tag, kind, count) + place
    return out + struct.pack(endian + "I", 0) + struct.pack(endian + "HHH", 16, 16, 16)


def bmp(depth, rows, masks=(), old=False, palette=b"", top_down=False):
    """What Pillow reads but does not write."""
    header = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, depth) if old else struct.pack(
        "<IiiHHIIiiII", 40, WIDTH, -HEIGHT if top_down else HEIGHT, 1, depth, 3 if masks else 0, 0, 0, 0, 0, 0)
    header += b"".join(struct.pack("<I", mask) for mask in masks) + palette
    body = b"".join(row + bytes(-len(row) % 4) for row in rows)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


def generate():
    for quality, subsampling in ((30, 2), (75, 1), (95, 0)):
        put(f"JPEG {quality}", encode(picture, "JPEG", quality=quality, subsampling=subsampling))
    put("JPEG progressive", encode(picture, "JPEG", progressive=True))
    put("JPEG grey", encode(picture.convert("L"), "JPEG"))
    put("JPEG CMYK", encode(picture.convert("CMYK"), "JPEG"))
    put("WebP", encode(picture, "WEBP"))
    put("WebP lossless, transparent", encode(clear, "WEBP", lossless=True, exact=True))
    put("WebP transparent", encode(clear, "WEBP"))
    put("GIF", encode(picture, "GIF"))
    put("GIF grey", encode(picture.convert("L"), "GIF"))
    put("GIF that moves", encode(picture, "GIF", save_all=True, append_images=[picture.transpose(Image.Transpose.ROTATE_180)]))
    for mode in ("RGB", "L", "P", "1", "RGBA"):
        image = picture.quantize(50) if mode == "P" else clear if mode == "RGBA" else picture.convert(mode)
        put(f"BMP {mode}", encode(image, "BMP"))
        if mode != "1":
            put(f"TIFF {mode}", encode(image, "TIFF"))
    put("BMP of 4 colours", encode(picture.quantize(4), "BMP"))
    flipped = pixels[::-1].astype(int)
    put("BMP top down", bmp(24, [row[:, ::-1].tobytes() for row in pixels], top_down=True))
    put("BMP of OS/2", bmp(24, [row[:, ::-1].tobytes() for row in pixels[::-1]], old=True))
    narrow = lambda bits: [sum((row[:, c] >> (8 - b)) << s for c, (b, s) in enumerate(bits)).astype("<u2").tobytes() for row in flipped]
    put("BMP 16 bits", bmp(16, narrow(((5, 10), (5, 5), (5, 0)))))
    put("BMP 16 bits, masks", bmp(16, narrow(((5, 11), (6, 5), (5, 0))), masks=(0xF800, 0x7E0, 0x1F)))
    put("BMP 32 bits, masks", bmp(32, [(row[:, 0] << 24 | row[:, 1] << 16 | row[:, 2] << 8).astype("<u4").tobytes() for row in flipped], masks=(0xFF000000, 0xFF0000, 0xFF00)))
    put("BMP 4 bits", bmp(4, [bytes((i * 3 + r) % 256 for i in range((WIDTH + 1) // 2)) for r in range(HEIGHT)], palette=bytes(i * 4 % 256 for i in range(64))))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        put(f"TIFF {compression}", encode(picture, "TIFF", compression=compression))
    put("TIFF fax", encode(picture.convert("1"), "TIFF", compression="group4"))
    put("TIFF CMYK", encode(picture.convert("CMYK"), "TIFF"))
    put("TIFF grey, transparent", encode(clear.convert("LA"), "TIFF"))
    wide = random.integers(0, 65536, (HEIGHT, WIDTH, 3))
    for endian in "<>":
        put(f"TIFF 16 bits {endian}", tiff16(wide, endian))
    put("TIFF grey, 16 bits", encode(Image.fromarray((wide[..., 0] >> 7).astype(np.uint16)), "TIFF"))

    for orientation in range(1, 10):
        for kind in ("JPEG", "PNG"):
            put(f"{kind} held {orientation}", encode(picture, kind, exif=exif(orientation, "<>"[orientation % 2])))
    for kind in ("WEBP", "TIFF"):
        held = Image.Exif()
        held[ExifTags.Base.Orientation] = 6
        put(f"{kind} held 6", encode(picture, kind, exif=held))
    for kind in ("JPEG", "WEBP"):
        put(f"{kind} held as its XMP says", encode(picture, kind, xmp=b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB", 5000)).tobytes()  # of other colours
    put("JPEG with a profile", encode(picture, "JPEG", icc_profile=profile))
    put("JPEG CMYK with a profile", encode(picture.convert("CMYK"), "JPEG", icc_profile=profile))
    put("WebP with a profile", encode(picture, "WEBP", icc_profile=profile))
    put("PNG held 8, a long", encode(clear, "PNG", exif=exif(8, ">", "I")))
    put("PNG held 7, spoilt", encode(picture, "PNG", exif=exif(7)[:20]))
    for name, key, text in (("profile", "Raw profile type exif", f"\nexif\n{len(exif(5)):8}\n{exif(5).hex()}\n"),
                            ("packed profile", "Raw profile type exif", f"\nexif\n{len(exif(7)):8}\n{exif(7).hex()}\n"),
                            ("XMP", "XML:com.adobe.xmp", '<x:xmpmeta><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'),
                            ("XMP element", "XML:com.adobe.xmp", "<x:xmpmeta><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>")):
        info = PngInfo()
        info.add_itxt(key, text) if "XMP" in name else info.add_text(key, text, zip="packed" in name)
        put(f"PNG held as its {name} says", encode(picture, "PNG", pnginfo=info))
    save("pictures/photos", tensors, {"names": names})
