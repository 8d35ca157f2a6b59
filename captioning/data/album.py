"""The album: freely licensed photographs that packages of the course bring along.

    album()            the photos that are installed here, each with its title and license
    find(name)         one of them, by name

Nothing is copied and nothing downloaded: the files lie where pip put scikit-image, Matplotlib and
scikit-learn. Nobody trained a captioner of this course on them.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AlbumPhoto:
    name: str
    title: str
    author: str
    license: str
    package: str  # as it is imported
    file: str  # within the package

    @property
    def path(self) -> Path | None:
        """The file on this machine, or None where the package or the file is missing."""
        spec = importlib.util.find_spec(self.package)
        folders = list(spec.submodule_search_locations or []) if spec else []
        paths = [Path(folder, self.file) for folder in folders]
        return next((path for path in paths if path.is_file()), None)

    @property
    def credit(self) -> str:
        """Title, author and license in a line, to be printed below the photo."""
        return f"{self.title}. {self.author}, {self.license}."


PUBLIC_DOMAIN = "public domain"
PHOTOS = (
    AlbumPhoto(
        "chelsea", "Chelsea the cat", "Stefan van der Walt", "CC0", "skimage", "data/chelsea.png"
    ),
    AlbumPhoto("coffee", "A cup of coffee", "Rachel Michetti", "CC0", "skimage", "data/coffee.png"),
    AlbumPhoto(
        "camera", "A photographer at work", "Lav Varshney", "CC0", "skimage", "data/camera.png"
    ),
    AlbumPhoto(
        "astronaut",
        "The astronaut Eileen Collins",
        "NASA",
        PUBLIC_DOMAIN,
        "skimage",
        "data/astronaut.png",
    ),
    AlbumPhoto(
        "rocket",
        "A Falcon 9 carries DSCOVR",
        "SpaceX",
        PUBLIC_DOMAIN,
        "skimage",
        "data/rocket.jpg",
    ),
    AlbumPhoto(
        "hopper",
        "Rear Admiral Grace Hopper",
        "James S. Davis, United States Navy",
        PUBLIC_DOMAIN,
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
    ),
    AlbumPhoto(
        "china",
        "A temple in China",
        "Daniel Büchele",
        "CC BY 2.0",
        "sklearn",
        "datasets/images/china.jpg",
    ),
)


def album() -> list[AlbumPhoto]:
    """Return the photos that are installed here."""
    return [photo for photo in PHOTOS if photo.path]


def find(name: str) -> AlbumPhoto:
    """Return the photo of that name; ValueError where there is none, or its package is missing."""
    by_name = {photo.name: photo for photo in PHOTOS}
    if name not in by_name:
        raise ValueError(f"The album has no photo {name!r}; it has {', '.join(by_name)}.")
    if by_name[name].path is None:
        package = by_name[name].package
        raise FileNotFoundError(
            f"The album's photo {name} is missing: it comes with the package {package}. Run "
            "pip install scikit-image matplotlib scikit-learn"
        )
    return by_name[name]
