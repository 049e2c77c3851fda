"""The operations of the API on images and on the image cache, as operations_of.py has them."""

from shapes import keys
from world import get, send

_IMAGE = keys("id name status disk_format container_format size virtual_size visibility protected owner")
_IMAGE_FULL = keys("id name status disk_format container_format size virtual_size visibility protected owner members")
_CACHED = keys("id image name status size host uses last_used created_at")
IMAGES = [
    get("images", {"images": [_IMAGE]}, lambda w: f"images?{w.new_image()}"),
    send(
        "POST",
        "images",
        202,
        {"image": keys("id name status")},
        lambda w: ("images", {"image": {"imageRef": w.new_image(), "name": w.unique("imported")}}),
    ),
    get("images/{id}", {"image": _IMAGE_FULL}, lambda w: f"images/{w.new_image()}"),
    send(
        "PUT",
        "images/{id}",
        200,
        {"image": _IMAGE_FULL},
        lambda w: (f"images/{w.new_image()}", {"image": {"name": "n"}}),
    ),
    send("DELETE", "images/{id}", 204, None, lambda w: (f"images/{w.new_image()}", None)),
    get("image-cache", {"cached_images": [_CACHED]}, lambda w: f"image-cache?{w.cached_image()}", admin=True),
    send("DELETE", "image-cache/{id}", 202, None, lambda w: (f"image-cache/{w.cached_image()}", None), admin=True),
]
