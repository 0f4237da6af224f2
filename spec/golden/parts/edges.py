"""Edges as OpenCV's Canny finds them, of pictures of odd sizes, smooth and rough."""
import cv2
import numpy as np

from generate import save

SIZES = {"smooth": (37, 53), "rough": (61, 45), "flat": (1, 9), "shapes": (64, 64)}
THRESHOLDS = [(100, 200), (30, 90)]


def picture(name, height, width):
    random = np.random.default_rng(len(name))
    y, x = np.mgrid[:height, :width]
    waves = np.stack([127 + 120 * np.sin(x / 5 + y / 9), 127 + 120 * np.cos(x / 7 - y / 4), (x * 11 + y * 3) % 256], -1)
    if name == "rough":
        waves = waves * 0.5 + random.integers(0, 128, (height, width, 3))
    image = waves.clip(0, 255).astype(np.uint8)
    if name == "shapes":
        image[:] = (60, 205, 220)
        cv2.circle(image, (25, 30), 15, (220, 40, 40), -1, cv2.LINE_AA)
        cv2.fillPoly(image, [np.array([(40, 20), (60, 44), (33, 57)])], (245, 215, 50), cv2.LINE_AA)
    return image


def generate():
    tensors = {}
    for name, size in SIZES.items():
        image = tensors[f"{name}/image"] = picture(name, *size)
        for low, high in THRESHOLDS:
            tensors[f"{name}/{low}-{high}"] = cv2.Canny(image, low, high)
    save("pictures/edges", tensors, {"names": list(SIZES), "thresholds": THRESHOLDS})
