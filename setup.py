"""Maps the rooms at the top of the repository to packages of the one namespace `attar`.

`retrieval/encoders/` is the package `attar.retrieval.encoders`, and so on. The packages are found,
not listed, so that a new folder with an `__init__.py` is shipped without being named anywhere.
"""

from setuptools import find_packages, setup

ROOMS = ("retrieval", "stores", "vision", "context")

package_dir = {"attar": "attar"} | {f"attar.{room}": room for room in ROOMS}
packages = ["attar", *(f"attar.{name}" for name in find_packages("attar"))]
for room in ROOMS:
    packages += [f"attar.{room}", *(f"attar.{room}.{name}" for name in find_packages(room))]

setup(packages=packages, package_dir=package_dir)
