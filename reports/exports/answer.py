"""``answer.json``: the report's numbers for programs, from the objects that the page states."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from reports.analysis import arm_forecasts, budget, frontier, levels, selection, statistics
from reports.analysis.extractor import doubtful
from reports.analysis.forecast import FARTHEST, Unfit
from reports.analysis.practical import practical_sizes
from reports.analysis.reference_codes import model_cost, reference_codes
from reports.analysis.results import LIKELIHOOD
from reports.analysis.rungs import rungs
from reports.exports import schema
from reports.exports.portable import finite, json_value, portable, text_or_none, whole
from reports.text.configuration_tables import chosen
from reports.text.state_tables import reasons_of_unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reports.analysis.frontier import Crossing, Frontier
    from reports.analysis.levels import Level, Measured
    from reports.analysis.reference_codes import Code
    from reports.analysis.results import Finals, Study
    from reports.analysis.rungs import Rung
    from reports.text.contents import Contents

ENDS: dict[str, Literal["top", "bottom"]] = {"top": "top", "bottom": "bottom"}


def answer_json(contents: Contents) -> str:
    """The answer as JSON text, the same for the same results."""
    answer = answer_file(contents).model_dump(mode="json")
    return json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def answer_file(contents: Contents) -> schema.AnswerFile:
    """The answer in the form of the schema."""
    study = contents.study
    spent = {each.arm: each.observed.iloc[-1] for each in budget.best_so_far(study)}
    return schema.AnswerFile(
        schema_version=schema.SCHEMA_VERSION,
        study=_study(study),
        answer=_answer(contents),
        arms=[_arm(contents, arm, spent.get(arm)) for arm in study.arms],
        differences=_differences(contents),
        equivalence=_equivalence(study),
        budgets=[_at_budget(each) for each in rungs(study)],
        crossings=[_crossing(*each) for each in frontier.all_crossings(frontier.frontiers(study))],
        forecasts=[_forecast(study, arm) for arm in study.arms],
        reference_codes=[_code(study, each) for each in reference_codes(study)],
        findings=[
            schema.Finding(text=portable(each.text), alarm=each.alarm, arm=text_or_none(each.arm))
            for each in contents.findings
        ],
        unavailable=_unavailable(study),
        runs=[
            schema.Runs(role=portable(role), arm=portable(arm), counts=_counts(counts), total=sum(counts.values()))
            for role, arm, counts in statistics.states_by_role(study.ended)
        ],
        repeated_attempts=study.repeated,
    )


def _counts(counts: Mapping[str, int]) -> dict[str, int]:
    return {portable(state): n for state, n in counts.items()}


def _study(study: Study) -> schema.Study:
    results = study.results
    data, known = results.dataset, results.provenance
    shape, sizes, versions = data.get("image_shape"), data.get("sizes"), known.get("versions")
    sides = [whole(side) for side in shape] if isinstance(shape, list | tuple) else []
    dirty = known.get("dirty")
    started = pd.to_datetime(study.runs["started"], errors="coerce", utc=True).dropna()
    return schema.Study(
        id=portable(results.study_id),
        name=portable(results.name),
        question=portable(results.question),
        data=schema.Data(
            name=text_or_none(data.get("name")),
            source=text_or_none(data.get("source")),
            digest=text_or_none(data.get("digest")),
            image_shape=[side for side in sides if side is not None] or None,
            grey_levels=whole(data.get("grey_levels")),
            sizes={portable(str(split)): n for split, n in _whole_numbers(sizes).items()},
        ),
        backend=text_or_none(known.get("backend")),
        hardware=schema.Hardware(
            device=text_or_none(known.get("device")),
            processor=text_or_none(known.get("processor")),
            cores=whole(known.get("cores")),
            memory_bytes=whole(known.get("memory_bytes")),
            platform=text_or_none(known.get("platform")),
        ),
        code=schema.Code(
            commit=text_or_none(known.get("commit")),
            dirty=dirty if isinstance(dirty, bool) else None,
            code=text_or_none(known.get("code")),
            versions={portable(str(name)): portable(str(each)) for name, each in versions.items()}
            if isinstance(versions, dict)
            else {},
        ),
        settings={portable(str(name)): json_value(each) for name, each in results.settings.items()},
        started=None if started.empty else _moment(started.min()),
        last_started=None if started.empty else _moment(started.max()),
    )


def _whole_numbers(values: object) -> dict[object, int]:
    known = values.items() if isinstance(values, dict) else []
    return {name: number for name, value in known if (number := whole(value)) is not None}


def _moment(time: pd.Timestamp) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _answer(contents: Contents) -> schema.Answer:
    found = contents.answer
    ranking = []
    for each in found.ranking:
        behind = found.behind.get(each.arm)
        ranking.append(
            schema.Rank(
                arm=portable(each.arm),
                bits_per_dim=finite(each.estimate.mean),
                standard_error=finite(each.estimate.error),
                seeds=each.estimate.seeds,
                excluded=each.estimate.excluded,
                behind_first=None if behind is None else _interval(behind),
                separated=None if behind is None else not behind.contains_zero,
            )
        )
    return schema.Answer(
        outcome=found.outcome,
        so_far=found.so_far,
        headline=portable(found.headline),
        details=list(map(portable, found.details)),
        outlook=list(map(portable, found.outlook)),
        ranking=ranking,
    )


def _interval(interval: statistics.Interval) -> schema.Interval:
    return schema.Interval(
        value=finite(interval.value),
        low=finite(interval.low),
        high=finite(interval.high),
        level=statistics.LEVEL,
        over_seeds=interval.over_seeds,
        over_images=interval.over_images,
        paired=interval.paired,
        p=finite(interval.p),
    )


def _arm(contents: Contents, arm: str, spent: pd.Series | None) -> schema.Arm:
    study = contents.study
    final, run, given = study.finals[arm], chosen(study)[arm], budget.spent(study, arm)
    measurements = [
        _measurement(each, level) for each in contents.measured for level in each.levels if level.arm == arm
    ]
    measured = {(each.group, each.metric): each for each in reversed(measurements) if each.seeds or each.excluded}
    parameters = measured.get(("cost", "parameters"))
    names = [] if run is None else [str(name) for name in run.index if str(name).startswith("param.")]
    known = {} if run is None else {name.removeprefix("param."): json_value(run[name]) for name in names}
    return schema.Arm(
        name=portable(arm),
        title=portable(study.title(arm)),
        family=portable(study.families[arm]),
        selected=[
            schema.Selected(
                parameter=portable(each.parameter),
                value=json_value(each.value),
                swept=json_value(each.swept or None),
                edge=ENDS.get(each.edge),
            )
            for each in selection.selected(study, arm)
        ],
        configuration={portable(name): value for name, value in known.items() if value is not None},
        promoted=study.results.promoted.get(arm, []),
        trial=_trial(final),
        superseded=final.superseded,
        final_runs=_final_runs(final),
        left_out=final.left_out,
        budget=schema.Budget(
            trials=given.trials,
            final_images=given.final_images,
            tuning=None
            if spent is None
            else schema.Tuning(
                trials=int(spent["trials"]), images=finite(spent["images"]), seconds=finite(spent["seconds"])
            ),
        ),
        parameters=None if parameters is None else parameters.mean,
        bits_per_dim=measured.get(("test", LIKELIHOOD)),
        nll_nats=measured.get(("test", "nll_nats")),
        measurements=[each for each in measurements if each.seeds or each.excluded],
    )


def _trial(final: Finals) -> schema.Trial | None:
    row = final.trial
    if row is None:
        return None
    return schema.Trial(
        run_id=portable(str(row["run_id"])),
        number=whole(row["number"]),
        bits_per_dim=finite(row["value"]),
        standard_error=finite(row["value_error"]),
    )


def _final_runs(final: Finals) -> list[schema.FinalRun]:
    measured = final.measured("test", LIKELIHOOD).drop_duplicates("run_id").set_index("run_id")
    return [
        schema.FinalRun(
            run_id=portable(str(run["run_id"])),
            seed=whole(run["seed"]),
            bits_per_dim=finite(measured["value"].get(run["run_id"])),
            standard_error=finite(measured["standard_error"].get(run["run_id"])),
        )
        for run in final.runs.to_dict("records")
    ]


def _measurement(measured: Measured, level: Level) -> schema.Measurement:
    known, floor = level.estimate, level.floor
    return schema.Measurement(
        group=portable(measured.split),
        metric=portable(measured.about.name),
        label=portable(measured.about.label),
        unit=portable(level.unit),
        higher_is_better=measured.about.higher_is_better,
        conditions=portable(measured.variant.conditions),
        samples=measured.variant.size,
        mean=None if known is None else finite(known.mean),
        standard_error=None if known is None else finite(known.error),
        seeds=0 if known is None else known.seeds,
        excluded=level.measured if known is None else known.excluded,
        interval_over_seeds=None
        if level.over_seeds is None
        else schema.Ends(low=finite(level.over_seeds[0]), high=finite(level.over_seeds[1])),
        images_standard_error=finite(level.images_error),
        monte_carlo_error=finite(level.monte_carlo_error),
        n=level.sizes,
        bounds=[
            schema.Bound(
                kind=portable(each.kind),
                importance_samples=each.importance_samples,
                dequantisation=text_or_none(each.dequantisation),
                text=portable(each.text),
            )
            for each in level.bounds
        ],
        real_images=None
        if floor is None
        else schema.Floor(mean=finite(floor.mean), standard_error=finite(floor.error)),
        warning=text_or_none(measured.warning),
    )


def _differences(contents: Contents) -> list[schema.Difference]:
    weak = doubtful(contents.study)
    found = []
    for each in contents.differences:
        higher, interval = bool(each.about.higher_is_better), each.interval
        winner = each.first if (interval.value > 0) == higher else each.second
        found.append(
            schema.Difference(
                group=portable(each.split),
                metric=portable(each.metric),
                label=portable(each.about.label),
                unit=portable(each.about.unit),
                higher_is_better=higher,
                conditions=portable(each.variant.conditions),
                samples=each.variant.size,
                first=portable(each.first),
                second=portable(each.second),
                interval=_interval(interval),
                hedges_g=finite(each.effect),
                holm_p=finite(each.adjusted),
                better=None if interval.contains_zero else portable(winner),
                warning=text_or_none(levels.warning(each.metric, each.variant, weak)),
            )
        )
    return found


def _equivalence(study: Study) -> schema.Equivalence:
    pairs = []
    for size in practical_sizes(study):
        found = size.probabilities
        pairs.append(
            schema.Pair(
                first=portable(size.first),
                second=portable(size.second),
                better=None if found is None else finite(found.better),
                equal=None if found is None else finite(found.equal),
                worse=None if found is None else finite(found.worse),
                verdict=size.verdict,
                reason=text_or_none(size.reason),
            )
        )
    return schema.Equivalence(region=study.results.equivalence, pairs=pairs)


def _at_budget(rung: Rung) -> schema.AtBudget:
    arms = []
    for arm, level in rung.levels.items():
        known = statistics.estimate(level)
        arms.append(
            schema.ArmAtBudget(
                arm=portable(arm),
                bits_per_dim=None if known is None else finite(known.mean),
                standard_error=None if known is None else finite(known.error),
                seeds=0 if known is None else known.seeds,
                early=arm in rung.early,
            )
        )
    return schema.AtBudget(
        images=rung.images,
        arms=arms,
        lowest=text_or_none(rung.lowest),
        second=text_or_none(rung.second),
        interval=None if rung.interval is None else _interval(rung.interval),
    )


def _crossing(against: Frontier, crossing: Crossing) -> schema.Crossing:
    return schema.Crossing(
        cost=against.cost.name,
        unit=against.cost.unit or against.cost.name,
        with_tuning=against.with_tuning,
        before=portable(crossing.before),
        after=portable(crossing.after),
        at=crossing.at,
        low=crossing.low,
        high=crossing.high,
        level=statistics.LEVEL,
        has_interval=crossing.has_interval,
        times=crossing.times,
    )


def _forecast(study: Study, arm: str) -> schema.Forecast:
    found = arm_forecasts.forecast(study, arm)
    if isinstance(found, Unfit):
        known: dict[str, float | None] = dict.fromkeys(("made_at", "best", "budget", "bits_per_dim", "low", "high"))
        return schema.Forecast(arm=portable(arm), level=statistics.LEVEL, reason=portable(found.reason), **known)
    end = FARTHEST * found.end
    value, low, high = map(finite, found.at(np.array([end]))[:, 0])
    return schema.Forecast(
        arm=portable(arm),
        made_at=found.end,
        best=finite(found.best),
        budget=end,
        bits_per_dim=value,
        low=low,
        high=high,
        level=statistics.LEVEL,
        reason=None,
    )


def _code(study: Study, code: Code) -> schema.ReferenceCode:
    cost = model_cost(study) if code.is_model else {}
    return schema.ReferenceCode(
        metric=portable(code.name),
        label=portable(code.label),
        bits_per_dim=code.value,
        standard_error=finite(code.error),
        n=code.n,
        conditions=portable(code.conditions),
        is_model=code.is_model,
        parameters=finite(cost.get("parameters")),
        training_seconds=finite(cost.get("training_seconds")),
        training_images=finite(cost.get("training_images")),
    )


def _unavailable(study: Study) -> list[schema.Unavailable]:
    known: list[tuple[str | None, str, str, int | None]] = [
        (arm, metric, reason, n) for (arm, metric, reason), n in reasons_of_unavailable(study).items()
    ]
    known += [(None, metric, reason, None) for metric, reason in study.results.reference_codes.unavailable.items()]
    return [
        schema.Unavailable(arm=text_or_none(arm), metric=portable(metric), reason=portable(reason), runs=n)
        for arm, metric, reason, n in known
    ]
