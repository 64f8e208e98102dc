"""Packaging. Tools are set up in pyproject.toml; tested versions are in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def version() -> str:
    """Read the version without importing the package."""
    text = (ROOT / "xagent" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE).group(1)


def readme() -> str:
    path = ROOT / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


setup(
    name="xagent",
    version=version(),
    description="Turn an open chat model into a tool-using agent, and prove that it became one",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=["xagent", "xagent.*"]), "xagent.configs"],
    package_dir={"xagent.configs": "configs"},
    package_data={"xagent.configs": ["**/*.py", "**/*.json"], "xagent.assets": ["**/*"]},
    exclude_package_data={"": ["__pycache__/*", "*.pyc"]},
    install_requires=[
        "accelerate",
        "arxiv",
        "bitsandbytes>=0.49",
        "datasets>=3",
        "filelock",
        "huggingface_hub",
        "jinja2",
        "jsonschema>=4.18",
        "lagent==0.2.4",
        # imported by lagent 0.2.4, which does not declare them
        "beautifulsoup4",
        "cachetools",
        "PyJWT",
        "matplotlib",
        "mmengine>=0.10.7",
        "numpy",
        "peft>=0.17",
        "prompt_toolkit>=3",
        "psutil",
        "pyarrow",
        "PyYAML",
        "referencing",
        "requests",
        "safetensors",
        "tokenizers",
        "torch>=2.6",
        "tqdm",
        "transformers>=5",
    ],
    extras_require={
        "deepspeed": ["deepspeed>=0.18"],
        "demo": ["streamlit"],
        "json": ["llguidance>=1.9"],
        "mcp": ["mcp>=2"],
        "serve": ["fastapi>=0.115", "prometheus_client", "pydantic>=2", "starlette", "uvicorn>=0.30"],
        "tensorboard": ["tensorboard"],
        "vllm": ["httpx"],
        "dev": [
            "fastapi>=0.115",
            "httpx",
            "hypothesis",
            "import-linter>=2.4",
            "llguidance>=1.9",
            "mcp>=2",
            "mypy>=1.15",
            "openai>=1.60",
            "pre-commit",
            "prometheus_client",
            "pydantic>=2",
            "pytest>=8",
            "pytest-xdist",
            "ruff>=0.12",
            "selenium",
            "starlette",
            "streamlit",
            "tensorboard",
            "uvicorn>=0.30",
        ],
    },
    entry_points={"console_scripts": ["xagent = xagent.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
