"""A job's way into one's own network by Private Service Connect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DnsPeering:
    """A domain that the job resolves as a network of one's own does.

    :param domain: its suffix, ending with a dot: ``corp.example.``.
    :param target_project: the project whose Cloud DNS knows the domain.
    :param target_network: the VPC network there.
    """

    domain: str
    target_project: str
    target_network: str


@dataclass(frozen=True, kw_only=True)
class PscInterface:
    """A Private Service Connect interface.

    https://cloud.google.com/vertex-ai/docs/training/psc-i-egress

    :param network_attachment: ``projects/PROJECT/regions/REGION/networkAttachments/NAME``, or the name alone.
    :param dns_peerings: domains of the network that the job can resolve.
    """

    network_attachment: str
    dns_peerings: Sequence[DnsPeering] = ()
