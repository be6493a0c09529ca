"""The platforms by the names that people know."""

_NAMES = {"OPENSTACK": "OpenStack", "VCENTER": "vCenter", "RHV": "RHV", "NUTANIX": "Nutanix", "PROXMOX": "Proxmox"}


def platform_word(platform: str) -> str:
    """Return a platform's own name for vPlus's word; what is not known as it stands."""
    return _NAMES.get(platform.upper(), platform)
