"""``gateway rules``: the rules in force, and their examples.

Who calls it: rule authors, administrators, scripts.
Must never: judge an example by other code than live mail.
Source: docs/design.md sections 5 and 10.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, has_config, load_config

if TYPE_CHECKING:
    from gateway.policy import Policy
    from gateway.policy.rules import Rule

Folder = Annotated[str, typer.Option("--rules-dir", help="Another folder of rules than the config's.", metavar="FOLDER")]


def load(context: typer.Context, config: str, folder: str) -> Policy:
    """The policy of the config (embedded defaults where there is none) or of *folder*. Exit 2 on a mistake."""
    from pathlib import Path as FilePath

    from gateway import policy
    from gateway.config import Config

    loaded = load_config(config_path(context, config)) if has_config(context, config) else Config()
    try:
        return policy.load(FilePath(folder) if folder else loaded.rules_dir, loaded)
    except policy.PolicyError as error:
        raise Stop(str(error), 2) from error


def _effect(rule: Rule) -> str:
    """What a rule without ``then`` does, in one word: the strongest of its effects."""
    return "copy" if rule.copies else "archive" if rule.archive else "notify" if rule.notify else "tag"


def _list(context: typer.Context, folder: Folder = "", json: Json = False, config: ConfigFile = "") -> None:
    """The rules in force, in the order of their files."""
    policy = load(context, config, folder)
    records: list[dict[str, Any]] = [
        {
            "id": rule.id, "title": rule.title, "then": rule.then_text or _effect(rule), "mode": rule.mode,
            "status": rule.status, "source": rule.source, "explain": rule.explain, "when": rule.when.strip(), "tags": list(rule.tags),
            "archive": list(rule.archive), "copy": list(rule.copies), "notify": list(rule.notify), "pack": rule.pack,
            "file": rule.file, "line": rule.line,
        }
        for rule in policy.rules.rules
    ]  # fmt: skip
    columns = [("id", "rule"), ("pack", "pack"), ("then", "then"), ("mode", "mode"), ("title", "title"), ("source", "source")]
    output.show(records, json, columns, empty="There is no rule.")
    if not json:
        output.write(f"\n{len(records)} rules, version {policy.version}")


def _test(context: typer.Context, folder: Folder = "", json: Json = False, config: ConfigFile = "") -> None:
    """Run every example of every rule; exit 1 when one does not hold."""
    from gateway.policy import PolicyError

    try:
        results = load(context, config, folder).test()
    except PolicyError as error:
        raise Stop(str(error), 2) from error
    failed = [result for result in results if not result.ok]
    if json:
        output.json_lines(asdict(result) for result in results)
    else:
        for result in failed:
            output.write(f"{result.file}:{result.line}: {result.rule}: {output.safe(result.name)}: {output.safe(result.reason)}")
        rules = {result.rule for result in results}
        output.write(f"{len(results) - len(failed)} of {len(results)} examples of {len(rules)} rules hold.")
    if failed:
        raise typer.Exit(1)


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="rules", help="Rules: list, test.", no_args_is_help=True)
    app.command("list")(_list)
    app.command("test")(_test)
    return app
