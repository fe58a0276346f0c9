"""The page of what was measured: its tables, and what they say of 1,000 workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Row = tuple[str, str, str, float]

LENGTHS = {"1 minute": 60.0, "10 minutes": 600.0, "1 hour": 3600.0}
EVALUATIONS = 10
BEATS_A_MINUTE = 6.0
"""A sign of life every sixth of the default lease of a minute."""
CALLS_A_TRIAL = 9.0
"""That claim, propose and end a trial; its reports come on top."""
FLUSH_SECONDS = 2.0


def page(rows: list[Row], about: Mapping[str, str]) -> str:
    """The page, Markdown.

    Args:
        rows: part, of what, figure, value.
        about: the command, the machine, the commit and how long trials wait.
    """
    value = {row[:3]: row[3] for row in rows}
    parts = [
        "# Studies over worker processes\n",
        f"`{about['command']}` on {about['machine']}, commit {about['commit'][:12]}. Trials wait instead of computing "
        f"({about['looks']}), so that what is measured is the harness. All figures are in "
        "[scaling.csv](scaling.csv).\n",
        "## A study, by number of workers\n",
        "From the first claim of a trial to the end of the last one. The share of waiting would be training: all "
        "else is the harness, and the unevenness of the last trials.\n",
        _studies(value),
        "## Which storage\n",
        _storages(value),
        "Optuna's SQLite storage is not safe for several processes: its compare-and-set reads and writes in two steps, "
        "and two workers can claim one trial. With `BEGIN IMMEDIATE` it is safe, and slow, for every process waits for "
        "every other by polling. This is why the embedded default is the journal.\n",
        "## Attempts that the coordinator looks at\n",
        _attempts(value),
        "## 1,000 workers\n",
        _plan(value),
        "## Does the outcome depend on the number of workers?\n",
        _outcomes(value),
    ]
    return "\n".join(parts)


def _table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    shown = [list(head), ["---"] + ["--:"] * (len(list(head)) - 1), *map(list, lines)]
    return "\n".join("| " + " | ".join(line) + " |" for line in shown) + "\n"


def _studies(value: Mapping[tuple[str, str, str], float]) -> str:
    studies = list(dict.fromkeys(key[:2] for key in value if key[0].startswith("study on ")))
    efficiency = {each: value[(*each, "seconds of waiting")] / value[(*each, "seconds")] for each in studies}
    lines = []
    for study in studies:
        figures = [
            f"{value[(*study, 'trials')]:.0f}",
            f"{value[(*study, 'seconds')]:.1f}",
            f"{value[(*study, 'trials a minute')]:.1f}",
            f"{efficiency[study]:.0%}",
            f"{efficiency[study] / efficiency[studies[0]]:.0%}",
            f"{value[(*study, 'storage operations a trial')]:.0f}",
            f"{value[(*study, 'storage seconds a trial')]:.2f}",
            f"{value[(*study, 'worker CPU seconds a trial')]:.2f}",
            f"{value[(*study, 'coordinator CPU seconds')]:.1f}",
            f"{value[(*study, 'workers that ended in error')] + value[(*study, 'warnings and errors logged')]:.0f}",
            f"{value[(*study, 'lost or doubled')]:.0f}",
        ]
        lines.append([f"{study[1]}, {study[0].removeprefix('study on ')}", *figures])
    head = (
        *("", "trials", "seconds", "a minute", "share of waiting", "efficiency against 1 worker"),
        *("storage operations a trial", "their seconds a trial", "worker CPU s a trial", "coordinator CPU s"),
        *("errors", "lost or doubled"),
    )
    return _table(head, lines)


def _storages(value: Mapping[tuple[str, str, str], float]) -> str:
    found = list(dict.fromkeys(key[:2] for key in value if key[0].startswith("claims, ")))
    lines = [
        [
            storage[0].removeprefix("claims, "),
            f"{value[(*storage, 'seconds')]:.1f}",
            f"{value[(*storage, 'operations a second')]:.0f}",
            f"{value[(*storage, 'trials claimed twice')]:.0f}",
            f"{value[(*storage, 'trials never claimed')]:.0f}",
        ]
        for storage in found
    ]
    head = (found[0][1], "seconds", "operations a second", "claimed twice", "never claimed")
    return _table(head, lines)


def _attempts(value: Mapping[tuple[str, str, str], float]) -> str:
    found = [key for key in value if key[0].startswith("attempts, ") and key[2].endswith("first time")]
    lines = [
        [
            f"{key[0].removeprefix('attempts, ')}, {key[1]}",
            f"{value[key]:.1f}",
            f"{value[(key[0], key[1], 'milliseconds, each further time')]:.2f}",
        ]
        for key in found
    ]
    return _table(("", "ms, the first time", "ms, each further time"), lines)


def _outcomes(value: Mapping[tuple[str, str, str], float]) -> str:
    found = list(dict.fromkeys(key[:2] for key in value if key[0] == "best found"))
    lines = []
    for each in found:

        def shown(figure: str, each: tuple[str, str] = each) -> str:
            known = value.get((*each, figure))
            return "" if known is None else f"{known:.4f}"

        interval = [shown(f"difference of medians, 95 % {end}") for end in ("from", "to")]
        quartiles = f"{shown('lower quartile')} … {shown('upper quartile')}"
        test = shown("p, Mann-Whitney, against 1 worker")
        lines.append([each[1], shown("median"), quartiles, " … ".join(filter(None, interval)), test])
    return (
        "TPE with pruning on a synthetic valley whose bottom is 0, workers simulated with looks of random length.\n\n"
        + _table(("", "median of the best", "quartiles", "difference of medians, 95 %", "p (Mann-Whitney)"), lines)
        + f"\n{_verdicts(value, found)} A proposal can only learn from what has ended: of W workers, each knows of "
        "W - 1 trials less than it would one after the other, and the first W know nothing. No sampler that learns "
        "escapes this; the designs that do not look at outcomes (`qmc`, `random`) try the same values for any number.\n"
    )


def _verdicts(value: Mapping[tuple[str, str, str], float], found: Iterable[tuple[str, str]]) -> str:
    """Whether each number of workers differs from one by what it finds."""
    said = []
    for each in found:
        p = value.get((*each, "p, Mann-Whitney, against 1 worker"))
        if p is not None:
            verdict = "do not differ from 1 worker" if p > 0.05 else "find worse values than 1 worker does"
            said.append(f"{each[1].partition(',')[0].capitalize()} {verdict} (p = {p:.2g}).")
    return " ".join(said)


def _plan(value: Mapping[tuple[str, str, str], float]) -> str:
    """Which part is exhausted at how many workers: its measured rate over what a worker asks of it."""
    storages = {
        key[0].removeprefix("claims, "): number for key, number in value.items() if key[2] == "operations a second"
    }
    storages.pop("SQLite as Optuna uses it", None)
    server = next(number for key, number in value.items() if key[0] == "MLflow server on SQLite")
    requests = next(number for key, number in value.items() if key[0] == "uploader")
    largest = max(
        (key for key in value if key[2] == "worker CPU seconds a trial"), key=lambda key: int(key[1].split()[0])
    )
    cpu = value[largest]
    lines = []
    for length, seconds in LENGTHS.items():
        calls = (CALLS_A_TRIAL + EVALUATIONS) / seconds + BEATS_A_MINUTE / 60
        # An uploader sends what there is every few seconds at most: a long trial's every look by itself.
        asked = min(requests + EVALUATIONS, requests + seconds / FLUSH_SECONDS) / seconds
        bounds = {name: rate / calls for name, rate in storages.items()}
        bounds["MLflow server, 1 process on SQLite"] = server / asked
        lines.append([length, f"{calls:.2f}", f"{asked:.2f}", *(f"{each:,.0f}" for each in bounds.values())])
    head = ("trials of", "storage calls a worker and second", "MLflow requests a worker and second", *bounds)
    seen = {key[0]: key for key in value if key[0].startswith("attempts, ") and key[1].startswith("10000 ")}
    journal = value[(*seen["attempts, journal"][:2], "milliseconds, each further time")]
    return (
        "What a worker asks of each part, and the number of workers at which that part is exhausted on this machine: "
        "its measured rate over what one worker asks of it.\n\n"
        + _table(head, lines)
        + f"\n- **Signs of life** are most of what long trials ask of a storage: one every "
        f"{60 / BEATS_A_MINUTE:.0f} s for each worker at the default lease of 60 s. `--lease 600` makes it a tenth.\n"
        f"- **The journal** is one file on one machine: for the workers of a machine, not for 1,000. Each process "
        f"reads what all others write, so its rate falls with their number; it was measured with 16.\n"
        f"- **PostgreSQL** is what 1,000 workers need, for it is reached from all machines. Its rate here is that of a "
        f"server which shares its processors with the 16 processes that ask: of one with its own, a lower bound. A "
        f"worker holds up to two connections: 2,000 want `max_connections` raised or PgBouncer before it.\n"
        f"- **MLflow** is written to from outboxes, so that a server which is too slow delays what is shown, nothing "
        f"else; what waits is uploaded when trials are over. For more, `mlflow server --workers N` on PostgreSQL, "
        f"which was not measured.\n"
        f"- **The coordinator** looks at all attempts of a family three times in half a second: "
        f"{journal:.1f} ms each with 10,000 of them, {6 * journal / 10:.0f} % of a core. Tasks are offered 32 at "
        f"a time, or as many as are being worked on.\n"
        f"- **Harness overhead** in a worker: {cpu:.2f} s of CPU for a trial ({largest[1]}), beside its training.\n"
        f"- **Order of measures** for 1,000 workers and trials of 10 minutes: PostgreSQL for the storage; "
        f"`--lease 300`; for trials of a minute, an MLflow server of several processes.\n"
    )
