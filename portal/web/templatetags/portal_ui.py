"""Template tags of the pages: icons, figures and times. Words come from ``portal.web.wording``."""

from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any

from django import template
from django.template.context import Context
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.web.wording import browsers, moments, numbers

register = template.Library()


@register.simple_tag
@cache  # one string per name and process: a list page asks for hundreds
def icon(name: str) -> SafeString:
    """Return an icon of the sprite; ``name`` is one of ``static/icons.txt``. It is hidden: a word stands beside it."""
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>', static("vendor/icons.svg"), name
    )


def reader(context: Context) -> tuple[datetime, tzinfo]:
    """Return the page's ``now`` and ``zone``; a page that names none gets the clock and Django's current zone."""
    return context.get("now") or timezone.now(), context.get("zone") or timezone.get_current_timezone()


def time_element(moment: datetime, words: str, exact: str, *, relative: bool) -> SafeString:
    """Return a <time>; a relative one is kept fresh by the page's script and names the exact time on hover."""
    stamp = moment.astimezone(UTC).isoformat(timespec="seconds")
    if relative:
        return format_html('<time datetime="{}" title="{}" data-relative>{}</time>', stamp, exact, words)
    return format_html('<time datetime="{}">{}</time>', stamp, words)


@register.simple_tag(takes_context=True)
def ago(context: Context, moment: datetime | None) -> SafeString | str:
    """Show how long ago it was: "12 s ago". Nothing where ``moment`` is None."""
    if moment is None:
        return ""
    now, zone = reader(context)
    words = moments.relative_words(moment, now)
    return time_element(moment, words, moments.exact_words(moment, now, zone), relative=True)


@register.simple_tag(takes_context=True)
def moment(context: Context, value: datetime | None) -> SafeString | str:
    """Show a moment: "8 h ago" under 48 h, else "Sun 22 Nov, 02:12". Nothing for None."""
    if value is None:
        return ""
    now, zone = reader(context)
    exact = moments.exact_words(value, now, zone)
    if abs(now - value) < moments.RELATIVE_FOR:
        return time_element(value, moments.relative_words(value, now), exact, relative=True)
    return time_element(value, exact, exact, relative=False)


@register.simple_tag(takes_context=True)
def exact(context: Context, value: datetime | None, *, weekday: bool = True, inside: bool = False) -> SafeString | str:
    """Show the wall time in the reader's zone: "Sun 22 Nov, 02:12"; ``weekday=False``: "22 Nov, 02:12". Nothing for None.

    ``inside`` a sentence the day of the page's ``now`` is "today".
    """
    if value is None:
        return ""
    now, zone = reader(context)
    worded = moments.said_words if inside else moments.exact_words
    words = worded(value, now, zone, weekday=weekday)
    return time_element(value, words, words, relative=False)


@register.simple_tag(takes_context=True)
def clock(context: Context, value: datetime | None) -> SafeString | str:
    """Show "09:52", with the day where it is not today. Nothing for None."""
    if value is None:
        return ""
    now, zone = reader(context)
    words = moments.clock_words(value, now, zone)
    return time_element(value, words, words, relative=False)


@register.filter
def utc(value: datetime | None) -> str:
    """Show the time of day in UTC: "01:12 UTC". Nothing for None."""
    return moments.utc_words(value) if value else ""


@register.filter
def size(value: int | None) -> str:
    """Show bytes in binary units with three digits: "412 GiB". Nothing for None."""
    return "" if value is None else numbers.size_words(value)


@register.filter
def duration(seconds: float | None) -> str:
    """Show a length of time: "5 h 10 min". Nothing for None."""
    return "" if seconds is None else moments.duration_words(seconds)


@register.filter
def percent(value: float | None) -> str:
    """Show a share between 0 and 100: "63 %". Nothing for None."""
    return "" if value is None else numbers.percent_words(value)


@register.filter
def left(seconds: float | None) -> str:
    """Show an estimate: "about 4 min left"; None is "time left not known"."""
    return moments.time_left_words(seconds)


@register.filter
def browser(user_agent: str | None) -> str:
    """Show a browser by its name: "Firefox on Windows"."""
    return browsers.browser_words(user_agent or "")


@register.simple_tag
def error_id(field: Any) -> str:
    """Return the id of the element that says what is wrong with a bound form field."""
    return f"{field.id_for_label or field.html_name}-error"


@register.simple_tag
def shown_field(field: Any) -> SafeString:
    """Return a form field's widget, tied to its hint and error; it loses a placeholder that repeats the label."""
    attributes: dict[str, Any] = {}
    base = field.id_for_label or field.html_name
    described = [f"{base}-hint"] if field.help_text else []
    if field.errors:
        attributes["aria-invalid"] = "true"
        described.append(f"{base}-error")
    if described:
        attributes["aria-describedby"] = " ".join(described)
    if field.field.widget.attrs.get("placeholder"):
        attributes["placeholder"] = ""
    widget: SafeString = field.as_widget(attrs=attributes)
    return widget


@register.filter
def input_type(field: Any) -> str:
    """Return a bound field's kind for the field component: ``password checkbox radios`` or the widget's own type."""
    widget = field.field.widget
    if (
        hasattr(widget, "subwidgets")
        and hasattr(widget, "choices")
        and getattr(widget, "input_type", "") in ("radio", "checkbox")
    ):
        return "choices"
    return str(getattr(widget, "input_type", None) or "text")
