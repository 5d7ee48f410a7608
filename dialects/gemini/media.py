"""Media types where nobody said one: by the suffix of an address, by the first bytes of data."""

from __future__ import annotations

from urllib.parse import urlsplit

from chat.request import File, Image
from dialects.images import image_type

SUFFIXES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
}
"""A table of our own: Python's mimetypes reads the machine's files and differs between them."""


def type_of_url(url: str) -> str | None:
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    return SUFFIXES.get(path.rpartition(".")[2].lower())


def type_of_data(part: Image | File) -> str:
    if part.media_type:
        return part.media_type
    if isinstance(part, File):
        return "audio/wav" if part.kind == "audio" else "application/pdf"
    return image_type(part.data or "") or "image/jpeg"
