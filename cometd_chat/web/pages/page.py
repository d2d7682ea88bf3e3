"""What an HTML page is: everything a person sees that is not pushed.

What it is: a page is a value, and its template draws it, by Jinja2 with autoescape. The names of
all form fields are in `templates/`; each class says where its forms are sent.

What it may know: the public form of rooms, people and lines; not requests, sessions or the log.

Invariant: a page works without script, and nothing that a person wrote is ever markup in it. No
page has inline styles, inline handlers or anything from another host, so `content_security_policy`
can forbid them all. Its template is given the fields of its class and no others: one that is
missing or misspelt is an error.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import attrs
from jinja2 import Environment, PackageLoader, StrictUndefined

from cometd_chat import __version__
from cometd_chat.web.pages.compiled import CompiledTemplates
from cometd_chat.web.static_files import static_files
from cometd_chat.web.transcript import tamed, tamed_lines


def content_security_policy(nonce: str, host: str = "") -> str:
    """The policy of every page: our own files, scripts only by ``nonce`` or from their folder.

    Scripts are not allowed by `'self'`: an endpoint that echoes a callback would be a way in.

    :param host: by which the page was asked for. Whoever tries the library in the browser's console
        on a page of ours needs its folder; a policy can't name one without a host, nor at an IPv6
        literal (CSP 3, section 2.3.1).
    """
    folder = f" {host}/static/" if host and "[" not in host else ""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'{folder}; "
        f"style-src 'self' 'nonce-{nonce}'; "
        "connect-src 'self'; frame-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'self'"
    )


@cache
def templates() -> Environment:
    """The templates, all of them read at the start, and compiled where nobody has done it before:
    once in a process."""
    environment = Environment(
        loader=PackageLoader("cometd_chat.web"),
        bytecode_cache=CompiledTemplates(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.filters |= {"tamed": tamed, "tamed_lines": tamed_lines}
    environment.globals |= {"version": __version__, "static": static_files().folder}
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)
    return environment


@attrs.frozen
class House:
    """What a page says of the house, whatever else it shows.

    :param title: what it is called.
    :param welcome: what it says to whoever comes in; empty for nothing.
    """

    title: str = "Comet Chat"
    welcome: str = ""


@attrs.frozen(kw_only=True)
class Page:
    """What one template draws: it is given each field by its name.

    ``form`` is, in every page, what stands in its form, and ``form_token`` the hidden token of the
    session (see `Auth.form_token`), empty without one.
    """

    #: In ``templates/``.
    template: ClassVar[str]

    def draw(self, nonce: str, house: House = House()) -> str:
        """The HTML.

        :param nonce: the value given to `content_security_policy` for this response.
        """
        values = {each.name: getattr(self, each.name) for each in attrs.fields(type(self))}
        return templates().get_template(self.template).render(values, nonce=nonce, house=house)
