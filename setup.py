"""What the distribution is called, what is in it and what it needs."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
package = (here / "cometd_chat/__init__.py").read_text(encoding="utf-8")
version = package.split('__version__ = "')[1].split('"')[0]

setup(
    name="cometd-chat",
    version=version,
    description="A chat daemon that pushes over plain HTTP: Comet on Twisted and Klein",
    keywords="bayeux chat comet cometd long-polling moderation server-sent-events websocket",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.10",
    # twistd finds plugins in every folder named twisted/plugins; ours has no __init__.py.
    packages=[*find_packages(include=["cometd_chat", "cometd_chat.*"]), "twisted.plugins"],
    package_data={
        "cometd_chat": ["py.typed"],
        "cometd_chat.log": ["schema/*", "schema/**/*"],
        "cometd_chat.lookalikes": ["data/*"],
        "cometd_chat.web": ["templates/*", "templates/**/*", "static/*", "static/**/*"],
    },
    exclude_package_data={"": ["*.pyc"]},
    entry_points={"console_scripts": ["comet-chat = cometd_chat.__main__:main"]},
    install_requires=[
        "alembic",
        "argon2-cffi",
        "attrs",
        "idna",
        "jinja2",
        "klein>=24.8",
        "markupsafe",
        "msgspec",
        "precis-i18n",
        "prometheus-client",
        "pyopenssl",
        "segno",
        "sqlalchemy>=2.0",
        # Its next major may be another Twisted inside: see transports/twisted_internals.
        "twisted[tls]>=26.10,<27",
        "werkzeug",
        "wsproto",
        "zope.interface",
    ],
    extras_require={
        "bench": [
            "aiohttp",
            "matplotlib",
            "psycopg[binary]>=3.2",
            "py-spy",
            "tornado",
        ],
        "postgresql": ["psycopg[binary]>=3.2"],
        "test": [
            "aiocometd-ng",
            "aiosfstream-ng",
            "hypothesis",
            "mypy",
            "mypy-zope",
            "playwright",
            "psycopg[binary]>=3.2",
            "pytest",
            "pytest-twisted",
            "pytest-xdist",
            "ruff",
            "setuptools>=70.1",
            "treq",
            "websockets",
        ],
    },
    classifiers=[
        "Development Status :: 5 - Production/Stable",
        "Environment :: No Input/Output (Daemon)",
        "Environment :: Web Environment",
        "Framework :: Twisted",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Communications :: Chat",
        "Topic :: Internet :: WWW/HTTP :: Dynamic Content :: Message Boards",
        "Typing :: Typed",
    ],
)
