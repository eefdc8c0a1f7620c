"""Write the test images that come with the package: the first 480, as JPEG with PNG label maps in one zip file.

python data_scripts/render_sample.py
"""

from pathlib import Path

from cnnvis_helpers import diorama

SAMPLE = Path(diorama.__file__).parent / "sample" / "test.zip"
IMAGES = 480  # 30 of each class

if __name__ == "__main__":
    diorama.write_sample(SAMPLE, diorama.load("test", IMAGES))
    print(f"wrote {IMAGES} images, {SAMPLE.stat().st_size / 1e6:.1f} MB")
