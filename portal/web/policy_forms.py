"""What a person fills in for a policy: one form for the policy, one for each schedule, and the draft that they make."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import time
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.dates import MONTHS, WEEKDAYS, WEEKDAYS_ABBR
from django.utils.translation import gettext_lazy

from portal.web.wording import moments
from vplus_bridge.protection.drafts import MOST_SCHEDULES, PolicyDraft, ScheduleDraft
from vplus_bridge.protection.schedule_words import KINDS, OCCURRENCES
from vplus_bridge.protection.wall_time import BackupType, Month, Occurrence, Weekday

FREQUENCIES = (15, 30, 60, 120, 180, 240, 360, 480, 720)
WINDOWS = (30, 60, 120, 180, 240, 360, 480, 720, 1200)
PREFIX = "s"
USUAL = ScheduleDraft(backup_type="INCREMENTAL", days_of_week=tuple(day.name for day in Weekday), time_of_day=None)
LONGEST_PASTE = 200_000
MOST_MINUTES = 100_000
"""More than any length that a schedule can have; which it can is said by the service."""
NIGHT = time(2, 0)


class SaidByService(forms.Field):
    """A field that is needed, whose lack the service says with its remedy, together with all else that is wrong."""

    def validate(self, value: Any) -> None:
        """Let the service judge."""


class Words(SaidByService, forms.CharField):
    """Text that is needed."""


class Clock(SaidByService, forms.TimeField):
    """A time that is needed, if its kind of schedule is chosen."""


class Minutes(SaidByService, forms.IntegerField):
    """A length of time that is needed, if its kind of schedule is chosen."""


def _time(label: Any) -> forms.TimeField:
    return Clock(label=label, widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"))


class Lengths(forms.Select):
    """A choice of lengths of time in minutes; one that is not among the usual ones is offered too."""

    def __init__(self, minutes: Iterable[int]) -> None:
        super().__init__()
        self.minutes = tuple(minutes)

    def optgroups(self, name: str, value: list[str], attrs: Any = None) -> list[Any]:
        """Return the options."""
        given = {int(one) for one in value if one.isascii() and one.isdigit() and len(one) < 6}  # noqa: PLR2004  # a day has four digits of minutes
        self.choices = [(one, moments.duration_words(one * 60)) for one in sorted({*self.minutes, *given})]
        return super().optgroups(name, value, attrs)


class PolicyForm(forms.Form):
    """The policy itself; what is missing or out of range is said by the service, in its words."""

    use_required_attribute = False

    version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    name = Words(label=gettext_lazy("Name"), widget=forms.TextInput(attrs={"autocomplete": "off"}))
    destination = forms.CharField(label=gettext_lazy("Backup destination"), required=False, max_length=200)
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        required=False,
        help_text=gettext_lazy("0 to 100; higher goes first. 50 is usual."),
        widget=forms.NumberInput(attrs={"min": 0, "max": 100}),
    )
    auto_remove_gone = forms.BooleanField(
        label=gettext_lazy("Take out virtual machines that left the platform"),
        required=False,
        help_text=gettext_lazy(
            "The backup system does that by itself. One that comes back, also after a moment's absence, "
            "is then in no policy and has no schedule until you add it again. Restore points stay."
        ),
    )
    paused = forms.BooleanField(
        label=gettext_lazy("Paused"),
        required=False,
        help_text=gettext_lazy("No schedule of it runs until you take this tick away."),
    )
    find = forms.CharField(
        label=gettext_lazy("Find virtual machines"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off"}),
    )
    paste = forms.CharField(
        label=gettext_lazy("Paste a list"),
        required=False,
        max_length=LONGEST_PASTE,
        help_text=gettext_lazy("Names or UUIDs, one on each line or with commas between."),
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
    )

    def at_version(self, version: int) -> "PolicyForm":
        """Return the same form, which was sent, as one that changes this version."""
        return self.with_values(version=str(version))

    def with_values(self, **values: str) -> "PolicyForm":
        """Return the same form, which was sent, with other values."""
        return PolicyForm({**{name: self.data[name] for name in self.fields if name in self.data}, **values})


class ScheduleForm(forms.Form):
    """One schedule. Which times count follows from the kind."""

    use_required_attribute = False

    id = forms.UUIDField(required=False, widget=forms.HiddenInput)
    backup_type = forms.ChoiceField(
        label=gettext_lazy("Type"),
        choices=[(kind.value, KINDS[kind]) for kind in BackupType],
        widget=forms.RadioSelect,
    )
    execution_type = forms.ChoiceField(
        label=gettext_lazy("When"),
        choices=[("TIME", gettext_lazy("At a time")), ("INTERVAL", gettext_lazy("Again and again"))],
        widget=forms.RadioSelect,
    )
    time_of_day = _time(gettext_lazy("At"))
    frequency_minutes = Minutes(
        label=gettext_lazy("Every"), min_value=0, max_value=MOST_MINUTES, widget=Lengths(FREQUENCIES)
    )
    start = _time(gettext_lazy("From"))
    end = _time(gettext_lazy("To"))
    zone = Words(
        label=gettext_lazy("Time zone"),
        max_length=64,
        widget=forms.TextInput(attrs={"list": "zones", "autocomplete": "off", "spellcheck": "false"}),
    )
    days_of_week = forms.MultipleChoiceField(
        label=gettext_lazy("Days"),
        required=False,
        choices=[(day.name, WEEKDAYS_ABBR[day]) for day in Weekday],
        widget=forms.CheckboxSelectMultiple,
    )
    occurrences = forms.MultipleChoiceField(
        label=gettext_lazy("Only these of the month"),
        required=False,
        choices=[(which.name, OCCURRENCES[which]) for which in Occurrence],
        widget=forms.CheckboxSelectMultiple,
    )
    months = forms.MultipleChoiceField(
        label=gettext_lazy("Only these months"),
        required=False,
        choices=[(month.name, MONTHS[month]) for month in Month],
        widget=forms.CheckboxSelectMultiple,
    )
    start_window_minutes = Minutes(
        label=gettext_lazy("Start within"), min_value=0, max_value=MOST_MINUTES, widget=Lengths(WINDOWS)
    )
    active = forms.BooleanField(label=gettext_lazy("Active"), required=False)

    @property
    def sparse(self) -> bool:
        """Tell whether it names weeks or months, so that the part for them stands open."""
        return bool(self["occurrences"].value() or self["months"].value())

    def draft(self) -> ScheduleDraft:
        """Return what was filled in; only after is_valid()."""
        return _draft(self.cleaned_data)

    def filled_in(self) -> ScheduleDraft | None:
        """Return what stands in the form, also where a service found it wrong; None where it cannot be read."""
        if not self.is_bound:
            return _draft({name: self.initial.get(name) for name in self.fields})
        twin = ScheduleForm(self.data, prefix=self.prefix)
        return twin.draft() if twin.is_valid() else None


def weekday_names() -> list[str]:
    """Return the days in full, in the order of the week, for who hears the page."""
    return [str(WEEKDAYS[day]) for day in Weekday]


@dataclass
class Editor:
    """A policy as it stands on the page: what was filled in, also where it is wrong."""

    form: PolicyForm
    schedules: list[ScheduleForm]
    chosen: list[str]
    """Guids of virtual machines, in order."""
    moves: list[str] = field(default_factory=list)

    def draft(self) -> PolicyDraft | None:
        """Return the draft; None where a field cannot even be read, which the forms then say.

        What a pasted list names that nobody knows is no part of the draft.
        """
        fine = [form.is_valid() for form in self.schedules]
        if not all(fine) or set(self.form.errors) - {"paste"}:
            return None
        given = self.form.cleaned_data
        return PolicyDraft(
            name=given["name"],
            virtual_machines=self.chosen,
            schedules=[form.draft() for form in self.schedules],
            destination=given["destination"] or None,
            priority=50 if given["priority"] is None else given["priority"],
            auto_remove_gone=given["auto_remove_gone"],
            paused=given["paused"],
            moves=self.moves,
        )

    def show(self, errors: Mapping[str, Sequence[str]]) -> None:
        """Put what a service said at the fields; a field that is none of the forms' is said at the virtual machines' place."""
        for name, texts in errors.items():
            form, column = self._place(name)
            for text in texts:
                form.add_error(column, text)

    def _place(self, name: str) -> tuple[forms.Form, str | None]:
        parts = name.split(".")
        if len(parts) == 3 and parts[0] == "schedules" and parts[1].isdigit() and int(parts[1]) < len(self.schedules):  # noqa: PLR2004
            form: forms.Form = self.schedules[int(parts[1])]
            return form, parts[2] if parts[2] in form.fields else None
        if name in ("virtual_machines", "moves"):
            return self.form, "find"  # where one chooses; what was pasted is judged apart
        return self.form, name if name in self.form.fields else None

    def keep_pasted(self, words: Sequence[str]) -> None:
        """Leave these words in the pasted list, for who has to correct them; the others have become virtual machines."""
        self.form = self.form.with_values(paste="\n".join(words))

    def add(self, draft: ScheduleDraft) -> None:
        """Append a schedule."""
        taken = {form.prefix for form in self.schedules}
        number = next(number for number in range(len(taken) + 1) if f"{PREFIX}{number}" not in taken)
        self.schedules.append(_unbound(draft, f"{PREFIX}{number}"))

    def put(self, position: int, draft: ScheduleDraft) -> None:
        """Let a schedule be as this draft says."""
        self.schedules[position] = _unbound(draft, str(self.schedules[position].prefix))


def editor_of(draft: PolicyDraft, version: int | None = None) -> Editor:
    """Return an editor that shows a draft."""
    simple = ("name", "destination", "priority", "auto_remove_gone", "paused")
    form = PolicyForm(initial={**{name: getattr(draft, name) for name in simple}, "version": version})
    schedules = [_unbound(one, f"{PREFIX}{number}") for number, one in enumerate(draft.schedules)]
    return Editor(form, schedules, list(draft.virtual_machines), list(draft.moves))


def posted_editor(data: QueryDict) -> Editor:
    """Return an editor with what was sent."""
    prefixes = [f"{PREFIX}{number}" for number in range(MOST_SCHEDULES + 1)]
    sent = [prefix for prefix in dict.fromkeys(data.getlist("schedule")) if prefix in prefixes]
    return Editor(
        PolicyForm(data),
        [ScheduleForm(data, prefix=prefix) for prefix in sent],
        [guid for guid in dict.fromkeys(data.getlist("vm")) if "\0" not in guid],
        [guid for guid in data.getlist("move") if "\0" not in guid],
    )


def first_schedule(zone: str) -> ScheduleDraft:
    """Return what a new schedule begins with: every night, in the person's zone."""
    return replace(USUAL, zone=zone, time_of_day=NIGHT)


def _draft(given: Mapping[str, Any]) -> ScheduleDraft:
    window = given["start_window_minutes"]
    return ScheduleDraft(**{**given, "start_window_minutes": USUAL.start_window_minutes if window is None else window})


def _unbound(draft: ScheduleDraft, prefix: str) -> ScheduleForm:
    initial = {name: getattr(draft, name) for name in ScheduleForm.base_fields}
    initial["frequency_minutes"] = draft.frequency_minutes or 60
    return ScheduleForm(initial=initial, prefix=prefix)
