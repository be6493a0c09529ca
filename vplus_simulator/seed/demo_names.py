"""Who the demo's customers are and what their machines are called."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True)
class TenantNames:
    """One customer: the first `openstack` of its VMs run there, in a project of its own, the others on vCenter."""

    slug: str
    name: str
    vms: tuple[str, ...]
    openstack: int
    gone: frozenset[str] = frozenset()
    """VMs that no longer exist on the platform; their backups do."""


def _fill(
    wanted: int, first: tuple[str, ...], roles: tuple[str, ...], sites: tuple[str, ...] = ("",)
) -> tuple[str, ...]:
    """Return `wanted` names: the given ones, then every role at every site, numbered from 01 and again from 02."""
    names = dict.fromkeys(first)
    for number in count(1):
        for site in sites:
            for role in roles:
                if len(names) == wanted:
                    return tuple(names)
                names.setdefault("-".join(part for part in (role, site, f"{number:02d}") if part))
    raise AssertionError("count() does not end")


NORDWIND = TenantNames(
    slug="nordwind-logistics",
    name="Nordwind Logistics",
    vms=_fill(
        148,
        (
            "mail-01",
            "erp-db",
            "web-01",
            "web-02",
            "erp-app-01",
            "erp-app-02",
            "erp-db-replica",
            "intranet",
            "dc-01",
            "dc-02",
            "files-warehouse-gdansk-long-term-archive-2019-2024-replica",
            "files-warehouse-gdansk",
            "customs-edi-gateway",
            "customs-edi-gateway-old",
            "tracking-api-01",
            "tracking-api-02",
            "tracking-db",
            "route-planner",
            "gitlab",
            "jenkins",
            "payroll-2019",
            "legacy-wms",
            "vpn-gate",
            "grafana",
            "backup-test-please-delete",
        ),
        ("wms", "label-print", "scanner-gw", "dock-cam", "yard-terminal", "files", "sql", "proxy"),
        ("gdansk", "gdynia", "hamburg", "rotterdam", "malmo"),
    ),
    openstack=104,
    gone=frozenset(
        {"payroll-2019", "legacy-wms", "customs-edi-gateway-old", "proxy-hamburg-03", "yard-terminal-malmo-02"}
    ),
)

TENANTS = (
    NORDWIND,
    TenantNames(
        "brunner-partner",
        "Brunner & Partner Rechtsanwälte",
        _fill(
            22,
            ("akten-server", "dms-01", "exchange", "rdp-farm-01", "rdp-farm-02"),
            ("kanzlei", "rdp-farm", "druck", "diktat"),
        ),
        0,
        frozenset({"diktat-03"}),
    ),
    TenantNames(
        "klinika-zolw",
        "Klinika Żółw Kraków",
        _fill(
            26,
            ("pacs-główny", "rejestracja-pacjentów", "laboratorium-źródło-danych", "łącznik-nfz", "kadry-płace"),
            ("pacs", "ris", "gabinet", "www"),
        ),
        26,
        frozenset({"ris-02", "gabinet-04"}),
    ),
    TenantNames(
        "atelier-lumiere",
        "Atelier Lumière",
        _fill(
            18, ("rendu-été-2026", "rendu-archivé-2024", "boutique-été", "médiathèque"), ("rendu", "stockage", "studio")
        ),
        18,
        frozenset({"rendu-archivé-2024"}),
    ),
    TenantNames(
        "havsund-energi",
        "Havsund Energi",
        _fill(
            34,
            ("scada-historian", "måledata-01", "måledata-02", "nettdrift-øst", "nettdrift-vest"),
            ("turbin", "ams", "gis"),
            ("nord", "sør"),
        ),
        34,
        frozenset({"turbin-sør-03", "ams-nord-04"}),
    ),
    TenantNames(
        "piekarnia-labedz",
        "Piekarnia Pod Łabędziem",
        (
            "kasa-01",
            "kasa-02",
            "sklep-www",
            "magazyn",
            "księgowość",
            "kamery",
            "kopie-nas",
            "stara-kasa",
            "nowy-serwer",
        ),
        9,
        frozenset({"stara-kasa"}),
    ),
    TenantNames(
        "kestrel-games",
        "Kestrel Games",
        _fill(
            41,
            ("web-01", "login-eu", "login-us", "matchmaker-eu", "build-win-01", "crash-reports"),
            ("shard", "build", "lobby"),
            ("eu", "us", "ap"),
        ),
        41,
        frozenset({"shard-ap-03", "lobby-us-04", "build-ap-04"}),
    ),
    TenantNames(
        "meridian-insurance",
        "Meridian Insurance Group",
        _fill(
            37,
            ("erp-db", "claims-db-primary", "claims-db-standby", "policy-admin", "fax-gateway"),
            ("claims", "quote", "citrix", "report"),
        ),
        0,
        frozenset({"fax-gateway", "quote-06"}),
    ),
    TenantNames(
        "oyama-robotics",
        "大山ロボティクス",
        _fill(
            21,
            ("設計データ-サーバー", "工場監視-01", "工場監視-02", "人事給与", "cad-ライセンス"),
            ("plc", "vision", "mes"),
        ),
        21,
        frozenset({"vision-04"}),
    ),
    TenantNames(
        "green-valley-schools",
        "Green Valley School District",
        _fill(14, ("moodle", "student-records", "library", "cafeteria"), ("lab", "classroom")),
        0,
    ),
    TenantNames(
        "santos-textil",
        "Santos Têxtil",
        _fill(16, ("produção-01", "coleção-verão", "loja-online", "expedição"), ("tear", "corte")),
        16,
        frozenset({"corte-05"}),
    ),
    TenantNames("notariat-weiss", "Notariat Weiß", ("urkunden", "büro-01", "büro-02"), 0),
)
"""The demo's customers. "erp-db" and "web-01" each exist twice, in two of them."""

UNOWNED = (
    "template-debian-12",
    "lab-esx-upgrade",
    "monitoring-probe",
    "migration-staging",
    "benchmark-fio",
    "old-helpdesk",
    "dns-cache-01",
    "p2v-unknown-customer",
    "loadtest-driver",
)
"""VMs that belong to no customer."""
INFRASTRUCTURE = ("monitoring-probe", "old-helpdesk", "dns-cache-01")
"""Those of them that the provider backs up, by a policy of its own."""
