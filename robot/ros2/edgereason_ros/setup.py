"""The package as `colcon build` takes it. The model's side is `pip install edgereason`."""

from __future__ import annotations

from glob import glob

from setuptools import setup

NAME = "edgereason_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.launch.py")),
        (f"share/{NAME}/config", glob("config/*.yaml")),
    ],
    install_requires=["setuptools", "edgereason"],
    zip_safe=True,
    maintainer="edgereason",
    maintainer_email="edgereason@example.org",
    description="A lifecycle node that answers with a small reasoning model within a deadline.",
    license="Apache-2.0",
    entry_points={"console_scripts": [f"think = {NAME}.node:main"]},
)
