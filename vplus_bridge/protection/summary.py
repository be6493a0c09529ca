"""What a draft says, and what one changes, in words: for the audit, for who edits an older version, and for the page."""

from collections.abc import Collection, Mapping, Sequence

from django.utils.translation import gettext as _

from vplus_bridge.protection import schedule_words
from vplus_bridge.protection.drafts import PolicyDraft, ScheduleDraft, promise_of_draft

MOST_LISTED = 20


def said(draft: PolicyDraft, names: Mapping[str, str]) -> dict[str, str]:
    """Return each field of a draft as people read it; `names` are of machines and the tenant's destinations, by guid."""
    return {
        "name": draft.name,
        "virtual_machines": _listed([names.get(guid, guid) for guid in draft.virtual_machines]),
        "schedules": " ".join(schedule_said(schedule) for schedule in draft.schedules),
        "destination": _place(draft.destination, names),
        "priority": str(draft.priority),
        "auto_remove_gone": _("yes") if draft.auto_remove_gone else _("no"),
        "paused": _("yes") if draft.paused else _("no"),
    }


def _place(guid: str | None, names: Mapping[str, str]) -> str:
    """Return a destination's name; one that is not among the tenant's is not named, nor is its guid."""
    return names.get(guid, _("one of your provider's")) if guid else ""


def schedule_said(draft: ScheduleDraft) -> str:
    """Return one schedule as a sentence; empty where it is no schedule yet."""
    promise, wrong = promise_of_draft(draft)
    if promise is None or wrong:
        return ""
    sentence = schedule_words.sentence(promise)
    return sentence if draft.active else _("%(schedule)s (inactive)") % {"schedule": sentence}


def changes_between(before: PolicyDraft, after: PolicyDraft, names: Mapping[str, str]) -> list[dict[str, str]]:
    """Return [{field, before, after}] of what a draft changes, in words."""
    was, now = said(before, names), said(after, names)
    if not after.destination:
        now["destination"] = was["destination"]
    return [
        members_change(before.virtual_machines, after.virtual_machines, names)
        if field == "virtual_machines"
        else {"field": field, "before": was[field], "after": now[field]}
        for field in was
        if was[field] != now[field]
    ]


def members_change(before: Collection[str], after: Collection[str], names: Mapping[str, str]) -> dict[str, str]:
    """Return the change of a policy's machines, with those who left and those who came, in words."""

    def named(guids: Collection[str]) -> list[str]:
        return [names.get(guid, guid) for guid in guids]

    return {
        "field": "virtual_machines",
        "before": _listed(named(before)),
        "after": _listed(named(after)),
        "left": _listed(sorted(named(set(before) - set(after)))),
        "came": _listed(sorted(named(set(after) - set(before)))),
    }


def _listed(words: Sequence[str]) -> str:
    shown = ", ".join(words[:MOST_LISTED])
    if len(words) > MOST_LISTED:
        return _("%(some)s and %(more)d more") % {"some": shown, "more": len(words) - MOST_LISTED}
    return shown
