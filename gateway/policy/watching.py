"""The scheme with everything that texts are searched for: markings, topics, and the hosts and domains of the lists.

What it is: ``load``, which reads scheme.toml, topics.toml and the domain lists.
Who calls it: ``policy.load``; the composition of the inspector, which needs no rules.
Must never: load a part of a file, or go on without a list that is there.
Sources: docs/design.md section 5; rules/topics.toml and rules/domains name the circulars.
"""

from __future__ import annotations

from pathlib import Path

from gateway.policy import domains as domain_lists
from gateway.policy import source
from gateway.policy.domains import Domains
from gateway.policy.source import PolicyError
from gateway.text.scheme import Scheme
from gateway.text.topics import Topics
from gateway.text.watch import Known, Watch


def load(root: Path) -> tuple[Scheme, Domains]:
    """The scheme and the domain lists of the rules folder *root*. Raises PolicyError with file, line and field.

    Without a file topics.toml there are no topics: a folder of rules from before there were any stays usable.
    """
    scheme_file = source.read(root / "scheme.toml", root)
    try:
        scheme = Scheme.parse(scheme_file.text)
    except ValueError as error:
        raise PolicyError(f"{scheme_file.name}: {error}") from error
    lists = domain_lists.load(root / "domains", root)
    hosts = sorted(entry.name for entry in (*lists.exact.values(), *lists.below.values()) if entry.service)
    path = root / "topics.toml"
    try:
        topics = Topics.parse(source.read(path, root).text if path.exists() else "", hosts)
    except ValueError as error:
        raise PolicyError(f"{path}: {error}") from error

    def known(domain: str) -> Known:
        info = lists.tier(domain)
        return Known(info.tier.value, info.service)

    return scheme.with_watch(Watch(topics, known)), lists
