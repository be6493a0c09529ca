"""The page /components/: each component in each of its states, for people who build or check pages."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from portal.web.frame_parts import GlobalBar
from portal.web.wording import badges, numbers


class SampleForm(forms.Form):
    """One field of each kind; bound with nothing in it, so that errors show."""

    name = forms.CharField(
        label="Name of the new VM", help_text="No VM of yours has this name.", initial="erp-db-restored"
    )
    password = forms.CharField(label="Password", widget=forms.PasswordInput)
    priority = forms.IntegerField(label="Priority", min_value=0, max_value=100, required=False, help_text="0 to 100.")
    zone = forms.ChoiceField(label="Zone", choices=[("Europe/Warsaw", "Europe/Warsaw"), ("UTC", "UTC")])
    kind = forms.ChoiceField(label="Type", widget=forms.RadioSelect, choices=[("INC", "Incremental"), ("FULL", "Full")])
    agreed = forms.BooleanField(label="Also drop machines that are gone")


def gallery_context(now: datetime, theme: str = "") -> dict[str, Any]:
    """Return the context of ``components/gallery.html``; ``theme`` is ``light``, ``dark`` or "" for the system's."""
    parts = [("bad", 3), ("warn", 9), ("ok", 131), ("idle", 5)]
    operation_states = [*badges.OPERATION]
    return {
        "now": now,
        "zone": UTC,
        "theme": theme,
        "protection_badges": [*badges.PROTECTION.values(), badges.GONE],
        "interim_badges": [*badges.VPLUS_OPINION.values()],
        "operation_badges": [badges.operation_badge(state) for state in operation_states]
        + [badges.operation_badge("running", stage="Storing"), badges.operation_badge("succeeded", warnings=True)],
        "task_badges": [badges.task_badge(state) for state in badges.TASK] + [badges.task_badge("NEW", "Preparing")],
        "backup_badges": [badges.backup_badge(status) for status in badges.BACKUP],
        "fresh_at": now - timedelta(seconds=12),
        "stale_at": now - timedelta(minutes=18),
        "moments": [
            now - timedelta(seconds=40),
            now - timedelta(hours=8),
            now - timedelta(days=19),
            now + timedelta(minutes=4),
        ],
        "sizes": [0, 640, 40_694_000_000, 442_381_631_488, 1_979_120_929_996],
        "days_good": ["done"] * 6 + ["failed"],
        "days_bad": ["none", "none", "missed", "missed", "missed", "missed", "failed"],
        "segments": numbers.coverage_segments(parts),
        "tiles": [
            {"word": "All", "count": 148, "url": "?", "tone": "", "current": True},
            {"word": "Not protected", "count": 3, "url": "?", "tone": "bad", "current": False},
            {"word": "At risk", "count": 9, "url": "?", "tone": "warn", "current": False},
            {"word": "Protected", "count": 131, "url": "?", "tone": "", "current": False},
            {"word": "Gone", "count": 5, "url": "?", "tone": "", "current": False},
        ],
        "filters": {
            "action": "",
            "search": {"name": "search", "value": "", "placeholder": "Name, UUID or policy", "label": "Search"},
            "selects": [
                {
                    "name": "presence",
                    "label": "Presence",
                    "options": [
                        {"value": "", "word": "Any", "chosen": False},
                        {"value": "yes", "word": "Present", "chosen": True},
                    ],
                }
            ],
            "ticks": [{"name": "mine", "label": "Mine", "value": "1", "chosen": False}],
            "chosen": 1,
            "chips": [{"word": "Presence: Present", "url": "?"}],
            "clear_url": "?",
        },
        "count_words": numbers.range_words(1, 50, 148),
        "many_words": numbers.range_words(1, 50, None),
        "column_sorted": {"word": "Name", "url": "?", "sorted": "descending"},
        "column_plain": {"word": "Last backup", "url": "?", "sorted": ""},
        "column_fixed": {"word": "Last 7 days", "url": "", "sorted": ""},
        "tabs": [
            {"word": "Overview", "url": "?", "current": True, "count": None},
            {"word": "Restore points", "url": "?", "current": False, "count": 42},
        ],
        "crumbs": [{"word": "Virtual machines", "url": "?"}, {"word": "erp-db", "url": "?"}],
        "bars": [
            GlobalBar("No contact with the backup system since 09:52.", "You see what we last knew.", side="18 min"),
            GlobalBar(
                "You act for Nordwind Logistics until 14:00.",
                "Reason: ticket 4711.",
                tone="attn",
                icon="user-exclamation",
                action_url="?",
                action_word="Stop acting",
            ),
            GlobalBar(
                "Nordwind Logistics is suspended.",
                "You can read, but start nothing new. Ask your provider.",
                tone="bad",
                icon="ban",
            ),
        ],
        "form": SampleForm({}),
        "clean_form": SampleForm(prefix="clean"),
    }


def gallery(request: HttpRequest) -> HttpResponse:
    """Show the page; ``?theme=light`` or ``?theme=dark`` chooses a theme. It reads no rows and needs no sign-in."""
    theme = request.GET.get("theme", "")
    context = gallery_context(timezone.now(), theme if theme in ("light", "dark") else "")
    return render(request, "components/gallery.html", context)
