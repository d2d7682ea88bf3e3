"""The forms of a page as its bytes have them, for who drives a browser that has no script.

What it is: `forms_of`, each form with its fields, in the order in which a keyboard reaches them.

What it may know: HTML. Nothing of the chat, nor of any one browser.

Invariant: what has the focus when a key is pressed so many times is told as text browsers count it:
a link each, a field each, and each row of a box.
"""

from __future__ import annotations

from html.parser import HTMLParser

import attrs


@attrs.define
class Field:
    """Something that can be filled in or pressed.

    :param stop: how many links and fields are before it on the page.
    :param kind: the type of an input, or the name of its element.
    :param text: what stands on a button.
    :param options: values of a choice, and which is chosen.
    """

    stop: int
    kind: str
    name: str
    value: str
    text: str = ""
    on: bool = False
    options: list[str] = attrs.field(factory=list)
    chosen: int = 0


@attrs.define
class PageForm:
    """A form.

    :param index: its place among the forms of the page.
    """

    index: int
    action: str
    hidden: list[str] = attrs.field(factory=list)
    fields: list[Field] = attrs.field(factory=list)

    def button(self, text: str) -> Field | None:
        """The button with a text."""
        found = (each for each in self.fields if each.kind == "button")
        return next((each for each in found if " ".join(each.text.split()) == text), None)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[PageForm] = []
        self._stops = 0
        self._form: PageForm | None = None
        self._open: Field | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = PageForm(len(self.forms), has.get("action", ""))
            self.forms.append(self._form)
        elif tag == "a" and "href" in has:
            self._stops += 1
        elif tag == "input" and has.get("type") == "hidden":
            if self._form is not None:
                self._form.hidden.append(has.get("value", ""))
        elif tag in ("input", "textarea", "select", "button"):
            self._field(tag, has)
        elif tag == "option" and self._open is not None:
            if "selected" in has:
                self._open.chosen = len(self._open.options)
            self._open.options.append(has.get("value", ""))
            self._open.text = ""

    def _field(self, tag: str, has: dict[str, str]) -> None:
        kind = has.get("type", "text") if tag == "input" else tag
        name, value = has.get("name", ""), has.get("value", "")
        field = Field(self._stops, kind, name, value, on="checked" in has)
        self._stops += int(has.get("rows", "1")) if tag == "textarea" else 1
        self._open = None if tag == "input" else field
        if self._form is not None:
            self._form.fields.append(field)

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "option" and self._open is not None:
            # What has no value is sent as it is called.
            self._open.options[-1] = self._open.options[-1] or self._open.text.strip()
        elif tag in ("textarea", "select", "button"):
            if self._open is not None and tag == "textarea":
                self._open.value = self._open.text.strip("\n")
            self._open = None


def forms_of(page: str) -> list[PageForm]:
    """All forms of a page."""
    reader = _Reader()
    reader.feed(page)
    return reader.forms


def form_with(page: str, button: str, about: str = "") -> PageForm:
    """The first form that has a button of this text.

    :param about: is in its action, or is a hidden value of it.
    """
    found = (each for each in forms_of(page) if each.button(button) is not None)
    suits = (each for each in found if not about or about in each.action or about in each.hidden)
    form = next(suits, None)
    assert form is not None, f"no form with a button {button!r} about {about!r}:\n{page}"
    return form
