"""A search without lanes: settings, made-up scores, and a loop that asks and tells as lanes do."""

import itertools

from optuna.trial import TrialState

from tclap.config import Configuration
from tclap.search_flags import SearchSettings
from tclap.sweep import study as studies
from tclap.sweep.study_source import StudySource

SAMPLERS = ("tpe", "nsga2", "random", "grid")
SETTINGS = SearchSettings(batch_sizes=(128, 256, 512), _cli_parse_args=False)
CHOICES = SETTINGS.choices()
POINTS = [dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())]


def objectives(configuration: Configuration) -> dict[str, float]:
    c = configuration.coefficients
    return {
        "zste/order": 50 + 40 * c.alpha_st - 5 * c.alpha_ct + 3 * (configuration.stages == "AB"),
        "zste/1": 80 - 10 * c.alpha_st * c.beta + configuration.batch_size / 100,
    }


def opened(place, sampler, settings=SETTINGS, limit=1000, left_out=()):
    study = studies.open_study("s", place, sampler, 3, settings.objectives, settings.identity())
    of = (settings.choices(), settings.at, settings.objectives)
    return study, StudySource(study, *of, limit, sampler == "grid", 3, (), (0,), print, left_out)


def drive(source, at_once=3, most=10**6):
    """Ask and tell as lanes do, up to `at_once` open: (configurations told, left open)."""
    told, running = [], []
    while len(told) < most:
        while len(running) < at_once and (job := source.next()) is not None:
            running.append(job)
        if not running:
            break
        job = running.pop(0)
        source.ended(job, objectives(job.configuration))
        told.append(job.configuration)
    return told, [job.configuration for job in running]


def completed(study):
    return [tuple(sorted(t.params.items())) for t in study.trials if t.state == TrialState.COMPLETE]
