"""Everything that the checker judges, read from where it is: database, storage, sandbox, logs, Redis."""

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deviations import storage
from isekai.devstack.servers import NAME
from tests.chaos.checker import Evidence, File, Part, Rows, Told, Work, moment
from tests.chaos.history import History
from tests.chaos.system import System


def gather(
    system: System, history: History, *, made: Iterable[str], secrets: Iterable[str], repeat_seconds: float
) -> Evidence:
    """``made`` are the works that there were; ``secrets`` are looked for wherever they must not be."""
    return Evidence(
        ledger=system.sandbox.ledger(),
        actions=history.actions,
        struck=history.struck,
        rows=rows(system, made),
        stored=stored(),
        leaks=list(leaks(system, list(secrets))),
        repeat_seconds=repeat_seconds,
    )


def rows(system: System, made: Iterable[str]) -> Rows:
    with system.database() as connection:
        connection.execute("SET default_transaction_read_only = on")

        def ask(query: str) -> list[Any]:
            return connection.execute(query).fetchall()

        files: dict[str, list[File]] = defaultdict(list)
        for deviation, file, key, sha256, publish in ask(
            "SELECT f.deviation_id, f.id, f.storage_key, f.sha256, v.sha256 FROM deviations_deviationfile f "
            "JOIN deviations_filevariant v ON v.file_id = f.id AND v.kind = 'publish' ORDER BY f.position"
        ):
            files[str(deviation)].append(File(str(file), key, sha256, publish))
        works = {each: Work(each, "", "missing") for each in made}
        for row in ask(
            "SELECT id, workspace_id, status, reason_code, account_id, title, stash_only, trashed_at "
            "FROM deviations_deviation"
        ):
            pk = str(row[0])
            works[pk] = Work(
                id=pk,
                workspace=str(row[1]),
                status=row[2],
                reason=row[3],
                account=str(row[4]) if row[4] else None,
                title=row[5],
                stash_only=bool(row[6]),
                is_trashed=row[7] is not None,
                files=tuple(files[pk]),
            )
        parts = [
            Part(str(work), str(file), state, str(account), remote, url)
            for work, file, state, account, remote, url in ask(
                "SELECT deviation_id, file_id, state, account_id, remote_deviation_id, url FROM publisher_publication"
            )
        ]
        told = [
            Told(str(workspace), kind, params)
            for workspace, kind, params in ask("SELECT workspace_id, kind, params FROM accounts_notification")
        ]
        audited = {(str(subject), verb) for subject, verb in ask("SELECT subject_id, verb FROM accounts_auditevent")}
        answers = ask("SELECT remote_ids->>'deviationid' FROM publisher_attempt WHERE remote_ids ? 'deviationid'")
        accounts = ask("SELECT id, username, workspace_id FROM accounts_deviantartaccount")
    return Rows(
        works,
        parts,
        told,
        frozenset(audited),
        frozenset(remembered for (remembered,) in answers if remembered),
        usernames={str(pk): username for pk, username, _workspace in accounts},
        workspaces={str(pk): str(workspace) for pk, _username, workspace in accounts},
    )


def stored() -> dict[str, str]:
    """The digest of each object in storage, read from storage itself."""
    client, found = storage._client(), {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=NAME):
        for entry in page.get("Contents", []):
            body = client.get_object(Bucket=NAME, Key=entry["Key"])["Body"].read()
            found[entry["Key"]] = hashlib.sha256(body).hexdigest()
    return found


def leaks(system: System, secrets: list[str]) -> Iterator[str]:
    """Where one of ``secrets`` stands in a log, the database or Redis, in one of the forms that it may take."""
    forms = [(secret, form) for secret in secrets for form in _forms(secret)]
    for place, text in _places(system):
        for secret, form in forms:
            if form in text:
                yield f"{secret[:6]}… in {place}"


def _forms(secret: str) -> set[bytes]:
    raw = secret.encode()
    return {raw, base64.b64encode(raw).rstrip(b"="), raw.hex().encode(), quote(secret, safe="").encode()}


def _places(system: System) -> Iterator[tuple[str, bytes]]:
    for log in sorted((system.folder / "logs").glob("*.log")):
        yield log.name, log.read_bytes()
    yield "the dump of the database", system.dump_as_text()
    with system.redis() as redis:
        content = [bytes(key) + (redis.dump(key) or b"") for key in redis.scan_iter(count=1000)]
    yield "Redis", b"\n".join(content)


CALL_SHOWN = ("id", "username", "status", "fault", "committed", "delivered", "itemid", "deviationid")


def timeline(evidence: Evidence, work_id: str, system: System) -> list[str]:
    """What happened to one work, from every side, in the order in which it happened."""
    lines = [*_asked(evidence, work_id), *_called(evidence, work_id), *_written_down(system, work_id)]
    lines += [(struck.at, f"fault      {struck.kind} {struck.target}") for struck in evidence.struck]
    return [f"{_shown(at)} {text}" for at, text in sorted(lines)]


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def _asked(evidence: Evidence, work_id: str) -> Iterator[tuple[float, str]]:
    for action in evidence.actions:
        if action.work == work_id:
            answer = f"{action.status} {action.code}" if action.status else "no answer"
            yield action.sent, f"artist     {action.name}: {answer} {action.said}"


def _called(evidence: Evidence, work_id: str) -> Iterator[tuple[float, str]]:
    work = evidence.rows.works.get(work_id)
    shas = {file.publish_sha256 for file in work.files} if work else set()
    items = {item["itemid"] for item in evidence.ledger["items"] if item["sha256"] in shas}
    names = {evidence.rows.usernames.get(part.account) for part in evidence.rows.parts if part.work == work_id}
    for call in evidence.ledger["requests"]:
        if call["sha256"] in shas or call["itemid"] in items:
            shown = json.dumps({name: call[name] for name in CALL_SHOWN})
            yield moment(call["time"]), f"DeviantArt {call['path']} {shown}"
        elif call["username"] in names and call["path"].endswith("/gallery/all"):
            yield moment(call["time"]), f"DeviantArt {call['path']} {call['id']} {call['status']}"


def _written_down(system: System, work_id: str) -> Iterator[tuple[float, str]]:
    with system.database() as connection:
        for at, verb, params in connection.execute(
            "SELECT at, verb, params FROM accounts_auditevent WHERE subject_id = %s", [work_id]
        ):
            yield at.timestamp(), f"audit      {verb} {params}"
        for began, ended, step, outcome, category, status, ids, lease in connection.execute(
            "SELECT a.started_at, a.ended_at, a.step, a.outcome, a.category, a.http_status, a.remote_ids, a.lease_id "
            "FROM publisher_attempt a JOIN publisher_publication p ON p.id = a.publication_id "
            "WHERE p.deviation_id = %s",
            [work_id],
        ):
            until = _shown(ended.timestamp()) if ended else "now"
            yield began.timestamp(), f"attempt    {step} {outcome} {category} {status} {ids} until {until}, {lease}"


def keep_evidence(evidence: Evidence, folder: Path) -> None:
    """For whoever looks at a broken promise later."""
    (folder / "ledger.json").write_text(json.dumps(dict(evidence.ledger)), encoding="utf-8")
