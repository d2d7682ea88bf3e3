"""Templates are compiled once for many processes; whatever is in the way of that is no fault."""

from __future__ import annotations

import sys
from pathlib import Path
from types import CodeType

import pytest
from jinja2 import Environment, FileSystemLoader

from cometd_chat.web.pages.compiled import CompiledTemplates
from cometd_chat.web.pages.page import templates


@pytest.fixture(autouse=True)
def _written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)


def draw(folder: Path, autoescape: bool = True) -> tuple[str, int]:
    """What a new process draws, and how many templates it compiles for that."""
    environment = Environment(
        loader=FileSystemLoader(folder), bytecode_cache=CompiledTemplates(), autoescape=autoescape
    )
    compiled: list[str] = []

    def compile(source: str, name: str, filename: str) -> CodeType:
        compiled.append(name)
        return Environment.compile(environment, source, name, filename)

    environment.compile = compile  # type: ignore[method-assign, assignment]
    drawn = environment.get_template("page.html").render(word="<b>")
    return drawn, len(compiled)


def kept(folder: Path) -> Path:
    (file,) = (folder / "__pycache__").iterdir()
    assert file.suffix == ".pyc"
    return file


def test_the_next_process_does_not_compile(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("say {{ word }}")
    assert draw(tmp_path) == ("say &lt;b&gt;", 1)
    assert draw(tmp_path) == ("say &lt;b&gt;", 0)
    # As readable for others as the template itself.
    assert kept(tmp_path).stat().st_mode == (tmp_path / "page.html").stat().st_mode


def test_another_text_or_option_is_compiled_anew(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("say {{ word }}")
    draw(tmp_path)
    page.write_text("hear {{ word }}")
    assert draw(tmp_path) == ("hear &lt;b&gt;", 1)
    assert draw(tmp_path) == ("hear &lt;b&gt;", 0)
    assert draw(tmp_path, autoescape=False) == ("hear <b>", 1)


def test_another_jinja_has_files_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.html").write_text("say {{ word }}")
    draw(tmp_path)
    monkeypatch.setattr("cometd_chat.web.pages.compiled.JINJA", "jinja9")
    assert draw(tmp_path)[1] == 1
    assert len(list((tmp_path / "__pycache__").iterdir())) == 2


@pytest.mark.parametrize("left", [0, 1, 10, 30, -1])
def test_half_a_file_is_made_whole(tmp_path: Path, left: int) -> None:
    (tmp_path / "page.html").write_text("say {{ word }}")
    draw(tmp_path)
    file = kept(tmp_path)
    file.write_bytes(file.read_bytes()[:left])
    assert draw(tmp_path) == ("say &lt;b&gt;", 1)
    assert draw(tmp_path) == ("say &lt;b&gt;", 0)


def test_who_may_not_write_compiles_each_time(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("say {{ word }}")
    # Root may write everywhere, but in no file.
    (tmp_path / "__pycache__").touch()
    assert draw(tmp_path) == draw(tmp_path) == ("say &lt;b&gt;", 1)


def test_who_should_not_write_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.html").write_text("say {{ word }}")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert draw(tmp_path) == draw(tmp_path) == ("say &lt;b&gt;", 1)
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == []


def test_pages_are_kept_like_that(monkeypatch: pytest.MonkeyPatch) -> None:
    # In a process that nobody may write to, all the same: it looks.
    looked: list[str] = []
    monkeypatch.setattr(CompiledTemplates, "dump_bytecode", lambda self, bucket: None)
    monkeypatch.setattr(
        CompiledTemplates, "load_bytecode", lambda self, bucket: looked.append(bucket.key)
    )
    environment = templates.__wrapped__()
    names = {Path(key).name.partition(".")[0] for key in looked}
    assert names == {Path(name).stem for name in environment.list_templates(["html"])}
