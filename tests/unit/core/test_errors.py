import pytest

from instructlab_pipeline import errors
from instructlab_pipeline.errors import PipelineError, ServiceError, SourceError, boundary


def all_errors(kind=PipelineError):
    return [kind, *(error for child in kind.__subclasses__() for error in all_errors(child))]


def test_exit_codes_are_the_documented_ones():
    codes = {error.__name__: error.exit_code for error in all_errors() if error.__module__ == errors.__name__}
    assert codes == {
        "PipelineError": 70,
        "UsageError": 2,
        "ParameterError": 2,
        "SourceError": 3,
        "ServiceError": 4,
        "GateError": 5,
        "WorkerError": 6,
        "Interrupted": 130,
    }
    for name, code in codes.items():
        if name not in ("PipelineError", "ParameterError"):
            assert f"{code}" in errors.__doc__


def test_an_error_needs_a_remedy():
    with pytest.raises(TypeError, match="remedy"):
        SourceError("something is wrong")


def test_a_boundary_turns_foreign_errors_into_ours_and_keeps_the_cause():
    with (
        pytest.raises(ServiceError, match="reading S3: no route") as caught,
        boundary(ServiceError, "reading S3", remedy="check the endpoint"),
    ):
        raise OSError("no route")
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("passing", [SourceError("ours", remedy="r"), KeyboardInterrupt()])
def test_a_boundary_lets_our_errors_and_interruptions_pass(passing):
    with pytest.raises(type(passing)) as caught, boundary(ServiceError, "reading S3", remedy="check"):
        raise passing
    assert caught.value is passing
