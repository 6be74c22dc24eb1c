"""What is known of a backend, as a plain value: what pools of one name in several processes agree by. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .state import BackendState

__all__ = ["Known"]


@attrs.frozen
class Known:
    """What checks have found of a backend, and what the operator wants of it: all that :class:`~.state.Verdict` and
    :class:`~.state.Wish` amount to. The fields are those of :class:`~.state.BackendState`."""

    address: str
    probed_up: bool
    ejected: str
    want: str
    source: str
    reason: str
    evidence: Mapping[str, str]
    ejections: int
    warm_from: float | None

    @classmethod
    def of(cls, member: BackendState) -> Known:
        """What is known of it now."""
        return cls(
            address=member.address,
            probed_up=member.probed_up,
            ejected=member.ejected,
            want=member.want,
            source=member.source,
            reason=member.reason,
            evidence=dict(member.evidence),
            ejections=member.ejections,
            warm_from=member.warm_from,
        )

    @property
    def up(self) -> bool:
        """Whether it is well, by all that is known."""
        return self.probed_up and not self.ejected

    def bring(self, member: BackendState) -> None:
        """Let the same be known of a member of another pool, and nothing else of what is known here."""
        member.probed_up = self.probed_up
        member.ejected = self.ejected
        member.up = self.up
        member.want = self.want
        member.source = self.source
        member.reason = self.reason
        member.evidence = dict(self.evidence)
        member.ejections = self.ejections
        member.warm_from = self.warm_from
