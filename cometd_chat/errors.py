"""Everything that can go wrong for a client, in one table.

What it is: the errors that the core raises and the edges translate; each row knows the status,
the path under ``/problems/`` and the title that a client is shown (RFC 9457).

What it may know: nothing of HTTP requests, SQL or the chat.

Invariant: each ``detail`` is a sentence that the person who reads it can act on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import attrs


@attrs.frozen
class FieldError:
    """What is wrong with one field of a request.

    :param instead: a value near to it that would do; empty when there is none.
    """

    field: str
    detail: str
    instead: str = ""


class ChatError(Exception):
    """A refusal that the client is told about.

    :param detail: what happened and what to do about it, one or two sentences. Anybody may read it,
        so that it names no path of the API, and no option.
    :param hint: what to do for who writes a program, a sentence.
    :param remedy: what to do for who runs the daemon, a sentence; it is logged.
    :param fields: the fields of the request that are at fault.
    :param retry_after: seconds after which trying again makes sense.
    :param extra: what else programs are told, by the names of its members (RFC 9457, section 3.2).
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something broke on our side"
    #: The reason in the `bye` of what ends because of this; empty for one that says little.
    bye: ClassVar[str] = ""

    def __init__(
        self,
        detail: str,
        *,
        hint: str = "",
        remedy: str = "",
        fields: Sequence[FieldError] = (),
        retry_after: float | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.remedy = remedy
        self.fields = tuple(fields)
        self.retry_after = retry_after
        self.extra = dict(extra or {})


class HeldForModerator(ChatError):
    status, slug, title = 202, "held", "A moderator looks at it first"


class InvalidRequest(ChatError):
    status, slug, title = 400, "invalid-request", "The request has a mistake in it"


class InvalidCursor(ChatError):
    status, slug, title = 400, "invalid-cursor", "That is not a cursor"


class NoSession(ChatError):
    status, slug, title = 401, "no-session", "A session is needed"


class InvalidToken(ChatError):
    status, slug, title = 401, "invalid-token", "That session is not known"


class WrongPassword(ChatError):
    status, slug, title = 401, "wrong-password", "The name or the password is wrong"


class NotAllowed(ChatError):
    status, slug, title = 403, "not-allowed", "You may not do that"


class GuestsOff(ChatError):
    status, slug, title = 403, "guests-off", "Guests can't come in just now"
    bye = "guests-off"


class Waiting(ChatError):
    status, slug, title = 403, "waiting", "You have to be let in first"


class CalmedDown(ChatError):
    status, slug, title = 403, "calm", "Only some may speak just now"


class RoomLocked(ChatError):
    status, slug, title = 403, "room-locked", "The room is locked"


class RoomArchived(ChatError):
    status, slug, title = 403, "room-archived", "The room is archived"


class NotBelow(ChatError):
    status, slug, title = 403, "not-below", "They are not below you"


class Silenced(ChatError):
    status, slug, title = 403, "silenced", "You may not speak"


class Kicked(ChatError):
    status, slug, title = 403, "kicked", "You were sent away for a while"
    bye = "kicked"


class Banned(ChatError):
    status, slug, title = 403, "banned", "You are banned"
    bye = "banned"


class InviteNeeded(ChatError):
    status, slug, title = 403, "invite-needed", "An invitation is needed"


class CrossSite(ChatError):
    status, slug, title = 403, "cross-site", "The request came from another site"


class NotFound(ChatError):
    status, slug, title = 404, "not-found", "There is nothing here"


class RoomNotFound(ChatError):
    status, slug, title = 404, "room-not-found", "There is no such room"


class MethodNotAllowed(ChatError):
    """:param allow: the methods that the path takes."""

    status, slug, title = 405, "method-not-allowed", "The path does not take that method"

    def __init__(self, detail: str, *, hint: str = "", allow: Sequence[str]) -> None:
        super().__init__(detail, hint=hint)
        self.allow = tuple(allow)


class RequestTimeout(ChatError):
    status, slug, title = 408, "request-timeout", "The request did not come in time"


class NameTaken(ChatError):
    status, slug, title = 409, "name-taken", "Somebody else has that name"


class AlreadyMember(ChatError):
    status, slug, title = 409, "already-member", "You have an account already"


class LastOwner(ChatError):
    status, slug, title = 409, "last-owner", "The last owner stays"


class RoomExists(ChatError):
    status, slug, title = 409, "room-exists", "There is such a room already"


class AlreadySanctioned(ChatError):
    status, slug, title = 409, "already-sanctioned", "That is in force already"


class Pinned(ChatError):
    status, slug, title = 409, "pinned", "An option of the daemon says so"


class ClientIdReused(ChatError):
    status, slug, title = 409, "client-id-reused", "That client_id was used for another text"


class TooLate(ChatError):
    status, slug, title = 410, "too-late", "It is too late for that"


class CodeGone(ChatError):
    status, slug, title = 410, "code-gone", "That link is good no longer"


class BodyTooLarge(ChatError):
    status, slug, title = 413, "body-too-large", "The body is too large"


class NotJson(ChatError):
    status, slug, title = 415, "not-json", "The body has to be JSON"


class WrongHost(ChatError):
    status, slug, title = 421, "wrong-host", "That host name is not served here"


class UpgradeRequired(ChatError):
    status, slug, title = 426, "upgrade-required", "Another protocol is needed here"


class TooMany(ChatError):
    status, slug, title = 429, "too-many", "Too much at once"


class SlowModeOn(ChatError):
    status, slug, title = 429, "slow-mode", "This room is in slow mode"


class HeadTooLarge(ChatError):
    status, slug, title = 431, "head-too-large", "The head of the request is too large"


class ShuttingDown(ChatError):
    status, slug, title = 503, "shutting-down", "The daemon is stopping"


class TooBusy(ChatError):
    status, slug, title = 503, "too-busy", "Too much is asked for just now"


class MemoryShort(ChatError):
    status, slug, title = 503, "memory-short", "The daemon has no memory to spare"


class StorageUnavailable(ChatError):
    status, slug, title = 503, "storage-unavailable", "The log can't be reached just now"


class LogFull(ChatError):
    status, slug, title = 503, "log-full", "The log has reached its size limit"


def by_slug() -> dict[str, type[ChatError]]:
    """The whole table, by the last part of the path under ``/problems/``."""
    kinds: list[type[ChatError]] = [ChatError, *ChatError.__subclasses__()]
    return {kind.slug: kind for kind in kinds}
