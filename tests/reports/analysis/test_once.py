"""What a report asks for several times is computed once a study."""

from reports.analysis.once import once
from reports.analysis.results import Study


def test_it_is_computed_once_for_each_study_and_arguments(finished, measured):
    calls = []

    @once
    def of(study, arm, *, scale=1):
        calls.append((study, arm, scale))
        return [len(calls)]

    first, second = Study(finished), Study(measured)
    assert of(first, "vae") is of(first, "vae")
    assert of(first, "glow") == [2]
    assert of(second, "vae") == of(second, "vae") == [3]
    assert of(first, "vae", scale=2) == [4]
    assert of(first, "vae") == [1]
    assert [arm for _, arm, _ in calls] == ["vae", "glow", "vae", "vae"]


def test_two_functions_of_one_name_do_not_share(finished):
    def made(value):
        @once
        def of(study):
            return value

        return of

    study = Study(finished)
    assert (made(1)(study), made(2)(study)) == (1, 2)
