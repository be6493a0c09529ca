"""What the frames (``templates/frames/``) show around a page. A view, or a context processor, passes one as ``frame``."""

from dataclasses import dataclass, field
from typing import Literal

from django.utils.functional import Promise

Word = str | Promise
Tone = Literal["", "bad", "warn", "run", "attn"]


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A link of the sidebar; the first four are the bottom tabs of a phone too."""

    word: Word
    icon: str
    url: str
    current: bool = False
    short_word: Word = ""  # for the bottom tabs: "VMs"
    counter: int = 0  # 0 shows none
    counter_tone: Tone = ""
    counter_words: Word = ""  # what is counted, for screen readers: "3 not protected"


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant that the person may go to, or the provider console."""

    name: str
    url: str
    role_word: Word
    current: bool = False
    is_console: bool = False

    @property
    def initial(self) -> str:
        """Return the letter of its mark."""
        return self.name[:1].upper()


@dataclass(frozen=True, slots=True)
class PersonMark:
    """Who is signed in, at the foot of the sidebar."""

    name: str
    email: str
    zone_name: str  # IANA name; said once here for every time on the page
    account_url: str
    sign_out_url: str

    @property
    def initials(self) -> str:
        """Return one or two letters."""
        words = (self.name or self.email).split()
        return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words[:1])).upper()


@dataclass(frozen=True, slots=True)
class GlobalBar:
    """A bar above the heading, at most two a page: a bold lead, a sentence, and perhaps an age or one button."""

    lead: Word
    text: Word = ""
    tone: Literal["warn", "bad", "attn"] = "warn"
    icon: str = "plug-connected-x"
    side: Word = ""  # "18 min"
    action_url: str = ""  # a POST
    action_word: Word = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything around ``<main>``."""

    brand: str
    person: PersonMark
    place: Place  # where one is: the tenant, or the console
    menu: list[MenuEntry]
    manage: list[MenuEntry] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)  # the others and this one; shown when there is more than one
    chooser_url: str = ""
    live_url: str = ""  # the stream of a tenant's changes
    search_url: str = ""  # the phone's search button leads to this list
    bars: list[GlobalBar] = field(default_factory=list)
    theme: Literal["light", "dark", ""] = ""  # "" follows the system
    theme_url: str = ""  # a POST of ``theme`` and ``next``

    @property
    def tenant_count(self) -> int:
        """Return in how many tenants the person is."""
        return sum(not place.is_console for place in self.places)
